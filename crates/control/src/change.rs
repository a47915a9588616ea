//! What every change has in common: it is planned by reading, shown as a preview or
//! carried out, and answered with its before, its after and its undo.

use serde_json::{Map, Value, json};
use vsphere::{Error, MoRef, Object, Outcome};

use crate::argument::Arguments;
use crate::call::Call;
use crate::failure::Failure;
use crate::table::{Action, Needs};
use crate::{action, fault, machine};
use policy::answer::ErrorEffect;

/// How much of what was before an undo brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UndoKind {
    /// All of it.
    Exact,
    /// Not all of it.
    Lossy,
    /// All of it, if a condition holds.
    Conditional,
    /// There is no undo.
    None,
}

impl UndoKind {
    fn word(self) -> &'static str {
        match self {
            UndoKind::Exact => "exact",
            UndoKind::Lossy => "lossy",
            UndoKind::Conditional => "conditional",
            UndoKind::None => "none",
        }
    }
}

/// The inverse of a change: a call of this same tool.
#[derive(Debug, Clone)]
pub(crate) struct Undo {
    call: Option<Map<String, Value>>,
    kind: UndoKind,
    note: Option<&'static str>,
}

impl Undo {
    /// An inverse that brings everything back.
    pub(crate) fn exact(call: Map<String, Value>) -> Self {
        Self {
            call: Some(call),
            kind: UndoKind::Exact,
            note: None,
        }
    }

    /// An inverse that does not bring everything back, and what it does not.
    pub(crate) fn lossy(call: Map<String, Value>, note: &'static str) -> Self {
        Self {
            call: Some(call),
            kind: UndoKind::Lossy,
            note: Some(note),
        }
    }

    /// An inverse that works on a condition.
    pub(crate) fn conditional(call: Map<String, Value>, note: &'static str) -> Self {
        Self {
            call: Some(call),
            kind: UndoKind::Conditional,
            note: Some(note),
        }
    }

    /// No inverse, and why.
    pub(crate) fn none(note: &'static str) -> Self {
        Self {
            call: None,
            kind: UndoKind::None,
            note: Some(note),
        }
    }

    /// An inverse that the answer will name: before the change it has nothing to name.
    pub(crate) fn later(note: &'static str) -> Self {
        Self {
            call: None,
            kind: UndoKind::Conditional,
            note: Some(note),
        }
    }

    fn nothing_to_undo() -> Self {
        Self {
            call: None,
            kind: UndoKind::None,
            note: None,
        }
    }

    /// The call, to be made more exact.
    pub(crate) fn call_mut(&mut self) -> Option<&mut Map<String, Value>> {
        self.call.as_mut()
    }

    fn write(self, action: &str, answer: &mut Map<String, Value>) {
        debug_assert!(
            self.call
                .as_ref()
                .is_none_or(|call| is_lawful(action, call)),
            "the undo of {action} is no call of this table: {:?}",
            self.call
        );
        answer.insert(
            "undo".to_owned(),
            self.call.map_or(Value::Null, Value::Object),
        );
        answer.insert("undo_kind".to_owned(), json!(self.kind.word()));
        if let Some(note) = self.note {
            answer.insert("undo_note".to_owned(), json!(note));
        }
    }
}

/// Whether an undo is one of those that its action declares, with arguments that would pass.
fn is_lawful(action: &str, undo: &Map<String, Value>) -> bool {
    let word = undo.get("action").and_then(Value::as_str).unwrap_or("");
    let (Some(row), Some(inverse)) = (Action::find(action), Action::find(word)) else {
        return false;
    };
    let Ok(arguments) = Arguments::read(inverse, undo.clone(), None) else {
        return false;
    };
    let names_it =
        inverse.needs != Needs::Machine || machine::missing_identifier(&arguments).is_none();
    row.undo.contains(&inverse.word) && names_it && action::check(inverse, &arguments).is_ok()
}

/// A read that tells whether the change is in effect: pointers into its answer, and the
/// values there before and after.
#[derive(Debug, Clone)]
pub(crate) struct Verify {
    pub(crate) arguments: Map<String, Value>,
    pub(crate) before: Map<String, Value>,
    pub(crate) after: Map<String, Value>,
}

