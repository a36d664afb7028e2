//! What a certificate of ours says: one holder, one vaccination, in the terms of the EU DCC 1.3.0.
//!
//! In go typed claims, out comes their deterministic CBOR (RFC 8949 §4.2.1). This module only writes:
//! whether the values may stand in a certificate and whether the bytes say them is `judge`'s part,
//! whether the dose may be certified at all is `policy`'s.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use thiserror::Error;

/// The version of the payload schema that we issue, as in the real sample.
pub const SCHEMA_VERSION: &str = "1.3.0";

/// CWT claim: issuer (RFC 8392 §3.1.1).
pub(super) const CLAIM_ISS: i64 = 1;
/// CWT claim: expiration time (RFC 8392 §3.1.4).
pub(super) const CLAIM_EXP: i64 = 4;
/// CWT claim: issued at (RFC 8392 §3.1.6).
pub(super) const CLAIM_IAT: i64 = 6;
/// CWT claim: health certificate (HCERT specification §3.3.4).
pub(super) const CLAIM_HCERT: i64 = -260;
/// Entry of the health certificate claim: the EU DCC.
pub(super) const HCERT_DCC: i64 = 1;

/// Room for the payload of a usual name; a longer one grows.
const PAYLOAD_BYTES_USUAL: usize = 512;

/// The claims of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Issuer, ISO 3166-1 alpha-2.
    pub iss: String,
    /// Time of issue, seconds since 1970-01-01T00:00:00Z.
    pub issued_at: i64,
    /// Time of expiry, seconds since 1970-01-01T00:00:00Z.
    pub expires_at: i64,
    /// The payload.
    pub dcc: Dcc,
}

/// The payload: who, born when, vaccinated how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dcc {
    /// The holder's name.
    pub name: Name,
    /// Date of birth: `YYYY-MM-DD`, `YYYY-MM` or `YYYY`.
    pub date_of_birth: String,
    /// The one event.
    pub vaccination: Vaccination,
}

/// A name as written (NFC) and as ICAO 9303-3 transliterates it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Name {
    /// Surname: `fn`.
    #[serde(rename = "fn")]
    pub family: String,
    /// The rest of the name, absent for a mononym: `gn`.
    #[serde(rename = "gn", skip_serializing_if = "Option::is_none")]
    pub given: Option<String>,
    /// Transliterated surname: `fnt`.
    #[serde(rename = "fnt")]
    pub family_standard: String,
    /// Transliterated rest, absent for a mononym: `gnt`.
    #[serde(rename = "gnt", skip_serializing_if = "Option::is_none")]
    pub given_standard: Option<String>,
}

/// One vaccination; the fields have the schema's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vaccination {
    /// Certificate identifier (UVCI).
    pub ci: String,
    /// Country of vaccination, ISO 3166-1 alpha-2.
    pub co: String,
    /// Dose number.
    pub dn: u8,
    /// Date of vaccination, `YYYY-MM-DD`, a calendar date of the place.
    pub dt: String,
    /// Certificate issuer as text.
    pub is: String,
    /// Manufacturer code.
    pub ma: String,
    /// Product code.
    pub mp: String,
    /// Doses in the series.
    pub sd: u8,
    /// Disease code.
    pub tg: String,
    /// Vaccine type code.
    pub vp: String,
}

/// Bytes that are not the encoding of the claims; a bug, retrying does not help.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("payload is not the encoding of the claims: {0}")]
pub struct PayloadError(
    /// What differs, without any value.
    pub String,
);

impl Claims {
    /// Writes the claims in deterministic CBOR.
    pub(super) fn encode(&self) -> Result<Vec<u8>, PayloadError> {
        let mut bytes = Vec::with_capacity(PAYLOAD_BYTES_USUAL);
        coset::cbor::ser::into_writer(self, &mut bytes).map_err(|e| PayloadError(e.to_string()))?;
        Ok(bytes)
    }
}

// All maps below are written in the bytewise order of their encoded keys (RFC 8949 §4.2.1), which the
// encoder takes as it comes; `judge` holds the result against the order.

impl Serialize for Claims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry(&CLAIM_ISS, &self.iss)?;
        map.serialize_entry(&CLAIM_EXP, &self.expires_at)?;
        map.serialize_entry(&CLAIM_IAT, &self.issued_at)?;
        map.serialize_entry(&CLAIM_HCERT, &Hcert(&self.dcc))?;
        map.end()
    }
}

/// The health certificate claim: a map from the kind of payload to the payload.
struct Hcert<'a>(&'a Dcc);

impl Serialize for Hcert<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(&HCERT_DCC, self.0)?;
        map.end()
    }
}

impl Serialize for Dcc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("v", &[&self.vaccination])?;
        map.serialize_entry("dob", &self.date_of_birth)?;
        map.serialize_entry("nam", &self.name)?;
        map.serialize_entry("ver", SCHEMA_VERSION)?;
        map.end()
    }
}
