//! Races between real servers on one state directory: two are asked at the same time about the same
//! workflow, and one has to answer while the others never stop. What the many orders of the single
//! steps may lead to is searched in the tests of `journal`; here real processes, locks and clocks
//! choose the order.
//!
//! `PILOTHOUSE_RACES_SEED` chooses what is asked, `PILOTHOUSE_RACES_ROUNDS` how often.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and says what it exercised"
)]

#[expect(dead_code, reason = "this test uses a part of it")]
mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use support::{Home, Pilot, answer, decision, store, until};

/// How many rounds are played where nobody says.
const ROUNDS: u64 = 210;

/// How many calls the one makes that the others must not starve.
const SINGLE: usize = 60;

/// How many approvals are given as they expire.
const LATE: usize = 16;

/// Numbers that look random and follow from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        usize::try_from(z % u64::try_from(bound).unwrap()).unwrap()
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |given| given.parse().unwrap())
}

/// A write, a destructive step, a gate, and a message that must not be sent twice.
fn steps(name: &str) -> Value {
    json!([
        store("put", "set", name, json!("1")),
        store("wipe", "unset", name, Value::Null),
        {"id": "ask", "gate": "Go on?"},
        store("tell", "send", &format!("mail_{name}"), json!("1")),
    ])
}

/// The arguments of a call of this tool about what was last answered.
fn arguments(tool: &str, last: &Value) -> Value {
    let mut arguments = json!({"workflow_id": last["workflow_id"]});
    if matches!(tool, "approve" | "reject" | "resolve_step") {
        arguments["approver"] = json!("Alice");
    }
    match tool {
        "approve" | "reject" => {
            let open = last["approval"]["id"].as_str();
            arguments["approval_id"] = json!(open.unwrap_or("ap_none"));
            if tool == "reject" {
                arguments["reason"] = json!("No");
            }
        }
        "resolve_step" => {
            arguments["step"] = json!("tell");
            arguments["happened"] = json!(true);
            arguments["note"] = json!("Seen");
        }
        _ => {}
    }
    arguments
}

/// What the audit trail has of a workflow, in order, without the calls of tools.
fn kinds(pilot: &mut Pilot, workflow: &Value) -> Vec<String> {
    let mut kinds = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let page = json!({"workflow_id": workflow, "limit": 200, "cursor": cursor});
        let page = pilot.ok("get_audit_log", page);
        let rows = page["rows"].as_array().unwrap();
        let of_events = rows.iter().filter_map(|row| row["kind"].as_str());
        let of_events = of_events.filter_map(|kind| kind.strip_prefix("workflow."));
        kinds.extend(of_events.map(str::to_owned));
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            return kinds;
        }
    }
}

/// Each approval was used once: what was asked was answered, expired or was cancelled before
/// something else was asked. How the one that was asked as number `which` was used.
fn used_once(kinds: &[String], which: usize) -> &'static str {
    let mut open = None;
    let mut asked = 0;
    let mut how = "not asked";
    for kind in kinds {
        let word = match kind.as_str() {
            "approval_requested" => {
                assert!(open.is_none(), "asked while another was open: {kinds:?}");
                asked += 1;
                open = Some(asked);
                continue;
            }
            "approved" => "approved",
            "rejected" => "rejected",
            "expired" => "expired",
            "cancelled" if open.is_some() => "cancelled",
            _ => continue,
        };
        // A no may be followed by the end of the workflow, which is no second use.
        let used = open
            .take()
            .unwrap_or_else(|| panic!("used twice: {kinds:?}"));
        if used == which {
            how = word;
        }
    }
    assert!(open.is_none(), "never used: {kinds:?}");
    how
}

/// Answers what is open until it is over.
fn to_its_rest(pilot: &mut Pilot, workflow: &Value) -> Value {
    for _ in 0..20 {
        let seen = pilot.status(workflow.as_str().unwrap());
        let tool = match seen["outcome"].as_str().unwrap() {
            "awaiting_approval" => "approve",
            "pending" => "run_workflow",
            "paused" => "resume_workflow",
            "running" | "rolling_back" => continue,
            _ => return seen,
        };
        match pilot.call(tool, arguments(tool, &seen)) {
            Ok(_) => {}
            // It expired since it was seen: it is asked anew.
            Err(refusal) => assert_eq!(refusal["code"], "approval.void", "{refusal}"),
        }
    }
    panic!("it came to no rest")
}

/// No key is twice in the companion's own ledger.
fn nothing_twice(home: &Home) -> usize {
    let ledger = home.ledger();
    let mut keys: Vec<&str> = ledger
        .iter()
        .map(|line| line["key"].as_str().unwrap())
        .collect();
    keys.sort_unstable();
    let all = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), all, "something was done twice");
    all
}

