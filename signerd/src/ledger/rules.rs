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
//! Every change of a state is an entry of the log, in the same transaction. A batch that another
//! appliance works on is left alone until that one has ended; whose attempt is the current one is
//! settled by its number alone. Nothing here knows about tasks, threads or claims.

use std::collections::BTreeMap;

use super::batch::{
    DoseConflict, Finished, Intent, OverQuota, Reissue, Rejection, ReleaseCode, StoredIntent,
};
use super::claim::AttemptKey;
use super::store::{Answered, BatchRow, Holder, OpenAttempt, Store};
use super::window::{WindowClosing, WindowOverride};
use super::{BatchRef, LedgerError, log};
use crate::failpoint::{self, Place};
use crate::tlog::fact::{BatchIntended, Certificate, Counts, Fact};

/// What a request finds when it asks for its batch.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    Open(StoredIntent),
    Answered {
        sealed: Vec<u8>,
    },
    Expired,
    /// Another appliance works on it.
    HeldElsewhere,
    OtherRequest,
}

/// What became of an intent.
#[derive(Debug)]
pub(super) enum Intending {
    Open(AttemptKey),
    Conflicts(Vec<(usize, DoseConflict)>),
    OverQuota(OverQuota),
    /// Another appliance was first.
    Taken,
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
        return match row.holder {
            Holder::Elsewhere => Ok(Found::HeldElsewhere),
            Holder::Us | Holder::Nobody => Ok(Found::Open(stored_intent(store, row)?)),
        };
    };
    if answered_at <= expired_until {
        return Ok(Found::Expired);
    }
    Ok(store.answer(row.row)?.map_or(Found::Expired, |sealed| Found::Answered { sealed }))
}

/// Binds a ledger to the secret that its pseudonyms are made with, at its first use.
pub(super) fn bind(store: &mut dyn Store, mark: &[u8; 16]) -> Result<(), LedgerError> {
    match store.secret_mark()? {
        None => store.put_secret_mark(mark),
        Some(found) if found == *mark => Ok(()),
        Some(_) => Err(LedgerError::OtherSecret),
    }
}

/// Opens an intent, or continues the same one with the next attempt.
pub(super) fn intend(
    store: &mut dyn Store,
    batch: &BatchRef,
    digest: &[u8; 32],
    intent: &Intent,
) -> Result<Intending, LedgerError> {
    if let Some(row) = store.batch(batch)? {
        return intend_again(store, batch, row, digest, intent);
    }
    let forgotten_until = intent.reissue.forgets_until(intent.issued_at);
    let pseudonyms: Vec<&[u8; 32]> = intent.certificates.iter().map(|one| &one.pseudonym).collect();
    let conflicts = store.conflicts(&pseudonyms, None, forgotten_until)?.into_iter().enumerate();
    let conflicts: Vec<_> =
        conflicts.filter_map(|(index, conflict)| Some((index, conflict?))).collect();
    if !conflicts.is_empty() {
        return Ok(Intending::Conflicts(conflicts));
    }
    if let Some(over) = count(store, intent)? {
        return Ok(Intending::OverQuota(over));
    }
    let fact = BatchIntended {
        client: batch.client.clone(),
        batch_id: batch.id,
        request: *digest,
        issuer: intent.issuer.clone(),
        kid: intent.kid,
        assurance: intent.assurance.to_owned(),
        certificates: counted(intent.certificates.len()),
        rejected: counts(&intent.rejections),
    };
    let fact = Fact::BatchIntended(Box::new(fact));
    let entry = log::append(store, intent.issued_at, [fact])?;
    let row = store.insert_intent(batch, digest, intent, entry)?;
    failpoint::pass(Place::IntentWritten);
    Ok(Intending::Open(AttemptKey { row, number: 1 }))
}

