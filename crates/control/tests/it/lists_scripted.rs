//! Lists against what no simulator does: pages of a few objects, machines that vanish between the
//! two passes, properties that cannot be read.

use std::sync::Mutex;

use serde_json::{Value, json};

use crate::fake::{Reply, Seen};
use crate::scene::{Scene, property};

/// How many machines the fake has.
const MANY: usize = 25;

/// What comes of a request for properties: pages of three objects.
fn paged(seen: &Seen, objects: &[String]) -> Option<Reply> {
    const PAGE: usize = 3;
    let from = match seen.method.as_str() {
        "RetrievePropertiesEx" => 0,
        "ContinueRetrievePropertiesEx" => {
            let token = seen.body.split("<token>").nth(1)?.split('<').next()?;
            token.strip_prefix("from-")?.parse().ok()?
        }
        _ => return None,
    };
    let to = objects.len().min(from + PAGE);
    let token = if to < objects.len() {
        format!("<token>from-{to}</token>")
    } else {
        String::new()
    };
    Some(Reply::Soap(format!(
        "<{0}Response xmlns=\"urn:vim25\"><returnval>{token}{1}</returnval></{0}Response>",
        seen.method,
        objects[from..to].concat()
    )))
}

fn machine(n: usize) -> String {
    let state = if n.is_multiple_of(5) {
        "poweredOff"
    } else {
        "poweredOn"
    };
    let properties =
        property("name", &format!("web{n:02}")) + &property("runtime.powerState", state);
    format!("<objects><obj type=\"VirtualMachine\">vm-{n}</obj>{properties}</objects>")
}

fn is_first_pass(seen: &Seen) -> bool {
    seen.body.contains(">group-d1</obj>")
}

/// All machines, or those that are asked for by reference; `but` says what else comes of one.
fn crowd(
    but: impl Fn(usize, &Seen) -> Option<String> + Send + Sync + 'static,
) -> impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static {
    // What the answer with this token goes on with.
    let last: Mutex<Vec<String>> = Mutex::default();
    move |seen| {
        let is_first = seen.method == "RetrievePropertiesEx";
        if is_first && !seen.body.contains("<type>VirtualMachine</type>") {
            return None;
        }
        let mut last = last.lock().unwrap();
        if is_first {
            *last = (0..MANY)
                .filter(|n| is_first_pass(seen) || seen.body.contains(&format!(">vm-{n}</obj>")))
                .map(|n| but(n, seen).unwrap_or_else(|| machine(n)))
                .collect();
        }
        paged(seen, &last)
    }
}

fn list(scene: &Scene, more: &Value) -> Value {
    let mut all = json!({ "moref": null, "timeout_s": 30 });
    crate::support::merge(&mut all, more);
    scene.call("list_vms", all).ok()
}

#[test]
fn c10_a_server_that_gives_a_few_objects_at_a_time_is_followed_to_the_end() {
    let scene = Scene::new(|_| String::new(), crowd(|_, _| None));
    let all = list(&scene, &json!({}));
    assert_eq!(
        (&all["total"], &all["returned"]),
        (&json!(MANY), &json!(MANY))
    );
    // Nine pages for the names, and nine for the rows: the token was followed, and none is left.
    assert_eq!(scene.was_sent("ContinueRetrievePropertiesEx"), 16);
    assert_eq!(scene.was_sent("CancelRetrievePropertiesEx"), 0);
    let mut seen = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let page = list(
            &scene,
            &json!({ "limit": 7, "cursor": cursor, "sort": "-power_state" }),
        );
        seen.extend(
            page["vms"]
                .as_array()
                .unwrap()
                .iter()
                .map(|vm| vm["moref"].clone()),
        );
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    let mut unique: Vec<String> = seen.iter().map(Value::to_string).collect();
    unique.sort();
    unique.dedup();
    assert_eq!((seen.len(), unique.len()), (MANY, MANY));
    let summary = list(&scene, &json!({ "detail": "summary" }));
    assert_eq!(
        summary["counts"]["power_state"],
        json!({ "poweredOff": 5, "poweredOn": 20 })
    );
    let off = list(&scene, &json!({ "filter": { "state": "off" } }));
    assert_eq!(off["total"], 5);
}

#[test]
fn c10_only_the_page_is_read_in_full_and_by_reference() {
    let scene = Scene::new(|_| String::new(), crowd(|_, _| None));
    list(&scene, &json!({ "limit": 4 }));
    let asked = scene.fake.of("RetrievePropertiesEx");
    let of_machines: Vec<&Seen> = asked
        .iter()
        .filter(|seen| seen.body.contains("<type>VirtualMachine</type>"))
        .collect();
    assert_eq!(of_machines.len(), 2);
    let (first, second) = (&of_machines[0].body, &of_machines[1].body);
    assert!(first.contains("<maxObjects>1000</maxObjects>"));
    assert!(first.contains("<pathSet>name</pathSet>") && !first.contains("summary.config"));
    assert_eq!(second.matches("<objectSet>").count(), 4);
    assert!(second.contains("<reportMissingObjectsInResults>true<"));
}

