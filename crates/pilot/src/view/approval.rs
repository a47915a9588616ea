//! The open question to a person.

use serde_json::{Map, Value, json};
use workflow::event::{Approval, Subject};
use workflow::model::StepId;
use workflow::review;
use workflow::state::{State, StepStatus};

use crate::{cut, moment};

/// How many steps are shown with an approval; `review_workflow` has all of them.
const STEPS: usize = 50;

/// How many characters they may take.
const ROOM: usize = 12_000;

/// How many characters the lines of the summary may take.
const LINES: usize = 12_000;

/// The approval, with all that a person needs to decide.
pub(super) fn shown(state: &State, approval: &Approval) -> Value {
    let mut body = Map::new();
    body.insert("id".to_owned(), json!(approval.id));
    body.insert("kind".to_owned(), approval.subject.word().into());
    body.insert("digest".to_owned(), json!(approval.digest));
    body.insert("expires_at".to_owned(), moment::shown(approval.expires_at));
    body.insert(
        "requested_at".to_owned(),
        moment::shown(approval.requested_at),
    );
    let about = about(state, &approval.subject);
    let total = about.len();
    let rows = about
        .iter()
        .take(STEPS)
        .map(|step| {
            cut::clean(
                &review::step_summary(state, step),
                guard::limit::DISPLAY_CHARS,
            )
        })
        .collect();
    let rows = policy::answer::fit_rows(rows, ROOM).rows;
    if rows.len() < total {
        body.insert("steps_not_shown".to_owned(), (total - rows.len()).into());
    }
    body.insert("steps".to_owned(), Value::Array(rows));
    body.insert(
        "summary".to_owned(),
        lines(review::approval_summary(state, &approval.subject)),
    );
    if !state.votes.is_empty() {
        let voters: Vec<&str> = state.votes.iter().map(|(by, _)| by.name.as_str()).collect();
        body.insert("approved_by".to_owned(), json!(voters));
        body.insert(
            "quorum".to_owned(),
            state.definition.approvers.quorum.into(),
        );
    }
    body.insert(
        "assurance".to_owned(),
        "a decision is recorded as `attested`: no operator is enrolled".into(),
    );
    Value::Object(body)
}

/// The steps that the question is about.
fn about<'a>(state: &'a State, subject: &'a Subject) -> Vec<&'a StepId> {
    match subject {
        Subject::Plan => state
            .definition
            .steps
            .iter()
            .zip(&state.steps)
            .filter(|(_, step)| step.is_open() || step.status == StepStatus::AwaitingApproval)
            .map(|(def, _)| &def.id)
            .collect(),
        Subject::Step { step } | Subject::Gate { step } | Subject::Resolution { step, .. } => {
            vec![step]
        }
        Subject::Rollback { order } => order.iter().collect(),
    }
}

/// The lines of a summary, as many as there is room for.
pub(crate) fn lines(lines: Vec<String>) -> Value {
    let total = lines.len();
    let rows = lines
        .iter()
        .map(|line| guard::text::sanitize(line).into())
        .collect();
    let mut rows = policy::answer::fit_rows(rows, LINES).rows;
    if rows.len() < total {
        let more = total - rows.len();
        rows.push(format!("… and {more} more lines (review_workflow shows all of it)").into());
    }
    Value::Array(rows)
}
