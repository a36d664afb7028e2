//! Each fault is what it says, seen through the crate that the daemon uses, against real SoftHSM.
//!
//! Every test has a token of its own in a folder that vanishes with it, and drives processes of their own,
//! since a module is one for a process: `pkcs11-actor`, which does what it is told and says what came of it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "test code: a fault of the test ends the test"
)]

#[path = "faults/actor.rs"]
mod actor;
#[path = "faults/calls.rs"]
mod calls;
#[path = "faults/objects.rs"]
mod objects;
#[path = "faults/processes.rs"]
mod processes;
#[path = "faults/signatures.rs"]
mod signatures;
#[path = "faults/token.rs"]
mod token;
