use guard::digest::Digest;
use guard::secret::Secret;
use workflow::model::{Effect, Risk};

use super::*;

fn facts(preview: Option<&str>) -> Facts {
    Facts {
        fingerprint: Digest::of_bytes(b""),
        tool: Digest::of_bytes(b""),
        action: None,
        risk: Risk::Write,
        effect: Effect::Once,
        preview: preview.map(str::to_owned),
        select: None,
        inverses: Vec::new(),
    }
}

fn read(result: Value) -> Reply {
    meaning(
        Answer::Result(result),
        &Map::new(),
        &facts(None),
        &Scrub::default(),
    )
}

fn failure(reply: Reply) -> (String, String, Left) {
    match reply {
        Reply::Failure { code, error, left } => (code, error, left),
        other => panic!("{other:?}"),
    }
}

fn is_lost(reply: &Reply) -> bool {
    matches!(reply, Reply::Lost { .. })
}

fn structured(body: Value) -> Value {
    json!({"content": [], "structuredContent": body})
}

#[test]
fn p12_a_success_is_known_by_digest_and_size() {
    let result = json!({"content": [{"type": "text", "text": "x"}], "structuredContent": {"a": 1}});
    let bytes = result.to_string();
    let expected = Reply::Success {
        body: json!({"a": 1}),
        sha256: sha256_hex(bytes.as_bytes()),
        size: bytes.len() as u64,
    };
    assert_eq!(read(result), expected);
}

