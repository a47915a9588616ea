//! One call from its arguments to its answer, in the fixed order of checks (C6):
//! privilege, action, profile, merge of explicit arguments, missing connection settings,
//! missing VM identifier, the action's own needs, and only then the server.

use std::time::{Duration, Instant};

use guard::secret::Secret;
use home::{Home, User};
use policy::answer::{Answer, Refusal};
use policy::caller::Caller;
use policy::guarded::{self, Risk, ToolCall};
use policy::privilege::{self, Privilege};
use serde_json::{Map, Value};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vsphere::{About, Client, Session};

use crate::action::{self, Local};
use crate::argument::{self, Arguments};
use crate::audit::Audit;
use crate::call::{Call, Sent, patience};
use crate::connection::{self, Connection, LoginGate, Seen};
use crate::failure::Failure;
use crate::machine;
use crate::parting::Parting;
use crate::pin::Pins;
use crate::probe::{self, Lost, Way};
use crate::profile::{KeySource, Profiles};
use crate::schema::TOOL;
use crate::table::{self, Action, Mode, Needs, Run};

/// The environment variable that grants privileges to this server's user.
pub(crate) const PRIVILEGES: &str = "PILOTHOUSE_PRIVILEGES";

/// How much longer than its own deadline a call is given to say how far it came.
const GRACE: Duration = Duration::from_secs(3);

/// How long the end of the program waits for calls and logouts that are under way.
const END: Duration = Duration::from_secs(15);

/// The longest key.
const KEY: usize = 200;

/// Everything that calls share.
pub(crate) struct Program {
    mode: Mode,
    home: Result<Home, Failure>,
    key: KeySource,
    user: User,
    granted: Option<String>,
    client: Client,
    gate: LoginGate,
    audit: Audit,
    calls: TaskTracker,
}

/// One call as it came in.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) arguments: Map<String, Value>,
    /// The request's `_meta`.
    pub(crate) meta: Map<String, Value>,
    /// What the MCP client calls itself.
    pub(crate) client: Option<String>,
    pub(crate) cancel: CancellationToken,
    /// Where the client hears of progress in percent, if it wants to.
    pub(crate) progress: Option<UnboundedSender<i64>>,
    /// The session that the call has had.
    pub(crate) parting: Parting,
}

/// What `pilot` says about a call beside its arguments.
#[derive(Debug, Default)]
struct Prepared<'a> {
    key: Option<&'a str>,
    is_repeated: bool,
    target: Option<&'a Map<String, Value>>,
    progress: Option<&'a UnboundedSender<i64>>,
}

impl Program {
    /// A program for the user that it runs as, with the state directory of the environment.
    /// A directory that cannot be opened is said by each call.
    pub(crate) fn from_environment(mode: Mode) -> Self {
        let env = |name: &str| std::env::var_os(name);
        let home = Home::open_default(&env).map_err(Failure::from);
        Self {
            mode,
            audit: Audit::new(home.as_ref().ok().cloned()),
            home,
            key: KeySource::from_environment(&env),
            user: User::current(),
            granted: std::env::var(PRIVILEGES).ok(),
            client: Client::default(),
            gate: LoginGate::default(),
            calls: TaskTracker::new(),
        }
    }

    /// Why the state directory cannot be used, if it cannot.
    pub(crate) fn problem(&self) -> Option<&Failure> {
        self.home.as_ref().err()
    }