#[test]
fn c10_a_machine_that_vanishes_between_the_passes_does_not_fail_the_page() {
    // The server says so of the one object, or leaves it out.
    let gone = |n: usize, seen: &Seen| {
        (n == 3 && !is_first_pass(seen)).then(|| {
            "<objects><obj type=\"VirtualMachine\">vm-3</obj><missingSet><path></path><fault>\
             <fault xsi:type=\"ManagedObjectNotFound\"/></fault></missingSet></objects>"
                .to_owned()
        })
    };
    let absent = |n: usize, seen: &Seen| (n == 3 && !is_first_pass(seen)).then(String::new);
    for scene in [
        Scene::new(|_| String::new(), crowd(gone)),
        Scene::new(|_| String::new(), crowd(absent)),
    ] {
        let all = list(&scene, &json!({}));
        assert_eq!(all["returned"], MANY - 1, "{all}");
        assert_eq!(all["next_cursor"], Value::Null);
        assert!(!all.to_string().contains("vm-3\""), "{all}");
    }
    // Or it fails the whole request: then the others are asked for without it.
    let others = crowd(|_, _| None);
    let scene = Scene::new(
        |_| String::new(),
        move |seen: &Seen| {
            let asks = seen.method == "RetrievePropertiesEx" && seen.body.contains(">vm-3</obj>");
            if asks {
                return Some(Reply::Fault("ManagedObjectNotFound", ""));
            }
            others(seen)
        },
    );
    let all = list(&scene, &json!({}));
    assert_eq!(
        (&all["total"], &all["returned"]),
        (&json!(MANY), &json!(MANY - 1))
    );
}

#[test]
fn c10_what_cannot_be_read_is_said_and_is_never_null() {
    const HIDDEN: &str = "<fault><fault xsi:type=\"NoPermission\"/></fault>";
    let hidden = |n: usize, _: &Seen| {
        (n == 2).then(|| {
            format!(
                "<objects><obj type=\"VirtualMachine\">vm-2</obj>{}<missingSet><path>runtime.powerState</path>{HIDDEN}\
                 </missingSet><missingSet><path>guest.ipAddress</path>{HIDDEN}</missingSet></objects>",
                property("name", "web02")
            )
        })
    };
    let scene = Scene::new(|_| String::new(), crowd(hidden));
    let all = list(&scene, &json!({}));
    let row = &all["vms"][2];
    assert_eq!(
        row["unreadable"],
        json!(["runtime.powerState", "guest.ipAddress"]),
        "{row}"
    );
    for vm in all["vms"].as_array().unwrap() {
        assert!(
            vm.as_object()
                .unwrap()
                .values()
                .all(|value| !value.is_null()),
            "{vm}"
        );
    }
    // Whether it fits is not known: it is not in the list, and that is said.
    let off = list(&scene, &json!({ "filter": { "state": "on" } }));
    assert_eq!((&off["total"], &off["undecided"]), (&json!(19), &json!(1)));
    let summary = list(&scene, &json!({ "detail": "summary" }));
    assert_eq!(
        summary["counts"]["power_state"]["unreadable"], 1,
        "{summary}"
    );
}

#[test]
fn c10_a_row_that_fits_no_answer_is_said_and_does_not_end_the_list() {
    let annotation = "a".repeat(4_000);
    let large = move |n: usize, seen: &Seen| {
        (n == 1 && !is_first_pass(seen)).then(|| {
            let datastore: String = (0..400)
                .map(|_| format!("<OptionValue><key>k</key><value>{annotation}</value></OptionValue>"))
                .collect();
            let value = format!(
                "<propSet><name>config.extraConfig</name><val xsi:type=\"ArrayOfOptionValue\">{datastore}</val></propSet>"
            );
            format!(
                "<objects><obj type=\"VirtualMachine\">vm-1</obj>{}{value}</objects>",
                property("name", "web01")
            )
        })
    };
    let scene = Scene::new(|_| String::new(), crowd(large));
    for limit in [Value::Null, json!(1_000)] {
        let all = list(
            &scene,
            &json!({ "fields": ["config.extraConfig"], "limit": limit }),
        );
        assert_eq!(all["returned"], MANY, "{limit}");
        let row = &all["vms"][1];
        assert_eq!(row["name"], "web01");
        assert!(
            row["too_large_chars"].as_u64().unwrap() > 1_000_000,
            "{row}"
        );
        assert!(row["fields"].is_null());
    }
}

