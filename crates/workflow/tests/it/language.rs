//! The language: what groups, retries and waits are read as, and what of them is refused.

use std::cell::Cell;

use serde_json::{Value, json};
use workflow::define::{Bounds, define};
use workflow::model::{Approvers, CallStep, Deed, Definition, OnFailure, Retry};
use workflow::refusal::Refusal;

pub(crate) const BOUNDS: Bounds = Bounds {
    approval_timeout_s: 300,
    max_approval_timeout_s: 3600,
    execution_expiry_s: 3600,
    max_parallel: 8,
};

fn of(raw: &Value) -> Result<Definition, Refusal> {
    let Value::Object(raw) = raw else {
        unreachable!("the tests write objects")
    };
    define(raw, BOUNDS)
}

/// A workflow of these steps, with a list, a number and a text among its parameters.
pub(crate) fn with_steps(steps: Value) -> Result<Definition, Refusal> {
    of(&json!({
        "name": "A workflow",
        "params": {"vms": ["a", "b", "c"], "n": 3, "word": "w", "empty": []},
        "steps": steps,
    }))
}

pub(crate) fn step(id: &str) -> Value {
    json!({"id": id, "skill": "fake", "tool": "store", "params": {"name": id}})
}

/// A step with some fields beside the usual ones.
pub(crate) fn step_with(id: &str, more: &Value) -> Value {
    let mut step = step(id);
    let (Some(step), Some(more)) = (step.as_object_mut(), more.as_object()) else {
        unreachable!("both are objects")
    };
    step.extend(more.clone());
    Value::Object(step.clone())
}

fn steps(count: usize) -> Vec<Value> {
    (0..count).map(|i| step(&format!("s{i}"))).collect()
}

pub(crate) fn call_of(definition: &Definition, place: usize) -> &CallStep {
    match &definition.steps[place].deed {
        Deed::Call(call) => call,
        Deed::Gate(_) => unreachable!("the step is a call"),
    }
}

pub(crate) fn arguments_of(definition: &Definition, place: usize) -> Value {
    Value::Object(call_of(definition, place).call.arguments.clone())
}

pub(crate) fn ids(definition: &Definition) -> Vec<&str> {
    definition.steps.iter().map(|s| s.id.0.as_str()).collect()
}

/// Counts what a test refused, with its code.
#[derive(Default)]
pub(crate) struct Refused(Cell<usize>);

impl Refused {
    /// Refused with this code, and a text that holds this.
    pub(crate) fn check(&self, steps: Value, code: &str, says: &str) {
        let written = steps.to_string();
        let refusal = with_steps(steps).unwrap_err();
        assert_eq!(refusal.code, code, "{written}: {refusal:?}");
        assert!(refusal.message.contains(says), "{written}: {refusal:?}");
        self.0.set(self.0.get() + 1);
    }

    pub(crate) fn print(&self, what: &str) {
        println!("{what}: {} refused", self.0.get());
        assert!(self.0.get() > 0);
    }
}

#[test]
fn p4_a_parallel_group_is_a_flat_list_with_a_limit_of_its_own() {
    let definition = with_steps(json!([
        step("before"),
        {"id": "both", "limit": 3, "on_failure": "stop",
         "parallel": [step("a"), step_with("b", &json!({"on_failure": "continue"}))]},
        step("after"),
        {"id": "more", "parallel": [step("c")]},
    ]))
    .unwrap();
    assert_eq!(ids(&definition), ["before", "a", "b", "after", "c"]);
    let groups = &definition.groups;
    assert_eq!(groups.len(), 2);
    assert_eq!(
        (groups[0].id.0.as_str(), groups[0].from, groups[0].count),
        ("both", 1, 2)
    );
    assert_eq!(
        (groups[1].id.0.as_str(), groups[1].from, groups[1].count),
        ("more", 4, 1)
    );
    assert_eq!((groups[0].limit, groups[1].limit), (3, 4));
    assert!(groups.iter().all(|group| group.each.is_none()));
    // The group's word on failure is that of the members that say nothing, and of nobody else.
    let said = |place: usize| call_of(&definition, place).on_failure;
    assert_eq!(
        [said(0), said(1), said(2), said(3)],
        [None, Some(OnFailure::Stop), Some(OnFailure::Continue), None]
    );
    assert_eq!(definition.on_failure_of(0), OnFailure::Rollback);
    assert_eq!(definition.on_failure_of(1), OnFailure::Stop);
    // Where the operator allows less than the usual limit, that is the limit.
    let raw = json!({"name": "A", "steps": [{"id": "g", "parallel": [step("a")]}]});
    let few = Bounds {
        max_parallel: 2,
        ..BOUNDS
    };
    let definition = define(raw.as_object().unwrap(), few).unwrap();
    assert_eq!(definition.groups[0].limit, 2);
}

