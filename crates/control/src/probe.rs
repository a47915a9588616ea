//! After a lost answer: what came of a change, found out by reading over a new connection.
//!
//! The order is: the task, if one is known or found; what was made under the call's key; the state
//! that the change leads to. What none of them shows stays unknown: a change is never said to be
//! done, and never said not to be, because it was not seen.

use std::time::Duration;

use jiff::Timestamp;
use policy::answer::ErrorEffect;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use vsphere::{Client, MoRef, Outcome, PastTask, Session, Wait};

use crate::argument::Arguments;
use crate::call::{Call, Doubt, Sent};
use crate::change::{self, Done, Verify};
use crate::connection::{self, Connection, LoginGate};
use crate::failure::Failure;
use crate::pin::Pins;
use crate::program::server_id;
use crate::table::{Action, Effect, Risk, Run};
use crate::{fault, machine, made};

/// How much longer than its own deadline a call may take to find out.
const LONGER: Duration = Duration::from_secs(15);

/// How to connect anew.
pub(crate) struct Way<'a> {
    pub(crate) client: &'a Client,
    pub(crate) gate: &'a LoginGate,
    pub(crate) pins: &'a Pins,
    pub(crate) connection: &'a Connection,
}

/// A call whose answer was lost.
pub(crate) struct Lost<'a> {
    pub(crate) row: &'static Action,
    pub(crate) arguments: &'a Arguments,
    pub(crate) key: Option<&'a str>,
    pub(crate) deadline: Instant,
    /// Our user, in the server's own spelling.
    pub(crate) account: String,
    pub(crate) doubt: Doubt,
    /// How the answer was lost.
    pub(crate) failure: Failure,
}

/// What a look at the object shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// What the change leads to.
    After,
    /// What was before it.
    Before,
    /// Neither, or it cannot be told.
    Unclear,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::After => "after",
            State::Before => "before",
            State::Unclear => "unclear",
        }
    }
}

/// Connects once more, and finds out.
///
/// # Errors
///
/// The fault of a task that failed; `task.running` under a key; `vm.question`;
/// `vsphere.lost_answer` where nothing could be found out.
pub(crate) async fn find_out(
    way: &Way<'_>,
    lost: &Lost<'_>,
) -> Result<Map<String, Value>, Failure> {
    let left = lost.deadline.saturating_duration_since(Instant::now());
    let attempt = async {
        let opened = connection::open(way.client, way.gate, way.pins, way.connection).await;
        let (session, _) = match opened {
            Ok(opened) => opened,
            Err(failure) => {
                let found = json!({ "connection": failure.code() });
                return Err(unknown(lost, found));
            }
        };
        let result = look(way, lost, &session).await;
        // A failed logout is logged there; it does not change what was found.
        let _ = session.logout().await;
        result
    };
    match tokio::time::timeout(left + LONGER, attempt).await {
        Ok(result) => result,
        Err(_) => Err(unknown(lost, json!({ "connection": "call.timeout" }))),
    }
}

/// The failure if nothing could be found out.
fn unknown(lost: &Lost<'_>, found: Value) -> Failure {
    let failure = Failure::new(
        "vsphere.lost_answer",
        format!(
            "Look at the object before trying again: the answer to {} was lost, and whether it came about cannot be told",
            lost.doubt.method
        ),
    )
    .leaving(ErrorEffect::Unknown)
    .with("call", lost.doubt.method)
    .with("target", lost.doubt.plan.target.clone())
    .with(
        "cause",
        json!({ "code": lost.failure.code(), "error": lost.failure.message() }),
    )
    .with("found", found);
    match &lost.doubt.task {
        Some(task) => failure.with("task", guard::text::sanitize_to(task, 80)),
        None => failure,
    }
}

