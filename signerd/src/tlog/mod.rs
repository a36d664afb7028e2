//! The transparency log: facts that an auditor asks for, in a Merkle tree that an outsider can check.
//!
//! `fact` is what an entry says, `tiles` how the tree is kept, `note` the signed head of it, `cosign` what a
//! witness adds to that. `path` and `bundle` are the files of an exported log, `proof` the one of a single
//! certificate. `peaks`, `sense` and `glance` are for whoever reads the log: its roots, its
//! contradictions, its members. The formats are those of others, so that their tools read the log too:
//! hashes of RFC 6962, tiles of `c2sp.org/tlog-tiles`, checkpoints of `c2sp.org/tlog-checkpoint` in signed
//! notes of `c2sp.org/signed-note`. In go and out come values; nothing here stores, signs or reads a clock.

pub mod bundle;
pub mod cosign;
pub mod fact;
pub mod glance;
pub mod note;
pub mod path;
pub mod peaks;
pub mod proof;
pub mod sense;
pub mod tiles;
