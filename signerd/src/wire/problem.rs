//! Errors for a whole request: RFC 9290 problem details in CBOR, RFC 9457 in JSON.
//!
//! A [`Problem`] is what a client may see: a stable code, a sentence, a place. Never an internal,
//! never personal data. Which error becomes which problem is decided in `api::problem`.

use serde::Serialize;
use serde::ser::SerializeMap as _;

/// A refusal of a whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// Stable code of `api.md`, e.g. `cbor.malformed`.
    pub code: &'static str,
    /// The code in a few words.
    pub title: &'static str,
    /// What is wrong, and what to do about it.
    pub detail: Option<String>,
    /// JSON Pointer into the request.
    pub path: Option<String>,
    /// Byte offset into the request, for `cbor.*`.
    pub offset: Option<usize>,
    /// Seconds after which a repeat makes sense, at least 1.
    pub retry_after: Option<u64>,
}

/// Custom entry of RFC 9290 §3.1 that carries our members.
const MEMBER: &str = "tag:signerd,2026:problem";

impl Problem {
    /// A problem with nothing but its code.
    pub fn new(status: u16, code: &'static str, title: &'static str) -> Self {
        let (detail, path, offset, retry_after) = (None, None, None, None);
        Self { status, code, title, detail, path, offset, retry_after }
    }

    /// The same problem with a sentence that helps.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same problem, worth repeating after some seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds.max(1));
        self
    }

    /// The CBOR form, media type `application/concise-problem-details+cbor`.
    pub fn to_cbor(&self) -> Vec<u8> {
        // Encoding into memory cannot fail; an empty body still has its status and its header.
        super::cbor::write::to_vec(&Concise(self)).unwrap_or_default()
    }

    /// The JSON form, media type `application/problem+json`.
    pub fn to_json(&self) -> Vec<u8> {
        let mut object = serde_json::Map::new();
        object.insert("type".into(), format!("{MEMBER}:{}", self.code).into());
        object.insert("title".into(), self.title.into());
        object.insert("status".into(), self.status.into());
        object.insert("code".into(), self.code.into());
        for (name, value) in [("detail", &self.detail), ("path", &self.path)] {
            if let Some(value) = value {
                object.insert(name.into(), value.as_str().into());
            }
        }
        if let Some(offset) = self.offset {
            object.insert("offset".into(), offset.into());
        }
        if let Some(seconds) = self.retry_after {
            object.insert("retry_after".into(), seconds.into());
        }
        serde_json::Value::Object(object).to_string().into_bytes()
    }
}

/// The map of RFC 9290: -1 title, -2 detail, and our own entry.
struct Concise<'a>(&'a Problem);

impl Serialize for Concise<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = if self.0.detail.is_some() { 3 } else { 2 };
        let mut map = serializer.serialize_map(Some(entries))?;
        map.serialize_entry(&-1, self.0.title)?;
        if let Some(detail) = &self.0.detail {
            map.serialize_entry(&-2, detail)?;
        }
        map.serialize_entry(MEMBER, &Members::from(self.0))?;
        map.end()
    }
}

#[derive(Serialize)]
struct Members<'a> {
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

impl<'a> From<&'a Problem> for Members<'a> {
    fn from(problem: &'a Problem) -> Self {
        let path = problem.path.as_deref();
        let Problem { code, offset, retry_after, .. } = *problem;
        Self { code, path, offset, retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::cbor::{Limits, gate};

    #[test]
    fn both_forms_say_the_same() {
        // A problem is deterministic CBOR with the members of RFC 9290, and JSON with those of RFC 9457.
        let mut problem = Problem::new(400, "cbor.malformed", "not CBOR").detail("cut off");
        problem.offset = Some(17);
        let problem = problem.retry_after(0);
        let cbor = problem.to_cbor();
        gate::check(&cbor, &Limits::SMALL_MAP).unwrap();
        let expected = b"\xa3\x20\x68not CBOR\x21\x67cut off\x78\x18tag:signerd,2026:problem\
            \xa3\x64code\x6ecbor.malformed\x66offset\x11\x6bretry_after\x01";
        assert_eq!(cbor, expected);
        let json: serde_json::Value = serde_json::from_slice(&problem.to_json()).unwrap();
        assert_eq!(
            (json["code"].as_str(), json["status"].as_u64()),
            (Some("cbor.malformed"), Some(400))
        );
    }
}
