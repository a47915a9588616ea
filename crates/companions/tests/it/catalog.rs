//! The live catalog, the facts of calls, and the check of arguments, from a real child process.

use crate::common::{Lab, call, failure, fake, success};
use companions::SkillState;
use engine::ports::Dispatch as _;
use policy::rules::Rules;
use serde_json::json;
use workflow::event::Left;
use workflow::model::{Effect, Risk, ScalarKind};

#[tokio::test(flavor = "multi_thread")]
async fn p4_risk_and_effect_come_from_the_companion_that_runs() {
    let lab = Lab::new("");
    for (tool, arguments, risk, effect) in [
        ("peek", json!({"name": "x"}), Risk::Read, Effect::Read),
        (
            "note",
            json!({"text": "x"}),
            Risk::Write,
            Effect::Idempotent,
        ),
        ("bump", json!({}), Risk::Write, Effect::Once),
        (
            "erase",
            json!({"name": "x"}),
            Risk::Destructive,
            Effect::Idempotent,
        ),
        (
            "plain",
            json!({"text": "x"}),
            Risk::Destructive,
            Effect::Once,
        ),
        (
            "store",
            json!({"action": "get", "name": "x"}),
            Risk::Read,
            Effect::Read,
        ),
        (
            "store",
            json!({"action": "set", "name": "x", "value": 1}),
            Risk::Write,
            Effect::Idempotent,
        ),
        (
            "store",
            json!({"action": "set", "name": "x", "value": 1, "preview": true}),
            Risk::Read,
            Effect::Read,
        ),
        (
            "store",
            json!({"action": "unset", "name": "x"}),
            Risk::Destructive,
            Effect::Idempotent,
        ),
        (
            "store",
            json!({"action": "add", "name": "x", "value": 1}),
            Risk::Write,
            Effect::Once,
        ),
    ] {
        let facts = lab.describe(tool, arguments.clone()).await.unwrap();
        assert_eq!(
            (facts.risk, facts.effect),
            (risk, effect),
            "{tool} {arguments}"
        );
    }
    let facts = lab
        .describe("store", json!({"action": "set", "name": "x", "value": 1}))
        .await
        .unwrap();
    assert_eq!(
        (facts.action.as_deref(), facts.select.as_deref()),
        (Some("set"), Some("action"))
    );
    assert_eq!(
        (facts.preview.as_deref(), facts.inverses.len()),
        (Some("preview"), 2)
    );
    let get = lab
        .describe("store", json!({"action": "get", "name": "x"}))
        .await
        .unwrap();
    assert_ne!(get.tool, facts.tool);
    assert_eq!(get.preview, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_cannot_be_made_says_what_is_nearest() {
    let lab = Lab::new("");
    let unfit = lab.unfit("peak", json!({})).await;
    assert_eq!(
        (unfit.code, &unfit.extra["nearest"][0]),
        ("step.unknown_tool", &json!("peek"))
    );
    let unfit = lab
        .unfit("store", json!({"action": "unsett", "name": "x"}))
        .await;
    assert_eq!(
        (unfit.code, &unfit.extra["nearest"][0]),
        ("step.unknown_action", &json!("unset"))
    );
    assert_eq!(unfit.extra["allowed"].as_array().unwrap().len(), 5);
    let unfit = lab.unfit("store", json!({"name": "x"})).await;
    assert_eq!(unfit.code, "step.unknown_action");
    let unfit = lab
        .companions
        .describe(&call("fakee", "peek", json!({})), &Default::default())
        .await
        .unwrap_err();
    assert_eq!(
        (unfit.code, &unfit.extra["nearest"][0]),
        ("step.unknown_skill", &json!("fake"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_are_checked_against_the_tools_own_schema() {
    let lab = Lab::new("");
    lab.describe("strict", json!({"size": 10, "kind": "thin", "label": null}))
        .await
        .unwrap();
    for (arguments, pointer) in [
        (json!({}), ""),
        (json!({"size": 11}), "/size"),
        (json!({"size": "cAnArY-1"}), "/size"),
        (json!({"size": 1, "kind": "cAnArY-2"}), "/kind"),
        (json!({"size": 1, "label": "cAnArY-3-too-long"}), "/label"),
        (json!({"size": 1, "siez": "cAnArY-4"}), ""),
    ] {
        let unfit = lab.unfit("strict", arguments.clone()).await;
        assert_eq!(
            (unfit.code, &unfit.extra["pointer"]),
            ("step.arguments", &json!(pointer)),
            "{arguments}"
        );
        assert!(!format!("{unfit:?}").contains("cAnArY"), "{unfit:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_counts_as_its_declared_type() {
    let lab = Lab::new("");
    let hole = json!({"size": "${steps.a.outputs.size}"});
    lab.describe_with("strict", hole.clone(), &[("/size", ScalarKind::Integer)])
        .await
        .unwrap();
    let unfit = lab
        .describe_with("strict", hole, &[("/size", ScalarKind::String)])
        .await
        .unwrap_err();
    assert_eq!(unfit.code, "step.arguments");
    let action = json!({"action": "${params.action}", "name": "x"});
    let unfit = lab
        .describe_with("store", action, &[("/action", ScalarKind::String)])
        .await
        .unwrap_err();
    assert_eq!(unfit.code, "step.unknown_action");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_list_of_tools_is_seen_at_the_next_use() {
    let lab = Lab::new("");
    assert_eq!(
        lab.unfit("grown", json!({})).await.code,
        "step.unknown_tool"
    );
    success(lab.call("grow", json!({})).await);
    lab.describe("grown", json!({})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_tools_is_followed_to_its_end_and_no_further() {
    let lab = Lab::new("pages");
    let skill = lab.companions.catalog(None).await.unwrap().skills.remove(0);
    assert_eq!(
        (skill.state, skill.tools.len(), skill.findings.len()),
        (SkillState::Ready, 9, 0)
    );
    let lab = Lab::new("endless");
    let skill = lab.companions.catalog(None).await.unwrap().skills.remove(0);
    assert!(
        skill
            .findings
            .iter()
            .any(|finding| finding.contains("does not end")),
        "{:?}",
        skill.findings
    );
    let lab = Lab::new("list_error");
    let skill = lab.companions.catalog(None).await.unwrap().skills.remove(0);
    assert_eq!(skill.state, SkillState::Failed);
    assert!(skill.why.unwrap().contains("no list today"));
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_a_malformed_table_is_a_finding_and_the_tool_is_judged_by_its_annotations() {
    let lab = Lab::new("bad_table");
    let facts = lab
        .describe("store", json!({"action": "get", "name": "x"}))
        .await
        .unwrap();
    assert_eq!((facts.risk, facts.action), (Risk::Destructive, None));
    let skill = lab
        .companions
        .catalog(Some("fake"))
        .await
        .unwrap()
        .skills
        .remove(0);
    assert!(
        skill.findings[0].contains("`store`"),
        "{:?}",
        skill.findings
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_shows_what_is_ready_what_failed_and_what_was_only_found() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(fake(), dir.path().join("vmware-lab-mcp")).unwrap();
    let entries = [
        ("fake", json!({"command": fake()})),
        (
            "broken",
            json!({"command": fake(), "env": {"FAKE_MODE": "exit_start"}}),
        ),
    ];
    let lab = Lab::tuned(&entries, |mut settings| {
        settings.environment.retain(|(name, _)| name != "PATH");
        settings
            .environment
            .push(("PATH".into(), dir.path().into()));
        settings
    });
    let catalog = lab.companions.catalog(None).await.unwrap();
    let states: Vec<_> = catalog
        .skills
        .iter()
        .map(|skill| (skill.skill.as_str(), skill.state))
        .collect();
    assert_eq!(
        states,
        [
            ("broken", SkillState::Failed),
            ("fake", SkillState::Ready),
            ("lab", SkillState::FoundNotListed)
        ]
    );
    let fake = &catalog.skills[1];
    assert_eq!(fake.server.as_deref(), Some("fake 1.0.0"));
    let store = fake.tools.iter().find(|tool| tool.tool == "store").unwrap();
    assert_eq!(
        (store.risk, store.select.as_deref(), store.actions.len()),
        ("destructive", Some("action"), 5)
    );
    let set = store
        .actions
        .iter()
        .find(|action| action.action == "set")
        .unwrap();
    assert_eq!(
        (set.risk, set.effect, set.undo.len(), set.preview),
        ("write", "idempotent", 2, true)
    );
    assert_eq!((set.doc.as_str(), set.required.len()), ("Sets a value.", 2));
    let peek = fake.tools.iter().find(|tool| tool.tool == "peek").unwrap();
    assert_eq!(
        (peek.risk, peek.effect, &peek.required[..]),
        ("read", Some("read"), &["name".to_owned()][..])
    );
    assert_eq!(peek.description, "The fake's peek.", "sanitised");

    let one = lab.companions.catalog(Some("lab")).await.unwrap();
    assert_eq!(one.skills.len(), 1);
    assert!(lab.companions.catalog(Some("nobody")).await.is_err());
    let unfit = lab
        .companions
        .describe(&call("lab", "peek", json!({})), &Default::default())
        .await
        .unwrap_err();
    assert_eq!(unfit.code, "step.unknown_skill");
    assert!(unfit.message.contains("is not listed"), "{}", unfit.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn p15_a_rule_of_the_operator_forbids_a_call_before_anything_is_sent() {
    let rules = Rules::new(&["fake/store/unset", "fake/bump"]).unwrap();
    let lab = Lab::tuned(&[("fake", json!({"command": fake()}))], |settings| {
        settings.with_rules(rules)
    });
    let unfit = lab
        .unfit("store", json!({"action": "unset", "name": "x"}))
        .await;
    assert_eq!(unfit.code, "policy.denied");
    let mut outgoing = lab.outgoing("note", json!({"text": "x"})).await;
    outgoing.call = call("fake", "bump", json!({}));
    let (code, _, left) = failure(lab.companions.call(outgoing).await);
    assert_eq!((code.as_str(), left), ("policy.denied", Left::Nothing));
    assert!(lab.ledger().is_empty());
    success(
        lab.call("store", json!({"action": "set", "name": "x", "value": 1}))
            .await,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_previewed_made_compared_with_its_target_and_undone() {
    let lab = Lab::new("");
    let set = json!({"action": "set", "name": "x", "value": 2});
    success(
        lab.call("store", json!({"action": "set", "name": "x", "value": 1}))
            .await,
    );
    let preview = success(
        lab.call(
            "store",
            json!({"action": "set", "name": "x", "value": 2, "preview": true}),
        )
        .await,
    );
    assert_eq!(
        (&preview["preview"], &preview["before"]["value"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(
        preview["undo"],
        json!({"action": "set", "name": "x", "value": 1})
    );
    assert_eq!(lab.ledger().len(), 1, "a preview does nothing");

    let mut outgoing = lab.outgoing("store", set).await;
    outgoing.meta.target = preview["target"].as_object().cloned();
    success(lab.companions.call(outgoing.clone()).await);
    outgoing
        .meta
        .target
        .as_mut()
        .unwrap()
        .insert("incarnation".to_owned(), json!(7));
    let (code, _, left) = failure(lab.companions.call(outgoing).await);
    assert_eq!((code.as_str(), left), ("target.changed", Left::Nothing));

    success(lab.call("store", preview["undo"].clone()).await);
    let get = success(
        lab.call("store", json!({"action": "get", "name": "x"}))
            .await,
    );
    assert_eq!(get["value"], 1);
    assert_eq!(lab.ledger().len(), 3);
}
