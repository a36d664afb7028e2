//! Byte strings in messages: CBOR byte strings on the wire, base64url without padding in JSON.

use serde::{Serialize, Serializer};

/// Bytes that serialize as a byte string in CBOR and as base64url (RFC 4648 §5) in JSON.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&data_encoding::BASE64URL_NOPAD.encode(self.0))
        } else {
            serializer.serialize_bytes(self.0)
        }
    }
}
