//! Every action of the published table, with each answer of the server spoiled in each way: never a
//! success that is none, never "nothing happened" where something did, and no session left.
//!
//! A new action needs a line in [`case()`].

mod case;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::fake::Identity;
use crate::ground::{Ground, Passed, SPOILS, Spoil};
use crate::support::{Answer, Lab, merge};

use case::{Case, Site, case};

/// How many actions are under way at the same time: most of the time they wait.
const WORKERS: usize = 12;

/// How long a call may take whose answers are not spoiled: the machine may be busy.
const UNSPOILED_S: u64 = 50;

/// How long one may take whose answer may never come: that is waited for each time.
const SPOILED_S: u64 = 2;

/// Methods that change nothing, whoever calls them.
const READS: &[&str] = &[
    "CancelRetrievePropertiesEx",
    "CheckMigrate_Task",
    "CheckRelocate_Task",
    "ContinueRetrievePropertiesEx",
    "CreateCollectorForEvents",
    "CreateCollectorForTasks",
    "CreateContainerView",
    "CreateFilter",
    "CreatePropertyCollector",
    "CurrentTime",
    "DestroyCollector",
    "DestroyPropertyCollector",
    "DestroyPropertyFilter",
    "DestroyView",
    "FindAllByDnsName",
    "FindAllByIp",
    "FindAllByUuid",
    "FindByDatastorePath",
    "FindByInventoryPath",
    "FindByUuid",
    "FindChild",
    "GET",
    "HasPrivilegeOnEntities",
    "ListProcessesInGuest",
    "QueryAvailablePerfMetric",
    "QueryEvents",
    "QueryPerf",
    "QueryPerfCounter",
    "QueryPerfProviderSummary",
    "ReadNextEvents",
    "ReadNextTasks",
    "ReadPreviousEvents",
    "ReadPreviousTasks",
    "RetrieveProperties",
    "RetrievePropertiesEx",
    "RetrieveServiceContent",
    "RewindCollector",
    "SearchDatastore_Task",
    "SetCollectorPageSize",
    "WaitForUpdatesEx",
];

/// The actions that contact a server only in ways of their own, which other tests look at.
const LOCAL: &[&str] = &["credential_save", "credential_check", "credential_delete"];

/// What happened, for the report.
#[derive(Default)]
struct Tally {
    told: Mutex<BTreeMap<&'static str, usize>>,
    wrong: Mutex<Vec<String>>,
}

impl Tally {
    fn count(&self, what: &'static str) {
        *self.told.lock().unwrap().entry(what).or_default() += 1;
    }

    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the counts are part of the proof")]
fn c11_no_action_pretends_whatever_becomes_of_the_servers_answers() {
    let lab = Lab::new(&["-dc", "2", "-vm", "40"]);
    let tool = lab.server.request("tools/list", json!({}))["result"]["tools"][0].clone();
    let rows = tool["_meta"]["pilothouse/table"]["rows"]
        .as_object()
        .unwrap();
    case::prepare(&lab);
    let all = lab.call("list_vms", json!({ "limit": 1_000 })).ok();
    let mut machines = all["vms"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|vm| vm["path"].as_str().unwrap().contains("DC0"));
    let mut missing = Vec::new();
    let mut queue = VecDeque::new();
    for (word, row) in rows
        .iter()
        .filter(|(word, _)| !LOCAL.contains(&word.as_str()))
    {
        match case(word) {
            None => missing.push(word.clone()),
            Some(case) => {
                let vm = machines.next().unwrap().clone();
                queue.push_back((word.clone(), row["risk"] != "read", case, vm));
            }
        }
    }
    let (queue, tally) = (Mutex::new(queue), Tally::default());
    // The port of one that has ended may be given to a later one: the tool has pinned who listens there.
    let identity = Identity::self_signed();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some((word, changes, case, vm)) = queue.lock().unwrap().pop_front() else {
                        return;
                    };
                    let ground = Ground::before(&lab.vcsim, identity.clone());
                    let site = Site {
                        lab: &lab,
                        port: ground.port,
                        vm,
                    };
                    try_action(&site, &ground, &word, changes, &case, &tally);
                }
            });
        }
    });
    lab.no_session_is_left();
    let told = tally.told.into_inner().unwrap();
    println!("{told:?}");
    let wrong = tally.wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    for what in ["none", "unknown", "success"] {
        assert!(told.get(what).is_some_and(|n| *n > 0), "{what}: {told:?}");
    }
    assert!(
        missing.is_empty(),
        "give each of these a line in `case`: {missing:?}"
    );
}

