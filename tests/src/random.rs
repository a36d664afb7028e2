//! Random choices that can be made again: the seed is in the report.

/// A generator (xorshift64*), good enough to choose when and how to hurt.
pub struct Random(u64);

impl Random {
    /// From a seed that is not 0.
    pub fn of(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// Any number.
    #[expect(clippy::should_implement_trait, reason = "it never ends, and is no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below a limit.
    pub fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 33) as usize) % limit
    }
}

/// The seed that this variable gives, so that a run can be repeated as far as its choices go, or a new one.
pub fn seed(variable: &str) -> u64 {
    number(variable).unwrap_or_else(|| {
        let mut bytes = [0; 8];
        aws_lc_rs::rand::fill(&mut bytes).expect("randomness");
        u64::from_ne_bytes(bytes) | 1
    })
}

/// The number that this variable gives.
pub fn number(variable: &str) -> Option<u64> {
    std::env::var_os(variable).map(|given| {
        let number = given.to_str().and_then(|text| text.parse().ok());
        number.unwrap_or_else(|| panic!("{variable} is no number: {}", given.display()))
    })
}