#[test]
fn p4_the_bounds_of_a_parallel_group_are_exact() {
    let group = |limit: Value, members: usize| {
        with_steps(json!([{"id": "g", "limit": limit, "parallel": steps(members)}]))
    };
    let mut passed = 0;
    for (limit, members) in [(json!(1), 1), (json!(8), 256), (json!(null), 256)] {
        group(limit, members).unwrap();
        passed += 1;
    }
    let refused = Refused::default();
    let g = |limit: Value, members: usize| json!([{"id": "g", "limit": limit, "parallel": steps(members)}]);
    let limits = "Pass a whole number of steps from 1 to 8 at /steps/0/limit";
    for limit in [json!(0), json!(9), json!(-1), json!(2.5), json!("2")] {
        refused.check(g(limit, 2), "step.field", limits);
    }
    for members in [0, 257] {
        refused.check(
            g(json!(1), members),
            "step.field",
            "Pass a list of 1 to 256 steps at /steps/0/parallel",
        );
    }
    println!("parallel groups: {passed} passed");
    refused.print("parallel groups");
}

#[test]
fn p4_what_may_not_stand_in_a_parallel_group_is_refused() {
    let refused = Refused::default();
    let group = |member: Value| json!([{"id": "g", "parallel": [member]}]);
    for (steps, code, says) in [
        (
            group(json!({"id": "ask", "gate": "Go on?"})),
            "step.field",
            "Put the gate `ask` before or after the parallel steps",
        ),
        (
            group(json!({"id": "in", "parallel": [step("a")]})),
            "step.field",
            "Remove `parallel` at /steps/0/parallel/0: it is not a field there",
        ),
        (
            group(step_with("in", &json!({"for_each": [1]}))),
            "step.field",
            "Remove `for_each` at /steps/0/parallel/0: it is not a field there",
        ),
        (
            group(json!("a")),
            "step.field",
            "Pass an object at /steps/0/parallel/0",
        ),
        (
            group(step("g")),
            "step.id",
            "Give each step an id of its own: `g` is used twice",
        ),
        (
            json!([{"id": "g", "parallel": [step("a"), step("a")]}]),
            "step.id",
            "`a` is used twice",
        ),
        (
            json!([step("a"), {"id": "a", "parallel": [step("b")]}]),
            "step.id",
            "`a` is used twice",
        ),
        (
            json!([{"id": "a", "parallel": [step("b")]}, step("a")]),
            "step.id",
            "`a` is used twice",
        ),
        (
            json!([{"parallel": [step("b")]}]),
            "step.id",
            "Give the steps at /steps/0 an `id`",
        ),
        (
            json!([{"id": "A", "parallel": [step("b")]}]),
            "step.id",
            "/steps/0/id",
        ),
        (
            json!([{"id": "g", "parallel": [step("b")], "for_each": [1]}]),
            "step.field",
            "Remove `for_each` at /steps/0",
        ),
        (
            json!([{"id": "g", "parallel": [step("b")], "when": "true"}]),
            "step.field",
            "Remove `when` at /steps/0",
        ),
        (
            json!([{"id": "g", "parallel": [step("b")], "on_failure": "explode"}]),
            "step.field",
            "Pass one of `rollback`, `stop`, `continue` as `on_failure` at /steps/0",
        ),
        (
            json!([step_with("a", &json!({"batch": 2}))]),
            "step.field",
            "Remove `batch` at /steps/0",
        ),
        (
            json!([step_with("a", &json!({"max_failures": 2}))]),
            "step.field",
            "Remove `max_failures` at /steps/0",
        ),
    ] {
        refused.check(steps, code, says);
    }
    refused.print("members of a group");
}