fn verified(pilot: &mut Pilot) {
    let answer = pilot.ok("get_audit_log", json!({"verify": true}));
    assert_eq!(answer["verified"], true, "{answer}");
}

/// What begins the codes of refusals that no race leads to.
const BROKEN: [&str; 3] = ["store.", "internal.", "argument."];

/// What is asked at the same time: by the first server, and by the second.
const PAIRS: [(&str, &str); 14] = [
    ("approve", "approve"),
    ("approve", "reject"),
    ("approve", "cancel_workflow"),
    ("approve", "run_workflow"),
    ("approve", "resume_workflow"),
    ("approve", "rollback"),
    ("approve", "resolve_step"),
    ("reject", "reject"),
    ("reject", "cancel_workflow"),
    ("reject", "run_workflow"),
    ("reject", "rollback"),
    ("cancel_workflow", "cancel_workflow"),
    ("cancel_workflow", "run_workflow"),
    ("rollback", "rollback"),
];

#[test]
fn p18_of_servers_that_are_asked_at_the_same_time_one_decision_is_used() {
    let seed = number("PILOTHOUSE_RACES_SEED", 7);
    let rounds = number("PILOTHOUSE_RACES_ROUNDS", ROUNDS);
    println!("PILOTHOUSE_RACES_SEED={seed}");
    let home = Home::new();
    let mut pilots = ["one", "two", "three"].map(|name| home.pilot_as(name, "1.0"));
    let mut random = Random(seed);
    let mut longest = Duration::ZERO;
    let mut won: BTreeMap<(&str, &str), BTreeMap<String, u64>> = BTreeMap::new();
    let mut uses: BTreeMap<&str, u64> = BTreeMap::new();
    for round in 0..rounds {
        let pair = PAIRS[usize::try_from(round).unwrap() % PAIRS.len()];
        let maker = random.below(3);
        let id = pilots[maker].create(steps(&format!("name_{round}")));
        // So many answers later the race begins: at the plan, the step, the gate, the end, or a
        // rollback by hand.
        let asked = match pair {
            ("rollback", _) => 4,
            (_, "rollback") => 1 + random.below(5),
            _ => 1 + random.below(3),
        };
        let mut last = pilots[maker].run(&id);
        let mut questions = 1;
        for _ in 1..asked {
            let other = random.below(3);
            if last["outcome"] == "awaiting_approval" {
                last = pilots[other].approve(&last);
            } else {
                last = pilots[other].ok("rollback", json!({"workflow_id": id}));
            }
            questions += usize::from(last["outcome"] == "awaiting_approval");
        }
        let (a, b) = (random.below(3), 1 + random.below(2));
        let b = (a + b) % 3;
        let begun = Instant::now();
        let calls = if random.below(2) == 0 {
            let here = pilots[a].begin_call(pair.0, arguments(pair.0, &last));
            (here, pilots[b].begin_call(pair.1, arguments(pair.1, &last)))
        } else {
            let there = pilots[b].begin_call(pair.1, arguments(pair.1, &last));
            (
                pilots[a].begin_call(pair.0, arguments(pair.0, &last)),
                there,
            )
        };
        let answers = [
            answer(&pilots[a].wait(calls.0).unwrap()),
            answer(&pilots[b].wait(calls.1).unwrap()),
        ];
        longest = longest.max(begun.elapsed());
        let said = answers.each_ref().map(|answer| match answer {
            Ok(_) => "yes".to_owned(),
            Err(refusal) => {
                assert_eq!(refusal["effect"], "none", "{refusal}");
                refusal["code"].as_str().unwrap().to_owned()
            }
        });
        assert!(
            said.iter()
                .all(|said| !BROKEN.iter().any(|broken| said.starts_with(broken))),
            "{answers:?}"
        );
        let open = last["approval"]["id"].is_string();
        let over = to_its_rest(&mut pilots[random.below(3)], &last["workflow_id"]);
        let kinds = kinds(&mut pilots[a], &last["workflow_id"]);
        let how = used_once(&kinds, if open { questions } else { 0 });
        for (tool, kind) in [("approve", "approved"), ("reject", "rejected")] {
            let yes = usize::from(pair.0 == tool && said[0] == "yes")
                + usize::from(pair.1 == tool && said[1] == "yes");
            assert!(yes <= 1, "both were told yes: {answers:?}");
            assert!(
                yes == 0 || how == kind,
                "told yes, and it is {how}: {answers:?} {kinds:?} {over}"
            );
        }
        *uses.entry(how).or_default() += 1;
        let ends = won.entry(pair).or_default();
        *ends
            .entry(format!("{} / {}", said[0], said[1]))
            .or_default() += 1;
    }
    let deeds = nothing_twice(&home);
    verified(&mut pilots[0]);
    println!("{rounds} rounds, {deeds} changes, the longest wait for two answers {longest:?}");
    println!("how the open approval was used: {uses:?}");
    for (pair, ends) in &won {
        println!("  {} / {}: {ends:?}", pair.0, pair.1);
    }
    assert!(deeds > 0 && uses["approved"] > 0);
}

