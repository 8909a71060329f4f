//! Numbers that look random and come again with their seed.

/// A generator: Steele, Lea and Flood's SplitMix64.
#[derive(Debug, Clone, Copy)]
pub struct Chance(u64);

impl Chance {
    /// One for a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `from..to`.
    pub fn between(&mut self, from: f64, to: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are kept")]
        let part = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        from + (to - from) * part
    }

    /// A number of `from..=to`.
    pub fn whole(&mut self, from: usize, to: usize) -> usize {
        let span = (to - from + 1) as u64;
        from + usize::try_from(self.next() % span).unwrap_or_default()
    }
}
