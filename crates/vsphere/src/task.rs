//! Waiting for the end of a task.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;
use crate::fault::Fault;
use crate::property::Object;
use crate::session::Session;
use crate::spec::FilterSpec;
use crate::transport::Deed;
use crate::value::{MoRef, Value};

/// The longest a server is asked to keep a request for updates open.
const LONGEST_POLL: Duration = Duration::from_secs(20);

/// How to wait for a task.
#[derive(Clone, Debug)]
pub struct Wait {
    /// How long at most.
    pub limit: Duration,
    /// The VM that the task is at work on: a question of it would hang the task for ever.
    pub vm: Option<MoRef>,
}

/// A question that a VM asks and that a person has to answer (`VirtualMachineQuestionInfo`), raw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its id, for the answer.
    pub id: String,
    /// What it asks.
    pub text: String,
    /// The keys and labels to choose from.
    pub choices: Vec<(String, String)>,
}

impl Question {
    /// From the value of `runtime.question`.
    pub fn from_value(value: &Value) -> Option<Self> {
        let text = |v: &Value, name: &str| v.text_at(name).unwrap_or_default().to_owned();
        value.get("id")?;
        let choices = value
            .at("choice")
            .into_iter()
            .flat_map(|c| c.all("choiceInfo"));
        Some(Self {
            id: text(value, "id"),
            text: text(value, "text"),
            choices: choices
                .map(|c| (text(c, "key"), text(c, "label")))
                .collect(),
        })
    }
}

/// How waiting for a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded; with its result, if it has one (a snapshot's reference).
    Success(Option<Value>),
    /// It failed, or was cancelled (`RequestCanceled`).
    Failed(Fault),
    /// The time is up and it is still at work: no failure. With its progress in percent, if known.
    Running(Option<i64>),
    /// The VM asks something; the task hangs until a person answers.
    Question(Question),
    /// The server no longer knows the task: it ended long ago, or the server was restarted.
    /// Whether it succeeded is to be found out from its effect.
    Gone,
}

/// What is known of the task so far.
#[derive(Default)]
struct Progress {
    state: String,
    percent: Option<i64>,
    error: Option<Fault>,
    result: Option<Value>,
    question: Option<Question>,
    /// The server told something about the task itself.
    seen: bool,
    gone: bool,
}

impl Progress {
    /// Takes over an `UpdateSet`.
    fn apply(&mut self, update: &Value, task: &MoRef) {
        for filter in update.all("filterSet") {
            for object in filter.all("objectSet") {
                let Some(reference) = object.get("obj").and_then(Value::as_moref) else {
                    continue;
                };
                if reference == *task {
                    self.seen = true;
                    self.gone |= object.text_at("kind") == Some("leave");
                }
                for change in object.all("changeSet") {
                    let name = change.text_at("name").unwrap_or_default();
                    self.change(name, change.get("val"));
                }
                self.missing(object.all("missingSet"), reference == *task);
            }
            for object in filter.all("missingObject") {
                self.gone |= object.get("obj").and_then(Value::as_moref).as_ref() == Some(task);
            }
        }
    }

    fn missing<'v>(&mut self, missing: impl Iterator<Item = &'v Value>, of_task: bool) {
        for entry in missing {
            let fault = entry
                .get("fault")
                .map(Fault::from_localized)
                .unwrap_or_default();
            self.gone |= of_task && fault.kind == "ManagedObjectNotFound";
        }
    }

    /// A change without a value unsets.
    fn change(&mut self, name: &str, value: Option<&Value>) {
        match name {
            "info.state" => self.state = value.map(|v| v.text().to_owned()).unwrap_or_default(),
            "info.progress" => self.percent = value.and_then(Value::as_i64),
            "info.error" => self.error = value.filter(|v| v.is_struct()).map(Fault::from_localized),
            "info.result" => self.result = value.cloned(),
            QUESTION => self.question = value.and_then(Question::from_value),
            _ => {}
        }
    }

    /// The end, if it is one. An unknown state is taken as still at work.
    fn end(&mut self) -> Option<Outcome> {
        match self.state.as_str() {
            "success" => Some(Outcome::Success(self.result.take())),
            "error" => Some(Outcome::Failed(self.error.take().unwrap_or_default())),
            _ if self.gone => Some(Outcome::Gone),
            _ => self.question.take().map(Outcome::Question),
        }
    }
}

