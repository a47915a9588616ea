//! The hardware of a machine: its size, its notes, and what a running machine refuses.

use serde_json::{Value, json};

use crate::actions::holds;
use crate::fake::{Reply, Seen};
use crate::outside::soap;
use crate::scene::{Scene, machine, property, success, wait};
use crate::support::{Lab, merge};

/// Both kinds of server.
pub(crate) const SERVERS: [&[&str]; 2] = [&["-vm", "1"], &["-esx", "-vm", "1"]];

/// Previews, does, verifies and undoes a change, and compares what `get_vm` says before and after.
pub(crate) fn there_and_back(lab: &Lab, vm: &Value, action: &str, more: Value) -> (Value, Value) {
    let look = |vm: &Value| {
        // How much room files take is measured by the server when it likes, and each change is a version.
        let mut seen = lab.look(vm);
        for name in ["used_bytes", "could_grow_bytes", "change_version"] {
            seen.as_object_mut().unwrap().remove(name);
        }
        seen
    };
    let before = look(vm);
    let mut arguments = json!({ "moref": vm["moref"] });
    merge(&mut arguments, &more);
    let mut asked = arguments.clone();
    asked["preview"] = json!(true);
    let meta = json!({ "pilothouse/key": format!("wf_1/{action}/do/0"), "pilothouse/attempt": 1 });
    let preview = lab.call_with(action, asked, meta.clone()).ok();
    assert_eq!(preview["changed"], true, "{preview}");
    assert_eq!(look(vm), before, "a preview of {action} changed something");
    assert!(holds(lab, &preview, "before"), "{preview}");
    assert!(!holds(lab, &preview, "after"), "{preview}");
    let done = lab.call_with(action, arguments, meta).ok();
    assert_eq!(done["changed"], true, "{done}");
    assert_eq!(done["after"], preview["after"], "{done}");
    assert_eq!(done["undo_kind"], preview["undo_kind"], "{done}");
    assert!(holds(lab, &preview, "after"), "{preview}");
    assert_ne!(look(vm), before, "{action}");
    // The undo that was prepared serves as well as the one of the answer.
    let undone = lab.server.call(preview["undo"].clone()).ok();
    assert_eq!(undone["changed"], true, "{undone}");
    assert_eq!(look(vm), before, "{action}: {undone}");
    let again = lab.server.call(done["undo"].clone()).ok();
    assert_eq!(again["changed"], false, "{again}");
    lab.no_session_is_left();
    (preview, done)
}

/// The first machine of a simulator, powered off.
pub(crate) fn off(lab: &Lab) -> Value {
    let vm = lab.vm();
    lab.call("power_off", json!({ "moref": vm["moref"] })).ok();
    vm
}

#[test]
fn every_size_and_the_notes_are_set_and_brought_back() {
    for flags in SERVERS {
        let lab = Lab::new(flags);
        let vm = off(&lab);
        // The simulator does not take empty notes: there are some to come back to.
        let of = json!({ "moref": vm["moref"], "annotation": "old" });
        lab.call("reconfigure", of).ok();
        let (preview, done) = there_and_back(
            &lab,
            &vm,
            "reconfigure",
            json!({ "cpu": 4, "cores_per_socket": 2, "memory_mb": 64, "annotation": "for <tests> & \"é\"" }),
        );
        assert_eq!(preview["undo_kind"], "exact");
        assert_eq!(preview["after"]["annotation"], "for <tests> & \"é\"");
        assert_eq!(done["undo"]["annotation"], "old", "{done}");
        assert_eq!(done["undo"]["expect"]["cores_per_socket"], 2);
        there_and_back(
            &lab,
            &vm,
            "reconfigure",
            json!({ "annotation": "notes alone" }),
        );
    }
}