    /// How much of the table it offers.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// What the local actions work with.
    pub(crate) fn local(&self) -> Result<Local<'_>, Failure> {
        let home = self.home.clone()?;
        Ok(Local {
            profiles: Profiles::under(self.key.clone(), home.clone(), self.user.name.as_str()),
            pins: Pins::new(home, self.user.name.as_str()),
            client: &self.client,
            gate: &self.gate,
        })
    }

    /// Performs one call.
    pub(crate) async fn call(&self, mut request: Request) -> Answer {
        let _underway = self.calls.token();
        let password = argument::lift_password(&mut request.arguments);
        let home = match &self.home {
            Ok(home) => home,
            Err(failure) => return Answer::refusal(failure.clone().into()),
        };
        let (caller, problem) = self.caller(home, request.client.as_deref());
        let word = request.arguments.get("action").and_then(Value::as_str);
        let row = word.and_then(Action::find);
        let key = request.meta.get("pilothouse/key").and_then(Value::as_str);
        let workflow = key.and_then(|key| key.split('/').next()).map(str::to_owned);
        let traceparent = request
            .meta
            .get("traceparent")
            .and_then(Value::as_str)
            .map(str::to_owned);
        let word = word.map(str::to_owned);
        let arguments = Value::Object(std::mem::take(&mut request.arguments));
        let call = ToolCall {
            tool: TOOL,
            action: word.as_deref(),
            risk: row.map_or(Risk::Read, |row| risk(row.risk)),
            needs: Some(Privilege::UnsandboxedExec),
            caller: Some(&caller),
            arguments: &arguments,
            sensitive: &["password"],
            workflow: workflow.as_deref(),
            traceparent: traceparent.as_deref(),
            now: Instant::now,
        };
        let (given, request) = (&arguments, &request);
        let run = move || async move { self.run(given, password, request).await };
        let answer = guarded::guarded(call, &self.audit, run).await;
        request.parting.end().await;
        let answer = with_effect(answer);
        match problem.filter(|_| answer.code() == Some("privilege.missing")) {
            Some(problem) => answer.with("cause", problem),
            None => answer,
        }
    }

    /// Who calls, and why nothing may be granted.
    fn caller(&self, home: &Home, client: Option<&str>) -> (Caller, Option<Value>) {
        let caller = Caller::new(&self.user, client, "stdio");
        match privilege::grants(home, self.granted.as_deref(), &self.user.name) {
            Ok(granted) => (caller.with(granted), None),
            Err(error) => {
                tracing::error!(code = error.code(), "nothing is granted: {error}");
                let words = guard::text::sanitize(&error.to_string());
                (
                    caller,
                    Some(serde_json::json!({ "code": error.code(), "error": words })),
                )
            }
        }
    }

    async fn run(&self, arguments: &Value, password: Option<Secret>, request: &Request) -> Answer {
        let raw = arguments.as_object().cloned().unwrap_or_default();
        match self.checked(raw, password, request).await {
            Ok(body) => sized(Answer::ok(Value::Object(body))),
            Err(failure) => Answer::refusal(failure.into()),
        }
    }

    /// The order of checks, from the action on.
    async fn checked(
        &self,
        raw: Map<String, Value>,
        password: Option<Secret>,
        request: &Request,
    ) -> Result<Map<String, Value>, Failure> {
        let row = argument::action(&raw, self.mode)?;
        let arguments = Arguments::read(row, raw, password)?;
        let mut about = Prepared::read(&request.meta)?;
        about.progress = request.progress.as_ref();
        let local = self.local()?;
        if let Run::Local(run) = row.run {
            action::check(row, &arguments)?;
            return tokio::select! {
                result = run(&local, row, &arguments) => result,
                () = request.cancel.cancelled() => Err(cancelled()),
            };
        }
        let connection = Connection::resolve(&arguments, &local.profiles)?;
        if row.needs == Needs::Machine
            && let Some(missing) = machine::missing_identifier(&arguments)
        {
            return Err(missing);
        }
        action::check(row, &arguments)?;
        let guest = connection::guest_account(&arguments, &local.profiles, &connection)?;
        let accounts = (&connection, guest.as_ref());
        // Large: what is around it would be as large, several times.
        Box::pin(self.on_server(row, &arguments, &about, accounts, &local.pins, request)).await
    }

    async fn on_server(
        &self,
        row: &'static Action,
        arguments: &Arguments,
        about: &Prepared<'_>,
        (connection, guest): (&Connection, Option<&vsphere::GuestAccount>),
        pins: &Pins,
        request: &Request,
    ) -> Result<Map<String, Value>, Failure> {
        let cancel = &request.cancel;
        let patience = patience(row, arguments);
        let deadline = tokio::time::Instant::now() + patience;
        let sent = Sent::default();
        let (session, seen) = tokio::select! {
            opened = connection::open(&self.client, &self.gate, pins, connection) => opened?,
            () = cancel.cancelled() => return Err(cancelled()),
            () = tokio::time::sleep_until(deadline) => return Err(timed_out(patience)),
        };
        let call = Call {
            row,
            arguments,
            session: &session,
            guest,
            server: server_id(session.about(), connection),
            key: about.key,
            is_repeated: about.is_repeated,
            expected_target: about.target,
            deadline,
            sent: &sent,
            progress: about.progress,
        };
        let result = tokio::select! {
            result = action::perform(&call) => result,
            () = cancel.cancelled() => Err(gave_up(&sent)),
            () = tokio::time::sleep_until(deadline + GRACE) => {
                sent.lost();
                Err(sent.mark(timed_out(patience)))
            }
        };
        let failure = match result {
            Err(failure) if !cancel.is_cancelled() => failure,
            other => return finish(&request.parting, session, seen, other),
        };
        let Some(doubt) = sent.doubt() else {
            return finish(&request.parting, session, seen, Err(failure));
        };
        let way = Way {
            client: &self.client,
            gate: &self.gate,
            pins,
            connection,
        };
        let account = session.user().user_name.clone();
        let lost = Lost {
            row,
            arguments,
            key: about.key,
            deadline,
            account,
            doubt,
            failure,
        };
        let found = async {
            tokio::select! {
                found = probe::find_out(&way, &lost) => found,
                () = cancel.cancelled() => Err(gave_up(&sent)),
            }
        };
        // The old session is ended meanwhile: a server that is slow at it is not waited for twice.
        let (_, found) = tokio::join!(session.logout(), found);
        found
    }

    /// Waits, within a bound, until all calls and all logouts that are under way have ended.
    pub(crate) async fn end(&self) {
        self.calls.close();
        if tokio::time::timeout(END, self.calls.wait()).await.is_err() {
            tracing::warn!(
                calls = self.calls.len(),
                "calls were still under way at the end"
            );
        }
        let left = self.client.drain(END).await;
        if left > 0 {
            tracing::warn!(
                sessions = left,
                "sessions may be left on servers until they idle out"
            );
        }
    }
}

