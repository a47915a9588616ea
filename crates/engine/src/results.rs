//! Answers that nobody has fetched yet: in memory, bounded, each given out once (P12).

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use workflow::model::{StepId, WorkflowId};

/// How much memory they may take in all, in bytes, as [`cost`] counts.
const BOUND: usize = 32 * 1024 * 1024;

/// How many answers are kept in all: as many as the longest workflow has steps.
const ANSWERS: usize = 10_000;

/// Of how many answers in all it is kept that they were dropped.
const DROPPED: usize = 10_000;

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Of which step.
    pub step: StepId,
    /// The answer, or `None` where it was dropped to make room.
    pub body: Option<Value>,
    /// Its size in bytes.
    pub size: usize,
}

/// The answers of all workflows. To make room, the oldest of the workflow that has been quiet for
/// the longest time are dropped first.
#[derive(Default)]
pub(crate) struct Results {
    kept: HashMap<WorkflowId, OfWorkflow>,
    /// The workflows that have an answer, those that have been quiet the longest first.
    full: BTreeMap<u64, WorkflowId>,
    /// Those of which it is only known that they had some, in the same order.
    empty: BTreeMap<u64, WorkflowId>,
    turn: u64,
    sum: Sum,
}

/// What there is in all.
#[derive(Debug, Default, PartialEq)]
struct Sum {
    bytes: usize,
    answers: usize,
    dropped: usize,
}

/// The answers of one workflow, in the order of its steps.
#[derive(Default)]
struct OfWorkflow {
    list: Vec<Entry>,
    place: HashMap<StepId, usize>,
    /// How many of them are there.
    answers: usize,
    /// Of those before this place none is there.
    from: usize,
    /// When the last one came.
    turn: u64,
}

struct Entry {
    kept: Kept,
    cost: usize,
}

impl Entry {
    fn new(kept: Kept) -> Self {
        // Its step is named twice: here, and in the map of places.
        let name = 2 * (kept.step.0.len() + ALLOCATION);
        let entry = size_of::<Self>() + size_of::<(StepId, usize)>();
        let body = kept.body.as_ref().map_or(0, cost);
        Self {
            cost: entry + name + body,
            kept,
        }
    }
}

/// What the allocator takes for itself, about.
const ALLOCATION: usize = 16;

/// The memory behind a value, about: many times its text where that is small.
fn cost(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len() + ALLOCATION,
        Value::Array(items) => {
            let inner: usize = items.iter().map(cost).sum();
            size_of_val(items.as_slice()) + inner + ALLOCATION
        }
        Value::Object(map) => {
            // Beside each field its hash, and its place in a table that is half empty.
            let field = size_of::<(String, Value)>() + 3 * size_of::<usize>() + ALLOCATION;
            let inner = map.iter().map(|(k, v)| field + k.len() + cost(v));
            inner.sum::<usize>() + 4 * ALLOCATION
        }
    }
}

impl Sum {
    fn add(&mut self, entry: &Entry) {
        self.bytes += entry.cost;
        if entry.kept.body.is_some() {
            self.answers += 1;
        } else {
            self.dropped += 1;
        }
    }

    fn subtract(&mut self, entry: &Entry) {
        self.bytes -= entry.cost;
        if entry.kept.body.is_some() {
            self.answers -= 1;
        } else {
            self.dropped -= 1;
        }
    }
}

impl OfWorkflow {
    fn put(&mut self, entry: Entry, sum: &mut Sum) {
        sum.add(&entry);
        self.answers += 1;
        let place = self.place.get(&entry.kept.step).copied();
        if let Some((place, old)) = place.and_then(|p| Some((p, self.list.get_mut(p)?))) {
            sum.subtract(old);
            self.answers -= usize::from(old.kept.body.is_some());
            self.from = self.from.min(place);
            *old = entry;
        } else {
            self.place.insert(entry.kept.step.clone(), self.list.len());
            self.list.push(entry);
        }
    }

    /// Drops the first answer that is there.
    fn drop_one(&mut self, sum: &mut Sum) {
        while let Some(entry) = self.list.get_mut(self.from) {
            self.from += 1;
            if entry.kept.body.is_some() {
                sum.subtract(entry);
                let (step, size) = (entry.kept.step.clone(), entry.kept.size);
                let body = None;
                *entry = Entry::new(Kept { step, body, size });
                sum.add(entry);
                self.answers -= 1;
                return;
            }
        }
        // None is there, whatever was counted: whoever makes room gets on.
        self.answers = 0;
    }
}

