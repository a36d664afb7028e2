//! The engine for one appliance: a SQLite file in WAL mode with `synchronous=FULL`.
//!
//! In go the calls of the writer thread, the only user of the one connection; out come rows. It
//! promises what `store` asks for: a commit that returned survives a loss of power, and a group
//! that failed leaves no trace. After a failed group the connection is thrown away and opened anew,
//! so that the ledger is back as soon as its disk is. It knows rows, not rules.

pub(super) mod backup;
mod failure;
mod file;
mod intent;
mod rows;
mod schema;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Params};

use super::LedgerError;
use failure::refused;
use file::LedgerFile;

/// How long a commit waits for a program that looks into the file (a backup, an auditor's shell).
const BUSY_WAIT: Duration = Duration::from_secs(2);

/// Statements kept compiled; there are about 30.
const STATEMENTS_MAX: usize = 64;

/// Settings of every connection, each with its reason.
const PRAGMAS: &str = "
    PRAGMA foreign_keys = ON;           -- no row without the row it belongs to
    PRAGMA trusted_schema = OFF;        -- a doctored schema runs no code
    PRAGMA cell_size_check = ON;        -- damage is an error, not an odd answer
    PRAGMA synchronous = FULL;          -- an answered commit survives a loss of power
    PRAGMA temp_store = MEMORY;         -- nothing outside the state folder
    PRAGMA mmap_size = 0;               -- an I/O error is an error, not a signal
    PRAGMA secure_delete = ON;          -- a purged answer is gone, not just forgotten
    PRAGMA cache_size = -65536;         -- 64 MiB: the upper levels of the indexes at 10^8 rows
    PRAGMA wal_autocheckpoint = 8000;   -- pages: a handful of the largest batches share a checkpoint
    PRAGMA journal_size_limit = 67108864; -- 64 MiB: the journal shrinks again after a peak
";

/// The engine; the connection is gone after a failed group, until the next one.
#[derive(Debug)]
pub(super) struct SqliteStore {
    // Before the file: the connection closes before the lock goes.
    connection: Option<Connection>,
    file: LedgerFile,
}

impl SqliteStore {
    /// Takes the file's lock, opens it and brings its schema up to date.
    pub(super) fn open(path: &Path) -> Result<Self, LedgerError> {
        let file = LedgerFile::take(path)?;
        let connection = connect(file.path())?;
        schema::migrate(&connection)?;
        Ok(Self { connection: Some(connection), file })
    }

    /// Takes the lock of a file of this release and opens it as it is.
    pub(super) fn open_as_is(path: &Path) -> Result<Self, LedgerError> {
        if !path.is_file() {
            let source = Arc::new(std::io::Error::from(std::io::ErrorKind::NotFound));
            return Err(LedgerError::CannotOpen { path: path.to_owned(), source });
        }
        let file = LedgerFile::take(path)?;
        let connection = connect(file.path())?;
        schema::require_newest(&connection)?;
        Ok(Self { connection: Some(connection), file })
    }

    fn connection(&self) -> Result<&Connection, LedgerError> {
        self.connection
            .as_ref()
            .ok_or(LedgerError::Unavailable { what: "no transaction is open", source: None })
    }

    fn execute(&self, statement: &str, values: impl Params) -> Result<usize, LedgerError> {
        let mut statement = self.connection()?.prepare_cached(statement).map_err(refused)?;
        statement.execute(values).map_err(refused)
    }
}

fn connect(path: &Path) -> Result<Connection, LedgerError> {
    // Never CREATE: a lost ledger must not be replaced by an empty one that has forgotten all.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags).map_err(refused)?;
    // Where it may not write SQLite opens for reading, and says so only when it is told to write: then
    // the connection would stay in use, and the ledger read-only, after the disk is back.
    if connection.is_readonly("main").map_err(refused)? {
        return Err(LedgerError::Unavailable { what: "file or disk is read-only", source: None });
    }
    connection.busy_timeout(BUSY_WAIT).map_err(refused)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    let journal: String =
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(refused)?;
    if journal != "wal" {
        return Err(LedgerError::Unavailable {
            what: "the file system takes no write-ahead log",
            source: None,
        });
    }
    connection.execute_batch(PRAGMAS).map_err(refused)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(refused)?;
    // Otherwise the planner looks at each bound value and compiles the statement again for it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(refused)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::super::store::Store;
    use super::SqliteStore;

    fn number(store: &SqliteStore, pragma: &str) -> i64 {
        let query = format!("PRAGMA {pragma}");
        store.connection().unwrap().query_row(&query, [], |row| row.get(0)).unwrap()
    }

    fn settings(store: &SqliteStore) -> [i64; 4] {
        ["synchronous", "foreign_keys", "trusted_schema", "secure_delete"]
            .map(|pragma| number(store, pragma))
    }

    #[test]
    fn every_connection_is_durable_and_strict() {
        // Also after a failed group: full synchronisation (2), foreign keys, no trust, overwriting.
        let folder = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(&folder.path().join("ledger")).unwrap();
        assert_eq!(settings(&store), [2, 1, 0, 1]);
        store.abandon_group();
        store.open_group().unwrap();
        assert_eq!(settings(&store), [2, 1, 0, 1]);
    }
}
