//! Reading a health certificate of any country, without judging it.
//!
//! In goes a text, out comes what it says: envelope facts, claims, payload. It is tolerant where
//! issuers differ and bounded everywhere. It does not check a signature, a date or a schema: nothing
//! it gives is proven before `verify` has said so.

use thiserror::Error;

use super::claims::{CLAIM_EXP, CLAIM_HCERT, CLAIM_IAT, CLAIM_ISS, HCERT_DCC};
use super::envelope::{Envelope, EnvelopeError};
use super::text::{self, TextError};
use super::tree::{Tree, TreeError};

/// Why a text could not be read down to its claims.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The payload of the envelope is not one CBOR item; damaged, retrying does not help.
    #[error("payload is not readable cbor")]
    Claims(#[source] TreeError),
    /// What was compressed is not a signed object; damaged or another object, retrying does not help.
    #[error("no signed object in the text")]
    Envelope(#[from] EnvelopeError),
    /// The payload is not a map of claims; another object, retrying does not help.
    #[error("payload is {0}, not a map of claims (rfc 8392)")]
    NotClaims(&'static str),
    /// The text is not an HC1 text; damaged or another text, retrying does not help.
    #[error("not an HC1 text")]
    Text(#[from] TextError),
}

/// A certificate that was read and not judged.
#[derive(Debug, Clone)]
pub struct Decoded {
    envelope: Envelope,
    claims: Tree,
    sizes: Sizes,
}

/// How large the layers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Characters of the text, prefix included.
    pub text_chars: usize,
    /// Bytes of the `COSE_Sign1`.
    pub cose_bytes: usize,
    /// Bytes of the payload.
    pub payload_bytes: usize,
    /// Bytes of the signature.
    pub signature_bytes: usize,
}

/// Reads one HC1 text.
///
/// # Errors
/// A [`ReadError`] that names the first layer that does not hold.
pub fn read(text: &str) -> Result<Decoded, ReadError> {
    let cose = text::decode(text)?;
    let envelope = Envelope::decode(&cose)?;
    let claims = Tree::decode(envelope.payload()).map_err(ReadError::Claims)?;
    if !matches!(claims, Tree::Map(_)) {
        return Err(ReadError::NotClaims(claims.kind()));
    }
    let sizes = Sizes {
        text_chars: text.len(),
        cose_bytes: cose.len(),
        payload_bytes: envelope.payload().len(),
        signature_bytes: envelope.signature().len(),
    };
    Ok(Decoded { envelope, claims, sizes })
}

impl Decoded {
    /// Gives the envelope.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Gives all claims as they stand.
    #[must_use]
    pub const fn claims(&self) -> &Tree {
        &self.claims
    }

    /// Gives the sizes of the layers.
    #[must_use]
    pub const fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Gives the issuer, usually a country of two or three letters.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.claims.key(CLAIM_ISS).and_then(Tree::as_text)
    }

    /// Gives the time of issue in seconds since 1970.
    #[must_use]
    pub fn issued_at(&self) -> Option<i64> {
        self.claims.key(CLAIM_IAT).and_then(Tree::as_epoch)
    }

    /// Gives the time of expiry in seconds since 1970.
    #[must_use]
    pub fn expires_at(&self) -> Option<i64> {
        self.claims.key(CLAIM_EXP).and_then(Tree::as_epoch)
    }

    /// Gives the health certificate claim, whatever payload it holds.
    #[must_use]
    pub fn hcert(&self) -> Option<&Tree> {
        self.claims.key(CLAIM_HCERT)
    }

    /// Gives the EU DCC payload, if there is one.
    #[must_use]
    pub fn dcc(&self) -> Option<&Tree> {
        self.hcert().and_then(|hcert| hcert.key(HCERT_DCC))
    }
}