/// Tries one action: once as it is, then with each answer that matters spoiled in each way.
fn try_action(site: &Site, ground: &Ground, word: &str, changes: bool, case: &Case, tally: &Tally) {
    let call = |arguments: &Value, timeout_s: u64| {
        let mut all = json!({
            "action": word, "host": "127.0.0.1", "port": ground.port, "user": "user",
            "password": "pass", "timeout_s": timeout_s
        });
        merge(&mut all, arguments);
        if word == "credential_list" {
            all = json!({ "action": word });
        }
        site.lab.server.call(all)
    };
    // The first contact says more than the others.
    call(&(case.arrange)(site), UNSPOILED_S);
    let arguments = (case.arrange)(site);
    ground.arm(None);
    let clean = call(&arguments, UNSPOILED_S);
    if case.works && clean.is_error {
        tally.wrong(format!("{word}: {}", clean.body));
        return;
    }
    let passed = ground.passed();
    for at in points(&passed, changes) {
        for spoil in SPOILS {
            let chosen = chosen(word, at, is_change(&passed[at]), spoil);
            if !everything() && !chosen {
                continue;
            }
            let arguments = (case.arrange)(site);
            ground.arm(Some((at, spoil)));
            let answer = call(&arguments, SPOILED_S);
            let name = format!("{word}, {spoil:?} at {} ({at})", passed[at].method);
            judge(&name, &answer, &clean, &ground.passed(), changes, tally);
            ground.no_session_is_left(&format!("{name}: {}", answer.body));
        }
    }
}

/// Whether everything is to be tried, which takes minutes.
fn everything() -> bool {
    std::env::var("PILOTHOUSE_FAULTS").is_ok_and(|all| all == "all")
}

/// Chooses some ways for each answer, others for the next: for a change what loses its answer, and
/// two more; for what is around it, one. `PILOTHOUSE_FAULTS_SEED` chooses others.
fn chosen(word: &str, at: usize, is_deed: bool, spoil: Spoil) -> bool {
    let seed = std::env::var("PILOTHOUSE_FAULTS_SEED").ok();
    let seed: usize = seed.map_or(0, |seed| seed.parse().unwrap());
    let from = seed + at + word.bytes().map(usize::from).sum::<usize>();
    let nth = |n: usize| SPOILS[(from + n) % SPOILS.len()] == spoil;
    nth(0) || is_deed && (nth(3) || spoil == Spoil::CutAfter)
}

fn is_change(passed: &Passed) -> bool {
    !READS.contains(&passed.method.as_str())
}

/// The answers that matter: the first, the changes and what follows each, and the last.
fn points(passed: &[Passed], changes: bool) -> Vec<usize> {
    let mut points: Vec<usize> = (0..passed.len())
        .filter(|at| {
            let last = at + 1 == passed.len();
            let deed = changes && is_change(&passed[*at]);
            let after = changes && *at > 0 && is_change(&passed[at - 1]);
            everything() || *at == 0 || last || deed || after
        })
        .collect();
    points.dedup();
    points
}

fn judge(
    name: &str,
    answer: &Answer,
    clean: &Answer,
    passed: &[Passed],
    changes: bool,
    tally: &Tally,
) {
    let body = &answer.body;
    let sent = passed.iter().any(is_change);
    let done = passed.iter().any(|p| is_change(p) && p.accepted);
    let wrong = |why: &str| tally.wrong(format!("{name}: {why}: {body}"));
    if body["outcome"] == "running" {
        // No success, and no failure: the task goes on when the call's time is over.
        tally.count("running");
        if !sent || body["effect"] != "unknown" {
            wrong("nothing was sent that could be running");
        }
        return;
    }
    if !answer.is_error {
        tally.count("success");
        if changes {
            if clean.body["changed"] == false {
                // There was nothing to do.
                if body["changed"] != false || done {
                    wrong("nothing was to be changed");
                }
            } else if body["changed"] != true {
                wrong("a change that was to be made is said to be none");
            } else if !done {
                wrong("a change that was not made is said to be made");
            }
        } else if shape(body) != shape(&clean.body) {
            wrong(&format!("another answer than {}", clean.body));
        }
        return;
    }
    // Every failure has a code and says its effect.
    answer.code();
    match body["effect"].as_str().unwrap() {
        "none" => {
            tally.count("none");
            // A task that failed has done nothing, by the server's own word.
            if changes && done && body["fault"].is_null() {
                wrong("a change that arrived is said to have had no effect");
            }
        }
        _ => {
            tally.count("unknown");
            if !changes || !sent {
                wrong("nothing was sent that could have an effect");
            }
        }
    }
}

/// What of an answer must be the same each time: how much there is of everything.
fn shape(body: &Value) -> Value {
    match body {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !["sessions", "total", "returned"].contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), shape(value)))
            .collect(),
        Value::Array(items) => json!(items.len()),
        _ => Value::Null,
    }
}
