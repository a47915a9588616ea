//! What an answer shows: outputs, verdicts, previews and offered undos, against answers that are
//! honest, wrong, empty or hostile.

use std::collections::BTreeMap;

use crate::support::{Kind, call, facts_of};
use serde_json::{Value, json};
use workflow::event::{Left, Verdict};
use workflow::judge::{offered, outputs, prepared, verdict};
use workflow::model::{Facts, OutputDef, Prepared, ScalarKind, UndoKind, Verify};
use workflow::reply::Reply;

fn success(body: Value) -> Reply {
    Reply::Success {
        body,
        sha256: "0".repeat(64),
        size: 1,
    }
}

fn def(pointer: &str, kind: ScalarKind) -> OutputDef {
    OutputDef {
        pointer: pointer.to_owned(),
        kind,
    }
}

#[test]
fn p12_an_output_is_a_short_clean_scalar_that_is_no_secret() {
    let body = json!({
        "name": "web01", "n": 4, "on": true, "list": [], "long": "x".repeat(501),
        "dirty": "a\u{202e}b", "token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.AAAAAAAAAAAAAAAA",
    });
    let declared = BTreeMap::from([
        ("dirty".to_owned(), def("/dirty", ScalarKind::String)),
        ("gone".to_owned(), def("/gone", ScalarKind::String)),
        ("list".to_owned(), def("/list", ScalarKind::String)),
        ("long".to_owned(), def("/long", ScalarKind::String)),
        ("n".to_owned(), def("/n", ScalarKind::Integer)),
        ("name".to_owned(), def("/name", ScalarKind::String)),
        ("number_as_text".to_owned(), def("/n", ScalarKind::String)),
        ("on".to_owned(), def("/on", ScalarKind::Boolean)),
        ("password".to_owned(), def("/name", ScalarKind::String)),
        ("shape".to_owned(), def("/token", ScalarKind::String)),
    ]);
    let (found, missing) = outputs(&declared, &body);
    assert_eq!(
        found,
        BTreeMap::from([
            ("n".to_owned(), json!(4)),
            ("name".to_owned(), json!("web01")),
            ("on".to_owned(), json!(true)),
        ])
    );
    let names: Vec<&str> = missing.iter().filter_map(|m| m.split(':').next()).collect();
    assert_eq!(
        names,
        [
            "dirty",
            "gone",
            "list",
            "long",
            "number_as_text",
            "password",
            "shape"
        ]
    );
    assert!(!missing.iter().any(|m| m.contains("eyJ")));
}

#[test]
fn p18_a_probe_says_only_what_it_shows() {
    let verify = |before: Value, after: Value| Verify {
        call: call("look"),
        before: serde_json::from_value(before).unwrap(),
        after: serde_json::from_value(after).unwrap(),
    };
    let unclear = |v: &Verdict| matches!(v, Verdict::Unclear { .. });
    let both = verify(json!({"/on": true}), json!({"/on": false}));
    assert_eq!(
        verdict(&both, &success(json!({"on": false}))),
        Verdict::InEffect
    );
    assert_eq!(
        verdict(&both, &success(json!({"on": true}))),
        Verdict::NotInEffect
    );
    assert!(unclear(&verdict(
        &both,
        &success(json!({"on": "suspended"}))
    )));
    assert!(unclear(&verdict(&both, &success(json!({})))));
    assert!(unclear(&verdict(
        &both,
        &Reply::Lost {
            why: "gone".to_owned()
        }
    )));
    let failed = Reply::Failure {
        code: "vm.not_found".to_owned(),
        error: "There is none".to_owned(),
        left: Left::Nothing,
    };
    assert!(
        unclear(&verdict(&both, &failed)),
        "a failed check shows nothing"
    );
    let same = verify(json!({"/on": true}), json!({"/on": true}));
    assert!(unclear(&verdict(&same, &success(json!({"on": true})))));
    let own = verify(json!({}), json!({"/n": 4}));
    assert_eq!(
        verdict(&own, &success(json!({"n": 4.0}))),
        Verdict::InEffect
    );
    assert_eq!(
        verdict(&own, &success(json!({"n": 5}))),
        Verdict::NotInEffect
    );
    let nothing = verify(json!({}), json!({}));
    assert!(unclear(&verdict(&nothing, &success(json!({})))));
}

#[test]
fn p12_a_preview_that_is_none_or_holds_a_secret_is_not_used() {
    let ok = json!({
        "preview": true, "target": {"moref": "vm-1"}, "before": {"cpu": 2}, "after": {"cpu": 4},
        "undo": {"action": "undo", "moref": "vm-1"}, "undo_kind": "exact",
        "verify": {"arguments": {"action": "get"}, "before": {"/cpu": 2}, "after": {"/cpu": 4}},
        "warnings": ["careful\u{202e}"],
    });
    let found = prepared(&call("do"), &facts_of(Kind::Write).unwrap(), &ok).unwrap();
    assert_eq!(found.undo.unwrap().kind, UndoKind::Exact);
    assert_eq!(found.warnings, ["careful"]);
    let mut bad = Vec::new();
    for (pointer, value) in [
        ("/preview", json!(false)),
        ("/before/password", json!("hunter2")),
        ("/undo/password", json!("hunter2")),
        ("/undo/vm_name", json!("a\u{200b}b")),
        ("/verify/before/~1token", json!("hunter2")),
        ("/target/blob", json!("x".repeat(70_000))),
    ] {
        let mut body = ok.clone();
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[last.replace("~1", "/")] = value;
        let why = prepared(&call("do"), &facts_of(Kind::Write).unwrap(), &body).unwrap_err();
        assert!(!why.contains("hunter2"));
        bad.push(why);
    }
    assert_eq!(bad.len(), 6);
    assert!(prepared(&call("do"), &facts_of(Kind::Write).unwrap(), &json!("text")).is_err());
    assert!(
        prepared(
            &call("do"),
            &facts_of(Kind::Write).unwrap(),
            &json!({"changed": true})
        )
        .is_err(),
        "it may have run"
    );
}

