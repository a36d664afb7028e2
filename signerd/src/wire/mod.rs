//! The wire format of `api.cddl`: what comes in is gated, then typed; what goes out is deterministic.
//!
//! Bytes enter through [`cbor::gate`] and become a [`cbor::Canonical`], the proof that they are
//! deterministic CBOR within the limits. Only such bytes can be read into [`request`] and [`record`].
//! Answers ([`response`], [`problem`]) are encoded with their members in deterministic order.
//! Nothing here judges content: that is `policy`.

pub mod cbor;
pub mod officer;
pub mod problem;
pub mod record;
pub mod request;
pub mod response;
