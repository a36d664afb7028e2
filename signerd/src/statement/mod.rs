//! The evidence that others signed: identity statements and facility signatures (design D9).
//!
//! In go untrusted bytes; out comes `policy::Evidence`: missing, refused with the one reason that
//! applies, or verified with its content. A signature is verified by aws-lc-rs under the key of a
//! certificate that the registry holds, never under a key that the message brings along. What verified
//! content means for a record is the judge's business.

mod cose;
mod identity;
mod key;
mod trust;
mod unit;

pub use identity::{VerifierError, Verifiers};
pub use key::KeyError;
pub use trust::TrustAnchors;
pub use unit::{UnitError, Units};

#[cfg(test)]
mod tests;
