//! Signer certificates: who signed, with which algorithm, from when until when, for what.
//!
//! In goes a certificate in DER or PEM, out comes a [`SignerCertificate`] whose public key is parsed
//! once and verifies many signatures with aws-lc-rs, an implementation independent of the token that
//! made them. It promises that algorithm and key agree (P-256 for ES256, RSA of at least 2,048 bits
//! for PS256). It does not build chains: who trusts a certificate is the trust list's decision.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::digest::{Digest as LcDigest, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PSS_2048_8192_SHA256};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage};

const ID_EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ID_PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ID_RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// The arcs under which 1, 2 and 3 mean test, vaccination and recovery. The second one is an early
/// mistake that is still in circulation; readers accept both.
const PURPOSE_ARCS: [&str; 2] = ["1.3.6.1.4.1.1847.2021.1.", "1.3.6.1.4.1.0.1847.2021.1."];

/// What is the shortest RSA key that may sign? QD 5772 §5.2-3 and RFC 8230 §2 say 2,048 bits.
const RSA_BITS_MIN: usize = 2_048;

/// What is the longest RSA key that is read? The verifier takes up to 8,192 bits; the largest in the
/// EU's list had 4,096.
const RSA_BITS_MAX: usize = 8_192;

/// A signature algorithm of health certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alg {
    /// ECDSA on P-256 with SHA-256, signature r‖s of 64 bytes.
    Es256,
    /// RSASSA-PSS with SHA-256, MGF1-SHA-256 and a salt of 32 bytes (RFC 8230 §2).
    Ps256,
}

impl Alg {
    /// Gives the COSE algorithm number: -7 or -37.
    #[must_use]
    pub const fn cose(self) -> i64 {
        match self {
            Self::Es256 => -7,
            Self::Ps256 => -37,
        }
    }

    /// Finds the algorithm of a COSE algorithm number.
    #[must_use]
    pub const fn from_cose(number: i64) -> Option<Self> {
        match number {
            -7 => Some(Self::Es256),
            -37 => Some(Self::Ps256),
            _ => None,
        }
    }

    /// Gives the registered name: `ES256` or `PS256`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Ps256 => "PS256",
        }
    }
}

impl fmt::Display for Alg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is neither `ES256` nor `PS256`; correct the name, retrying does not help.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("algorithm \"{0}\" is neither \"ES256\" nor \"PS256\"")]
pub struct UnknownAlg(
    /// The name that was given.
    pub String,
);

impl FromStr for Alg {
    type Err = UnknownAlg;

    fn from_str(name: &str) -> Result<Self, UnknownAlg> {
        match name {
            "ES256" => Ok(Self::Es256),
            "PS256" => Ok(Self::Ps256),
            other => Err(UnknownAlg(other.to_owned())),
        }
    }
}

/// A key identifier: the first 8 bytes of the SHA-256 of a signer certificate's DER encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kid([u8; 8]);

impl Kid {
    /// Computes the identifier of the certificate with this DER encoding.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(der).into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        Self([a, b, c, d, e, f, g, h])
    }

    /// Takes an identifier as it stands in a header or a list.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Gives the 8 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The kinds of event a health certificate can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A test: `t` in the payload.
    Test,
    /// A vaccination: `v` in the payload.
    Vaccination,
    /// A recovery: `r` in the payload.
    Recovery,
}

impl EventKind {
    /// Gives the key of this kind in the payload: `t`, `v` or `r`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Test => "t",
            Self::Vaccination => "v",
            Self::Recovery => "r",
        }
    }

    const fn arc(self) -> &'static str {
        match self {
            Self::Test => "1",
            Self::Vaccination => "2",
            Self::Recovery => "3",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Test => "test",
            Self::Vaccination => "vaccination",
            Self::Recovery => "recovery",
        })
    }
}

