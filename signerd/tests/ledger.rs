//! The ledger against real files, through its public face only: states, doses, crashes, disks.
//!
//! Each test has a folder of its own. A disk that is full or read-only is a small tmpfs, for which
//! root is needed; without root those tests say loudly that they were skipped.

#![expect(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "in a test a panic is the verdict, and the output is for whoever runs it"
)]

#[path = "ledger/place.rs"]
mod place;

#[path = "ledger/batches.rs"]
mod batches;
#[path = "ledger/check.rs"]
mod check;
#[path = "ledger/cost.rs"]
mod cost;
#[path = "ledger/crashes.rs"]
mod crashes;
#[path = "ledger/doses.rs"]
mod doses;
#[path = "ledger/files.rs"]
mod files;
#[path = "ledger/model.rs"]
mod model;
#[path = "ledger/privacy.rs"]
mod privacy;
#[path = "ledger/quota.rs"]
mod quota;
#[path = "ledger/reissue.rs"]
mod reissue;
#[path = "ledger/windows.rs"]
mod windows;
