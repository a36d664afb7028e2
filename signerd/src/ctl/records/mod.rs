//! Records: from the JSON records file to the entries of a batch.
//!
//! In goes a file (an array, or one object per line), out come [`Entry`] values one after the other,
//! each with its place in the file. A record given as an object is encoded here; one given as
//! base64url of its CBOR is passed on byte for byte. Limits of `record-entry` are checked here because
//! one bad entry would make the daemon refuse the whole batch; what is inside a record is the daemon's
//! to judge. Memory does not grow with the file.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use crate::ctl::cbor::Bytes;

pub mod model;
pub mod reader;

pub use model::{Dose, Holder, VaccinationRecord};
pub use reader::{RecordReader, RecordsError};

/// Most bytes of one encoded record (`api.cddl`).
const RECORD_BYTES_MAX: usize = 8192;
/// Most bytes of an identity statement (`api.cddl`).
const IDENTITY_STATEMENT_BYTES_MAX: usize = 2048;
/// Most bytes of a facility signature (`api.cddl`).
const FACILITY_SIGNATURE_BYTES_MAX: usize = 8192;
/// Most doses that one entry can select, and the greatest dose number (`api.cddl`).
const DOSES_MAX: u64 = 9;

/// One `record-entry`, ready to be sent; members in the order of their encoded keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Certify these doses only; `None`: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doses: Option<Vec<u64>>,
    /// The encoded record.
    pub record: Bytes,
    /// The facility's detached COSE_Sign1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facility_signature: Option<Bytes>,
    /// The population database's COSE_Sign1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_statement: Option<Bytes>,
}

/// An entry and where it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Its place among the records, from 0: what the output calls `record`.
    pub index: u64,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// What is sent.
    pub entry: Entry,
}

/// A `record-entry` as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonEntry {
    /// The record.
    pub record: JsonRecord,
    /// The doses to certify.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub doses: Option<Vec<u64>>,
    /// base64url of the statement.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub identity_statement: Option<String>,
    /// base64url of the signature.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub facility_signature: Option<String>,
}

/// A record as JSON: the object, or base64url of its CBOR bytes where others signed it already.
#[derive(Serialize)]
#[serde(untagged)]
pub enum JsonRecord {
    /// base64url of the bytes.
    Encoded(String),
    /// The object.
    Object(Box<VaccinationRecord>),
}

impl<'de> Deserialize<'de> for JsonRecord {
    // By hand instead of `untagged`, whose only message is "did not match any variant".
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RecordVisitor;
        impl<'de> serde::de::Visitor<'de> for RecordVisitor {
            type Value = JsonRecord;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a vaccination record, or base64url of its CBOR")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<JsonRecord, E> {
                Ok(JsonRecord::Encoded(text.to_owned()))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<JsonRecord, A::Error> {
                let source = serde::de::value::MapAccessDeserializer::new(map);
                VaccinationRecord::deserialize(source)
                    .map(|record| JsonRecord::Object(Box::new(record)))
            }
        }
        deserializer.deserialize_any(RecordVisitor)
    }
}

/// Why an entry cannot be sent; repeating does not help, the file has to be corrected.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// A member is not base64url (RFC 4648 §5).
    #[error("{0} is not base64url")]
    Base64(&'static str),
    /// A byte member is empty or longer than the format allows.
    #[error("{member} has {bytes} bytes; 1 to {max} are possible")]
    Size {
        /// The member.
        member: &'static str,
        /// How many bytes it has.
        bytes: usize,
        /// How many the format allows.
        max: usize,
    },
    /// The selection of doses is empty, too long, or names a number outside 1 to 9.
    #[error("doses must be 1 to 9 numbers from 1 to 9")]
    Selection,
    /// The record could not be encoded: a fault of this program.
    #[error(transparent)]
    Encode(#[from] super::cbor::EncodeError),
}

impl JsonEntry {
    /// Turns the JSON form into what is sent.
    ///
    /// # Errors
    /// When a member breaks a limit of `record-entry`.
    pub fn into_entry(self) -> Result<Entry, EntryError> {
        let selects_well = |doses: &Vec<u64>| {
            let count = u64::try_from(doses.len()).unwrap_or(u64::MAX);
            (1..=DOSES_MAX).contains(&count) && doses.iter().all(|n| (1..=DOSES_MAX).contains(n))
        };
        if !self.doses.as_ref().is_none_or(selects_well) {
            return Err(EntryError::Selection);
        }
        let record = match self.record {
            JsonRecord::Object(record) => record.with_iso_dates().encode()?,
            JsonRecord::Encoded(text) => base64url("record", &text)?,
        };
        let statement = self.identity_statement.map(|text| base64url("identity_statement", &text));
        let signature = self.facility_signature.map(|text| base64url("facility_signature", &text));
        let bounded = |member, max, bytes| bounded(member, max, bytes).map(Bytes);
        Ok(Entry {
            doses: self.doses,
            record: bounded("record", RECORD_BYTES_MAX, record)?,
            facility_signature: signature
                .transpose()?
                .map(|bytes| bounded("facility_signature", FACILITY_SIGNATURE_BYTES_MAX, bytes))
                .transpose()?,
            identity_statement: statement
                .transpose()?
                .map(|bytes| bounded("identity_statement", IDENTITY_STATEMENT_BYTES_MAX, bytes))
                .transpose()?,
        })
    }
}

/// Writes bytes as base64url without padding, the form of every byte string in the tool's JSON.
#[must_use]
pub fn to_base64url(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

fn base64url(member: &'static str, text: &str) -> Result<Vec<u8>, EntryError> {
    let unpadded = text.trim_end_matches('=');
    BASE64URL_NOPAD.decode(unpadded.as_bytes()).map_err(|_| EntryError::Base64(member))
}

fn bounded(member: &'static str, max: usize, bytes: Vec<u8>) -> Result<Vec<u8>, EntryError> {
    if bytes.is_empty() || bytes.len() > max {
        return Err(EntryError::Size { member, bytes: bytes.len(), max });
    }
    Ok(bytes)
}