/// Why a certificate cannot be a signer's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// The bytes are not one X.509 certificate; give another file, retrying does not help.
    #[error("certificate cannot be read: {0}")]
    Encoding(String),
    /// The key is of a kind that signs no health certificate; use P-256 or RSA of 2,048 bits and more.
    #[error("certificate key is not usable: {0}")]
    Key(String),
    /// Key usage is there and does not contain digitalSignature; have the certificate issued anew.
    #[error("certificate key usage does not contain digitalSignature")]
    KeyUsage,
}

/// A signature that does not hold; it must not be released, the signer must be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("signature does not verify against the signer certificate")]
pub struct SignatureInvalid;

/// A certificate that signs health certificates, with its public key ready for use.
#[derive(Clone)]
pub struct SignerCertificate {
    facts: Arc<Facts>,
}

struct Facts {
    der: Vec<u8>,
    kid: Kid,
    alg: Alg,
    key: ParsedPublicKey,
    spki: Vec<u8>,
    not_before: i64,
    not_after: i64,
    subject: String,
    purposes: Purposes,
}

/// What extended key usage says about kinds of events.
enum Purposes {
    /// Nothing is said: every kind is allowed.
    Any,
    /// Only these kinds (possibly none).
    Only(Vec<EventKind>),
}

impl SignerCertificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// A [`CertificateError`] if it is none, or none that can sign health certificates.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = Certificate::from_der(der).map_err(encoding)?;
        Self::from_parsed(&certificate, der.to_vec())
    }

    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// A [`CertificateError`] if there is none, or none that can sign health certificates.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        // The kid is a digest of the DER bytes as they stand, so they are never encoded anew.
        let der = CertificateDer::from_pem_slice(pem).map_err(encoding)?;
        Self::from_der(&der)
    }

    fn from_parsed(certificate: &Certificate, der: Vec<u8>) -> Result<Self, CertificateError> {
        let tbs = certificate.tbs_certificate();
        let spki = tbs.subject_public_key_info().to_der().map_err(encoding)?;
        let alg = key_alg(tbs.subject_public_key_info())?;
        let key = match alg {
            Alg::Es256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &spki),
            Alg::Ps256 => ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &spki),
        }
        .map_err(|e| CertificateError::Key(format!("public key is malformed ({e})")))?;
        let usage = tbs.get_extension::<KeyUsage>().map_err(encoding)?;
        if usage.is_some_and(|(_, usage)| !usage.digital_signature()) {
            return Err(CertificateError::KeyUsage);
        }
        let facts = Facts {
            kid: Kid::of(&der),
            alg,
            key,
            spki,
            not_before: epoch(&tbs.validity().not_before),
            not_after: epoch(&tbs.validity().not_after),
            subject: tbs.subject().to_string(),
            purposes: purposes(certificate)?,
            der,
        };
        Ok(Self { facts: Arc::new(facts) })
    }

    /// Gives the DER encoding.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.facts.der
    }

    /// Gives the public key, in the encoding of its algorithm.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.facts.key.as_ref()
    }

    /// Gives the key identifier.
    #[must_use]
    pub fn kid(&self) -> Kid {
        self.facts.kid
    }

    /// Gives the one algorithm that this key signs with.
    #[must_use]
    pub fn alg(&self) -> Alg {
        self.facts.alg
    }

    /// Gives the DER encoding of the `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn public_key_info(&self) -> &[u8] {
        &self.facts.spki
    }

    /// Gives the first and the last second of its validity.
    #[must_use]
    pub fn validity(&self) -> policy::SignerValidity {
        policy::SignerValidity { not_before: self.not_before(), not_after: self.not_after() }
    }

    /// Gives the first second of validity, since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn not_before(&self) -> i64 {
        self.facts.not_before
    }

    /// Gives the last second of validity, since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.facts.not_after
    }

    /// Gives the subject's distinguished name (RFC 4514).
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.facts.subject
    }

    /// Tells whether extended key usage lets this certificate sign events of this kind.
    #[must_use]
    pub fn allows(&self, kind: EventKind) -> bool {
        match &self.facts.purposes {
            Purposes::Any => true,
            Purposes::Only(kinds) => kinds.contains(&kind),
        }
    }

    /// Verifies a signature over a whole message.
    ///
    /// # Errors
    /// [`SignatureInvalid`] if it is not this key's signature of these bytes.
    pub fn verify(&self, tbs: &[u8], signature: &[u8]) -> Result<(), SignatureInvalid> {
        self.facts.key.verify_sig(tbs, signature).map_err(|_| SignatureInvalid)
    }

    /// Verifies a signature over a message whose SHA-256 is known.
    ///
    /// # Errors
    /// [`SignatureInvalid`] if it is not this key's signature of this digest.
    pub fn verify_digest(
        &self,
        digest: &[u8; 32],
        signature: &[u8],
    ) -> Result<(), SignatureInvalid> {
        let digest = LcDigest::import_less_safe(digest, &SHA256).map_err(|_| SignatureInvalid)?;
        self.facts.key.verify_digest_sig(&digest, signature).map_err(|_| SignatureInvalid)
    }
}

