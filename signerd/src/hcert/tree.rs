//! A decoded CBOR item of any origin, made harmless.
//!
//! In go bytes of unknown quality, out comes a tree without duplicate keys, of bounded depth, with
//! nothing left over. Indefinite lengths, any key order and long integer forms are taken, as other
//! countries' issuers write them. It does not know what the items mean.

use coset::cbor::{self, Value};
use thiserror::Error;

/// How deep may items nest? A certificate needs 7 levels; 16 leave room for other payloads.
pub const NESTING_MAX: usize = 16;

/// One CBOR item.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// True or false.
    Bool(bool),
    /// A byte string.
    Bytes(Vec<u8>),
    /// A floating-point number.
    Float(f64),
    /// An integer between the limits of `i64`.
    Int(i64),
    /// An array.
    List(Vec<Self>),
    /// A map, entries in the order they came.
    Map(Vec<(Self, Self)>),
    /// Null or undefined.
    Null,
    /// A tagged item.
    Tag(u64, Box<Self>),
    /// A text string.
    Text(String),
}

/// Why bytes are not one harmless item; the certificate is damaged or crafted, retrying does not help.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TreeError {
    /// A key stands twice in a map, so the meaning depends on the reader.
    #[error("key {0} stands twice in a map")]
    DuplicateKey(String),
    /// The bytes are no CBOR, or nest too deep.
    #[error("bytes are not cbor, or nest deeper than {NESTING_MAX} levels")]
    Malformed,
    /// An integer is beyond 64 bits.
    #[error("an integer is beyond 64 bits")]
    IntegerRange,
    /// Bytes follow the item.
    #[error("{0} bytes follow the cbor item")]
    TrailingBytes(usize),
    /// An item is of a kind that certificates do not contain.
    #[error("an item is of an unknown kind")]
    UnknownKind,
}

impl Tree {
    /// Decodes exactly one item.
    ///
    /// # Errors
    /// A [`TreeError`] if the bytes are not one item within the limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        Self::from_value(decode_value(bytes)?)
    }

    /// Gives the kind of this item in words.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a boolean",
            Self::Bytes(_) => "bytes",
            Self::Float(_) => "a float",
            Self::Int(_) => "an integer",
            Self::List(_) => "an array",
            Self::Map(_) => "a map",
            Self::Null => "null",
            Self::Tag(..) => "a tagged item",
            Self::Text(_) => "text",
        }
    }

    /// Gives the value of an integer key, if this is a map that has it.
    #[must_use]
    pub fn key(&self, key: i64) -> Option<&Self> {
        self.entries().iter().find(|(k, _)| *k == Self::Int(key)).map(|(_, v)| v)
    }

    /// Gives the value of a text key, if this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(k, _)| k.as_text() == Some(key)).map(|(_, v)| v)
    }

    /// Gives one element, if this is an array that has it.
    #[must_use]
    pub fn item(&self, index: usize) -> Option<&Self> {
        match self {
            Self::List(items) => items.get(index),
            _ => None,
        }
    }

    /// Gives the entries, none if this is no map.
    #[must_use]
    pub fn entries(&self) -> &[(Self, Self)] {
        match self {
            Self::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Gives the text, if this is one; a tag 0 (date and time) around it is looked through.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Tag(0, inner) => inner.as_text(),
            _ => None,
        }
    }

    /// Gives the integer, if this is one.
    #[must_use]
    pub const fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// Gives whole seconds since 1970, if this is a time: an integer or, as some issuers wrote, a
    /// float, with or without tag 1 (epoch time).
    #[must_use]
    pub fn as_epoch(&self) -> Option<i64> {
        match self {
            Self::Int(seconds) => Some(*seconds),
            Self::Float(seconds) => {
                let duration = std::time::Duration::try_from_secs_f64(*seconds).ok()?;
                i64::try_from(duration.as_secs()).ok()
            }
            Self::Tag(1, inner) => inner.as_epoch(),
            _ => None,
        }
    }

    /// Gives the item as JSON: bytes as base64url, keys as text, tags left out.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Bool(value) => (*value).into(),
            Self::Bytes(bytes) => data_encoding::BASE64URL_NOPAD.encode(bytes).into(),
            Self::Float(number) => (*number).into(),
            Self::Int(number) => (*number).into(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(entries) => serde_json::Value::Object(
                entries.iter().map(|(k, v)| (k.label(), v.to_json())).collect(),
            ),
            Self::Null => serde_json::Value::Null,
            Self::Tag(_, inner) => inner.to_json(),
            Self::Text(text) => text.as_str().into(),
        }
    }

    /// Gives the item as a key in words, for paths and JSON.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            other => other.to_json().to_string(),
        }
    }

    fn from_value(value: Value) -> Result<Self, TreeError> {
        Ok(match value {
            Value::Bool(value) => Self::Bool(value),
            Value::Bytes(bytes) => Self::Bytes(bytes),
            Value::Float(number) => Self::Float(number),
            Value::Integer(number) => {
                Self::Int(i64::try_from(i128::from(number)).map_err(|_| TreeError::IntegerRange)?)
            }
            Value::Array(items) => {
                Self::List(items.into_iter().map(Self::from_value).collect::<Result<_, _>>()?)
            }
            Value::Map(entries) => Self::from_entries(entries)?,
            Value::Null => Self::Null,
            Value::Tag(tag, inner) => Self::Tag(tag, Box::new(Self::from_value(*inner)?)),
            Value::Text(text) => Self::Text(text),
            _ => return Err(TreeError::UnknownKind),
        })
    }

    fn from_entries(entries: Vec<(Value, Value)>) -> Result<Self, TreeError> {
        let mut seen = std::collections::BTreeSet::new();
        let mut map = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let key = Self::from_value(key)?;
            // Kind and label together name a key; 1 and "1" are two.
            if !seen.insert((key.kind(), key.label())) {
                return Err(TreeError::DuplicateKey(key.label()));
            }
            map.push((key, Self::from_value(value)?));
        }
        Ok(Self::Map(map))
    }
}

