//! What an attempt may still do when another one has begun, on rows in memory.

use super::super::batch::{Finished, IntendedCertificate, Intent, Reissue, Rejection, ReleaseCode};
use super::super::sqlite::SqliteStore;
use super::{AttemptKey, BatchRef, Found, Intending, LedgerError, Store};
use super::{day, discard, find, finish, intend, release, resume};

const DIGEST: [u8; 32] = [1; 32];

/// Two appliances that share this store have no claims in common, only these rules.
fn store(folder: &tempfile::TempDir) -> SqliteStore {
    let mut store = SqliteStore::open(&folder.path().join("ledger")).unwrap();
    store.open_group().unwrap();
    store
}

fn batch() -> BatchRef {
    BatchRef { client: "client".to_owned(), id: [1; 16] }
}

fn open(store: &mut dyn Store) -> AttemptKey {
    let certificate = IntendedCertificate {
        record: 0,
        dose: 1,
        uvci: [2; 16],
        expires_at: 9,
        pseudonym: [3; 32],
    };
    let intent = Intent {
        issuer: "vn-moh".to_owned(),
        kid: [4; 8],
        issued_at: 5,
        certificates: vec![certificate],
        rejections: vec![Rejection { record: 1, codes: vec!["dose.repeated".to_owned()] }],
        reissue: Reissue::Never,
        quota: None,
        assurance: "statement",
    };
    match intend(store, &batch(), &DIGEST, &intent).unwrap() {
        Intending::Open(key) => key,
        other => panic!("{other:?}"),
    }
}

fn answer(mark: u8) -> Finished {
    Finished { sealed_answer: vec![mark], cose_sha256: vec![[mark; 32]], now: 6 }
}

fn superseded<T>(result: &Result<T, LedgerError>) -> bool {
    matches!(result, Err(LedgerError::AttemptSuperseded))
}

#[test]
fn only_the_current_attempt_ends_a_batch() {
    // An attempt that another one took over from can neither finish nor release.
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let late = open(&mut store);
    let current = resume(&mut store, &batch(), &DIGEST, 7).unwrap();
    assert_eq!((late.number, current.number), (1, 2));
    assert!(superseded(&finish(&mut store, late, &answer(1))));
    assert!(superseded(&release(&mut store, late, (ReleaseCode::Hsm, 7))));
    finish(&mut store, current, &answer(2)).unwrap();
    let found = find(&mut store, &batch(), &DIGEST, 0).unwrap();
    assert!(matches!(found, Found::Answered { sealed } if sealed == [2]));
}

#[test]
fn an_answered_batch_cannot_be_answered_released_or_resumed_again() {
    // The first answer is the only one.
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let attempt = open(&mut store);
    finish(&mut store, attempt, &answer(1)).unwrap();
    assert!(superseded(&finish(&mut store, attempt, &answer(2))));
    assert!(superseded(&release(&mut store, attempt, (ReleaseCode::Hsm, 7))));
    assert!(superseded(&resume(&mut store, &batch(), &DIGEST, 7)));
    assert!(superseded(&discard(&mut store, &batch(), &DIGEST, (ReleaseCode::Hsm, 7))));
    let found = find(&mut store, &batch(), &DIGEST, 0).unwrap();
    assert!(matches!(found, Found::Answered { sealed } if sealed == [1]));
}

#[test]
fn an_answered_batch_keeps_everything() {
    // Whoever asks the store to remove an answered batch is told that there is none, and certificates,
    // rejections and the day's count stay; an open one goes with all of them.
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let kept = |store: &mut SqliteStore, row| {
        (
            store.certificates(row).unwrap().len(),
            store.rejections(row).unwrap().len(),
            store.issued_on("vn-moh", day(5)).unwrap(),
        )
    };
    let attempt = open(&mut store);
    release(&mut store, attempt, (ReleaseCode::Hsm, 7)).unwrap();
    assert_eq!(kept(&mut store, attempt.row), (0, 0, 0));
    let attempt = open(&mut store);
    finish(&mut store, attempt, &answer(1)).unwrap();
    assert!(store.remove_batch(attempt.row).unwrap().is_none());
    assert_eq!(kept(&mut store, attempt.row), (1, 1, 1));
}

#[test]
fn a_late_attempt_at_a_released_batch_finds_nothing() {
    // The same batch begun anew has a row of its own, so that equal numbers do not meet.
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let late = open(&mut store);
    release(&mut store, late, (ReleaseCode::Hsm, 7)).unwrap();
    assert!(superseded(&finish(&mut store, late, &answer(1))));
    let anew = open(&mut store);
    assert_eq!(anew.number, late.number);
    assert!(superseded(&finish(&mut store, late, &answer(1))));
    finish(&mut store, anew, &answer(2)).unwrap();
}

#[test]
fn an_auditor_reads_each_certificate_with_its_hash() {
    // The view of what was issued puts each identifier beside the digest at its position.
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let attempt = open(&mut store);
    finish(&mut store, attempt, &answer(8)).unwrap();
    store.commit_group().unwrap();
    let reader = rusqlite::Connection::open(folder.path().join("ledger")).unwrap();
    let row: ([u8; 16], [u8; 32], String) = reader
        .query_row("SELECT uvci, cose_sha256, issuer FROM issued", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!(row, ([2; 16], [8; 32], "vn-moh".to_owned()));
}
