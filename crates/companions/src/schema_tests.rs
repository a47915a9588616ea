#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::*;

async fn check(schema: Value, arguments: Value, holes: &[(&str, ScalarKind)]) -> Check {
    let digest = guard::digest::digest("test", &schema);
    let holes = holes
        .iter()
        .map(|(pointer, kind)| ((*pointer).to_owned(), *kind))
        .collect();
    Schemas::default()
        .check(digest, &Arc::new(schema), &arguments, &holes)
        .await
}

async fn misfit_of(schema: Value, arguments: Value, holes: &[(&str, ScalarKind)]) -> Misfit {
    match check(schema, arguments, holes).await {
        Check::Misfit(misfit, _) => *misfit,
        other => panic!("{other:?}"),
    }
}

fn vm() -> Value {
    json!({"type": "object", "additionalProperties": false, "required": ["action"], "properties": {
        "action": {"type": "string", "enum": ["power_on", "power_off"]},
        "vm_name": {"type": "string", "minLength": 3, "pattern": "^vm-"},
        "port": {"type": "integer", "maximum": 65535},
        "note": {"anyOf": [{"type": "string", "maxLength": 5}, {"type": "null"}]},
        "size": {"oneOf": [{"type": "integer"}, {"type": "boolean"}]}}})
}

#[tokio::test]
async fn each_misfit_names_the_place_what_is_wanted_and_what_type_was_given() {
    let fits =
        json!({"action": "power_on", "vm_name": "vm-1", "port": 443, "note": null, "size": true});
    assert_eq!(check(vm(), fits, &[]).await, Check::Fits);
    for (arguments, pointer, message) in [
        (json!({}), "", "Pass `action`: it is missing at"),
        (
            json!({"action": "power_on", "vm_name": 5}),
            "/vm_name",
            "Pass a string at `/vm_name`: an integer was given",
        ),
        (
            json!({"action": "power_on", "port": 1.5}),
            "/port",
            "Pass an integer at `/port`: a number was given",
        ),
        (
            json!({"action": "power_on", "port": 70000}),
            "/port",
            "Pass a number of at most 65535",
        ),
        (
            json!({"action": "power_on", "vm_name": "vm"}),
            "/vm_name",
            "Pass at least 3 characters",
        ),
        (
            json!({"action": "power_on", "note": 5}),
            "/note",
            "Pass a string or null at `/note`: an integer was given",
        ),
        (
            json!({"action": "power_on", "size": "x"}),
            "/size",
            "Pass an integer or a boolean at `/size`: a string was given",
        ),
        (json!([]), "", "Pass an object at"),
    ] {
        let misfit = misfit_of(vm(), arguments.clone(), &[]).await;
        assert_eq!(misfit.pointer, pointer, "{arguments}");
        assert!(
            misfit.message.starts_with(message),
            "{arguments}: {}",
            misfit.message
        );
    }
}

#[tokio::test]
async fn what_was_meant_is_offered() {
    let misfit = misfit_of(vm(), json!({"action": "poweroff"}), &[]).await;
    assert_eq!(
        (misfit.allowed.len(), &misfit.nearest[0][..]),
        (2, "power_off")
    );
    let misfit = misfit_of(vm(), json!({"action": "power_on", "vm_nam": "x"}), &[]).await;
    assert_eq!(misfit.nearest, ["vm_name"]);
    assert!(
        misfit.message.starts_with("Remove `vm_nam`"),
        "{}",
        misfit.message
    );
}

#[tokio::test]
async fn p2_no_value_of_an_argument_stands_in_a_misfit() {
    let canary = "cAnArY-5a1b";
    for (schema, arguments) in [
        (vm(), json!({"action": canary})),
        (vm(), json!({"action": "power_on", "vm_name": canary})),
        (vm(), json!({"action": "power_on", "port": canary})),
        (vm(), json!({"action": "power_on", "note": canary})),
        (
            json!({"properties": {"a": {"const": "b"}}}),
            json!({"a": canary}),
        ),
        (
            json!({"properties": {"a": {"not": {}}}}),
            json!({"a": canary}),
        ),
        (
            json!({"properties": {"a": {"uniqueItems": true}}}),
            json!({"a": [canary, canary]}),
        ),
        (
            json!({"properties": {"a": {"format": "ipv4"}}, "$schema": "http://json-schema.org/draft-07/schema#"}),
            json!({"a": canary}),
        ),
        (json!({"properties": {"a": false}}), json!({"a": canary})),
        (
            json!({"properties": {"a": {"contains": {"const": 1}}}}),
            json!({"a": [canary]}),
        ),
        (
            json!({"properties": {"a": {"dependentRequired": {"b": ["c"]}}}}),
            json!({"a": {"b": canary}}),
        ),
    ] {
        let misfit = misfit_of(schema, arguments, &[]).await;
        assert!(!format!("{misfit:?}").contains(canary), "{misfit:?}");
    }
}

#[tokio::test]
async fn p2_a_secret_in_the_place_of_a_key_is_hidden() {
    let token = format!("ghp_{}", "a1".repeat(18));
    let misfit = misfit_of(vm(), json!({"action": "power_on", token.as_str(): 1}), &[]).await;
    assert!(!format!("{misfit:?}").contains(&token), "{misfit:?}");
}

