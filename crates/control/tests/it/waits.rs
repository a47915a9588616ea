//! Waiting for a task, not waiting for it, being told of its progress, and giving up on it.

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::fake::{Fake, Reply, Seen};
use crate::scene::{Scene, change, machine, properties, success, update};
use crate::support::{Answer, Lab, PATIENCE, Server, TestHome, eventually};

#[test]
fn a_call_that_does_not_wait_answers_with_the_task_and_leaves_no_session() {
    for flags in [&["-vm", "1"][..], &["-esx", "-vm", "1"]] {
        let lab = Lab::new(flags);
        let vm = lab.vm();
        let of = json!({ "moref": vm["moref"], "wait": false });
        let answer = lab.call("power_off", of.clone()).ok();
        assert_eq!(answer["outcome"], "running");
        assert!(answer["task"].as_str().unwrap().starts_with("task-"));
        assert_eq!(answer["wanted"], json!({ "power_state": "poweredOff" }));
        assert_eq!(answer["undo"]["action"], "power_on");
        assert!(answer.get("changed").is_none(), "nobody knows yet");
        eventually("it is off", || lab.look(&vm)["power_state"] == "poweredOff");
        lab.no_session_is_left();
        // Nothing to do: nothing to wait for.
        assert_eq!(lab.call("power_off", of).ok()["changed"], false);
    }
}

#[test]
fn a_call_under_a_key_that_does_not_wait_is_not_taken_for_a_success() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let of = json!({ "moref": vm["moref"], "wait": false });
    let key = json!({ "pilothouse/key": "wf_1/a/do/0", "pilothouse/attempt": 1 });
    let answer = lab.call_with("power_off", of, key);
    let body = answer.fails("task.running", "unknown");
    assert_eq!(body["outcome"], "running");
    assert!(body["task"].as_str().unwrap().starts_with("task-"));
}

#[test]
fn what_is_no_task_does_not_take_wait() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    for action in ["get_vm", "mark_template", "unregister", "shutdown_guest"] {
        lab.call(action, json!({ "moref": vm["moref"], "wait": false }))
            .fails("argument.not_taken", "none");
    }
}

/// A server whose task is at 10, 40, 30 and 90 percent, and then ends.
fn in_steps(seen: &Seen) -> Option<Reply> {
    if seen.method != "WaitForUpdatesEx" {
        return None;
    }
    let running = |percent: u32| {
        let percent = change("info.progress", &format!("<val>{percent}</val>"));
        update(&(change("info.state", "<val>running</val>") + &percent), "")
    };
    Some(match seen.nth {
        0 => running(10),
        1 => running(40),
        2 => running(30),
        3 => running(90),
        _ => success(),
    })
}

fn direct(
    script: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
) -> (Runtime, Fake, TestHome, Server) {
    let runtime = Runtime::new().unwrap();
    let fake = runtime.block_on(Fake::but(move |seen| {
        script(seen).or_else(|| {
            (seen.method == "RetrievePropertiesEx").then(|| properties(seen, &machine("poweredOn")))
        })
    }));
    let home = TestHome::new();
    let server = Server::start(&home);
    (runtime, fake, home, server)
}

fn power_off(fake: &Fake) -> Value {
    json!({
        "action": "power_off", "moref": "vm-42", "host": "127.0.0.1", "port": fake.port, "user": "u", "password": "p",
    })
}

#[test]
fn progress_of_the_task_is_told_to_a_client_that_asked_for_it_and_never_goes_back() {
    let (_runtime, fake, _home, server) = direct(in_steps);
    server
        .call_with(power_off(&fake), json!({ "progressToken": "p-1" }))
        .ok();
    let out = server.out();
    let lines: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<&Value> = lines
        .iter()
        .filter(|line| line["method"] == "notifications/progress")
        .collect();
    let percents: Vec<f64> = told
        .iter()
        .map(|line| line["params"]["progress"].as_f64().unwrap())
        .collect();
    assert_eq!(percents, [10.0, 40.0, 90.0]);
    for line in &told {
        assert_eq!(line["params"]["progressToken"], "p-1");
        assert_eq!(line["params"]["total"].as_f64(), Some(100.0));
    }
    let last = lines.last().unwrap();
    assert!(
        last["result"].is_object(),
        "the answer comes after all progress"
    );
    // Nobody who did not ask is told.
    let (_runtime, fake, _home, server) = direct(in_steps);
    server.call(power_off(&fake)).ok();
    assert!(!server.out().contains("notifications/progress"));
}

#[test]
fn a_cancelled_wait_names_the_task_in_the_log_and_leaves_no_session() {
    let hangs = |seen: &Seen| (seen.method == "WaitForUpdatesEx").then_some(Reply::Hang);
    let (_runtime, fake, _home, server) = direct(hangs);
    let (id, _answer) = server.start_call(&power_off(&fake));
    eventually("the task is waited for", || {
        !fake.of("WaitForUpdatesEx").is_empty()
    });
    server.cancel(id);
    eventually("the session is ended", || {
        fake.of("Logout").len() == fake.of("Login").len()
    });
    eventually("the log names the task", || {
        let log = server.err();
        log.contains("task-7") && log.contains("PowerOffVM_Task")
    });
    assert_eq!(fake.of("Login").len(), 1, "nothing is looked up for nobody");
}

#[test]
fn a_question_ends_the_wait_at_once_however_long_it_may_last() {
    let asks = |seen: &Seen| {
        (seen.method == "WaitForUpdatesEx").then(|| {
            let running = change("info.state", "<val>running</val>");
            let question = change("runtime.question", crate::scene::QUESTION);
            update(&running, &question)
        })
    };
    let scene = Scene::new(|_| machine("poweredOn"), asks);
    let answer = scene.call("power_off", json!({ "timeout_s": 3_600 }));
    let body = answer.fails("vm.question", "unknown");
    assert_eq!(body["question"]["id"], "7");
    assert_eq!(scene.was_sent("WaitForUpdatesEx"), 1);
}

#[test]
fn a_wait_that_is_over_is_answered_within_the_time_of_the_call() {
    let (_runtime, fake, _home, server) = direct(|seen| {
        let running = || update(&change("info.state", "<val>running</val>"), "");
        (seen.method == "WaitForUpdatesEx").then(running)
    });
    let mut of = power_off(&fake);
    of["timeout_s"] = json!(8);
    let (_, receiver) = server.start_call(&of);
    let answer = Answer::of(&receiver.recv_timeout(PATIENCE).unwrap()).ok();
    assert_eq!(answer["outcome"], "running");
}
