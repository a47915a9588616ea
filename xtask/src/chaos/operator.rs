//! An operator who drives a workflow to its rest, and always tells the truth.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::Tally;
use super::plan::Plan;
use super::stage::Stage;
use crate::mcp::{Answer, Client};

/// Far more turns than any workflow of the chaos needs.
const MOST: usize = 150;
/// How long it may take until a connection is seen to be over.
const GONE: Duration = Duration::from_secs(5);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(5);
/// The name that goes with the decisions.
pub(super) const NAME: &str = "ann";

/// Refusals that say no more than that somebody else was first, or is at work.
const LATE: &[&str] = &[
    "approval.void",
    "step.not_unknown",
    "workflow.busy",
    "workflow.ended",
    "workflow.held",
    "workflow.not_paused",
    "workflow.not_pending",
    "workflow.not_undoable",
    "workflow.nothing_to_undo",
    "workflow.rolling_back",
];

/// What came of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Went {
    /// The workflow is at rest.
    Rest,
    /// The server is gone.
    Gone,
}

/// One workflow, and what was acknowledged of it.
pub(super) struct Job {
    pub(super) plan: Plan,
    /// Once it was acknowledged.
    pub(super) id: Option<String>,
    /// The last answer that shows it.
    pub(super) last: Value,
    /// Approvals whose answer came.
    pub(super) approved: Vec<String>,
    /// Steps that an answer showed as done.
    pub(super) done: BTreeSet<String>,
    /// Steps whose resolution was acknowledged.
    pub(super) resolved: Vec<String>,
    /// A rollback that failed was tried once more.
    retried: bool,
    /// Companions are being killed: that one cannot be reached is no surprise.
    pub(super) lenient: bool,
}