#[test]
fn without_structured_content_the_text_is_the_body() {
    let body = |content: Value| match read(json!({"content": content})) {
        Reply::Success { body, .. } => body,
        other => panic!("{other:?}"),
    };
    let text = |text: &str| json!({"type": "text", "text": text});
    assert_eq!(body(json!([text(r#" {"a": 1} "#)])), json!({"a": 1}));
    assert_eq!(body(json!([text("[1]")])), json!({"text": "[1]"}));
    assert_eq!(body(json!([text("{broken")])), json!({"text": "{broken"}));
    assert_eq!(
        body(json!([text("a"), {"type": "image", "data": ""}, text("b")])),
        json!({"text": "a\nb"})
    );
    assert_eq!(body(json!([])), json!({"text": ""}));
}

#[test]
fn p18_an_error_says_what_it_left_behind() {
    for (effect, left) in [
        ("none", Left::Nothing),
        ("partial", Left::Something),
        ("whatever", Left::NotSaid),
    ] {
        let flat =
            structured(json!({"code": "vm.not_found", "error": "Pass another", "effect": effect}));
        assert_eq!(
            failure(read(flat)),
            ("vm.not_found".to_owned(), "Pass another".to_owned(), left)
        );
        let nested = structured(
            json!({"error": {"code": "vm.not_found", "message": "Pass another", "effect": effect}}),
        );
        assert_eq!(
            failure(read(nested)),
            ("vm.not_found".to_owned(), "Pass another".to_owned(), left)
        );
    }
    assert!(is_lost(&read(structured(
        json!({"error": "x", "effect": "unknown"})
    ))));
    assert!(is_lost(&read(structured(
        json!({"error": {"message": "x", "effect": "unknown"}})
    ))));
    let plain = json!({"isError": true, "content": [{"type": "text", "text": "it broke"}]});
    assert_eq!(
        failure(read(plain)),
        (ERROR.to_owned(), "it broke".to_owned(), Left::NotSaid)
    );
    let text = json!({"isError": true, "content": [{"type": "text", "text": r#"{"error": "x", "code": "a.b", "effect": "none"}"#}]});
    assert_eq!(
        failure(read(text)),
        ("a.b".to_owned(), "x".to_owned(), Left::Nothing)
    );
}

#[test]
fn a_non_empty_error_at_the_top_level_is_a_failure_and_an_empty_one_is_not() {
    for empty in [
        json!(null),
        json!(""),
        json!(" "),
        json!(false),
        json!({}),
        json!([]),
        json!(0),
    ] {
        assert!(
            matches!(
                read(structured(json!({"error": empty}))),
                Reply::Success { .. }
            ),
            "{empty}"
        );
    }
    for error in [
        json!("x"),
        json!(true),
        json!({"x": 1}),
        json!(["x"]),
        json!(7),
    ] {
        assert!(
            !failure(read(structured(json!({"error": error}))))
                .1
                .is_empty(),
            "{error}"
        );
    }
    assert!(
        matches!(
            read(structured(json!({"vm": {"error": "x"}}))),
            Reply::Success { .. }
        ),
        "not at the top level"
    );
}

#[test]
fn a_preview_that_nobody_asked_for_is_no_success() {
    for name in ["preview", "dry_run"] {
        let answer = || Answer::Result(structured(json!({name: true})));
        let (code, _, left) = failure(meaning(
            answer(),
            &Map::new(),
            &facts(None),
            &Scrub::default(),
        ));
        assert_eq!(
            (code.as_str(), left),
            ("companion.preview_only", Left::Nothing)
        );
        let asked = Map::from_iter([(name.to_owned(), json!(true))]);
        assert!(matches!(
            meaning(answer(), &asked, &facts(None), &Scrub::default()),
            Reply::Success { .. }
        ));
    }
    let not = structured(json!({"preview": false}));
    assert!(matches!(read(not), Reply::Success { .. }));
}

#[test]
fn an_answer_that_is_no_preview_where_one_was_asked_for_may_have_changed_something() {
    let asked = Map::from_iter([("preview".to_owned(), json!(true))]);
    let answer = Answer::Result(structured(json!({"changed": true})));
    let (code, _, left) = failure(meaning(
        answer,
        &asked,
        &facts(Some("preview")),
        &Scrub::default(),
    ));
    assert_eq!(
        (code.as_str(), left),
        ("companion.no_preview", Left::NotSaid)
    );
}

#[test]
fn p18_a_call_that_was_refused_before_it_ran_left_nothing() {
    for code in [-32700, -32600, -32601, -32602] {
        let answer = Answer::Error {
            code,
            message: "no".to_owned(),
        };
        let (word, error, left) = failure(meaning(
            answer,
            &Map::new(),
            &facts(None),
            &Scrub::default(),
        ));
        assert!(word.starts_with("companion."), "{word}");
        assert_eq!((error.as_str(), left), ("no", Left::Nothing));
    }
    for code in [-32603, -32000, 0, 5] {
        let answer = Answer::Error {
            code,
            message: String::new(),
        };
        let (word, error, left) = failure(meaning(
            answer,
            &Map::new(),
            &facts(None),
            &Scrub::default(),
        ));
        assert_eq!((word.as_str(), left), (ERROR, Left::NotSaid));
        assert!(!error.is_empty());
    }
}

#[test]
fn p18_what_is_no_answer_leaves_the_effect_unknown() {
    for result in [
        json!(5),
        json!("x"),
        json!([]),
        json!({}),
        json!({"content": "x"}),
        json!({"resultType": "task"}),
        json!({"task": {}}),
    ] {
        assert!(is_lost(&read(result.clone())), "{result}");
    }
    for answer in [Answer::TooLarge, Answer::Malformed] {
        assert!(is_lost(&meaning(
            answer,
            &Map::new(),
            &facts(None),
            &Scrub::default()
        )));
    }
}

#[test]
fn a_request_for_input_is_a_failure_that_does_not_say_what_it_left() {
    for result in [
        json!({"resultType": "input_required", "inputRequests": {}}),
        json!({"inputRequests": {}}),
    ] {
        let (code, _, left) = failure(read(result));
        assert_eq!(
            (code.as_str(), left),
            ("companion.input_required", Left::NotSaid)
        );
    }
}

#[test]
fn p13_and_p2_the_words_of_an_error_are_sanitised_and_redacted() {
    let scrub = Scrub::new([Secret::new("hunter22".to_owned())]);
    let words = format!(
        "\u{1b}[31mno\u{202E} hunter22 https://u:pw123@h/ {}",
        "x".repeat(2_000)
    );
    for result in [
        structured(json!({"error": words, "code": "a b\u{202E}"})),
        json!({"isError": true, "content": [{"type": "text", "text": words}]}),
        structured(json!({"error": {"detail": words}})),
        structured(json!({"error": [words]})),
    ] {
        let (code, error, _) = failure(meaning(
            Answer::Result(result),
            &Map::new(),
            &facts(None),
            &scrub,
        ));
        assert_eq!(code, ERROR);
        assert!(
            error.chars().count() <= 500 && guard::text::is_clean(&error),
            "{error}"
        );
        assert!(
            !error.contains("hunter22") && !error.contains("pw123"),
            "{error}"
        );
    }
}

#[test]
fn p18_an_error_that_only_the_text_speaks_of_is_one() {
    let text = |text: &str| json!([{"type": "text", "text": text}]);
    let error = r#"{"error": "it broke", "code": "x.y", "effect": "none"}"#;
    for structured in [
        json!({"result": error}),
        json!({"result": {"error": "it broke"}}),
    ] {
        let reply = read(json!({"content": text(error), "structuredContent": structured}));
        let (code, error, left) = failure(reply);
        assert_eq!(
            (code.as_str(), error.as_str(), left),
            ("x.y", "it broke", Left::Nothing)
        );
    }
    for harmless in [
        r#"{"error": ""}"#,
        r#"an "error" that is none"#,
        r#"[{"error": 1}]"#,
    ] {
        let reply = read(json!({"content": text(harmless), "structuredContent": {"a": 1}}));
        assert!(
            matches!(reply, Reply::Success { .. }),
            "{harmless}: {reply:?}"
        );
    }
}

#[test]
fn p18_a_preview_that_fails_has_left_nothing_unless_it_was_none() {
    let preview = |result: Value| {
        let asked = Map::from_iter([("preview".to_owned(), json!(true))]);
        let facts = facts(Some("preview"));
        failure(meaning(
            Answer::Result(result),
            &asked,
            &facts,
            &Scrub::default(),
        ))
    };
    let (_, _, left) = preview(structured(json!({"error": "it broke"})));
    assert_eq!(left, Left::Nothing);
    let (_, _, left) = preview(structured(
        json!({"error": "it broke", "effect": "partial"}),
    ));
    assert_eq!(left, Left::Something, "its own word counts");
    let (code, _, left) = preview(structured(json!({"changed": true})));
    assert_eq!(
        (code.as_str(), left),
        ("companion.no_preview", Left::NotSaid)
    );
}
