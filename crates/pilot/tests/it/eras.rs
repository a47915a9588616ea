//! Both eras of the protocol, and lines that are none of it.

use rmcp::ServiceExt as _;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::TokioChildProcess;
use serde_json::{Value, json};

use crate::support::{self, Home, store};

fn stateless() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "modern", "version": "3"},
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

#[test]
fn a_client_of_the_first_era_is_served() {
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let home = Home::new();
        let mut pilot = home.fresh();
        let hello = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}});
        let welcome = pilot.request("initialize", hello).unwrap();
        assert_eq!(welcome["protocolVersion"], version);
        assert_eq!(welcome["serverInfo"]["name"], "pilot");
        assert!(
            welcome["instructions"]
                .as_str()
                .unwrap()
                .contains("create_workflow")
        );
        assert!(welcome["capabilities"]["tools"].is_object());
        assert!(pilot.request("ping", json!({})).is_ok());
        assert_eq!(pilot.ok("list_workflows", json!({}))["total"], 0);
        let call = pilot
            .request(
                "tools/call",
                json!({"name": "list_workflows", "arguments": [1]}),
            )
            .unwrap();
        assert_eq!(call["isError"], true);
        assert!(
            call.get("resultType").is_none(),
            "a word of the second era: {call}"
        );
        assert!(pilot.end().success());
    }
}

#[test]
fn a_client_of_the_second_era_is_served_without_a_greeting() {
    let home = Home::new();
    let mut pilot = home.fresh();
    let found = pilot
        .request("server/discover", json!({"_meta": stateless()}))
        .unwrap();
    assert!(
        found["supportedVersions"]
            .as_array()
            .unwrap()
            .contains(&json!("2026-07-28")),
        "{found}"
    );
    assert_eq!(
        pilot
            .request("tools/list", json!({"_meta": stateless()}))
            .unwrap()["tools"]
            .as_array()
            .unwrap()
            .len(),
        14
    );
    let call = |tool: &str, arguments: Value| json!({"name": tool, "arguments": arguments, "_meta": stateless()});
    let steps = json!([store("set_a", "set", "a", json!("1"))]);
    let made = pilot
        .request(
            "tools/call",
            call("create_workflow", json!({"name": "x", "steps": steps})),
        )
        .unwrap();
    let id = support::answer(&made).unwrap()["workflow_id"].clone();
    let plan = pilot
        .request(
            "tools/call",
            call("run_workflow", json!({"workflow_id": id})),
        )
        .unwrap();
    assert_eq!(plan["resultType"], "complete");
    let plan = support::answer(&plan).unwrap();
    let done = pilot
        .request("tools/call", call("approve", support::decision(&plan)))
        .unwrap();
    let done = support::answer(&done).unwrap();
    assert_eq!(done["outcome"], "completed", "{done}");
    assert!(
        done["decisions"][0]["account"]
            .as_str()
            .unwrap()
            .ends_with(" via stdio (modern/3)"),
        "{done}"
    );
    assert!(pilot.end().success());
}

#[test]
fn a_client_of_the_library_drives_a_workflow() {
    let home = Home::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut command = tokio::process::Command::new(support::pilot());
        command.arg("mcp").env("PILOTHOUSE_HOME", home.root());
        let client = ().serve(TokioChildProcess::new(command).unwrap()).await.unwrap();
        assert_eq!(client.list_all_tools().await.unwrap().len(), 14);
        let call = async |tool: &'static str, arguments: Value| {
            let Value::Object(arguments) = arguments else {
                panic!("no object")
            };
            let result = client
                .call_tool(CallToolRequestParams::new(tool).with_arguments(arguments))
                .await
                .unwrap();
            assert_ne!(result.is_error, Some(true), "{result:?}");
            result.structured_content.unwrap()
        };
        let steps = json!([store("set_a", "set", "a", json!("1"))]);
        let made = call(
            "create_workflow",
            json!({"name": "x", "description": "y", "steps": steps}),
        )
        .await;
        let plan = call("run_workflow", json!({"workflow_id": made["workflow_id"]})).await;
        let done = call("approve", support::decision(&plan)).await;
        assert_eq!(done["outcome"], "completed", "{done}");
        client.cancel().await.unwrap();
    });
    assert_eq!(home.deeds(), ["set_a/do"]);
}

#[test]
fn lines_that_are_no_messages_are_answered_and_survived() {
    let home = Home::new();
    let mut pilot = home.pilot();
    for (line, code) in [
        ("{", -32700),
        ("not json", -32700),
        ("[]", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":77}", -32600),
        ("{\"id\":78,\"method\":\"tools/list\"}", -32600),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":79,\"method\":\"tools/list\",\"params\":[]}",
            -32600,
        ),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":80,\"method\":\"tools/call\",\"params\":{\"name\":\"run_workflow\",\"name\":\"approve\"}}",
            -32600,
        ),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":81,\"method\":\"tools/call\",\"params\":{\"name\":\"list_workflows\",\"arguments\":{\"limit\":1,\"limit\":2}}}",
            -32600,
        ),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":82,\"method\":\"tools/call\",\"params\":{\"name\":\"list_workflows\",\"arguments\":{\"limit\":9007199254740993}}}",
            -32600,
        ),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":83,\"method\":\"tools/call\",\"params\":{\"name\":7}}",
            -32602,
        ),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":84,\"method\":\"tools/call\",\"params\":{\"name\":\"shell\"}}",
            -32602,
        ),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":85,\"method\":\"tools/run\",\"params\":{}}",
            -32601,
        ),
    ] {
        pilot.send_raw(line);
        let answer = pilot.next_line();
        assert_eq!(answer["error"]["code"], code, "{line}: {answer}");
    }
    // Not a request, and before it was the greeting: neither ends the conversation.
    pilot.send_raw("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/nothing\"}");
    pilot.send_raw("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}");
    assert_eq!(pilot.ok("list_workflows", json!({}))["total"], 0);
    assert!(pilot.end().success());
}

#[test]
fn a_client_that_speaks_before_it_greets_is_borne_with() {
    let home = Home::new();
    let mut pilot = home.fresh();
    pilot.send(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
    );
    pilot.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    assert!(
        pilot.request("tools/list", json!({})).is_err(),
        "it has not said who it is"
    );
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}});
    assert!(pilot.request("initialize", hello).is_ok());
    assert_eq!(pilot.ok("list_workflows", json!({}))["total"], 0);
}
