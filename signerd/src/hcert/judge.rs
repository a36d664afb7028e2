//! The strict judge of our own certificates: values before signing, bytes after.
//!
//! What verifiers accept is necessary and far from sufficient; other countries' faults (floats,
//! timestamps where dates belong, names outside `A-Z<`, wrong layouts) passed several of them. So the
//! values are held against the schema 1.3.0 and the HCERT specification before anything is signed, the
//! payload against the gate for deterministic CBOR and the values, and the finished bytes against a
//! layout that is spelled out here byte by byte: all without the crates that wrote them. Foreign
//! certificates are judged by `verify`, more kindly.

use jiff::civil::Date;
use sha2::{Digest, Sha256};
use unicode_normalization::is_nfc;

use super::claims::{Claims, Dcc, Name, PayloadError, SCHEMA_VERSION, Vaccination};
use super::signer::{Alg, Kid};
use crate::wire::cbor::gate::{self, Null};
use crate::wire::cbor::{Limits, Reader, Shape};

/// How long may a text field be? The schema says 80 characters.
const FIELD_CHARS_MAX: usize = 80;

/// What may the first year of birth be? The schema's pattern begins with 19.
const BIRTH_YEAR_MIN: u16 = 1900;

/// How much structure does a payload have? Five levels and 48 items; a little room for none.
const PAYLOAD_LIMITS: Limits = Limits { depth: 6, items: 64, outer_tag: None, null: Null::Refused };

/// A value that no certificate of ours may carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimFault {
    /// Where the value stands, as a JSON Pointer into the payload or a claim key.
    pub path: &'static str,
    /// What is wrong with it; never the value itself.
    pub what: &'static str,
}

/// What the finished bytes have to contain.
pub(super) struct Expected<'a> {
    pub(super) alg: Alg,
    pub(super) kid: Kid,
    pub(super) payload: &'a [u8],
    pub(super) signature: &'a [u8],
}

/// Judges values before they are encoded.
pub(super) fn claims(claims: &Claims) -> Result<(), ClaimFault> {
    ensure(is_country(&claims.iss), "1", "is not a country of two letters")?;
    ensure(claims.issued_at > 0, "6", "is not a time after 1970")?;
    ensure(claims.expires_at > claims.issued_at, "4", "is not after the time of issue")?;
    name(&claims.dcc.name)?;
    ensure(is_birth_date(&claims.dcc.date_of_birth), "/dob", "is not a date of birth")?;
    vaccination(&claims.dcc.vaccination)
}

fn name(name: &Name) -> Result<(), ClaimFault> {
    field(&name.family, "/nam/fn")?;
    standard(&name.family_standard, "/nam/fnt")?;
    if let Some(given) = &name.given {
        field(given, "/nam/gn")?;
    }
    if let Some(given) = &name.given_standard {
        standard(given, "/nam/gnt")?;
    }
    // A name that vanished in transliteration was a fault of several issuers.
    let both = name.given.is_some() == name.given_standard.is_some();
    ensure(both, "/nam/gnt", "does not go with /nam/gn")
}

fn vaccination(v: &Vaccination) -> Result<(), ClaimFault> {
    field(&v.ci, "/v/0/ci")?;
    ensure(v.ci.starts_with("URN:UVCI:01:"), "/v/0/ci", "does not begin with URN:UVCI:01:")?;
    ensure(v.ci.bytes().all(is_uvci), "/v/0/ci", "has a character outside the UVCI set")?;
    ensure(is_country(&v.co), "/v/0/co", "is not a country of two letters")?;
    ensure(v.dn >= 1, "/v/0/dn", "is below 1")?;
    ensure(v.sd >= 1, "/v/0/sd", "is below 1")?;
    // Above the series only the booster form n/1 exists.
    ensure(v.dn <= v.sd || v.sd == 1, "/v/0/dn", "is above the series")?;
    ensure(is_date(&v.dt), "/v/0/dt", "is not a calendar date")?;
    field(&v.is, "/v/0/is")?;
    field(&v.ma, "/v/0/ma")?;
    field(&v.mp, "/v/0/mp")?;
    field(&v.tg, "/v/0/tg")?;
    field(&v.vp, "/v/0/vp")
}

