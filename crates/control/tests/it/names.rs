//! Names of any kind come back as they are, and are found by what they are.

use serde_json::json;
use vsphere::MoRef;

use crate::outside::rename;
use crate::support::Lab;

/// As XML has it.
fn escaped(name: &str) -> String {
    name.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&apos;")
}

/// Names that a request must escape, and that an answer must bring back.
fn names() -> Vec<String> {
    vec![
        "a&b<c>d\"e'f".to_owned(),
        "&amp; &lt;b&gt; ]]> <!-- -->".to_owned(),
        "Käse 東京 Ελλάς".to_owned(),
        "🚀 launch 👍".to_owned(),
        "x".repeat(80),
        "é".repeat(80),
        "🚀".repeat(80),
        "[brackets] {braces} $(shell) `ticks` ;|*?".to_owned(),
    ]
}

#[test]
fn c2_machines_of_any_name_are_found_by_it_and_shown_with_it() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    let reference = MoRef::new("VirtualMachine", vm["moref"].as_str().unwrap());
    for name in names() {
        rename(&lab.vcsim, &reference, &escaped(&name));
        let found = lab.call("get_vm", json!({ "vm_name": name })).ok();
        assert_eq!(found["vm"]["name"], name.as_str());
        assert_eq!(found["vm"]["moref"], vm["moref"]);
    }
}

#[test]
fn c2_snapshots_and_notes_of_any_text_are_made_with_it() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    for name in names() {
        let with = json!({ "moref": vm["moref"], "snapshot_name": name });
        lab.call("snapshot_create", with.clone()).ok();
        let list = lab
            .call("snapshot_list", json!({ "moref": vm["moref"] }))
            .ok();
        assert!(
            list.to_string().contains(&json!(name).to_string()),
            "{list}"
        );
        let deleted = lab.call("snapshot_delete", with).ok();
        assert_eq!(deleted["changed"], true, "{name}");
    }
    lab.no_session_is_left();
}

#[test]
fn p13_a_name_that_shows_as_another_is_refused_and_not_mended() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    for name in ["a\u{202e}b", "a\u{200b}b", "a\nb", "a\u{0}b"] {
        let with = json!({ "moref": vm["moref"], "snapshot_name": name });
        lab.call("snapshot_create", with)
            .fails("argument.unclean", "none");
    }
    let list = lab
        .call("snapshot_list", json!({ "moref": vm["moref"] }))
        .ok();
    assert!(!list.to_string().contains("a\u{fffd}b"), "{list}");
}