impl Job {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            id: None,
            last: Value::Null,
            approved: Vec::new(),
            done: BTreeSet::new(),
            resolved: Vec::new(),
            retried: false,
            lenient: false,
        }
    }

    /// Its id.
    pub(super) fn id(&self) -> Result<&str> {
        self.id.as_deref().context("it was never created")
    }

    /// What the last answer says of the whole.
    pub(super) fn outcome(&self) -> &str {
        self.last["outcome"].as_str().unwrap_or_default()
    }

    /// Whether the last answer shows it at rest.
    pub(super) fn at_rest(&self) -> bool {
        matches!(
            self.outcome(),
            "completed" | "failed" | "cancelled" | "rolled_back" | "rollback_failed"
        )
    }

    /// Creates it, if that was not acknowledged yet.
    pub(super) async fn create(&mut self, client: &Client, tally: &mut Tally) -> Result<Went> {
        if self.id.is_some() {
            return Ok(Went::Rest);
        }
        let Some(made) = call(client, "create_workflow", self.plan.definition()).await? else {
            return Ok(Went::Gone);
        };
        if made.failed && self.lenient && unreachable(&made.value) {
            return Ok(Went::Gone);
        }
        ensure!(!made.failed, "`create_workflow` refused: {}", made.value);
        let id = made.value["workflow_id"].as_str().context("no id")?;
        self.id = Some(id.to_owned());
        tally.workflows += 1;
        Ok(Went::Rest)
    }

    /// Calls a tool about it. `None`: the server is gone. False: it was refused, since somebody
    /// else was first; the last answer is what the status says then.
    pub(super) async fn ask(
        &mut self,
        client: &Client,
        tool: &str,
        mut more: Value,
    ) -> Result<Option<bool>> {
        more["workflow_id"] = self.id()?.into();
        let Some(answer) = call(client, tool, more.clone()).await? else {
            return Ok(None);
        };
        if !answer.failed {
            // Where the world had changed meanwhile, it was answered and not recorded, which it says.
            let id = &more["approval_id"];
            let mut decisions = answer.value["decisions"].as_array().into_iter().flatten();
            if tool == "approve" && decisions.any(|decision| decision["approval_id"] == *id) {
                self.approved.extend(id.as_str().map(str::to_owned));
            }
            self.hear(answer.value);
            return Ok(Some(true));
        }
        let code = answer.value["code"].as_str().unwrap_or_default();
        let expected = code == "step.still_unknown"
            || LATE.contains(&code)
            || (self.lenient && unreachable(&answer.value));
        if !expected {
            bail!("`{tool}` refused in `{}`: {}", self.outcome(), answer.value);
        }
        let look = json!({"workflow_id": self.id()?, "wait_seconds": u8::from(!self.lenient)});
        let Some(now) = call(client, "get_workflow_status", look).await? else {
            return Ok(None);
        };
        ensure!(!now.failed, "the status was refused: {}", now.value);
        self.hear(now.value);
        Ok(Some(false))
    }

    fn hear(&mut self, answer: Value) {
        for step in answer["steps"].as_array().into_iter().flatten() {
            if step["state"] == "succeeded" {
                self.done.extend(step["id"].as_str().map(str::to_owned));
            }
        }
        self.last = answer;
    }

    /// The arguments of a decision on what is open.
    pub(super) fn decision(&self) -> Value {
        let open = &self.last["approval"];
        let mut decision = json!({"approval_id": open["id"], "approver": NAME, "wait_seconds": 5});
        let mut named = self.plan.to_be_named();
        let rows = self.last["steps"].as_array();
        // One whose turn has come cannot be named any more.
        named.retain(|step| {
            let mut rows = rows.into_iter().flatten();
            rows.any(|row| row["id"] == *step && row["state"] == "pending")
        });
        if open["kind"] == "plan" && !named.is_empty() {
            decision["steps"] = named.into();
        }
        decision
    }

    /// Drives it to its rest: approves what is asked, looks where something is unknown, and says
    /// what is there.
    pub(super) async fn drive(
        &mut self,
        client: &Client,
        stage: &Stage,
        tally: &mut Tally,
    ) -> Result<Went> {
        if self.create(client, tally).await? == Went::Gone {
            return Ok(Went::Gone);
        }
        let wait = || json!({"wait_seconds": 5});
        let mut told = self.ask(client, "get_workflow_status", json!({})).await?;
        for _ in 0..MOST {
            if told.is_none() {
                return Ok(Went::Gone);
            }
            told = match self.outcome() {
                "pending" | "running" => self.ask(client, "run_workflow", wait()).await?,
                "awaiting_approval" => {
                    let decision = self.decision();
                    self.ask(client, "approve", decision).await?
                }
                "paused" => self.go_on(client, stage, tally).await?,
                "rollback_failed" if !self.retried => {
                    self.retried = true;
                    self.ask(client, "rollback", wait()).await?
                }
                _ if self.at_rest() => return Ok(Went::Rest),
                other => bail!("no such outcome: `{other}` in {}", self.last),
            };
        }
        bail!("after {MOST} turns it does not rest: {}", self.last)
    }

    /// Lets a paused workflow go on; what nothing can tell is looked at first.
    pub(super) async fn go_on(
        &mut self,
        client: &Client,
        stage: &Stage,
        tally: &mut Tally,
    ) -> Result<Option<bool>> {
        let wait = json!({"wait_seconds": 5});
        if self.last["reason"] == "store" {
            return self.ask(client, "run_workflow", wait).await;
        }
        let told = self.ask(client, "resume_workflow", wait).await?;
        if told != Some(false) || self.outcome() != "paused" {
            return Ok(told);
        }
        let unknown: Vec<String> = self.last["steps"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|step| step["state"] == "unknown")
            .filter_map(|step| Some(step["id"].as_str()?.to_owned()))
            .collect();
        for step in unknown {
            let meant = self.plan.steps().find(|meant| meant.id == step);
            let meant = meant.context("a step that nobody asked for")?;
            let happened = stage.in_effect(self.id()?, &self.plan, meant).await?;
            let said =
                json!({"step": step, "happened": happened, "note": "seen", "approver": NAME});
            match self.ask(client, "resolve_step", said).await? {
                None => return Ok(None),
                Some(true) => {
                    self.resolved.push(step);
                    tally.resolved += 1;
                }
                Some(false) => {}
            }
        }
        Ok(Some(true))
    }
}

/// Whether a refusal says that a companion could not be reached.
fn unreachable(refusal: &Value) -> bool {
    ["companion.unavailable", "companion.lost"].contains(&refusal["code"].as_str().unwrap_or(""))
}

/// Calls a tool. `None`: the server is gone.
pub(super) async fn call(client: &Client, tool: &str, arguments: Value) -> Result<Option<Answer>> {
    let error = match client.call(tool, arguments).await {
        Ok(answer) => return Ok(Some(answer)),
        Err(error) => error,
    };
    let gone = async {
        while !client.gone() {
            tokio::time::sleep(LOOK).await;
        }
    };
    match tokio::time::timeout(GONE, gone).await {
        Ok(()) => Ok(None),
        Err(_) => Err(error),
    }
}
