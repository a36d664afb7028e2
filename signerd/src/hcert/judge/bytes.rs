//! The judge of bytes: the payload before it is signed, the whole object before it leaves.
//!
//! In go bytes and what they have to say; out comes the first thing that differs. The layout is spelled
//! out here in CBOR, so that neither the encoder nor the COSE crate is believed. It does not know
//! whether the values are right: that was judged before.

use sha2::{Digest, Sha256};

use super::super::claims::{Claims, Dcc, Name, PayloadError, SCHEMA_VERSION, Vaccination};
use super::super::signer::{Alg, Kid};
use crate::wire::cbor::gate::{self, Null};
use crate::wire::cbor::{Limits, Reader, Shape};

/// How much structure does a payload have? Five levels and 48 items; a little room for none.
const PAYLOAD_LIMITS: Limits = Limits { depth: 6, items: 64, outer_tag: None, null: Null::Refused };

/// What the finished bytes have to contain.
pub(in crate::hcert) struct Expected<'a> {
    pub(in crate::hcert) alg: Alg,
    pub(in crate::hcert) kid: Kid,
    pub(in crate::hcert) payload: &'a [u8],
    pub(in crate::hcert) signature: &'a [u8],
}

/// Judges the payload: deterministic CBOR that says exactly these claims and nothing else.
pub(in crate::hcert) fn payload(bytes: &[u8], claims: &Claims) -> Result<(), PayloadError> {
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
pub(in crate::hcert) fn envelope(cose: &[u8], expected: &Expected<'_>) -> Result<(), &'static str> {
    let rest = cose.strip_prefix(&[0xd2, 0x84]).ok_or("not tag 18 and an array of four")?;
    let rest = strip(rest, &byte_string(&protected(expected.alg, expected.kid)))
        .ok_or("protected header differs")?;
    let rest = rest.strip_prefix(&[0xa0]).ok_or("unprotected header is not empty")?;
    let rest = strip(rest, &byte_string(expected.payload)).ok_or("payload differs")?;
    let rest = strip(rest, &byte_string(expected.signature)).ok_or("signature differs")?;
    if rest.is_empty() { Ok(()) } else { Err("bytes follow the signature") }
}

/// Computes what a verifier hashes: the `Sig_structure` (RFC 9052 §4.4), spelled out.
pub(in crate::hcert) fn digest(expected: &Expected<'_>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update([0x84, 0x6a]);
    hash.update(b"Signature1");
    hash.update(byte_string(&protected(expected.alg, expected.kid)));
    hash.update([0x40]);
    hash.update(byte_string(expected.payload));
    hash.finalize().into()
}

/// Spells out the protected header `{1: alg, 4: kid}`.
pub(in crate::hcert) fn protected(alg: Alg, kid: Kid) -> Vec<u8> {
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