/// What a change would do, found out by reading alone.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) target: Value,
    /// Whether anything would be changed at all.
    pub(crate) changed: bool,
    pub(crate) before: Map<String, Value>,
    pub(crate) after: Map<String, Value>,
    pub(crate) undo: Undo,
    pub(crate) verify: Option<Verify>,
    pub(crate) warnings: Vec<String>,
    /// Why it would not be sent now. An earlier step may remove the reason, so a preview
    /// only warns of it.
    pub(crate) refusal: Option<Failure>,
    /// The action's own fields.
    pub(crate) extra: Map<String, Value>,
}

/// What came of a change that was carried out.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// It was so already when the change arrived: someone else, or an earlier attempt, was faster.
    pub(crate) already: bool,
    /// The values afterwards, as read; without them those of the plan.
    pub(crate) after: Option<Map<String, Value>>,
    /// The server's task.
    pub(crate) task: Option<String>,
    /// The undo, where it is known only now.
    pub(crate) undo: Option<Undo>,
    /// The action's own fields.
    pub(crate) extra: Map<String, Value>,
}

/// A change that has been planned and can be carried out.
pub(crate) trait Deed {
    /// Carries it out.
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure>;
}

/// Shows the plan, or carries it out.
pub(crate) async fn carry_out(
    call: &Call<'_>,
    plan: Plan,
    deed: impl Deed,
) -> Result<Map<String, Value>, Failure> {
    if call.is_preview() {
        return Ok(preview(call.row.word, plan));
    }
    if !plan.changed {
        return Ok(already(call, plan));
    }
    if let Some(refusal) = plan.refusal {
        return Err(refusal);
    }
    call.sent.planned(&plan, since(call).await);
    let done = match deed.perform(call).await {
        Err(failure) if failure.code() == RUNNING && call.key.is_none() => {
            return Ok(running(call.row.word, plan, failure));
        }
        other => other?,
    };
    if done.already {
        return Ok(already(call, plan));
    }
    Ok(answer(call.row.word, plan, done))
}

/// The server's clock before the change: as it was at the login, which is free, else as it is now.
async fn since(call: &Call<'_>) -> Option<String> {
    let login = &call.session.user().login_time;
    if !login.is_empty() {
        return Some(login.clone());
    }
    // Without it a lost answer is looked for in other ways.
    call.session.current_time().await.ok()
}

/// The code of a task that goes on when the call ends.
pub(crate) const RUNNING: &str = "task.running";

/// The failure that stands for it. Only a call without a key is answered that nothing is wrong:
/// whoever calls under a key would take any success for the end.
pub(crate) fn still_running(method: &str, task: &str, percent: Option<i64>) -> Failure {
    Failure::new(
        RUNNING,
        format!("Look at the task `{task}` later, or wait longer with `timeout_s`: the server is still at work on {method}, and goes on"),
    )
    .leaving(ErrorEffect::Unknown)
    .with("outcome", "running")
    .with("call", method)
    .with("task", task)
    .with("progress", percent)
}

/// The answer while the task goes on: no success, and no error.
pub(crate) fn running(action: &str, plan: Plan, failure: Failure) -> Map<String, Value> {
    let said = policy::answer::Answer::refusal(failure.into()).into_value();
    let mut answer = Map::new();
    answer.insert("action".to_owned(), json!(action));
    for name in ["outcome", "effect", "call", "task", "progress"] {
        answer.insert(name.to_owned(), said[name].clone());
    }
    answer.insert("note".to_owned(), said["error"].clone());
    answer.insert("target".to_owned(), plan.target);
    answer.insert("before".to_owned(), Value::Object(plan.before));
    answer.insert("wanted".to_owned(), Value::Object(plan.after));
    plan.undo.write(action, &mut answer);
    if !plan.warnings.is_empty() {
        answer.insert("warnings".to_owned(), json!(plan.warnings));
    }
    answer
}

/// The answer if there was nothing left to do.
fn already(call: &Call<'_>, plan: Plan) -> Map<String, Value> {
    if call.is_repeated {
        return found_done(call.row.word, plan.target, plan.after);
    }
    let before = plan.after.clone();
    unchanged(call.row.word, Plan { before, ..plan })
}

