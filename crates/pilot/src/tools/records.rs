//! The lists: workflows, and the audit trail.

use guard::limit;
use journal::TrailRow;
use policy::answer::{Answer, Refusal, fit_rows};
use serde_json::{Map, Value, json};
use workflow::model::WorkflowId;

use super::{bad_cursor, refused};
use crate::arguments::Arguments;
use crate::cut;
use crate::desk::Context;
use crate::moment;
use crate::world::of_journal;

/// How many characters the rows of a page may take.
const ROWS: usize = limit::ANSWER_CHARS - 2_000;

/// How many characters are shown of what one audit row stands for.
const PAYLOAD: usize = 1_500;

/// `list_workflows`.
pub(super) async fn list(context: &Context, arguments: &Arguments) -> Result<Answer, Refusal> {
    let states: Vec<String> = arguments
        .optional_text("state")
        .map(str::to_owned)
        .into_iter()
        .collect();
    let after = match arguments.optional_text("cursor") {
        None => None,
        Some(cursor) if cursor.starts_with("wf_") => Some(WorkflowId(cursor.to_owned())),
        Some(_) => return Err(bad_cursor()),
    };
    let limit = arguments.whole("limit").unwrap_or(20);
    // One more than is shown tells whether there are more.
    let wanted = u32::try_from(limit + 1).unwrap_or(u32::MAX);
    let (listed, total) = context
        .open
        .engine
        .list(states, after, wanted)
        .await
        .map_err(refused)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let found = listed.len();
    let last = |shown: usize| {
        listed
            .get(shown.wrapping_sub(1))
            .map(|l| l.workflow.0.clone())
    };
    let rows = listed.iter().take(limit).map(|listed| {
        let row = &listed.row;
        let mut out = Map::new();
        out.insert("workflow_id".to_owned(), json!(listed.workflow));
        out.insert("name".to_owned(), row.name.clone().into());
        out.insert("state".to_owned(), row.state.clone().into());
        if let Some(reason) = &row.reason {
            out.insert("reason".to_owned(), reason.clone().into());
        }
        out.insert("steps".to_owned(), row.steps.into());
        out.insert("settled".to_owned(), row.settled.into());
        out.insert("updated_at".to_owned(), moment::shown(row.updated_at));
        if let Some(approval) = &row.approval {
            out.insert(
                "approval".to_owned(),
                json!({
                    "id": approval, "expires_at": row.expires_at.map(moment::shown),
                }),
            );
        }
        Value::Object(out)
    });
    let rows = fit_rows(rows.collect(), ROWS).rows;
    let truncated = rows.len() < found;
    let next_cursor = if truncated { last(rows.len()) } else { None };
    Ok(Answer::ok(json!({
        "returned": rows.len(),
        "workflows": cut::clean(&Value::Array(rows), limit::DISPLAY_CHARS),
        "total": total,
        "truncated": truncated,
        "next_cursor": next_cursor,
    })))
}

/// `get_audit_log`.
pub(super) async fn audit(context: &Context, arguments: &Arguments) -> Result<Answer, Refusal> {
    let mut body = if arguments.flag("verify") {
        verify(context).await?
    } else {
        Map::new()
    };
    let after = match arguments.optional_text("cursor") {
        None => 0,
        Some(cursor) => cursor.parse().map_err(|_| bad_cursor())?,
    };
    let workflow = arguments
        .optional_text("workflow_id")
        .map(|id| WorkflowId(id.to_owned()));
    let limit = arguments.whole("limit").unwrap_or(50);
    // One more than is shown tells whether there are more.
    let wanted = u32::try_from(limit + 1).unwrap_or(u32::MAX);
    let found = context
        .open
        .journal
        .audit(after, workflow, wanted)
        .await
        .map_err(|e| of_journal(&e))?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // Not here, where others wait for their turn: also to let go of what is large takes its time.
    let page = tokio::task::spawn_blocking(move || page(&found, limit));
    let (rows, truncated, last) = page.await.map_err(|_| {
        Refusal::new(
            "internal.panic",
            "Report this: a row of the audit trail could not be shown in a way that should not happen",
        )
    })?;
    body.insert("returned".to_owned(), rows.len().into());
    body.insert("rows".to_owned(), rows.into());
    body.insert("truncated".to_owned(), truncated.into());
    body.insert("next_cursor".to_owned(), json!(last.filter(|_| truncated)));
    Ok(Answer::ok(Value::Object(body)))
}

