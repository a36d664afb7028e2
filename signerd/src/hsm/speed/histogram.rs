//! How long things took, in buckets that are no wider than a 64th of what they hold.
//!
//! In go nanoseconds, out come percentiles, each too high by at most 1.6 %; the longest is exact. It takes
//! the same little memory for ten times as for ten million.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

/// Buckets for each power of two, as a power of two.
const PARTS: u32 = 6;

/// Counts of times, by bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Histogram {
    /// The least time of a bucket, and how many were in it.
    counts: BTreeMap<u64, u64>,
    longest: u64,
}

impl Histogram {
    /// Counts one.
    pub(crate) fn record(&mut self, nanos: u64) {
        let count = self.counts.entry(floor(nanos)).or_default();
        *count = count.saturating_add(1);
        self.longest = self.longest.max(nanos);
    }

    /// Counts all of another one.
    pub(crate) fn add(&mut self, other: &Self) {
        for (floor, more) in &other.counts {
            let count = self.counts.entry(*floor).or_default();
            *count = count.saturating_add(*more);
        }
        self.longest = self.longest.max(other.longest);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The time that so many of a hundred did not exceed; 0 where there are none.
    pub(crate) fn at(&self, of_hundred: u64) -> u64 {
        let wanted = self.count().saturating_mul(of_hundred).div_ceil(100);
        let mut seen: u64 = 0;
        for (floor, count) in &self.counts {
            seen = seen.saturating_add(*count);
            if seen >= wanted {
                return floor.saturating_add(width(*floor)).saturating_sub(1).min(self.longest);
            }
        }
        self.longest
    }

    /// The longest.
    pub(crate) const fn longest(&self) -> u64 {
        self.longest
    }
}

/// The least time of the bucket that a time is in.
fn floor(nanos: u64) -> u64 {
    nanos & !width(nanos).saturating_sub(1)
}

/// How wide the bucket of a time is.
fn width(nanos: u64) -> u64 {
    1 << nanos.checked_ilog2().unwrap_or(0).saturating_sub(PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_close_from_above() {
        // Of 1 to 10,000 ns, each once, every percentile is right or too high by at most a 64th.
        let mut histogram = Histogram::default();
        (1..=10_000).for_each(|nanos| histogram.record(nanos));
        for of_hundred in [1, 50, 90, 99, 100] {
            let (found, exact) = (histogram.at(of_hundred), of_hundred * 100);
            assert!((exact..=exact + exact / 64).contains(&found), "{of_hundred}: {found}");
        }
        assert_eq!((histogram.count(), histogram.longest()), (10_000, 10_000));
    }

    #[test]
    fn sums_are_those_of_all_times_and_nothing_is_zero() {
        // Two histograms together are as if all had been counted in one; an empty one says 0.
        let (mut one, mut other, mut both) =
            (Histogram::default(), Histogram::default(), Histogram::default());
        for nanos in [0, 63, 64, 65, 129, 5_000_000_000] {
            one.record(nanos);
            other.record(nanos * 3);
            both.record(nanos);
            both.record(nanos * 3);
        }
        one.add(&other);
        assert_eq!(one, both);
        assert_eq!(Histogram::default().at(99), 0);
    }
}
