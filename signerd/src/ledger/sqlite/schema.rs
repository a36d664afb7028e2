//! The tables of the SQLite ledger, and how a file of an earlier release becomes one of this.
//!
//! In goes an open connection, out comes the same connection with the newest schema, or a refusal:
//! a file of another program, a file of a newer release. Migrations only ever append to the list.
//!
//! Sized for 10^8 certificates: rows are written once and never change (but the heartbeat, the number
//! of the attempt, the counter of the day, the end of an override and the last tile of each level), in the order of their keys; only
//! the two indexes are written at random places. Answers have a table of their own because they alone
//! are dropped again.

use rusqlite::{Connection, OptionalExtension};

use super::super::LedgerError;
use super::failure::refused;
use crate::failpoint::{self, Place};

/// Marks the file as a ledger of this program ("SGNL"), in the header's field for that.
const APPLICATION_ID: i64 = 0x5347_4e4c;

/// One script per version of the schema; version n is reached by running script n - 1.
const MIGRATIONS: &[&str] = &[VERSION_1, VERSION_2, VERSION_3];

const VERSION_1: &str = "
CREATE TABLE batch (
    -- AUTOINCREMENT: the row of a released batch never comes back, so that a late attempt at it
    -- finds nothing.
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    client       TEXT NOT NULL,
    batch_id     BLOB NOT NULL CHECK (length(batch_id) = 16),
    -- Keyed: HMAC of the request's bytes.
    digest       BLOB NOT NULL CHECK (length(digest) = 32),
    attempt      INTEGER NOT NULL CHECK (attempt >= 1),
    issuer       TEXT NOT NULL,
    kid          BLOB NOT NULL CHECK (length(kid) = 8),
    issued_at    INTEGER NOT NULL,
    certificates INTEGER NOT NULL CHECK (certificates >= 0),
    -- NULL: the intent is open.
    answered_at  INTEGER,
    UNIQUE (client, batch_id)
) STRICT;
CREATE INDEX batch_open ON batch (issued_at) WHERE answered_at IS NULL;

