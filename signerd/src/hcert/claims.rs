//! What a certificate of ours says: one holder, one vaccination, in the terms of the EU DCC 1.3.0.
//!
//! In go typed claims, out comes their deterministic CBOR (RFC 8949 §4.2.1), and back. Encoding only
//! writes; whether the values may stand in a certificate is `judge`'s part, whether the dose may be
//! certified at all is `policy`'s.

use coset::cbor::Value;
use thiserror::Error;

use super::tree::Tree;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Surname: `fn`.
    pub family: String,
    /// The rest of the name, absent for a mononym: `gn`.
    pub given: Option<String>,
    /// Transliterated surname: `fnt`.
    pub family_standard: String,
    /// Transliterated rest, absent for a mononym: `gnt`.
    pub given_standard: Option<String>,
}

/// One vaccination; the fields have the schema's names.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// Bytes that are not the encoding of claims of ours; a bug if we made them, retrying does not help.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("payload is not the encoding of the claims: {0}")]
pub struct PayloadError(
    /// What is missing, superfluous or of the wrong type.
    pub String,
);

impl Claims {
    /// Writes the claims in deterministic CBOR: keys in bytewise order of their encodings.
    pub(super) fn encode(&self) -> Result<Vec<u8>, PayloadError> {
        let dcc = Value::Map(vec![
            entry("v", Value::Array(vec![self.dcc.vaccination.value()])),
            entry("dob", text(&self.dcc.date_of_birth)),
            entry("nam", self.dcc.name.value()),
            entry("ver", text(SCHEMA_VERSION)),
        ]);
        let claims = Value::Map(vec![
            (int(CLAIM_ISS), text(&self.iss)),
            (int(CLAIM_EXP), int(self.expires_at)),
            (int(CLAIM_IAT), int(self.issued_at)),
            (int(CLAIM_HCERT), Value::Map(vec![(int(HCERT_DCC), dcc)])),
        ]);
        let mut bytes = Vec::with_capacity(512);
        coset::cbor::ser::into_writer(&claims, &mut bytes)
            .map_err(|e| PayloadError(e.to_string()))?;
        Ok(bytes)
    }

    /// Reads claims of ours, and nothing else: a field too many or of another type is an error.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, PayloadError> {
        let tree = Tree::decode(bytes).map_err(|e| PayloadError(e.to_string()))?;
        let hcert = tree.key(CLAIM_HCERT).ok_or_else(|| missing("-260"))?;
        let dcc = hcert.key(HCERT_DCC).ok_or_else(|| missing("-260/1"))?;
        let name = dcc.get("nam").ok_or_else(|| missing("nam"))?;
        let event = dcc.get("v").and_then(|v| v.item(0)).ok_or_else(|| missing("v/0"))?;
        if required(dcc, "ver")? != SCHEMA_VERSION {
            return Err(missing("ver"));
        }
        let claims = Self {
            iss: tree
                .key(CLAIM_ISS)
                .and_then(Tree::as_text)
                .ok_or_else(|| missing("1"))?
                .to_owned(),
            issued_at: tree.key(CLAIM_IAT).and_then(Tree::as_int).ok_or_else(|| missing("6"))?,
            expires_at: tree.key(CLAIM_EXP).and_then(Tree::as_int).ok_or_else(|| missing("4"))?,
            dcc: Dcc {
                name: Name::from_tree(name)?,
                date_of_birth: required(dcc, "dob")?,
                vaccination: Vaccination::from_tree(event)?,
            },
        };
        // Whatever else stood in the bytes (unknown fields, other orders, longer forms) is not in
        // the encoding of what was understood.
        if claims.encode()? != bytes {
            return Err(PayloadError("another encoding than ours".to_owned()));
        }
        Ok(claims)
    }
}

impl Name {
    fn value(&self) -> Value {
        let mut entries = vec![entry("fn", text(&self.family))];
        if let Some(given) = &self.given {
            entries.push(entry("gn", text(given)));
        }
        entries.push(entry("fnt", text(&self.family_standard)));
        if let Some(given) = &self.given_standard {
            entries.push(entry("gnt", text(given)));
        }
        Value::Map(entries)
    }

    fn from_tree(tree: &Tree) -> Result<Self, PayloadError> {
        let optional = |key: &str| tree.get(key).and_then(Tree::as_text).map(str::to_owned);
        Ok(Self {
            family: required(tree, "fn")?,
            given: optional("gn"),
            family_standard: required(tree, "fnt")?,
            given_standard: optional("gnt"),
        })
    }
}

impl Vaccination {
    fn value(&self) -> Value {
        Value::Map(vec![
            entry("ci", text(&self.ci)),
            entry("co", text(&self.co)),
            entry("dn", int(i64::from(self.dn))),
            entry("dt", text(&self.dt)),
            entry("is", text(&self.is)),
            entry("ma", text(&self.ma)),
            entry("mp", text(&self.mp)),
            entry("sd", int(i64::from(self.sd))),
            entry("tg", text(&self.tg)),
            entry("vp", text(&self.vp)),
        ])
    }

    fn from_tree(tree: &Tree) -> Result<Self, PayloadError> {
        Ok(Self {
            ci: required(tree, "ci")?,
            co: required(tree, "co")?,
            dn: count(tree, "dn")?,
            dt: required(tree, "dt")?,
            is: required(tree, "is")?,
            ma: required(tree, "ma")?,
            mp: required(tree, "mp")?,
            sd: count(tree, "sd")?,
            tg: required(tree, "tg")?,
            vp: required(tree, "vp")?,
        })
    }
}

fn required(tree: &Tree, key: &str) -> Result<String, PayloadError> {
    tree.get(key).and_then(Tree::as_text).map(str::to_owned).ok_or_else(|| missing(key))
}

fn count(tree: &Tree, key: &str) -> Result<u8, PayloadError> {
    let number = tree.get(key).and_then(Tree::as_int).ok_or_else(|| missing(key))?;
    u8::try_from(number).map_err(|_| missing(key))
}

fn missing(path: &str) -> PayloadError {
    PayloadError(format!("\"{path}\" is missing or of another kind"))
}

fn entry(key: &str, value: Value) -> (Value, Value) {
    (text(key), value)
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn int(value: i64) -> Value {
    Value::Integer(value.into())
}
