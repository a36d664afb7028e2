//! The envelope of a certificate as it was found: `COSE_Sign1` (RFC 9052 §4.2), with or without tags.
//!
//! In go the bytes out of the zlib stream, out come header facts, payload bytes and the bytes that
//! were signed. It takes what other countries write: `kid` or `alg` in the unprotected header (the
//! protected one wins), tag 61 outside tag 18, no tag at all; what of it is acceptable, `verify` says.

use coset::cbor::Value;
use coset::{Algorithm, AsCborValue, CoseSign1, Header};
use thiserror::Error;

use super::signer::Alg;
use super::tree::{self, TreeError};

const TAG_COSE_SIGN1: u64 = 18;
const TAG_CWT: u64 = 61;

/// Which tags stand before the `COSE_Sign1` array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tagging {
    /// Tag 18, as it should be.
    CoseSign1,
    /// Tag 61 (CWT), then tag 18.
    CwtCoseSign1,
    /// No tag.
    Untagged,
}

/// In which header a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the protected header alone or in both (then the protected one counts).
    Protected,
    /// In the unprotected header alone.
    Unprotected,
}

/// The algorithm that a header names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedAlg {
    /// ES256 or PS256.
    Known(Alg),
    /// Another COSE algorithm number.
    Other(i64),
    /// A text or something else.
    Unnumbered,
}

/// Why bytes are not a `COSE_Sign1`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    /// The structure is wrong; damaged or another kind of object, retrying does not help.
    #[error("content is not a COSE_Sign1: {0}")]
    NotCoseSign1(String),
    /// The payload is detached (nil); an HC1 text must carry it.
    #[error("COSE_Sign1 carries no payload")]
    NoPayload,
    /// The bytes are not one CBOR item.
    #[error("content is not one cbor item")]
    Cbor(#[source] TreeError),
}

/// A `COSE_Sign1` that was read.
#[derive(Debug, Clone)]
pub struct Envelope {
    tagging: Tagging,
    sign1: CoseSign1,
}

impl Envelope {
    /// Reads one `COSE_Sign1`.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let value = tree::decode_value(bytes).map_err(EnvelopeError::Cbor)?;
        let (tagging, array) = match value {
            Value::Tag(TAG_COSE_SIGN1, array) => (Tagging::CoseSign1, *array),
            Value::Tag(TAG_CWT, inner) => match *inner {
                Value::Tag(TAG_COSE_SIGN1, array) => (Tagging::CwtCoseSign1, *array),
                _ => return Err(EnvelopeError::NotCoseSign1("tag 61 without tag 18".to_owned())),
            },
            Value::Tag(tag, _) => {
                return Err(EnvelopeError::NotCoseSign1(format!("tag {tag}, not 18")));
            }
            array => (Tagging::Untagged, array),
        };
        let sign1 = CoseSign1::from_cbor_value(array)
            .map_err(|e| EnvelopeError::NotCoseSign1(e.to_string()))?;
        if sign1.payload.is_none() {
            return Err(EnvelopeError::NoPayload);
        }
        Ok(Self { tagging, sign1 })
    }

    /// Gives the tags that were found.
    #[must_use]
    pub const fn tagging(&self) -> Tagging {
        self.tagging
    }

    /// Gives the algorithm and where it stands; none if no header names one.
    #[must_use]
    pub fn alg(&self) -> Option<(NamedAlg, Place)> {
        self.parameter(|header| header.alg.as_ref().map(named))
    }

    /// Gives the key identifier and where it stands; none if no header has one.
    #[must_use]
    pub fn kid(&self) -> Option<(&[u8], Place)> {
        self.parameter(|header| (!header.key_id.is_empty()).then_some(header.key_id.as_slice()))
    }

    /// Tells whether a header demands that the reader understand more than we do (RFC 9052 §3.1).
    #[must_use]
    pub fn has_critical(&self) -> bool {
        !self.sign1.protected.header.crit.is_empty() || !self.sign1.unprotected.crit.is_empty()
    }

    /// Gives the bytes of the protected header as they stand.
    #[must_use]
    pub fn protected(&self) -> &[u8] {
        self.sign1.protected.original_data.as_deref().unwrap_or_default()
    }

    /// Gives the payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.sign1.payload.as_deref().unwrap_or_default()
    }

    /// Gives the signature.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.sign1.signature
    }

    /// Gives the bytes that were signed: the `Sig_structure` of RFC 9052 §4.4.
    #[must_use]
    pub fn tbs(&self) -> Vec<u8> {
        self.sign1.tbs_data(&[])
    }

    fn parameter<'a, T>(&'a self, find: impl Fn(&'a Header) -> Option<T>) -> Option<(T, Place)> {
        let protected = find(&self.sign1.protected.header).map(|found| (found, Place::Protected));
        protected.or_else(|| find(&self.sign1.unprotected).map(|f| (f, Place::Unprotected)))
    }
}

fn named(alg: &Algorithm) -> NamedAlg {
    use coset::iana::EnumI64;
    let number = match alg {
        Algorithm::Assigned(alg) => alg.to_i64(),
        Algorithm::PrivateUse(number) => *number,
        Algorithm::Text(_) => return NamedAlg::Unnumbered,
    };
    Alg::from_cose(number).map_or(NamedAlg::Other(number), NamedAlg::Known)
}
