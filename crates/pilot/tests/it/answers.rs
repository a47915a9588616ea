//! Answers fit an agent's context, whatever the workflow is like. `support::answer` checks the
//! size of each one.

use serde_json::{Value, json};

use crate::support::{Home, failing, step, store};

#[test]
fn c10_a_large_workflow_is_shown_in_parts_and_said_to_be() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let long = "a long name of a step that fills the answers ".repeat(2);
    let mut steps: Vec<Value> = (0..1500)
        .map(|i| {
            let mut look = store(
                &format!("look_{i}"),
                "get",
                &format!("name_{i}"),
                json!(null),
            );
            look["name"] = json!(format!("{long}{i}"));
            look
        })
        .collect();
    steps.push(store("set_a", "set", "a", json!("1")));
    steps.push(failing("boom"));
    let id = pilot.create(json!(steps));
    let mut cursor = Value::Null;
    let mut seen = Vec::new();
    loop {
        let page = pilot.ok(
            "review_workflow",
            json!({"workflow_id": id, "cursor": cursor}),
        );
        seen.extend(
            page["steps"]
                .as_array()
                .unwrap()
                .iter()
                .map(|step| step["id"].clone()),
        );
        cursor = page["next_cursor"].clone();
        assert_eq!(page["truncated"].as_bool().unwrap(), !cursor.is_null());
        if cursor.is_null() {
            break;
        }
    }
    let all: Vec<&Value> = steps.iter().map(|step| &step["id"]).collect();
    assert!(seen.iter().eq(all), "the review shows every step once");

    let plan = pilot.run(&id);
    assert_eq!(
        (&plan["total"], &plan["truncated"]),
        (&json!(1502), &json!(true))
    );
    assert_eq!(plan["counts"], json!({"pending": 1502}));
    let mut done = pilot.approve(&plan);
    let mut results = 0;
    loop {
        results += done["results"].as_array().map_or(0, Vec::len);
        if done["outcome"] != "running" && done.get("results_left").is_none() {
            break;
        }
        done = pilot.status(&id);
    }
    assert_eq!(results, 1501, "each result was given out, in parts");
    assert_eq!(done["outcome"], "rolled_back", "{done}");
    let shown: Vec<&Value> = done["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| &step["id"])
        .collect();
    assert!(
        shown.contains(&&json!("set_a")) && shown.contains(&&json!("boom")),
        "{shown:?}"
    );
    assert!(shown.len() <= 200);
    assert_eq!(done["counts"]["rolled_back"], 1);
}

#[test]
fn c10_large_results_are_cut_and_said_to_be() {
    let home = Home::new();
    let words = "words ".repeat(2_000);
    home.set_store(&json!({"a": words, "b": (0..20_000).collect::<Vec<_>>(), "c": "small"}));
    let mut pilot = home.pilot();
    let id = pilot.create(json!([
        store("look_a", "get", "a", json!(null)),
        store("look_b", "get", "b", json!(null)),
        store("look_c", "get", "c", json!(null)),
    ]));
    let done = pilot.run(&id);
    assert_eq!(done["outcome"], "completed");
    let results = done["results"].as_array().unwrap();
    assert_eq!(results[1]["truncated"], true);
    assert!(
        results[1]["left_out"][0]
            .as_str()
            .unwrap()
            .contains("of 20000 entries are shown"),
        "{}",
        results[1]["left_out"]
    );
    assert!(results[1]["body"]["value"].as_array().unwrap().len() > 1_000);
    assert_eq!(results[2]["body"]["value"], "small");
    assert!(results[2].get("truncated").is_none());
}

#[test]
fn p13_what_a_companion_says_is_shown_without_what_deceives() {
    let home = Home::with_fake(&[("FAKE_PASSWORD", "hunter2canary")]);
    home.set_store(&json!({"a": "web\u{202E}01\u{1b}[31m"}));
    let mut pilot = home.pilot();
    let id = pilot.create(json!([
        store("look", "get", "a", json!(null)),
        step("dirty", "note", json!({"text": "x", "fault": "dirty"})),
    ]));
    let done = pilot.run_approving(&id);
    let text = done.to_string();
    assert_eq!(done["failure"]["step"], "dirty", "{done}");
    assert!(
        !text.chars().any(|c| c == '\u{202E}' || c == '\u{1b}'),
        "{text}"
    );
    assert!(
        !text.contains("hunter2canary") && !text.contains("ghp_a1"),
        "{text}"
    );
    assert!(
        home.holding("hunter2canary")
            .iter()
            .all(|path| path.ends_with("companions.json"))
    );
}

#[test]
fn workflows_are_listed_in_pages_the_newest_first() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let made: Vec<String> = (0..5)
        .map(|_| pilot.create(json!([store("look", "get", "a", json!(null))])))
        .collect();
    pilot.run(&made[1]);
    let mut found = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let page = pilot.ok("list_workflows", json!({"limit": 2, "cursor": cursor}));
        assert_eq!(page["total"], 5);
        found.extend(
            page["workflows"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["workflow_id"].clone()),
        );
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    let newest: Vec<Value> = made.iter().rev().map(|id| json!(id)).collect();
    assert_eq!(found, newest);
    let done = pilot.ok("list_workflows", json!({"state": "completed"}));
    assert_eq!(
        (&done["total"], &done["workflows"][0]["workflow_id"]),
        (&json!(1), &json!(made[1]))
    );
    assert_eq!(done["workflows"][0]["settled"], 1);
}

/// The companion `fake` in a catalog: others may lie beside the program.
fn fake(catalog: &Value) -> &Value {
    let skills = catalog["skills"].as_array().unwrap();
    skills
        .iter()
        .find(|skill| skill["skill"] == "fake")
        .unwrap()
}

#[test]
fn the_catalog_shows_what_runs_today() {
    let home = Home::new();
    let mut pilot = home.pilot();
    let catalog = pilot.ok("get_skill_catalog", json!({}));
    let fake = fake(&catalog);
    assert_eq!(
        (&fake["skill"], &fake["state"]),
        (&json!("fake"), &json!("ready"))
    );
    let tools = |catalog: &Value| {
        crate::answers::fake(catalog)["tools"]
            .as_array()
            .unwrap()
            .len()
    };
    let store = fake["tools"]
        .as_array()
        .unwrap()
        .iter()
        .find(|tool| tool["tool"] == "store")
        .unwrap();
    assert!(
        store["actions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["action"] == "unset" && row["risk"] == "destructive")
    );
    let id = pilot.create(json!([step("grow", "grow", json!({}))]));
    pilot.run_approving(&id);
    let one = pilot.ok("get_skill_catalog", json!({"skill": "fake"}));
    assert_eq!(
        tools(&one),
        tools(&catalog) + 1,
        "the companion has learnt a tool"
    );
    let refused = pilot.refused(
        "get_skill_catalog",
        json!({"skill": "fale"}),
        "step.unknown_skill",
    );
    assert_eq!(refused["nearest"], json!(["fake"]));
}