#[tokio::test]
async fn a_hole_is_judged_by_its_type_alone() {
    use ScalarKind::{Boolean, Integer, Number, String};
    let with = |key: &str| json!({"action": "power_on", key: "${steps.a.outputs.b}"});
    for (key, kind, fits) in [
        ("vm_name", String, true),
        ("vm_name", Integer, false),
        ("port", Integer, true),
        ("port", Number, false),
        ("port", String, false),
        ("note", String, true),
        ("note", Boolean, false),
        ("size", Boolean, true),
        ("size", String, false),
        ("action", String, true),
        ("unknown", String, false),
    ] {
        let pointer = format!("/{key}");
        let check = check(vm(), with(key), &[(&pointer, kind)]).await;
        assert_eq!(check == Check::Fits, fits, "{key} {kind:?}: {check:?}");
    }
}

#[tokio::test]
async fn holes_within_values_that_are_compared_as_a_whole_are_left_open() {
    let schema = json!({"properties": {"a": {"enum": [{"b": 1}]}, "l": {"uniqueItems": true}}});
    let holes = [
        ("/a/b", ScalarKind::Integer),
        ("/l/0", ScalarKind::String),
        ("/l/1", ScalarKind::String),
    ];
    assert_eq!(
        check(schema, json!({"a": {"b": "?"}, "l": ["?", "?"]}), &holes).await,
        Check::Fits
    );
}

#[tokio::test]
async fn p1_a_schema_is_never_fetched() {
    // A listener would be a socket; that nothing waits for the network is seen by the refusal.
    for reference in [
        "http://127.0.0.1:9/x.json",
        "https://example.com/x",
        "file:///etc/passwd",
        "other.json",
        "#/nowhere",
    ] {
        let schema = json!({"properties": {"a": {"$ref": reference}}});
        assert!(
            matches!(
                check(schema, json!({"a": 1}), &[]).await,
                Check::Unusable(_)
            ),
            "{reference}"
        );
    }
}

#[tokio::test]
async fn a_hostile_schema_is_refused_or_applied_and_never_brings_the_process_down() {
    let chain: serde_json::Map<String, Value> = (0..900)
        .map(|i| {
            (
                format!("d{i}"),
                json!({"$ref": format!("#/$defs/d{}", i + 1)}),
            )
        })
        .chain([("d900".to_owned(), json!({}))])
        .collect();
    let too_many: serde_json::Map<String, Value> = (0..5_000)
        .map(|i| {
            (
                format!("d{i}"),
                json!({"$ref": format!("#/$defs/d{}", i + 1)}),
            )
        })
        .collect();
    let deep = (0..200).fold(json!({}), |inner, _| json!({"not": inner}));
    for schema in [
        json!({"$ref": "#"}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
        json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}),
        json!({"anyOf": [{"$ref": "#"}, {"not": {"$ref": "#"}}]}),
        json!({"$ref": "#/$defs/d0", "$defs": chain}),
        json!({"$ref": "#/$defs/d0", "$defs": too_many}),
        json!({"type": 5}),
        json!({"type": "nonsense"}),
        json!({"properties": []}),
        json!({"$schema": "http://nowhere.example/schema"}),
        json!({"$id": "::::"}),
        json!({"properties": {"a": {"pattern": "(a+)+(b+)+$"}}}),
        json!({"properties": {"a": {"pattern": "((((((a{1000}){1000}){1000}"}}}),
        json!({"properties": {"a": {"pattern": "("}}}),
        json!({"properties": {"a": {"multipleOf": 0}}}),
        json!({"properties": {"a": {"minLength": -1}}}),
        json!({"$dynamicRef": "#meta", "$dynamicAnchor": "meta"}),
        json!(false),
        json!(null),
        deep,
    ] {
        // It came back at all: that is the promise.
        let _ = check(schema, json!({"a": "a".repeat(5_000)}), &[]).await;
    }
}

#[tokio::test]
async fn a_schema_that_takes_for_ever_is_given_up_on_and_not_tried_again() {
    // Two ways at each level of the arguments: 2^60 in all.
    let schema = json!({"anyOf": [
        {"properties": {"x": {"$ref": "#"}}, "required": ["y"]},
        {"properties": {"x": {"$ref": "#"}}, "required": ["z"]}]});
    let digest = guard::digest::digest("test", &schema);
    let (schema, schemas) = (Arc::new(schema), Schemas::default());
    let arguments = (0..40).fold(json!({}), |inner, _| json!({"x": inner}));
    let check = |arguments: Value| {
        let (schema, schemas) = (&schema, &schemas);
        async move {
            schemas
                .check(digest, schema, &arguments, &BTreeMap::new())
                .await
        }
    };
    assert!(matches!(
        check(arguments).await,
        Check::Misfit(..) | Check::Unusable(_)
    ));
    assert!(matches!(
        check(json!({"y": 1})).await,
        Check::Fits | Check::Unusable(_)
    ));
    let misfit = check(json!({})).await;
    assert!(
        matches!(misfit, Check::Misfit(..) | Check::Unusable(_)),
        "{misfit:?}"
    );
}

#[tokio::test]
async fn a_compiled_schema_is_used_again() {
    let schemas = Schemas::default();
    let (schema, digest) = (Arc::new(vm()), Digest::of_bytes(b"vm"));
    for _ in 0..3 {
        let check = schemas
            .check(
                digest,
                &schema,
                &json!({"action": "power_on"}),
                &BTreeMap::new(),
            )
            .await;
        assert_eq!(check, Check::Fits);
    }
    assert_eq!(schemas.kept.lock().unwrap().len(), 1);
}
