//! What holds in every node, and on every move.

use std::collections::BTreeSet;

use serde_json::json;
use workflow::decide::{ATTEMPTS, Effect};
use workflow::event::{Assurance, Direction, Event, Left, Outcome, Subject, Verdict};
use workflow::model::{Effect as Repeat, Millis, StepId};
use workflow::state::{Phase, State, Step, StepStatus};

use super::Search;
use super::node::{Around, Flight, Node, key_of};
use crate::support::{AFTER, Kind};

/// Whether a member of a group is begun and not settled.
fn is_begun(state: &State, place: usize) -> bool {
    let step = &state.steps[place];
    step.is_under_way() || (step.launched == Some(state.wave) && !step.is_settled())
}

fn is_once(step: &Step) -> bool {
    step.facts.as_ref().is_none_or(|f| f.effect == Repeat::Once)
}

impl Search {
    /// The invariants, in every node.
    pub(super) fn check(&mut self, node: &Node) {
        for place in 0..node.state.steps.len() {
            self.check_step(node, place);
        }
        check_window(node);
        match &node.state.phase {
            Phase::Awaiting { .. } | Phase::Paused(_) => {
                let changes = node.around.in_flight.iter().any(|f| f.is_change());
                assert!(
                    !changes,
                    "in flight while nothing may run: {:?}",
                    node.around
                );
            }
            Phase::Running | Phase::RollingBack => {
                let goes_on = !node.around.in_flight.is_empty();
                assert!(goes_on, "nothing is under way: {:#?}", node.state.steps);
            }
            Phase::Pending => {}
            Phase::Completed | Phase::Failed | Phase::Cancelled(_) => self.check_rest(node),
            Phase::RolledBack | Phase::RollbackFailed => {
                assert!(node.state.queue.is_empty());
                let mut steps = node.state.steps.iter();
                assert_eq!(
                    node.state.phase == Phase::RollbackFailed,
                    steps.any(|s| s.status == StepStatus::RollbackFailed),
                    "invariant 5: a failed undo is a state of its own"
                );
                self.check_rest(node);
            }
        }
    }

    fn check_step(&self, node: &Node, place: usize) {
        let (step, world) = (&node.state.steps[place], &node.around.world);
        let sent = world.sent(key_of(&node.state, place, Direction::Do));
        let done = world.done(place);
        let at = || format!("{:?}: step {place}: {step:#?}", node.state.phase);
        assert!(
            !is_once(step) || sent <= 1,
            "invariant 2: {sent} times, {}",
            at()
        );
        let call = node.state.call_of(&node.state.definition.steps[place].id);
        let retries = call.and_then(|c| c.retry).map_or(0, |r| r.count);
        assert!(sent <= ATTEMPTS + retries, "sent {sent} times, {}", at());
        assert!(step.retries <= retries, "{}", at());
        match step.status {
            StepStatus::RolledBack => {
                let sure = step.undo_verified == Some(true);
                assert!(!sure || !done, "it is said to be undone, {}", at());
            }
            StepStatus::Pending | StepStatus::AwaitingApproval => {
                let tried = step.retry_at.is_some() || step.tainted;
                assert!(!done || tried, "it waits and is in effect, {}", at());
            }
            StepStatus::Skipped => assert!(sent == 0 && !done, "skipped and sent, {}", at()),
            StepStatus::Failed => {
                let nothing = step.left == Some(Left::Nothing) && !step.tainted && !step.claimed;
                assert!(!nothing || !done, "it left something, {}", at());
            }
            _ => {}
        }
    }

    /// What holds where nothing goes on by itself any more.
    fn check_rest(&mut self, node: &Node) {
        let State { steps, phase, .. } = &node.state;
        *self.counts.ends.entry(node.state.status()).or_default() += 1;
        let residue = workflow::review::residue(&node.state);
        for (place, (def, step)) in node.state.definition.steps.iter().zip(steps).enumerate() {
            let busy = matches!(step.status, StepStatus::Running | StepStatus::RollingBack)
                || step.status == StepStatus::AwaitingApproval
                || step.in_flight.is_some()
                || step.unverified
                || step.retry_at.is_some();
            assert!(!busy, "{phase:?}, and a step is not settled: {step:#?}");
            let said = residue.iter().any(|r| r["step"] == json!(def.id));
            let done = node.around.world.done(place);
            if *phase == Phase::Completed {
                let wrong = step.status == StepStatus::Succeeded && step.changes() && !done;
                assert!(!wrong, "it is said to be done and is not: {step:#?}");
                let known = step.status == StepStatus::Succeeded;
                assert!(!done || known || said, "it stays unsaid: {step:#?}");
            } else {
                assert!(!done || said, "{phase:?}, it stays unsaid: {step:#?}");
            }
        }
        if *phase == Phase::Completed {
            assert_eq!(node.state.blocking_failure(0..steps.len()), None);
            assert_eq!(node.state.cursor, steps.len());
            assert!(steps.iter().all(Step::is_settled));
        }
        let changes = node.around.in_flight.iter().any(|f| f.is_change());
        assert!(!changes, "{phase:?}, and something is in flight");
    }

