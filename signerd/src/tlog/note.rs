//! Checkpoints: the size and root of the log, signed (`c2sp.org/tlog-checkpoint` in a signed note).
//!
//! ```text
//! signerd.moh.gov.vn/log          the log's name, its origin
//! 123                             how many entries
//! qINS1GRF…=                      root of RFC 6962, base64
//! time 1790000000                 when it was signed, seconds since 1970
//!
//! — signerd.moh.gov.vn/log Tm9i…  signature of the audit key, and perhaps of witnesses
//! ```
//! The audit key signs with ECDSA on P-256 and SHA-256, type 2 of `c2sp.org/signed-note`: hardware tokens
//! have it. In go a head and later its signature, out comes the text; back, a text and the certificate of
//! the audit key give the head, or the reason why it is not one. Nothing is signed here.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _, asn1::UintRef};

use super::tiles::Node;

/// Longest note that is read: a head is 200 bytes, a witness's signature 150.
const NOTE_BYTES_MAX: usize = 64 * 1024;
/// Longest origin, in bytes.
pub const ORIGIN_BYTES_MAX: usize = 200;
/// What the line with the time begins with.
const TIME: &str = "time ";
/// What a line with a signature begins with: an em dash and a space.
pub(super) const SIGNATURE: &str = "\u{2014} ";
/// Bytes of a key's id before the signature.
pub(super) const KEY_ID_BYTES: usize = 4;

/// The head of the log at a time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head {
    /// The log's name.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root of the tree of them.
    pub root: Node,
    /// When it was signed, seconds since 1970.
    pub at: i64,
}

/// The audit key, as its certificate has it.
#[derive(Clone, Debug)]
pub struct AuditKey {
    /// The uncompressed point, 65 bytes.
    point: Vec<u8>,
    id: [u8; KEY_ID_BYTES],
}

/// Why a text is no checkpoint of the log. To blame: who gave it. Do not retry.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
pub enum NotACheckpoint {
    /// Not a signed note, or not one with the lines of a checkpoint.
    #[error("not a checkpoint: {0}")]
    Form(&'static str),
    /// Of another log.
    #[error("a checkpoint of another log")]
    Origin,
    /// The audit key did not sign it.
    #[error("no signature of the audit key")]
    Unsigned,
    /// The audit key's signature is not of this text.
    #[error("the signature of the audit key does not fit the text")]
    Forged,
    /// A witness's signature is not of this text.
    #[error("the cosignature of the witness does not fit the text")]
    Cosignature,
}

/// Why a certificate has no audit key. To blame: the operator. Do not retry.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
pub enum NotAnAuditKey {
    /// Not DER of X.509.
    #[error("not an X.509 certificate")]
    Certificate,
    /// RSA, or another curve.
    #[error("its key is not an EC key on P-256")]
    Curve,
}

/// Whether a text may name a log: no spaces, no plus, printable, as `c2sp.org/signed-note` asks of a key.
#[must_use]
pub fn is_origin(text: &str) -> bool {
    (1..=ORIGIN_BYTES_MAX).contains(&text.len())
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

impl Head {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { origin, size, root, at } = self;
        format!("{origin}\n{size}\n{}\n{TIME}{at}\n", BASE64.encode(root))
    }

    /// SHA-256 of the text, for the token.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.text()).into()
    }

    /// The signed note, of the signature r‖s that the token made.
    #[must_use]
    pub fn signed(&self, key: &AuditKey, signature: &[u8; 64]) -> Option<String> {
        let signature = der_of(signature)?;
        let blob = BASE64.encode(&[key.id.as_slice(), &signature].concat());
        Some(format!("{}\n{SIGNATURE}{} {blob}\n", self.text(), self.origin))
    }

    /// Reads a note and verifies the audit key's signature.
    ///
    /// # Errors
    /// [`NotACheckpoint`].
    pub fn open(note: &str, key: &AuditKey, origin: Option<&str>) -> Result<Self, NotACheckpoint> {
        let (text, signatures) = split(note)?;
        let head = Self::parse(text)?;
        if origin.is_some_and(|expected| expected != head.origin) {
            return Err(NotACheckpoint::Origin);
        }
        let mut found = false;
        for line in signatures.lines() {
            let (name, blob) = signature_of(line)?;
            let Some((id, signature)) = blob.split_first_chunk::<KEY_ID_BYTES>() else {
                return Err(NotACheckpoint::Form("a signature without a key's id"));
            };
            // Other keys' signatures are witnesses', and theirs to verify.
            if name == head.origin && *id == key.id {
                key.verify(text.as_bytes(), signature)?;
                found = true;
            }
        }
        if found { Ok(head) } else { Err(NotACheckpoint::Unsigned) }
    }

    /// Reads a note without a key to verify it with: what it says is not to be believed yet.
    ///
    /// # Errors
    /// [`NotACheckpoint::Form`], [`NotACheckpoint::Origin`].
    pub fn unverified(note: &str, origin: Option<&str>) -> Result<Self, NotACheckpoint> {
        let (text, _) = split(note)?;
        let head = Self::parse(text)?;
        if origin.is_some_and(|expected| expected != head.origin) {
            return Err(NotACheckpoint::Origin);
        }
        Ok(head)
    }

