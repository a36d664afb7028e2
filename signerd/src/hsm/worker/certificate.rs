//! The signer certificate as the worker needs it: its public key, to hold a token's key against.
//!
//! In goes a PEM file, out comes a public key of the configured algorithm that can verify
//! signatures with an implementation that is not the token's. Validity and chain are not judged
//! here; who issues certificates does that.

use std::path::Path;

use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED;
use aws_lc_rs::signature::RSA_PSS_2048_8192_SHA256;
use aws_lc_rs::signature::UnparsedPublicKey;
use hsm_config::Algorithm;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::DecodePem;
use x509_cert::der::asn1::UintRef;

use super::fault::Fault;

/// Moduli that the algorithms of HCERT may have (`hcert_spec` §3.3.2 and its governance, 2048–4096).
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
/// An uncompressed point of P-256: 0x04, x, y (SEC 1 §2.3.3).
pub(super) const POINT_BYTES: usize = 65;
/// A signature of P-256 as r‖s.
const ES256_BYTES: usize = 64;

/// A certificate's public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// The `RSAPublicKey` of RFC 8017 A.1.1, and its two integers without leading zeros.
    Rsa { der: Vec<u8>, modulus: Vec<u8>, exponent: Vec<u8> },
    /// The uncompressed point.
    P256 { point: Vec<u8> },
}

impl PublicKey {
    /// Reads the certificate of a key that is to sign with `algorithm`.
    pub(super) fn of_certificate(path: &Path, algorithm: Algorithm) -> Result<Self, Fault> {
        let fault = |problem: String| {
            let remedy = format!("put the {} signer certificate there, PEM", algorithm.name());
            Fault::config(path.display(), problem, remedy)
        };
        let pem = std::fs::read(path).map_err(|e| fault(format!("it cannot be read: {e}")))?;
        let certificate = Certificate::from_pem(&pem)
            .map_err(|e| fault(format!("it is not a certificate: {e}")))?;
        let info = certificate.tbs_certificate().subject_public_key_info();
        let key = info.subject_public_key.raw_bytes();
        match algorithm {
            Algorithm::Ps256 => rsa(key).ok_or_else(|| fault("its key is not RSA".to_owned())),
            Algorithm::Es256 if key.len() == POINT_BYTES && key.first() == Some(&0x04) => {
                Ok(Self::P256 { point: key.to_vec() })
            }
            Algorithm::Es256 => Err(fault("its key is not an uncompressed P-256 point".to_owned())),
        }
    }

    /// How long each signature of this key is.
    pub(super) fn signature_bytes(&self) -> usize {
        match self {
            Self::Rsa { modulus, .. } => modulus.len(),
            Self::P256 { .. } => ES256_BYTES,
        }
    }

    /// Whether the signature over the message is this key's.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let outcome =
            match self {
                Self::Rsa { der, .. } => UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, der)
                    .verify(message, signature),
                Self::P256 { point } => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature),
            };
        outcome.is_ok()
    }
}

fn rsa(der: &[u8]) -> Option<PublicKey> {
    // RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }
    let integers = Vec::<UintRef<'_>>::from_der(der).ok()?;
    let [modulus, exponent] = integers.as_slice() else { return None };
    let (modulus, exponent) = (modulus.as_bytes().to_vec(), exponent.as_bytes().to_vec());
    MODULUS_BYTES.contains(&modulus.len()).then(|| PublicKey::Rsa {
        der: der.to_vec(),
        modulus,
        exponent,
    })
}
