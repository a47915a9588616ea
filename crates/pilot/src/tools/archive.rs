//! Putting old workflows away.

use engine::ports::Clock as _;
use engine::system::SystemClock;
use policy::answer::{Answer, Refusal};
use serde_json::{Value, json};

use crate::arguments::{Arguments, refusal};
use crate::desk::Context;
use crate::world::of_journal;

/// How old they are where a caller does not say, in days.
const DAYS: u64 = 365;

/// A day, in milliseconds.
const DAY: i64 = 24 * 3600 * 1000;

/// `archive_workflows`.
pub(super) async fn archive(context: &Context, arguments: &Arguments) -> Result<Answer, Refusal> {
    let least = u64::from(context.open.archive_after_days);
    let days = arguments
        .whole("older_than_days")
        .unwrap_or_else(|| DAYS.max(least));
    if days < least {
        return Err(refusal(
            "argument.out_of_range",
            format!(
                "Pass {least} or more as `older_than_days`: the operator lets no younger workflow \
                 be archived (`archive_after_days` in config.toml)"
            ),
        ));
    }
    let now = SystemClock.now();
    let age = i64::try_from(days).unwrap_or(i64::MAX).saturating_mul(DAY);
    let dry_run = arguments.flag("dry_run");
    let done = context
        .open
        .journal
        .archive(age, now, dry_run)
        .await
        .map_err(|e| of_journal(&e))?;
    let files: Vec<Value> = done
        .files
        .iter()
        .map(|made| {
            json!({
                "file": format!("archive/{}", made.file), "workflows": made.workflows,
                "events": made.events, "sha256": made.sha256,
            })
        })
        .collect();
    let next = match (dry_run, done.workflows) {
        (_, 0) => "Nothing is old enough to be archived.",
        (true, _) => "Nothing was moved. Call it without `dry_run` to archive them.",
        (false, _) => {
            "Keep a copy of the files elsewhere, with their SHA-256: get_audit_log with `verify` \
             checks them as long as they lie where they are."
        }
    };
    let mut body = json!({
        "dry_run": dry_run,
        "workflows": done.workflows,
        "events": done.events,
        "files": files,
        "next": next,
    });
    if !done.strays.is_empty() {
        body["strays"] = json!(done.strays);
    }
    if let Some(error) = &done.stopped_by {
        let stopped = of_journal(error);
        body["stopped_by"] = json!({"code": stopped.code(), "message": stopped.message()});
    }
    Ok(Answer::ok(body))
}