#[test]
fn c10_a_property_that_came_after_the_servers_version_is_not_sent() {
    let old = |seen: &Seen| match seen.method.as_str() {
        "GET" => Some(Reply::http(
            "200 OK",
            "Content-Type: text/xml\r\n",
            "<namespaces version=\"1.0\"><namespace><name>urn:vim25</name><version>6.5</version></namespace></namespaces>",
            0,
        )),
        _ => None,
    };
    let others = crowd(|_, _| None);
    let scene = Scene::new(
        |_| String::new(),
        move |seen: &Seen| old(seen).or_else(|| others(seen)),
    );
    let mut all = json!({ "moref": null, "fields": ["config.createDate"] });
    let answer = scene.call("list_vms", all.clone());
    assert_eq!(answer.fails("field.unknown", "none")["since"], "6.7.0.0");
    assert_eq!(scene.was_sent("RetrievePropertiesEx"), 0);
    all["fields"] = json!(["config.changeVersion"]);
    scene.call("list_vms", all).ok();
    // The ordinary columns are those that it has, too.
    scene
        .call("list_hosts", json!({ "moref": null, "detail": "full" }))
        .ok();
    let sent = scene.fake.of("RetrievePropertiesEx");
    assert!(!sent.iter().any(|seen| seen.body.contains("createDate")));
}

#[test]
fn a_cluster_says_its_drs_and_ha() {
    let script = |seen: &Seen| {
        let asks = seen.method == "RetrievePropertiesEx"
            && seen.body.contains("<type>ComputeResource</type>")
            || seen.body.contains("<type>ClusterComputeResource</type>");
        asks.then(|| {
            Reply::Soap(format!(
                "<RetrievePropertiesExResponse xmlns=\"urn:vim25\"><returnval><objects>\
                 <obj type=\"ClusterComputeResource\">domain-c1</obj>{}<propSet><name>configurationEx</name>\
                 <val xsi:type=\"ClusterConfigInfoEx\"><dasConfig><enabled>true</enabled>\
                 <admissionControlEnabled>false</admissionControlEnabled></dasConfig><drsConfig><enabled>true</enabled>\
                 <defaultVmBehavior>manual</defaultVmBehavior></drsConfig></val></propSet></objects></returnval>\
                 </RetrievePropertiesExResponse>",
                property("name", "C1")
            ))
        })
    };
    let scene = Scene::new(|_| String::new(), script);
    let answer = scene.call("list_clusters", json!({ "moref": null })).ok();
    let cluster = &answer["clusters"][0];
    assert_eq!(cluster["kind"], "cluster");
    assert_eq!(
        (&cluster["ha"], &cluster["ha_admission_control"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        (&cluster["drs"], &cluster["drs_level"]),
        (&json!(true), &json!("manual"))
    );
}

#[test]
fn c12_whatever_a_property_holds_is_shown_as_json_that_can_be_read() {
    let deep = "<a>".repeat(120) + "x" + &"</a>".repeat(120);
    let typed = |kind: &str, text: &str| {
        format!(
            "<propSet><name>overallStatus</name><val xsi:type=\"{kind}\">{text}</val></propSet>"
        )
    };
    let texts = "<string>a</string><string>\u{202e}b</string>";
    for (value, shown) in [
        (typed("xsd:int", "7"), json!(7)),
        (typed("xsd:int", "seven"), json!("seven")),
        (
            typed("xsd:long", "9007199254740993"),
            json!("9007199254740993"),
        ),
        (
            typed("xsd:long", "99999999999999999999"),
            json!("99999999999999999999"),
        ),
        (typed("xsd:boolean", "1"), json!(true)),
        (typed("xsd:boolean", "maybe"), json!("maybe")),
        (typed("xsd:double", "1.5"), json!(1.5)),
        (typed("xsd:double", "NaN"), json!("NaN")),
        (typed("xsd:string", "a\u{202e}\u{200b}b"), json!("ab")),
        (typed("ArrayOfString", texts), json!(["a", "b"])),
        (typed("ArrayOfString", ""), json!([])),
        (
            typed("New", "<x>1</x><y>2</y><x>3</x>"),
            json!({ "_type": "New", "x": ["1", "3"], "y": "2" }),
        ),
        (typed("", ""), json!("")),
        (typed("New", &deep), Value::Null),
    ] {
        let object = format!(
            "<objects><obj type=\"VirtualMachine\">vm-1</obj>{}{value}</objects>",
            property("name", "web01")
        );
        let scene = Scene::new(
            |_| String::new(),
            crowd(move |n, _| (n == 1).then(|| object.clone())),
        );
        let filter = json!({ "name": "web01" });
        let all = list(
            &scene,
            &json!({ "fields": ["overallStatus"], "filter": filter }),
        );
        let seen = &all["vms"][0]["fields"]["overallStatus"];
        if shown.is_null() {
            // Deeper than a reader of JSON follows: cut, and said.
            assert!(seen.to_string().contains("deeper than is shown"), "{seen}");
        } else {
            assert_eq!(*seen, shown, "{value}");
        }
    }
}
