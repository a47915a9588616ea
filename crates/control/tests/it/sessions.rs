//! No session is left behind, whatever becomes of the call; and many calls at once.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::outside::{no_session_is_left, sessions};
use crate::support::{Answer, Lab, PATIENCE, Server, TestHome, eventually, to};
use crate::vcsim::Vcsim;

#[test]
fn c3_no_session_is_left_after_success_or_failure() {
    let lab = Lab::new(&["-vm", "1"]);
    lab.call("about", json!({})).ok();
    // The logout was waited for: there is nothing to wait for here.
    assert_eq!(lab.sessions(), 0);
    lab.call("get_vm", json!({ "vm_name": "none such" }))
        .fails("vm.not_found", "none");
    assert_eq!(lab.sessions(), 0);
    let vm = lab.vm();
    lab.call("delete", json!({ "moref": vm["moref"] }))
        .fails("vsphere.invalid_power_state", "none");
    assert_eq!(lab.sessions(), 0);
}

#[test]
fn c3_a_call_that_times_out_says_what_may_have_happened_and_logs_out() {
    let lab = Lab::new(&["-vm", "1", "-method-delay", "PowerOffVM_Task:60000"]);
    let vm = lab.vm();
    let started = Instant::now();
    let answer = lab.call("power_off", json!({ "moref": vm["moref"], "timeout_s": 1 }));
    let body = answer.fails("vsphere.lost_answer", "unknown");
    assert_eq!(body["call"], "PowerOffVM_Task");
    assert_eq!(body["cause"]["code"], "call.timeout");
    assert!(started.elapsed() < Duration::from_secs(30));
    lab.no_session_is_left();
}

#[test]
fn c3_a_read_that_times_out_has_no_effect_and_logs_out() {
    let lab = Lab::new(&["-vm", "1", "-method-delay", "FindAllByUuid:60000"]);
    let by_uuid = json!({ "vm_uuid": "00000000-0000-0000-0000-000000000000", "timeout_s": 1 });
    let answer = lab.call("get_vm", by_uuid);
    answer.fails("call.timeout", "none");
    lab.no_session_is_left();
}

/// A simulator that takes a minute for each power-off, and writes down what it is asked.
struct Slow {
    lab: Lab,
    trace: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Slow {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let trace = dir.path().join("trace");
        let flags = [
            "-vm",
            "1",
            "-method-delay",
            "PowerOffVM_Task:60000",
            "-trace-file",
            trace.to_str().unwrap(),
        ];
        Self {
            lab: Lab::new(&flags),
            trace,
            _dir: dir,
        }
    }

    /// Starts a power-off, and waits until the server has been asked for it.
    fn power_off(&self) -> (u64, std::sync::mpsc::Receiver<serde_json::Value>) {
        let vm = self.lab.vm();
        let arguments =
            json!({ "action": "power_off", "credential_profile": "lab", "moref": vm["moref"] });
        let call = self.lab.server.start_call(&arguments);
        eventually("the server is asked", || {
            std::fs::read_to_string(&self.trace)
                .unwrap_or_default()
                .contains("<PowerOffVM_Task")
        });
        call
    }
}

#[test]
fn c3_a_cancelled_call_logs_out_and_its_effect_is_recorded_as_unknown() {
    let mut slow = Slow::new();
    let (id, _) = slow.power_off();
    slow.lab.server.cancel(id);
    slow.lab.no_session_is_left();
    // The server is as it was.
    slow.lab.call("about", json!({})).ok();
    slow.lab.server.close();
    assert!(slow.lab.server.ended().success());
    let home = home::Home::open(slow.lab.home.path()).unwrap();
    let rows = policy::audit_file::AuditFile::open(&home)
        .unwrap()
        .read(0, 100, None)
        .unwrap();
    let row = rows
        .iter()
        .find(|(_, payload)| payload["action"] == "power_off")
        .unwrap();
    assert_eq!(row.1["code"], "call.cancelled");
    assert_eq!(row.1["effect"], "unknown");
}

#[test]
fn a_server_that_dies_under_a_change_leaves_its_effect_unknown() {
    let mut slow = Slow::new();
    let (_, receiver) = slow.power_off();
    slow.lab.vcsim.kill();
    let answer = Answer::of(&receiver.recv_timeout(PATIENCE).unwrap());
    let body = answer.fails("vsphere.lost_answer", "unknown");
    assert_eq!(body["call"], "PowerOffVM_Task");
    assert_eq!(body["cause"]["code"], "connection.lost");
}

