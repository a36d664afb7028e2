//! Deterministic CBOR (RFC 8949 §4.2.1) in and out.

pub mod bytes;
pub mod gate;
mod head;
pub mod reader;
pub mod write;

pub use bytes::Bytes;
pub use gate::{Canonical, GateError, Limits};
pub use reader::{Reader, Shape};