CREATE TABLE certificate (
    batch      INTEGER NOT NULL REFERENCES batch (id),
    position   INTEGER NOT NULL,
    record     INTEGER NOT NULL,
    dose       INTEGER NOT NULL CHECK (dose BETWEEN 1 AND 9),
    uvci       BLOB NOT NULL CHECK (length(uvci) = 16),
    expires_at INTEGER NOT NULL,
    -- Keyed: the first half of the HMAC of holder and dose.
    pseudonym  BLOB NOT NULL CHECK (length(pseudonym) = 16),
    PRIMARY KEY (batch, position)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX certificate_uvci ON certificate (uvci);
CREATE INDEX certificate_pseudonym ON certificate (pseudonym);

-- One row per batch, 32 bytes per certificate by position: a row each would cost more than its hash.
CREATE TABLE signature (
    batch       INTEGER PRIMARY KEY REFERENCES batch (id),
    cose_sha256 BLOB NOT NULL CHECK (length(cose_sha256) % 32 = 0)
) STRICT;
CREATE VIEW issued AS
    SELECT batch.client, batch.issuer, batch.kid, batch.issued_at, batch.answered_at,
           certificate.*, substr(signature.cose_sha256, 32 * position + 1, 32) AS cose_sha256
    FROM certificate
    JOIN signature ON signature.batch = certificate.batch
    JOIN batch ON batch.id = certificate.batch;

CREATE TABLE rejection (
    batch  INTEGER NOT NULL REFERENCES batch (id),
    record INTEGER NOT NULL,
    -- Stable codes, separated by spaces.
    codes  TEXT NOT NULL,
    PRIMARY KEY (batch, record)
) STRICT, WITHOUT ROWID;

CREATE TABLE answer (
    batch       INTEGER PRIMARY KEY REFERENCES batch (id),
    answered_at INTEGER NOT NULL,
    sealed      BLOB NOT NULL
) STRICT;
CREATE INDEX answer_age ON answer (answered_at);

CREATE TABLE heartbeat (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    beats INTEGER NOT NULL
) STRICT;
INSERT INTO heartbeat (id, beats) VALUES (1, 0);
";

/// Counters of the days for quotas, and the officers' overrides of signing windows.
const VERSION_2: &str = "
-- Certificates of answered batches and open intents by issuer and day: to count them anew for each
-- intent would read a day's work each time.
CREATE TABLE issued_per_day (
    issuer TEXT NOT NULL,
    -- First second of the day in Asia/Ho_Chi_Minh.
    day    INTEGER NOT NULL,
    doses  INTEGER NOT NULL CHECK (doses >= 0),
    PRIMARY KEY (issuer, day)
) STRICT, WITHOUT ROWID;
-- What was issued before; Viet Nam is at UTC+7 (25,200 s) all year.
INSERT INTO issued_per_day (issuer, day, doses)
    SELECT issuer, (issued_at + 25200) / 86400 * 86400 - 25200, sum(certificates)
    FROM batch WHERE certificates > 0 GROUP BY 1, 2;

CREATE TABLE window_override (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    issuer         TEXT NOT NULL,
    opened_at      INTEGER NOT NULL,
    until          INTEGER NOT NULL CHECK (until > opened_at),
    officer        TEXT NOT NULL,
    reason         TEXT NOT NULL,
    -- NULL: nobody closed it before its time.
    closed_at      INTEGER,
    closed_by      TEXT CHECK ((closed_by IS NULL) = (closed_at IS NULL)),
    closing_reason TEXT CHECK ((closing_reason IS NULL) = (closed_at IS NULL))
) STRICT;
CREATE INDEX window_override_open ON window_override (until) WHERE closed_at IS NULL;
";

/// The log: its entries, its tree, its signed heads, and which of them a batch is.
const VERSION_3: &str = "
-- NULL: the intent is from before there was a log.
ALTER TABLE batch ADD COLUMN intended_entry INTEGER;
-- The entry of the first certificate; the others follow in the order of their positions. NULL: the batch
-- is not answered, or was answered before there was a log.
ALTER TABLE batch ADD COLUMN signed_entry INTEGER;

CREATE TABLE log_entry (
    number INTEGER PRIMARY KEY,
    entry  BLOB NOT NULL
) STRICT;
-- Up to 256 hashes of 32 bytes; a full tile never changes.
CREATE TABLE log_tile (
    level  INTEGER NOT NULL,
    number INTEGER NOT NULL,
    hashes BLOB NOT NULL CHECK (length(hashes) % 32 = 0 AND length(hashes) <= 8192),
    PRIMARY KEY (level, number)
) STRICT;
CREATE TABLE log_checkpoint (
    size INTEGER PRIMARY KEY,
    at   INTEGER NOT NULL,
    note TEXT NOT NULL
) STRICT;
CREATE INDEX log_checkpoint_at ON log_checkpoint (at);

-- Which secret of the token the pseudonyms are made with: under another one no dose would be known again.
CREATE TABLE secret (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    mark BLOB NOT NULL CHECK (length(mark) = 16)
) STRICT;
";

/// Brings a file to the newest schema, each step in a transaction of its own.
pub(super) fn migrate(connection: &Connection) -> Result<(), LedgerError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found = number(connection, "PRAGMA user_version")?;
    if found > known {
        return Err(LedgerError::SchemaTooNew { found, known });
    }
    check_origin(connection, found)?;
    for (script, version) in MIGRATIONS.iter().zip(1_i64..).filter(|(_, version)| *version > found)
    {
        connection
            .execute_batch(&format!(
                "BEGIN IMMEDIATE; {script} PRAGMA application_id = {APPLICATION_ID};
                 PRAGMA user_version = {version};"
            ))
            .map_err(refused)?;
        failpoint::pass(Place::MigrationWritten);
        connection.execute_batch("COMMIT").map_err(refused)?;
        failpoint::pass(Place::MigrationCommitted);
    }
    Ok(())
}

