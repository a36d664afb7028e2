//! A folder with a ledger in it, and the short way to bring a batch into a state.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Row;
use rusqlite::types::Value;
use signerd::ledger::{
    Attempt, BatchRef, Begin, Engine, Finished, Intended, IntendedCertificate, Intent, Ledger,
    LedgerError, Reissue, Rejection, ReleaseCode, Settings, StoredIntent, Ticket,
};

pub(crate) const NOW: i64 = 1_800_000_000;
/// Why intents of the tests are freed.
pub(crate) const RELEASED: ReleaseCode = ReleaseCode::Hsm;
pub(crate) const RETENTION: i64 = 604_800;
pub(crate) const DIGEST: [u8; 32] = [0xd1; 32];
pub(crate) const OTHER_DIGEST: [u8; 32] = [0xd2; 32];

pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("ledger.sqlite")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.path().join("ledger.sqlite-wal")
    }

    pub(crate) fn open(&self) -> Ledger {
        reopen(&self.path())
    }

    /// Looks into the ledger as an auditor does; a column that is NULL is empty.
    pub(crate) fn rows(&self, query: &str) -> Vec<Vec<String>> {
        let reader = rusqlite::Connection::open(self.path()).unwrap();
        let mut statement = reader.prepare(query).unwrap();
        let columns = statement.column_count();
        let text = |value| match value {
            Value::Null => String::new(),
            Value::Integer(number) => number.to_string(),
            Value::Text(text) => text,
            other => panic!("{other:?} is neither number nor text"),
        };
        let read = |row: &Row<'_>| (0..columns).map(|at| row.get(at).map(text)).collect();
        statement.query_map([], read).unwrap().map(Result::unwrap).collect()
    }

    /// What a killed process leaves: the files as they are while this one still runs.
    pub(crate) fn crash_copy(&self) -> Self {
        let copy = Self::new();
        fs::copy(self.path(), copy.path()).unwrap();
        if self.journal().exists() {
            fs::copy(self.journal(), copy.journal()).unwrap();
        }
        copy
    }
}

/// Opens a ledger that nobody has open any more. Other tests of this process start servers: between fork and
/// exec such a child has a copy of every lock.
pub(crate) fn reopen(path: &Path) -> Ledger {
    let begin = Instant::now();
    loop {
        match open(path) {
            Ok(ledger) => return ledger,
            Err(LedgerError::InUse { .. }) if begin.elapsed() < Duration::from_secs(5) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) fn open(path: &Path) -> Result<Ledger, LedgerError> {
    let retention = Duration::from_secs(RETENTION.unsigned_abs());
    Ledger::open(Settings { engine: Engine::Sqlite(path.to_owned()), retention })
}

pub(crate) fn batch(id: u8) -> BatchRef {
    BatchRef { client: "moh-issuing".to_owned(), id: [id; 16] }
}

/// An intent for doses, each named by one byte; the tag makes its identifiers its own.
pub(crate) fn intent(tag: u8, doses: &[u8]) -> Intent {
    let certificate = |(record, dose): (u32, &u8)| IntendedCertificate {
        record,
        dose: 1,
        uvci: [[tag; 15].as_slice(), &[*dose]].concat().try_into().unwrap(),
        expires_at: NOW + 31_536_000,
        pseudonym: [*dose; 32],
    };
    let codes = vec!["dose.date_future".to_owned(), "identity.mismatched".to_owned()];
    Intent {
        issuer: "vn-moh".to_owned(),
        kid: [7; 8],
        issued_at: NOW,
        certificates: (0..).zip(doses).map(certificate).collect(),
        rejections: vec![Rejection { record: 99, codes }],
        assurance: "statement",
        reissue: Reissue::Never,
        quota: None,
    }
}

pub(crate) fn finished(count: usize) -> Finished {
    Finished { sealed_answer: b"sealed".to_vec(), cose_sha256: vec![[0xc0; 32]; count], now: NOW }
}

pub(crate) async fn begin(ledger: &Ledger, id: u8, digest: [u8; 32]) -> Begin {
    ledger.begin(batch(id), digest, NOW).await.unwrap()
}

pub(crate) async fn fresh(ledger: &Ledger, id: u8) -> Ticket {
    match begin(ledger, id, DIGEST).await {
        Begin::Fresh(ticket) => ticket,
        other => panic!("expected Fresh, got {other:?}"),
    }
}

pub(crate) async fn resumable(ledger: &Ledger, id: u8) -> (Ticket, StoredIntent) {
    match begin(ledger, id, DIGEST).await {
        Begin::Resume(ticket, stored) => (ticket, stored),
        other => panic!("expected Resume, got {other:?}"),
    }
}

pub(crate) async fn intend(ledger: &Ledger, ticket: Ticket, intent: Intent) -> Attempt {
    match ledger.intend(ticket, intent).await.unwrap() {
        Intended::Open(attempt) => attempt,
        other => panic!("expected Open, got {other:?}"),
    }
}

pub(crate) async fn open_batch(ledger: &Ledger, id: u8, doses: &[u8]) -> Attempt {
    let ticket = fresh(ledger, id).await;
    intend(ledger, ticket, intent(id, doses)).await
}

pub(crate) async fn answered(ledger: &Ledger, id: u8, doses: &[u8]) {
    let attempt = open_batch(ledger, id, doses).await;
    ledger.finish(attempt, finished(doses.len())).await.unwrap();
}

pub(crate) async fn replays(ledger: &Ledger, id: u8) -> bool {
    matches!(begin(ledger, id, DIGEST).await, Begin::Replay { sealed } if sealed == b"sealed")
}

pub(crate) fn contains(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.windows(mark.len()).any(|window| window == mark)
}