/// Judges the payload: deterministic CBOR that says exactly these claims and nothing else.
pub(super) fn payload(bytes: &[u8], claims: &Claims) -> Result<(), PayloadError> {
    let canonical =
        gate::check(bytes, &PAYLOAD_LIMITS).map_err(|fault| PayloadError(fault.to_string()))?;
    let mut said = Said(Reader::new(canonical));
    said.claims(claims).map_err(|differs| PayloadError(differs.to_string()))
}

/// What the payload says, read in its one order. Keys and structure are spelled out in CBOR.
struct Said<'a>(Reader<'a>);

impl Said<'_> {
    fn claims(&mut self, claims: &Claims) -> Result<(), Shape> {
        self.map(4)?;
        self.key(&[0x01])?;
        self.text(&claims.iss).map_err(|differs| differs.under(1))?;
        self.key(&[0x04])?;
        self.time(claims.expires_at).map_err(|differs| differs.under(4))?;
        self.key(&[0x06])?;
        self.time(claims.issued_at).map_err(|differs| differs.under(6))?;
        self.key(&[0x39, 0x01, 0x03])?;
        self.map(1)?;
        self.key(&[0x01])?;
        self.dcc(&claims.dcc).map_err(|differs| differs.under(1).under(-260))
    }

    fn dcc(&mut self, dcc: &Dcc) -> Result<(), Shape> {
        self.map(4)?;
        self.text("v")?;
        same(self.0.array()? == 1)?;
        self.vaccination(&dcc.vaccination).map_err(|differs| differs.under("v/0"))?;
        self.member("dob", &dcc.date_of_birth)?;
        self.text("nam")?;
        self.name(&dcc.name).map_err(|differs| differs.under("nam"))?;
        self.member("ver", SCHEMA_VERSION)
    }

    fn name(&mut self, name: &Name) -> Result<(), Shape> {
        let given = [&name.given, &name.given_standard].into_iter().flatten();
        self.map(given.fold(2, |pairs: u64, _| pairs.saturating_add(1)))?;
        self.member("fn", &name.family)?;
        self.optional("gn", name.given.as_deref())?;
        self.member("fnt", &name.family_standard)?;
        self.optional("gnt", name.given_standard.as_deref())
    }

    fn vaccination(&mut self, v: &Vaccination) -> Result<(), Shape> {
        self.map(10)?;
        self.member("ci", &v.ci)?;
        self.member("co", &v.co)?;
        self.count("dn", v.dn)?;
        self.member("dt", &v.dt)?;
        self.member("is", &v.is)?;
        self.member("ma", &v.ma)?;
        self.member("mp", &v.mp)?;
        self.count("sd", v.sd)?;
        self.member("tg", &v.tg)?;
        self.member("vp", &v.vp)
    }

    fn map(&mut self, pairs: u64) -> Result<(), Shape> {
        same(self.0.map()? == pairs)
    }

    fn key(&mut self, encoding: &[u8]) -> Result<(), Shape> {
        same(self.0.item()? == encoding)
    }

    fn text(&mut self, value: &str) -> Result<(), Shape> {
        same(self.0.text()? == value)
    }

    fn member(&mut self, key: &str, value: &str) -> Result<(), Shape> {
        self.text(key)?;
        self.text(value).map_err(|differs| differs.under(key))
    }

    fn optional(&mut self, key: &str, value: Option<&str>) -> Result<(), Shape> {
        value.map_or(Ok(()), |value| self.member(key, value))
    }

    fn count(&mut self, key: &str, value: u8) -> Result<(), Shape> {
        self.text(key)?;
        same(self.0.unsigned()? == u64::from(value)).map_err(|differs| differs.under(key))
    }

    fn time(&mut self, seconds: i64) -> Result<(), Shape> {
        same(i64::try_from(self.0.unsigned()?) == Ok(seconds))
    }
}

fn same(holds: bool) -> Result<(), Shape> {
    if holds { Ok(()) } else { Err(Shape::new("differs")) }
}