#[test]
fn notes_that_were_empty_are_emptied_again_and_what_is_not_taken_is_said() {
    let scene = Scene::new(|_| machine("poweredOff"), wait(success));
    let preview = scene
        .call(
            "reconfigure",
            json!({ "annotation": "new", "preview": true }),
        )
        .ok();
    assert_eq!(preview["undo"]["clear_annotation"], true, "{preview}");
    assert_eq!(preview["undo"]["expect"], json!({ "annotation": "new" }));
    let noted = property("config.annotation", "old");
    let scene = Scene::new(move |_| machine("poweredOff") + &noted, wait(success));
    let done = scene
        .call("reconfigure", json!({ "clear_annotation": true }))
        .ok();
    let sent = scene.fake.of("ReconfigVM_Task");
    assert!(
        sent[0].body.contains("<annotation></annotation>"),
        "{}",
        sent[0].body
    );
    // This server says that it did it, and did not.
    assert_eq!(done["not_as_asked"], json!(["annotation"]));
}

#[test]
fn notes_that_no_call_could_bring_back_are_said_to_be_lost() {
    let notes = property("config.annotation", "two\nlines");
    let scene = Scene::new(move |_| machine("poweredOff") + &notes, wait(success));
    let alone = scene
        .call(
            "reconfigure",
            json!({ "annotation": "new", "preview": true }),
        )
        .ok();
    assert_eq!(alone["undo"], Value::Null);
    assert_eq!(alone["undo_kind"], "none");
    let both = scene
        .call(
            "reconfigure",
            json!({ "annotation": "new", "cpu": 4, "preview": true }),
        )
        .ok();
    assert_eq!(both["undo_kind"], "lossy");
    assert_eq!(both["undo"]["cpu"], 2);
    assert!(both["undo"].get("annotation").is_none());
}

fn define(lab: &Lab, name: &str) {
    let body = format!(
        "<AddCustomFieldDef xmlns=\"urn:vim25\"><_this type=\"CustomFieldsManager\">CustomFieldsManager</_this>\
         <name>{name}</name><moType>VirtualMachine</moType></AddCustomFieldDef>"
    );
    let answers = soap(&lab.vcsim, &[body]);
    assert!(
        answers.iter().any(|answer| answer.contains(name)),
        "{answers:?}"
    );
}

#[test]
fn custom_attributes_are_set_and_brought_back_and_never_made_unasked() {
    let lab = Lab::new(&["-vm", "1"]);
    let vm = lab.vm();
    define(&lab, "Owner");
    define(&lab, "Cost centre/2");
    let more = json!({ "attributes": { "Owner": "Ada <&>", "Cost centre/2": "42" } });
    let (preview, _) = there_and_back(&lab, &vm, "reconfigure", more.clone());
    // Nothing of this needs the machine off.
    assert_eq!(preview["undo_kind"], "exact");
    assert_eq!(
        preview["verify"]["after"]["/vm/attributes/Cost centre~12"],
        "42"
    );
    let mut of = json!({ "moref": vm["moref"] });
    merge(&mut of, &more);
    let done = lab.call("reconfigure", of.clone()).ok();
    assert_eq!(lab.look(&vm)["attributes"]["Owner"], "Ada <&>");
    // Somebody else's value is not overwritten.
    let other = json!({ "moref": vm["moref"], "attributes": { "Owner": "Bob" } });
    lab.call("reconfigure", other).ok();
    let refused = lab.server.call(done["undo"].clone());
    let body = refused.fails("vm.changed_since", "none");
    assert_eq!(body["found"]["attributes"]["Owner"], "Bob");
    let unknown = json!({ "moref": vm["moref"], "attributes": { "Ownr": "x" } });
    let refused = lab.call("reconfigure", unknown);
    let body = refused.fails("attribute.unknown", "none");
    assert_eq!(body["nearest"][0], "Owner");
    let esx = Lab::new(&["-esx", "-vm", "1"]);
    let vm = esx.vm();
    let of = json!({ "moref": vm["moref"], "attributes": { "Owner": "x" } });
    esx.call("reconfigure", of)
        .fails("platform.unsupported", "none");
}

