//! A workflow looked at as a whole, in data and in plain words: what it will touch, what would be
//! undone and how exactly (P5), and what stays behind (P10).

mod findings;
mod residue;
mod terms;

use guard::text;
use serde_json::{Map, Value, json};

use crate::decide::{approval_digest, undo_for_show};
use crate::event::{Direction, Preview, Review, StepReview, Subject, UndoFrom};
use crate::model::{
    Call, Deed, Effect, Facts, OnFailure, Prepared, Risk, StepId, Undo, WorkflowId,
};
use crate::state::{State, StepStatus};

pub use findings::findings;
pub use residue::residue;
pub use terms::terms;

/// What a look at one step found.
#[derive(Clone, Debug)]
pub struct Look {
    /// The catalog's word on it; `None` for a gate.
    pub facts: Option<Facts>,
    /// What it would do, as far as it can be told now.
    pub preview: Preview,
    /// The catalog's word on what the step's own undo may do.
    pub undo_risk: Option<Risk>,
    /// Another workflow that holds the object now.
    pub held_by: Option<WorkflowId>,
}

/// Puts a review together: of each step, in order, what a look at it found.
#[must_use]
pub fn review(state: &State, found: Vec<Look>) -> Review {
    let steps: Vec<StepReview> = state
        .definition
        .steps
        .iter()
        .zip(found)
        .map(|(def, look)| StepReview {
            undo_from: undo_from(&def.deed, look.facts.as_ref(), &look.preview),
            // Of a read it is never used.
            undo_risk: look
                .undo_risk
                .filter(|_| look.facts.as_ref().is_some_and(|f| f.risk.changes())),
            facts: look.facts,
            preview: look.preview,
            held_by: look.held_by,
        })
        .collect();
    Review {
        digest: approval_digest(state, &steps),
        steps,
    }
}

/// Where the undo of a step will come from, as far as it can be told before it ran.
#[must_use]
pub fn undo_from(deed: &Deed, facts: Option<&Facts>, preview: &Preview) -> UndoFrom {
    let (Deed::Call(call), Some(facts)) = (deed, facts) else {
        return UndoFrom::NotNeeded;
    };
    if !facts.risk.changes() {
        return UndoFrom::NotNeeded;
    }
    let companion = match preview {
        Preview::Shown { prepared } => {
            prepared.undo.is_some() || (is_no_change(prepared) && !facts.inverses.is_empty())
        }
        _ => facts.preview.is_some() && !facts.inverses.is_empty(),
    };
    if companion {
        UndoFrom::Companion
    } else if call.undo.is_some() {
        UndoFrom::Step
    } else {
        UndoFrom::Nowhere
    }
}

/// One line on what is called and where: `control/vmware_control power_off on web01 (/DC0/vm/web01)`.
#[must_use]
pub fn headline(call: &Call, facts: Option<&Facts>, prepared: Option<&Prepared>) -> String {
    let mut line = format!("{}/{}", call.skill, call.tool);
    if let Some(action) = facts.and_then(|f| f.action.as_deref()) {
        line = format!("{line} {action}");
    }
    if let Some(target) = prepared.map(|p| &p.target).filter(|t| !t.is_empty()) {
        let word = |name: &str| target.get(name).and_then(Value::as_str);
        if let Some(name) = word("name").or_else(|| word("moref")) {
            line = format!("{line} on {name}");
        }
        if let Some(path) = word("path") {
            line = format!("{line} ({path})");
        }
    }
    line
}

/// The values from → to, one line each.
#[must_use]
pub fn changes(prepared: &Prepared) -> Vec<String> {
    let show = |v: Option<&Value>| match v {
        None | Some(Value::Null) => "–".to_owned(),
        Some(Value::String(s)) => s.clone(),
        Some(other) => other.to_string(),
    };
    let mut keys: Vec<&String> = prepared.before.keys().collect();
    keys.extend(
        prepared
            .after
            .keys()
            .filter(|k| !prepared.before.contains_key(*k)),
    );
    keys.into_iter()
        .filter(|k| prepared.before.get(*k) != prepared.after.get(*k))
        .map(|k| {
            format!(
                "{k}: {} → {}",
                show(prepared.before.get(k)),
                show(prepared.after.get(k))
            )
        })
        .collect()
}

