//! The shape of answers, their size, and what is nearest.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn c11_a_refusal_is_flat_and_leads_with_code_and_error() {
    let refusal = Refusal::new("vm.not_found", "Pass `vm_uuid`: no VM is called `web1`")
        .effect(ErrorEffect::None)
        .given("web1")
        .nearest(["web01"])
        .nearest(Vec::<String>::new())
        .allowed(["a", "b"])
        .with("fault", json!({"type": "NotFound"}))
        .with("code", "other");
    assert_eq!(
        refusal.to_string(),
        "vm.not_found: Pass `vm_uuid`: no VM is called `web1`"
    );
    let answer = Answer::from(refusal);
    assert!(answer.is_error());
    assert_eq!(
        (answer.code(), answer.effect()),
        (Some("vm.not_found"), Some(ErrorEffect::None))
    );
    assert_eq!(
        answer.text(),
        r#"{"code":"vm.not_found","error":"Pass `vm_uuid`: no VM is called `web1`","effect":"none","given":"web1","nearest":["web01"],"allowed":["a","b"],"fault":{"type":"NotFound"}}"#
    );
}

#[test]
fn c11_no_secret_and_no_deceiving_character_leaves_in_a_refusal() {
    let refusal = Refusal::new("x.y", "Check Bearer abc123def at web\u{202E}01\n")
        .given(json!({"password": "hunter2", "a\u{200b}": "b\u{7}", "url": "https://u:hunter2@h"}))
        .with("token", "hunter2");
    let answer = Answer::from(refusal);
    assert_eq!(
        answer.into_value(),
        json!({
            "code": "x.y", "error": "Check Bearer *** at web01 ",
            "given": {"password": "***", "a": "b", "url": "https://u:***@h"}, "token": "***",
        })
    );
}

#[test]
fn c11_a_secret_at_the_cut_is_hidden_before_the_text_is_cut() {
    let text = format!("{} Bearer abc123def456", "x".repeat(486));
    let refusal = Refusal::new("x.y", text);
    assert!(!refusal.message().contains("abc1"), "{}", refusal.message());
}

#[test]
fn c10_a_success_is_an_object_and_its_text_the_same() {
    let answer = Answer::ok(json!({"b": 1, "code": "x"})).with("a", 2);
    assert!(!answer.is_error());
    assert_eq!((answer.code(), answer.effect()), (None, None));
    assert_eq!(
        serde_json::from_str::<Value>(&answer.text()).ok(),
        Some(json!({"a": 2, "b": 1, "code": "x"}))
    );
    assert_eq!(Answer::ok(json!([1])).into_value(), json!({"value": [1]}));
    assert!(Answer::ok(json!({"a": "ü"})).exceeds(8) && !Answer::ok(json!({"a": "ü"})).exceeds(9));
}

#[test]
fn c10_a_list_says_what_was_left_out() {
    let rows = vec![json!({"n": 1}), json!({"n": 2}), json!({"n": 3})];
    let body = |cap, offset, total| {
        Value::Object(fit_rows(rows.clone(), cap).into_body("vms", offset, total))
    };
    assert_eq!(
        body(17, 4, 7),
        json!({"vms": [{"n": 1}, {"n": 2}], "returned": 2, "total": 7, "truncated": true, "next_cursor": "6"})
    );
    assert_eq!(
        body(100, 4, 7),
        json!({"vms": rows, "returned": 3, "total": 7, "truncated": false, "next_cursor": null})
    );
    assert_eq!(body(3, 0, 3)["returned"], 0);
}

#[test]
fn c11_the_nearest_come_first() {
    let actions = [
        "power_on",
        "power_off",
        "get_vm",
        "snapshot_create",
        "snapshot_delete",
        "list_vms",
    ];
    let near = |given: &str| nearest(given, actions, 2);
    assert_eq!(near("poweron")[0], "power_on");
    assert_eq!(near("POWER-OFF")[0], "power_off");
    assert_eq!(near("snapshot"), ["snapshot_create", "snapshot_delete"]);
    assert_eq!(near("get_vms")[0], "get_vm");
    assert_eq!(near("zzz"), [""; 0]);
    assert_eq!(near(""), [""; 0]);
    assert_eq!(near(&"x".repeat(1_000_000)), [""; 0]);
}

proptest! {
    #[test]
    fn c10_what_fits_fits_and_is_a_prefix(texts in proptest::collection::vec(any::<String>(), 0..12), cap in 0usize..200) {
        let rows: Vec<Value> = texts.into_iter().map(|t| json!({"t": t})).collect();
        let fitted = fit_rows(rows.clone(), cap);
        prop_assert_eq!(&rows[..fitted.returned()], &fitted.rows[..]);
        prop_assert_eq!(fitted.truncated, fitted.returned() < rows.len());
        let size = |rows: &[Value]| json!(rows).to_string().chars().count();
        prop_assert!(fitted.rows.is_empty() || size(&fitted.rows) <= cap);
        if fitted.truncated {
            // Not one row more would have fitted.
            prop_assert!(size(&rows[..=fitted.returned()]) > cap);
        }
    }

    #[test]
    fn c11_any_refusal_is_clean(error in any::<String>(), given in any::<String>()) {
        let answer = Answer::from(Refusal::new("x.y", error).given(given));
        for text in answer.body().values().filter_map(Value::as_str) {
            prop_assert_eq!(guard::text::sanitize(text), text);
        }
    }
}
