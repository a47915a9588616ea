//! Whether a call can be made, and what the catalog says of it. Nothing is sent to a tool here.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::ports::Unfit;
use guard::limit::DEPTH;
use guard::text::sanitize_to;
use policy::answer::nearest;
use serde_json::{Map, Value, json};
use workflow::model::{Call, Facts, ScalarKind};

use crate::client::Session;
use crate::config;
use crate::dispatch::Companions;
use crate::failure::StartError;
use crate::schema::Check;
use crate::table::Table;
use crate::tool::{Tool, Tools};

/// The code of a call that a rule forbids.
pub(crate) const DENIED: &str = "policy.denied";

/// How many names are offered.
const OFFERED: usize = 3;

/// How many allowed names are listed.
const LISTED: usize = 200;

/// A call that can be made.
pub(crate) struct Fit {
    pub(crate) session: Arc<Session>,
    pub(crate) tools: Arc<Tools>,
    pub(crate) facts: Facts,
}

impl Companions {
    /// Checks a call against the companion that runs now, which is started if need be.
    pub(crate) async fn fit(
        &self,
        call: &Call,
        holes: &BTreeMap<String, ScalarKind>,
    ) -> Result<Fit, Unfit> {
        let session = match self.pool().session(&call.skill).await {
            Some(session) => session.map_err(|error| unavailable(&error))?,
            None => return Err(self.unknown_skill(&call.skill)),
        };
        let tools = session.tools().await.map_err(|error| unavailable(&error))?;
        let tool = tools
            .by_name
            .get(&call.tool)
            .ok_or_else(|| unknown_tool(call, &tools))?;
        let action = tool
            .table
            .as_ref()
            .map(|table| action(call, table, holes))
            .transpose()?;
        let facts = tool.facts(session.fingerprint, action, &call.arguments);
        self.allowed(call, &facts)?;
        self.arguments(call, tool, holes).await?;
        Ok(Fit {
            session,
            tools: tools.clone(),
            facts,
        })
    }

    /// Asks the operator's rules.
    fn allowed(&self, call: &Call, facts: &Facts) -> Result<(), Unfit> {
        let Some(rules) = self.rules() else {
            return Ok(());
        };
        // A tool without a table may take its action in an argument all the same.
        let action = facts
            .action
            .as_deref()
            .or_else(|| call.arguments.get("action").and_then(Value::as_str));
        rules
            .check(&call.skill, &call.tool, action)
            .map_err(|denied| Unfit {
                code: DENIED,
                message: denied.to_string(),
                extra: Map::from_iter([("rule".to_owned(), denied.rule.into())]),
            })
    }

    async fn arguments(
        &self,
        call: &Call,
        tool: &Tool,
        holes: &BTreeMap<String, ScalarKind>,
    ) -> Result<(), Unfit> {
        let arguments = Value::Object(call.arguments.clone());
        if is_deeper(&arguments, DEPTH) {
            let message = format!("Nest the arguments at most {DEPTH} levels deep");
            return Err(Unfit {
                code: "step.arguments",
                message,
                extra: Map::new(),
            });
        }
        match self
            .schemas()
            .check(tool.schema_digest, &tool.schema, &arguments, holes)
            .await
        {
            Check::Fits => Ok(()),
            Check::Misfit(misfit, problems) => {
                let mut extra = Map::from_iter([("pointer".to_owned(), misfit.pointer.into())]);
                offer(&mut extra, misfit.allowed, misfit.nearest);
                if problems > 1 {
                    extra.insert("problems".to_owned(), problems.into());
                }
                Err(Unfit {
                    code: "step.arguments",
                    message: misfit.message,
                    extra,
                })
            }
            Check::Unusable(why) => Err(Unfit {
                code: "companion.config",
                message: format!(
                    "Update the companion `{}`, or leave out its tool `{}`: the tool's schema cannot be used, since {}",
                    call.skill,
                    shown(&call.tool),
                    sanitize_to(&why, 200)
                ),
                extra: Map::new(),
            }),
        }
    }

