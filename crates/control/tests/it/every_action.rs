//! Every action of the published table, with each answer of the server spoiled in each way: never a
//! success that is none, never "nothing happened" where something did, and no session left.
//!
//! A new action needs a line in [`case`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::ground::{Ground, Passed, SPOILS, Spoil};
use crate::support::{Answer, Lab, eventually, merge};

/// How many actions are under way at the same time: most of the time they wait.
const WORKERS: usize = 12;

/// Methods that change nothing, whoever calls them.
const READS: &[&str] = &[
    "CancelRetrievePropertiesEx",
    "CheckMigrate_Task",
    "CheckRelocate_Task",
    "ContinueRetrievePropertiesEx",
    "CreateCollectorForEvents",
    "CreateCollectorForTasks",
    "CreateContainerView",
    "CreateFilter",
    "CreatePropertyCollector",
    "CurrentTime",
    "DestroyCollector",
    "DestroyPropertyCollector",
    "DestroyPropertyFilter",
    "DestroyView",
    "FindAllByDnsName",
    "FindAllByIp",
    "FindAllByUuid",
    "FindByDatastorePath",
    "FindByInventoryPath",
    "FindByUuid",
    "GET",
    "HasPrivilegeOnEntities",
    "ListProcessesInGuest",
    "QueryAvailablePerfMetric",
    "QueryEvents",
    "QueryPerf",
    "QueryPerfCounter",
    "QueryPerfProviderSummary",
    "ReadNextEvents",
    "ReadNextTasks",
    "ReadPreviousEvents",
    "ReadPreviousTasks",
    "RetrieveProperties",
    "RetrievePropertiesEx",
    "RetrieveServiceContent",
    "RewindCollector",
    "SearchDatastore_Task",
    "SetCollectorPageSize",
    "WaitForUpdatesEx",
];

/// What an action is called with.
struct Case {
    /// Prepares the world, and gives the arguments: the action then has something to do.
    arrange: fn(&Site) -> Value,
    /// Whether the simulator can do it: if not, it fails in a way of its own also when nothing is
    /// spoiled, and what is looked at is the same.
    works: bool,
}

/// Where an action is tried: a machine of its own, and a way to it past what spoils.
struct Site<'l> {
    lab: &'l Lab,
    vm: Value,
}

impl Site<'_> {
    /// Calls an action that is nobody's subject here.
    fn call(&self, action: &str, arguments: Value) -> Answer {
        self.lab.call(action, arguments)
    }

    /// As [`Site::call`], for the machine; whether it has anything to do does not matter.
    fn bring(&self, action: &str, more: Value) -> Value {
        let mut all = self.vm();
        merge(&mut all, &more);
        self.call(action, all).body
    }

    /// The arguments that name the machine.
    fn vm(&self) -> Value {
        json!({ "moref": self.vm["moref"] })
    }

    fn vm_and(&self, more: Value) -> Value {
        let mut all = self.vm();
        merge(&mut all, &more);
        all
    }

    fn powered(&self, on: bool) {
        self.bring(if on { "power_on" } else { "power_off" }, json!({}));
    }

    /// The machine has no device of this kind but its first.
    fn only_first(&self, kind: &str, remove: &str) {
        let look = self.lab.look(&self.vm);
        let devices = look[kind].as_array().unwrap();
        for device in devices.iter().skip(1) {
            self.bring(remove, json!({ "device_key": device["device_key"] }));
        }
    }

    /// The key of the only second device of this kind, made anew.
    fn second(&self, kind: &str, remove: &str, add: &str, of: Value) -> Value {
        self.only_first(kind, remove);
        let added = self.bring(add, of);
        assert_eq!(added["changed"], true, "{added}");
        self.lab.look(&self.vm)[kind][1]["device_key"].clone()
    }

    /// A snapshot of this name is there once.
    fn snapshot(&self, name: &str) -> Value {
        let with = json!({ "snapshot_name": name });
        loop {
            if self.bring("snapshot_delete", with.clone())["changed"] != true {
                break;
            }
        }
        self.bring("snapshot_create", with.clone());
        self.vm_and(with)
    }
}

fn works(arrange: fn(&Site) -> Value) -> Option<Case> {
    Some(Case {
        arrange,
        works: true,
    })
}

fn fails(arrange: fn(&Site) -> Value) -> Option<Case> {
    Some(Case {
        arrange,
        works: false,
    })
}

