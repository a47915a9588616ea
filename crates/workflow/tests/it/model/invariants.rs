//! What holds in every node.

use serde_json::json;
use workflow::decide::Effect;
use workflow::event::{Direction, Event};
use workflow::model::StepId;
use workflow::state::{Phase, State, StepStatus};

use super::{Node, Search};

impl Search {
    /// The invariants, in every node.
    pub(super) fn check(&mut self, node: &Node) {
        let State { phase, steps, .. } = &node.state;
        for (def, step) in node.state.definition.steps.iter().zip(steps) {
            let key = node.state.key(&def.id, Direction::Do);
            let sent = node.world.sent.get(&key).copied().unwrap_or(0);
            let once = step
                .facts
                .as_ref()
                .is_some_and(|f| f.effect == workflow::model::Effect::Once);
            assert!(
                !once || sent <= 1,
                "invariant 2: {key} was sent {sent} times"
            );
            let done = node.world.done.get(&def.id).copied().unwrap_or(false);
            if step.status == StepStatus::RolledBack && step.undo_verified == Some(true) {
                assert!(
                    !done,
                    "`{}` is said to be undone and is not:\n{:#?}",
                    def.id, step
                );
            }
            if matches!(
                step.status,
                StepStatus::Pending | StepStatus::AwaitingApproval
            ) {
                assert!(!done, "`{}` is pending and in effect:\n{:#?}", def.id, step);
            }
        }
        match phase {
            Phase::Awaiting { .. } | Phase::Paused(_) => {
                assert!(
                    !node.in_flight.iter().any(Effect::needs_commit),
                    "a change is in flight while nothing may run: {:?}",
                    node.in_flight
                );
            }
            Phase::RolledBack | Phase::RollbackFailed => {
                assert!(node.state.queue.is_empty());
                let failed = steps.iter().any(|s| s.status == StepStatus::RollbackFailed);
                assert_eq!(
                    *phase == Phase::RollbackFailed,
                    failed,
                    "invariant 5: a failed undo is a state of its own"
                );
                let residue = workflow::review::residue(&node.state);
                for def in &node.state.definition.steps {
                    let done = node.world.done.get(&def.id).copied().unwrap_or(false);
                    let said = residue.iter().any(|r| r["step"] == json!(def.id));
                    let stood = node.state.step(&def.id).unwrap().1;
                    assert!(
                        !done || said,
                        "`{}` stays behind and nobody says so: {stood:#?}",
                        def.id
                    );
                }
            }
            Phase::Completed => {
                for (def, step) in node.state.definition.steps.iter().zip(steps) {
                    if step.status == StepStatus::Succeeded && step.changes() {
                        assert!(
                            node.world.done.get(&def.id).copied().unwrap_or(false),
                            "`{}` is said to be done and is not",
                            def.id
                        );
                    }
                }
            }
            _ => {}
        }
        if matches!(
            phase,
            Phase::Completed
                | Phase::Failed
                | Phase::Cancelled(_)
                | Phase::RolledBack
                | Phase::RollbackFailed
        ) {
            *self.counts.ends.entry(node.state.status()).or_default() += 1;
        }
    }

    /// Invariant 3: a step that asks is sent only while it holds an approval.
    pub(super) fn check_gate(
        &self,
        before: &State,
        after: &State,
        step: &StepId,
        direction: Direction,
    ) {
        let position = after.position(step).unwrap();
        if direction == Direction::Do && self.kinds[position].asks() {
            let held = before.steps[position].approved.is_some()
                || before.steps[position].covered.is_some()
                || before.steps[position].attempt > 0;
            assert!(held, "invariant 3: `{step}` is sent without an approval");
        }
        if direction == Direction::Do {
            assert!(
                after.plan_approved,
                "`{step}` is sent without an approved plan"
            );
        }
    }

    /// Invariant 4: undo is the exact reverse of the order of outcomes.
    pub(super) fn check_order(&self, before: &State, events: &[Event]) {
        for event in events {
            if let Event::RollbackStarted { order, .. } = event {
                let places: Vec<u64> = order
                    .iter()
                    .map(|s| {
                        let order = before.step(s).unwrap().1.order;
                        order.unwrap_or(u64::MAX)
                    })
                    .collect();
                assert!(
                    places.windows(2).all(|w| w[0] >= w[1]),
                    "invariant 4: {order:?}"
                );
            }
        }
    }
}
