//! What must hold whatever bytes come in: one function per target, which ends the process where it
//! does not.
//!
//! Each module takes any bytes and asserts more than the absence of a panic: another implementation
//! agrees, an encoding made from what was read is the bytes that came in, a fault has a place within
//! the text. libFuzzer looks for bytes that break an assertion (`fuzz_targets`, `README.md`); the test
//! of this crate only repeats the committed corpus, and needs neither libFuzzer nor a C++ compiler.

pub mod cbor;
pub mod gate;
pub mod gate_differential;
pub mod names;
pub mod policy_toml;
pub mod record;
pub mod request;
pub mod statement;
pub mod tlog;

/// Takes any bytes; ends the process where something does not hold.
pub type Target = fn(&[u8]);

/// Every target, by the name of its program, its corpus and its dictionary.
pub const TARGETS: [(&str, Target); 8] = [
    ("gate", gate::check),
    ("gate_differential", gate_differential::check),
    ("names", names::check),
    ("policy_toml", policy_toml::check),
    ("record", record::check),
    ("request", request::check),
    ("statement", statement::check),
    ("tlog", tlog::check),
];

#[cfg(test)]
mod tests;
