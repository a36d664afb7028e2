//! The ledger in a SQLite file: what every engine does, and what concerns the file alone.
//!
//! Torn journals, full disks, locks, modes and moved files are no matter of a server's client.

/// Where these tests have their ledger.
mod place {
    pub(crate) use crate::place::{
        DIGEST, NOW, OTHER_DIGEST, Place, RELEASED, RETENTION, answered, batch, begin, contains,
        finished, fresh, intend, intent, open, open_batch, reopen, replays, resumable,
    };
}

#[path = "batches.rs"]
mod batches;
#[path = "checkpoints.rs"]
mod checkpoints;
#[path = "crashes.rs"]
mod crashes;
#[path = "doses.rs"]
mod doses;
#[path = "files.rs"]
mod files;
#[path = "model.rs"]
mod model;
#[path = "privacy.rs"]
mod privacy;
#[path = "quota.rs"]
mod quota;
#[path = "reissue.rs"]
mod reissue;
#[path = "secret.rs"]
mod secret;
#[path = "torn.rs"]
mod torn;
#[path = "windows.rs"]
mod windows;
