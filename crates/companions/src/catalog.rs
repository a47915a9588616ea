//! What is shown of the companions: the live catalog.

use std::sync::Arc;
use std::time::Duration;

use engine::ports::Unfit;
use guard::text::sanitize_to;
use serde::Serialize;
use serde_json::Map;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::client::Session;
use crate::config;
use crate::dispatch::Companions;
use crate::failure::StartError;
use crate::tool::{Tool, Tools};

/// How long all that is needed may take to start.
const BOUND: Duration = Duration::from_secs(20);

/// How many are started at the same time.
const AT_ONCE: usize = 4;

/// The companions and what they can do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Catalog {
    /// In the order of their names.
    pub skills: Vec<SkillView>,
    /// What is odd about `companions.json`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
}

/// One companion. All text is sanitised.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SkillView {
    /// Its name.
    pub skill: String,
    /// Whether it can be used.
    pub state: SkillState,
    /// Why not, beginning with what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What it says it is: name and version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Which version of MCP was agreed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// What it is as a digest, to which approvals are bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// In the order of their names.
    pub tools: Vec<ToolView>,
    /// Lines on its standard output that were no messages, since it was started.
    #[serde(skip_serializing_if = "is_zero")]
    pub noise: u64,
    /// What is odd about its tools.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
}

/// Whether a companion can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkillState {
    /// It runs, and its tools were read.
    Ready,
    /// It is listed and cannot be used.
    Failed,
    /// It is listed, and takes longer to start than was waited.
    NotStarted,
    /// There is an executable of that name on PATH, which is never used until it is listed.
    FoundNotListed,
}

/// One tool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToolView {
    /// Its name.
    pub tool: String,
    /// What it says of itself, cut short.
    pub description: String,
    /// What it may do; for a tool with actions, the most that any of them may.
    pub risk: &'static str,
    /// What repeating it does; left out for a tool with actions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<&'static str>,
    /// The argument that selects the action, for a tool with actions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select: Option<String>,
    /// Its actions, if it has a table of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<ActionView>,
    /// Its arguments, if it has no table.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Those of them that must be there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required: Vec<String>,
}

/// One action of a tool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActionView {
    /// Its name.
    pub action: String,
    /// What it does, in one line.
    pub doc: String,
    /// What it may do.
    pub risk: &'static str,
    /// What repeating it does.
    pub effect: &'static str,
    /// The actions that may undo it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undo: Vec<String>,
    /// Arguments that must be there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required: Vec<String>,
    /// All arguments that it takes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Whether it can be previewed.
    pub preview: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the shape that serde asks for"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Companions {
    /// The companions and their tools as they are now, or one of them. Those that are not
    /// running are started, a few at a time and for a bounded time; what takes longer goes on
    /// next time it is needed.
    ///
    /// # Errors
    /// [`Unfit`] when `skill` names a companion that neither is listed nor was found.
    pub async fn catalog(&self, skill: Option<&str>) -> Result<Catalog, Unfit> {
        let config = self.config();
        let wanted = |name: &str| skill.is_none_or(|skill| skill == name);
        let mut skills = self
            .started(config.entries.keys().filter(|name| wanted(name)).cloned())
            .await;
        for (name, why) in config.unusable.iter().filter(|(name, _)| wanted(name)) {
            skills.push(SkillView::without_tools(
                name,
                SkillState::Failed,
                Some(why.clone()),
            ));
        }
        let listed = config.names();
        for (name, path) in config::found(self.pool().path().as_deref()) {
            if wanted(&name) && listed.binary_search(&name.as_str()).is_err() {
                let why = format!(
                    "Add it to `mcpServers` in `companions.json` to use it: it was found at `{}`",
                    sanitize_to(&path.to_string_lossy(), 200)
                );
                skills.push(SkillView::without_tools(
                    &name,
                    SkillState::FoundNotListed,
                    Some(why),
                ));
            }
        }
        if let Some(skill) = skill.filter(|_| skills.is_empty()) {
            return Err(self.unknown_skill(skill));
        }
        skills.sort_by(|a, b| a.skill.cmp(&b.skill));
        Ok(Catalog {
            skills,
            findings: config.findings.clone(),
        })
    }

    /// Each companion that can be started, and whether it runs. Starts nothing.
    #[must_use]
    pub fn running(&self) -> Vec<(String, bool)> {
        let names = self.config().entries.keys();
        names
            .map(|name| (name.clone(), self.pool().running(name).is_some()))
            .collect()
    }

    async fn started(&self, names: impl Iterator<Item = String>) -> Vec<SkillView> {
        let deadline = Instant::now() + BOUND;
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut starting = JoinSet::new();
        for name in names {
            let (companions, turns) = (self.clone(), turns.clone());
            starting.spawn(async move {
                let _turn = turns.acquire().await;
                match timeout_at(deadline, companions.look(&name)).await {
                    Ok(Ok((session, tools))) => SkillView::of(&session, &tools),
                    Ok(Err(error)) => {
                        SkillView::without_tools(&name, SkillState::Failed, Some(error.to_string()))
                    }
                    Err(_) => SkillView::without_tools(&name, SkillState::NotStarted, None),
                }
            });
        }
        starting.join_all().await
    }

    async fn look(&self, skill: &str) -> Result<(Arc<Session>, Arc<Tools>), StartError> {
        match self.pool().session(skill).await {
            Some(session) => {
                let session = session?;
                let tools = session.tools().await?;
                Ok((session, tools))
            }
            None => Err(StartError::Closing {
                skill: skill.to_owned(),
            }),
        }
    }
}

