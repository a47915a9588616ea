//! A fake companion with a ledger of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use engine::ports::Outgoing;
use guard::digest::Digest;
use serde_json::{Value, json};
use tokio::sync::Notify;
use workflow::event::{Direction, Left};
use workflow::model::{Call, Effect, Facts, Risk};
use workflow::reply::Reply;

/// What a fake companion does with one kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It says that it failed and did nothing.
    FailsCleanly,
    /// It did half and says so.
    FailsHalfDone,
    /// It did it, and says only that it failed.
    FailsAfterAll,
    /// It did it, and nobody hears of it.
    AnswerLost,
    /// It never got there.
    RequestLost,
}

/// A companion with a ledger: the oracle for lost and doubled work. Its tool `store` has previews;
/// values are kept by name.
#[derive(Default)]
pub(crate) struct FakeCompanion {
    /// The world.
    pub(crate) values: Mutex<BTreeMap<String, i64>>,
    /// Every change that was asked for, in order: key and what was done.
    pub(crate) ledger: Mutex<Vec<(String, String)>>,
    /// What goes wrong, by direction and name; each once.
    pub(crate) faults: Mutex<HashMap<(Direction, String), Fault>>,
    /// How many calls there were in all.
    pub(crate) calls: AtomicU64,
    /// After so many calls nothing is answered any more: the process is as good as dead.
    pub(crate) freeze_after: AtomicU64,
    /// After so many previews its tool is another one; 0 is never.
    pub(crate) another_after: AtomicU64,
    /// How many previews there were.
    previews: AtomicU64,
    /// How often its objects were replaced by others of the same name.
    pub(crate) rebuilt: AtomicU64,
    /// It says that everything it does is a read.
    pub(crate) plays_down: AtomicBool,
    /// What goes wrong more than once, by direction and name: how often it still does.
    pub(crate) repeated: Mutex<HashMap<(Direction, String), (u32, Fault)>>,
    /// Who is here now, and who was at most.
    pub(crate) visits: Visits,
    /// Why nothing can be said of its tools.
    pub(crate) unfit: Mutex<Option<&'static str>>,
    /// Every call that came, previews too.
    pub(crate) sent: Mutex<Vec<Outgoing>>,
    /// Who is not answered yet.
    pub(crate) held: Held,
}

/// Calls that are not answered before they are let go.
#[derive(Default)]
pub(crate) struct Held {
    which: Mutex<Vec<(Direction, String)>>,
    here: AtomicU64,
    changed: Notify,
}

impl Held {
    /// Calls there, or back, of this name are not answered.
    pub(crate) fn hold(&self, direction: Direction, name: &str) {
        self.which
            .lock()
            .unwrap()
            .push((direction, name.to_owned()));
    }

    /// All are answered.
    pub(crate) fn let_go(&self) {
        self.which.lock().unwrap().clear();
        self.changed.notify_waiters();
    }

    /// Waits until so many calls are held.
    pub(crate) async fn wait_for(&self, many: u64) {
        let held = async {
            loop {
                let changed = self.changed.notified();
                if self.here.load(Ordering::SeqCst) >= many {
                    return;
                }
                changed.await;
            }
        };
        let waited = tokio::time::timeout(super::LONG, held).await;
        assert!(waited.is_ok(), "nothing came that could be held");
    }

    pub(super) async fn stay(&self, outgoing: &Outgoing) {
        let arguments = &outgoing.call.arguments;
        let name = arguments["name"].as_str().unwrap_or_default().to_owned();
        let at = (outgoing.direction, name);
        let is_held = || {
            let preview = arguments.get("preview") == Some(&Value::Bool(true));
            !preview && self.which.lock().unwrap().contains(&at)
        };
        if !is_held() {
            return;
        }
        self.here.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
        loop {
            let changed = self.changed.notified();
            if !is_held() {
                break;
            }
            changed.await;
        }
        self.here.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How many calls are under way at the same time. Previews are not counted.
#[derive(Default)]
pub(crate) struct Visits {
    now: AtomicU64,
    most: AtomicU64,
    /// Nobody is answered before so many are here at once; then it is over. 0 is none.
    together: AtomicU64,
    came: Notify,
}

/// One who is here, until it is dropped.
pub(super) struct Visit<'a>(&'a Visits);

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Visits {
    /// Nobody is answered before so many are here at once.
    pub(crate) fn gather(&self, together: u64) {
        self.together.store(together, Ordering::SeqCst);
    }

    /// Whether so many came together as were to.
    pub(crate) fn met(&self) -> bool {
        self.together.load(Ordering::SeqCst) == 0
    }

    /// How many were here at most since this was asked.
    pub(crate) fn most(&self) -> u64 {
        self.most.swap(0, Ordering::SeqCst)
    }

    /// Comes, and waits for the others.
    pub(super) async fn come(&self, call: &Call) -> Option<Visit<'_>> {
        if call.arguments.get("preview") == Some(&Value::Bool(true)) {
            return None;
        }
        let visit = Visit(self);
        let here = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(here, Ordering::SeqCst);
        loop {
            let came = self.came.notified();
            let together = self.together.load(Ordering::SeqCst);
            if self.now.load(Ordering::SeqCst) >= together {
                self.gather(0);
                self.came.notify_waiters();
                return Some(visit);
            }
            came.await;
        }
    }
}

