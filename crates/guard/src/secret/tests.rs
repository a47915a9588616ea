//! What is a secret and what only looks like one (P2).

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const PEM: &str =
    "-----BEGIN RSA PRIVATE KEY-----\nMIIBOgIBAAJBAKj34GkxFhD9\n-----END RSA PRIVATE KEY-----";
const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P";

#[test]
fn p2_a_secret_does_not_show_itself() {
    let secret = Secret::new("hunter2".to_owned());
    assert_eq!(format!("{secret} {secret:?} {secret:#?}"), "*** *** ***");
    assert_eq!(secret.expose(), "hunter2");
    assert!(!secret.is_empty());
}

fn at(value: &Value) -> Option<(String, Kind)> {
    find(value).map(|found| (found.pointer, found.kind))
}

#[test]
fn p2_a_literal_under_a_secret_key_is_found_whatever_its_spelling() {
    for key in [
        "password",
        "Password",
        "PASSWORD",
        "vc_password",
        "vcPassword",
        "rootPasswd",
        "pwd",
        "passphrase",
        "secret",
        "client_secret",
        "clientSecret",
        "token",
        "access_token",
        "accessToken",
        "refresh-token",
        "id_token",
        "apiKey",
        "api_key",
        "api-key",
        "apikey",
        "X-API-Key",
        "x_api_key2",
        "private_key",
        "privateKey",
        "Authorization",
        "proxy-authorization",
        "kubeconfig",
        "credential",
        "credentials",
        "pin",
        "password2",
        "secret_key",
        "aws_secret_access_key",
        "SESSION_TOKEN",
        "new.password",
        "set-cookie",
        "VMPassword",
        "userPWD",
    ] {
        assert_eq!(
            at(&json!({"a": [{key: "hunter2"}]})).map(|(_, kind)| kind),
            Some(Kind::Key),
            "{key}"
        );
    }
}

#[test]
fn p2_a_key_that_only_mentions_a_secret_is_not_flagged() {
    for key in [
        "credential_profile",
        "credentialProfile",
        "secret_name",
        "secretName",
        "token_count",
        "password_policy",
        "password_expired",
        "max_tokens_per_call",
        "max_tokens",
        "next_token",
        "page_token",
        "nextPageToken",
        "continueToken",
        "key",
        "public_key",
        "monkey",
        "pinned",
        "spin",
        "author",
        "authorized",
        "snapshot_key",
        "tokenizer",
        "compass",
        "secretary",
        "pwdx",
        "keyboard",
        "api_keyboard",
        "pins_enabled",
        "progressToken",
        "host",
        "user",
        "vm_name",
    ] {
        assert_eq!(at(&json!({key: "hunter2"})), None, "{key}");
    }
}

#[test]
fn p2_only_literals_count_under_a_secret_key() {
    for ok in [
        json!(null),
        json!(true),
        json!(""),
        json!("  "),
        json!({}),
        json!([]),
        json!("${params.password}"),
        json!(" ${steps.a.outputs.b} ${params.c} "),
    ] {
        assert_eq!(at(&json!({"password": ok})), None, "{ok}");
    }
    for bad in [
        json!("x"),
        json!(1234),
        json!(["x"]),
        json!({"value": "x"}),
        json!("pre${params.p}"),
        json!("${params.p}x"),
        json!("${unclosed"),
        json!(0.5),
    ] {
        assert_eq!(
            at(&json!({"password": bad})).map(|(_, k)| k),
            Some(Kind::Key),
            "{bad}"
        );
    }
}

#[test]
fn p2_a_secret_is_found_by_the_shape_of_its_value() {
    for (text, kind) in [
        (PEM, Kind::PemPrivateKey),
        ("x -----BEGIN PRIVATE KEY----- MII", Kind::PemPrivateKey),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", Kind::PemPrivateKey),
        (
            "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----",
            Kind::PemPrivateKey,
        ),
        ("Bearer abc123def", Kind::Authorization),
        ("Authorization: bearer mF_9.B5f-4.1JqM", Kind::Authorization),
        (
            "curl -H 'Authorization: Basic dXNlcjpwYXNz'",
            Kind::Authorization,
        ),
        ("Basic dXNlcjpwYXNzd29yZA==", Kind::Authorization),
        (JWT, Kind::Jwt),
        ("use AKIAIOSFODNN7EXAMPLE now", Kind::AwsKey),
        (
            "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            Kind::GithubToken,
        ),
        (
            "github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvw",
            Kind::GithubToken,
        ),
        ("https://admin:hunter2@vc.example/sdk", Kind::UrlPassword),
        (
            "see postgres://u:p%40ss@db:5432/x for it",
            Kind::UrlPassword,
        ),
        ("https://admin:pass@word@vc", Kind::UrlPassword),
    ] {
        assert_eq!(find_text(text), Some(kind), "{text}");
        assert_eq!(
            at(&json!({"a": [text]})),
            Some(("/a/0".to_owned(), kind)),
            "{text}"
        );
    }
}