#[test]
fn what_cannot_be_set_is_refused_before_anything_is_contacted() {
    let lab = Lab::new(&["-vm", "1"]);
    for (more, code) in [
        (json!({}), "argument.missing"),
        (json!({ "attributes": {} }), "argument.missing"),
        (json!({ "attributes": { "a": 1 } }), "argument.wrong_type"),
        (json!({ "memory_mb": 30 }), "argument.out_of_range"),
        (
            json!({ "annotation": "a", "clear_annotation": true }),
            "argument.out_of_range",
        ),
        (
            json!({ "cpu": 2, "expect": { "disk": 1 } }),
            "argument.wrong_type",
        ),
        (
            json!({ "cpu": 2, "expect": { "annotation": 1 } }),
            "argument.wrong_type",
        ),
        (
            json!({ "cpu": 2, "expect": { "attributes": "x" } }),
            "argument.wrong_type",
        ),
    ] {
        let mut of = json!({ "moref": "vm-1" });
        merge(&mut of, &more);
        lab.call("reconfigure", of).fails(code, "none");
    }
}

/// A machine that runs, with these properties more.
fn running(more: &[(&str, &str)]) -> Scene {
    let own = machine("poweredOn")
        + &more
            .iter()
            .map(|(name, value)| property(name, value))
            .collect::<String>();
    Scene::new(move |_| own.clone(), wait(success))
}

#[test]
fn a_running_machine_only_grows_where_hot_add_is_on_and_in_its_steps() {
    let cpu = ("config.cpuHotAddEnabled", "true");
    let memory = ("config.memoryHotAddEnabled", "true");
    let step = ("config.hotPlugMemoryIncrementSize", "128");
    let limit = ("config.hotPlugMemoryLimit", "16384");
    let all = &[cpu, memory, step, limit][..];
    for (properties, more, words) in [
        (&[][..], json!({ "cpu": 4 }), "hot-add of CPUs is off"),
        (
            &[][..],
            json!({ "memory_mb": 2048 }),
            "hot-add of memory is off",
        ),
        (all, json!({ "cpu": 1 }), "does not shrink from 2 to 1 CPUs"),
        (
            all,
            json!({ "memory_mb": 512 }),
            "does not shrink from 1024 to 512 MB",
        ),
        (
            all,
            json!({ "memory_mb": 1100 }),
            "1024 or 1152 MB would do",
        ),
        (all, json!({ "memory_mb": 32768 }), "16384 MB at most"),
        (all, json!({ "cores_per_socket": 2 }), "cores per socket"),
    ] {
        let mut properties = properties.to_vec();
        properties.push(("config.hardware.numCoresPerSocket", "1"));
        let scene = running(&properties);
        let refused = scene.call("reconfigure", more.clone());
        let body = refused.fails("vsphere.hot_plug_not_supported", "none");
        let error = body["error"].as_str().unwrap();
        assert!(error.starts_with("Power the VM off first"), "{error}");
        assert!(error.contains(words), "{error}");
        assert_eq!(scene.was_sent("ReconfigVM_Task"), 0);
        let mut asked = more;
        asked["preview"] = json!(true);
        let preview = scene.call("reconfigure", asked).ok();
        assert!(preview["warnings"][0].as_str().unwrap().contains(words));
    }
    let scene = running(all);
    let done = scene
        .call("reconfigure", json!({ "cpu": 4, "memory_mb": 1152 }))
        .ok();
    assert_eq!(done["undo_kind"], "conditional");
    assert_eq!(scene.was_sent("ReconfigVM_Task"), 1);
    // The notes of a running machine need none of this, and their undo no condition.
    let done = scene.call("reconfigure", json!({ "annotation": "n" })).ok();
    assert_eq!(done["undo_kind"], "exact");
    let suspended = Scene::new(|_| machine("suspended"), wait(success));
    suspended
        .call("reconfigure", json!({ "cpu": 4 }))
        .fails("vsphere.hot_plug_not_supported", "none");
}

#[test]
fn cores_that_the_server_chooses_are_brought_back_as_its_choice() {
    let own = machine("poweredOff")
        + &property("config.hardware.numCoresPerSocket", "2")
        + &property("config.hardware.autoCoresPerSocket", "true");
    let scene = Scene::new(move |_| own.clone(), wait(success));
    let preview = scene
        .call(
            "reconfigure",
            json!({ "cores_per_socket": 2, "preview": true }),
        )
        .ok();
    assert_eq!(preview["before"]["cores_per_socket"], 0);
    assert_eq!(preview["undo"]["cores_per_socket"], 0);
    let set = scene
        .call("reconfigure", json!({ "cores_per_socket": 0 }))
        .ok();
    assert_eq!(set["changed"], false);
}

