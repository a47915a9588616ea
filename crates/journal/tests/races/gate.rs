//! Who goes next: every call of a port that another process can see stands in line here, and a
//! seeded choice lets one through. So the order of what processes do to each other is another one
//! in each round, and the same one for the same seed.
//!
//! Between two such calls a process only works on its own memory, so an order of the calls is all
//! that there is to an interleaving. What is not in this hand are the engine's own few milliseconds
//! before a commit that nothing waits for: a round is repeated up to those.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

/// How often everybody who can go on is let go on, before one is chosen.
const YIELDS: usize = 6;

/// A time that is never reached unless something hangs.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Numbers that look random and follow from a seed (splitmix64).
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    /// True in `part` of `of` cases.
    pub(crate) fn chance(&mut self, part: usize, of: usize) -> bool {
        self.below(of) < part
    }

    pub(crate) fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

struct Waiter {
    process: usize,
    go: oneshot::Sender<Pass>,
}

#[derive(Default)]
struct Line {
    waiting: Vec<Waiter>,
    active: usize,
    /// How many were let through.
    passed: u64,
    /// What was done, in order: process and call.
    log: Vec<(usize, &'static str)>,
}

/// The line.
#[derive(Default)]
pub(crate) struct Gate {
    line: Mutex<Line>,
    arrived: Notify,
    left: Notify,
    quiet: Notify,
}

/// Held while the call is made.
pub(crate) struct Pass(Arc<Gate>);

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.line.lock().unwrap().active -= 1;
        self.0.left.notify_one();
    }
}

impl Gate {
    /// Waits for the turn of a process.
    pub(crate) async fn pass(&self, process: usize, call: &'static str) -> Pass {
        let (go, gone) = oneshot::channel();
        self.line
            .lock()
            .unwrap()
            .waiting
            .push(Waiter { process, go });
        self.arrived.notify_one();
        let Ok(pass) = gone.await else {
            // The round is over.
            pending::<()>().await;
            unreachable!("nothing comes after the end of a round")
        };
        self.line.lock().unwrap().log.push((process, call));
        pass
    }

    /// Resolves once nobody stands in line and nobody is inside.
    pub(crate) async fn quiet(&self) {
        // Twice: the first may have been decided before whoever asks had begun something.
        for _ in 0..2 {
            let quiet = self.quiet.notified();
            self.arrived.notify_one();
            tokio::time::timeout(LONG, quiet)
                .await
                .expect("a call of the store was never answered");
        }
    }

    /// Resolves once somebody comes, or says that nobody did for a long time.
    pub(crate) async fn somebody(&self) -> bool {
        let before = self.passed();
        let waited = tokio::time::Instant::now();
        while self.passed() == before {
            if waited.elapsed() > LONG {
                return false;
            }
            self.quiet().await;
            tokio::task::yield_now().await;
        }
        true
    }

    pub(crate) fn passed(&self) -> u64 {
        self.line.lock().unwrap().passed
    }

    /// The calls in order.
    pub(crate) fn log(&self) -> Vec<(usize, &'static str)> {
        self.line.lock().unwrap().log.clone()
    }

    /// Lets one after the other through, for ever. Some processes are slower than others, and which
    /// ones changes now and then. With `overlap`, the next one does not always wait for the last.
    pub(crate) async fn serve(self: Arc<Self>, mut random: Random, overlap: bool) {
        let mut weights = [1; 4];
        loop {
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
            }
            if random.chance(1, 12) {
                weights = std::array::from_fn(|_| *random.one_of(&[1, 1, 4, 16, 64]));
            }
            let Some(chosen) = self.choose(&mut random, &weights) else {
                if self.line.lock().unwrap().active == 0 {
                    self.quiet.notify_waiters();
                    self.arrived.notified().await;
                } else {
                    self.left.notified().await;
                }
                continue;
            };
            if chosen.go.send(Pass(Arc::clone(&self))).is_err() {
                // Whoever stood there went away; its pass was given back on the way.
                continue;
            }
            while !(overlap && random.chance(1, 2)) && self.line.lock().unwrap().active > 0 {
                self.left.notified().await;
            }
        }
    }

    fn choose(&self, random: &mut Random, weights: &[usize; 4]) -> Option<Waiter> {
        let mut line = self.line.lock().unwrap();
        let total: usize = line.waiting.iter().map(|w| weights[w.process]).sum();
        if total == 0 {
            return None;
        }
        let mut at = random.below(total);
        let place = line.waiting.iter().position(|w| {
            let weight = weights[w.process];
            let here = at < weight;
            at = at.saturating_sub(weight);
            here
        })?;
        line.active += 1;
        line.passed += 1;
        Some(line.waiting.remove(place))
    }
}
