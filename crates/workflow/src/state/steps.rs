//! The steps of a workflow, and what is still to be undone, so that a state can be copied often.
//!
//! A turn copies its state a few times. Shared in blocks, ten thousand steps are copied as a
//! hundred and sixty pointers, and what a turn changes costs one block.

use std::ops::Index;
use std::sync::Arc;

use super::Step;
use crate::model::StepId;

/// How many steps share a block.
const BLOCK: usize = 64;

/// The steps in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// All full but the last.
    blocks: Vec<Arc<Vec<Arc<Step>>>>,
    len: usize,
}

impl Steps {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The step at this place, from 0.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&Step> {
        let block = self.blocks.get(place / BLOCK)?;
        block.get(place % BLOCK).map(|step| &**step)
    }

    /// All of them.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        self.from(0)
    }

    /// Those from this place on.
    #[must_use]
    pub fn from(&self, place: usize) -> Iter<'_> {
        Iter {
            steps: self,
            next: place.min(self.len),
            end: self.len,
        }
    }

    /// The step at this place, to be changed; there must be one.
    pub(super) fn at_mut(&mut self, place: usize) -> &mut Step {
        let block = Arc::make_mut(&mut self.blocks[place / BLOCK]);
        Arc::make_mut(&mut block[place % BLOCK])
    }

    /// All of them, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Step> {
        self.blocks
            .iter_mut()
            .flat_map(|block| Arc::make_mut(block).iter_mut().map(Arc::make_mut))
    }
}

impl FromIterator<Step> for Steps {
    fn from_iter<T: IntoIterator<Item = Step>>(steps: T) -> Self {
        let steps: Vec<Arc<Step>> = steps.into_iter().map(Arc::new).collect();
        Self {
            len: steps.len(),
            blocks: steps.chunks(BLOCK).map(|b| Arc::new(b.to_vec())).collect(),
        }
    }
}

/// Steps, in order.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    steps: &'a Steps,
    next: usize,
    end: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Step;

    fn next(&mut self) -> Option<&'a Step> {
        let step = self.steps.get(self.next).filter(|_| self.next < self.end)?;
        self.next += 1;
        Some(step)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.next == self.end {
            return None;
        }
        self.end -= 1;
        self.steps.get(self.end)
    }
}

impl<'a> IntoIterator for &'a Steps {
    type Item = &'a Step;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl Index<usize> for Steps {
    type Output = Step;

    fn index(&self, place: usize) -> &Step {
        &self.blocks[place / BLOCK][place % BLOCK]
    }
}

/// What is still to be undone, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Queue {
    order: Arc<[StepId]>,
    /// So many of them are over.
    over: usize,
}

impl Queue {
    /// In this order.
    pub(super) fn new(order: &[StepId]) -> Self {
        Self {
            order: order.into(),
            over: 0,
        }
    }

    /// The next one.
    #[must_use]
    pub fn front(&self) -> Option<&StepId> {
        self.order.get(self.over)
    }

    /// How many are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len() - self.over
    }

    /// Whether none is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a step out: as a rule the next one, since they are undone one by one.
    pub(super) fn remove(&mut self, step: &StepId) {
        if self.front() == Some(step) {
            self.over += 1;
        } else {
            let left = self.order[self.over..].iter();
            self.order = left.filter(|id| *id != step).cloned().collect();
            self.over = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(count: usize) -> Steps {
        (0..count)
            .map(|i| Step {
                attempt: u32::try_from(i).unwrap_or(u32::MAX),
                ..Step::new(None)
            })
            .collect()
    }

    fn attempts<'a>(steps: impl Iterator<Item = &'a Step>) -> Vec<usize> {
        steps.map(|step| step.attempt as usize).collect()
    }

    #[test]
    fn steps_in_blocks_are_a_list() {
        for count in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5] {
            let mut steps = of(count);
            assert_eq!((steps.len(), steps.is_empty()), (count, count == 0));
            assert_eq!(attempts(steps.iter()), (0..count).collect::<Vec<_>>());
            assert_eq!(
                attempts(steps.iter().rev()),
                (0..count).rev().collect::<Vec<_>>()
            );
            for place in [0, 1, BLOCK, BLOCK + 1, count, count + BLOCK] {
                let expected: Vec<usize> = (place..count.max(place)).collect();
                assert_eq!(attempts(steps.from(place)), expected, "{place} of {count}");
                assert_eq!(steps.get(place).is_some(), place < count);
            }
            assert_eq!(steps.iter_mut().count(), count);
        }
    }

    #[test]
    fn a_change_leaves_the_copies_as_they_were() {
        let before = of(2 * BLOCK);
        let mut after = before.clone();
        after.at_mut(BLOCK + 1).attempt = 0;
        assert_eq!(before[BLOCK + 1].attempt as usize, BLOCK + 1);
        assert_eq!(after[BLOCK + 1].attempt, 0);
        assert!(Arc::ptr_eq(&before.blocks[0], &after.blocks[0]), "shared");
    }

    #[test]
    fn a_queue_gives_out_each_step_once_in_order() {
        let id = |name: &str| StepId(name.to_owned());
        let mut queue = Queue::new(&[id("c"), id("b"), id("a")]);
        queue.remove(&id("b"));
        assert_eq!((queue.front(), queue.len()), (Some(&id("c")), 2));
        queue.remove(&id("c"));
        queue.remove(&id("a"));
        assert!(queue.is_empty() && queue.front().is_none());
    }
}
