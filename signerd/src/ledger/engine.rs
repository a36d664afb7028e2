//! Which engine a ledger has: the choice that the configuration makes.
//!
//! In goes what is configured, out comes a store. It knows the engines by name and nothing about rows.

use std::path::PathBuf;
use std::time::Duration;

use super::LedgerError;
use super::postgres::{PULSE, PostgresStore, Server};
use super::sqlite::SqliteStore;
use super::store::Store;

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