/// Whether a preview says that nothing would change. Before anything ran that is no promise: an
/// earlier step may alter what is there.
fn is_no_change(prepared: &Prepared) -> bool {
    !prepared.after.is_empty() && prepared.before == prepared.after
}

/// One line on an undo: `reconfigure cpu = 2 (exact)`. Of its arguments those that are neither the
/// step's own nor its object's identity: what will be put back.
fn undo_line(state: &State, step: &StepId, undo: &Undo, prepared: Option<&Prepared>) -> String {
    let select = state
        .step(step)
        .and_then(|(_, found)| found.facts.as_ref()?.select.clone());
    let select = select.as_deref().unwrap_or_default();
    let arguments = &undo.call.arguments;
    let what = arguments
        .get(select)
        .and_then(Value::as_str)
        .unwrap_or(&undo.call.tool);
    let own = state.call_of(step).map(|call| &call.call.arguments);
    let key = Value::from(state.key(step, Direction::Do));
    let is_known = |name: &str, value: &Value| {
        name == select
            || *value == key
            || own.and_then(|own| own.get(name)) == Some(value)
            || prepared.is_some_and(|p| {
                // What must still be there before it is put back says nothing new either.
                p.target.values().any(|of_target| of_target == value)
                    || value
                        .as_object()
                        .is_some_and(|guard| guard.iter().all(|(k, v)| p.after.get(k) == Some(v)))
            })
    };
    let values: Vec<String> = arguments
        .iter()
        .filter(|(name, value)| !is_known(name, value))
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name} = {text}"),
            other => format!("{name} = {other}"),
        })
        .collect();
    let mut line = what.to_owned();
    if !values.is_empty() {
        line = format!("{line} {}", text::sanitize_to(&values.join(", "), 300));
    }
    if undo.note.is_empty() {
        format!("{line} ({})", undo.kind.word())
    } else {
        format!("{line} ({}: {})", undo.kind.word(), undo.note)
    }
}

/// One step as a person reads it before deciding.
#[must_use]
pub fn step_summary(state: &State, step: &StepId) -> Value {
    let Some(position) = state.position(step) else {
        return Value::Null;
    };
    let def = &state.definition.steps[position];
    let found = &state.steps[position];
    let mut out = Map::new();
    out.insert("id".into(), json!(step));
    if def.name != step.0 {
        out.insert("name".into(), json!(def.name));
    }
    let terms = terms(&state.definition, position);
    if !terms.is_empty() {
        out.insert("terms".into(), json!(terms));
    }
    let call = match &def.deed {
        Deed::Gate(message) => {
            out.insert("gate".into(), json!(message));
            return Value::Object(out);
        }
        Deed::Call(call) => call,
    };
    let facts = found.facts.as_ref();
    let reviewed = state.review.as_ref().map(|r| &r.steps[position]);
    let preview = reviewed.map(|r| &r.preview);
    let prepared = found.prepared.as_deref().or(match preview {
        Some(Preview::Shown { prepared }) => Some(&**prepared),
        _ => None,
    });
    out.insert("what".into(), json!(headline(&call.call, facts, prepared)));
    if let Some(facts) = facts {
        out.insert("risk".into(), json!(facts.risk.word()));
        out.insert("effect".into(), json!(facts.effect.word()));
    }
    if facts.is_some_and(|f| f.risk.changes()) {
        let arguments = crate::decide::call_to_prepare(state, step)
            .map_or_else(|_| call.call.arguments.clone(), |c| c.arguments);
        out.insert("arguments".into(), Value::Object(arguments));
    }
    if let Some(prepared) = prepared {
        if !prepared.target.is_empty() {
            out.insert("target".into(), json!(prepared.target));
        }
        let mut lines = changes(prepared);
        let repeatable = facts.is_some_and(|f| f.effect == Effect::Idempotent);
        if found.prepared.is_none() && repeatable && is_no_change(prepared) {
            lines.push("nothing, as it is now; an earlier step may alter that".to_owned());
        }
        if !lines.is_empty() {
            out.insert("changes".into(), json!(lines));
        }
        if !prepared.warnings.is_empty() {
            out.insert("warnings".into(), json!(prepared.warnings));
        }
    }
    match preview {
        Some(Preview::NotPossible { why }) if found.prepared.is_none() => {
            out.insert("not_shown".into(), json!(why));
        }
        Some(Preview::Refused { code, error }) if found.prepared.is_none() => {
            out.insert("not_shown".into(), json!(format!("{code}: {error}")));
        }
        _ => {}
    }
    if let Some(by) = reviewed.and_then(|r| r.held_by.as_ref()) {
        let line = format!("workflow {by} is changing this object now");
        out.insert("held_by".into(), json!(line));
    }
    if facts.is_some_and(|f| f.risk.changes()) {
        let undo = prepared.and_then(|p| p.undo.as_ref());
        let line = match (undo, reviewed.map(|r| r.undo_from)) {
            (Some(undo), _) => undo_line(state, step, undo, prepared),
            (None, Some(UndoFrom::Companion)) => {
                "the companion tells it when the step's turn comes".to_owned()
            }
            (None, Some(UndoFrom::Step)) => call.undo.as_ref().map_or_else(
                || "none".to_owned(),
                |u| {
                    let with = Value::Object(u.arguments.clone()).to_string();
                    let with = text::sanitize_to(&with, 300);
                    let risk = reviewed.and_then(|r| r.undo_risk);
                    let risk = match risk.filter(|risk| risk.is_destructive()) {
                        Some(risk) => format!(", {}, not asked about again", risk.word()),
                        None => String::new(),
                    };
                    format!("{}/{} {with} (declared by the step{risk})", u.skill, u.tool)
                },
            ),
            (None, _) => {
                let why = prepared
                    .map(|p| p.no_undo.as_str())
                    .filter(|w| !w.is_empty())
                    .unwrap_or("no undo is declared for it");
                format!("none: {why}")
            }
        };
        out.insert("undo".into(), json!(line));
    }
    Value::Object(out)
}

