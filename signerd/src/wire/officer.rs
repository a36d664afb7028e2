//! Requests and answers about signing windows on the officers' listener.
//!
//! In goes a body that nobody trusts, out comes what the officer asks for, or the first fault with its
//! path. Answers have their members in deterministic order (RFC 8949 §4.2.1). Whether the time asked
//! for is allowed is decided elsewhere: the time now is not known here.

use serde::Serialize;

use super::cbor::{Limits, Reader, Shape, gate};
use super::request::RequestError;

/// Longest reason in bytes: a sentence or two, in Vietnamese too.
pub const REASON_BYTES_MAX: usize = 200;

/// Body of `POST /v1/windows/{issuer}/open`.
#[derive(Debug, PartialEq, Eq)]
pub struct OpenWindow {
    /// When the override ends, in seconds since 1970.
    pub until: i64,
    /// Why, in the officer's words.
    pub reason: String,
}

/// Body of `POST /v1/windows/{issuer}/close`.
#[derive(Debug, PartialEq, Eq)]
pub struct CloseWindow {
    /// Why, in the officer's words.
    pub reason: String,
}

/// How the window of one issuer stands.
#[derive(Debug, Serialize)]
pub struct WindowEntry<'a> {
    /// Whether new batches are signed now.
    pub open: bool,
    /// Whose.
    pub issuer: &'a str,
    /// The hours of the policy in Viet Nam, `HH:MM-HH:MM`; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// Seconds until it opens by the policy; absent: it is open by the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opens_in: Option<u64>,
    /// What an officer opened.
    #[serde(skip_serializing_if = "Option::is_none", rename = "override")]
    pub opened: Option<OverrideEntry<'a>>,
}

/// What an officer opened.
#[derive(Debug, Serialize)]
pub struct OverrideEntry<'a> {
    /// When it ends, in seconds since 1970.
    pub until: i64,
    /// Why, in the officer's words.
    pub reason: &'a str,
    /// Who opened it.
    pub officer: &'a str,
    /// When it was opened, in seconds since 1970.
    pub opened_at: i64,
}

/// Decodes the body that opens a window.
///
/// # Errors
/// The first fault, with its offset or its path.
pub fn decode_open(body: &[u8]) -> Result<OpenWindow, RequestError> {
    let mut reader = Reader::new(gate::check(body, &Limits::SMALL_MAP)?);
    let (mut until, mut reason) = (None, None);
    for _ in 0..reader.map()? {
        match reader.text()? {
            "until" => until = Some(epoch(&mut reader).map_err(|e| e.under("until"))?),
            "reason" => reason = Some(sentence(&mut reader).map_err(|e| e.under("reason"))?),
            _ => return Err(Shape::unknown().into()),
        }
    }
    Ok(OpenWindow {
        until: until.ok_or_else(|| Shape::missing("until"))?,
        reason: reason.ok_or_else(|| Shape::missing("reason"))?,
    })
}

/// Decodes the body that closes a window.
///
/// # Errors
/// The first fault, with its offset or its path.
pub fn decode_close(body: &[u8]) -> Result<CloseWindow, RequestError> {
    let mut reader = Reader::new(gate::check(body, &Limits::SMALL_MAP)?);
    let mut reason = None;
    for _ in 0..reader.map()? {
        match reader.text()? {
            "reason" => reason = Some(sentence(&mut reader).map_err(|e| e.under("reason"))?),
            _ => return Err(Shape::unknown().into()),
        }
    }
    Ok(CloseWindow { reason: reason.ok_or_else(|| Shape::missing("reason"))? })
}

fn epoch(reader: &mut Reader<'_>) -> Result<i64, Shape> {
    i64::try_from(reader.unsigned()?).map_err(|_| Shape::new("expected seconds since 1970"))
}

/// Goes into the journal, so that it is one line.
fn sentence(reader: &mut Reader<'_>) -> Result<String, Shape> {
    let text = reader.text()?;
    let fits = (1..=REASON_BYTES_MAX).contains(&text.len()) && !text.trim().is_empty();
    if !fits || text.contains(char::is_control) {
        return Err(Shape::new("expected 1 to 200 bytes of text without control characters"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::cbor::write;
    use super::*;

    #[test]
    fn a_request_is_read_and_every_fault_has_its_path() {
        // a2 until: 1a 65 53 f1 00, reason: "đợt" - and one fault after the other.
        let good = b"\xa2\x65until\x1a\x65\x53\xf1\x00\x66reason\x67\xc4\x91\xe1\xbb\xa3t.";
        let open = decode_open(good).unwrap();
        assert_eq!(open, OpenWindow { until: 0x6553_f100, reason: "đợt.".to_owned() });
        let close = decode_close(b"\xa1\x66reason\x61x").unwrap();
        assert_eq!(close, CloseWindow { reason: "x".to_owned() });
        for (body, path) in [
            (&b"\xa1\x65until\x01"[..], "/reason"),
            (b"\xa1\x66reason\x61x", "/until"),
            (b"\xa2\x65until\x20\x66reason\x61x", "/until"),
            (b"\xa2\x65until\x1b\xff\xff\xff\xff\xff\xff\xff\xff\x66reason\x61x", "/until"),
            (b"\xa2\x65until\x01\x66reason\x60", "/reason"),
            (b"\xa2\x65until\x01\x66reason\x61 ", "/reason"),
            (b"\xa2\x65until\x01\x66reason\x63a\nb", "/reason"),
            (b"\xa2\x65other\x01\x66reason\x61x", ""),
            (b"\x80", ""),
        ] {
            let Err(RequestError::Shape(shape)) = decode_open(body) else {
                panic!("{body:?} was read");
            };
            assert_eq!(shape.path, path, "{body:?}");
        }
        let long = [&b"\xa1\x66reason\x78\xc9"[..], &[b'x'; 201]].concat();
        assert!(decode_close(&long).is_err());
    }

    #[test]
    fn answers_are_deterministic() {
        // An entry with all its members passes our own gate.
        let opened = OverrideEntry { until: 9, reason: "r", officer: "o:00", opened_at: 1 };
        let entry = WindowEntry {
            open: true,
            issuer: "vn-moh",
            window: Some("17:00-24:00".to_owned()),
            opens_in: Some(5),
            opened: Some(opened),
        };
        gate::check(&write::to_vec(&[entry]).unwrap(), &Limits::SMALL_MAP).unwrap();
    }
}