    fn parse(text: &str) -> Result<Self, NotACheckpoint> {
        let mut lines = text.lines();
        let mut line = |missing| lines.next().ok_or(NotACheckpoint::Form(missing));
        let origin = line("no origin")?.to_owned();
        let size = decimal(line("no size")?).ok_or(NotACheckpoint::Form("no size"))?;
        let root = base64(line("no root")?);
        let root = root.and_then(|root| root.try_into().ok());
        let root = root.ok_or(NotACheckpoint::Form("no root"))?;
        let at = line("no time")?.strip_prefix(TIME).and_then(decimal);
        let at = at.and_then(|at| i64::try_from(at).ok()).ok_or(NotACheckpoint::Form("no time"))?;
        if !is_origin(&origin) {
            return Err(NotACheckpoint::Form("no origin"));
        }
        // Lines of a later release may follow; they are signed like the others.
        Ok(Self { origin, size, root, at })
    }
}

/// The text with its last line break, and the lines of the signatures.
pub(super) fn split(note: &str) -> Result<(&str, &str), NotACheckpoint> {
    if note.len() > NOTE_BYTES_MAX || note.contains(|c: char| c.is_control() && c != '\n') {
        return Err(NotACheckpoint::Form("not the text of a note"));
    }
    let at = note.rfind("\n\n").ok_or(NotACheckpoint::Form("no signatures"))?;
    let (text, rest) = note.split_at(at.saturating_add(1));
    let signatures = rest.strip_prefix('\n').filter(|rest| rest.ends_with('\n'));
    Ok((text, signatures.ok_or(NotACheckpoint::Form("no signatures"))?))
}

pub(super) fn signature_of(line: &str) -> Result<(&str, Vec<u8>), NotACheckpoint> {
    let malformed = NotACheckpoint::Form("a line that is no signature");
    let (name, blob) =
        line.strip_prefix(SIGNATURE).and_then(|line| line.split_once(' ')).ok_or(malformed)?;
    let blob = base64(blob).ok_or(malformed)?;
    Ok((name, blob))
}

/// Bytes in their one form of base64 (RFC 4648 §4): the decoder would let padding stand in the middle.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let bytes = BASE64.decode(text.as_bytes()).ok()?;
    (BASE64.encode(&bytes) == text).then_some(bytes)
}

/// A number as checkpoints have it: no sign, no leading zeros.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

impl AuditKey {
    /// Takes the key from its certificate.
    ///
    /// # Errors
    /// [`NotAnAuditKey`].
    pub fn of(certificate: &[u8]) -> Result<Self, NotAnAuditKey> {
        let certificate =
            Certificate::from_der(certificate).map_err(|_| NotAnAuditKey::Certificate)?;
        let spki = certificate.tbs_certificate().subject_public_key_info();
        let der = spki.to_der().map_err(|_| NotAnAuditKey::Certificate)?;
        let point = spki.subject_public_key.as_bytes().unwrap_or_default().to_vec();
        if !der.starts_with(&P256_SPKI) || point.len() != POINT_BYTES {
            return Err(NotAnAuditKey::Curve);
        }
        let digest = Sha256::digest(&der);
        let id = digest.first_chunk::<KEY_ID_BYTES>().copied().unwrap_or_default();
        Ok(Self { point, id })
    }

    /// The uncompressed point of the key, 65 bytes.
    #[must_use]
    pub fn point(&self) -> &[u8] {
        &self.point
    }

    fn verify(&self, text: &[u8], signature: &[u8]) -> Result<(), NotACheckpoint> {
        let signature = fixed_of(signature).ok_or(NotACheckpoint::Forged)?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.point);
        key.verify(text, &signature).map_err(|_| NotACheckpoint::Forged)
    }
}

/// Bytes of an uncompressed point on P-256.
const POINT_BYTES: usize = 65;

/// How the `SubjectPublicKeyInfo` of every key on P-256 begins (RFC 5480): two lengths, id-ecPublicKey,
/// prime256v1, and the bit string's head.
const P256_SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Ecdsa-Sig-Value of r‖s (RFC 3279 §2.2.3).
fn der_of(signature: &[u8; 64]) -> Option<Vec<u8>> {
    let (r, s) = signature.split_at(32);
    let [r, s] = [UintRef::new(r).ok()?.to_der().ok()?, UintRef::new(s).ok()?.to_der().ok()?];
    let body = [r, s].concat();
    // At most 2 · 35 bytes: a short length.
    let length = u8::try_from(body.len()).ok().filter(|length| *length < 0x80)?;
    Some([&[SEQUENCE, length], body.as_slice()].concat())
}

/// r‖s of an Ecdsa-Sig-Value, which must be the only DER of its numbers.
fn fixed_of(der: &[u8]) -> Option<[u8; 64]> {
    let [SEQUENCE, length, body @ ..] = der else { return None };
    if usize::from(*length) != body.len() {
        return None;
    }
    let (r, rest) = UintRef::from_der_partial(body).ok()?;
    let (s, rest) = UintRef::from_der_partial(rest).ok()?;
    let mut fixed = [0; 64];
    let (r_half, s_half) = fixed.split_at_mut(32);
    for (half, number) in [(r_half, r.as_bytes()), (s_half, s.as_bytes())] {
        let start = half.len().checked_sub(number.len())?;
        half.get_mut(start..)?.copy_from_slice(number);
    }
    rest.is_empty().then_some(fixed)
}

/// The tag of a SEQUENCE in DER.
const SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests;