    /// What holds of one event in the state before it. Keeps the books of the world.
    pub(super) fn check_event(
        &self,
        before: &State,
        around: &mut Around,
        event: &Event,
        at: Millis,
    ) {
        match event {
            Event::Intent {
                step,
                direction,
                call,
                ..
            } => {
                let place = before.position(step).unwrap();
                let found = &before.steps[place];
                let key = key_of(before, place, *direction);
                around.world.send(key);
                match direction {
                    Direction::Do => {
                        let mut earlier = 0..before.definition.window_of(place).start;
                        assert!(
                            earlier.all(|place| before.steps[place].is_settled()),
                            "sent while an earlier one is not settled: {:#?}",
                            before.steps
                        );
                        self.check_sent(before, place, at);
                    }
                    Direction::Undo => {
                        check_undone(before, found, around, place);
                        let to = call.arguments.get("cpu").and_then(|v| v.as_u64());
                        assert!(to != Some(AFTER), "it is undone to what it did: {found:#?}");
                        let sent = around.world.sent(key);
                        let once = self.kinds[place] == Kind::Destroy;
                        assert!(sent <= if once { 1 } else { ATTEMPTS }, "sent {sent} times");
                    }
                }
            }
            Event::RetryScheduled { step, .. } => {
                let found = before.step(step).unwrap().1;
                assert!(!is_once(found), "a retry of what is done once: {found:#?}");
                assert_eq!(found.status, StepStatus::Failed);
                assert!(!before.cancelling, "a retry of what is cancelled");
            }
            // Invariant 4: undo is the exact reverse of the order of outcomes.
            Event::RollbackStarted { order, .. } => {
                let place = |step: &StepId| before.step(step).unwrap().1.order;
                let places: Vec<_> = order.iter().map(|s| place(s).unwrap_or(u64::MAX)).collect();
                let sorted = places.windows(2).all(|w| w[0] >= w[1]);
                assert!(sorted, "invariant 4: {order:?} of {:#?}", before.steps);
                assert_eq!(
                    *order,
                    before.undo_order(),
                    "it changed since it was asked about"
                );
            }
            Event::ApprovalRequested { .. } => {
                around.yes.clear();
                let begun = |place: usize| {
                    let step = &before.steps[place];
                    step.is_under_way() && step.status != StepStatus::Unknown
                };
                assert!(
                    !before.window().any(begun),
                    "asked while something is under way"
                );
            }
            Event::Endorsed { by, .. } | Event::Approved { by, .. } => {
                let approvers = self.case.spec.approvers;
                if !approvers.is_anyone() {
                    assert!(by.assurance >= Assurance::Authenticated && by.name != before.by.name);
                    around.yes.push(by.name.clone());
                    let people: BTreeSet<_> = around.yes.iter().collect();
                    assert_eq!(people.len(), around.yes.len(), "one person twice");
                    let enough = people.len() >= approvers.quorum as usize;
                    assert_eq!(enough, matches!(event, Event::Approved { .. }));
                }
            }
            _ => {}
        }
    }

    /// Invariant 3: a step is sent only under an approved plan, one that asks only while it holds an
    /// approval, and both only as long as these are fresh.
    fn check_sent(&self, before: &State, place: usize, at: Millis) {
        let found = &before.steps[place];
        assert!(before.plan_approved, "{place} is sent without a plan");
        let within = i64::from(before.definition.execution_expiry_s) * 1000;
        let over = |given: Option<Millis>| given.is_some_and(|given| at > given + within);
        let stale = over(before.plan_approved_at) && !before.plan_used;
        assert!(!stale, "{place} is sent under an old approval of the plan");
        if self.kinds[place].asks() {
            let again = found.spent.is_some() && found.attempt > 0;
            let given = found.approved.is_some() || found.covered.is_some();
            assert!(given || again, "invariant 3: {place} without an approval");
            assert!(
                again || !over(found.approved_at),
                "an old approval of {place}"
            );
        }
    }

