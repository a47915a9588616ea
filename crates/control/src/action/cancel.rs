//! cancel_task: a request to the server, and the wait for what becomes of it.

use serde_json::{Map, Value, json};
use vsphere::{MoRef, Outcome, Wait};

use super::history::{known_task, task_row};
use crate::call::Call;
use crate::change::{self, Deed, Done, Plan, Undo, Verify};
use crate::failure::Failure;
use crate::fault;
use crate::object::check_expected;
use policy::answer::ErrorEffect;

/// What a task that was cancelled ends with.
const CANCELLED: &str = "RequestCanceled";

/// Asks the task to stop.
pub(crate) async fn task(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let (task, info) = known_task(call).await?;
    let row = task_row(&info);
    let state = row["state"].as_str().unwrap_or("unknown").to_owned();
    let is_over = matches!(state.as_str(), "success" | "error");
    let target = json!({
        "server": call.server,
        "type": "Task",
        "moref": row["task"],
        "name": row["operation"],
        "path": "",
    });
    let id = row["task"].as_str().unwrap_or_default();
    check_expected(call, id, target.clone())?;
    let refusal = (row["cancelable"] == false && !is_over).then(|| {
        Failure::new(
            "task.not_cancelable",
            "Wait for its end, which `get_task` shows: the server says that this task cannot be cancelled",
        )
        .with("task", id)
    });
    let mut look = Map::new();
    look.insert("action".to_owned(), json!("get_task"));
    look.insert("task".to_owned(), json!(id));
    look.extend(crate::connection::same_way(call.arguments));
    let pointed = |at: &str, value: &str| Map::from_iter([(at.to_owned(), Value::from(value))]);
    let plan = Plan {
        target,
        changed: !is_over,
        before: ended(&state, None),
        after: if is_over {
            ended(&state, None)
        } else {
            ended("error", Some(CANCELLED))
        },
        undo: Undo::none("A cancelled task is not taken up again: what it has done stays"),
        verify: Some(Verify {
            arguments: look,
            before: pointed("/task/state", &state),
            // A task that failed for a reason of its own was not cancelled.
            after: pointed("/task/error/type", CANCELLED),
        }),
        warnings: vec![
            "A task that is cancelled leaves what it has done so far; the server may end it with success all the same".to_owned(),
        ],
        refusal,
        extra: Map::from_iter([("task_info".to_owned(), row)]),
    };
    change::carry_out(call, plan, Cancel { task }).await
}

fn ended(state: &str, error: Option<&str>) -> Map<String, Value> {
    let mut ended = Map::from_iter([("state".to_owned(), json!(state))]);
    if let Some(error) = error {
        ended.insert("error".to_owned(), json!(error));
    }
    ended
}

struct Cancel {
    task: MoRef,
}

impl Deed for Cancel {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        call.sent.change("CancelTask");
        if let Err(error) = call.session.cancel_task(&self.task).await {
            // It may have come to its end meanwhile: that is what the server objects to.
            if !error.is_fault("InvalidState") {
                return Err(change::not_started(call, error));
            }
        }
        let wait = Wait {
            limit: call.left(),
            vm: None,
        };
        let outcome = call.session.wait(&self.task, &wait).await;
        let outcome = outcome.map_err(|error| {
            call.sent.lost();
            fault::failure(error).leaving(ErrorEffect::Unknown)
        });
        match outcome? {
            Outcome::Failed(fault) if fault.kind == CANCELLED => Ok(Done::default()),
            Outcome::Success(_) => Ok(too_late(ended("success", None))),
            Outcome::Failed(fault) => {
                let kind = guard::text::sanitize_to(&fault.kind, 120);
                Ok(too_late(ended("error", Some(&kind))))
            }
            Outcome::Running(percent) => Err(Failure::new(
                "call.timeout",
                "Look again with `get_task`, or pass a longer `timeout_s`: the server was asked to cancel the task, and it is still at work",
            )
            .leaving(ErrorEffect::Unknown)
            .with("task", self.task.id.as_str())
            .with("progress", percent)),
            Outcome::Gone | Outcome::Question(_) => {
                Err(change::forgotten("the task", &self.task.id))
            }
        }
    }
}

/// The task ended by itself before the request took effect.
fn too_late(after: Map<String, Value>) -> Done {
    let extra = [
        ("changed".to_owned(), json!(false)),
        (
            "note".to_owned(),
            json!("It came to its end before the request took effect"),
        ),
    ];
    Done {
        after: Some(after),
        extra: Map::from_iter(extra),
        ..Done::default()
    }
}