/// Judges the finished bytes: exactly tag 18, four members, the two headers, payload, signature.
pub(super) fn envelope(cose: &[u8], expected: &Expected<'_>) -> Result<(), &'static str> {
    let rest = cose.strip_prefix(&[0xd2, 0x84]).ok_or("not tag 18 and an array of four")?;
    let rest = strip(rest, &byte_string(&protected(expected.alg, expected.kid)))
        .ok_or("protected header differs")?;
    let rest = rest.strip_prefix(&[0xa0]).ok_or("unprotected header is not empty")?;
    let rest = strip(rest, &byte_string(expected.payload)).ok_or("payload differs")?;
    let rest = strip(rest, &byte_string(expected.signature)).ok_or("signature differs")?;
    if rest.is_empty() { Ok(()) } else { Err("bytes follow the signature") }
}

/// Computes what a verifier hashes: the `Sig_structure` (RFC 9052 §4.4), spelled out.
pub(super) fn digest(expected: &Expected<'_>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update([0x84, 0x6a]);
    hash.update(b"Signature1");
    hash.update(byte_string(&protected(expected.alg, expected.kid)));
    hash.update([0x40]);
    hash.update(byte_string(expected.payload));
    hash.finalize().into()
}

/// Spells out the protected header `{1: alg, 4: kid}`.
pub(super) fn protected(alg: Alg, kid: Kid) -> Vec<u8> {
    let mut bytes = vec![0xa2, 0x01];
    match alg {
        Alg::Es256 => bytes.push(0x26),
        Alg::Ps256 => bytes.extend_from_slice(&[0x38, 0x24]),
    }
    bytes.extend_from_slice(&[0x04, 0x48]);
    bytes.extend_from_slice(kid.as_bytes());
    bytes
}

/// Spells out a byte string with the shortest head (RFC 8949 §4.2.1); a certificate's are below 64 KiB.
fn byte_string(content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(content.len() + 3);
    match (u8::try_from(content.len()), u16::try_from(content.len())) {
        (Ok(length @ 0..=23), _) => bytes.push(0x40 | length),
        (Ok(length), _) => bytes.extend_from_slice(&[0x58, length]),
        (_, Ok(length)) => {
            bytes.push(0x59);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
        // Longer ones are not ours: the head matches nothing.
        _ => return Vec::new(),
    }
    bytes.extend_from_slice(content);
    bytes
}

fn strip<'a>(bytes: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    if prefix.is_empty() { None } else { bytes.strip_prefix(prefix) }
}

fn ensure(holds: bool, path: &'static str, what: &'static str) -> Result<(), ClaimFault> {
    if holds { Ok(()) } else { Err(ClaimFault { path, what }) }
}

fn field(value: &str, path: &'static str) -> Result<(), ClaimFault> {
    ensure(!value.trim().is_empty(), path, "is empty")?;
    ensure(value.trim() == value, path, "begins or ends with a space")?;
    ensure(value.chars().count() <= FIELD_CHARS_MAX, path, "has more than 80 characters")?;
    ensure(!value.chars().any(char::is_control), path, "has a control character")?;
    // HCERT specification §3.3.7: text is NFC, or a reader may compare it wrongly.
    ensure(is_nfc(value), path, "is not in nfc")
}

fn standard(value: &str, path: &'static str) -> Result<(), ClaimFault> {
    ensure(value.bytes().any(|b| b.is_ascii_uppercase()), path, "has no letter")?;
    ensure(value.len() <= FIELD_CHARS_MAX, path, "has more than 80 characters")?;
    let set = value.bytes().all(|b| b.is_ascii_uppercase() || b == b'<');
    ensure(set, path, "has a character outside A-Z and <")
}

fn is_country(value: &str) -> bool {
    value.len() == 2 && value.bytes().all(|b| b.is_ascii_uppercase())
}

const fn is_uvci(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b':' | b'/' | b'#')
}

/// Tells whether a text is a real calendar date in the one form `YYYY-MM-DD`.
pub(super) fn is_date(value: &str) -> bool {
    let shape = value.len() == 10
        && value.bytes().enumerate().all(|(i, b)| match i {
            4 | 7 => b == b'-',
            _ => b.is_ascii_digit(),
        });
    shape && value.parse::<Date>().is_ok()
}

fn is_birth_date(value: &str) -> bool {
    let full = match value.len() {
        4 => format!("{value}-01-01"),
        7 => format!("{value}-01"),
        _ => value.to_owned(),
    };
    let year = full.get(..4).and_then(|year| year.parse::<u16>().ok()).unwrap_or_default();
    is_date(&full) && (BIRTH_YEAR_MIN..BIRTH_YEAR_MIN + 200).contains(&year)
}
