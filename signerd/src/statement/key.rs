//! Verification keys of certificates, parsed once.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    VerificationAlgorithm,
};
use thiserror::Error;
use x509_cert::Certificate;
use x509_cert::der::asn1::UintRef;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _, Reader as _, SliceReader};
use x509_cert::time::Time;

/// A certificate whose key cannot verify statements. To blame: the operator. Do not retry.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The bytes are no X.509 certificate.
    #[error("not an X.509 certificate: {0}")]
    Certificate(#[from] x509_cert::der::Error),
    /// The key is neither RSA of 2048 bits or more nor P-256.
    #[error("key is neither RSA with at least 2048 bits nor P-256")]
    Unsupported,
}

/// The signature algorithms that statements may use (RFC 9053, RFC 8230, RFC 8812).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// ECDSA with P-256 and SHA-256, COSE -7.
    Es256,
    /// RSASSA-PSS with SHA-256, COSE -37.
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, COSE -257.
    Rs256,
}

/// A public key, ready to verify under every algorithm that fits it.
#[derive(Debug)]
pub(super) enum VerificationKey {
    P256(ParsedPublicKey),
    Rsa { pss: ParsedPublicKey, pkcs1: ParsedPublicKey },
}

/// The decision and the ministry's practice know RSA from 2048 bits on.
const RSA_BITS_MIN: usize = 2_048;

/// `rsaEncryption`, RFC 8017 appendix A.1.
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

impl VerificationKey {
    /// The key of a certificate.
    pub(super) fn of(certificate: &Certificate) -> Result<Self, KeyError> {
        let info = certificate.tbs_certificate().subject_public_key_info();
        let spki = info.to_der()?;
        let parse = |algorithm: &'static dyn VerificationAlgorithm| {
            ParsedPublicKey::new(algorithm, &spki).map_err(|_| KeyError::Unsupported)
        };
        if info.algorithm.oid == RSA_ENCRYPTION {
            // The library looks at the size at each verification only.
            if modulus_bits(info.subject_public_key.raw_bytes()).is_none_or(|b| b < RSA_BITS_MIN) {
                return Err(KeyError::Unsupported);
            }
            let (pss, pkcs1) = (&RSA_PSS_2048_8192_SHA256, &RSA_PKCS1_2048_8192_SHA256);
            Ok(Self::Rsa { pss: parse(pss)?, pkcs1: parse(pkcs1)? })
        } else {
            Ok(Self::P256(parse(&ECDSA_P256_SHA256_FIXED)?))
        }
    }

    /// Whether `signature` over `message` is of this key under `algorithm`. An algorithm that does not
    /// fit the key verifies nothing.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let key = match (self, algorithm) {
            (Self::P256(key), Algorithm::Es256) => key,
            (Self::Rsa { pss, .. }, Algorithm::Ps256) => pss,
            (Self::Rsa { pkcs1, .. }, Algorithm::Rs256) => pkcs1,
            (Self::P256(_) | Self::Rsa { .. }, _) => return false,
        };
        key.verify_sig(message, signature).is_ok()
    }
}

/// Counts the bits of the modulus in an `RSAPublicKey` (RFC 8017 §A.1.1).
fn modulus_bits(key: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(key).ok()?;
    let modulus: Vec<u8> = reader
        .sequence(|body| {
            let modulus = UintRef::decode(body)?.as_bytes().to_vec();
            UintRef::decode(body)?;
            Ok::<_, x509_cert::der::Error>(modulus)
        })
        .ok()?;
    let zeros = usize::try_from(modulus.first()?.leading_zeros()).ok()?;
    modulus.len().checked_mul(8)?.checked_sub(zeros)
}

/// From when to when a certificate is valid, in seconds since 1970, both included.
pub(super) fn validity(certificate: &Certificate) -> (i64, i64) {
    let validity = certificate.tbs_certificate().validity();
    let seconds =
        |time: &Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    (seconds(&validity.not_before), seconds(&validity.not_after))
}
