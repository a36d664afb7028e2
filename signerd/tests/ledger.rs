//! The ledger against real files and a real server, through its public face only: states, doses, crashes,
//! disks, connections.
//!
//! What the rules promise is tested on both engines, by the same text. Each test has a folder or a database
//! of its own. A disk that is full or read-only is a small tmpfs, for which root is needed; without root
//! those tests say loudly that they were skipped.

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
#[path = "../../tests/src/postgres.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    reason = "the harness of the tests, of which a part is used here"
)]
mod server;
#[path = "ledger/shared.rs"]
mod shared;

#[path = "ledger/check.rs"]
mod check;
#[path = "ledger/cost.rs"]
mod cost;
#[path = "ledger/fleet.rs"]
mod fleet;
#[path = "ledger/on_postgres.rs"]
mod postgres;
#[path = "ledger/servers.rs"]
mod servers;
#[path = "ledger/on_sqlite.rs"]
mod sqlite;