#[test]
fn p13_members_of_a_group_do_not_see_each_other_and_later_steps_see_them() {
    let with_output = |id: &str| step_with(id, &json!({"outputs": {"v": "/v"}}));
    let uses = |id: &str, of: &str| {
        step_with(
            id,
            &json!({"params": {"name": format!("${{steps.{of}.outputs.v}}")}}),
        )
    };
    let each = |params: Value| {
        step_with(
            "each",
            &json!({"for_each": [1, 2], "outputs": {"v": "/v"}, "params": params}),
        )
    };
    with_steps(json!([
        with_output("first"),
        {"id": "g", "parallel": [with_output("a"), uses("b", "first")]},
        uses("after", "a"),
        each(json!({"name": "${steps.a.outputs.v}"})),
        uses("last", "each_1"),
        uses("very_last", "each_2"),
    ]))
    .unwrap();
    let refused = Refused::default();
    let no_step = |of: &str| format!("Refer to an earlier step: `/name` names `{of}`");
    for (steps, of) in [
        (
            json!([{"id": "g", "parallel": [with_output("a"), uses("b", "a")]}]),
            "a",
        ),
        (
            json!([{"id": "g", "parallel": [uses("a", "b"), with_output("b")]}]),
            "b",
        ),
        (
            json!([each(json!({"name": "${steps.each_1.outputs.v}"}))]),
            "each_1",
        ),
        (json!([each(json!({})), uses("last", "each")]), "each"),
        (json!([each(json!({})), uses("last", "each_3")]), "each_3"),
        (json!([uses("early", "each_1"), each(json!({}))]), "each_1"),
    ] {
        refused.check(steps, "step.reference", &no_step(of));
    }
    // Nor in a condition.
    for steps in [
        json!([{"id": "g", "parallel": [
            with_output("a"), step_with("b", &json!({"when": "steps.a.status == 'succeeded'"}))]}]),
        json!([step_with(
            "each",
            &json!({"for_each": [1, 2],
            "when": "steps.each_1.status == 'succeeded'"})
        )]),
    ] {
        refused.check(steps, "step.condition", "Refer to an earlier step");
    }
    refused.print("references within a group");
}

#[test]
fn p8_retry_wait_and_on_failure_are_read_with_their_bounds() {
    let read = |more: Value| with_steps(json!([step_with("a", &more)]));
    let retry = |more: Value| call_of(&read(more).unwrap(), 0).retry.unwrap();
    let of = |count, backoff_s, max_backoff_s| Retry {
        count,
        backoff_s,
        max_backoff_s,
    };
    assert_eq!(retry(json!({"retry": {"count": 1}})), of(1, 1, 60));
    assert_eq!(
        retry(json!({"retry": {"count": 20, "backoff_s": 3600, "max_backoff_s": 3600}})),
        of(20, 3600, 3600)
    );
    // The longest wait is never shorter than the first.
    assert_eq!(
        retry(json!({"retry": {"count": 2, "backoff_s": 90}})),
        of(2, 90, 90)
    );
    assert_eq!(
        retry(json!({"retry": {"count": 2, "backoff_s": 5, "max_backoff_s": 1}})),
        of(2, 5, 5)
    );
    let wait = |more: Value| call_of(&read(more).unwrap(), 0).wait_for.clone().unwrap();
    let usual = wait(json!({"wait_for": {"until": "true"}}));
    assert_eq!((usual.every_s, usual.deadline_s), (5, 300));
    let most =
        wait(json!({"wait_for": {"until": "1 == 1", "every_s": 3600, "deadline_s": 86_400}}));
    assert_eq!((most.every_s, most.deadline_s), (3600, 86_400));
    assert_eq!(most.until, "1 == 1");
    for (word, wanted) in [
        ("rollback", OnFailure::Rollback),
        ("stop", OnFailure::Stop),
        ("continue", OnFailure::Continue),
    ] {
        let definition = read(json!({"on_failure": word})).unwrap();
        assert_eq!(definition.on_failure_of(0), wanted);
    }
    let plain = read(json!({})).unwrap();
    let call = call_of(&plain, 0);
    assert_eq!((call.retry, call.on_failure), (None, None));
    assert_eq!((&call.wait_for, &call.expect), (&None, &None));
    assert_eq!(plain.steps[0].when, None);
    let refused = Refused::default();
    let check = |more: Value, says: &str| {
        refused.check(json!([step_with("a", &more)]), "step.field", says);
    };
    for count in [json!(0), json!(21), json!("2"), json!(-1)] {
        check(
            json!({"retry": {"count": count}}),
            "Pass a whole number of times from 1 to 20 at /steps/0/retry/count",
        );
    }
    for name in ["backoff_s", "max_backoff_s"] {
        for given in [json!(0), json!(3601), json!("1")] {
            let says = format!("of seconds from 1 to 3600 at /steps/0/retry/{name}");
            check(json!({"retry": {"count": 1, name: given}}), &says);
        }
    }
    for (more, says) in [
        (
            json!({"retry": {}}),
            "Pass how often to try again at /steps/0/retry/count",
        ),
        (json!({"retry": 3}), "Pass a JSON object at /steps/0/retry"),
        (
            json!({"retry": {"count": 1, "jitter": 1}}),
            "Remove `jitter` at /steps/0/retry",
        ),
        (json!({"wait_for": {}}), "Pass the condition to wait for"),
        (
            json!({"wait_for": "x"}),
            "Pass a JSON object at /steps/0/wait_for",
        ),
        (
            json!({"wait_for": {"until": 1}}),
            "Pass text at /steps/0/wait_for/until",
        ),
        (
            json!({"wait_for": {"until": "true", "for": 1}}),
            "Remove `for` at /steps/0/wait_for",
        ),
        (
            json!({"wait_for": {"until": "true", "every_s": 0}}),
            "from 1 to 3600",
        ),
        (
            json!({"wait_for": {"until": "true", "every_s": 3601}}),
            "from 1 to 3600",
        ),
        (
            json!({"wait_for": {"until": "true", "deadline_s": 0}}),
            "from 1 to 86400",
        ),
        (
            json!({"wait_for": {"until": "true", "deadline_s": 86_401}}),
            "from 1 to 86400",
        ),
        (
            json!({"on_failure": "explode"}),
            "Pass one of `rollback`, `stop`, `continue`",
        ),
        (json!({"when": 1}), "Pass text at /steps/0/when"),
        (json!({"expect": true}), "Pass text at /steps/0/expect"),
    ] {
        check(more, says);
    }
    // A gate waits for a person and does nothing else; it may be skipped.
    for name in ["expect", "retry", "wait_for", "on_failure", "timeout_s"] {
        refused.check(
            json!([{"id": "ask", "gate": "Go on?", name: null}]),
            "step.field",
            &format!("Remove `{name}` from the gate `ask`"),
        );
    }
    with_steps(json!([{"id": "ask", "gate": "Go on?", "when": "params.n > 2"}])).unwrap();
    refused.print("retry, wait_for and on_failure");
}