/// What a person is asked, as they read it: the steps that it is about, and what rollback would do.
#[must_use]
pub fn approval_summary(state: &State, subject: &Subject) -> Vec<String> {
    match subject {
        Subject::Plan => plan_summary(state),
        Subject::Step { step } => {
            let mut lines = vec![format!("Destructive step `{step}` is about to run.")];
            lines.extend(step_lines(&step_summary(state, step)));
            lines
        }
        Subject::Gate { step } => match state.step(step).map(|(def, _)| &def.deed) {
            Some(Deed::Gate(message)) => vec![format!("Gate `{step}`: {message}")],
            _ => Vec::new(),
        },
        Subject::Resolution {
            step,
            happened,
            note,
            by,
            ..
        } => vec![format!(
            "Step `{step}`, whose effect is unknown: {} says that it {}: {note}",
            by.name,
            if *happened {
                "took effect"
            } else {
                "did not take effect"
            },
        )],
        Subject::Rollback { order } => {
            let mut lines = vec![format!(
                "Rollback of {} step(s), in this order:",
                order.len()
            )];
            lines.extend(order.iter().map(|step| match undo_for_show(state, step) {
                Ok(undo) => {
                    let prepared = state.step(step).and_then(|(_, s)| s.prepared.as_deref());
                    format!("- `{step}`: {}", undo_line(state, step, &undo, prepared))
                }
                Err((why, _)) => format!("- `{step}`: cannot be undone: {why}"),
            }));
            lines
        }
    }
}

