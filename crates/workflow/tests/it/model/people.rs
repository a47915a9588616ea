//! What people decide in a node.

use std::collections::BTreeMap;

use workflow::decide::{Command, decide};
use workflow::event::{Approval, Principal, Subject};
use workflow::model::{ApprovalId, Facts, StepId};
use workflow::state::{State, Status};

use super::Search;
use super::moves::every_verdict;
use super::node::{Around, Node};
use crate::support::{Kind, authenticated, context, other_companion, person, review_of};

impl Search {
    /// Everybody whose decision may be taken.
    fn deciders(&self) -> Vec<Principal> {
        if self.case.spec.approvers.is_anyone() {
            vec![person()]
        } else {
            vec![authenticated("bob"), authenticated("eve")]
        }
    }

    pub(super) fn people(&mut self, node: &Node) {
        let (state, around) = (&node.state, &node.around);
        let by = person();
        if state.status() == Status::Pending {
            let review = Box::new(review_of(state, &self.kinds));
            let by = by.clone();
            self.go(state, around.clone(), Command::Run { by, review });
        }
        if let Some(approval) = state.approval() {
            self.decide_on(node, approval);
        }
        self.go(state, around.clone(), Command::Cancel { by: by.clone() });
        if !self.may_surprise(node) {
            return;
        }
        let mut around = around.clone();
        around.surprises += 1;
        let back = Command::Rollback { by: by.clone() };
        self.go(state, around.clone(), back);
        if state.status() == Status::Paused {
            self.resume(state, &around);
        }
    }

    /// A person goes on after a pause, or says what became of a step.
    fn resume(&mut self, state: &State, around: &Around) {
        let unknown = state.unknown_steps();
        let truth = |step: &StepId| around.world.done(state.position(step).unwrap());
        let done: Vec<bool> = unknown.iter().map(truth).collect();
        let review = || (!state.plan_approved).then(|| Box::new(review_of(state, &self.kinds)));
        let resumes: Vec<Command> = every_verdict(&done)
            .into_iter()
            .map(|verdicts| Command::Resume {
                by: person(),
                review: review(),
                probes: unknown.iter().cloned().zip(verdicts).collect(),
            })
            .collect();
        for resume in resumes {
            self.go(state, around.clone(), resume);
        }
        for (step, happened) in unknown.into_iter().zip(done) {
            for by in self.deciders() {
                let said = Command::Resolve {
                    step: step.clone(),
                    happened,
                    outputs: BTreeMap::new(),
                    by,
                    note: String::new(),
                };
                self.go(state, around.clone(), said);
            }
        }
    }

    fn decide_on(&mut self, node: &Node, approval: &Approval) {
        let (state, around) = (&node.state, &node.around);
        let facts: Vec<Option<Facts>> = match approval.subject {
            Subject::Plan => state.steps.iter().map(|s| s.facts.clone()).collect(),
            _ => Vec::new(),
        };
        let yes = |by, steps, facts| Command::Approve {
            approval: approval.id.clone(),
            by,
            comment: String::new(),
            steps,
            facts,
        };
        let named = self.nameable(state, &approval.subject);
        for by in self.deciders() {
            let plain = yes(by.clone(), Vec::new(), facts.clone());
            self.go(state, around.clone(), plain);
            if self.case.covers && !named.is_empty() {
                let naming = yes(by, named.clone(), facts.clone());
                self.go(state, around.clone(), naming);
            }
        }
        let refused = |command, code| {
            let refusal = decide(state, command, &context(0)).unwrap_err();
            assert_eq!(refusal.code, code);
        };
        if !self.case.spec.approvers.is_anyone() {
            refused(
                yes(person(), Vec::new(), facts.clone()),
                "approval.assurance",
            );
            let requester = authenticated("ann");
            refused(
                yes(requester, Vec::new(), facts.clone()),
                "approval.requester",
            );
            for name in &around.yes {
                let again = authenticated(name);
                refused(yes(again, Vec::new(), facts.clone()), "approval.already");
            }
        }
        let void = Command::Approve {
            approval: ApprovalId("ap_old".to_owned()),
            by: person(),
            comment: String::new(),
            steps: Vec::new(),
            facts: Vec::new(),
        };
        refused(void, "approval.void");
        if approval.subject == Subject::Plan {
            // The companion is another one by now.
            let facts = facts.iter().cloned().map(|f| f.map(other_companion));
            let drifted = yes(self.deciders()[0].clone(), Vec::new(), facts.collect());
            self.go(state, around.clone(), drifted);
        }
        let no = Command::Reject {
            approval: approval.id.clone(),
            by: person(),
            reason: String::new(),
        };
        self.go(state, around.clone(), no);
    }

    /// The steps that a decision on this may name in advance, with its own.
    fn nameable(&self, state: &State, subject: &Subject) -> Vec<StepId> {
        let own = match subject {
            Subject::Step { step } => Some(step),
            _ => None,
        };
        let ids = state.definition.steps.iter().map(|def| &def.id);
        let kinds = ids.zip(&self.kinds).zip(&state.steps);
        let named = kinds.filter(|((id, kind), step)| {
            let waits = step.status == workflow::state::StepStatus::Pending;
            Some(*id) == own || (waits && kind.asks() && **kind != Kind::Blind)
        });
        let named: Vec<StepId> = named.map(|((id, _), _)| id.clone()).collect();
        if named.iter().any(|id| Some(id) != own) {
            named
        } else {
            Vec::new()
        }
    }
}
