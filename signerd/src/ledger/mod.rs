//! The ledger: what was asked, what will be signed, what was answered; durable before it counts.
//!
//! In go batches by identifier and keyed digest, intents and sealed answers; out come the decisions
//! that make a batch identifier an idempotency key. One durable commit stands before the HSM is
//! touched (`intend`), one before the answer leaves (`finish`).
//!
//! It promises: an answered batch is answered the same way for as long as answers are kept; a dose
//! is in at most one open intent, and in a second answered batch only where re-issue allows it; an
//! issuer's day has no more certificates than its quota; only the current attempt at a batch can
//! finish; all of it also after the process or the machine died at any instant; and if something cannot be
//! written, an error. It keeps no personal data of holders: digests, pseudonyms, identifiers, times,
//! codes, and answers under a key that only the repeated request yields. Beside them it keeps which
//! officer opened a signing window, until when and why.
//!
//! It does not judge, sign, read a clock or know what an answer means. `rules` holds the states,
//! `store` what an engine must do, `sqlite` the engine of one appliance, `postgres` that of several,
//! `writer` the one thread and group commit, `claim` who works on what in this process, `keys` everything
//! keyed.

mod batch;
mod check;
mod claim;
mod engine;
mod error;
mod keys;
mod log;
mod logbook;
mod postgres;
mod rules;
mod sqlite;
mod store;
mod window;
mod writer;

use std::sync::Arc;
use std::time::Duration;

pub use self::postgres::{Server, ServerTls, Unusable};
pub use batch::{
    BatchRef, CERTIFICATES_MAX, DoseConflict, Finished, IntendedCertificate, Intent, OverQuota,
    REJECTIONS_MAX, Reissue, Rejection, ReleaseCode, StoredCertificate, StoredIntent,
};
pub use check::{Checked, Damage};
pub use claim::{Attempt, Ticket};
pub use engine::{Engine, Settings, backup, check};
pub use error::{Blame, Cause, LedgerError, Retry};
pub use keys::{LedgerKeys, SealError};
pub use store::{LoggedCertificate, StoredCheckpoint};
pub use window::{WINDOW_OVERRIDE_SECONDS_MAX, WindowClosing, WindowOverride};

use claim::Claims;
use rules::{Found, Intending};
use store::Store;
use writer::{Urgency, Writer};

use crate::failpoint::{self, Place};

/// The handle that every task has a copy of.
#[derive(Clone, Debug)]
pub struct Ledger {
    writer: Writer,
    claims: Claims,
    retention_seconds: i64,
    /// How often the others must hear of us; none: there are no others.
    pulse: Option<Duration>,
}

/// What a request finds when it begins.
#[derive(Debug)]
pub enum Begin {
    /// Nobody has used the batch id: judge, then `intend`.
    Fresh(Ticket),
    /// An earlier attempt ended without an answer: `resume` it, or `discard` it and judge anew.
    Resume(Ticket, StoredIntent),
    /// The request was answered; these bytes open with it.
    Replay {
        /// The answer as `LedgerKeys::seal` made it.
        sealed: Vec<u8>,
    },
    /// Another request has used the batch id.
    Conflict,
    /// The batch id is being worked on right now, here or on another appliance.
    InProgress,
    /// The request was answered, and the answer is no longer kept.
    Expired,
}

/// What became of an intent.
#[derive(Debug)]
pub enum Intended {
    /// It is durable: sign.
    Open(Attempt),
    /// Nothing was stored: these certificates (by index) cannot be issued now.
    Conflicts(Ticket, Vec<(usize, DoseConflict)>),
    /// Nothing was stored: the issuer's quota of the day does not hold the certificates.
    OverQuota(OverQuota),
    /// Nothing was stored: another appliance was first with this batch id. The repeat finds what it made
    /// of it.
    Taken,
}