/// What each action is called with; one line for each.
fn case(action: &str) -> Option<Case> {
    match action {
        "about" | "credential_list" => works(|_| json!({})),
        // A page of a fixed length, since texts differ in theirs.
        "list_hosts"
        | "list_datastores"
        | "list_sessions"
        | "list_vms"
        | "list_clusters"
        | "list_datacenters"
        | "list_networks"
        | "list_resource_pools"
        | "list_folders"
        | "list_templates" => works(|_| json!({ "limit": 5 })),
        "get_host" => works(|_| json!({ "host_system": "DC0_H0" })),
        "browse_datastore" => works(|_| json!({ "datastore": "/DC0/datastore/LocalDS_0" })),
        "find_vm" => works(|_| json!({ "name_glob": "DC0_H0_VM1*" })),
        "get_vm" | "snapshot_list" => works(|site| site.vm()),
        "reconfigure" => works(|site| {
            site.powered(false);
            site.bring("reconfigure", json!({ "memory_mb": 32 }));
            site.vm_and(json!({ "memory_mb": 64 }))
        }),
        "power_on" => works(|site| {
            site.powered(false);
            site.vm()
        }),
        "power_off" | "reset" | "suspend" | "shutdown_guest" => works(|site| {
            site.powered(true);
            site.vm()
        }),
        "snapshot_create" => works(|site| {
            site.snapshot("new");
            let gone = json!({ "snapshot_name": "new" });
            site.bring("snapshot_delete", gone.clone());
            site.vm_and(gone)
        }),
        "snapshot_revert" | "snapshot_delete" => works(|site| site.snapshot("one")),
        "snapshot_delete_all" => works(|site| {
            site.snapshot("one");
            site.vm()
        }),
        "add_disk" => works(|site| {
            site.only_first("disks", "remove_disk");
            site.vm_and(json!({ "size_mb": 16 }))
        }),
        "remove_disk" => works(|site| {
            let key = site.second("disks", "remove_disk", "add_disk", json!({ "size_mb": 16 }));
            site.vm_and(json!({ "device_key": key }))
        }),
        "grow_disk" => works(|site| {
            let key = site.second("disks", "remove_disk", "add_disk", json!({ "size_mb": 16 }));
            site.vm_and(json!({ "device_key": key, "size_mb": 32 }))
        }),
        "add_nic" => works(|site| {
            site.only_first("network_adapters", "remove_nic");
            site.vm_and(json!({ "network": "/DC0/network/VM Network" }))
        }),
        "remove_nic" => works(|site| {
            let of = json!({ "network": "/DC0/network/VM Network" });
            let key = site.second("network_adapters", "remove_nic", "add_nic", of);
            site.vm_and(json!({ "device_key": key }))
        }),
        "connect_nic" => works(|site| {
            let key = &site.lab.look(&site.vm)["network_adapters"][0]["device_key"];
            let with = |start: bool| json!({ "device_key": key, "start_connected": start });
            site.bring("connect_nic", with(true));
            site.vm_and(with(false))
        }),
        // There is no image, no question and nothing to consolidate in the simulator.
        "mount_iso" => fails(|site| site.vm_and(json!({ "path": "[LocalDS_0] none.iso" }))),
        "answer_question" => fails(|site| site.vm_and(json!({ "choice": "0" }))),
        "eject_iso" | "consolidate_disks" => works(|site| site.vm()),
        // It is made anew from the next machine each time.
        "delete" => works(|site| {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let all = site.call("list_vms", json!({ "limit": 1_000 })).ok();
            let spare = all["vms"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|vm| vm["path"].as_str().unwrap().contains("DC1"))
                .nth(NEXT.fetch_add(1, Ordering::Relaxed) % 2)
                .unwrap_or_else(|| panic!("no machine is left to delete"));
            let vm = json!({ "moref": spare["moref"] });
            site.call("power_off", vm.clone());
            vm
        }),
        _ => None,
    }
}

/// The actions that contact a server only in ways of their own, which other tests look at.
const LOCAL: &[&str] = &["credential_save", "credential_check", "credential_delete"];

/// What happened, for the report.
#[derive(Default)]
struct Tally {
    told: Mutex<BTreeMap<&'static str, usize>>,
    wrong: Mutex<Vec<String>>,
}

impl Tally {
    fn count(&self, what: &'static str) {
        *self.told.lock().unwrap().entry(what).or_default() += 1;
    }

    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }
}

#[test]
fn c11_no_action_pretends_whatever_becomes_of_the_servers_answers() {
    let lab = Lab::new(&["-dc", "2", "-vm", "40"]);
    let tool = lab.server.request("tools/list", json!({}))["result"]["tools"][0].clone();
    let rows = tool["_meta"]["pilothouse/table"]["rows"]
        .as_object()
        .unwrap();
    let all = lab.call("list_vms", json!({ "limit": 1_000 })).ok();
    let mut machines = all["vms"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|vm| vm["path"].as_str().unwrap().contains("DC0"));
    let mut missing = Vec::new();
    let mut queue = VecDeque::new();
    for (word, row) in rows
        .iter()
        .filter(|(word, _)| !LOCAL.contains(&word.as_str()))
    {
        match case(word) {
            None => missing.push(word.clone()),
            Some(case) => {
                let vm = machines.next().unwrap().clone();
                queue.push_back((word.clone(), row["risk"] != "read", case, vm));
            }
        }
    }
    let (queue, tally) = (Mutex::new(queue), Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some((word, changes, case, vm)) = queue.lock().unwrap().pop_front() else {
                        return;
                    };
                    let site = Site { lab: &lab, vm };
                    try_action(&site, &word, changes, &case, &tally);
                }
            });
        }
    });
    lab.no_session_is_left();
    let told = tally.told.into_inner().unwrap();
    println!("{told:?}");
    let wrong = tally.wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    for what in ["none", "unknown", "success"] {
        assert!(told.get(what).is_some_and(|n| *n > 0), "{what}: {told:?}");
    }
    assert!(
        missing.is_empty(),
        "give each of these a line in `case`: {missing:?}"
    );
}

