//! Choices that follow from a seed: the same seed gives the same choices, in the same order. When
//! they come true depends on the machine, so a campaign cannot be repeated to the instant.

/// A generator (SplitMix64) that needs to be fair, and nothing more.
pub(super) struct Dice(u64);

impl Dice {
    /// The generator of one actor, told apart from the others of the same seed by `stream`.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut dice = Self(seed ^ stream.wrapping_mul(0xa076_1d64_78bd_642f));
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to `end`, without it.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Whether something happens that happens so many times in a hundred.
    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn one_seed_gives_the_same_choices_and_another_gives_others() {
        let rolls = |seed, stream| {
            let mut dice = Dice::new(seed, stream);
            (0..20).map(|_| dice.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(rolls(7, 1), rolls(7, 1));
        assert_ne!(rolls(7, 1), rolls(8, 1));
        assert_ne!(rolls(7, 1), rolls(7, 2));
        assert!(rolls(7, 1).iter().any(|roll| *roll > 500));
    }
}
