//! The tables of the fleet's ledger, and how a database of an earlier release becomes one of this.
//!
//! In goes a connection, out comes the newest schema, or a refusal: a database of another program, one of
//! a newer release. Migrations only ever append to the list, and each leaves what the release before it
//! reads and writes, because the appliances of a fleet are brought to a new release one after the other.
//!
//! Sized for 10^8 certificates: identifiers and pseudonyms are `uuid`, which compares and indexes best;
//! columns stand in the order of their alignment; what is dropped again has a table of its own.

use postgres::{Client, Transaction};

use super::super::LedgerError;
use super::failure::{damaged, refused};
use crate::failpoint::{self, Place};

/// Makes appliances that start at once migrate one after the other ("SGNL").
const ADVISORY_LOCK: i64 = 0x5347_4e4c;

/// How long may a start wait for another one's migration?
const MIGRATION_WAIT_MS: u32 = 45_000;

/// One script per version of the schema; version n is reached by running script n - 1.
const MIGRATIONS: &[&str] = &[VERSION_1];

const VERSION_1: &str = "
CREATE TABLE ledger_schema (
    program text PRIMARY KEY CHECK (program = 'signerd'),
    version integer NOT NULL
);
INSERT INTO ledger_schema (program, version) VALUES ('signerd', 0);