#[test]
fn p5_who_has_to_say_yes_and_how_long_it_counts_is_read_with_its_bounds() {
    let read = |more: Value| {
        let mut raw = json!({"name": "A", "steps": [step("a")]});
        raw.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        of(&raw)
    };
    let approvers = |more: Value| read(more).unwrap().approvers;
    let of = |quorum, exclude_requester| Approvers {
        quorum,
        exclude_requester,
    };
    assert_eq!(approvers(json!({})), of(1, false));
    assert_eq!(approvers(json!({"quorum": 16})), of(16, false));
    assert_eq!(approvers(json!({"exclude_requester": true})), of(1, true));
    assert_eq!(
        [of(1, false), of(1, true), of(2, false), of(0, false)].map(|a| a.is_anyone()),
        [true, false, false, true]
    );
    assert_eq!(of(2, false).and(of(3, true)), of(3, true));
    assert_eq!(of(3, true).and(of(2, false)), of(3, true));
    assert_eq!(of(1, false).and(of(1, false)), of(1, false));
    let expiry = |more: Value| read(more).unwrap().execution_expiry_s;
    assert_eq!(expiry(json!({})), 3600);
    assert_eq!(expiry(json!({"execution_expiry_s": 1})), 1);
    assert_eq!(expiry(json!({"execution_expiry_s": 3600})), 3600);
    let mut refused = 0;
    for (more, says) in [
        (
            json!({"quorum": 0}),
            "Pass a whole number of people from 1 to 16 at /quorum",
        ),
        (
            json!({"quorum": 17}),
            "Pass a whole number of people from 1 to 16 at /quorum",
        ),
        (
            json!({"quorum": "2"}),
            "Pass a whole number of people from 1 to 16 at /quorum",
        ),
        (
            json!({"exclude_requester": "yes"}),
            "Pass `true` or `false` at /exclude_requester",
        ),
        (
            json!({"exclude_requester": 1}),
            "Pass `true` or `false` at /exclude_requester",
        ),
        (
            json!({"execution_expiry_s": 0}),
            "Pass a whole number of seconds from 1 to 3600",
        ),
        (
            json!({"execution_expiry_s": 3601}),
            "Pass a whole number of seconds from 1 to 3600",
        ),
    ] {
        let refusal = read(more.clone()).unwrap_err();
        assert_eq!(refusal.code, "workflow.field", "{more}");
        assert!(refusal.message.contains(says), "{more}: {refusal:?}");
        refused += 1;
    }
    println!("approvers and expiry: {refused} refused");
    assert!(refused > 0);
}
