//! A look into the daemon's ledger from outside, as an auditor has it: read-only, while it is written;
//! and, while no daemon runs, what time or a crash would have made of it.

use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use signerd::tlog::fact::{Entry, Fact};

use crate::setup::Setup;

/// A batch as it stands in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// The time that its certificates bear.
    pub issued_at: i64,
    /// The number of its current attempt.
    pub attempt: i64,
    /// Whether it was answered; if not, its intent is open.
    pub answered: bool,
    /// Identifier and time of expiry of each intended certificate, in order.
    pub certificates: Vec<(String, i64)>,
}

/// A batch by its id; `None` where the ledger, or the batch in it, is not there.
pub fn batch(setup: &Setup, id: &[u8]) -> Option<StoredBatch> {
    let ledger = open(setup)?;
    let (row, issued_at, attempt, answered) = ledger
        .query_row(
            "SELECT id, issued_at, attempt, answered_at IS NOT NULL FROM batch WHERE batch_id = ?",
            [id],
            |row| Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .optional()
        .expect("a batch")?;
    let query = "SELECT uvci, expires_at FROM certificate WHERE batch = ? ORDER BY position";
    let mut statement = ledger.prepare(query).expect("a query");
    let certificates = statement
        .query_map([row], |row| Ok((uvci(&row.get::<_, Vec<u8>>(0)?), row.get(1)?)))
        .expect("certificates");
    let certificates = certificates.collect::<Result<_, _>>().expect("certificates");
    Some(StoredBatch { issued_at, attempt, answered, certificates })
}

/// How many certificates were issued, and how many different doses they are about.
pub fn issued(setup: &Setup) -> (i64, i64) {
    let ledger = open(setup).expect("a ledger");
    let query = "SELECT count(*), count(DISTINCT pseudonym) FROM issued";
    ledger.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("counts")
}

/// How many intents are open.
pub fn open_intents(setup: &Setup) -> i64 {
    let ledger = open(setup).expect("a ledger");
    let query = "SELECT count(*) FROM batch WHERE answered_at IS NULL";
    ledger.query_row(query, [], |row| row.get(0)).expect("a count")
}

/// The facts of the log, in their order.
pub fn facts(setup: &Setup) -> Vec<Fact> {
    let ledger = open(setup).expect("a ledger");
    let mut statement =
        ledger.prepare("SELECT entry FROM log_entry ORDER BY number").expect("a query");
    let entries = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).expect("entries");
    entries.map(|entry| Entry::decode(&entry.expect("an entry")).expect("an entry").fact).collect()
}

/// Puts a batch's time of issue back, as if so many seconds had passed; while no daemon runs.
pub fn make_older(setup: &Setup, id: &[u8], seconds: i64) {
    let changed = writable(setup)
        .execute("UPDATE batch SET issued_at = issued_at - ?2 WHERE batch_id = ?1", (id, seconds));
    assert_eq!(changed, Ok(1), "the batch");
}

/// Takes a batch's answer away, so that its intent is open as after a crash; while no daemon runs.
pub fn forget_answer(setup: &Setup, id: &[u8]) {
    let ledger = writable(setup);
    for table in ["answer", "signature"] {
        let of_batch = "(SELECT id FROM batch WHERE batch_id = ?1)";
        let statement = format!("DELETE FROM {table} WHERE batch = {of_batch}");
        assert_eq!(ledger.execute(&statement, [id]), Ok(1), "{table}");
    }
    let changed = ledger.execute("UPDATE batch SET answered_at = NULL WHERE batch_id = ?1", [id]);
    assert_eq!(changed, Ok(1), "the batch");
}

fn writable(setup: &Setup) -> Connection {
    Connection::open(setup.path("state/ledger.sqlite")).expect("a ledger")
}

fn open(setup: &Setup) -> Option<Connection> {
    let file = setup.path("state/ledger.sqlite");
    let ledger = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    ledger.busy_timeout(Duration::from_secs(5)).expect("a timeout");
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'issued'";
    (ledger.query_row(tables, [], |row| row.get::<_, i64>(0)) == Ok(1)).then_some(ledger)
}

fn uvci(random: &[u8]) -> String {
    format!("URN:UVCI:01:VN:{}", data_encoding::HEXUPPER.encode(random))
}
