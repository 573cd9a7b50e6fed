//! Chance with a seed.

/// SplitMix64 (Steele, Lea and Flood, 2014): small and even enough for samples, never for secrets.
pub(super) struct Dice(u64);

impl Dice {
    /// A stream of its own for each number, so that one more draw here changes nothing there.
    pub(super) fn of(seed: u64, stream: u64) -> Dice {
        let mut dice = Dice(seed);
        Dice(dice.bits() ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    /// 64 even bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `bound - 1`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