/// The rows that fit into an answer, whether there are more, and the number of the last one.
fn page(found: &[TrailRow], limit: usize) -> (Vec<Value>, bool, Option<String>) {
    let rows = fit_rows(found.iter().take(limit).map(row).collect(), ROWS).rows;
    let truncated = rows.len() < found.len();
    let last = found
        .get(rows.len().wrapping_sub(1))
        .map(|row| row.row.seq.to_string());
    (rows, truncated, last)
}

fn row(trail: &TrailRow) -> Value {
    let entry = &trail.row.entry;
    let (payload, cut_short) = match &trail.payload {
        None => (
            json!(trail.archived_in.as_ref().map_or_else(
                || "it is not there: call get_audit_log with `verify`".to_owned(),
                |file| format!("it was archived: archive/{file}"),
            )),
            false,
        ),
        Some(payload) => {
            // The event that made a long workflow is megabytes large.
            let (rough, roughly_cut) = cut::roughly(payload, PAYLOAD);
            let clean = cut::clean(&guard::secret::redact(&rough), limit::DISPLAY_CHARS);
            let cut = cut::to(clean, PAYLOAD);
            (cut.value, roughly_cut || !cut.left_out.is_empty())
        }
    };
    let mut out = Map::new();
    out.insert("seq".to_owned(), trail.row.seq.into());
    out.insert("at".to_owned(), format!("{:.6}", entry.at).into());
    out.insert("actor".to_owned(), entry.actor.clone().into());
    out.insert("kind".to_owned(), entry.kind.clone().into());
    if let Some(workflow) = &entry.workflow {
        out.insert("workflow".to_owned(), workflow.clone().into());
    }
    out.insert("payload".to_owned(), payload);
    if cut_short {
        out.insert("payload_truncated".to_owned(), true.into());
    }
    out.insert("hash".to_owned(), trail.row.hash.clone().into());
    Value::Object(out)
}

/// Whether the trail is whole, as the first fields of the answer.
async fn verify(context: &Context) -> Result<Map<String, Value>, Refusal> {
    let found = context
        .open
        .journal
        .verify()
        .await
        .map_err(|e| of_journal(&e))?;
    let mut body = Map::new();
    body.insert("verified".to_owned(), found.broken.is_none().into());
    body.insert("checked".to_owned(), found.rows.into());
    body.insert("events".to_owned(), found.events.into());
    body.insert("calls".to_owned(), found.calls.into());
    let mut next = match &found.broken {
        None => "Note `head` down elsewhere: it shows later that nothing was cut off the end.",
        Some(_) => "Tell the operator: from the row in `broken` on, the trail cannot be trusted.",
    };
    if found.archives > 0 {
        let archives = archives(context).await?;
        if archives.iter().any(|archive| archive["verified"] == false) {
            body.insert("verified".to_owned(), false.into());
            next = "Tell the operator: what `archives` says of a file that is not verified.";
        }
        body.insert("archived".to_owned(), found.archived.into());
        body.insert("archives".to_owned(), archives.into());
    }
    body.insert(
        "head".to_owned(),
        json!({"seq": found.head.seq, "hash": found.head.hash}),
    );
    if let Some(broken) = found.broken {
        body.insert(
            "broken".to_owned(),
            json!({
                "seq": broken.seq,
                "why": guard::text::sanitize(&broken.why),
            }),
        );
    }
    body.insert("next".to_owned(), next.into());
    Ok(body)
}

/// What each archive looks like: whole, or what is wrong with it.
async fn archives(context: &Context) -> Result<Vec<Value>, Refusal> {
    let journal = &context.open.journal;
    let known = journal.archives().await.map_err(|e| of_journal(&e))?;
    let mut rows = Vec::with_capacity(known.len());
    for archive in known {
        let mut row = json!({
            "file": format!("archive/{}", archive.file), "workflows": archive.workflows,
            "events": archive.events, "sha256": archive.sha256, "verified": true,
        });
        if let Err(error) = journal.verify_archive(&archive.file).await {
            row["verified"] = false.into();
            row["code"] = error.code().into();
            row["why"] = guard::text::sanitize(&error.to_string()).into();
        }
        rows.push(row);
    }
    Ok(fit_rows(rows, ROWS / 2).rows)
}