impl Results {
    /// Keeps an answer. Of a step that is sent again, the last answer counts.
    pub(crate) fn put(&mut self, id: &WorkflowId, step: &StepId, body: Value, size: usize) {
        let entry = Entry::new(Kept {
            step: step.clone(),
            body: Some(body),
            size,
        });
        let of_workflow = self.kept.entry(id.clone()).or_default();
        self.full.remove(&of_workflow.turn);
        self.empty.remove(&of_workflow.turn);
        self.turn += 1;
        of_workflow.turn = self.turn;
        self.full.insert(self.turn, id.clone());
        of_workflow.put(entry, &mut self.sum);
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.sum.bytes > BOUND || self.sum.answers > ANSWERS {
            let Some(quiet) = self.full.first_entry() else {
                break;
            };
            match self.kept.get_mut(quiet.get()) {
                Some(of_workflow) => {
                    of_workflow.drop_one(&mut self.sum);
                    if of_workflow.answers == 0 {
                        let (turn, id) = quiet.remove_entry();
                        self.empty.insert(turn, id);
                    }
                }
                None => drop(quiet.remove()),
            }
        }
        while self.sum.bytes > BOUND || self.sum.dropped > DROPPED {
            let Some((_, quiet)) = self.empty.pop_first() else {
                break;
            };
            self.forget(&quiet);
        }
    }

    fn forget(&mut self, id: &WorkflowId) -> Vec<Entry> {
        let of_workflow = self.kept.remove(id).unwrap_or_default();
        self.full.remove(&of_workflow.turn);
        self.empty.remove(&of_workflow.turn);
        for entry in &of_workflow.list {
            self.sum.subtract(entry);
        }
        of_workflow.list
    }

    /// Takes back what was given out and could not be used; a newer answer of a step stays.
    pub(crate) fn give_back(&mut self, id: &WorkflowId, kept: Vec<Kept>) {
        for Kept { step, body, size } in kept {
            let of_workflow = self.kept.get(id);
            let newer = of_workflow.is_some_and(|of| of.place.contains_key(&step));
            if let (Some(body), false) = (body, newer) {
                self.put(id, &step, body, size);
            }
        }
    }

