//! The harness: a set-up of one's own, the real daemon, and a client that can say anything.
//!
//! Every test gets a copy of one development set-up, made once by `softhsm-setup.sh`, with free ports,
//! and runs the real binaries against it. Nothing is shared between tests but that first set-up, so
//! they run side by side. Traffic stays on loopback.

#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "test code: a fault of the test ends the test, and what is skipped is said aloud"
)]

pub mod balancer;
pub mod batch;
pub mod client;
pub mod daemon;
pub mod faults;
pub mod fleet;
pub mod ledger;
pub mod modules;
pub mod pki;
pub mod pool;
pub mod postgres;
pub mod process;
pub mod random;
pub mod record;
pub mod session;
pub mod setup;
pub mod shim;
pub mod tlog;
pub mod token;
pub mod verifier;

pub use batch::Batch;
pub use client::{Answer, Client};
pub use daemon::Daemon;
pub use record::{Evidence, Person};
pub use setup::Setup;
pub use shim::Shim;
pub use verifier::Verifier;
