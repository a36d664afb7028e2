//! Encoding of our own messages: typed values whose members stand in deterministic order.
//!
//! `ciborium` writes the shortest forms and definite lengths but keeps the order of members, so the
//! types in [`crate::wire`] declare them in the bytewise order of their encoded keys (shorter first,
//! then alphabetical). Tests put every answer through the gate.

use serde::Serialize;
use thiserror::Error;

/// A value of ours that could not be encoded. To blame: a bug. Do not retry.
#[derive(Debug, Error)]
#[error("answer could not be encoded: {0}")]
pub struct EncodeError(String);

/// Encodes a value as CBOR.
///
/// # Errors
/// Only where a `Serialize` implementation of ours refuses, which is a bug.
pub fn to_vec<T: Serialize>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).map_err(|error| EncodeError(error.to_string()))?;
    Ok(bytes)
}

/// Turns an encoded answer into its JSON form: the same member names, bytes as base64url.
///
/// # Errors
/// Where the bytes are not CBOR of ours, which is a bug.
pub fn to_json(cbor: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let value: ciborium::Value =
        ciborium::from_reader(cbor).map_err(|error| EncodeError(error.to_string()))?;
    serde_json::to_vec(&json_of(&value)).map_err(|error| EncodeError(error.to_string()))
}

/// Answers are at most six levels deep, so recursion is bounded by our own types.
fn json_of(value: &ciborium::Value) -> serde_json::Value {
    match value {
        ciborium::Value::Bool(value) => (*value).into(),
        ciborium::Value::Bytes(bytes) => data_encoding::BASE64URL_NOPAD.encode(bytes).into(),
        ciborium::Value::Text(text) => text.as_str().into(),
        ciborium::Value::Integer(number) => i64::try_from(*number)
            .map_or_else(|_| i128::from(*number).to_string().into(), serde_json::Value::from),
        ciborium::Value::Array(items) => items.iter().map(json_of).collect(),
        ciborium::Value::Map(pairs) => pairs
            .iter()
            .map(|(key, value)| (key.as_text().unwrap_or_default().to_owned(), json_of(value)))
            .collect(),
        _ => serde_json::Value::Null,
    }
}
