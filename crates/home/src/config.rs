//! The operator's configuration: `config.toml`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{HomeError, file};

/// What the operator has set. Without the file, and for each key that is not there, the default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The least assurance that a decision needs. Default: `attested`.
    pub min_assurance: Assurance,
    /// How long an approval stays open, in seconds, unless the workflow says otherwise
    /// (P7). 1 to `max_approval_timeout_s`. Default: 300.
    pub approval_timeout_s: u64,
    /// The longest that a workflow may ask for, in seconds. 1 to 2,592,000 (30 days). Default: 86,400.
    pub max_approval_timeout_s: u64,
    /// How long an approval that was given may wait to be used, in seconds: where a workflow does
    /// not say, and at most. 1 to 2,592,000 (30 days). Default: 3,600.
    pub execution_expiry_s: u64,
    /// How many different authenticated people have to say yes to each approval. 1 to 16.
    /// Default: 1, which anybody may be whose assurance is enough.
    pub quorum: u32,
    /// Whoever asked for a workflow may not approve it. Default: false.
    pub exclude_requester: bool,
    /// Which plans need an approval before the first step (P5). Default: `writes`.
    pub plan_approval: PlanApproval,
    /// How old the last event of a workflow is at least that may be archived, in days: an archived
    /// workflow is not rolled back any more. 0 to 3,650. Default: 30.
    pub archive_after_days: u32,
    /// How many steps of one workflow may run at the same time. 1 to 64. Default: 8.
    pub max_parallel: usize,
    /// What is never run.
    pub rules: Rules,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            min_assurance: Assurance::Attested,
            approval_timeout_s: 300,
            max_approval_timeout_s: 86_400,
            execution_expiry_s: 3_600,
            quorum: 1,
            exclude_requester: false,
            plan_approval: PlanApproval::Writes,
            archive_after_days: 30,
            max_parallel: 8,
            rules: Rules::default(),
        }
    }
}

/// How we know who decided, from weak to strong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assurance {
    /// The agent's own connection says so.
    Attested,
    /// The client asked its user.
    Elicited,
    /// A person logged in.
    Authenticated,
    /// A person signed.
    Signed,
}

/// Which plans need an approval before the first step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanApproval {
    /// Every plan with a step that is not a read.
    Writes,
    /// Only plans with a destructive step, or one of unknown risk.
    Destructive,
}

/// `[rules]`: what is never run, whoever approves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Calls that are refused: `skill/tool/action` with `*` for any text. Default: none.
    pub deny: Vec<String>,
}

impl Config {
    pub(crate) fn load(path: &Path) -> Result<Self, HomeError> {
        match file::read_owned(path) {
            Ok(bytes) => Self::parse(path, &bytes),
            Err(e) if e.is_missing() => Ok(Self::default()),
            Err(e) => Err(e),
        }
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, HomeError> {
        let content = |line, reason| HomeError::Content {
            path: path.to_owned(),
            line,
            reason,
        };
        let text = std::str::from_utf8(bytes)
            .map_err(|_| content(1, "the file is not UTF-8".to_owned()))?;
        let config: Self = toml::from_str(text).map_err(|e| {
            let line = line_of(text, e.span());
            content(line, format!("{}{}", key_on(text, line), e.message()))
        })?;
        config.check().map_err(|(key, allowed)| {
            let line = text
                .lines()
                .position(|line| line.trim_start().starts_with(key))
                .map_or(1, |i| i + 1);
            content(line, format!("`{key}` is {allowed}"))
        })?;
        Ok(config)
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        let max = self.max_approval_timeout_s;
        if !(1..=2_592_000).contains(&max) {
            return Err(("max_approval_timeout_s", "1 to 2592000 seconds".to_owned()));
        }
        if !(1..=max).contains(&self.approval_timeout_s) {
            return Err((
                "approval_timeout_s",
                format!("1 to {max} seconds (`max_approval_timeout_s`)"),
            ));
        }
        if !(1..=2_592_000).contains(&self.execution_expiry_s) {
            return Err(("execution_expiry_s", "1 to 2592000 seconds".to_owned()));
        }
        if !(1..=16).contains(&self.quorum) {
            return Err(("quorum", "1 to 16 people".to_owned()));
        }
        if self.archive_after_days > 3_650 {
            return Err(("archive_after_days", "0 to 3650 days".to_owned()));
        }
        if !(1..=64).contains(&self.max_parallel) {
            return Err(("max_parallel", "1 to 64".to_owned()));
        }
        Ok(())
    }
}

/// The line, from 1, that a byte range begins on.
fn line_of(text: &str, span: Option<std::ops::Range<usize>>) -> usize {
    let start = span.map_or(0, |s| s.start).min(text.len());
    text.as_bytes()[..start]
        .iter()
        .filter(|b| **b == b'\n')
        .count()
        + 1
}

/// The key that is set on a line, as the beginning of a message.
fn key_on(text: &str, line: usize) -> String {
    let source = text.lines().nth(line - 1).unwrap_or_default();
    match source.split_once('=') {
        Some((key, _))
            if key
                .trim()
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_') =>
        {
            format!("`{}`: ", key.trim())
        }
        _ => String::new(),
    }
}
