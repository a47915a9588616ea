//! `vmware-control mcp --read-only`: no change is offered, and none is made.

use serde_json::{Value, json};

use crate::support::{Listener, Server, TestHome, to};
use crate::vcsim::Vcsim;

fn tool(server: &Server) -> Value {
    server.request("tools/list", json!({}))["result"]["tools"][0].clone()
}

#[test]
fn c11_a_read_only_server_offers_no_change_and_refuses_every_one_before_contact() {
    let home = TestHome::new();
    let full = tool(&Server::start(&home));
    let server = Server::start_as(&home, &["mcp", "--read-only"]);
    let reads = tool(&server);

    assert_eq!(reads["annotations"]["readOnlyHint"], true);
    assert_eq!(reads["annotations"]["destructiveHint"], false);
    assert_eq!(full["annotations"]["readOnlyHint"], false);

    let listener = Listener::silent();
    let rows = full["_meta"]["pilothouse/table"]["rows"]
        .as_object()
        .unwrap();
    let offered = &reads["inputSchema"]["properties"]["action"]["enum"];
    let published = &reads["_meta"]["pilothouse/table"]["rows"];
    let mut refused = 0;
    for (word, row) in rows {
        let is_read = row["risk"] == "read";
        assert_eq!(
            offered.as_array().unwrap().contains(&json!(word)),
            is_read,
            "{word}"
        );
        assert_eq!(published.get(word).is_some(), is_read, "{word}");
        if is_read {
            continue;
        }
        let call = json!({
            "action": word, "host": "127.0.0.1", "port": listener.port, "user": "u", "password": "p",
            "moref": "vm-1", "preview": true
        });
        let answer = server.call(call);
        let body = answer.fails("action.read_only", "none");
        assert!(
            body["allowed"]
                .as_array()
                .unwrap()
                .contains(&json!("about"))
        );
        refused += 1;
    }
    assert!(refused > 0);
    assert_eq!(listener.count(), 0, "nothing was contacted");
    assert!(
        !reads["description"].as_str().unwrap().contains("power_on"),
        "{}",
        reads["description"]
    );
}

#[test]
fn a_read_only_server_still_reads() {
    let home = TestHome::new();
    let vcsim = Vcsim::start(&["-vm", "1"]);
    let server = Server::start_as(&home, &["mcp", "--read-only"]);
    let list = server
        .call(to(&vcsim, json!({ "action": "list_vms" })))
        .ok();
    assert!(list["total"].as_u64().unwrap() > 0);
    // A spelling from elsewhere is no way around it.
    server
        .call(to(
            &vcsim,
            json!({ "action": "vm_power_off", "vm_name": "DC0_H0_VM0" }),
        ))
        .fails("action.read_only", "none");
}