impl fmt::Debug for SignerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignerCertificate")
            .field("kid", &self.facts.kid.to_string())
            .field("alg", &self.facts.alg)
            .field("subject", &self.facts.subject)
            .finish_non_exhaustive()
    }
}

fn encoding(error: impl fmt::Display) -> CertificateError {
    CertificateError::Encoding(error.to_string())
}

fn epoch(time: &x509_cert::time::Time) -> i64 {
    i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}

fn key_alg(spki: &x509_cert::spki::SubjectPublicKeyInfoOwned) -> Result<Alg, CertificateError> {
    if spki.algorithm.oid == ID_EC_PUBLIC_KEY {
        let curve = spki.algorithm.parameters.as_ref().map(|p| p.decode_as::<ObjectIdentifier>());
        return match curve {
            Some(Ok(ID_PRIME256V1)) => Ok(Alg::Es256),
            _ => Err(CertificateError::Key("elliptic curve is not P-256".to_owned())),
        };
    }
    if spki.algorithm.oid != ID_RSA_ENCRYPTION {
        return Err(CertificateError::Key("neither an EC nor an RSA key".to_owned()));
    }
    match modulus_bits(spki.subject_public_key.raw_bytes()) {
        Some(bits) if (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) => Ok(Alg::Ps256),
        Some(bits) => Err(CertificateError::Key(format!(
            "RSA key has {bits} bits, not {RSA_BITS_MIN} to {RSA_BITS_MAX}"
        ))),
        None => Err(CertificateError::Key("RSA key is malformed".to_owned())),
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
    let first = modulus.first()?;
    let zeros = usize::try_from(first.leading_zeros()).ok()?;
    (modulus.len() * 8).checked_sub(zeros)
}

/// Reads what extended key usage allows (certificate governance of the EU, "key usage").
fn purposes(certificate: &Certificate) -> Result<Purposes, CertificateError> {
    let extension =
        certificate.tbs_certificate().get_extension::<ExtendedKeyUsage>().map_err(encoding)?;
    let Some((critical, ExtendedKeyUsage(oids))) = extension else {
        return Ok(Purposes::Any);
    };
    let kinds: Vec<EventKind> = [EventKind::Test, EventKind::Vaccination, EventKind::Recovery]
        .into_iter()
        .filter(|kind| oids.iter().any(|oid| names(oid, *kind)))
        .collect();
    // Foreign purposes beside ours say nothing (the certificate of Viet Nam names clientAuth). A
    // critical extension that names foreign purposes alone restricts the key to those (RFC 5280
    // §4.2.1.12), and an unknown critical rule must not be ignored.
    let restricts = critical && !oids.is_empty();
    if kinds.is_empty() && !restricts {
        return Ok(Purposes::Any);
    }
    Ok(Purposes::Only(kinds))
}

fn names(oid: &ObjectIdentifier, kind: EventKind) -> bool {
    let oid = oid.to_string();
    PURPOSE_ARCS.iter().any(|arc| oid.strip_prefix(arc) == Some(kind.arc()))
}
