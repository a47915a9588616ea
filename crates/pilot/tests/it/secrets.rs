//! No secret comes in, and no answer of a companion is kept.

use serde_json::{Value, json};

use crate::support::{Home, store};

const CANARY: &str = "hunter2-canary-4711";

#[test]
fn p2_a_literal_secret_is_refused_not_echoed_and_nothing_is_stored() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let with = |given: Value, params: Value| {
        let mut step = store("unusual_step_name", "set", "a", json!("1"));
        step["params"]
            .as_object_mut()
            .unwrap()
            .extend(given.as_object().unwrap().clone());
        json!({"name": "Unusual workflow name", "steps": [step], "params": params})
    };
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----");
    for definition in [
        with(json!({"password": CANARY}), json!({})),
        with(json!({"value": {"deep": [{"api_key": CANARY}]}}), json!({})),
        with(json!({"value": pem}), json!({})),
        with(
            json!({"value": format!("Bearer {CANARY}abcdefghijkl")}),
            json!({}),
        ),
        with(
            json!({"value": format!("https://root:{CANARY}@vcenter/")}),
            json!({}),
        ),
        with(
            json!({"value": format!("{{\"token\": \"{CANARY}\"}}")}),
            json!({}),
        ),
        json!({"name": "Unusual workflow name", "steps": [], "params": {"kubeconfig": CANARY}}),
        json!({"name": "Unusual workflow name", "authorization": CANARY}),
        // In parts that are harmless, each by itself.
        with(json!({"password": "${params.x}"}), json!({"x": CANARY})),
        with(
            json!({"value": "Bearer ${params.x}"}),
            json!({"x": format!("{CANARY}abcdefghijkl")}),
        ),
    ] {
        let refused = pilot.refused("create_workflow", definition.clone(), "workflow.secret");
        assert!(
            refused["error"]
                .as_str()
                .unwrap()
                .contains("credential profile"),
            "{refused}"
        );
        assert!(!refused.to_string().contains(CANARY), "{refused}");
        assert!(refused["pointer"].is_string());
    }
    assert_eq!(pilot.ok("list_workflows", json!({}))["total"], 0);
    assert_eq!(pilot.audit().len(), 11, "the calls themselves are recorded");
    let log = pilot.log();
    assert!(pilot.end().success());
    assert!(!log.contains(CANARY));
    for words in [CANARY, "Unusual workflow name", "unusual_step_name"] {
        assert_eq!(
            home.holding(words),
            Vec::<std::path::PathBuf>::new(),
            "{words}"
        );
    }
}

#[test]
fn p2_the_name_of_a_profile_is_no_secret() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let mut set = store("set_a", "set", "a", json!("1"));
    set["params"]["value"] = json!({"credential_profile": "lab", "password": "${params.nothing}"});
    let refused = pilot
        .call("create_workflow", json!({"name": "x", "steps": [set]}))
        .unwrap_err();
    assert_eq!(
        refused["code"], "step.reference",
        "a reference is none either: {refused}"
    );
}

#[test]
fn p12_no_answer_of_a_companion_is_stored() {
    let home = Home::new();
    let marker = "marker-of-an-answer-0815";
    home.set_store(&json!({"a": marker, "b": "short"}));
    let mut pilot = home.pilot();
    let mut look = store("look", "get", "b", json!(null));
    look["outputs"] = json!({"kept": "/value", "gone": "/nowhere"});
    let id = pilot.create(json!([store("read", "get", "a", json!(null)), look]));
    let done = pilot.run(&id);
    assert_eq!(
        done["results"][0]["body"]["value"], marker,
        "the caller has it"
    );
    let look = crate::support::row(&done, "look");
    assert_eq!(look["outputs"], json!({"kept": "short"}));
    assert_eq!(look["missing"].as_array().unwrap().len(), 1, "{look}");
    assert!(home.holding(marker).is_empty(), "while it runs");
    assert!(pilot.end().success());
    assert!(home.holding(marker).is_empty(), "and after it");
    assert!(
        !home.holding("short").is_empty(),
        "a declared output is kept, so the search finds what is there"
    );
}
