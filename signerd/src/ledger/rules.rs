//! The states of a batch and who may change them: the same rules on every engine.
//!
//! ```text
//!            intend                 finish               purge
//!   (free) ─────────► open, n ────────────► answered ────────────► expired
//!      ▲                │  ▲ │
//!      └── release ─────┘  └─┘ resume: attempt n + 1
//! ```
//! In go the rows of a [`Store`] inside a transaction of the writer, out come decisions and new
//! rows. Every function may be run again from the start, because an engine may ask for that.
//! Nothing here knows about tasks, threads or claims.

use super::batch::{DoseConflict, Finished, Intent, OverQuota, Reissue, StoredIntent};
use super::claim::AttemptKey;
use super::store::{Answered, BatchRow, Store};
use super::window::{WindowClosing, WindowOverride};
use super::{BatchRef, LedgerError};

/// What a request finds when it asks for its batch.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    Open(StoredIntent),
    Answered { sealed: Vec<u8> },
    Expired,
    OtherRequest,
}

/// What became of an intent.
#[derive(Debug)]
pub(super) enum Intending {
    Open(AttemptKey),
    Conflicts(Vec<(usize, DoseConflict)>),
    OverQuota(OverQuota),
}

/// Looks a batch up; `expired_until` is the youngest time of answer that is no longer given out.
pub(super) fn find(
    store: &mut dyn Store,
    batch: &BatchRef,
    digest: &[u8; 32],
    expired_until: i64,
) -> Result<Found, LedgerError> {
    let Some(row) = store.batch(batch)? else {
        return Ok(Found::Nothing);
    };
    if row.digest != *digest {
        return Ok(Found::OtherRequest);
    }
    let Some(answered_at) = row.answered_at else {
        return Ok(Found::Open(stored_intent(store, row)?));
    };
    if answered_at <= expired_until {
        return Ok(Found::Expired);
    }
    Ok(store.answer(row.row)?.map_or(Found::Expired, |sealed| Found::Answered { sealed }))
}

/// Opens an intent, or continues the same one with the next attempt.
pub(super) fn intend(
    store: &mut dyn Store,
    batch: &BatchRef,
    digest: &[u8; 32],
    intent: &Intent,
) -> Result<Intending, LedgerError> {
    if let Some(row) = store.batch(batch)? {
        let open = require_open(row, digest)?;
        let key = AttemptKey { row: open.row, number: open.attempt.saturating_add(1) };
        if !intent.continues(&stored_intent(store, open)?) {
            return Err(LedgerError::IntentDiffers);
        }
        store.set_attempt(key)?;
        return Ok(Intending::Open(key));
    }
    let forgotten_until = intent.reissue.forgets_until(intent.issued_at);
    let mut conflicts = Vec::new();
    for (index, certificate) in intent.certificates.iter().enumerate() {
        if let Some(conflict) = store.conflict(&certificate.pseudonym, None, forgotten_until)? {
            conflicts.push((index, conflict));
        }
    }
    if !conflicts.is_empty() {
        return Ok(Intending::Conflicts(conflicts));
    }
    if let Some(over) = count(store, intent)? {
        return Ok(Intending::OverQuota(over));
    }
    let row = store.insert_intent(batch, digest, intent)?;
    Ok(Intending::Open(AttemptKey { row, number: 1 }))
}

/// Counts the certificates of an intent on its day, unless the quota does not hold them. A day is
/// counted without a quota too, so that one that is set at noon knows of the morning.
fn count(store: &mut dyn Store, intent: &Intent) -> Result<Option<OverQuota>, LedgerError> {
    // Their number was checked: at most 9,000.
    let wanted = u32::try_from(intent.certificates.len()).unwrap_or(u32::MAX);
    if wanted == 0 {
        return Ok(None);
    }
    let day = day(intent.issued_at);
    if let Some(quota) = intent.quota {
        let issued = store.issued_on(&intent.issuer, day)?;
        if issued.saturating_add(wanted) > quota {
            return Ok(Some(OverQuota { quota, issued, wanted }));
        }
    }
    store.count_issued(&intent.issuer, day, i64::from(wanted))?;
    Ok(None)
}

/// Removes a batch that was not answered; its day has its certificates back.
fn remove(store: &mut dyn Store, row: i64) -> Result<(), LedgerError> {
    let Some(removed) = store.remove_batch(row)? else {
        return Ok(());
    };
    if removed.certificates == 0 {
        return Ok(());
    }
    let change = i64::from(removed.certificates).saturating_neg();
    store.count_issued(&removed.issuer, day(removed.issued_at), change)
}

/// The day of Viet Nam that a time falls on, by its first second.
fn day(time: i64) -> i64 {
    policy::day_bounds(time).0
}

/// Continues an open intent as it is stored, with the next attempt.
pub(super) fn resume(
    store: &mut dyn Store,
    batch: &BatchRef,
    digest: &[u8; 32],
) -> Result<AttemptKey, LedgerError> {
    let row = store.batch(batch)?.ok_or(LedgerError::AttemptSuperseded)?;
    let open = require_open(row, digest)?;
    let key = AttemptKey { row: open.row, number: open.attempt.saturating_add(1) };
    store.set_attempt(key)?;
    Ok(key)
}