async fn look(
    way: &Way<'_>,
    lost: &Lost<'_>,
    session: &Session,
) -> Result<Map<String, Value>, Failure> {
    let sent = Sent::default();
    let call = Call {
        row: lost.row,
        arguments: lost.arguments,
        session,
        server: server_id(session.about(), way.connection),
        key: lost.key,
        is_repeated: false,
        expected_target: None,
        guest: None,
        deadline: lost.deadline,
        sent: &sent,
        progress: None,
    };
    let (task, tasks) = task(lost, session).await;
    if let Some(task) = task {
        let id = guard::text::sanitize_to(&task.id, 80);
        match follow(lost, &call, &task).await {
            Some(Outcome::Success(result)) => {
                let made = result.and_then(|value| value.as_moref());
                return Ok(done(lost, &call, "task", Some(id), made).await);
            }
            Some(Outcome::Failed(fault)) => {
                let failure = fault::refused(lost.doubt.method, &fault).with("task", id);
                return Err(match state(lost, &call).await {
                    State::Before => failure,
                    _ => failure.leaving(ErrorEffect::Unknown),
                });
            }
            Some(Outcome::Running(percent)) => {
                let failure = change::still_running(lost.doubt.method, &id, percent);
                return match lost.key {
                    Some(_) => Err(failure),
                    None => Ok(change::running(
                        lost.row.word,
                        lost.doubt.plan.clone(),
                        failure,
                    )),
                };
            }
            Some(Outcome::Question(question)) => {
                return Err(machine::asked(&question, ErrorEffect::Unknown).with("task", id));
            }
            Some(Outcome::Gone) | None => {}
        }
    }
    let bears_key = bears_key(lost);
    if let Some((name, key)) = &bears_key
        && let Ok(found) = made::with_key(&call, name, key).await
        && let Some(made) = found.into_iter().next()
    {
        return Ok(done(lost, &call, "key", None, Some(made)).await);
    }
    let state = state(lost, &call).await;
    // What others may have brought about as well is no proof of a deed that adds something each time;
    // and what bears a key is known by that alone.
    let is_under_key = lost.key.is_some() && bears_key.is_none();
    let tells = lost.row.effect == Effect::Idempotent || is_under_key;
    if state == State::After && tells {
        return Ok(done(lost, &call, "state", None, None).await);
    }
    let mut found = json!({ "state": state.word(), "tasks": tasks });
    if let Some(version) = version(lost, &call).await {
        found["change_version"] = version;
    }
    Err(unknown(lost, found))
}

/// The task: the one that was named, or the only one of this object that our user started with this
/// method since then. And how many there were of those.
async fn task(lost: &Lost<'_>, session: &Session) -> (Option<MoRef>, Value) {
    if let Some(id) = &lost.doubt.task {
        return (Some(MoRef::new("Task", id.as_str())), json!(1));
    }
    let (Some(about), Some(since)) = (&lost.doubt.about, &lost.doubt.since) else {
        return (None, Value::Null);
    };
    let Ok(all) = session.tasks_of(&about.object, since).await else {
        return (None, Value::Null);
    };
    let ours: Vec<&PastTask> = all
        .iter()
        .filter(|task| is_ours(task, lost, since))
        .collect();
    let only = match ours.as_slice() {
        [one] => one.task.clone(),
        // None was started, or it cannot be told which of them is ours.
        _ => None,
    };
    (only, json!(ours.len()))
}

fn is_ours(task: &PastTask, lost: &Lost<'_>, since: &str) -> bool {
    let times = (since.parse(), task.queue_time.parse());
    let (Ok(since), Ok(queued)): (Result<Timestamp, _>, Result<Timestamp, _>) = times else {
        return false;
    };
    queued >= since
        && !lost.account.is_empty()
        && task.user_name.eq_ignore_ascii_case(&lost.account)
        && is_by(task, lost.doubt.method)
}

/// Whether a task does what the method does: by the name of the method, else by what the server
/// calls it, as `VirtualMachine.powerOn` for `PowerOnVM_Task`.
fn is_by(task: &PastTask, method: &str) -> bool {
    if !task.method.is_empty() {
        return task.method.eq_ignore_ascii_case(method);
    }
    let plain = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.trim_end_matches("_task")
            .trim_end_matches("vm")
            .to_owned()
    };
    let called = task.description_id.rsplit('.').next().unwrap_or_default();
    let (called, method) = (plain(called), plain(method));
    !called.is_empty() && (method.starts_with(&called) || called.starts_with(&method))
}

async fn follow(lost: &Lost<'_>, call: &Call<'_>, task: &MoRef) -> Option<Outcome> {
    let vm = lost.doubt.about.as_ref().map(|about| about.object.clone());
    let wait = Wait {
        limit: if call.waits() {
            call.left()
        } else {
            Duration::ZERO
        },
        vm: vm.filter(|object| object.kind == machine::VM),
    };
    call.session.wait(task, &wait).await.ok()
}

/// The name and the key of the VM that the call makes, if it makes one under a key.
fn bears_key(lost: &Lost<'_>) -> Option<(String, String)> {
    let mut plan = lost.doubt.plan.clone();
    let undo = plan.undo.call_mut()?;
    let text = |name: &str| undo.get(name).and_then(Value::as_str).map(str::to_owned);
    Some((text("vm_name")?, text("vm_key")?))
}