-- The processes that work on this ledger; rows change every second and stay few.
CREATE TABLE appliance (
    incarnation uuid PRIMARY KEY,
    alive_until timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE batch (
    -- Never used twice, so that a late attempt at a released batch finds nothing.
    id             bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    issued_at      bigint NOT NULL,
    -- NULL: the intent is open.
    answered_at    bigint,
    -- The entries of the log: the intent, and the first certificate.
    intended_entry bigint NOT NULL,
    signed_entry   bigint CHECK ((signed_entry IS NULL) = (answered_at IS NULL)),
    attempt        bigint NOT NULL CHECK (attempt >= 1),
    certificates   integer NOT NULL CHECK (certificates >= 0),
    batch_id       uuid NOT NULL,
    -- The incarnation that began the current attempt.
    holder         uuid NOT NULL,
    -- Keyed: HMAC of the request's bytes.
    digest         bytea NOT NULL CHECK (octet_length(digest) = 32),
    kid            bytea NOT NULL CHECK (octet_length(kid) = 8),
    issuer         text NOT NULL,
    client         text NOT NULL,
    UNIQUE (client, batch_id)
) WITH (fillfactor = 90);
CREATE INDEX batch_open ON batch (issued_at) WHERE answered_at IS NULL;

CREATE TABLE certificate (
    -- Rows go in and out with their batch, in its transaction; a foreign key would look at each of them.
    batch      bigint NOT NULL,
    expires_at bigint NOT NULL,
    record     integer NOT NULL,
    position   smallint NOT NULL,
    dose       smallint NOT NULL CHECK (dose BETWEEN 1 AND 9),
    uvci       uuid NOT NULL,
    -- Keyed: the first half of the HMAC of holder and dose.
    pseudonym  uuid NOT NULL,
    PRIMARY KEY (batch, position)
);
CREATE UNIQUE INDEX certificate_uvci ON certificate (uvci);
CREATE INDEX certificate_pseudonym ON certificate (pseudonym);

-- One row per batch, 32 bytes per certificate by position.
CREATE TABLE signature (
    batch       bigint PRIMARY KEY REFERENCES batch (id),
    cose_sha256 bytea NOT NULL CHECK (octet_length(cose_sha256) % 32 = 0)
);
CREATE VIEW issued AS
    SELECT batch.client, batch.issuer, batch.kid, batch.issued_at, batch.answered_at,
           certificate.*,
           substring(signature.cose_sha256 FROM 32 * position + 1 FOR 32) AS cose_sha256
    FROM certificate
    JOIN signature ON signature.batch = certificate.batch
    JOIN batch ON batch.id = certificate.batch;

CREATE TABLE rejection (
    batch  bigint NOT NULL,
    record integer NOT NULL,
    -- Stable codes, separated by spaces.
    codes  text NOT NULL,
    PRIMARY KEY (batch, record)
);

CREATE TABLE answer (
    batch       bigint PRIMARY KEY REFERENCES batch (id),
    answered_at bigint NOT NULL,
    sealed      bytea NOT NULL
);
CREATE INDEX answer_age ON answer (answered_at);

-- Certificates of answered batches and open intents by issuer and day.
CREATE TABLE issued_per_day (
    issuer text NOT NULL,
    -- First second of the day in Asia/Ho_Chi_Minh.
    day    bigint NOT NULL,
    doses  bigint NOT NULL CHECK (doses >= 0),
    PRIMARY KEY (issuer, day)
) WITH (fillfactor = 50);

CREATE TABLE window_override (
    id             bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    issuer         text NOT NULL,
    opened_at      bigint NOT NULL,
    until          bigint NOT NULL CHECK (until > opened_at),
    officer        text NOT NULL,
    reason         text NOT NULL,
    -- NULL: nobody closed it before its time.
    closed_at      bigint,
    closed_by      text CHECK ((closed_by IS NULL) = (closed_at IS NULL)),
    closing_reason text CHECK ((closing_reason IS NULL) = (closed_at IS NULL))
);
CREATE INDEX window_override_open ON window_override (until) WHERE closed_at IS NULL;

-- The one row that every group of every appliance locks first.
CREATE TABLE log_head (
    id   smallint PRIMARY KEY CHECK (id = 1),
    size bigint NOT NULL CHECK (size >= 0)
) WITH (fillfactor = 50);
INSERT INTO log_head (id, size) VALUES (1, 0);
CREATE TABLE log_entry (
    number bigint PRIMARY KEY,
    entry  bytea NOT NULL
);
-- Up to 256 hashes of 32 bytes; a full tile never changes.
CREATE TABLE log_tile (
    level  smallint NOT NULL,
    number bigint NOT NULL,
    hashes bytea NOT NULL
        CHECK (octet_length(hashes) % 32 = 0 AND octet_length(hashes) <= 8192),
    PRIMARY KEY (level, number)
);
CREATE TABLE log_checkpoint (
    size bigint PRIMARY KEY,
    at   bigint NOT NULL,
    note text NOT NULL
);
CREATE INDEX log_checkpoint_at ON log_checkpoint (at);

-- Which secret of the token the pseudonyms are made with: under another one no dose would be known again.
CREATE TABLE secret (
    id   integer PRIMARY KEY CHECK (id = 1),
    mark uuid NOT NULL
);

-- Hashes and sealed bytes do not compress; nobody shall try.
ALTER TABLE signature ALTER COLUMN cose_sha256 SET STORAGE EXTERNAL;
ALTER TABLE answer ALTER COLUMN sealed SET STORAGE EXTERNAL;
ALTER TABLE log_tile ALTER COLUMN hashes SET STORAGE EXTERNAL;
";

/// Brings a database to the newest schema, in one transaction, and forgets who has been dead for a day.
pub(super) fn migrate(client: &mut Client) -> Result<(), LedgerError> {
    let mut transaction = client.transaction().map_err(refused)?;
    let alone = format!(
        "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = {MIGRATION_WAIT_MS};
         SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"
    );
    transaction.batch_execute(&alone).map_err(refused)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found = version(&mut transaction)?;
    if found > known {
        return Err(LedgerError::SchemaTooNew { found, known });
    }
    for (script, version) in MIGRATIONS.iter().zip(1_i64..).filter(|(_, version)| *version > found)
    {
        let numbered = format!("{script} UPDATE ledger_schema SET version = {version};");
        transaction.batch_execute(&numbered).map_err(refused)?;
    }
    transaction
        .batch_execute(
            "DELETE FROM appliance WHERE alive_until < clock_timestamp() - interval '1 day'",
        )
        .map_err(refused)?;
    let is_new = found < known;
    if is_new {
        failpoint::pass(Place::MigrationWritten);
    }
    transaction.commit().map_err(refused)?;
    if is_new {
        failpoint::pass(Place::MigrationCommitted);
    }
    Ok(())
}

/// Refuses a database of another release, older or newer, and one of another program.
pub(super) fn require_newest(client: &mut Client) -> Result<(), LedgerError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let mut transaction = client.transaction().map_err(refused)?;
    match version(&mut transaction)? {
        found if found > known => Err(LedgerError::SchemaTooNew { found, known }),
        found if found < known => {
            Err(damaged("database is empty or of an earlier release: start the daemon on it once"))
        }
        _ => Ok(()),
    }
}

/// The version of the schema; 0: the database is empty.
fn version(transaction: &mut Transaction<'_>) -> Result<i64, LedgerError> {
    let query = "SELECT to_regclass('public.ledger_schema') IS NOT NULL,
        EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace)";
    let row = transaction.query_one(query, &[]).map_err(refused)?;
    match (row.try_get(0).map_err(refused)?, row.try_get(1).map_err(refused)?) {
        (true, _) => {}
        (false, false) => return Ok(0),
        (false, true) => return Err(damaged("database belongs to another program")),
    }
    let row = transaction
        .query_opt("SELECT version::bigint FROM ledger_schema WHERE program = 'signerd'", &[])
        .map_err(refused)?;
    let row = row.ok_or_else(|| damaged("database belongs to another program"))?;
    row.try_get(0).map_err(refused)
}