#[test]
fn p8_an_offered_undo_goes_to_the_prepared_object_or_is_not_used() {
    let facts: Facts = facts_of(Kind::Write).unwrap();
    let known: Prepared = Prepared {
        target: serde_json::from_value(json!({"moref": "vm-1", "instance_uuid": "u"})).unwrap(),
        ..Prepared::default()
    };
    let mut step = call("do");
    step.arguments
        .insert("credential_profile".to_owned(), json!("lab"));
    let body = |undo: Value| json!({"undo": undo, "undo_kind": "exact"});
    let good =
        json!({"action": "undo", "moref": "vm-1", "credential_profile": "lab", "snapshot_id": "s"});
    assert!(offered(&step, &facts, &known, &body(good.clone())).is_some());
    for (name, value) in [
        ("action", json!("delete")),
        ("moref", json!("vm-2")),
        ("instance_uuid", json!("another")),
        ("credential_profile", json!("production")),
        ("host", json!("elsewhere")),
        ("password", json!("hunter2")),
        ("vm_name", json!("a\u{202e}b")),
    ] {
        let mut undo = good.clone();
        undo[name] = value;
        assert!(
            offered(&step, &facts, &known, &body(undo)).is_none(),
            "{name}"
        );
    }
    let mut nowhere = good;
    nowhere.as_object_mut().unwrap().remove("moref");
    assert!(
        offered(&step, &facts, &known, &body(nowhere)).is_none(),
        "no identity"
    );
}

/// A preview whose undo is this.
fn preview_with(undo: Value) -> Value {
    json!({
        "preview": true, "target": {"server": "s", "type": "VirtualMachine", "moref": "vm-1",
        "instance_uuid": "u", "name": "web01", "path": "/dc/vm/web01"}, "before": {"cpu": 2},
        "after": {"cpu": 4}, "undo": undo, "undo_kind": "exact",
    })
}

#[test]
fn p8_a_prepared_undo_is_a_declared_inverse_on_the_same_object_or_none() {
    let facts: Facts = facts_of(Kind::Write).unwrap();
    let mut step = call("do");
    for (name, value) in [("vm_name", "web01"), ("credential_profile", "lab")] {
        step.arguments.insert(name.to_owned(), json!(value));
    }
    let found = |undo: Value| prepared(&step, &facts, &preview_with(undo)).unwrap();
    for good in [
        json!({"action": "undo", "moref": "vm-1", "instance_uuid": "u", "cpu": 2, "credential_profile": "lab"}),
        json!({"action": "undo", "vm_uuid": "u", "path": "/dc/vm/elsewhere", "type": "thin"}),
        json!({"action": "undo", "vm_name": "web01"}),
    ] {
        assert!(found(good.clone()).undo.is_some(), "{good}");
    }
    for (bad, why) in [
        (
            json!({"action": "delete", "moref": "vm-1"}),
            "does not declare",
        ),
        (json!({"moref": "vm-1"}), "names no action"),
        (
            json!({"action": "undo", "moref": "vm-2"}),
            "another object than its step (`moref`)",
        ),
        (
            json!({"action": "undo", "moref": "vm-1", "instance_uuid": "v"}),
            "`instance_uuid`",
        ),
        (json!({"action": "undo", "vm_name": "other"}), "`vm_name`"),
        (
            json!({"action": "undo", "moref": "vm-1", "credential_profile": "production"}),
            "another way",
        ),
        (
            json!({"action": "undo", "moref": "vm-1", "host": "elsewhere"}),
            "another way",
        ),
        (
            json!({"action": "undo", "credential_profile": "lab"}),
            "which object",
        ),
    ] {
        let found = found(bad.clone());
        assert_eq!(found.undo, None, "{bad}");
        assert!(found.no_undo.contains(why), "{bad}: {}", found.no_undo);
    }
}

#[test]
fn p12_where_the_values_are_too_large_to_be_kept_there_is_no_undo_and_it_is_said() {
    let mut body = preview_with(json!({"action": "undo", "moref": "vm-1"}));
    body["before"]["blob"] = json!("x".repeat(70_000));
    let found = prepared(&call("do"), &facts_of(Kind::Write).unwrap(), &body).unwrap();
    assert_eq!(found.target["moref"], "vm-1", "its identity is kept");
    assert!(found.before.is_empty() && found.undo.is_none() && found.verify.is_none());
    assert!(found.no_undo.contains("at most 65536"), "{}", found.no_undo);
}

#[test]
fn p2_what_a_preview_says_in_words_is_kept_without_secrets() {
    let mut body = preview_with(Value::Null);
    body["undo_kind"] = json!("none");
    body["undo_note"] =
        json!("-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----");
    body["warnings"] = json!(["Bear\u{200b}er hunter2hunter2hunter2", "it is on"]);
    let found = prepared(&call("do"), &facts_of(Kind::Write).unwrap(), &body).unwrap();
    let kept = serde_json::to_string(&found).unwrap();
    assert!(!kept.contains("hunter2"), "{kept}");
    assert_eq!(found.warnings[1], "it is on");
}