#[test]
fn p2_ordinary_text_is_no_secret() {
    for text in [
        "",
        "Basic tests for the web tier",
        "bearer of bad news",
        "basic understanding required",
        "The basic configuration",
        "bearer token",
        "Bearer of THE ring",
        "-----BEGIN CERTIFICATE-----",
        "https://vc.example/sdk",
        "https://vc.example:443/a@b",
        "https://admin@vc.example",
        "https://${params.user}:${params.pass}@vc.example",
        "mailto:a:b@c",
        "AKIA",
        "ghp_short",
        "eyJ.a.b",
        "1.2.3",
        "web-01.lab.local",
        "503f8a2c-1d5e-4c7a-9b0e-2f6d8c4a1b3e",
        "basic: see basics.md",
        "a://",
        "://:@",
        "Bearer ${params.token}",
    ] {
        assert_eq!(find_text(text), None, "{text}");
        assert_eq!(redact_text(text), text);
    }
}

#[test]
fn p2_secrets_in_keys_and_in_embedded_json_are_found() {
    assert_eq!(
        at(&json!({"a": {JWT: 1}})),
        Some(("/a".to_owned(), Kind::Jwt))
    );
    let inner = json!({"spec": [{"password": "hunter2"}]}).to_string();
    assert_eq!(
        at(&json!({"body": inner})),
        Some(("/body/spec/0/password".to_owned(), Kind::Key))
    );
    assert_eq!(at(&json!({"body": "{\"user\": \"a\"}"})), None);
    assert_eq!(at(&json!({"body": "{not json: password"})), None);
}

#[test]
fn p2_the_refusal_names_the_place_and_the_remedy_and_never_the_value() {
    for value in [
        json!({"params": {"vc_password": "hunter2"}}),
        json!({"params": {"note": "https://u:hunter2@h"}}),
        json!({"params": {"Bearer hunter2hunter2": 1}}),
        json!({"params": "{\"token\": \"hunter2\"}"}),
    ] {
        let found = find(&value);
        let text = found.as_ref().map(ToString::to_string).unwrap_or_default();
        assert!(
            text.starts_with(
                "Pass the name of a credential profile (`credential_profile`) instead: `/params"
            ),
            "{text}"
        );
        assert!(
            !text.contains("hunter2") && !format!("{found:?}").contains("hunter2"),
            "{text}"
        );
    }
}

#[test]
fn p2_redacting_hides_the_secret_and_leaves_the_rest() {
    let value = json!({
        "host": "vc", "port": 443, "password": "hunter2", "pin": 1234, "verify_ssl": true,
        "nested": [{"apiKey": ["a", "b"], "empty": {"token": ""}, "n": null}],
        "url": "https://u:hunter2@vc/x", "header": "Bearer abc123def, and more",
        "pem": format!("a {PEM} b"), "body": "{\"token\":\"hunter2\",\"x\":1}",
    });
    assert_eq!(
        redact(&value),
        json!({
            "host": "vc", "port": 443, "password": "***", "pin": "***", "verify_ssl": true,
            "nested": [{"apiKey": ["***", "***"], "empty": {"token": ""}, "n": null}],
            "url": "https://u:***@vc/x", "header": "Bearer ***, and more",
            "pem": "a *** b", "body": "{\"token\":\"***\",\"x\":1}",
        })
    );
    assert_eq!(
        redact_text("a Bearer abc123 b ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
        "a Bearer *** b ***"
    );
}

#[test]
fn p2_a_value_nested_beyond_the_limit_does_not_get_past() {
    let deep = (0..200).fold(json!({"password": "hunter2"}), |inner, _| json!([inner]));
    assert!(find(&deep).is_some());
    assert!(!redact(&deep).to_string().contains("hunter2"));
}

fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>(),
        "(Bearer |Basic |https://|-----BEGIN |eyJ|AKIA)?[ -~]{0,40}",
        Just(JWT.to_owned()),
        Just(PEM.to_owned()),
        Just("{\"password\":\"x\"}".to_owned()),
    ];
    let key = prop_oneof![
        "[a-zA-Z_]{0,8}",
        Just("password".to_owned()),
        Just("token".to_owned()),
        any::<String>()
    ];
    let leaf = prop_oneof![
        text.prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(Value::Null)
    ];
    leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key.clone(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn p2_redacted_text_shows_no_secret_and_stays_so(text in "(.{0,12}(Bearer [a-z0-9]{6,9}|https://u:[a-z@]{1,6}@h|AKIA[A-Z0-9]{16}))*.{0,12}") {
        let once = redact_text(&text);
        prop_assert_eq!(find_text(&once), None);
        prop_assert_eq!(redact_text(&once), once);
    }

    #[test]
    fn p2_redacting_twice_is_redacting_once(value in any_value()) {
        let once = redact(&value);
        prop_assert_eq!(redact(&once), once);
    }
}

#[test]
fn p2_a_bearer_token_is_hidden_whatever_stands_behind_it() {
    for end in ["`", "\"", "'", ".", ":", "]", ")", "`: there is none", "`."] {
        let text = format!("no VM is called `Bearer abcdefghijklmnop0123456789{end}");
        let hidden = redact_text(&text);
        assert!(!hidden.contains("abcdefghijklmnop"), "{hidden}");
    }
}
