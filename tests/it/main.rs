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
mod auditor;
mod batches;
mod cddl;
mod certificates;
mod clock;
mod copies;
mod crash;
mod devsetup;
mod disk;
mod documents;
mod evidence;
mod fairness;
mod fleet;
mod hsm_faults;
mod http;
mod interop;
mod kills;
mod log;
mod log_cddl;
mod log_mutations;
mod modules;
mod observe;
mod officers;
mod pin;
mod preview;
mod privacy;
mod probe;
mod quota;
mod reasons;
mod rejects;
mod reload;
mod requests;
mod resume;
mod signing;
mod startup;
mod storms;
mod systemd;
mod tokens;
mod workers;