#[test]
fn a_lost_answer_to_a_reconfiguration_is_looked_after() {
    let script = |seen: &Seen| match seen.method.as_str() {
        "ReconfigVM_Task" => Some(Reply::Close),
        _ => None,
    };
    // One read was for the plan.
    let grown = |seen: &Seen| {
        let own = machine("poweredOff");
        if seen.nth < 1 {
            own
        } else {
            own.replace("<val>2</val>", "<val>4</val>")
        }
    };
    let scene = Scene::new(grown, script);
    let done = scene.call("reconfigure", json!({ "cpu": 4 })).ok();
    assert_eq!(done["changed"], true);
    assert_eq!(done["after"], json!({ "cpu": 4 }));
    assert_eq!(scene.was_sent("ReconfigVM_Task"), 1);
    let scene = Scene::new(|_| machine("poweredOff"), script);
    let lost = scene.call("reconfigure", json!({ "cpu": 4 }));
    assert_eq!(
        lost.fails("vsphere.lost_answer", "unknown")["call"],
        "ReconfigVM_Task"
    );
    assert_eq!(scene.was_sent("ReconfigVM_Task"), 1);
}

#[test]
fn an_attribute_that_no_call_could_bring_back_is_said_to_be_lost() {
    let field = |key: u32, name: &str| {
        format!("<CustomFieldDef><key>{key}</key><name>{name}</name></CustomFieldDef>")
    };
    let value = |key: u32, value: &str| {
        format!(
            "<CustomFieldValue xsi:type=\"CustomFieldStringValue\"><key>{key}</key><value>{value}</value></CustomFieldValue>"
        )
    };
    let own = machine("poweredOff")
        + &property("availableField", &(field(1, "Owner") + &field(2, "Note")))
        + &property("customValue", &(value(1, "Ada") + &value(2, "two\nlines")));
    let managed = |seen: &Seen| {
        (seen.method == "RetrieveServiceContent").then(|| {
            Reply::Soap(
                "<RetrieveServiceContentResponse xmlns=\"urn:vim25\"><returnval><rootFolder type=\"Folder\">group-d1</rootFolder>\
                 <propertyCollector type=\"PropertyCollector\">propertyCollector</propertyCollector>\
                 <about><name>Fake</name><apiType>VirtualCenter</apiType><apiVersion>8.0.3.0</apiVersion></about>\
                 <sessionManager type=\"SessionManager\">SessionManager</sessionManager>\
                 <customFieldsManager type=\"CustomFieldsManager\">CustomFieldsManager</customFieldsManager>\
                 </returnval></RetrieveServiceContentResponse>"
                    .to_owned(),
            )
        })
    };
    let lost = |seen: &Seen| (seen.method == "SetField").then_some(Reply::Close);
    let refused =
        |seen: &Seen| (seen.method == "SetField").then_some(Reply::Fault("NoPermission", ""));
    let scene = |script: fn(&Seen) -> Option<Reply>| {
        let own = own.clone();
        Scene::new(
            move |_| own.clone(),
            move |seen| {
                wait(success)(seen)
                    .or_else(|| managed(seen))
                    .or_else(|| script(seen))
            },
        )
    };
    let both = json!({ "attributes": { "Owner": "Bob", "Note": "x" }, "preview": true });
    let preview = scene(|_| None).call("reconfigure", both).ok();
    assert_eq!(preview["undo_kind"], "lossy");
    assert_eq!(preview["undo"]["attributes"], json!({ "Owner": "Ada" }));
    // The first change of two is done: what comes of the second is said.
    let more = json!({ "cpu": 4, "attributes": { "Owner": "Bob" } });
    let partly = scene(refused).call("reconfigure", more.clone());
    let body = partly.fails("vsphere.no_permission", "partial");
    assert_eq!(body["done"], json!(["ReconfigVM_Task"]));
    assert_eq!(body["attribute"], "Owner");
    let unknown = scene(lost).call("reconfigure", more);
    unknown.is_lost();
    let alone = json!({ "attributes": { "Owner": "Bob" } });
    scene(refused)
        .call("reconfigure", alone)
        .fails("vsphere.no_permission", "none");
}
