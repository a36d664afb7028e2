//! Making a certificate: claims, to-be-signed bytes, signature, text — with no way round the checks.
//!
//! [`prepare`] gives an [`Unsigned`], whose digest goes to the token. [`Unsigned::verify`] takes
//! the signature and gives a [`Signed`], and [`Signed::pack`] an [`Hcert`], which therefore exists only for
//! a text whose signature was verified by aws-lc-rs against the certificate and which was decoded again and
//! compared. A faulty RSA-CRT signature would give the key away; this is where it stops.

use std::fmt;

use coset::iana::Algorithm;
use coset::{CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable};
use policy::Catalogue;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::claims::{Claims, PayloadError};
use super::judge::{self, ClaimFault};
use super::signer::{Alg, EventKind, Kid, SignatureInvalid, SignerCertificate};
use super::text::{self, TextError};

/// Why a certificate was not made. None of these is cured by repeating the call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HcertError {
    /// A claim has a value that no certificate may carry; whoever made the claims is at fault.
    #[error("claim {} {}", .0.path, .0.what)]
    Claim(ClaimFault),
    /// The structure could not be encoded; a bug.
    #[error("certificate could not be encoded: {0}")]
    Encode(String),
    /// The claims came out of their own encoding changed; a bug.
    #[error("payload does not read back")]
    Payload(#[from] PayloadError),
    /// The text did not read back as the bytes that went into it; a bug or a hardware fault.
    #[error("text does not read back: {0}")]
    ReadBack(&'static str),
    /// The signature is not this certificate's over these bytes; the token or its key is at fault.
    /// The signature must be thrown away.
    #[error("signature refused")]
    Signature(#[from] SignatureInvalid),
    /// The certificate is not the one that the bytes were prepared for; the caller mixed them up.
    #[error("signer certificate {signer} is not the one the bytes were prepared for ({prepared})")]
    SignerDiffers {
        /// Identifier of the certificate that was given.
        signer: Kid,
        /// Identifier in the prepared header.
        prepared: Kid,
    },
    /// The signer certificate's extended key usage names other events only; verifiers would refuse it.
    /// Have another one issued.
    #[error("signer certificate may not sign vaccination certificates (extended key usage)")]
    SignerPurpose,
    /// The certificate would begin before or end after the signer certificate.
    #[error("certificate is not within the validity of the signer certificate")]
    SignerValidity,
    /// The compressor failed; a bug.
    #[error("text could not be made")]
    Text(#[from] TextError),
}

/// Claims encoded and waiting for their signature. Not cloneable: one preparation, one certificate.
pub struct Unsigned {
    alg: Alg,
    kid: Kid,
    issued_at: i64,
    expires_at: i64,
    digest: [u8; 32],
    sign1: CoseSign1,
}

/// Encodes claims for the signer with this algorithm and identifier; `codes` are the value sets in force.
///
/// # Errors
/// [`HcertError::Claim`] for a value that no certificate may carry; others are bugs.
pub fn prepare(
    alg: Alg,
    kid: Kid,
    claims: &Claims,
    codes: &Catalogue,
) -> Result<Unsigned, HcertError> {
    judge::claims(claims, codes).map_err(HcertError::Claim)?;
    let payload = claims.encode()?;
    judge::payload(&payload, claims)?;
    let protected = HeaderBuilder::new()
        .algorithm(match alg {
            Alg::Es256 => Algorithm::ES256,
            Alg::Ps256 => Algorithm::PS256,
        })
        .key_id(kid.as_bytes().to_vec())
        .build();
    let sign1 = CoseSign1Builder::new().protected(protected).payload(payload).build();
    let digest = Sha256::digest(sign1.tbs_data(&[])).into();
    let Claims { issued_at, expires_at, .. } = *claims;
    Ok(Unsigned { alg, kid, issued_at, expires_at, digest, sign1 })
}

impl Unsigned {
    /// Gives the SHA-256 of the `Sig_structure` (RFC 9052 §4.4): what the token signs.
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Gives the `Sig_structure` itself, for tokens that hash; personal data.
    #[must_use]
    pub fn tbs(&self) -> Vec<u8> {
        self.sign1.tbs_data(&[])
    }

    /// Gives the encoded claims; personal data.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.sign1.payload.as_deref().unwrap_or_default()
    }

    /// Gives the encoded protected header.
    #[must_use]
    pub fn protected(&self) -> Vec<u8> {
        judge::protected(self.alg, self.kid)
    }

    /// Verifies the signature, and that the signer may make this certificate.
    ///
    /// # Errors
    /// The reason, with what is to be signed: another signature may be tried, this one never leaves.
    pub fn verify(
        self,
        signature: &[u8],
        signer: &SignerCertificate,
    ) -> Result<Signed, Box<Refused>> {
        match self.fits(signature, signer) {
            Ok(()) => Ok(Signed { unsigned: self, signature: signature.to_vec() }),
            Err(error) => Err(Box::new(Refused { unsigned: self, error })),
        }
    }

    fn fits(&self, signature: &[u8], signer: &SignerCertificate) -> Result<(), HcertError> {
        if signer.kid() != self.kid || signer.alg() != self.alg {
            return Err(HcertError::SignerDiffers { signer: signer.kid(), prepared: self.kid });
        }
        if self.issued_at < signer.not_before() || self.expires_at > signer.not_after() {
            return Err(HcertError::SignerValidity);
        }
        if !signer.allows(EventKind::Vaccination) {
            return Err(HcertError::SignerPurpose);
        }
        judge::validity(self.issued_at, self.expires_at).map_err(HcertError::Claim)?;
        signer.verify_digest(&self.digest, signature)?;
        Ok(())
    }
}

/// A certificate whose signature did not fit.
#[derive(Debug)]
pub struct Refused {
    /// What was to be signed.
    pub unsigned: Unsigned,
    /// Why the signature was refused.
    pub error: HcertError,
}

/// A certificate with a verified signature, not yet packed.
#[derive(Debug)]
pub struct Signed {
    unsigned: Unsigned,
    signature: Vec<u8>,
}

impl Signed {
    /// Packs, reads back, and gives the certificate.
    ///
    /// # Errors
    /// An [`HcertError`]; nothing of the certificate leaves in that case.
    pub fn pack(self) -> Result<Hcert, HcertError> {
        let Self { unsigned: Unsigned { sign1, alg, kid, digest, .. }, signature } = self;
        let mut sign1 = sign1;
        let payload = sign1.payload.clone().unwrap_or_default();
        sign1.signature.clone_from(&signature);
        let cose = sign1.to_tagged_vec().map_err(|e| HcertError::Encode(e.to_string()))?;
        let text = text::encode(&cose)?;

        let back = text::decode(&text)?;
        if back != cose {
            return Err(HcertError::ReadBack("bytes differ"));
        }
        let expected = judge::Expected { alg, kid, payload: &payload, signature: &signature };
        judge::envelope(&back, &expected).map_err(HcertError::ReadBack)?;
        if judge::digest(&expected) != digest {
            return Err(HcertError::ReadBack("signed bytes differ"));
        }
        Ok(Hcert { text, cose_sha256: Sha256::digest(&cose).into() })
    }
}

impl fmt::Debug for Unsigned {
    // The payload is personal data and stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsigned")
            .field("alg", &self.alg)
            .field("kid", &self.kid.to_string())
            .finish_non_exhaustive()
    }
}

/// A certificate that was verified and read back: the proof is that the value exists.
#[derive(Clone, PartialEq, Eq)]
pub struct Hcert {
    text: String,
    cose_sha256: [u8; 32],
}

impl Hcert {
    /// Gives the text, `HC1:` and what follows.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Gives the text by value.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    /// Gives the SHA-256 of the tagged `COSE_Sign1` encoding.
    #[must_use]
    pub const fn cose_sha256(&self) -> [u8; 32] {
        self.cose_sha256
    }
}

impl fmt::Debug for Hcert {
    // The text holds personal data and stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hcert").field("text", &"[personal data]").finish_non_exhaustive()
    }
}