impl SkillView {
    fn without_tools(skill: &str, state: SkillState, why: Option<String>) -> Self {
        Self {
            skill: skill.to_owned(),
            state,
            why,
            server: None,
            protocol: None,
            fingerprint: None,
            tools: Vec::new(),
            noise: 0,
            findings: Vec::new(),
        }
    }

    fn of(session: &Session, tools: &Tools) -> Self {
        Self {
            server: Some(session.server.clone()),
            protocol: Some(session.protocol.clone()),
            fingerprint: Some(session.fingerprint.to_string()),
            tools: tools
                .by_name
                .values()
                .map(|tool| ToolView::of(tool, session))
                .collect(),
            noise: session.noise(),
            findings: tools.findings.clone(),
            ..Self::without_tools(&session.skill, SkillState::Ready, None)
        }
    }
}

impl ToolView {
    fn of(tool: &Tool, session: &Session) -> Self {
        let clean = |text: &String| session.scrub.text_to(text, 128);
        let all = |texts: &[String]| texts.iter().take(100).map(clean).collect::<Vec<_>>();
        let view = Self {
            tool: clean(&tool.name),
            description: tool.description.clone(),
            risk: "",
            effect: None,
            select: None,
            actions: Vec::new(),
            arguments: Vec::new(),
            required: Vec::new(),
        };
        let Some(table) = &tool.table else {
            let nature = tool.nature(&Map::new());
            return Self {
                risk: nature.risk.word(),
                effect: Some(nature.effect.word()),
                arguments: all(&tool.arguments()),
                required: all(&tool.required()),
                ..view
            };
        };
        let actions = table.rows.iter().map(|(action, row)| ActionView {
            action: clean(action),
            doc: session.scrub.text_to(&row.doc, 200),
            risk: row.risk.word(),
            effect: row.effect.word(),
            undo: all(&row.undo),
            required: all(&row.required),
            arguments: all(&row.arguments),
            preview: row.preview,
        });
        let most = table.rows.values().map(|row| row.risk).max();
        Self {
            risk: most.map_or("unknown", workflow::model::Risk::word),
            select: Some(clean(&table.select)),
            actions: actions.collect(),
            ..view
        }
    }
}