const QUESTION: &str = "runtime.question";

const TASK_PATHS: &[&str] = &["info.state", "info.progress", "info.error", "info.result"];

impl Session {
    /// Waits until a task has ended, its VM asks something, or the time is up. Losing sight of
    /// the task once is no end: it is looked for again.
    ///
    /// # Errors
    /// [`Error::Wait`]: we lost sight of the task, which goes on on the server.
    pub async fn wait(&self, task: &MoRef, wait: &Wait) -> Result<Outcome, Error> {
        self.wait_telling(task, wait, &|_| {}).await
    }

    /// As [`Session::wait`]; `tell` is told the progress in percent, each time that the server says one.
    ///
    /// # Errors
    /// As [`Session::wait`].
    pub async fn wait_telling(
        &self,
        task: &MoRef,
        wait: &Wait,
        tell: &(dyn Fn(i64) + Send + Sync),
    ) -> Result<Outcome, Error> {
        let waited = self.wait_seeing(task, wait, &[], tell).await;
        waited.map(|(outcome, _)| outcome)
    }

    /// As [`Session::wait_telling`]; these properties of the VM are read along where that costs no
    /// call of its own, which is only if the task was found ended at the first look.
    ///
    /// # Errors
    /// As [`Session::wait`].
    pub async fn wait_seeing(
        &self,
        task: &MoRef,
        wait: &Wait,
        along: &[&str],
        tell: &(dyn Fn(i64) + Send + Sync),
    ) -> Result<(Outcome, Option<Object>), Error> {
        let until = Instant::now() + wait.limit;
        // What fails or comes too late decides nothing: it is watched then.
        if !wait.limit.is_zero()
            && let Ok(Ok(Some(end))) =
                tokio::time::timeout_at(until, self.glance(task, wait, along)).await
        {
            return Ok(end);
        }
        let outcome = match self.follow(task, wait, until, tell).await {
            // Watching changes nothing, so it can begin anew.
            Err(error) if error.fault().is_none() => {
                tracing::debug!(%error, "a task is looked for again");
                self.follow(task, wait, until, tell).await
            }
            other => other,
        };
        match outcome {
            Err(error) if error.is_fault("ManagedObjectNotFound") => Ok((Outcome::Gone, None)),
            other => other
                .map(|outcome| (outcome, None))
                .map_err(|source| Error::Wait {
                    task: task.clone(),
                    source: Box::new(source),
                }),
        }
    }

    /// Looks once: what is short has often ended by then, and needs no collector of its own. Nothing
    /// if it has not, or if the whole truth is not to be seen at one look.
    async fn glance(
        &self,
        task: &MoRef,
        wait: &Wait,
        along: &[&str],
    ) -> Result<Option<(Outcome, Option<Object>)>, Error> {
        // The task first: what is read of the VM after it is as the task left it.
        let mut specs = vec![FilterSpec::objects("Task", [task], TASK_PATHS)];
        if let Some(vm) = &wait.vm {
            let paths: Vec<&str> = along.iter().copied().chain([QUESTION]).collect();
            specs.push(FilterSpec::objects("VirtualMachine", [vm], &paths));
        }
        let (mut progress, mut vm) = (Progress::default(), None);
        for object in self.collect(&specs).await? {
            if object.reference != *task && wait.vm.as_ref() != Some(&object.reference) {
                continue;
            }
            for (path, value) in &object.properties {
                progress.change(path, Some(value));
            }
            if object.reference == *task {
                progress.seen = true;
            } else {
                vm = Some(object);
            }
        }
        if !progress.seen {
            return Ok(None);
        }
        Ok(match progress.end() {
            // Some servers report a state before the error that belongs to it.
            None => None,
            Some(Outcome::Failed(fault)) if fault == Fault::default() => None,
            Some(end) => Some((end, vm)),
        })
    }