/// Continues the intent of a batch that has one by now. Between the look of who intends and this, another
/// appliance may have begun the batch, answered it, or died with it: the repeat finds what counts then.
fn intend_again(
    store: &mut dyn Store,
    batch: &BatchRef,
    row: BatchRow,
    digest: &[u8; 32],
    intent: &Intent,
) -> Result<Intending, LedgerError> {
    let settled = row.answered_at.is_some() || row.digest != *digest;
    if settled || row.holder == Holder::Elsewhere {
        return Ok(Intending::Taken);
    }
    if intent.continues(&stored_intent(store, row.clone())?) {
        return Ok(Intending::Open(attempt_again(store, batch, row, intent.issued_at)?));
    }
    match row.holder {
        Holder::Us => Err(LedgerError::IntentDiffers),
        Holder::Elsewhere | Holder::Nobody => Ok(Intending::Taken),
    }
}

/// Begins the next attempt at an open intent as it is stored.
fn attempt_again(
    store: &mut dyn Store,
    batch: &BatchRef,
    open: BatchRow,
    now: i64,
) -> Result<AttemptKey, LedgerError> {
    let key = AttemptKey { row: open.row, number: open.attempt.saturating_add(1) };
    let entry = match open.entry {
        Some(entry) => entry,
        None => log_late(store, batch, open, now)?,
    };
    log::append(store, now, [Fact::BatchResumed { batch: entry, attempt: key.number }])?;
    store.set_attempt(key)?;
    failpoint::pass(Place::ResumeWritten);
    Ok(key)
}

/// Logs an intent that was made before there was a log.
fn log_late(
    store: &mut dyn Store,
    batch: &BatchRef,
    open: BatchRow,
    now: i64,
) -> Result<u64, LedgerError> {
    let (row, request) = (open.row, open.digest);
    let stored = stored_intent(store, open)?;
    let fact = BatchIntended {
        client: batch.client.clone(),
        batch_id: batch.id,
        request,
        issuer: stored.issuer,
        kid: stored.kid,
        assurance: ASSURANCE_UNKNOWN.to_owned(),
        certificates: counted(stored.certificates.len()),
        rejected: counts(&stored.rejections),
    };
    let entry = log::append(store, now, [Fact::BatchIntended(Box::new(fact))])?;
    store.set_entry(row, entry)?;
    Ok(entry)
}

/// What the log says of an intent from before there was a log, whose rules are not known any more.
const ASSURANCE_UNKNOWN: &str = "unknown";

/// How many records were refused for each reason, by code.
fn counts(rejections: &[Rejection]) -> Counts {
    let mut counts = BTreeMap::<&str, u32>::new();
    for rejection in rejections {
        let mut codes: Vec<&str> = rejection.codes.iter().map(String::as_str).collect();
        // A record that is refused twice for one reason is one record.
        codes.sort_unstable();
        codes.dedup();
        for code in codes {
            let count = counts.entry(code).or_default();
            *count = count.saturating_add(1);
        }
    }
    counts.into_iter().map(|(code, count)| (code.to_owned(), count)).collect()
}