    /// Why there is no such companion.
    pub(crate) fn unknown_skill(&self, skill: &str) -> Unfit {
        let config = self.config();
        if let Some(why) = config.unusable.get(skill) {
            return Unfit {
                code: "companion.config",
                message: why.clone(),
                extra: Map::new(),
            };
        }
        let names = config.names();
        let found = config::found(self.pool().path().as_deref());
        let message = match found.get(skill) {
            Some(path) => format!(
                "Add `{skill}` to `mcpServers` in `companions.json` to use it: it was found at `{}`, and is not listed",
                sanitize_to(&path.to_string_lossy(), 200)
            ),
            None => format!(
                "Pass the name of a companion that is listed in `companions.json`: `{}` is none",
                shown(skill)
            ),
        };
        let mut extra = given(skill);
        let near = nearest(skill, names.iter().copied(), OFFERED);
        offer(
            &mut extra,
            names.into_iter().map(str::to_owned).collect(),
            near,
        );
        Unfit {
            code: "step.unknown_skill",
            message,
            extra,
        }
    }
}

pub(crate) fn unavailable(error: &StartError) -> Unfit {
    Unfit {
        code: "companion.unavailable",
        message: guard::text::sanitize(&error.to_string()),
        extra: Map::new(),
    }
}

fn unknown_tool(call: &Call, tools: &Tools) -> Unfit {
    let names = || tools.by_name.keys().map(String::as_str);
    let mut extra = given(&call.tool);
    offer(
        &mut extra,
        names().take(LISTED).map(str::to_owned).collect(),
        nearest(&call.tool, names(), OFFERED),
    );
    let message = format!(
        "Pass the name of a tool of the companion `{}`: `{}` is none",
        call.skill,
        shown(&call.tool)
    );
    Unfit {
        code: "step.unknown_tool",
        message,
        extra,
    }
}

/// The action that a call selects.
fn action<'a>(
    call: &'a Call,
    table: &Table,
    holes: &BTreeMap<String, ScalarKind>,
) -> Result<&'a str, Unfit> {
    let select = shown(&table.select);
    let unfit = |given_name: &str, message: String| {
        let mut extra = given(given_name);
        let near = nearest(given_name, table.actions(), OFFERED);
        offer(
            &mut extra,
            table.actions().take(LISTED).map(str::to_owned).collect(),
            near,
        );
        Unfit {
            code: "step.unknown_action",
            message,
            extra,
        }
    };
    let hole = holes
        .keys()
        .any(|hole| *hole == guard::pointer::join("", &table.select));
    match call.arguments.get(&table.select).and_then(Value::as_str) {
        // What is done must be known before anybody approves it.
        _ if hole => Err(unfit(
            "",
            format!("Write the action in `{select}` itself: a reference cannot stand there"),
        )),
        Some(action) if table.rows.contains_key(action) => Ok(action),
        Some(action) => {
            let message = format!(
                "Pass an action of the tool `{}` in `{select}`: `{}` is none",
                shown(&call.tool),
                shown(action)
            );
            Err(unfit(action, message))
        }
        None => Err(unfit(
            "",
            format!(
                "Pass an action of the tool `{}` in `{select}`: there is none",
                shown(&call.tool)
            ),
        )),
    }
}

/// A name that came with a call, as it may be shown.
fn shown(name: &str) -> String {
    guard::secret::redact_text(&sanitize_to(name, 64))
}

fn given(name: &str) -> Map<String, Value> {
    if name.is_empty() {
        Map::new()
    } else {
        Map::from_iter([("given".to_owned(), shown(name).into())])
    }
}

fn offer(extra: &mut Map<String, Value>, allowed: Vec<String>, nearest: Vec<String>) {
    if !allowed.is_empty() {
        extra.insert("allowed".to_owned(), json!(allowed));
    }
    if !nearest.is_empty() {
        extra.insert("nearest".to_owned(), json!(nearest));
    }
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    let next = levels.checked_sub(1);
    match (value, next) {
        (Value::Array(_) | Value::Object(_), None) => true,
        (Value::Array(items), Some(levels)) => items.iter().any(|item| is_deeper(item, levels)),
        (Value::Object(map), Some(levels)) => map.values().any(|item| is_deeper(item, levels)),
        _ => false,
    }
}
