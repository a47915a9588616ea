//! The wrapper around every tool call (P15): check, run, time, redact, record.
//!
//! - A call without the privilege it needs is refused, said as a security warning, and nothing is run (C5).
//! - A change is run only if it can be recorded.
//! - Exactly one audit row is written, whatever the outcome: success, refusal, error,
//!   panic, or a caller that went away.
//! - The row holds no secret: arguments named as sensitive and whatever looks like a
//!   secret are hidden, and all of them where the call was refused for a secret.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures_util::FutureExt as _;
use guard::digest::Digest;
use guard::{limit, secret};
use serde_json::{Map, Value, json};

use crate::answer::{Answer, ErrorEffect, Refusal};
use crate::audit_file::AuditError;
use crate::caller::Caller;
use crate::privilege::Privilege;

/// The kind of the audit rows that are written here.
pub const KIND: &str = "call";

/// What a tool may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// Changes nothing.
    Read,
    /// Changes something that can be changed back.
    Write,
    /// Reaches further: deletes, interrupts, moves.
    Destructive,
    /// Nobody said. Treated as destructive.
    Unknown,
}

impl Risk {
    /// Its name in answers and rows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Destructive => "destructive",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it may change something.
    #[must_use]
    pub fn changes(self) -> bool {
        self != Self::Read
    }
}

/// Where rows go.
pub trait AuditSink: Send + Sync {
    /// Checks that a row could be written now.
    fn ready(&self) -> impl Future<Output = Result<(), AuditError>> + Send;

    /// Writes one row; done when it is durable. The row is handed over at the call
    /// itself, before the future is polled, so that dropping the future loses no row.
    fn record(
        &self,
        kind: &str,
        actor: &str,
        workflow: Option<&str>,
        payload: Value,
    ) -> impl Future<Output = Result<(), AuditError>> + Send;

    /// Hands over one row without waiting: for a call whose caller went away.
    fn record_detached(&self, kind: &str, actor: &str, workflow: Option<&str>, payload: Value);
}

/// One call of one tool.
#[derive(Debug, Clone, Copy)]
pub struct ToolCall<'a> {
    /// The tool.
    pub tool: &'a str,
    /// The action, if the tool has several.
    pub action: Option<&'a str>,
    /// What it may do.
    pub risk: Risk,
    /// The privilege that it needs.
    pub needs: Option<Privilege>,
    /// Who calls. Nobody holds no privilege.
    pub caller: Option<&'a Caller>,
    /// The arguments as they came.
    pub arguments: &'a Value,
    /// Top-level arguments whose values are never recorded.
    pub sensitive: &'a [&'a str],
    /// The workflow that the call belongs to.
    pub workflow: Option<&'a str>,
    /// The trace that the call belongs to (W3C trace context).
    pub traceparent: Option<&'a str>,
    /// The clock that the call is timed with.
    pub now: fn() -> Instant,
}

/// Checks, runs and records one call. See the module's description.
///
/// The answer is that of `run`, or a refusal: `privilege.no_context`, `privilege.missing`,
/// `audit.unavailable` (all with effect `none`, nothing was run), `internal.panic`. If the
/// row of a call that was run could not be written, the answer is still the truth about
/// the call, and says so in the field `audit_error`.
pub async fn guarded<S, F, Fut>(call: ToolCall<'_>, sink: &S, run: F) -> Answer
where
    S: AuditSink,
    F: FnOnce() -> Fut,
    Fut: Future<Output = Answer>,
{
    let mut row = OpenRow {
        call: &call,
        sink,
        started: (call.now)(),
        open: true,
        ran: false,
    };
    let answer = match admit(&call, sink).await {
        Err(refusal) => Answer::refusal(refusal),
        Ok(()) => {
            row.ran = true;
            // `run` itself may panic as well as the future that it gives.
            let attempt = AssertUnwindSafe(async { run().await }).catch_unwind().await;
            attempt.unwrap_or_else(|_| panicked(call.risk))
        }
    };
    let payload = row.close(&answer);
    match sink
        .record(KIND, &actor(&call), call.workflow, payload)
        .await
    {
        Ok(()) => answer,
        Err(error) => {
            tracing::error!(
                code = error.code(),
                tool = call.tool,
                "a call was not recorded: {error}"
            );
            answer.with(
                "audit_error",
                json!({"code": error.code(), "error": AUDIT_REMEDY}),
            )
        }
    }
}

const AUDIT_REMEDY: &str = "Tell the operator: this call was not recorded in the audit trail";

/// What must hold before anything is run.
async fn admit<S: AuditSink>(call: &ToolCall<'_>, sink: &S) -> Result<(), Refusal> {
    check_privilege(call)?;
    if call.risk.changes()
        && let Err(error) = sink.ready().await
    {
        tracing::error!(
            code = error.code(),
            tool = call.tool,
            "a change was refused: {error}"
        );
        return Err(Refusal::new(
            "audit.unavailable",
            "Have the operator repair the audit trail, then call again: a change that cannot be recorded is not made",
        )
        .effect(ErrorEffect::None)
        .with("cause", error.code()));
    }
    Ok(())
}

fn check_privilege(call: &ToolCall<'_>) -> Result<(), Refusal> {
    let Some(needed) = call.needs else {
        return Ok(());
    };
    let refusal = match call.caller {
        Some(caller) if caller.holds(needed) => return Ok(()),
        Some(_) => Refusal::new(
            "privilege.missing",
            format!(
                "Ask the operator to grant `{needed}` to this user, in `privileges.toml` or in the \
                 environment of the server (`PILOTHOUSE_PRIVILEGES`): the caller does not hold it"
            ),
        ),
        None => Refusal::new(
            "privilege.no_context",
            format!(
                "Call through a server that knows its caller: without a caller there is no `{needed}`"
            ),
        ),
    };
    tracing::warn!(
        security = true,
        code = refusal.code(),
        tool = call.tool,
        actor = actor(call),
        "security: a call without the privilege {needed} was refused"
    );
    Err(refusal
        .effect(ErrorEffect::None)
        .with("needs", needed.as_str()))
}

fn panicked(risk: Risk) -> Answer {
    let effect = if risk.changes() {
        ErrorEffect::Unknown
    } else {
        ErrorEffect::None
    };
    Refusal::new(
        "internal.panic",
        "Check what was done before calling again, and report this: the tool failed in a way that it should not",
    )
    .effect(effect)
    .into()
}

fn actor(call: &ToolCall<'_>) -> String {
    call.caller
        .map_or_else(|| "unknown".to_owned(), Caller::actor)
}

/// What is recorded of arguments that hold a literal secret (P2).
#[must_use]
pub fn withheld() -> Value {
    json!({"withheld": "it held a literal secret"})
}

/// The row of a call that is under way. If the call is dropped, it is written as `cancelled`.
struct OpenRow<'a, S: AuditSink> {
    call: &'a ToolCall<'a>,
    sink: &'a S,
    started: Instant,
    open: bool,
    ran: bool,
}

