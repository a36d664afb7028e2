//! The real binaries, held against the documents: one module per theme.

#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "clippy knows functions with #[test] as test code, and not what they call"
)]

mod access;
mod batches;
mod certificates;
mod crash;
mod devsetup;
mod disk;
mod documents;
mod evidence;
mod http;
mod interop;
mod observe;
mod pin;
mod privacy;
mod reasons;
mod reload;
mod requests;
mod resume;
mod signing;
mod startup;
mod systemd;
mod workers;