/// Decodes exactly one item into the value type of the CBOR crate.
pub(super) fn decode_value(bytes: &[u8]) -> Result<Value, TreeError> {
    let mut rest = bytes;
    let value = cbor::de::from_reader_with_recursion_limit(&mut rest, NESTING_MAX)
        .map_err(|_| TreeError::Malformed)?;
    if rest.is_empty() { Ok(value) } else { Err(TreeError::TrailingBytes(rest.len())) }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn decode(hex: &str) -> Result<Tree, TreeError> {
        Tree::decode(&HEXLOWER.decode(hex.as_bytes()).unwrap())
    }

    #[test]
    fn indefinite_lengths_and_any_order_are_read() {
        // Maps, arrays and strings of indefinite length are read as others write them.
        let tree = decode(concat!(
            "bf", // map, indefinite
            "62", "6e62", // "nb"
            "9f", "01", "ff", // [1], indefinite
            "61", "61", // "a"
            "7f", "61", "78", "61", "79", "ff", // "x" + "y"
            "ff",
        ))
        .unwrap();
        assert_eq!(tree.get("nb").and_then(|l| l.item(0)).and_then(Tree::as_int), Some(1));
        assert_eq!(tree.get("a").and_then(Tree::as_text), Some("xy"));
    }

    #[test]
    fn duplicate_keys_are_refused() {
        // A key that stands twice is refused, the same digits as text and integer are two keys.
        assert_eq!(decode("a201010102"), Err(TreeError::DuplicateKey("1".to_owned())));
        assert!(decode("a20101613102").is_ok());
    }

    #[test]
    fn leftovers_and_depth_are_refused() {
        // Bytes behind the item are refused, and so is nesting beyond the limit.
        assert_eq!(decode("0100"), Err(TreeError::TrailingBytes(1)));
        assert_eq!(decode(&format!("{}00", "81".repeat(10_000))), Err(TreeError::Malformed));
        assert_eq!(decode("5b7fffffffffffffff00"), Err(TreeError::Malformed));
    }

    #[test]
    fn float_times_lose_their_fraction() {
        // Some issuers wrote times as floats; whole seconds are read.
        assert_eq!(decode("f93e00").unwrap().as_epoch(), Some(1));
        assert_eq!(decode("c11a60a28d3c").unwrap().as_epoch(), Some(1_621_265_724));
        assert_eq!(decode("f97e00").unwrap().as_epoch(), None);
    }
}
