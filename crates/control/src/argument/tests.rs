//! What is read, and what is refused.

use serde_json::json;

use super::*;
use crate::table::arguments;

fn read(raw: Value) -> Result<Arguments, Failure> {
    let mut raw = raw.as_object().unwrap().clone();
    let password = lift_password(&mut raw);
    Arguments::read(action(&raw, Mode::Full)?, raw, password)
}

fn code(raw: Value) -> String {
    read(raw).unwrap_err().code().to_owned()
}

fn body(failure: Failure) -> Value {
    policy::answer::Answer::refusal(failure.into()).into_value()
}

#[test]
fn c11_an_unknown_action_names_the_nearest() {
    let raw = json!({"action": "power_of"});
    let failure = body(action(raw.as_object().unwrap(), Mode::Full).unwrap_err());
    assert_eq!(failure["code"], "action.unknown");
    assert_eq!(failure["nearest"][0], "power_off");
    assert_eq!(failure["effect"], "none");
    assert!(
        failure["error"]
            .as_str()
            .unwrap()
            .starts_with("Pass `power_off`")
    );
}

#[test]
fn an_unknown_argument_names_the_nearest_that_the_action_takes() {
    let failure = body(read(json!({"action": "get_vm", "vmname": "web"})).unwrap_err());
    assert_eq!(failure["code"], "argument.unknown");
    assert_eq!(failure["nearest"][0], "vm_name");
}

#[test]
fn null_and_the_empty_string_count_as_not_given() {
    let arguments =
        read(json!({"action": "about", "host": "", "user": null, "password": ""})).unwrap();
    assert_eq!(arguments.text("host"), None);
    assert!(arguments.password().is_none());
    // Even where the action does not take the argument at all.
    assert!(read(json!({"action": "about", "vm_name": ""})).is_ok());
}

#[test]
fn what_does_not_fit_is_refused() {
    assert_eq!(code(json!({})), "action.missing");
    assert_eq!(code(json!({"action": null})), "action.missing");
    assert_eq!(code(json!({"action": ""})), "action.missing");
    assert_eq!(code(json!({"action": 7})), "action.wrong_type");
    assert_eq!(
        code(json!({"action": "about", "port": "443"})),
        "argument.wrong_type"
    );
    assert_eq!(
        code(json!({"action": "about", "port": 0})),
        "argument.out_of_range"
    );
    assert_eq!(
        code(json!({"action": "about", "port": 443.5})),
        "argument.out_of_range"
    );
    assert_eq!(
        code(json!({"action": "about", "verify_ssl": 1})),
        "argument.wrong_type"
    );
    assert_eq!(
        code(json!({"action": "about", "host": ["a"]})),
        "argument.wrong_type"
    );
    assert_eq!(
        code(json!({"action": "about", "cpu": 2})),
        "argument.not_taken"
    );
    assert_eq!(
        code(json!({"action": "about", "host": "x".repeat(300)})),
        "argument.too_long"
    );
    assert_eq!(
        read(json!({"action": "about", "port": 8443.0}))
            .unwrap()
            .whole("port"),
        Some(8443)
    );
}

#[test]
fn p13_a_value_that_sanitising_would_alter_is_refused() {
    for name in [
        "web\u{202e}10",
        "web\u{200b}",
        "web\n",
        "web\u{0}",
        "web\u{e0041}",
    ] {
        assert_eq!(
            code(json!({"action": "get_vm", "vm_name": name})),
            "argument.unclean",
            "{name:?}"
        );
    }
    assert_eq!(
        code(json!({"action": "reconfigure", "expect": {"cpu\u{200b}": 1}})),
        "argument.unclean"
    );
    assert!(read(json!({"action": "get_vm", "vm_name": "Wëb – 日本 (1)"})).is_ok());
}

#[test]
fn c11_a_password_of_the_wrong_kind_is_not_echoed() {
    for password in [
        json!(["hunter2"]),
        json!("hunter2\u{0}"),
        json!("hunter2".repeat(500)),
    ] {
        let failure = read(json!({"action": "about", "password": password})).unwrap_err();
        assert!(!body(failure).to_string().contains("hunter2"));
    }
}

#[test]
fn c11_a_password_is_taken_out_of_the_raw_arguments_before_anything_else() {
    let raw = json!({"action": "about", "password": "hunter2"});
    let mut raw = raw.as_object().unwrap().clone();
    let password = lift_password(&mut raw);
    assert_eq!(raw["password"], "***");
    let arguments = Arguments::read(action(&raw, Mode::Full).unwrap(), raw, password).unwrap();
    assert_eq!(arguments.password().map(Secret::expose), Some("hunter2"));
    for none in [
        json!({}),
        json!({"password": ""}),
        json!({"password": null}),
        json!({"password": 7}),
    ] {
        let mut raw = none.as_object().unwrap().clone();
        assert!(lift_password(&mut raw).is_none());
        assert_eq!(Value::Object(raw), none);
    }
}

#[test]
fn p2_only_the_password_looks_like_a_secret_to_a_workflow() {
    for argument in arguments() {
        let secret = matches!(argument.kind, Kind::Secret { .. });
        assert_eq!(
            guard::secret::is_secret_key(argument.name),
            secret,
            "{}",
            argument.name
        );
    }
}