fn plan_summary(state: &State) -> Vec<String> {
    let pending: Vec<&StepId> = state
        .definition
        .steps
        .iter()
        .zip(&state.steps)
        .filter(|(_, s)| s.is_open() || s.status == StepStatus::AwaitingApproval)
        .map(|(def, _)| &def.id)
        .collect();
    let risk_of = |step: &StepId| {
        state
            .step(step)
            .and_then(|(_, s)| s.facts.as_ref())
            .map(|f| f.risk)
    };
    let destructive = pending
        .iter()
        .filter(|s| risk_of(s).is_some_and(Risk::is_destructive))
        .count();
    let changing = pending
        .iter()
        .filter(|s| risk_of(s).is_some_and(Risk::changes))
        .count();
    let mut first = format!(
        "`{}`: {} step(s), of which {changing} change something",
        state.definition.name,
        pending.len()
    );
    if destructive > 0 {
        first = format!(
            "{first} and {destructive} destroy or interrupt something; each of those asks again"
        );
    }
    let mut lines = vec![format!("{first}.")];
    for step in pending.iter().take(STEPS_SHOWN) {
        lines.extend(step_lines(&step_summary(state, step)));
    }
    if pending.len() > STEPS_SHOWN {
        lines.push(format!(
            "… and {} more (review_workflow pages them)",
            pending.len() - STEPS_SHOWN
        ));
    }
    if let Some(line) = approvers_line(state) {
        lines.push(line);
    }
    lines.push(match state.definition.on_failure {
        OnFailure::Rollback => rollback_line(state, &pending),
        OnFailure::Stop => {
            "If a step fails, the workflow stops and what was done stays.".to_owned()
        }
        OnFailure::Continue => "If a step fails, the next one runs all the same.".to_owned(),
    });
    lines
}

/// Who has to say yes, where not anybody is enough.
fn approvers_line(state: &State) -> Option<String> {
    let approvers = state.definition.approvers;
    let excluded = if approvers.exclude_requester {
        " (not the one who asked for it)"
    } else {
        ""
    };
    (!approvers.is_anyone()).then(|| {
        format!(
            "Each approval needs a yes of {} authenticated people{excluded}.",
            approvers.quorum
        )
    })
}

/// What automatic rollback would do (P5), in the order in which it would.
fn rollback_line(state: &State, pending: &[&StepId]) -> String {
    let mut undone = Vec::new();
    let mut left = Vec::new();
    for step in pending.iter().rev() {
        let Some(position) = state.position(step) else {
            continue;
        };
        match state.review.as_ref().map(|r| r.steps[position].undo_from) {
            Some(UndoFrom::Companion | UndoFrom::Step) => undone.push(format!("`{step}`")),
            Some(UndoFrom::Nowhere) => left.push(format!("`{step}`")),
            Some(UndoFrom::NotNeeded) | None => {}
        }
    }
    let shown = |steps: &[String]| {
        let more = steps.len().saturating_sub(STEPS_SHOWN);
        let mut line = steps[..steps.len() - more].join(", ");
        if more > 0 {
            line = format!("{line} and {more} more");
        }
        line
    };
    let mut line = "If a step fails, those that completed before it are undone at once".to_owned();
    if !undone.is_empty() {
        line = format!("{line}, in this order: {}", shown(&undone));
    }
    if !left.is_empty() {
        line = format!("{line}; what cannot be undone stays: {}", shown(&left));
    }
    format!("{line}. Approving this plan consents to that.")
}

/// How many steps a summary names.
const STEPS_SHOWN: usize = 100;

/// A step's summary as lines of text.
fn step_lines(summary: &Value) -> Vec<String> {
    let word = |name: &str| summary.get(name).and_then(Value::as_str);
    let id = word("id").unwrap_or_default();
    let list = |name: &str| {
        summary
            .get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let terms = list("terms").into_iter().map(|l| format!("    {l}"));
    if let Some(gate) = word("gate") {
        let mut lines = vec![format!("- {id}: waits for a person: {gate}")];
        lines.extend(terms);
        return lines;
    }
    let mut lines = vec![format!(
        "- {id} [{}]: {}",
        word("risk").unwrap_or("unknown"),
        word("what").unwrap_or_default()
    )];
    // Where no companion tells what would change, what is sent is all there is to judge by.
    if let (None, Some(arguments)) = (summary.get("changes"), summary.get("arguments")) {
        let arguments = text::sanitize_to(&arguments.to_string(), 500);
        lines.push(format!("    with: {arguments}"));
    }
    lines.extend(terms);
    lines.extend(list("changes").into_iter().map(|l| format!("    {l}")));
    lines.extend(
        list("warnings")
            .into_iter()
            .map(|l| format!("    warning: {l}")),
    );
    if let Some(held) = word("held_by") {
        lines.push(format!("    wait: {held}"));
    }
    if let Some(why) = word("not_shown") {
        lines.push(format!("    not shown: {why}"));
    }
    if let Some(undo) = word("undo") {
        lines.push(format!("    undo: {undo}"));
    }
    lines
}
