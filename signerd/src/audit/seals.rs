//! Whether the log is signed as it grows: what a signature for a certificate depends on besides the ledger.
//!
//! In go the sealer's successes and failures, each with its time; out comes whether certificates may be
//! signed, and what the operator should know. A failure is told after seconds, because the first worker
//! may still be starting; it stops the signing after a minute, because then nobody outside holds what
//! happens any more. It knows neither keys nor files.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;

/// How long may the log go unsigned before the appliance is not ready?
pub const UNREADY_AFTER: Duration = Duration::from_secs(5);
/// How long may the log go unsigned before nothing is signed any more?
pub const UNSIGNED_MAX: Duration = Duration::from_secs(60);

/// What the latest try had to do without.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Missing {
    /// The signature: what signs no checkpoints signs no certificates either.
    Token,
    /// A place for the checkpoint: the ledger, or the file.
    Place,
    /// The entries that were signed before: nothing may be built on others, not for a minute.
    History,
}

/// The log is not signed. To blame: the operator, who finds the cause in it. A repeat helps later.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
#[error("the log is not signed: {cause}")]
pub struct Unsealed {
    /// What stands in the way.
    pub missing: Missing,
    /// Why the latest try failed.
    pub cause: String,
}

/// What is known, shared between the sealer and those who ask.
#[derive(Debug)]
pub struct Seals(Mutex<Latest>);

#[derive(Debug)]
struct Latest {
    success: Instant,
    failure: Option<Unsealed>,
}

impl Latest {
    fn is_broken(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.missing == Missing::History)
    }
}

impl Seals {
    /// Nothing has failed yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Latest { success: now, failure: None }))
    }

    /// The whole log is signed, and kept wherever it has to be.
    pub fn succeeded(&self, now: Instant) {
        *self.latest() = Latest { success: now, failure: None };
    }

    /// It is not.
    pub fn failed(&self, missing: Missing, cause: String) {
        let mut latest = self.latest();
        // A try that fails otherwise does not bring the lost entries back.
        if missing == Missing::History || !latest.is_broken() {
            latest.failure = Some(Unsealed { missing, cause });
        }
    }

    /// Whether certificates may be signed.
    ///
    /// # Errors
    /// [`Unsealed`]: the log has gone unsigned for longer than [`UNSIGNED_MAX`].
    pub fn check(&self, now: Instant) -> Result<(), Unsealed> {
        self.unsealed(now, UNSIGNED_MAX).map_or(Ok(()), Err)
    }

    /// What is in the way of being ready, if anything is.
    pub fn obstacle(&self, now: Instant) -> Option<Unsealed> {
        self.unsealed(now, UNREADY_AFTER)
    }

    fn unsealed(&self, now: Instant, longest: Duration) -> Option<Unsealed> {
        let latest = self.latest();
        let since = now.saturating_duration_since(latest.success);
        // A disk that hangs has not even failed; a token's calls have a deadline.
        let hangs = || Unsealed { missing: Missing::Place, cause: "no answer yet".to_owned() };
        (latest.is_broken() || since > longest)
            .then(|| latest.failure.clone().unwrap_or_else(hangs))
    }

    fn latest(&self) -> std::sync::MutexGuard<'_, Latest> {
        // Nobody panics with it in hand, and half a change is not possible.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant, Missing, Seals, UNREADY_AFTER, UNSIGNED_MAX, Unsealed};

    const MOMENT: Duration = Duration::from_millis(1);

    #[test]
    fn a_log_that_is_not_signed_ends_readiness_first_and_signing_later() {
        // Seconds without a signature are told, a minute without one stops the signing, whether the tries
        // fail or hang; one success mends both.
        let begin = Instant::now();
        let seals = Seals::new(begin);
        assert_eq!(seals.obstacle(begin + UNREADY_AFTER), None);
        let hung = seals.obstacle(begin + UNREADY_AFTER + MOMENT).unwrap();
        assert_eq!(hung, Unsealed { missing: Missing::Place, cause: "no answer yet".to_owned() });
        seals.failed(Missing::Place, "disk is full".to_owned());
        assert_eq!(seals.check(begin + UNSIGNED_MAX), Ok(()));
        let refused = seals.check(begin + UNSIGNED_MAX + MOMENT).unwrap_err();
        assert_eq!(refused.to_string(), "the log is not signed: disk is full");
        // A log that is not the one that was signed is no matter of minutes.
        let other = Seals::new(begin);
        other.failed(Missing::History, "entries were lost".to_owned());
        assert!(other.check(begin).is_err() && other.obstacle(begin).is_some());
        other.failed(Missing::Token, "no worker".to_owned());
        assert_eq!(other.check(begin).unwrap_err().cause, "entries were lost");
        let later = begin + UNSIGNED_MAX * 2;
        seals.succeeded(later);
        assert_eq!((seals.obstacle(later), seals.check(later)), (None, Ok(())));
    }
}
