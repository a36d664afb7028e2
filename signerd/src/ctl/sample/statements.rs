//! The two statements of a sample record, signed with the development set-up's software keys.
//!
//! Record and holder bytes in, the encodings of an identity statement and of a facility signature out
//! (`api.cddl`, "statements that others signed"). Real statements come from the population database
//! and from the facilities; nothing here ever touches an issuer's key.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding,
};
use coset::cbor::Value;
use coset::{CoseSign1Builder, Header, HeaderBuilder, TaggedCborSerializable, iana};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Serialize;
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::ctl::cbor::{self, Bytes};

/// COSE header label of `x5t` (RFC 9360 §2).
const X5T: i64 = 34;
/// COSE algorithm number of SHA-256 (RFC 9054 §2.1).
const SHA_256: i64 = -16;

/// How an RSA key signs; a P-256 key always makes ES256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RsaScheme {
    /// RSASSA-PSS with SHA-256 (COSE -37).
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (COSE -257), as most organisation tokens sign.
    Rs256,
}

/// Why a statement cannot be made; correct the files that the settings name.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// The key is neither P-256 nor RSA in PKCS#8.
    #[error("the key is neither P-256 nor RSA (2048 to 8192 bits) in PKCS#8")]
    KeyUnsupported,
    /// The certificate cannot be parsed.
    #[error("the certificate cannot be parsed: {0}")]
    CertificateMalformed(x509_cert::der::Error),
    /// The certificate is of another key.
    #[error("certificate and key do not belong together")]
    NotItsKey,
    /// The cryptographic library refused: a fault of this program.
    #[error("cannot sign")]
    Sign,
    /// The structure could not be encoded: a fault of this program.
    #[error("cannot encode a statement: {0}")]
    Encode(String),
}

/// A software key and the digest of its certificate.
pub struct Signer {
    key: Key,
    certificate_sha256: [u8; 32],
    random: SystemRandom,
}

enum Key {
    P256(Box<EcdsaKeyPair>),
    Rsa(Box<RsaKeyPair>, RsaScheme),
}

/// `identity-claims`; members in the order of their encoded keys.
#[derive(Serialize)]
struct IdentityClaims {
    outcome: &'static str,
    checked_at: u64,
    holder_digest: Bytes,
}

impl Signer {
    /// Binds a key to its certificate.
    ///
    /// # Errors
    /// When they cannot be read or do not belong together.
    pub fn new(
        certificate: &CertificateDer<'_>,
        key: &PrivateKeyDer<'_>,
        scheme: RsaScheme,
    ) -> Result<Self, StatementError> {
        let parsed =
            Certificate::from_der(certificate).map_err(StatementError::CertificateMalformed)?;
        let key = Key::parse(key.secret_der(), scheme)?;
        let certified = parsed.tbs_certificate().subject_public_key_info();
        if certified.subject_public_key.raw_bytes() != key.public() {
            return Err(StatementError::NotItsKey);
        }
        let certificate_sha256 = Sha256::digest(certificate).into();
        Ok(Self { key, certificate_sha256, random: SystemRandom::new() })
    }

    /// Makes the statement that the population database knows this holder.
    ///
    /// # Errors
    /// When signing or encoding fails.
    pub fn identity_statement(
        &self,
        holder: &[u8],
        checked_at: u64,
    ) -> Result<Vec<u8>, StatementError> {
        let holder_digest = Bytes(Sha256::digest(holder).to_vec());
        let claims = IdentityClaims { outcome: "matched", checked_at, holder_digest };
        let payload =
            cbor::encode(&claims).map_err(|error| StatementError::Encode(error.to_string()))?;
        let kid = self.certificate_sha256.iter().take(8).copied().collect();
        let protected = HeaderBuilder::new().algorithm(self.key.algorithm()).key_id(kid).build();
        CoseSign1Builder::new()
            .protected(protected)
            .payload(payload)
            .try_create_signature(&[], |message| self.sign(message))?
            .build()
            .to_tagged_vec()
            .map_err(|error| StatementError::Encode(error.to_string()))
    }

    /// Signs a record as its facility does; the payload is detached.
    ///
    /// # Errors
    /// When signing or encoding fails.
    pub fn facility_signature(&self, record: &[u8]) -> Result<Vec<u8>, StatementError> {
        CoseSign1Builder::new()
            .protected(self.facility_header())
            .try_create_detached_signature(record, &[], |message| self.sign(message))?
            .build()
            .to_tagged_vec()
            .map_err(|error| StatementError::Encode(error.to_string()))
    }

    fn facility_header(&self) -> Header {
        let digest = Value::Bytes(self.certificate_sha256.to_vec());
        let x5t = Value::Array(vec![Value::from(SHA_256), digest]);
        HeaderBuilder::new().algorithm(self.key.algorithm()).value(X5T, x5t).build()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, StatementError> {
        match &self.key {
            Key::P256(key) => key
                .sign(&self.random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| StatementError::Sign),
            Key::Rsa(key, scheme) => {
                let encoding: &'static dyn RsaEncoding = match scheme {
                    RsaScheme::Ps256 => &RSA_PSS_SHA256,
                    RsaScheme::Rs256 => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(encoding, &self.random, message, &mut signature)
                    .map_err(|_| StatementError::Sign)?;
                Ok(signature)
            }
        }
    }
}

impl Key {
    fn parse(pkcs8: &[u8], scheme: RsaScheme) -> Result<Self, StatementError> {
        if let Ok(key) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8) {
            return Ok(Self::P256(Box::new(key)));
        }
        RsaKeyPair::from_pkcs8(pkcs8)
            .map(|key| Self::Rsa(Box::new(key), scheme))
            .map_err(|_| StatementError::KeyUnsupported)
    }

    /// The public key as it stands in a certificate's bit string.
    fn public(&self) -> &[u8] {
        match self {
            Self::P256(key) => key.public_key().as_ref(),
            Self::Rsa(key, _) => key.public_key().as_ref(),
        }
    }

    fn algorithm(&self) -> iana::Algorithm {
        match self {
            Self::P256(_) => iana::Algorithm::ES256,
            Self::Rsa(_, RsaScheme::Ps256) => iana::Algorithm::PS256,
            Self::Rsa(_, RsaScheme::Rs256) => iana::Algorithm::RS256,
        }
    }
}