/// The length of a list; those of a batch have at most 9,000.
fn counted(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Counts the certificates of an intent on its day, unless the quota does not hold them. A day is
/// counted without a quota too, so that one that is set at noon knows of the morning.
fn count(store: &mut dyn Store, intent: &Intent) -> Result<Option<OverQuota>, LedgerError> {
    let wanted = counted(intent.certificates.len());
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
fn remove(
    store: &mut dyn Store,
    row: i64,
    (code, now): (ReleaseCode, i64),
) -> Result<(), LedgerError> {
    let Some(removed) = store.remove_batch(row)? else {
        return Ok(());
    };
    if let Some(batch) = removed.entry {
        log::append(
            store,
            now,
            [Fact::BatchReleased { batch, code: Some(code.as_str().to_owned()) }],
        )?;
    }
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
    now: i64,
) -> Result<AttemptKey, LedgerError> {
    let row = store.batch(batch)?.ok_or(LedgerError::AttemptSuperseded)?;
    let open = require_open(row, digest)?;
    attempt_again(store, batch, open, now)
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
    let entry = log_answer(store, attempt, &current, finished)?;
    let answered = Answered {
        sealed: &finished.sealed_answer,
        cose_sha256: &finished.cose_sha256,
        at: finished.now,
        entry,
    };
    store.insert_answer(attempt.row, &answered)?;
    failpoint::pass(Place::AnswerWritten);
    Ok(())
}

/// Logs every certificate of a batch and then its end; gives the number of the first certificate's entry.
fn log_answer(
    store: &mut dyn Store,
    attempt: AttemptKey,
    current: &OpenAttempt,
    finished: &Finished,
) -> Result<u64, LedgerError> {
    // Every attempt after a start without a log has logged the intent first.
    let what = "an attempt has no intent in the log";
    let batch = current.entry.ok_or(LedgerError::Corrupt { what, source: None })?;
    let certificates = store.certificates(attempt.row)?;
    let signed = certificates.iter().zip(&finished.cose_sha256).map(|(stored, sha256)| {
        Fact::CertificateSigned(Certificate {
            batch,
            uvci: stored.uvci,
            kid: current.kid,
            iat: current.issued_at,
            exp: stored.expires_at,
            sha256: *sha256,
        })
    });
    let answered = Fact::BatchAnswered { batch, attempt: attempt.number };
    log::append(store, finished.now, signed.chain([answered]))
}

/// Frees the batch id and the doses of the current attempt.
pub(super) fn release(
    store: &mut dyn Store,
    attempt: AttemptKey,
    why: (ReleaseCode, i64),
) -> Result<(), LedgerError> {
    let current = store.open_attempt(attempt.row)?.ok_or(LedgerError::AttemptSuperseded)?;
    if current.number != attempt.number {
        return Err(LedgerError::AttemptSuperseded);
    }
    remove(store, attempt.row, why)?;
    failpoint::pass(Place::ReleaseWritten);
    Ok(())
}

/// Frees an open intent that will not be continued; there may be none.
pub(super) fn discard(
    store: &mut dyn Store,
    batch: &BatchRef,
    digest: &[u8; 32],
    why: (ReleaseCode, i64),
) -> Result<(), LedgerError> {
    let Some(row) = store.batch(batch)? else {
        return Ok(());
    };
    let open = require_open(row, digest)?;
    remove(store, open.row, why)?;
    failpoint::pass(Place::DiscardWritten);
    Ok(())
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
    let pseudonyms: Vec<&[u8; 32]> = pseudonyms.iter().collect();
    store.conflicts(&pseudonyms, except, reissue.forgets_until(now))
}

/// Counts the open intents that no other appliance works on.
pub(super) fn open_intents(store: &mut dyn Store) -> Result<u32, LedgerError> {
    let open = store.open_batches(i64::MAX)?.into_iter();
    Ok(counted(open.filter(|open| open.holder != Holder::Elsewhere).count()))
}

/// Leaves the open intents of this appliance that no task works on any more to whoever repeats them: what
/// cut a task off, such as a server that was away, need not have ended the appliance.
pub(super) fn let_go(
    store: &mut dyn Store,
    at_work: &dyn Fn(&BatchRef) -> bool,
) -> Result<(), LedgerError> {
    for open in store.open_batches(i64::MAX)? {
        if open.holder == Holder::Us && !at_work(&open.batch) {
            store.let_go(open.row)?;
        }
    }
    Ok(())
}

/// Frees the open intents older than a time that nobody works on, and gives their number.
pub(super) fn release_idle(
    store: &mut dyn Store,
    (issued_before, now): (i64, i64),
    at_work: &dyn Fn(&BatchRef) -> bool,
) -> Result<u64, LedgerError> {
    let mut released: u64 = 0;
    for open in store.open_batches(issued_before)? {
        if open.holder != Holder::Elsewhere && !at_work(&open.batch) {
            remove(store, open.row, (ReleaseCode::Abandoned, now))?;
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
    let WindowOverride { issuer, opened_at, until, officer: by, reason } = opened.clone();
    log::append(store, opened_at, [Fact::WindowOpened { by, issuer, until, reason }])?;
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
        let WindowClosing { issuer, at, officer: by, reason } = closing.clone();
        log::append(store, at, [Fact::WindowClosed { by, issuer, reason }])?;
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

/// A claimed batch is open under its request's digest, or somebody else has settled it meanwhile or has
/// taken it over.
fn require_open(row: BatchRow, digest: &[u8; 32]) -> Result<BatchRow, LedgerError> {
    let settled = row.answered_at.is_some() || row.digest != *digest;
    if settled || row.holder == Holder::Elsewhere {
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
mod tests;
