//! Random choices that can be made again: the seed is in the report.

/// A generator (xorshift64*), good enough to choose when to kill.
pub(super) struct Random(u64);

impl Random {
    /// From a seed that is not 0.
    pub(super) fn of(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// Any number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below a limit.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 33) as usize) % limit
    }
}