    /// What holds of one turn: what it sends, and what it says of it.
    pub(super) fn check_turn(
        &self,
        before: &State,
        after: &State,
        events: &[Event],
        effects: &[Effect],
    ) {
        for effect in effects {
            // Invariant 1: a change is sent only with its intent in the very same turn.
            if let Effect::Send {
                step,
                direction,
                attempt,
                change: true,
                key,
                ..
            } = effect
            {
                let intent = |e: &Event| {
                    matches!(e, Event::Intent { step: s, direction: d, key: k, attempt: a, .. }
                        if s == step && d == direction && k == key && a == attempt)
                };
                assert!(events.iter().any(intent), "invariant 1: {key}");
                assert_eq!(*key, after.key(step, *direction));
            }
            if matches!(effect, Effect::Prepare { .. } | Effect::Poll { .. }) {
                assert_eq!(after.phase, Phase::Running);
            }
        }
        // Nothing is begun twice in one turn.
        let begun: Vec<usize> = effects
            .iter()
            .map(|e| Flight::of(after, e).place())
            .collect();
        let different: BTreeSet<usize> = begun.iter().copied().collect();
        assert_eq!(begun.len(), different.len(), "twice: {effects:?}");
        // Every answer of a change is settled, looked into, or said to be unknown.
        for event in events {
            if let Event::Outcome {
                step,
                direction: Direction::Do,
                outcome: Outcome::Unknown { .. },
                ..
            } = event
            {
                let stands = after.step(step).unwrap().1;
                let looks = |e: &Effect| matches!(e, Effect::Probe { step: s, .. } if s == step);
                let looked = effects.iter().any(looks) || stands.probe.is_some();
                let paused = matches!(after.phase, Phase::Paused(_));
                assert!(
                    looked || paused || !before.status().is_busy(),
                    "{stands:#?}"
                );
            }
        }
    }
}

/// Only what was sent is undone, and only what may have left something.
fn check_undone(before: &State, found: &Step, around: &Around, place: usize) {
    let sent = around.world.was_sent(place);
    assert!(sent, "{place} is undone and was never sent: {found:#?}");
    assert_eq!(before.phase, Phase::RollingBack);
    let nothing = found.status == StepStatus::Failed
        && found.left == Some(Left::Nothing)
        && !found.tainted
        && !found.claimed
        && found.probe != Some(Verdict::InEffect);
    assert!(!nothing, "{place} left nothing and is undone: {found:#?}");
    // Of what failed it is known first that there is something to undo.
    let known = match found.status {
        StepStatus::Succeeded | StepStatus::RollingBack | StepStatus::RollbackFailed => true,
        StepStatus::Failed => found.claimed || found.probe == Some(Verdict::InEffect),
        _ => false,
    };
    assert!(known, "{place} is undone unlooked at: {found:#?}");
    let front = before.queue.front().and_then(|step| before.position(step));
    assert_eq!(front, Some(place), "invariant 4: not the next one");
}

/// What is under way together, and what is not begun yet.
fn check_window(node: &Node) {
    let (state, flights) = (&node.state, &node.around.in_flight);
    let window = state.window();
    let starts = state.cursor >= state.steps.len() || window.start == state.cursor;
    assert!(starts, "the cursor {} is within {window:?}", state.cursor);
    let before = state.steps.iter().take(state.cursor);
    assert!(before.clone().all(Step::is_settled), "{:#?}", state.steps);
    let settled = window
        .clone()
        .filter(|place| state.steps[*place].is_settled());
    assert_eq!(state.settled(), state.cursor + settled.count());
    let changes_of = |place: usize| {
        let sent = move |f: &&Flight| f.is_change() && f.place() == place;
        flights.iter().filter(sent).count()
    };
    for (place, step) in state.steps.iter().enumerate() {
        let in_flight = usize::from(step.in_flight.is_some());
        assert_eq!(changes_of(place), in_flight, "{place}: {step:#?}");
        // Nothing of the next window begins before this one is settled.
        if place >= window.end {
            let untouched = !step.is_under_way() && step.status == StepStatus::Pending;
            assert!(untouched, "{place} is begun before {window:?} is settled");
            let reads = |f: &Flight| f.place() == place && state.phase == Phase::Running;
            assert!(!flights.iter().any(reads), "{place} is in flight already");
        }
    }
    if state.phase == Phase::RollingBack {
        let changes = flights.iter().filter(|f| f.is_change()).count();
        assert!(changes <= 1, "undone one by one: {flights:?}");
    }
    for group in &state.definition.groups {
        let members = group.from..group.from + group.count;
        let begun = members.clone().filter(|place| is_begun(state, *place));
        let within = begun.count() <= group.limit as usize;
        assert!(within || state.phase != Phase::Running, "more than may be");
        let sent: usize = members.clone().map(changes_of).sum();
        assert!(sent <= group.limit as usize, "more in flight than may be");
    }
    let asked = match state.approval().map(|a| &a.subject) {
        Some(Subject::Step { step } | Subject::Gate { step }) => state.position(step),
        _ => None,
    };
    if let Some(asked) = asked {
        let others = window.filter(|place| *place != asked);
        let mut begun = others.map(|place| &state.steps[place]);
        let busy = begun.any(|s| s.in_flight.is_some() || s.unverified);
        assert!(!busy, "asked about {asked} while another one is under way");
        assert_eq!(state.steps[asked].status, StepStatus::AwaitingApproval);
    }
}