#[test]
fn p7_p18_an_approval_that_is_given_as_it_expires_is_given_or_expired() {
    let home = Home::new();
    let (mut one, mut two) = (home.pilot_as("one", "1.0"), home.pilot_as("two", "1.0"));
    let mut random = Random(number("PILOTHOUSE_RACES_SEED", 7));
    let open: Vec<(Value, Instant)> = (0..LATE)
        .map(|i| {
            let briefly = json!({"approval_timeout_s": 1});
            let id = one.create_with(steps(&format!("late_{i}")), briefly);
            (one.run(&id), Instant::now())
        })
        .collect();
    let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
    let mut answers = Vec::new();
    for (last, since) in &open {
        let early = Duration::from_millis(u64::try_from(random.below(80)).unwrap());
        let due = *since + Duration::from_secs(1) - early;
        until("the deadline", || Instant::now() >= due);
        let id = last["workflow_id"].clone();
        let look = json!({"workflow_id": id, "wait_seconds": 0});
        let seen = two.begin_call("get_workflow_status", look);
        let given = one.begin_call("approve", decision(last));
        let given = answer(&one.wait(given).unwrap());
        two.wait(seen).unwrap();
        answers.push((id, given));
    }
    for (id, given) in answers {
        to_its_rest(&mut two, &id);
        let how = used_once(&kinds(&mut two, &id), 1);
        match &given {
            Ok(_) => assert_eq!(how, "approved"),
            Err(refusal) => {
                assert_eq!(how, "expired", "{refusal}");
                assert_eq!(refusal["code"], "approval.void", "{refusal}");
            }
        }
        *ends.entry(how).or_default() += 1;
    }
    nothing_twice(&home);
    verified(&mut one);
    println!("{LATE} approvals were given as they expired: {ends:?}");
    assert_eq!(ends.values().sum::<u64>(), LATE as u64);
}

#[test]
fn p18_who_asks_once_is_answered_while_others_never_stop() {
    let home = Home::new();
    let stop = AtomicBool::new(false);
    let mut waits = Vec::new();
    let mut made = [0, 0];
    std::thread::scope(|scope| {
        let busy = |name: &'static str| {
            let (home, stop) = (&home, &stop);
            scope.spawn(move || {
                let mut pilot = home.pilot_as(name, "1.0");
                let mut made = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let write = store("set", "set", &format!("{name}_{made}"), json!("1"));
                    let id = pilot.create(json!([write]));
                    let done = pilot.run_approving(&id);
                    assert_eq!(done["outcome"], "completed", "{done}");
                    made += 1;
                }
                made
            })
        };
        let others = ["one", "two"].map(busy);
        let mut single = home.pilot_as("single", "1.0");
        for i in 0..SINGLE {
            let name = format!("single_{i}");
            let mut timed = |tool: &str, arguments: Value| {
                let begun = Instant::now();
                let answer = single.ok(tool, arguments);
                waits.push(begun.elapsed());
                answer
            };
            let definition =
                json!({"name": "A test", "steps": [store("set", "set", &name, json!("1"))]});
            let made = timed("create_workflow", definition);
            let plan = timed("run_workflow", json!({"workflow_id": made["workflow_id"]}));
            let done = timed("approve", decision(&plan));
            assert_eq!(done["outcome"], "completed", "{done}");
        }
        stop.store(true, Ordering::Relaxed);
        made = others.map(|other| other.join().unwrap());
    });
    waits.sort_unstable();
    println!(
        "{} calls were answered while others ran {made:?} workflows: median {:?}, longest {:?}",
        waits.len(),
        waits[waits.len() / 2],
        waits.last().unwrap()
    );
    assert!(waits.len() == 3 * SINGLE && made.iter().all(|made| *made > 0));
    let deeds = nothing_twice(&home);
    assert_eq!(deeds as u64, made[0] + made[1] + SINGLE as u64);
    verified(&mut home.pilot());
}
