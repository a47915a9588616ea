//! A workflow as it is answered: the one function that all tools about workflows end with.
//!
//! What a person must not miss comes first (`residue`), and what to do next comes last (`next`).
//! The whole fits an agent's context (C10): steps are shown around those that are going on, and
//! results are cut, which is said.

mod approval;
mod next;
mod results;
mod steps;

use engine::{Kept, Shown};
use guard::limit;
use serde_json::{Map, Value, json};
use workflow::event::RollbackCause;
use workflow::review;
use workflow::state::{State, Status, StepStatus};

pub(crate) use approval::lines;
pub(crate) use next::after_review as next_after_review;
pub(crate) use steps::ROWS;

use crate::cut;

/// How a decision is known that came through the agent's own connection.
const ATTESTED: &str =
    "recorded as `attested`: no operator is enrolled, so the agent's word is all there is for it";

/// How many of the last decisions are shown.
const DECISIONS: usize = 5;

/// How many characters may be taken by what stays behind.
const RESIDUE: usize = 8_000;

/// The least room for results, in characters.
const RESULTS: usize = 10_000;

/// What an answer holds beside where the workflow stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extra {
    /// Answers of steps that nobody has fetched yet.
    pub(crate) results: bool,
    /// That a decision was recorded, and how.
    pub(crate) decided: bool,
}

impl Extra {
    pub(crate) fn with_results() -> Self {
        Self {
            results: true,
            decided: false,
        }
    }

    pub(crate) fn decided(self) -> Self {
        Self {
            decided: true,
            ..self
        }
    }
}

/// Renders a workflow. With it, the results that there was no room for.
pub(crate) fn workflow(shown: &Shown, kept: Vec<Kept>, extra: Extra) -> (Value, Vec<Kept>) {
    let state = &shown.state;
    let mut body = Map::new();
    if !state.status().is_busy() {
        residue(state, &mut body);
    }
    let stalled = shown.stalled.is_some() && state.status().is_busy();
    body.insert(
        "outcome".to_owned(),
        if stalled {
            "paused"
        } else {
            outcome(state.status())
        }
        .into(),
    );
    body.insert("state".to_owned(), state.status().word().into());
    if stalled {
        body.insert("reason".to_owned(), "store".into());
    } else if let Some(reason) = state.phase.reason() {
        body.insert("reason".to_owned(), reason.into());
    }
    body.insert("workflow_id".to_owned(), json!(state.id));
    body.insert("name".to_owned(), state.definition.name.clone().into());
    if extra.decided && was_recorded(state) {
        body.insert("assurance".to_owned(), ATTESTED.into());
    }
    if let Some(failure) = failure(state) {
        body.insert("failure".to_owned(), failure);
    }
    steps::insert(state, &mut body);
    if let Some(approval) = state.approval() {
        body.insert("approval".to_owned(), approval::shown(state, approval));
    }
    if !state.drift.is_empty() && state.status() == Status::Paused {
        body.insert("drift".to_owned(), json!(state.drift));
    }
    let decisions: Vec<Value> = state
        .decisions
        .iter()
        .rev()
        .take(DECISIONS)
        .rev()
        .map(|(approval, decision, by)| {
            json!({
                "approval_id": approval, "decision": decision, "approver": by.name,
                "assurance": by.assurance.word(), "account": by.account,
            })
        })
        .collect();
    if !decisions.is_empty() {
        body.insert("decisions".to_owned(), Value::Array(decisions));
    }
    if let Some(error) = &shown.stalled {
        body.insert("store_error".to_owned(), next::store_error(error));
    }
    let mut next = next::sentence(shown);
    let mut rest = Vec::new();
    let mut body = cut::clean(&Value::Object(body), limit::DISPLAY_CHARS);
    if !kept.is_empty() {
        let taken = cut::size(&body) + next.chars().count();
        let room = limit::ANSWER_CHARS
            .saturating_sub(taken + 1_000)
            .max(RESULTS);
        let (results, left) = results::shown(kept, room);
        body["results"] = results;
        if !left.is_empty() {
            body["results_left"] = left.len().into();
            next = format!("Call get_workflow_status for `results_left` more results. {next}");
        }
        rest = left;
    }
    body["next"] = guard::text::sanitize_to(&next, 1_000).into();
    (body, rest)
}

/// Whether the last decision is one that was recorded: one that found the plan to be another one
/// was not.
fn was_recorded(state: &State) -> bool {
    !state.decisions.is_empty() && state.drift.is_empty()
}

/// The word that tells an agent what came of its call.
fn outcome(status: Status) -> &'static str {
    match status {
        // The rollback goes on by itself, as running does.
        Status::RollingBack => "running",
        other => other.word(),
    }
}

fn residue(state: &State, body: &mut Map<String, Value>) {
    let residue = review::residue(state);
    if residue.is_empty() {
        return;
    }
    let total = residue.len();
    let rows = residue
        .iter()
        .map(|row| cut::clean(row, limit::DISPLAY_CHARS))
        .collect();
    let fitted = policy::answer::fit_rows(rows, RESIDUE);
    let more = total - fitted.rows.len();
    body.insert("residue".to_owned(), Value::Array(fitted.rows));
    if more > 0 {
        body.insert("residue_not_shown".to_owned(), more.into());
    }
}

/// The step that a rollback or the end came from.
fn failure(state: &State) -> Option<Value> {
    let failed = match (&state.rollback, state.status()) {
        (Some(RollbackCause::StepFailed { step }), _) => state.step(step),
        (_, Status::Failed) => state
            .definition
            .steps
            .iter()
            .zip(&state.steps)
            .find(|(_, step)| step.status == StepStatus::Failed),
        _ => None,
    };
    let (def, step) = failed?;
    let error = step.error.as_ref()?;
    Some(json!({"step": def.id, "code": error.code, "error": error.error}))
}
