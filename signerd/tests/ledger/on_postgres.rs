//! The ledger on a PostgreSQL server: the same sentences as of a file.
//!
//! A crash is one of the appliance: its connection is cut, and its life ends as if it had been silent.

#![expect(clippy::duplicate_mod, reason = "the same tests, on another engine")]

/// Where these tests have their ledger.
mod place {
    pub(crate) use crate::place::{
        DIGEST, NOW, OTHER_DIGEST, RELEASED, RETENTION, answered, batch, begin, finished, fresh,
        intend, intent, open_batch, replays, resumable,
    };
    pub(crate) use crate::shared::Place;
}

#[path = "batches.rs"]
mod batches;
#[path = "checkpoints.rs"]
mod checkpoints;
#[path = "crashes.rs"]
mod crashes;
#[path = "doses.rs"]
mod doses;
#[path = "model.rs"]
mod model;
#[path = "quota.rs"]
mod quota;
#[path = "reissue.rs"]
mod reissue;
#[path = "secret.rs"]
mod secret;
#[path = "windows.rs"]
mod windows;