/// Tries one action: once as it is, then with each answer that matters spoiled in each way.
fn try_action(site: &Site, word: &str, changes: bool, case: &Case, tally: &Tally) {
    let ground = Ground::before(&site.lab.vcsim);
    let call = |arguments: &Value| {
        let mut all = json!({
            "action": word, "host": "127.0.0.1", "port": ground.port, "user": "user",
            "password": "pass", "timeout_s": 2
        });
        merge(&mut all, arguments);
        if word == "credential_list" {
            all = json!({ "action": word });
        }
        site.lab.server.call(all)
    };
    // The first contact says more than the others.
    call(&(case.arrange)(site));
    let arguments = (case.arrange)(site);
    ground.arm(None);
    let clean = call(&arguments);
    if case.works && clean.is_error {
        tally.wrong(format!("{word}: {}", clean.body));
        return;
    }
    let passed = ground.passed();
    for at in points(&passed, changes) {
        for spoil in SPOILS {
            // A change is looked at in each way; of what is around it, one way each is enough.
            let is_deed = is_change(&passed[at]);
            if !is_deed && !everything() && !one_of(word, at, spoil) {
                continue;
            }
            let arguments = (case.arrange)(site);
            ground.arm(Some((at, spoil)));
            let answer = call(&arguments);
            let name = format!("{word}, {spoil:?} at {} ({at})", passed[at].method);
            judge(&name, &answer, &clean, &ground.passed(), changes, tally);
            eventually("the session is closed", || ground.open_sessions() == 0);
        }
    }
}

/// Whether everything is to be tried, which takes minutes.
fn everything() -> bool {
    std::env::var("PILOTHOUSE_FAULTS").is_ok_and(|all| all == "all")
}

/// Chooses one way for each answer, another for the next.
fn one_of(word: &str, at: usize, spoil: Spoil) -> bool {
    let seed: usize = word.bytes().map(usize::from).sum();
    SPOILS[(seed + at) % SPOILS.len()] == spoil
}

fn is_change(passed: &Passed) -> bool {
    !READS.contains(&passed.method.as_str())
}

/// The answers that matter: the first, the changes and what follows each, and the last.
fn points(passed: &[Passed], changes: bool) -> Vec<usize> {
    let mut points: Vec<usize> = (0..passed.len())
        .filter(|at| {
            let last = at + 1 == passed.len();
            let deed = changes && is_change(&passed[*at]);
            let after = changes && *at > 0 && is_change(&passed[at - 1]);
            everything() || *at == 0 || last || deed || after
        })
        .collect();
    points.dedup();
    points
}

fn judge(
    name: &str,
    answer: &Answer,
    clean: &Answer,
    passed: &[Passed],
    changes: bool,
    tally: &Tally,
) {
    let body = &answer.body;
    let sent = passed.iter().any(is_change);
    let done = passed.iter().any(|p| is_change(p) && p.accepted);
    let wrong = |why: &str| tally.wrong(format!("{name}: {why}: {body}"));
    if !answer.is_error {
        tally.count("success");
        if changes {
            if clean.body["changed"] == false {
                // There was nothing to do.
                if body["changed"] != false || done {
                    wrong("nothing was to be changed");
                }
            } else if body["changed"] != true {
                wrong("a change that was to be made is said to be none");
            } else if !done {
                wrong("a change that was not made is said to be made");
            }
        } else if shape(body) != shape(&clean.body) {
            wrong(&format!("another answer than {}", clean.body));
        }
        return;
    }
    // Every failure has a code and says its effect.
    answer.code();
    match body["effect"].as_str().unwrap() {
        "none" => {
            tally.count("none");
            // A task that failed has done nothing, by the server's own word.
            if changes && done && body["fault"].is_null() {
                wrong("a change that arrived is said to have had no effect");
            }
        }
        _ => {
            tally.count("unknown");
            if !changes || !sent {
                wrong("nothing was sent that could have an effect");
            }
        }
    }
}

/// What of an answer must be the same each time: how much there is of everything.
fn shape(body: &Value) -> Value {
    match body {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !["sessions", "total", "returned"].contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), shape(value)))
            .collect(),
        Value::Array(items) => json!(items.len()),
        _ => Value::Null,
    }
}
