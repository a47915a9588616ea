//! Everything that can happen in a node.

use std::collections::BTreeMap;

use serde_json::json;
use workflow::decide::{Command, Effect, Found, Unfit, decide, due};
use workflow::event::{Direction, Left, Subject, Verdict};
use workflow::model::StepId;
use workflow::reply::Reply;
use workflow::state::Status;

use super::{Node, Search};
use crate::support::{
    context, facts_of, other_companion, person, prepared_of, review_of, verdicts,
};

impl Search {
    /// Everything that can happen next.
    pub(super) fn expand(&mut self, node: &Node) {
        for i in 0..node.in_flight.len() {
            let mut rest = node.clone();
            let effect = rest.in_flight.remove(i);
            self.answer(&rest, effect);
        }
        self.people(node);
        // The owner is gone: what was in flight may or may not arrive, and another takes over.
        if node.surprises < self.surprises && node.state.status().is_busy() {
            for arrived in arrivals(&node.in_flight) {
                let mut dead = node.clone();
                dead.surprises += 1;
                for effect in dead.in_flight.drain(..) {
                    if let (
                        Effect::Send {
                            step,
                            direction,
                            change: true,
                            ..
                        },
                        true,
                    ) = (effect, arrived)
                    {
                        dead.world.done.insert(step, direction == Direction::Do);
                    }
                }
                self.go(&dead, Command::Adopt);
            }
        }
        let events = due(&node.state, i64::MAX);
        if !events.is_empty() {
            let mut late = node.clone();
            self.apply(&mut late, &events);
            self.push(late);
        }
    }

    pub(super) fn people(&mut self, node: &Node) {
        let by = person();
        if node.state.status() == Status::Pending {
            let review = Box::new(review_of(&node.state, &self.kinds));
            self.go(
                node,
                Command::Run {
                    by: by.clone(),
                    review,
                },
            );
        }
        if let Some(approval) = node.state.approval() {
            let facts = node.state.steps.iter().map(|s| s.facts.clone()).collect();
            self.go(
                node,
                Command::Approve {
                    approval: approval.id.clone(),
                    by: by.clone(),
                    comment: String::new(),
                    steps: Vec::new(),
                    facts,
                },
            );
            let void = Command::Approve {
                approval: workflow::model::ApprovalId("ap_old".to_owned()),
                by: by.clone(),
                comment: String::new(),
                steps: Vec::new(),
                facts: Vec::new(),
            };
            assert_eq!(
                decide(&node.state, void, &context(0)).unwrap_err().code,
                "approval.void"
            );
            if approval.subject == Subject::Plan {
                // The companion is another one by now.
                let facts = node
                    .state
                    .steps
                    .iter()
                    .map(|s| s.facts.clone().map(other_companion))
                    .collect();
                self.go(
                    node,
                    Command::Approve {
                        approval: approval.id.clone(),
                        by: by.clone(),
                        comment: String::new(),
                        steps: Vec::new(),
                        facts,
                    },
                );
            }
            self.go(
                node,
                Command::Reject {
                    approval: approval.id.clone(),
                    by: by.clone(),
                    reason: String::new(),
                },
            );
        }
        self.go(node, Command::Cancel { by: by.clone() });
        if node.surprises < self.surprises {
            let mut next = node.clone();
            next.surprises += 1;
            self.go(&next, Command::Rollback { by: by.clone() });
        }
        if node.surprises < self.surprises {
            let mut next = node.clone();
            next.surprises += 1;
            let review = Some(Box::new(review_of(&node.state, &self.kinds)));
            for probes in probes(node) {
                self.go(
                    &next,
                    Command::Resume {
                        by: by.clone(),
                        review: review.clone(),
                        probes,
                    },
                );
            }
        }
        for step in node.state.unknown_steps() {
            if node.surprises == self.surprises {
                break;
            }
            let mut next = node.clone();
            next.surprises += 1;
            let happened = node.world.done.get(&step).copied().unwrap_or(false);
            self.go(
                &next,
                Command::Resolve {
                    step,
                    happened,
                    outputs: BTreeMap::new(),
                    by: by.clone(),
                    note: String::new(),
                },
            );
        }
    }

    pub(super) fn answer(&mut self, node: &Node, effect: Effect) {
        match effect {
            Effect::Prepare { step, .. } => {
                let kind = self.kinds[node.state.position(&step).unwrap()];
                let facts = facts_of(kind).unwrap();
                for drifted in [false, true] {
                    let prepared = prepared_of(kind, &step, drifted);
                    let found = Ok(Box::new(Found {
                        facts: facts.clone(),
                        prepared,
                    }));
                    self.go(
                        node,
                        Command::Prepared {
                            step: step.clone(),
                            found,
                        },
                    );
                }
                let found = Err(Unfit::new("vm.not_found", "There is none"));
                self.go(node, Command::Prepared { step, found });
            }
            Effect::Send {
                step,
                direction,
                attempt,
                change,
                ..
            } => {
                for (arrived, reply) in replies(change) {
                    let mut next = node.clone();
                    if change && arrived {
                        next.world
                            .done
                            .insert(step.clone(), direction == Direction::Do);
                    }
                    self.go(
                        &next,
                        Command::Replied {
                            step: step.clone(),
                            direction,
                            attempt,
                            took_ms: 1,
                            reply,
                        },
                    );
                }
            }
            Effect::Probe {
                step, direction, ..
            } => {
                let done = node.world.done.get(&step).copied().unwrap_or(false);
                for verdict in verdicts(done) {
                    self.go(
                        node,
                        Command::Probed {
                            step: step.clone(),
                            direction,
                            verdict,
                        },
                    );
                }
            }
        }
    }
}

/// Whether what is in flight arrives although nobody hears the answer.
fn arrivals(in_flight: &[Effect]) -> Vec<bool> {
    if in_flight.iter().any(Effect::needs_commit) {
        vec![false, true]
    } else {
        vec![false]
    }
}

fn probes(node: &Node) -> Vec<BTreeMap<StepId, Verdict>> {
    let unknown = node.state.unknown_steps();
    match unknown.first() {
        None => vec![BTreeMap::new()],
        Some(step) => {
            let done = node.world.done.get(step).copied().unwrap_or(false);
            verdicts(done)
                .into_iter()
                .map(|v| BTreeMap::from([(step.clone(), v)]))
                .collect()
        }
    }
}

/// Every answer, with whether the call took effect.
fn replies(change: bool) -> Vec<(bool, Reply)> {
    let success = Reply::Success {
        body: json!({"vm": {"on": true}, "changed": true}),
        sha256: "0".repeat(64),
        size: 2,
    };
    let failure = |left| Reply::Failure {
        code: "vsphere.fault".to_owned(),
        error: "It failed".to_owned(),
        left,
    };
    let lost = Reply::Lost {
        why: "nobody answered".to_owned(),
    };
    let mut replies = vec![
        (true, success),
        (false, failure(Left::Nothing)),
        (false, lost.clone()),
    ];
    if change {
        replies.extend([
            (true, lost),
            (true, failure(Left::Something)),
            (true, failure(Left::NotSaid)),
            (false, failure(Left::NotSaid)),
        ]);
    }
    replies
}
