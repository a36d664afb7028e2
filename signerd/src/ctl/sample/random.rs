//! A small repeatable generator for sample data: `SplitMix64`.
//!
//! Seed and record number in, the same numbers out on every machine and in every version of this
//! tool. Not for keys, ids or anything that must not be guessed.

/// A stream of numbers for one record.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The stream of record `index` under `seed`; streams of neighbours have nothing in common.
    #[must_use]
    pub(super) fn new(seed: u64, index: u64) -> Self {
        let mut of_seed = Self(seed);
        Self(of_seed.next() ^ index.wrapping_mul(0xD1B5_4A32_D192_ED03))
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        // Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014).
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`, both included; the bias of the remainder does no harm here.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = high.abs_diff(low).saturating_add(1);
        low.saturating_add_unsigned(self.next().checked_rem(span).unwrap_or(0))
    }

    /// True in `percent` of a hundred cases.
    pub(super) fn chance(&mut self, percent: i64) -> bool {
        self.between(1, 100) <= percent
    }

    /// One of these.
    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(from.len()).ok()?;
        from.get(usize::try_from(self.next().checked_rem(count)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_paper() {
        // The first numbers from state 1234567 are the published reference values of SplitMix64.
        let mut random = Random(1_234_567);
        let numbers = [random.next(), random.next(), random.next()];
        assert_eq!(
            numbers,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn ranges_include_both_ends() {
        // Every number of a range is met, none outside it.
        let mut random = Random::new(1, 1);
        let mut met: Vec<_> = (0..200).map(|_| random.between(-1, 2)).collect();
        met.sort_unstable();
        met.dedup();
        assert_eq!(met, [-1, 0, 1, 2]);
    }
}
