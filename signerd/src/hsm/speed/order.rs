//! What a measurement and its processes say to each other.

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use super::Histogram;

/// To a process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Have this key at hand on so many sessions.
    Prepare { key: String, sessions: usize, copy_keys: bool },
    /// Sign for so long with what was prepared.
    Sign { step: Duration },
}

/// From a process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// It is logged in, or what was ordered is prepared.
    Ready,
    /// What was signed.
    Counted(Counted),
    /// This cannot be done, other things may.
    Cannot(String),
}

/// What sessions signed, or processes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counted {
    /// The sum of each session's own rate.
    pub(crate) per_second: f64,
    /// How long each signature took, in nanoseconds.
    pub(crate) times: Histogram,
    /// How long the sessions' threads had a processor, in nanoseconds; none where the system does not say.
    pub(crate) on_cpu: Option<u64>,
}

impl Counted {
    /// Adds what was signed at the same time.
    pub(crate) fn add(&mut self, other: &Self) {
        let first = self.times.count() == 0;
        self.on_cpu = match (self.on_cpu, other.on_cpu) {
            (None, more) if first => more,
            (Some(one), Some(more)) => Some(one.saturating_add(more)),
            _ => None,
        };
        self.per_second += other.per_second;
        self.times.add(&other.times);
    }
}
