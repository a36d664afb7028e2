//! Deterministic CBOR (RFC 8949 §4.2.1) of the tool's own messages.
//!
//! In go serde types whose members are declared in the bytewise order of their encoded keys (for
//! texts under 24 bytes: shorter first, then alphabetical), out come bytes. ciborium writes shortest
//! heads and definite lengths but keeps the order of declaration; the tests of `records` and `batch`
//! therefore put every message through another, strict decoder. This module does not judge input.

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A byte string: `bstr` in CBOR (a plain `Vec<u8>` would become an array of numbers).
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BytesVisitor)
    }
}

impl fmt::Debug for Bytes {
    // The bytes may be a person's record: only their number is shown.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Bytes({})", self.0.len())
    }
}

/// A message could not be written as CBOR: a fault of this program; repeating does not help.
#[derive(Debug, thiserror::Error)]
#[error("cannot encode as CBOR: {0}")]
pub struct EncodeError(String);

/// Encodes one value.
///
/// # Errors
/// Only for values that CBOR cannot carry, which the types of this tool do not produce.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).map_err(|error| EncodeError(error.to_string()))?;
    Ok(bytes)
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a byte string")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(Bytes(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Bytes, A::Error> {
        Err(de::Error::custom("an array where a byte string belongs"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_a_byte_string() {
        // A byte string is written with major type 2, and read back unchanged.
        let encoded = encode(&Bytes(vec![1, 2, 3])).unwrap();
        assert_eq!(encoded, [0x43, 1, 2, 3]);
        let read: Bytes = ciborium::from_reader(encoded.as_slice()).unwrap();
        assert_eq!(read, Bytes(vec![1, 2, 3]));
    }

    #[test]
    fn an_array_is_not_bytes() {
        // An array of numbers is not taken for a byte string.
        assert!(ciborium::from_reader::<Bytes, _>([0x82, 1, 2].as_slice()).is_err());
    }
}
