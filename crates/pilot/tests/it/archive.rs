//! Old workflows are put away into a file that verifies, and nothing of them is lost.

use serde_json::json;

use crate::support::{Home, store};

#[test]
fn p11_what_ended_is_archived_into_a_file_that_verifies_and_stays_listed() {
    let home = Home::new();
    home.write("config.toml", "archive_after_days = 0\n");
    let mut pilot = home.pilot();
    let ended = pilot.create(json!([store("set_a", "set", "a", json!("1"))]));
    pilot.run_approving(&ended);
    let open = pilot.create(json!([store("set_b", "set", "b", json!("1"))]));
    pilot.run(&open);

    let counted = pilot.ok(
        "archive_workflows",
        json!({"older_than_days": 0, "dry_run": true}),
    );
    assert_eq!(counted["workflows"], 1, "{counted}");
    assert_eq!(counted["files"], json!([]), "{counted}");
    let done = pilot.ok("archive_workflows", json!({"older_than_days": 0}));
    assert_eq!(done["workflows"], 1, "{done}");
    let file = done["files"][0]["file"].as_str().unwrap();
    assert!(home.root().join(file).is_file(), "{done}");

    let refused = pilot.refused(
        "rollback",
        json!({"workflow_id": ended}),
        "workflow.archived",
    );
    assert!(
        refused["error"].as_str().unwrap().contains(".jsonl"),
        "{refused}"
    );
    assert!(pilot.end().success());

    let mut next = home.pilot();
    next.refused(
        "get_workflow_status",
        json!({"workflow_id": ended}),
        "workflow.archived",
    );
    let listed = next.ok("list_workflows", json!({}));
    assert_eq!(listed["total"], 2, "{listed}");
    let verified = next.ok("get_audit_log", json!({"verify": true}));
    assert_eq!(verified["verified"], true, "{verified}");
    assert_eq!(verified["archives"][0]["verified"], true, "{verified}");
    let goes_on = next.run(&open);
    assert_eq!(goes_on["state"], "awaiting_approval", "{goes_on}");

    let path = home.root().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("set_a", "set_z", 1)).unwrap();
    let altered = next.ok("get_audit_log", json!({"verify": true}));
    assert_eq!(altered["verified"], false, "{altered}");
    assert_eq!(
        altered["archives"][0]["code"], "store.corrupted",
        "{altered}"
    );
}

#[test]
fn p11_the_operator_says_how_old_a_workflow_is_that_may_be_archived() {
    let home = Home::new();
    let mut pilot = home.pilot();
    pilot.refused(
        "archive_workflows",
        json!({"older_than_days": 29}),
        "argument.out_of_range",
    );
    let nothing = pilot.ok("archive_workflows", json!({"older_than_days": 30}));
    assert_eq!(nothing["workflows"], 0, "{nothing}");
}
