//! The signing appliance as a library: everything the two binaries do, reachable by tests.
//!
//! Two programs come out of it. `signerd` is the daemon: a front process that speaks TLS and judges,
//! and worker processes that alone load the vendor's PKCS#11 library. `signerctl` is the tool of the
//! people around it. `ARCHITECTURE.md` draws the layers; `tests/tidy.rs` checks them.

pub mod access;
pub mod api;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod cpu;
pub mod ctl;
pub mod daemon;
pub mod ends;
pub mod failpoint;
pub mod hcert;
pub mod hsm;
pub mod issue;
pub mod ledger;
pub mod logging;
pub mod metrics;
pub mod revocation;
pub mod server;
pub mod statement;
pub mod systemd;
pub mod tlog;
pub mod wire;