    /// Gives out what is kept of a workflow.
    pub(crate) fn take(&mut self, id: &WorkflowId) -> Vec<Kept> {
        let taken = self.forget(id).into_iter();
        taken.map(|entry| entry.kept).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an answer of so many bytes is.
    fn text(bytes: usize) -> Value {
        "x".repeat(bytes).into()
    }

    fn put(results: &mut Results, id: &WorkflowId, step: usize, body: Value) {
        results.put(id, &StepId(format!("s{step}")), body, 1);
    }

    #[test]
    fn p12_answers_are_given_out_once_and_bounded() {
        let (a, b) = (WorkflowId("a".into()), WorkflowId("b".into()));
        let mut results = Results::default();
        put(&mut results, &a, 0, text(BOUND / 2));
        put(&mut results, &b, 0, text(BOUND / 2));
        assert!(results.sum.bytes <= BOUND);
        assert_eq!(results.take(&a)[0].body, None, "the oldest made room");
        assert_eq!(results.take(&b)[0].body, Some(text(BOUND / 2)));
        assert_eq!(results.take(&b), Vec::new(), "given out once");
        assert_eq!(results.sum, Sum::default());
        put(&mut results, &a, 0, text(BOUND));
        assert_eq!(results.take(&a)[0].body, None, "it is too large by itself");
    }

    #[test]
    fn p12_small_answers_are_bounded_by_what_they_cost() {
        let mut results = Results::default();
        let id = |n: usize| WorkflowId(format!("wf_{n}"));
        let (workflows, steps) = (300, 100);
        for n in 0..workflows {
            for step in 0..steps {
                put(&mut results, &id(n), step, serde_json::json!({"n": step}));
            }
            assert!(results.sum.answers <= ANSWERS && results.sum.dropped <= DROPPED);
            assert!(results.kept.len() * steps <= ANSWERS + DROPPED);
            assert_eq!(results.kept.len(), results.full.len() + results.empty.len());
        }
        let there = |results: &mut Results, n| {
            let taken = results.take(&id(n));
            let there = taken.iter().filter(|kept| kept.body.is_some()).count();
            (taken.len(), there)
        };
        let last = workflows - 1;
        assert_eq!(there(&mut results, last), (steps, steps));
        let told = workflows - (ANSWERS / steps) - 1;
        assert_eq!(there(&mut results, told), (steps, 0), "dropped, and told");
        assert_eq!(there(&mut results, 0), (0, 0), "forgotten");
        for n in 0..workflows {
            results.take(&id(n));
        }
        assert_eq!(results.sum, Sum::default());
        assert!(results.full.is_empty() && results.empty.is_empty());
    }

    #[test]
    fn p12_who_is_quiet_makes_room_first() {
        let (a, b) = (WorkflowId("a".into()), WorkflowId("b".into()));
        let mut results = Results::default();
        put(&mut results, &a, 0, text(BOUND / 4));
        put(&mut results, &b, 0, text(BOUND / 4));
        put(&mut results, &a, 1, text(BOUND / 4));
        put(&mut results, &a, 2, text(BOUND / 4));
        let there = |taken: Vec<Kept>| taken.iter().map(|k| k.body.is_some()).collect::<Vec<_>>();
        assert_eq!(there(results.take(&b)), [false]);
        assert_eq!(there(results.take(&a)), [true, true, true]);
        for step in 0..4 {
            put(&mut results, &a, step, text(BOUND / 4));
        }
        // The first one was dropped; sent again, it is the first to be dropped once more.
        put(&mut results, &a, 0, text(BOUND / 4));
        assert_eq!(there(results.take(&a)), [false, true, true, true]);
        assert_eq!(results.sum, Sum::default());
    }

    #[test]
    fn p12_what_is_given_back_is_given_out_again_unless_there_is_a_newer_one() {
        let a = WorkflowId("a".into());
        let mut results = Results::default();
        results.put(&a, &StepId("s".into()), Value::from(1), 10);
        results.put(&a, &StepId("t".into()), Value::from(2), 10);
        let taken = results.take(&a);
        results.put(&a, &StepId("s".into()), Value::from(3), 10);
        results.give_back(&a, taken);
        let bodies: Vec<_> = results.take(&a).into_iter().map(|k| k.body).collect();
        assert_eq!(bodies, [Some(Value::from(3)), Some(Value::from(2))]);
        assert_eq!(results.sum, Sum::default());
    }

    #[test]
    fn p12_a_step_that_is_sent_again_has_one_answer() {
        let a = WorkflowId("a".into());
        let mut results = Results::default();
        results.put(&a, &StepId("s".into()), Value::from(1), 10);
        results.put(&a, &StepId("s".into()), Value::from(2), 20);
        let taken = results.take(&a);
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].body, Some(Value::from(2)));
        assert_eq!(results.sum, Sum::default());
    }

    #[test]
    fn p12_the_bounds_are_reached_before_anything_is_dropped() {
        let (a, b, c) = (
            WorkflowId("a".into()),
            WorkflowId("b".into()),
            WorkflowId("c".into()),
        );
        let there = |taken: &[Kept]| taken.iter().filter(|k| k.body.is_some()).count();
        // As many bytes as there may be, and one more.
        let step = StepId("s0".into());
        let empty = Entry::new(Kept {
            step,
            body: Some(text(0)),
            size: 1,
        });
        let largest = BOUND - empty.cost;
        for (bytes, kept) in [(largest, 1), (largest + 1, 0)] {
            let mut results = Results::default();
            put(&mut results, &a, 0, text(bytes));
            assert_eq!((results.full.len(), results.empty.len()), (kept, 1 - kept));
            assert_eq!(there(&results.take(&a)), kept);
        }
        // As many answers as there may be, and as many of which it is known that they are gone.
        let mut results = Results::default();
        for id in [&a, &b] {
            for step in 0..ANSWERS {
                put(&mut results, id, step, Value::Null);
            }
            assert_eq!(results.sum.answers, ANSWERS);
        }
        assert_eq!(results.sum.dropped, DROPPED);
        assert_eq!((results.full.len(), results.empty.len()), (1, 1));
        put(&mut results, &c, 0, Value::Null);
        assert_eq!(results.take(&a), Vec::new(), "forgotten, as the oldest");
        let taken = results.take(&b);
        assert_eq!((taken.len(), there(&taken)), (ANSWERS, ANSWERS - 1));
        assert_eq!(there(&results.take(&c)), 1);
        assert_eq!(results.sum, Sum::default());
    }

    #[test]
    fn p12_a_workflow_whose_answers_are_all_dropped_has_none_however_often_they_came() {
        let a = WorkflowId("a".into());
        let mut results = Results::default();
        put(&mut results, &a, 0, Value::Null);
        put(&mut results, &a, 0, Value::Null);
        put(&mut results, &a, 0, text(BOUND));
        assert_eq!((results.full.len(), results.empty.len()), (0, 1));
        assert_eq!(results.take(&a)[0].body, None);
    }

    #[test]
    fn p12_an_answer_counts_as_the_memory_that_it_takes_and_not_as_its_text() {
        let value = size_of::<Value>();
        let field = size_of::<String>() + value + 3 * 8 + 16;
        for (answer, takes) in [
            (serde_json::json!(17), 0),
            (serde_json::json!("abc"), 3 + 16),
            (serde_json::json!([]), 16),
            (serde_json::json!([1, 2, 3]), 3 * value + 16),
            (serde_json::json!(["abc"]), value + (3 + 16) + 16),
            (serde_json::json!({}), 4 * 16),
            (serde_json::json!({"ab": 1}), (field + 2) + 4 * 16),
            (
                serde_json::json!({"ab": "abc", "c": [1]}),
                (field + 2 + 3 + 16) + (field + 1 + value + 16) + 4 * 16,
            ),
        ] {
            assert_eq!(cost(&answer), takes, "{answer}");
        }
    }
}