/// The answer to a repeated attempt that finds everything done. Who prepared the deed had seen that
/// something was to be changed, so it was not nothing: the attempt before may have done it.
pub(crate) fn found_done(
    action: &str,
    target: Value,
    after: Map<String, Value>,
) -> Map<String, Value> {
    let mut answer = Map::new();
    answer.insert("action".to_owned(), json!(action));
    answer.insert("changed".to_owned(), json!(true));
    answer.insert("found_done".to_owned(), json!(true));
    answer.insert("target".to_owned(), target);
    answer.insert("before".to_owned(), json!({}));
    answer.insert("after".to_owned(), Value::Object(after));
    Undo::none(
        "An attempt before this one may have done it: its undo is the one that was prepared",
    )
    .write(action, &mut answer);
    answer
}

/// The answer to `preview: true`.
pub(crate) fn preview(action: &str, plan: Plan) -> Map<String, Value> {
    let mut warnings = plan.warnings;
    if let Some(refusal) = plan.refusal.filter(|_| plan.changed) {
        warnings.insert(0, format!("It would be refused now: {}", refusal.message()));
    }
    let undo = if plan.changed {
        plan.undo
    } else {
        Undo::nothing_to_undo()
    };
    let verify = plan
        .verify
        .filter(|verify| plan.changed && verify.before != verify.after);
    let mut answer = Map::new();
    answer.insert("preview".to_owned(), json!(true));
    answer.insert("action".to_owned(), json!(action));
    answer.insert("changed".to_owned(), json!(plan.changed));
    answer.insert("target".to_owned(), plan.target);
    answer.insert("before".to_owned(), Value::Object(plan.before));
    answer.insert("after".to_owned(), Value::Object(plan.after));
    undo.write(action, &mut answer);
    answer.insert(
        "verify".to_owned(),
        verify.map_or(Value::Null, |verify| {
            json!({ "arguments": verify.arguments, "before": verify.before, "after": verify.after })
        }),
    );
    answer.insert("warnings".to_owned(), json!(warnings));
    answer.extend(plan.extra);
    answer
}

/// Says in a preview that the change would be refused now.
pub(crate) fn warn_of(preview: &mut Map<String, Value>, refusal: &Failure) {
    let warning = json!(format!("It would be refused now: {}", refusal.message()));
    match preview.get_mut("warnings") {
        Some(Value::Array(warnings)) => warnings.insert(0, warning),
        _ => {
            preview.insert("warnings".to_owned(), json!([warning]));
        }
    }
}

/// The answer if everything was already as asked for.
pub(crate) fn unchanged(action: &str, plan: Plan) -> Map<String, Value> {
    let mut answer = Map::new();
    answer.insert("action".to_owned(), json!(action));
    answer.insert("changed".to_owned(), json!(false));
    answer.insert("target".to_owned(), plan.target);
    answer.insert("before".to_owned(), Value::Object(plan.before.clone()));
    answer.insert("after".to_owned(), Value::Object(plan.before));
    Undo::nothing_to_undo().write(action, &mut answer);
    answer.extend(plan.extra);
    answer
}

/// The answer after a change.
pub(crate) fn answer(action: &str, plan: Plan, done: Done) -> Map<String, Value> {
    let mut answer = Map::new();
    answer.insert("action".to_owned(), json!(action));
    answer.insert("changed".to_owned(), json!(true));
    answer.insert("target".to_owned(), plan.target);
    answer.insert("before".to_owned(), Value::Object(plan.before));
    answer.insert(
        "after".to_owned(),
        Value::Object(done.after.unwrap_or(plan.after)),
    );
    done.undo.unwrap_or(plan.undo).write(action, &mut answer);
    if let Some(task) = done.task {
        answer.insert("task".to_owned(), json!(task));
    }
    if !plan.warnings.is_empty() {
        answer.insert("warnings".to_owned(), json!(plan.warnings));
    }
    answer.extend(plan.extra);
    answer.extend(done.extra);
    answer
}

/// How a task ended that did not fail.
#[derive(Debug)]
pub(crate) enum Ended {
    /// With success, and its result.
    Success(Option<vsphere::Value>),
    /// The server has forgotten it: its effect has to be looked at.
    Forgotten,
}

