//! The list of tools, and that there is no other way in.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Home, pilot};

fn listed() -> Value {
    let home = Home::new();
    let mut pilot = home.pilot();
    pilot.request("tools/list", json!({})).unwrap()
}

#[test]
fn the_tool_list_is_what_it_was() {
    insta::assert_json_snapshot!("tools", listed());
}

#[test]
fn the_tool_list_is_small_complete_and_in_the_same_order_each_time() {
    let list = listed();
    assert_eq!(list, listed());
    let tokens = list.to_string().len() / 4;
    assert!(tokens < 5_000, "about {tokens} tokens");
    let tools = list["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 14);
    for tool in tools {
        let name = &tool["name"];
        for hint in [
            "readOnlyHint",
            "destructiveHint",
            "idempotentHint",
            "openWorldHint",
        ] {
            assert!(tool["annotations"][hint].is_boolean(), "{name}: {hint}");
        }
        assert_eq!(tool["outputSchema"]["type"], "object", "{name}");
        let schema = &tool["inputSchema"];
        assert_eq!(schema["type"], "object", "{name}");
        for word in ["oneOf", "anyOf", "allOf"] {
            assert!(schema.get(word).is_none(), "{name}: {word}");
        }
        for required in schema["required"].as_array().into_iter().flatten() {
            assert!(
                schema["properties"]
                    .get(required.as_str().unwrap())
                    .is_some(),
                "{name}"
            );
        }
    }
}

#[test]
fn p3_there_is_no_command_but_the_server_and_the_version() {
    let home = Home::new();
    let run = |words: &[&str]| {
        let mut command = Command::new(pilot());
        command
            .args(words)
            .env("PILOTHOUSE_HOME", home.root())
            .output()
            .unwrap()
    };
    let version = run(&["--version"]);
    assert!(version.status.success());
    assert_eq!(
        String::from_utf8_lossy(&version.stdout),
        format!("pilot {}\n", env!("CARGO_PKG_VERSION"))
    );
    let help = String::from_utf8_lossy(&run(&["--help"]).stdout).into_owned();
    let commands = help
        .split("Commands:")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let commands: Vec<&str> = commands
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(commands, ["mcp", "help"], "{help}");
    for words in [
        &["run"][..],
        &["approve", "wf_1"],
        &["mcp", "run"],
        &["mcp", "--approve"],
        &[],
        &["create"],
    ] {
        let refused = run(words);
        assert!(!refused.status.success(), "{words:?}");
        assert!(refused.stdout.is_empty(), "{words:?}");
    }
    let names: Vec<_> = home.files().into_iter().map(|(path, _)| path).collect();
    assert_eq!(
        names,
        [home.root().join("companions.json")],
        "nothing was made"
    );
}

#[test]
fn nothing_is_opened_or_started_before_the_first_call() {
    let home = Home::new();
    let mut pilot = home.pilot();
    pilot.request("tools/list", json!({})).unwrap();
    assert_eq!(home.files().len(), 1, "only companions.json");
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", pilot.pid()));
    assert_eq!(children.unwrap(), "");
    assert!(pilot.end().success());
}