/// Stores the answer of the current attempt.
pub(super) fn finish(
    store: &mut dyn Store,
    attempt: AttemptKey,
    finished: &Finished,
) -> Result<(), LedgerError> {
    let current = store.open_attempt(attempt.row)?.ok_or(LedgerError::AttemptSuperseded)?;
    if current.number != attempt.number {
        return Err(LedgerError::AttemptSuperseded);
    }
    if u32::try_from(finished.cose_sha256.len()) != Ok(current.certificates) {
        return Err(LedgerError::Malformed("answer has not one digest per intended certificate"));
    }
    let answered = Answered {
        sealed: &finished.sealed_answer,
        cose_sha256: &finished.cose_sha256,
        at: finished.now,
    };
    store.insert_answer(attempt.row, &answered)
}

/// Frees the batch id and the doses of the current attempt.
pub(super) fn release(store: &mut dyn Store, attempt: AttemptKey) -> Result<(), LedgerError> {
    let current = store.open_attempt(attempt.row)?.ok_or(LedgerError::AttemptSuperseded)?;
    if current.number != attempt.number {
        return Err(LedgerError::AttemptSuperseded);
    }
    remove(store, attempt.row)
}

/// Frees an open intent that will not be continued; there may be none.
pub(super) fn discard(
    store: &mut dyn Store,
    batch: &BatchRef,
    digest: &[u8; 32],
) -> Result<(), LedgerError> {
    let Some(row) = store.batch(batch)? else {
        return Ok(());
    };
    let open = require_open(row, digest)?;
    remove(store, open.row)
}

/// Asks for each dose who else has it, as an intent with this re-issue at this time would find it.
pub(super) fn conflicts(
    store: &mut dyn Store,
    pseudonyms: &[[u8; 32]],
    except: Option<&BatchRef>,
    (reissue, now): (Reissue, i64),
) -> Result<Vec<Option<DoseConflict>>, LedgerError> {
    let except = match except {
        Some(batch) => store.batch(batch)?.map(|row| row.row),
        None => None,
    };
    let forgotten_until = reissue.forgets_until(now);
    let conflict = |pseudonym| store.conflict(pseudonym, except, forgotten_until);
    pseudonyms.iter().map(conflict).collect()
}

/// Frees the open intents older than a time that nobody works on, and gives their number.
pub(super) fn release_idle(
    store: &mut dyn Store,
    issued_before: i64,
    at_work: &dyn Fn(&BatchRef) -> bool,
) -> Result<u64, LedgerError> {
    let mut released: u64 = 0;
    for (row, batch) in store.open_batches(issued_before)? {
        if !at_work(&batch) {
            remove(store, row)?;
            released = released.saturating_add(1);
        }
    }
    Ok(released)
}

/// Opens an override of a signing window in place of the one that is open, and gives the one that
/// was; the same one once more changes nothing, so that a request can be repeated.
pub(super) fn open_window(
    store: &mut dyn Store,
    opened: &WindowOverride,
) -> Result<Option<WindowOverride>, LedgerError> {
    let before = window_of(store, &opened.issuer, opened.opened_at)?;
    if let Some(before) = &before {
        if before.says_the_same(opened) {
            return Ok(Some(before.clone()));
        }
        store.close_override(&opened.replaces())?;
    }
    store.insert_override(opened)?;
    Ok(before)
}

/// Ends the override of an issuer that is open, and gives it; there may be none.
pub(super) fn close_window(
    store: &mut dyn Store,
    closing: &WindowClosing,
) -> Result<Option<WindowOverride>, LedgerError> {
    let open = window_of(store, &closing.issuer, closing.at)?;
    if open.is_some() {
        store.close_override(closing)?;
    }
    Ok(open)
}

fn window_of(
    store: &mut dyn Store,
    issuer: &str,
    now: i64,
) -> Result<Option<WindowOverride>, LedgerError> {
    Ok(store.overrides(now)?.into_iter().find(|open| open.issuer == issuer))
}

/// A claimed batch is open under its request's digest, or somebody else has settled it meanwhile.
fn require_open(row: BatchRow, digest: &[u8; 32]) -> Result<BatchRow, LedgerError> {
    if row.answered_at.is_some() || row.digest != *digest {
        return Err(LedgerError::AttemptSuperseded);
    }
    Ok(row)
}

fn stored_intent(store: &mut dyn Store, row: BatchRow) -> Result<StoredIntent, LedgerError> {
    Ok(StoredIntent {
        certificates: store.certificates(row.row)?,
        rejections: store.rejections(row.row)?,
        issuer: row.issuer,
        kid: row.kid,
        issued_at: row.issued_at,
    })
}

#[cfg(test)]
mod tests {
    use super::super::batch::{Finished, IntendedCertificate, Intent, Reissue, Rejection};
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
        let current = resume(&mut store, &batch(), &DIGEST).unwrap();
        assert_eq!((late.number, current.number), (1, 2));
        assert!(superseded(&finish(&mut store, late, &answer(1))));
        assert!(superseded(&release(&mut store, late)));
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
        assert!(superseded(&release(&mut store, attempt)));
        assert!(superseded(&resume(&mut store, &batch(), &DIGEST)));
        assert!(superseded(&discard(&mut store, &batch(), &DIGEST)));
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
        release(&mut store, attempt).unwrap();
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
        release(&mut store, late).unwrap();
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
}
