//! P1: of a whole run, from the first line to the last, the program opens no internet socket.
//! Fails where it cannot be traced: it does not skip what it cannot see.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashSet;
use std::process::Command;

use serde_json::json;

#[expect(dead_code, unused_imports, reason = "this test uses a part of it")]
mod support;

use support::{Home, failing, store};

#[test]
fn p1_a_whole_run_opens_no_internet_socket() {
    let home = Home::new();
    let trace = home.root().parent().unwrap().join("trace");
    let mut command = Command::new("strace");
    command
        .args([
            "-f",
            "-qq",
            "-e",
            "trace=socket,connect,bind,listen,execve,clone,clone3,fork,vfork",
            "-e",
            "signal=none",
            "-o",
        ])
        .arg(&trace)
        .arg(support::pilot())
        .arg("mcp");
    let mut pilot = home.start(command);
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "traced", "version": "1"}});
    pilot.request("initialize", hello).unwrap();
    pilot.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    pilot.request("tools/list", json!({})).unwrap();
    pilot.ok("get_skill_catalog", json!({}));
    home.set_store(&json!({"b": "1"}));
    let id = pilot.create(json!([
        store("look", "get", "a", json!(null)),
        store("set_a", "set", "a", json!("1")),
        store("rm_b", "unset", "b", json!(null)),
        failing("boom"),
    ]));
    pilot.ok("review_workflow", json!({"workflow_id": id}));
    let done = pilot.run_approving(&id);
    assert_eq!(done["outcome"], "rolled_back", "{done}");
    pilot.ok("get_audit_log", json!({"verify": true}));
    assert!(
        pilot.end().success(),
        "strace is needed, and must be allowed to trace"
    );

    let trace = std::fs::read_to_string(trace).unwrap();
    let calls: Vec<(&str, &str)> = trace
        .lines()
        .filter_map(|line| line.split_once(char::is_whitespace))
        .map(|(pid, call)| (pid, call.trim()))
        .collect();
    // A process that becomes another program is a companion from there on; the first one is ours.
    let mut companions = HashSet::new();
    let (mut ours, mut started) = (0, 0);
    for (i, (pid, call)) in calls.iter().enumerate() {
        // Where calls of several threads cross, the end of one stands on a line of its own.
        if call.contains("execve") && i > 0 && call.ends_with("= 0") {
            started += usize::from(companions.insert(*pid));
        }
        if companions.contains(pid) {
            continue;
        }
        ours += 1;
        for family in ["AF_INET", "AF_INET6", "AF_PACKET", "AF_NETLINK"] {
            assert!(!call.contains(family), "{pid}: {call}");
        }
        for word in ["connect(", "bind(", "listen("] {
            assert!(!call.starts_with(word), "{pid}: {call}");
        }
    }
    assert!(calls[0].1.contains("pilot"), "{:?}", calls[0]);
    assert!(ours > 5, "something of the program was seen");
    assert!(started >= 1, "a companion was started and told apart");
}