    /// Watches the task with a collector of its own: one that is shared takes one waiter only.
    /// Nobody destroys it: the logout does, and a change that has ended should not wait for that.
    async fn follow(
        &self,
        task: &MoRef,
        wait: &Wait,
        until: Instant,
        tell: &(dyn Fn(i64) + Send + Sync),
    ) -> Result<Outcome, Error> {
        let parent = self.content().need("propertyCollector")?;
        let create = self.envelope("CreatePropertyCollector", &parent);
        let collector = self.call(create, Deed::Read).await?;
        let Some(collector) = collector.and_then(|v| v.as_moref()) else {
            return Err(Error::Malformed {
                call: "CreatePropertyCollector",
                reason: "it names no collector".into(),
                effect: crate::Effect::None,
            });
        };
        match self.watch(&collector, task, wait, until, tell).await? {
            // Some servers report a state before the error that belongs to it.
            Outcome::Failed(fault) if fault == Fault::default() => {
                let object = self.properties(task, &["info.error"]).await?;
                let error = object
                    .as_ref()
                    .and_then(|o| o.get("info.error"))
                    .map(Fault::from_localized);
                Ok(Outcome::Failed(error.unwrap_or_default()))
            }
            other => Ok(other),
        }
    }

    async fn watch(
        &self,
        collector: &MoRef,
        task: &MoRef,
        wait: &Wait,
        until: Instant,
        tell: &(dyn Fn(i64) + Send + Sync),
    ) -> Result<Outcome, Error> {
        let alone = FilterSpec::objects("Task", [task], TASK_PATHS);
        let watched = match &wait.vm {
            Some(vm) => {
                let asks = FilterSpec::objects("VirtualMachine", [vm], &[QUESTION]);
                self.watch_object(collector, &alone.clone().and(asks)).await
            }
            None => self.watch_object(collector, &alone).await,
        };
        match watched {
            // A deletion may be through already: then the task alone is left to be watched.
            Err(error) if wait.vm.is_some() && error.is_fault("ManagedObjectNotFound") => {
                self.watch_object(collector, &alone).await?;
            }
            other => other?,
        }
        let mut version = String::new();
        let mut progress = Progress::default();
        loop {
            // The half leaves the answer time to arrive.
            let most = LONGEST_POLL.min(self.http().timeout() / 2);
            let left = until.saturating_duration_since(Instant::now());
            let poll = most.min(left);
            let mut ask = self.envelope("WaitForUpdatesEx", collector);
            ask.text("version", &version);
            ask.open("options")
                .text("maxWaitSeconds", &whole_seconds(poll).to_string())
                .close("options");
            let update = match self.call(ask, Deed::Read).await {
                Ok(update) => update,
                Err(error) if error.is_fault("InvalidCollectorVersion") && !version.is_empty() => {
                    version.clear();
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut truncated = false;
            if let Some(update) = &update {
                let before = progress.percent;
                progress.apply(update, task);
                if let Some(percent) = progress.percent.filter(|now| Some(*now) != before) {
                    tell(percent);
                }
                update
                    .text_at("version")
                    .unwrap_or_default()
                    .clone_into(&mut version);
                truncated = update.get("truncated").and_then(Value::as_bool) == Some(true);
            }
            // Time is only up for a server that never comes to the end of what it has to say.
            if truncated && Instant::now() < until + most {
                continue;
            }
            // The first answer holds the present state of all that exists.
            progress.gone |= !progress.seen;
            if let Some(end) = progress.end() {
                return Ok(end);
            }
            if left.is_zero() {
                return Ok(Outcome::Running(progress.percent));
            }
        }
    }

    async fn watch_object(&self, collector: &MoRef, spec: &FilterSpec) -> Result<(), Error> {
        let mut create = self.envelope("CreateFilter", collector);
        spec.write(&mut create, "spec");
        create.flag("partialUpdates", false);
        self.call(create, Deed::Read).await.map(drop)
    }
}

/// Whole seconds, rounded up; 0 asks for what is known now.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
