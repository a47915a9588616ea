//! Answers that nobody has fetched yet: in memory, bounded, each given out once (P12).

use std::collections::{HashMap, VecDeque};

use serde_json::Value;
use workflow::model::{StepId, WorkflowId};

/// How much is kept in all, in bytes of serialised answers.
const BOUND: usize = 32 * 1024 * 1024;

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

/// The answers of all workflows, the oldest dropped first.
#[derive(Default)]
pub(crate) struct Results {
    kept: HashMap<WorkflowId, OfWorkflow>,
    order: VecDeque<(WorkflowId, StepId)>,
    bytes: usize,
}

/// The answers of one workflow, in the order of its steps.
#[derive(Default)]
struct OfWorkflow {
    list: Vec<Kept>,
    place: HashMap<StepId, usize>,
}

impl OfWorkflow {
    fn get_mut(&mut self, step: &StepId) -> Option<&mut Kept> {
        let place = self.place.get(step)?;
        self.list.get_mut(*place)
    }
}

impl Results {
    /// Keeps an answer. Of a step that is sent again, the last answer counts.
    pub(crate) fn put(&mut self, id: &WorkflowId, step: &StepId, body: Value, size: usize) {
        let of_workflow = self.kept.entry(id.clone()).or_default();
        let new = Kept {
            step: step.clone(),
            body: Some(body),
            size,
        };
        if let Some(kept) = of_workflow.get_mut(step) {
            let old = std::mem::replace(kept, new);
            if old.body.is_some() {
                self.bytes -= old.size;
            }
        } else {
            let place = of_workflow.list.len();
            of_workflow.place.insert(step.clone(), place);
            of_workflow.list.push(new);
        }
        self.bytes += size;
        self.order.push_back((id.clone(), step.clone()));
        while self.bytes > BOUND {
            let Some((id, step)) = self.order.pop_front() else {
                break;
            };
            let oldest = self.kept.get_mut(&id).and_then(|of| of.get_mut(&step));
            if let Some(kept) = oldest.filter(|kept| kept.body.is_some()) {
                kept.body = None;
                self.bytes -= kept.size;
            }
        }
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
        let taken = self.kept.remove(id).unwrap_or_default().list;
        let bytes: usize = taken
            .iter()
            .filter(|k| k.body.is_some())
            .map(|k| k.size)
            .sum();
        self.bytes -= bytes;
        self.order.retain(|(of, _)| of != id);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p12_answers_are_given_out_once_and_bounded() {
        let (a, b) = (WorkflowId("a".into()), WorkflowId("b".into()));
        let mut results = Results::default();
        results.put(&a, &StepId("s".into()), Value::from(1), BOUND - 1);
        results.put(&b, &StepId("s".into()), Value::from(2), 2);
        assert_eq!(results.take(&a)[0].body, None, "the oldest made room");
        assert_eq!(results.take(&b)[0].body, Some(Value::from(2)));
        assert_eq!(results.take(&b), Vec::new(), "given out once");
        assert_eq!(results.bytes, 0);
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
        assert_eq!(results.bytes, 0);
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
        assert_eq!(results.bytes, 0);
    }
}