/// Begins to log out, whatever came of the call.
fn finish(
    parting: &Parting,
    session: Session,
    seen: Seen,
    result: Result<Map<String, Value>, Failure>,
) -> Result<Map<String, Value>, Failure> {
    parting.begin(session);
    let mut body = result?;
    seen.note(&mut body);
    Ok(body)
}

/// A server's own id; a standalone host has none, and is known by its address.
pub(crate) fn server_id(about: &About, connection: &Connection) -> String {
    if about.instance_uuid.is_empty() {
        format!("host:{}", connection.endpoint)
    } else {
        guard::text::sanitize_to(&about.instance_uuid, 80)
    }
}

impl<'a> Prepared<'a> {
    fn read(meta: &'a Map<String, Value>) -> Result<Self, Failure> {
        let key = match meta.get("pilothouse/key") {
            None | Some(Value::Null) => None,
            Some(Value::String(key)) if is_key(key) => Some(key.as_str()),
            Some(_) => {
                return Err(Failure::new(
                    "request.key",
                    "Send `pilothouse/key` with at most 200 letters, digits and `_ - . : /`",
                ));
            }
        };
        let target = match meta.get("pilothouse/target") {
            None | Some(Value::Null) => None,
            Some(Value::Object(target)) => Some(target),
            Some(_) => {
                return Err(Failure::new(
                    "request.target",
                    "Send `pilothouse/target` as the `target` object of the preview",
                ));
            }
        };
        let attempt = meta.get("pilothouse/attempt").and_then(Value::as_u64);
        Ok(Self {
            key,
            is_repeated: attempt.is_some_and(|attempt| attempt > 1),
            target,
            progress: None,
        })
    }
}

/// A key ends up in a description on the server, in brackets.
fn is_key(key: &str) -> bool {
    (1..=KEY).contains(&key.len())
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-.:/".contains(&b))
}

fn risk(risk: table::Risk) -> Risk {
    match risk {
        table::Risk::Read => Risk::Read,
        table::Risk::Write => Risk::Write,
        table::Risk::Destructive => Risk::Destructive,
    }
}

/// What a cancelled call leaves behind is said in the log as well: nobody hears its answer.
fn gave_up(sent: &Sent) -> Failure {
    if let Some((method, task)) = sent.left_behind() {
        let task = task.unwrap_or_else(|| "not known".to_owned());
        tracing::warn!(
            method,
            task,
            "a call was cancelled after its change was sent: the server goes on with it"
        );
    }
    sent.mark(cancelled())
}

fn cancelled() -> Failure {
    Failure::new(
        "call.cancelled",
        "Call again if it is still wanted: the client cancelled the call",
    )
}

fn timed_out(patience: Duration) -> Failure {
    Failure::new(
        "call.timeout",
        format!(
            "Check the load of the server, or pass a longer `timeout_s`: no end within {} s",
            patience.as_secs()
        ),
    )
}

/// Every failure of this tool says what it may have changed (C11).
fn with_effect(answer: Answer) -> Answer {
    if answer.is_error() && answer.effect().is_none() {
        answer.with("effect", "none")
    } else {
        answer
    }
}

/// An answer above the hard cap is refused: only reads can be that large.
fn sized(answer: Answer) -> Answer {
    let length = answer.text().chars().count();
    if length <= guard::limit::ANSWER_CAP_CHARS {
        return answer;
    }
    let failure = Failure::new(
        "answer.too_large",
        format!(
            "Ask for less, with a filter or a smaller `limit`: the answer has {length} characters"
        ),
    );
    Answer::refusal(Refusal::from(failure))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn c10_an_answer_above_the_hard_cap_is_refused_with_a_remedy() {
        let cap = guard::limit::ANSWER_CAP_CHARS;
        let fits = Answer::ok(json!({ "text": "é".repeat(cap - 11) }));
        assert_eq!(fits.text().chars().count(), cap);
        assert!(!sized(fits).is_error());
        let answer = sized(Answer::ok(json!({ "text": "é".repeat(cap - 10) })));
        assert_eq!(answer.code(), Some("answer.too_large"));
        assert_eq!(answer.effect().map(|effect| effect.as_str()), Some("none"));
    }

    #[test]
    fn a_key_can_stand_in_brackets_and_nothing_else_can() {
        for key in ["wf_1/step/do/0", "a", "A-b.c:d/e_f"] {
            assert!(is_key(key), "{key}");
        }
        for key in ["", "a]b", "a b", "a\n", "é", &"a".repeat(201)] {
            assert!(!is_key(key), "{key}");
        }
    }
}