impl Ledger {
    /// Starts the writer thread, which opens the engine: a file with its lock, or a connection.
    ///
    /// # Errors
    /// [`LedgerError::CannotOpen`], [`LedgerError::InUse`], [`LedgerError::Corrupt`],
    /// [`LedgerError::SchemaTooNew`] or [`LedgerError::Unavailable`], each by its own cause.
    pub fn open(settings: Settings) -> Result<Self, LedgerError> {
        let Settings { engine, retention } = settings;
        let pulse = engine.pulse();
        let writer = Writer::start(move || engine.open())?;
        let retention_seconds = i64::try_from(retention.as_secs()).unwrap_or(i64::MAX);
        Ok(Self { writer, claims: Claims::default(), retention_seconds, pulse })
    }

    /// Tells the other appliances that this one works, and leaves them the batches that no task here works
    /// on any more, for as long as it is polled; ends at once where there are none. What cannot be told
    /// now is told the next time.
    pub async fn stay_alive(&self) {
        let Some(pulse) = self.pulse else { return };
        let mut pulse = tokio::time::interval(pulse);
        // A machine that was paused has one beat to make up for, not all of them.
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            pulse.tick().await;
            let claims = self.claims.clone();
            let told =
                self.look(move |store| rules::let_go(store, &|batch| claims.holds(batch))).await;
            if matches!(told, Err(LedgerError::Closed)) {
                return;
            }
        }
    }

    /// Binds a new ledger to these keys, and says whether an older one is bound to the same.
    ///
    /// # Errors
    /// [`LedgerError::OtherSecret`]: no dose of this ledger would be recognised;
    /// [`LedgerError::Overloaded`] and [`LedgerError::Unavailable`].
    pub async fn bind(&self, keys: &LedgerKeys) -> Result<(), LedgerError> {
        let mark = *keys.mark();
        self.writer.run(Urgency::Admission, move |store| rules::bind(store, &mark)).await
    }

    /// Claims a batch for this task, or says what stands in the way.
    ///
    /// # Errors
    /// [`LedgerError::Overloaded`], [`LedgerError::Unavailable`] and the errors of a damaged store.
    pub async fn begin(
        &self,
        batch: BatchRef,
        digest: [u8; 32],
        now: i64,
    ) -> Result<Begin, LedgerError> {
        batch.check()?;
        let claim = match self.claims.take(batch.clone(), digest) {
            Ok(claim) => claim,
            Err(at_work) if at_work == digest => return Ok(Begin::InProgress),
            Err(_) => return self.meet_other_request(batch, digest, now).await,
        };
        let expired_until = self.expired_until(now);
        let held = Arc::clone(&claim);
        let found = self
            .writer
            .run(Urgency::Admission, move |store| {
                rules::find(store, &held.batch, &held.digest, expired_until)
            })
            .await?;
        let ticket = Ticket { claim };
        Ok(match found {
            Found::Nothing => Begin::Fresh(ticket),
            Found::Open(intent) => Begin::Resume(ticket, intent),
            Found::Answered { sealed } => Begin::Replay { sealed },
            Found::Expired => Begin::Expired,
            Found::HeldElsewhere => Begin::InProgress,
            Found::OtherRequest => Begin::Conflict,
        })
    }

    /// Makes an intent durable, in one commit, before the HSM is touched.
    ///
    /// A ticket whose intent is open already continues with the next attempt if this is the same
    /// intent.
    ///
    /// # Errors
    /// [`LedgerError::IntentDiffers`] if another intent of the batch is open,
    /// [`LedgerError::Malformed`] for values that may not be stored, [`LedgerError::Overloaded`]
    /// and [`LedgerError::Unavailable`]; the ticket is given back to nobody then, and nothing counts.
    pub async fn intend(&self, ticket: Ticket, intent: Intent) -> Result<Intended, LedgerError> {
        intent.check()?;
        let held = Arc::clone(&ticket.claim);
        let intending = self
            .writer
            .run(Urgency::Admission, move |store| {
                rules::intend(store, &held.batch, &held.digest, &intent)
            })
            .await?;
        failpoint::pass(Place::IntentCommitted);
        Ok(match intending {
            Intending::Open(key) => Intended::Open(Attempt { ticket, key }),
            Intending::Conflicts(conflicts) => Intended::Conflicts(ticket, conflicts),
            Intending::OverQuota(over) => Intended::OverQuota(over),
            Intending::Taken => Intended::Taken,
        })
    }

    /// Continues the open intent of a ticket as it is stored, as the next attempt.
    ///
    /// # Errors
    /// [`LedgerError::AttemptSuperseded`] if no intent is open or another appliance was faster,
    /// [`LedgerError::Overloaded`] and [`LedgerError::Unavailable`].
    pub async fn resume(&self, ticket: Ticket, now: i64) -> Result<Attempt, LedgerError> {
        let held = Arc::clone(&ticket.claim);
        let key = self
            .writer
            .run(Urgency::Admission, move |store| {
                rules::resume(store, &held.batch, &held.digest, now)
            })
            .await?;
        failpoint::pass(Place::ResumeCommitted);
        Ok(Attempt { ticket, key })
    }

    /// Frees the open intent of a ticket, so that the batch is judged anew.
    ///
    /// # Errors
    /// [`LedgerError::AttemptSuperseded`] if the batch was answered meanwhile,
    /// [`LedgerError::Overloaded`] and [`LedgerError::Unavailable`].
    pub async fn discard(
        &self,
        ticket: Ticket,
        code: ReleaseCode,
        now: i64,
    ) -> Result<Ticket, LedgerError> {
        let held = Arc::clone(&ticket.claim);
        self.writer
            .run(Urgency::Admission, move |store| {
                rules::discard(store, &held.batch, &held.digest, (code, now))
            })
            .await?;
        failpoint::pass(Place::DiscardCommitted);
        Ok(ticket)
    }

    /// Makes the answer durable, in one commit, before it leaves.
    ///
    /// # Errors
    /// [`LedgerError::AttemptSuperseded`] if this is no longer the current attempt: its result must
    /// be thrown away. [`LedgerError::Unavailable`]: the answer must not leave, the intent is open.
    pub async fn finish(&self, attempt: Attempt, finished: Finished) -> Result<(), LedgerError> {
        let Attempt { ticket, key } = attempt;
        let held = Arc::clone(&ticket.claim);
        self.writer
            .run(Urgency::Conclusion, move |store| {
                let _until_settled = &held;
                rules::finish(store, key, &finished)
            })
            .await?;
        failpoint::pass(Place::AnswerCommitted);
        Ok(())
    }

    /// Frees the doses and the id of a batch that will not be answered; late results are void.
    ///
    /// # Errors
    /// [`LedgerError::AttemptSuperseded`] if this is no longer the current attempt,
    /// [`LedgerError::Unavailable`]: the intent is still open, and the next repeat resumes it.
    pub async fn release(
        &self,
        attempt: Attempt,
        code: ReleaseCode,
        now: i64,
    ) -> Result<(), LedgerError> {
        let Attempt { ticket, key } = attempt;
        let held = Arc::clone(&ticket.claim);
        self.writer
            .run(Urgency::Conclusion, move |store| {
                let _until_settled = &held;
                rules::release(store, key, (code, now))
            })
            .await?;
        failpoint::pass(Place::ReleaseCommitted);
        Ok(())
    }

    /// Asks for each dose who else has it, as an intent with this re-issue at this time would find
    /// it; stores nothing, and asks for no quota.
    ///
    /// # Errors
    /// [`LedgerError::Overloaded`], [`LedgerError::Unavailable`] and the errors of a damaged store.
    pub async fn conflicts(
        &self,
        pseudonyms: Vec<[u8; 32]>,
        except: Option<BatchRef>,
        reissue: Reissue,
        now: i64,
    ) -> Result<Vec<Option<DoseConflict>>, LedgerError> {
        self.writer
            .run(Urgency::Admission, move |store| {
                rules::conflicts(store, &pseudonyms, except.as_ref(), (reissue, now))
            })
            .await
    }

    /// Lists the overrides of signing windows that are open at a time, at most one per issuer.
    ///
    /// # Errors
    /// [`LedgerError::Overloaded`], [`LedgerError::Unavailable`] and the errors of a damaged store.
    pub async fn windows(&self, now: i64) -> Result<Vec<WindowOverride>, LedgerError> {
        self.writer.run(Urgency::Admission, move |store| store.overrides(now)).await
    }

    /// Opens an override in place of the one that is open, and gives the one that was. The same one
    /// once more changes nothing and is given back as it was stored, so that a request can be repeated.
    ///
    /// # Errors
    /// [`LedgerError::Malformed`] for one that is too long or carries texts that may not be stored,
    /// [`LedgerError::Overloaded`] and [`LedgerError::Unavailable`]; nothing was opened then.
    pub async fn open_window(
        &self,
        opened: WindowOverride,
    ) -> Result<Option<WindowOverride>, LedgerError> {
        opened.check()?;
        self.writer.run(Urgency::Admission, move |store| rules::open_window(store, &opened)).await
    }

    /// Ends the override of an issuer before its time, and gives it; none was open: nothing changes.
    ///
    /// # Errors
    /// [`LedgerError::Malformed`] for texts that may not be stored, [`LedgerError::Overloaded`] and
    /// [`LedgerError::Unavailable`]; nothing was closed then.
    pub async fn close_window(
        &self,
        closing: WindowClosing,
    ) -> Result<Option<WindowOverride>, LedgerError> {
        closing.check()?;
        self.writer.run(Urgency::Admission, move |store| rules::close_window(store, &closing)).await
    }

    /// Proves by a durable write, and by a look at the free space, that a batch could be stored.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] or [`LedgerError::Overloaded`]: the appliance is not ready.
    pub async fn probe(&self) -> Result<(), LedgerError> {
        self.writer.run(Urgency::Admission, |store| store.beat()).await
    }

    /// Drops the sealed answers past their retention and gives their number.
    ///
    /// It works in slices, so that requests get their turn in between.
    ///
    /// # Errors
    /// [`LedgerError::Overloaded`] or [`LedgerError::Unavailable`]; what was dropped stays dropped.
    pub async fn purge(&self, now: i64) -> Result<u64, LedgerError> {
        let expired_until = self.expired_until(now);
        let mut purged: u64 = 0;
        loop {
            let slice = self
                .writer
                .run(Urgency::Admission, move |store| store.remove_answers(expired_until))
                .await?;
            purged = purged.saturating_add(slice);
            if slice == 0 {
                return Ok(purged);
            }
        }
    }

    /// Frees the intents from before a time that nobody works on, and gives their number.
    ///
    /// A client that died with its batch never repeats it; without this its doses would stay
    /// "in progress" for ever. The time is the caller's to choose: later than any client repeats.
    ///
    /// # Errors
    /// [`LedgerError::Overloaded`] or [`LedgerError::Unavailable`]; nothing was freed then.
    pub async fn release_idle(&self, issued_before: i64, now: i64) -> Result<u64, LedgerError> {
        let claims = self.claims.clone();
        self.writer
            .run(Urgency::Admission, move |store| {
                rules::release_idle(store, (issued_before, now), &|batch| claims.holds(batch))
            })
            .await
    }

    /// Counts the intents that are open, without those that other appliances work on.
    ///
    /// # Errors
    /// [`LedgerError::Overloaded`], [`LedgerError::Unavailable`] and the errors of a damaged store.
    pub async fn open_intents(&self) -> Result<u32, LedgerError> {
        self.look(rules::open_intents).await
    }

    /// Writes what waits, closes the file and frees its lock, or tells the others that this appliance
    /// ends; later calls get `Closed`.
    pub async fn close(&self) {
        self.writer.close().await;
    }

    async fn look<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut dyn Store) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.writer.run(Urgency::Admission, work).await
    }

    async fn conclude<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut dyn Store) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.writer.run(Urgency::Conclusion, work).await
    }

    /// Answers a request whose batch id another request is being worked on under.
    async fn meet_other_request(
        &self,
        batch: BatchRef,
        digest: [u8; 32],
        now: i64,
    ) -> Result<Begin, LedgerError> {
        let expired_until = self.expired_until(now);
        let found = self
            .writer
            .run(Urgency::Admission, move |store| {
                rules::find(store, &batch, &digest, expired_until)
            })
            .await?;
        // Before its intent is stored the other request may still leave the id free.
        Ok(if matches!(found, Found::OtherRequest) { Begin::Conflict } else { Begin::InProgress })
    }

    fn expired_until(&self, now: i64) -> i64 {
        now.saturating_sub(self.retention_seconds)
    }
}