/// Sends a change that starts a task, and waits for the task's end.
///
/// # Errors
///
/// The server's own fault, effect `none`; `vm.question` and a lost connection,
/// effect `unknown`, with the task's id; `task.running`, which [`carry_out`] answers.
pub(crate) async fn through_task(
    call: &Call<'_>,
    method: &'static str,
    machine: &MoRef,
    start: impl Future<Output = Result<MoRef, Error>>,
) -> Result<(Ended, String), Failure> {
    let (ended, id, _) = through_task_seeing(call, method, machine, &[], start).await?;
    Ok((ended, id))
}

/// As [`through_task`]; these properties of the machine come along where they cost no call of their
/// own.
///
/// # Errors
///
/// As [`through_task`].
pub(crate) async fn through_task_seeing(
    call: &Call<'_>,
    method: &'static str,
    machine: &MoRef,
    along: &[&str],
    start: impl Future<Output = Result<MoRef, Error>>,
) -> Result<(Ended, String, Option<Object>), Failure> {
    debug_assert!(
        call.row.api.contains(&method),
        "{method} is not in the row of {}",
        call.row.word
    );
    call.sent.change(method);
    let task = start.await.map_err(|error| not_started(call, error))?;
    call.sent.task(method, &task);
    let id = guard::text::sanitize_to(&task.id, 80);
    if !call.waits() {
        return Err(still_running(method, &id, None));
    }
    let wait = vsphere::Wait {
        limit: call.left(),
        // Only a VM asks questions.
        vm: (machine.kind == machine::VM).then(|| machine.clone()),
    };
    let tell = |percent| call.tell(percent);
    let waited = call.session.wait_seeing(&task, &wait, along, &tell).await;
    let (outcome, seen) = match waited {
        Ok(waited) => waited,
        Err(error) => {
            call.sent.lost();
            return Err(fault::failure(error).leaving(ErrorEffect::Unknown));
        }
    };
    match outcome {
        Outcome::Success(result) => Ok((Ended::Success(result), id, seen)),
        Outcome::Gone => Ok((Ended::Forgotten, id, None)),
        Outcome::Failed(fault) => {
            call.sent.refused();
            Err(perhaps_our_own(call, fault::refused(method, &fault)).with("task", id))
        }
        Outcome::Running(percent) => Err(still_running(method, &id, percent)),
        Outcome::Question(question) => {
            Err(machine::asked(&question, ErrorEffect::Unknown).with("task", id))
        }
    }
}

/// Sends a change that is done when it is answered.
///
/// # Errors
///
/// The server's own fault, effect `none`; a lost connection, effect `unknown`.
pub(crate) async fn at_once(
    call: &Call<'_>,
    method: &'static str,
    asked: impl Future<Output = Result<(), Error>>,
) -> Result<(), Failure> {
    debug_assert!(
        call.row.api.contains(&method),
        "{method} is not in the row of {}",
        call.row.word
    );
    call.sent.change(method);
    asked.await.map_err(|error| not_started(call, error))
}

/// The failure for a change that the server did not take.
pub(crate) fn not_started(call: &Call<'_>, error: Error) -> Failure {
    match error.effect() {
        vsphere::Effect::None => call.sent.refused(),
        vsphere::Effect::Unknown => call.sent.lost(),
    }
    perhaps_our_own(call, fault::failure(error))
}

/// A repeated attempt that is in the way of another change is perhaps in the way of the attempt
/// before it: then something is being changed after all.
fn perhaps_our_own(call: &Call<'_>, failure: Failure) -> Failure {
    let in_the_way = ["vsphere.busy", "vsphere.concurrent_access"].contains(&failure.code());
    if call.is_repeated && in_the_way && failure.effect() == ErrorEffect::None {
        failure.leaving(ErrorEffect::Unknown)
    } else {
        failure
    }
}

/// The failure for a task that the server has forgotten, and whose effect is not there.
pub(crate) fn forgotten(method: &str, task: &str) -> Failure {
    Failure::new(
        "task.lost",
        format!("Look at the object: the server no longer knows how {method} ended, and its effect is not to be seen"),
    )
    .leaving(ErrorEffect::Unknown)
    .with("task", task)
}