#[test]
fn c3_a_client_that_goes_away_leaves_no_session() {
    let mut lab = Lab::new(&["-vm", "1", "-method-delay", "RetrievePropertiesEx:3000"]);
    let arguments = json!({ "action": "list_vms", "credential_profile": "lab" });
    let (_, receiver) = lab.server.start_call(&arguments);
    eventually("the call is logged in", || sessions(&lab.vcsim) == 1);
    lab.server.close();
    // What is under way is still answered.
    let answer = Answer::of(&receiver.recv_timeout(PATIENCE).unwrap());
    assert!(answer.ok()["total"].as_u64().unwrap() > 0);
    assert!(lab.server.ended().success());
    lab.no_session_is_left();
}

#[test]
fn c3_a_server_that_is_told_to_end_logs_out_first() {
    let mut lab = Lab::new(&["-vm", "1", "-method-delay", "PowerOffVM_Task:60000"]);
    let vm = lab.vm();
    let arguments =
        json!({ "action": "power_off", "credential_profile": "lab", "moref": vm["moref"] });
    lab.server.start_call(&arguments);
    eventually("the call is logged in", || sessions(&lab.vcsim) == 1);
    lab.server.terminate();
    assert!(lab.server.ended().success());
    assert_eq!(lab.sessions(), 0);
}

#[test]
fn c4_fifty_calls_at_once_are_all_answered_beside_a_slow_one() {
    let lab = Lab::new(&["-vm", "1", "-method-delay", "PowerOffVM_Task:60000"]);
    let vm = lab.vm();
    let slow = json!({ "action": "power_off", "credential_profile": "lab", "moref": vm["moref"] });
    let (slow, _) = lab.server.start_call(&slow);
    let get = json!({ "action": "get_vm", "credential_profile": "lab", "moref": vm["moref"] });
    let calls: Vec<_> = (0..50).map(|_| lab.server.start_call(&get)).collect();
    for (_, receiver) in calls {
        let answer = Answer::of(&receiver.recv_timeout(PATIENCE).unwrap());
        assert_eq!(answer.ok()["vm"]["moref"], vm["moref"]);
    }
    lab.server.cancel(slow);
    lab.no_session_is_left();
}

#[test]
fn c11_a_refused_login_is_not_repeated_however_many_ask() {
    let home = TestHome::new();
    let vcsim = Vcsim::start(&["-vm", "0", "-username", "user", "-password", "right"]);
    let server = Server::start(&home);
    let wrong = to(
        &vcsim,
        json!({ "action": "about", "password": "wrong-canary" }),
    );
    let calls: Vec<_> = (0..20).map(|_| server.start_call(&wrong)).collect();
    let mut tried = 0;
    for (_, receiver) in calls {
        let answer = Answer::of(&receiver.recv_timeout(PATIENCE).unwrap());
        let body = answer.fails("login.refused", "none");
        tried += usize::from(body["tried"] == true);
        assert!(!body.to_string().contains("canary"));
    }
    assert_eq!(tried, 1);
    let right = to(&vcsim, json!({ "action": "about", "password": "right" }));
    server.call(right).ok();
    assert!(!server.err().contains("canary"));
}

#[test]
fn the_simulator_itself_leaves_none() {
    let vcsim = Vcsim::start(&["-vm", "0"]);
    no_session_is_left(&vcsim);
}

#[test]
fn c4_calls_to_a_server_that_is_silent_do_not_wait_for_each_other() {
    let home = TestHome::new();
    let silent = crate::support::Listener::silent();
    let server = Server::start(&home);
    let arguments = json!({
        "action": "about", "host": "127.0.0.1", "port": silent.port, "user": "u", "password": "p", "timeout_s": 2
    });
    let calls: Vec<_> = (0..20).map(|_| server.start_call(&arguments)).collect();
    for (_, receiver) in calls {
        let answer = Answer::of(&receiver.recv_timeout(PATIENCE).unwrap());
        answer.fails("call.timeout", "none");
    }
    // At least as many as one user may have at once.
    assert!((8..=20).contains(&silent.count()), "{}", silent.count());
}