impl<S: AuditSink> OpenRow<'_, S> {
    fn close(&mut self, answer: &Answer) -> Value {
        self.open = false;
        let outcome = if answer.is_error() { "error" } else { "ok" };
        let mut payload = self.payload(outcome);
        if let Some(code) = answer.code() {
            payload.insert("code".to_owned(), code.into());
            // The secret may be one only once its parts are put together: nothing of it is kept.
            if code.ends_with(".secret") {
                payload.insert("arguments".to_owned(), withheld());
            }
        }
        if let Some(effect) = answer.effect() {
            payload.insert("effect".to_owned(), effect.as_str().into());
        }
        Value::Object(payload)
    }

    fn payload(&self, outcome: &str) -> Map<String, Value> {
        let call = self.call;
        let elapsed = (call.now)().saturating_duration_since(self.started);
        let mut payload = Map::new();
        let mut put = |key: &str, value: Value| {
            if !value.is_null() {
                payload.insert(key.to_owned(), value);
            }
        };
        put("tool", shown(call.tool));
        put("action", call.action.map_or(Value::Null, shown));
        put("risk", call.risk.as_str().into());
        put("arguments", hidden(call.arguments, call.sensitive));
        put("outcome", outcome.into());
        put(
            "duration_ms",
            u64::try_from(elapsed.as_millis())
                .unwrap_or(u64::MAX)
                .into(),
        );
        put("traceparent", call.traceparent.map_or(Value::Null, shown));
        if let Some(caller) = call.caller {
            put("uid", caller.uid.into());
            put(
                "client",
                caller.client.as_deref().map_or(Value::Null, shown),
            );
            put("transport", shown(&caller.transport));
        }
        payload
    }
}

impl<S: AuditSink> Drop for OpenRow<'_, S> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let mut payload = self.payload("cancelled");
        let unsettled = self.ran && self.call.risk.changes();
        let effect = if unsettled {
            ErrorEffect::Unknown
        } else {
            ErrorEffect::None
        };
        payload.insert("effect".to_owned(), effect.as_str().into());
        self.sink.record_detached(
            KIND,
            &actor(self.call),
            self.call.workflow,
            Value::Object(payload),
        );
    }
}

fn shown(text: &str) -> Value {
    guard::text::sanitize(&secret::redact_text(text)).into()
}

/// The longest text of an argument that is recorded as it is, in characters.
const RECORDED_CHARS: usize = limit::DISPLAY_CHARS;

/// The arguments without what is sensitive or looks like a secret, long texts cut; of very many
/// the size and digest of that.
fn hidden(arguments: &Value, sensitive: &[&str]) -> Value {
    let mut arguments = secret::redact(arguments);
    if let Value::Object(map) = &mut arguments {
        for (key, value) in map.iter_mut() {
            if sensitive.contains(&key.as_str()) && !value.is_null() {
                *value = secret::HIDDEN.into();
            }
        }
    }
    let arguments = cut(arguments);
    let bytes = arguments.to_string();
    if bytes.len() > limit::PREPARED_BYTES {
        // The row stays small, and the arguments can still be recognised.
        let digest = Digest::of_bytes(bytes.as_bytes());
        return json!({"bytes": bytes.len(), "digest": digest.to_string()});
    }
    arguments
}

/// The value with every text in it, names of fields included, short enough for a row.
fn cut(value: Value) -> Value {
    match value {
        Value::String(text) => cut_text(text).into(),
        Value::Array(items) => items.into_iter().map(cut).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, item)| (cut_text(key), cut(item)))
            .collect(),
        other => other,
    }
}

/// A text that is too long ends with how long it was and a digest of the whole, by which it can
/// still be recognised.
fn cut_text(text: String) -> String {
    let Some((end, _)) = text.char_indices().nth(RECORDED_CHARS) else {
        return text;
    };
    let characters = text.chars().count();
    let digest = Digest::of_bytes(text.as_bytes());
    format!("{}… [{characters} characters, {digest}]", &text[..end])
}
