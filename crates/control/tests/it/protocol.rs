//! What the server says of itself, in both eras of the protocol, and what it makes of noise.

use serde_json::{Value, json};

use crate::support::{Server, TestHome};

fn tools(server: &Server) -> Value {
    server.request("tools/list", json!({}))["result"]["tools"].clone()
}

#[test]
#[expect(clippy::print_stdout, reason = "a figure for people to see")]
fn the_tool_list_is_deterministic_and_small() {
    let home = TestHome::new();
    let first = tools(&Server::start(&home));
    let second = tools(&Server::start(&home));
    assert_eq!(first.to_string(), second.to_string());
    let list = first.as_array().unwrap();
    assert_eq!(list.len(), 1);
    let tool = &list[0];
    assert_eq!(tool["name"], "vmware_control");
    assert_eq!(tool["annotations"]["readOnlyHint"], false);
    assert_eq!(tool["annotations"]["destructiveHint"], true);
    assert_eq!(tool["annotations"]["idempotentHint"], false);
    assert_eq!(tool["annotations"]["openWorldHint"], true);
    // What a model reads: `_meta` is for programs.
    let mut read = tool.clone();
    read.as_object_mut().unwrap().remove("_meta");
    let tokens = read.to_string().len() / 4;
    println!(
        "tool list: about {tokens} tokens for a model, {} with `_meta`",
        tool.to_string().len() / 4
    );
    assert!(tokens < 6_000, "the tool list has grown to {tokens} tokens");
}

#[test]
fn the_table_that_is_published_says_everything_about_each_action() {
    let home = TestHome::new();
    let tool = tools(&Server::start(&home))[0].clone();
    let table = &tool["_meta"]["pilothouse/table"];
    assert_eq!(table["version"], 1);
    assert_eq!(table["select"], "action");
    assert_eq!(table["preview"], "preview");
    let actions = tool["inputSchema"]["properties"]["action"]["enum"]
        .as_array()
        .unwrap();
    let rows = table["rows"].as_object().unwrap();
    assert_eq!(actions.len(), rows.len());
    for action in actions {
        let row = &rows[action.as_str().unwrap()];
        for argument in row["arguments"].as_array().unwrap() {
            let name = argument.as_str().unwrap();
            assert!(
                tool["inputSchema"]["properties"][name].is_object(),
                "{action}: {name}"
            );
        }
        for undo in row["undo"].as_array().unwrap() {
            assert!(rows.contains_key(undo.as_str().unwrap()), "{action}");
        }
    }
    assert_eq!(rows["power_on"]["undo"], json!(["power_off", "suspend"]));
    assert_eq!(rows["get_vm"]["risk"], "read");
    assert_eq!(rows["delete"]["risk"], "destructive");
}

#[test]
fn both_eras_of_the_protocol_work() {
    let home = TestHome::new();
    // With `initialize`: every test starts so. Without:
    let server = Server::raw(&home, &[("PILOTHOUSE_PRIVILEGES", "UNSANDBOXED_EXEC")]);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {}
    });
    let discovered = server.request("server/discover", json!({ "_meta": meta }));
    assert!(
        discovered["result"]["capabilities"]["tools"].is_object(),
        "{discovered}"
    );
    let list = server.request("tools/list", json!({ "_meta": meta }));
    assert_eq!(list["result"]["tools"][0]["name"], "vmware_control");
    let answer = server.request(
        "tools/call",
        json!({ "_meta": meta, "name": "vmware_control", "arguments": { "action": "credential_list" } }),
    );
    assert_eq!(
        answer["result"]["structuredContent"]["total"], 0,
        "{answer}"
    );
}

#[test]
fn an_unknown_tool_is_an_error_of_the_protocol() {
    let home = TestHome::new();
    let server = Server::start(&home);
    let answer = server.request("tools/call", json!({ "name": "vmware", "arguments": {} }));
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
}

#[test]
fn a_call_without_arguments_or_with_others_than_an_object_is_answered() {
    let home = TestHome::new();
    let mut server = Server::start(&home);
    let answer = server.request("tools/call", json!({ "name": "vmware_control" }));
    assert_eq!(
        answer["result"]["structuredContent"]["code"],
        "action.missing"
    );
    for odd in [json!([1]), json!("about"), json!(5)] {
        let call = json!({ "name": "vmware_control", "arguments": odd });
        let answer = server.request("tools/call", call);
        assert_eq!(
            answer["result"]["structuredContent"]["code"], "action.missing",
            "{answer}"
        );
    }
    // They are recorded like any other.
    server.close();
    assert!(server.ended().success());
    let rows = policy::audit_file::AuditFile::open(&home::Home::open(home.path()).unwrap())
        .unwrap()
        .read(0, 10, None)
        .unwrap();
    assert_eq!(rows.len(), 4);
}

#[test]
fn a_request_that_makes_no_sense_is_answered_under_its_own_id() {
    let home = TestHome::new();
    let server = Server::start(&home);
    for (method, params, code) in [
        ("no/such_method", json!({}), -32601),
        ("initialize", json!({ "protocolVersion": 5 }), -32602),
        ("tools/call", json!({ "name": 5 }), -32602),
        ("tools/call", json!({}), -32602),
        (
            "tools/call",
            json!({ "name": "vmware_control", "arguments": {}, "_meta": 5 }),
            -32602,
        ),
    ] {
        let answer = server.request(method, params.clone());
        assert_eq!(answer["error"]["code"], code, "{method} {params}: {answer}");
    }
    server.call(json!({ "action": "credential_list" })).ok();
}

#[test]
fn noise_on_standard_input_is_refused_at_the_door_and_repeats_nothing() {
    let home = TestHome::new();
    let server = Server::start(&home);
    let (id, receiver) = server.expect();
    server.line(&format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"vmware_control","arguments":{{"action":"credential_list","action":"delete","password":"canary-door"}}}}}}"#
    ));
    let answer = receiver.recv_timeout(crate::support::PATIENCE).unwrap();
    assert_eq!(answer["error"]["code"], -32600, "{answer}");
    for noise in [
        "not json canary-door",
        "[]",
        "{\"jsonrpc\":\"2.0\"}",
        "\u{0}",
        &"[".repeat(100_000),
        &format!(r#"{{"jsonrpc":"2.0","method":"{}"}}"#, "x".repeat(5 << 20)),
    ] {
        server.line(noise);
    }
    server.call(json!({ "action": "credential_list" })).ok();
    assert!(!server.out().contains("canary-door"));
    assert!(!server.err().contains("canary-door"));
}

#[test]
fn it_prints_its_version_and_ends_with_its_client() {
    let home = TestHome::new();
    let output = crate::support::command(&home)
        .arg("--version")
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().trim(),
        format!("vmware-control {}", env!("CARGO_PKG_VERSION"))
    );
    let mut server = Server::start(&home);
    server.close();
    assert!(server.ended().success());
    let mut silent = Server::raw(&home, &[]);
    silent.close();
    assert!(silent.ended().success());
}