impl FakeCompanion {
    pub(super) fn facts(&self, call: &Call) -> Facts {
        let action = call.arguments["action"].as_str().unwrap_or_default();
        let (risk, effect) = match action {
            _ if self.plays_down.load(Ordering::SeqCst) => (Risk::Read, Effect::Read),
            "get" | "peek" => (Risk::Read, Effect::Read),
            "erase" => (Risk::Destructive, Effect::Idempotent),
            "once" => (Risk::Write, Effect::Once),
            _ => (Risk::Write, Effect::Idempotent),
        };
        let preview = call.arguments.get("preview") == Some(&Value::Bool(true));
        Facts {
            fingerprint: Digest::of_bytes(b"fake"),
            tool: Digest::of_bytes(if self.is_another() {
                b"other"
            } else {
                b"store"
            }),
            action: Some(action.to_owned()),
            risk: if preview { Risk::Read } else { risk },
            effect: if preview { Effect::Read } else { effect },
            preview: (risk != Risk::Read || action == "peek").then(|| "preview".to_owned()),
            select: Some("action".to_owned()),
            inverses: vec!["set".to_owned()],
        }
    }

    fn is_another(&self) -> bool {
        let after = self.another_after.load(Ordering::SeqCst);
        after > 0 && self.previews.load(Ordering::SeqCst) >= after
    }

    /// What goes wrong this time.
    fn fault(&self, at: &(Direction, String)) -> Option<Fault> {
        let mut repeated = self.repeated.lock().unwrap();
        match repeated.get_mut(at) {
            Some((left, fault)) if *left > 0 => {
                *left -= 1;
                Some(*fault)
            }
            _ => self.faults.lock().unwrap().remove(at),
        }
    }

    /// This goes wrong so many times, whatever is sent there.
    pub(crate) fn fails(&self, name: &str, times: u32, fault: Fault) {
        let mut repeated = self.repeated.lock().unwrap();
        repeated.insert((Direction::Do, name.to_owned()), (times, fault));
    }

    /// Somebody else sets a value.
    pub(crate) fn put(&self, name: &str, value: i64) {
        self.values.lock().unwrap().insert(name.to_owned(), value);
    }

    /// The value now.
    pub(crate) fn value(&self, name: &str) -> i64 {
        self.values.lock().unwrap().get(name).copied().unwrap_or(0)
    }

    pub(super) fn answer(&self, outgoing: &Outgoing) -> Reply {
        let arguments = &outgoing.call.arguments;
        let action = arguments["action"].as_str().unwrap_or_default();
        let name = arguments["name"].as_str().unwrap_or_default().to_owned();
        let now = self.values.lock().unwrap().get(&name).copied().unwrap_or(0);
        if name == "nowhere" {
            return failure("store.not_found", Left::Nothing);
        }
        if action == "get" || action == "peek" {
            return success(json!({"value": now}));
        }
        let to = match action {
            "erase" => 0,
            _ => arguments["value"].as_i64().unwrap_or_default(),
        };
        let built = self.rebuilt.load(Ordering::SeqCst);
        let target = json!({"moref": name, "built": built});
        if arguments.get("preview") == Some(&Value::Bool(true)) {
            self.previews.fetch_add(1, Ordering::SeqCst);
            return success(json!({
                "preview": true,
                "target": target,
                "before": {"value": now},
                "after": {"value": to},
                "undo": if name == "mail" { Value::Null } else { undo(&name, now) },
                "undo_kind": if name == "mail" { "none" } else { "exact" },
                "undo_note": if name == "mail" { "a mail that was sent stays sent" } else { "" },
                "verify": {
                    "arguments": {"action": "get", "name": name},
                    "before": {"/value": now},
                    "after": {"/value": to},
                },
            }));
        }
        let fault = self.fault(&(outgoing.direction, name.clone()));
        let do_it = |to: i64| {
            self.ledger
                .lock()
                .unwrap()
                .push((outgoing.meta.key.clone(), format!("{name}={to}")));
            self.values.lock().unwrap().insert(name.clone(), to);
        };
        match fault {
            Some(Fault::FailsCleanly) => failure("store.refused", Left::Nothing),
            Some(Fault::FailsHalfDone) => {
                do_it(to);
                failure("store.half", Left::Something)
            }
            Some(Fault::FailsAfterAll) => {
                do_it(to);
                failure("store.failed", Left::NotSaid)
            }
            Some(Fault::AnswerLost) => {
                do_it(to);
                lost()
            }
            Some(Fault::RequestLost) => lost(),
            None => {
                do_it(to);
                let offered = if name == "mail" {
                    Value::Null
                } else {
                    undo(&name, now)
                };
                success(json!({"changed": now != to, "undo": offered, "undo_kind": "exact"}))
            }
        }
    }
}

fn undo(name: &str, value: i64) -> Value {
    json!({"action": "set", "name": name, "value": value, "moref": name})
}

fn success(body: Value) -> Reply {
    let bytes = body.to_string();
    Reply::Success {
        sha256: guard::digest::sha256_hex(bytes.as_bytes()),
        size: bytes.len() as u64,
        body,
    }
}

fn failure(code: &str, left: Left) -> Reply {
    Reply::Failure {
        code: code.to_owned(),
        error: "It failed".to_owned(),
        left,
    }
}

fn lost() -> Reply {
    Reply::Lost {
        why: "nobody answered".to_owned(),
    }
}
