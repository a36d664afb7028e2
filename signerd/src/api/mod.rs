//! The routes of the listeners, and the one place where errors become answers.
//!
//! Knows HTTP and media types, not TLS: [`crate::server`] hands requests in together with the client's
//! certificate. The order of the checks is that of the contract: client, route, media types, size,
//! then the spine.

mod exchange;
mod log;
mod media;
mod observe;
mod officer;
mod problem;
mod signing;

pub use exchange::{Phase, Routes};
pub use observe::{Observation, Readiness};
pub use officer::Officers;
pub use problem::CODES as PROBLEM_CODES;
pub use signing::{Limits, Signing};
