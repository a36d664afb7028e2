//! The one place that reads the clock of the machine.
//!
//! Everything else takes the time as an argument, in whole seconds since 1970-01-01T00:00:00Z. The
//! clock refuses to answer while it may be wrong: when it is more than [`BACKWARDS_SECONDS_MAX`] behind
//! its latest answer or behind what is on record from earlier runs, or when the configuration asks for a
//! synchronised clock and nothing says that it is. Certificates carry this time; a wrong one is not
//! correctable.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;

/// How far may the clock go back before we stop signing? Time daemons step by less when they correct.
pub const BACKWARDS_SECONDS_MAX: i64 = 5;

/// A clock that is not to be trusted. To blame: the operator. A repeat helps once it is mended.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ClockError {
    /// An earlier run has recorded a later time; mend the clock, or start with `--trust-clock`.
    #[error("clock is {seconds} s behind the log, whose entries are later")]
    BehindRecord {
        /// By how many seconds.
        seconds: i64,
    },
    /// The clock went back since the latest reading; wait, or restart after checking it.
    #[error("clock went back by {seconds} s")]
    Backwards {
        /// By how many seconds.
        seconds: i64,
    },
    /// No time daemon vouches for the clock, and the configuration demands it.
    #[error("clock is not synchronised: {} does not exist", marker.display())]
    Unsynchronised {
        /// The file whose existence means that the clock is synchronised.
        marker: PathBuf,
    },
}

/// Reads the time of day, and distrusts it.
#[derive(Debug)]
pub struct Clock {
    /// Exists while the clock is synchronised; `None` where synchronisation is not required.
    marker: Option<PathBuf>,
    latest: AtomicI64,
    /// The latest time that an earlier run has recorded.
    recorded: AtomicI64,
}

impl Clock {
    /// A clock that demands `marker` to exist, if one is given.
    pub fn new(marker: Option<PathBuf>) -> Self {
        Self { marker, latest: AtomicI64::new(i64::MIN), recorded: AtomicI64::new(i64::MIN) }
    }

    /// Refuses from now on every time that is before a recorded one.
    pub fn no_earlier_than(&self, recorded: i64) {
        self.recorded.fetch_max(recorded, Ordering::Relaxed);
    }

    /// The time now, in seconds since 1970.
    ///
    /// # Errors
    /// The clock went back, or is not synchronised.
    pub fn now(&self) -> Result<i64, ClockError> {
        let now = seconds_since_1970();
        // A time that nothing is known of is as far back as there are numbers.
        let behind = |known: i64| known.saturating_sub(now);
        let seconds = behind(self.recorded.load(Ordering::Relaxed));
        if seconds > BACKWARDS_SECONDS_MAX {
            return Err(ClockError::BehindRecord { seconds });
        }
        let seconds = behind(self.latest.fetch_max(now, Ordering::Relaxed));
        if seconds > BACKWARDS_SECONDS_MAX {
            return Err(ClockError::Backwards { seconds });
        }
        match &self.marker {
            Some(marker) if !marker.exists() => {
                Err(ClockError::Unsynchronised { marker: marker.clone() })
            }
            _ => Ok(now),
        }
    }
}

/// The time of day without any judgement about it, for the tools and for validity checks at start.
pub fn seconds_since_1970() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).ok().and_then(|d| i64::try_from(d.as_secs()).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_went_back_is_refused() {
        // A clock that is behind its own latest answer by more than a few seconds gives no time.
        let clock = Clock::new(None);
        let now = clock.now().unwrap();
        clock.latest.store(now + BACKWARDS_SECONDS_MAX + 60, Ordering::Relaxed);
        assert!(matches!(clock.now(), Err(ClockError::Backwards { seconds }) if seconds > 60));
    }

    #[test]
    fn a_clock_behind_what_is_on_record_is_refused() {
        // A record of another run counts like an answer of this one; a few seconds are no fault, and a
        // clock that no record is known to is judged by its own answers alone.
        let clock = Clock::new(None);
        let now = seconds_since_1970();
        clock.no_earlier_than(now + BACKWARDS_SECONDS_MAX - 2);
        assert!(clock.now().is_ok());
        clock.no_earlier_than(now + BACKWARDS_SECONDS_MAX + 60);
        clock.no_earlier_than(now);
        assert!(matches!(clock.now(), Err(ClockError::BehindRecord { seconds }) if seconds > 60));
    }

    #[test]
    fn an_unsynchronised_clock_is_refused_where_required() {
        // Where synchronisation is required, the absence of the marker stops the clock.
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join("synchronized");
        let clock = Clock::new(Some(marker.clone()));
        assert_eq!(clock.now(), Err(ClockError::Unsynchronised { marker: marker.clone() }));
        std::fs::write(&marker, "").unwrap();
        assert!(clock.now().is_ok());
    }
}
