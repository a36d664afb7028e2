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

use super::batch::{DoseConflict, Finished, Intent, StoredIntent};
use super::claim::AttemptKey;
use super::store::{Answered, BatchRow, Store};
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
    let mut conflicts = Vec::new();
    for (index, certificate) in intent.certificates.iter().enumerate() {
        if let Some(conflict) = store.conflict(&certificate.pseudonym, None)? {
            conflicts.push((index, conflict));
        }
    }
    if !conflicts.is_empty() {
        return Ok(Intending::Conflicts(conflicts));
    }
    let row = store.insert_intent(batch, digest, intent)?;
    Ok(Intending::Open(AttemptKey { row, number: 1 }))
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
    store.remove_batch(attempt.row)
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
    store.remove_batch(open.row)
}

/// Asks for each dose who else has it.
pub(super) fn conflicts(
    store: &mut dyn Store,
    pseudonyms: &[[u8; 32]],
    except: Option<&BatchRef>,
) -> Result<Vec<Option<DoseConflict>>, LedgerError> {
    let except = match except {
        Some(batch) => store.batch(batch)?.map(|row| row.row),
        None => None,
    };
    pseudonyms.iter().map(|pseudonym| store.conflict(pseudonym, except)).collect()
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
            store.remove_batch(row)?;
            released = released.saturating_add(1);
        }
    }
    Ok(released)
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