/// Refuses a file of another release, older or newer, and one of another program.
pub(super) fn require_newest(connection: &Connection) -> Result<(), LedgerError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    match check_is_ours(connection)? {
        found if found > known => Err(LedgerError::SchemaTooNew { found, known }),
        found if found < known => {
            let what = "file is of an earlier release: start the daemon on it once";
            Err(LedgerError::Corrupt { what, source: None })
        }
        _ => Ok(()),
    }
}

/// Refuses what is not a ledger, and gives the version of its schema.
pub(super) fn check_is_ours(connection: &Connection) -> Result<i64, LedgerError> {
    let found = number(connection, "PRAGMA user_version")?;
    check_origin(connection, found)?;
    if found == 0 {
        return Err(LedgerError::Corrupt { what: "file is empty", source: None });
    }
    Ok(found)
}

/// Refuses a database that another program made; an empty one is nobody's yet.
fn check_origin(connection: &Connection, version: i64) -> Result<(), LedgerError> {
    let origin = number(connection, "PRAGMA application_id")?;
    let tables = connection
        .query_row("SELECT name FROM sqlite_schema LIMIT 1", [], |_| Ok(()))
        .optional()
        .map_err(refused)?;
    match (origin, version, tables) {
        (APPLICATION_ID, 1.., Some(())) | (0, 0, None) => Ok(()),
        _ => Err(LedgerError::Corrupt { what: "file belongs to another program", source: None }),
    }
}

fn number(connection: &Connection, pragma: &str) -> Result<i64, LedgerError> {
    connection.query_row(pragma, [], |row| row.get(0)).map_err(refused)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::super::super::LedgerError;
    use super::{APPLICATION_ID, MIGRATIONS, VERSION_1, migrate};

    #[test]
    fn migrating_twice_changes_nothing() {
        // A file of the newest schema is left alone.
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection).unwrap();
        migrate(&connection).unwrap();
        let version: i64 =
            connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(version, i64::try_from(MIGRATIONS.len()).unwrap());
    }

    #[test]
    fn a_ledger_of_the_first_release_keeps_its_days() {
        // The counters of a migrated file are those of its batches, by the day of Viet Nam: from
        // 17:00 UTC on it is the next one. A batch without certificates counts nowhere.
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(VERSION_1).unwrap();
        let marks = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;");
        connection.execute_batch(&marks).unwrap();
        let midnight = policy::day_bounds(1_800_000_000).0;
        for (id, issuer, issued_at, certificates) in [
            (1_u8, "a", midnight - 1, 1),
            (2, "a", midnight, 20),
            (3, "a", midnight + 86_399, 300),
            (4, "b", midnight, 4_000),
            (5, "c", midnight, 0),
        ] {
            connection
                .execute(
                    "INSERT INTO batch (client, batch_id, digest, attempt, issuer, kid, issued_at,
                     certificates) VALUES ('x', ?1, zeroblob(32), 1, ?2, zeroblob(8), ?3, ?4)",
                    rusqlite::params![[id; 16], issuer, issued_at, certificates],
                )
                .unwrap();
        }
        migrate(&connection).unwrap();
        let mut counters =
            connection.prepare("SELECT issuer, day, doses FROM issued_per_day").unwrap();
        let counters: Vec<(String, i64, i64)> = counters
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let expected = [
            ("a".to_owned(), midnight - 86_400, 1),
            ("a".to_owned(), midnight, 320),
            ("b".to_owned(), midnight, 4_000),
        ];
        assert_eq!(counters, expected);
    }

    #[test]
    fn a_newer_schema_is_refused() {
        // A file of a newer release is not touched.
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("PRAGMA user_version = 99").unwrap();
        let refusal = migrate(&connection).unwrap_err();
        assert!(matches!(refusal, LedgerError::SchemaTooNew { found: 99, known: 3 }));
    }

    #[test]
    fn another_programs_database_is_refused() {
        // A database that is not a ledger is not turned into one.
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE theirs (x)").unwrap();
        assert!(matches!(migrate(&connection), Err(LedgerError::Corrupt { .. })));
    }
}
