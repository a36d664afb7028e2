//! Which engine a ledger has: the choice that the configuration makes.
//!
//! In goes what is configured, out comes a store. It knows the engines by name and nothing about rows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::LedgerError;
use super::check::{self, Checked, Damage};
use super::postgres::{PULSE, PostgresStore, Server};
use super::sqlite::{self, SqliteStore};
use super::store::Store;
use crate::tlog::note::AuditKey;

/// Where the ledger is and how long it keeps answers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What keeps it.
    pub engine: Engine,
    /// How long a sealed answer is kept; a later repeat of its request finds it expired.
    pub retention: Duration,
}

/// What keeps a ledger.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Engine {
    /// A file, for one appliance; its folder must exist. Beside it are `-wal`, `-shm` and `.lock`.
    Sqlite(PathBuf),
    /// A server, for all appliances of a fleet.
    Postgres(Server),
}

impl Engine {
    /// How often the other appliances must hear of this one; none: there are no others.
    pub(super) fn pulse(&self) -> Option<Duration> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(_) => Some(PULSE),
        }
    }

    /// Opens it, on the thread that will use it.
    pub(super) fn open(self) -> Result<Box<dyn Store>, LedgerError> {
        Ok(match self {
            Self::Sqlite(path) => Box::new(SqliteStore::open(&path)?),
            Self::Postgres(server) => Box::new(PostgresStore::open(server)?),
        })
    }
}

/// Copies a ledger that may be in use to a file that does not exist yet, and gives its size in bytes;
/// tells how many pages of how many are copied, as it goes.
///
/// # Errors
/// [`LedgerError::CannotOpen`] for either file, [`LedgerError::Corrupt`] and [`LedgerError::Unavailable`];
/// there is no copy then.
pub fn backup(
    ledger: &Path,
    copy: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<u64, LedgerError> {
    sqlite::backup::backup(ledger, copy, progress)
}

/// Checks a ledger against the audit key, or earlier ones, and under the log's name; tells how many entries
/// of how many were looked at, as it goes. No daemon may have its file open; on a server it is what was
/// committed when the check began, and the fleet goes on.
///
/// # Errors
/// [`Damage`]: the first thing that does not fit.
pub fn check(
    engine: &Engine,
    expected: (&[AuditKey], &str),
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Checked, Damage> {
    match engine {
        Engine::Sqlite(path) => {
            check::check(&mut SqliteStore::open_as_is(path)?, expected, progress)
        }
        Engine::Postgres(server) => {
            check::check(&mut PostgresStore::open_as_is(server.clone())?, expected, progress)
        }
    }
}
