//! What was exercised, and who won.

use std::collections::BTreeMap;

use crate::command::Ask;
use crate::oracle::{Use, rest, took_effect, uses};
use crate::round::{Came, Plan, Played, Start};

/// How the rounds of one pair ended.
#[derive(Default)]
struct Pair {
    rounds: u64,
    first: u64,
    second: u64,
    both: u64,
    neither: u64,
    /// Why the first one, and the second one, was refused, or that its process ended first.
    refused: [BTreeMap<&'static str, u64>; 2],
}

/// All counts.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) rounds: u64,
    pub(crate) calls: u64,
    pairs: BTreeMap<(Ask, Ask), Pair>,
    /// What was answered where nothing took effect, by ask.
    answers: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    starts: BTreeMap<Start, u64>,
    rests: BTreeMap<&'static str, u64>,
    pub(crate) uses: BTreeMap<Use, u64>,
    pub(crate) sent: u64,
    pub(crate) adopted: u64,
    /// The most calls of the ports that went by between an ask and its answer.
    longest: (u64, Option<Ask>),
    unanswered: u64,
}

/// What was answered, in a word.
fn why(came: &Came) -> &'static str {
    match &came.answer {
        Some(Err(refusal)) => refusal.code,
        Some(Ok(())) => "yes",
        None => "its process ended",
    }
}

impl Tally {
    pub(crate) fn add(&mut self, plan: &Plan, played: &Played, calls: u64) {
        self.rounds += 1;
        self.calls += calls;
        *self.starts.entry(plan.start).or_default() += 1;
        let (_, events) = &played.workflows[0];
        *self.rests.entry(rest(events).word()).or_default() += 1;
        self.sent += played.sent.len() as u64;
        let adopted = events.iter().filter(|r| r.event.kind() == "adopted");
        self.adopted += adopted.count() as u64;
        for (how, seq) in uses(events).into_values().flatten() {
            if seq > played.begun_at {
                *self.uses.entry(how).or_default() += 1;
            }
        }
        for came in &played.came {
            if came.waited > self.longest.0 {
                self.longest = (came.waited, Some(came.asked.ask));
            }
            self.unanswered += u64::from(came.answer.is_none());
            if !took_effect(came, played) {
                let answers = self.answers.entry(came.asked.ask.word()).or_default();
                *answers.entry(why(came)).or_default() += 1;
            }
        }
        let [one, two, ..] = &played.came[..] else {
            unreachable!("two ask at least")
        };
        let (one, two) = if one.asked.ask <= two.asked.ask {
            (one, two)
        } else {
            (two, one)
        };
        let pair = self
            .pairs
            .entry((one.asked.ask, two.asked.ask))
            .or_default();
        pair.rounds += 1;
        *match (took_effect(one, played), took_effect(two, played)) {
            (true, true) => &mut pair.both,
            (true, false) => &mut pair.first,
            (false, true) => &mut pair.second,
            (false, false) => &mut pair.neither,
        } += 1;
        for (side, came) in [one, two].into_iter().enumerate() {
            *pair.refused[side].entry(why(came)).or_default() += 1;
        }
    }

    pub(crate) fn print(&self) {
        println!(
            "{} rounds, {} calls of the ports in a seeded order, {} changes sent, {} adoptions, \
             {} asks that died with their process",
            self.rounds, self.calls, self.sent, self.adopted, self.unanswered
        );
        println!("begun at: {:?}", self.starts);
        println!("ended: {:?}", self.rests);
        println!("approvals used after the race began: {:?}", self.uses);
        let (longest, by) = self.longest;
        println!("the longest wait: {longest} calls of the ports of all, for {by:?}");
        println!("answers where nothing took effect:");
        for (ask, answers) in &self.answers {
            println!("  {ask}: {answers:?}");
        }
        println!("pair: rounds (only the first took effect, only the second, both, neither)");
        for ((one, two), pair) in &self.pairs {
            println!(
                "  {} / {}: {} ({}, {}, {}, {})",
                one.word(),
                two.word(),
                pair.rounds,
                pair.first,
                pair.second,
                pair.both,
                pair.neither
            );
        }
        for ((one, two), pair) in &self.pairs {
            for (side, ask, took) in [(0, one, pair.first), (1, two, pair.second)] {
                if took + pair.both == 0 {
                    println!(
                        "  never: {} beside {}: {:?}",
                        ask.word(),
                        if side == 0 { two } else { one }.word(),
                        pair.refused[side]
                    );
                }
            }
        }
    }

    /// How many pairs were played, and in how many approve and another one each won alone.
    pub(crate) fn contested(&self, one: Ask, two: Ask) -> (u64, u64) {
        let pair = self.pairs.get(&(one.min(two), one.max(two)));
        pair.map_or((0, 0), |pair| (pair.first, pair.second))
    }

    pub(crate) fn pairs(&self) -> usize {
        self.pairs.len()
    }
}