/// What the read shows that tells whether the change is in effect.
async fn state(lost: &Lost<'_>, call: &Call<'_>) -> State {
    match &lost.doubt.plan.verify {
        Some(verify) => seen(verify, call).await.unwrap_or(State::Unclear),
        None => State::Unclear,
    }
}

async fn seen(verify: &Verify, call: &Call<'_>) -> Option<State> {
    let word = verify.arguments.get("action")?.as_str()?;
    let row = Action::find(word).filter(|row| row.risk == Risk::Read)?;
    let arguments = Arguments::read(row, verify.arguments.clone(), None).ok()?;
    let sent = Sent::default();
    let read = Call {
        row,
        arguments: &arguments,
        session: call.session,
        server: call.server.clone(),
        key: None,
        is_repeated: false,
        expected_target: None,
        guest: None,
        deadline: call.deadline,
        sent: &sent,
        progress: None,
    };
    let Run::Server(run) = row.run else {
        return None;
    };
    let answer = Value::Object(run(&read).await.ok()?);
    let holds = |expected: &Map<String, Value>| {
        !expected.is_empty()
            && expected
                .iter()
                .all(|(at, value)| answer.pointer(at) == Some(value))
    };
    Some(match (holds(&verify.after), holds(&verify.before)) {
        (true, false) => State::After,
        (false, true) => State::Before,
        _ => State::Unclear,
    })
}

/// The object's `changeVersion` before and now: where they differ, somebody changed it since.
async fn version(lost: &Lost<'_>, call: &Call<'_>) -> Option<Value> {
    let about = lost.doubt.about.as_ref()?;
    let before = about.change_version.as_deref()?;
    let paths = ["config.changeVersion"];
    let now = machine::look(call.session, &about.object, &paths).await?;
    let now = now.text(paths[0]).map(guard::text::sanitize);
    Some(json!({ "before": guard::text::sanitize(before), "now": now }))
}

/// The answer if it came about after all.
async fn done(
    lost: &Lost<'_>,
    call: &Call<'_>,
    by: &str,
    task: Option<String>,
    made: Option<MoRef>,
) -> Map<String, Value> {
    let mut plan = lost.doubt.plan.clone();
    let mut extra = Map::new();
    extra.insert(
        "lost_answer".to_owned(),
        json!({ "found_by": by, "cause": lost.failure.code() }),
    );
    let object = lost.doubt.about.as_ref().map(|about| &about.object);
    match made {
        Some(made) if made.kind == machine::VM && Some(&made) != object => {
            let vm = made::look_at(call, &made).await;
            if let Some(undo) = plan.undo.call_mut() {
                made::pinned(undo, &vm);
            }
            extra.insert("vm".to_owned(), Value::Object(vm));
        }
        Some(made) if made.kind == "VirtualMachineSnapshot" => {
            let id = json!(guard::text::sanitize_to(&made.id, 80));
            if let Some(undo) = plan.undo.call_mut() {
                // A name may be another's as well.
                undo.remove("snapshot_name");
                undo.remove("snapshot_key");
                undo.insert("snapshot_id".to_owned(), id.clone());
            }
            extra.insert("snapshot".to_owned(), id);
        }
        _ => {}
    }
    let done = Done {
        task,
        extra,
        ..Done::default()
    };
    change::answer(lost.row.word, plan, done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c9_a_task_is_known_by_its_method_or_by_what_the_server_calls_it() {
        let task = |method: &str, description_id: &str| PastTask {
            method: method.to_owned(),
            description_id: description_id.to_owned(),
            ..PastTask::default()
        };
        for (named, called, method, is) in [
            ("PowerOnVM_Task", "x", "PowerOnVM_Task", true),
            (
                "PowerOffVM_Task",
                "VirtualMachine.powerOn",
                "PowerOnVM_Task",
                false,
            ),
            ("", "VirtualMachine.powerOn", "PowerOnVM_Task", true),
            ("", "VirtualMachine.powerOff", "PowerOnVM_Task", false),
            ("", "VirtualMachine.reconfigure", "ReconfigVM_Task", true),
            (
                "",
                "VirtualMachine.removeAllSnapshots",
                "RemoveSnapshot_Task",
                false,
            ),
            ("", "", "PowerOnVM_Task", false),
        ] {
            assert_eq!(is_by(&task(named, called), method), is, "{named} {called}");
        }
    }
}
