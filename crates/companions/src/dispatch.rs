//! The door of this room: the companions as the engine and the tools see them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use engine::ports::{Dispatch, Outgoing, Unfit};
use home::Home;
use policy::rules::Rules;
use serde_json::{Map, Value};
use workflow::event::{Direction, Left};
use workflow::model::{Call, Facts, ScalarKind};
use workflow::reply::Reply;

use crate::check::Fit;
use crate::client::Outcome;
use crate::config::{self, Config};
use crate::pool::Pool;
use crate::reply::meaning;
use crate::schema::Schemas;

/// What the companions are started with.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Which companions there are.
    pub config: Config,
    /// What every companion gets of this process's environment. Whatever else is in here is
    /// left out: only `PATH`, `HOME`, `PILOTHOUSE_HOME`, `LANG`, `LC_*` and `TMPDIR` are handed on.
    pub environment: Vec<(OsString, OsString)>,
    /// The operator's rules, asked before every call.
    pub rules: Option<Rules>,
}

impl Settings {
    /// The settings with the environment of this process, and the state directory in it.
    #[must_use]
    pub fn new(config: Config, home: &Home) -> Self {
        let mut environment: Vec<_> = std::env::vars_os()
            .filter(|(name, _)| config::is_shared(name) && name != "PILOTHOUSE_HOME")
            .collect();
        environment.push(("PILOTHOUSE_HOME".into(), home.root().into()));
        Self {
            config,
            environment,
            rules: None,
        }
    }

    /// With rules that are asked before every call.
    #[must_use]
    pub fn with_rules(mut self, rules: Rules) -> Self {
        self.rules = Some(rules);
        self
    }
}

/// All companions. Cloning it gives another handle on the same ones. They are stopped by
/// [`Companions::stop_all`]; dropping the last handle kills them.
#[derive(Clone)]
pub struct Companions {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    pool: Pool,
    schemas: Schemas,
    rules: Option<Rules>,
}

impl Companions {
    /// Takes the settings over. Starts nothing: that happens when a companion is first needed.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let pool = Pool::new(settings.config.entries.clone(), settings.environment);
        let inner = Inner {
            config: settings.config,
            pool,
            schemas: Schemas::default(),
            rules: settings.rules,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    pub(crate) fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(crate) fn schemas(&self) -> &Schemas {
        &self.inner.schemas
    }

    pub(crate) fn rules(&self) -> Option<&Rules> {
        self.inner.rules.as_ref()
    }

    /// Starts nothing any more and stops all companions: their input is closed, then they are
    /// asked by signal, then killed with their process groups, all within about `bound`.
    pub async fn stop_all(&self, bound: Duration) {
        self.pool().stop_all(bound).await;
    }

    async fn send(&self, outgoing: Outgoing) -> Reply {
        let Outgoing {
            call,
            direction,
            facts,
            meta,
            timeout,
            ..
        } = outgoing;
        // Again, since the companion may have changed since it was asked, and every reference is
        // resolved only now.
        let Fit {
            session,
            tools,
            facts: now,
        } = match self.fit(&call, &BTreeMap::new()).await {
            Ok(fit) => fit,
            Err(unfit) => return not_sent(unfit.code, unfit.message),
        };
        let changed = now.fingerprint != facts.fingerprint || now.tool != facts.tool;
        if changed && direction == Direction::Do && facts.risk.changes() {
            return not_sent(
                "companion.changed",
                format!(
                    "Review the workflow again: the companion `{}` or its tool is not the one that was approved",
                    call.skill
                ),
            );
        }
        let Some(tool) = tools.by_name.get(&call.tool) else {
            return not_sent(
                "step.unknown_tool",
                "Pass the name of a tool that is there".to_owned(),
            );
        };
        let limit = self
            .pool()
            .entry(&call.skill)
            .and_then(|entry| entry.timeout)
            .unwrap_or(timeout)
            .min(timeout);
        let outcome = session
            .call(tool, call.arguments.clone(), sent_beside(meta), limit)
            .await;
        match outcome {
            Outcome::Answer(answer) => match meaning(answer, &call.arguments, &now, &session.scrub)
            {
                Reply::Lost { why } => lost(&call.skill, &why),
                reply @ (Reply::Success { .. } | Reply::Failure { .. }) => reply,
            },
            Outcome::NotSent(why) => not_sent(
                "companion.unavailable",
                format!(
                    "Try again, or check the companion `{}`: nothing was sent to it, since {why}",
                    call.skill
                ),
            ),
            Outcome::Lost(why) => lost(&call.skill, &why),
        }
    }
}

impl Dispatch for Companions {
    async fn describe(
        &self,
        call: &Call,
        holes: &BTreeMap<String, ScalarKind>,
    ) -> Result<Facts, Unfit> {
        Ok(self.fit(call, holes).await?.facts)
    }

    async fn call(&self, outgoing: Outgoing) -> Reply {
        self.send(outgoing).await
    }
}

/// What goes beside a call in `_meta`.
fn sent_beside(meta: engine::ports::Meta) -> Map<String, Value> {
    let mut beside = Map::from_iter([
        ("pilothouse/key".to_owned(), meta.key.into()),
        ("pilothouse/attempt".to_owned(), meta.attempt.into()),
    ]);
    if let Some(target) = meta.target {
        beside.insert("pilothouse/target".to_owned(), Value::Object(target));
    }
    beside
}

fn not_sent(code: &str, error: String) -> Reply {
    Reply::Failure {
        code: code.to_owned(),
        error: guard::text::sanitize(&error),
        left: Left::Nothing,
    }
}

fn lost(skill: &str, why: &str) -> Reply {
    Reply::Lost {
        why: guard::text::sanitize(&format!(
            "The companion `{skill}` was called, and what came of it is not known: {why}"
        )),
    }
}
