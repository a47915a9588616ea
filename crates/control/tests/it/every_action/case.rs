//! What each action is called with, and what it finds.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::credentials::with_password;
use crate::outside::soap;
use crate::support::{Answer, Lab, command, eventually, merge};

/// What an action is called with.
pub(super) struct Case {
    /// Prepares the world, and gives the arguments: the action then has something to do.
    pub(super) arrange: fn(&Site) -> Value,
    /// Whether the simulator can do it: if not, it fails in a way of its own also when nothing is
    /// spoiled, and what is looked at is the same.
    pub(super) works: bool,
}

/// Where an action is tried: a machine of its own, and a way to it past what spoils.
pub(super) struct Site<'l> {
    pub(super) lab: &'l Lab,
    /// Where what spoils listens: the way that the action itself takes.
    pub(super) port: u16,
    pub(super) vm: Value,
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

    /// No machine of this name is there, and the name.
    fn gone(&self, name: &str) -> Value {
        let named = json!({ "vm_name": name });
        let all = self.call("list_vms", named).ok();
        for vm in all["vms"].as_array().unwrap() {
            let vm = json!({ "moref": vm["moref"] });
            self.call("power_off", vm.clone());
            self.call("delete", vm).ok();
        }
        json!(name)
    }

    /// The arguments that register the machine where it was.
    fn registration(&self) -> Value {
        let name = self.vm["name"].as_str().unwrap();
        json!({
            "path": format!("[LocalDS_0] {name}/{name}.vmx"), "name": name,
            "folder": "/DC0/vm", "host_system": self.vm["host"]
        })
    }

    /// The arguments that name the machine, registered anew and off, or those that register it.
    fn registered(&self, is: bool) -> Value {
        let rows = || {
            let named = json!({ "vm_name": self.vm["name"] });
            self.call("list_vms", named).ok()["vms"].clone()
        };
        if rows()[0].is_null() {
            self.call("register", self.registration()).ok();
        }
        let vm = json!({ "moref": rows()[0]["moref"] });
        self.call("power_off", vm.clone());
        if is {
            return vm;
        }
        self.call("unregister", vm).ok();
        self.registration()
    }

    /// The machine is a template, or is none, and is off.
    fn template(&self, is: bool) {
        self.bring("mark_vm", json!({ "host_system": self.vm["host"] }));
        self.powered(false);
        if is {
            self.bring("mark_template", json!({}));
        }
    }

    /// The arguments that name a host, which nothing else is done to, and it is in maintenance or not.
    fn maintained(&self, name: &str, is: bool) -> Value {
        let host = json!({ "host_system": name });
        let bring = ["exit_maintenance", "enter_maintenance"][usize::from(is)];
        self.call(bring, host.clone()).ok();
        host
    }

    /// The arguments that name a task that has ended.
    fn task(&self) -> Value {
        self.powered(false);
        json!({ "task": self.bring("power_on", json!({}))["task"] })
    }

    /// The arguments that name an alarm of the machine, raised anew.
    fn alarm(&self) -> Value {
        let id = self.vm["moref"].as_str().unwrap();
        let event = |kind: &str| {
            format!(
                "<PostEvent xmlns=\"urn:vim25\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
                 <_this type=\"EventManager\">EventManager</_this><eventToPost xsi:type=\"EventEx\">\
                 <key>0</key><chainId>0</chainId><createdTime>2026-01-01T00:00:00Z</createdTime><userName/>\
                 <eventTypeId>vcsim.vm.{kind}</eventTypeId><objectId>{id}</objectId>\
                 <objectType>VirtualMachine</objectType></eventToPost></PostEvent>"
            )
        };
        soap(&self.lab.vcsim, &[event("success"), event("failure")]);
        let all = self.call("list_alarms", json!({})).ok();
        let mut raised = all["alarms"].as_array().unwrap().iter();
        let own = raised.find(|alarm| alarm["entity"]["moref"] == id);
        json!({ "alarm_key": own.unwrap_or_else(|| panic!("{all}"))["alarm_key"] })
    }

    /// The arguments that name the machine, whose guest runs and has Tools.
    fn awake(&self) -> Value {
        self.powered(true);
        let tools = format!(
            "<ReconfigVM_Task xmlns=\"urn:vim25\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
             xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\"><_this type=\"VirtualMachine\">{}</_this><spec>\
             <extraConfig xsi:type=\"OptionValue\"><key>SET.guest.toolsRunningStatus</key>\
             <value xsi:type=\"xsd:string\">guestToolsRunning</value></extraConfig></spec></ReconfigVM_Task>",
            self.vm["moref"].as_str().unwrap()
        );
        soap(&self.lab.vcsim, &[tools]);
        self.vm()
    }

    /// A saved account within the guests of the server behind what spoils.
    fn guest_profile(&self) -> String {
        let name = format!("inside-{}", self.port);
        let port = self.port.to_string();
        let mut save = command(&self.lab.home);
        save.args(["credential", "save", &name, "--host", "127.0.0.1"])
            .args(["--port", &port, "--user", "in", "--guest"]);
        let saved = with_password(save, "inside");
        assert!(saved.status.success(), "{saved:?}");
        name
    }
}

/// Makes what several actions work with.
pub(super) fn prepare(lab: &Lab) {
    let folders = lab.call("list_folders", json!({ "limit": 1_000 })).ok();
    let mut folders = folders["folders"].as_array().unwrap().iter();
    let parent = folders.find(|folder| folder["path"] == "/DC0/vm").unwrap();
    let make = format!(
        "<CreateFolder xmlns=\"urn:vim25\"><_this type=\"Folder\">{}</_this><name>apps</name></CreateFolder>",
        parent["moref"].as_str().unwrap()
    );
    soap(&lab.vcsim, &[make]);
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
pub(super) fn case(action: &str) -> Option<Case> {
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
        | "list_events"
        | "list_tasks"
        | "list_old_snapshots" => works(|_| json!({ "limit": 5 })),
        "get_host" => works(|_| json!({ "host_system": "DC0_H0" })),
        "browse_datastore" => works(|_| json!({ "datastore": "/DC0/datastore/LocalDS_0" })),
        "list_templates" => works(|site| {
            site.template(true);
            json!({ "filter": { "name": site.vm["name"] } })
        }),
        "list_alarms" | "acknowledge_alarm" => works(|site| site.alarm()),
        "get_task" => works(|site| site.task()),
        // Its tasks end as soon as they begin: there is never one left to cancel.
        "cancel_task" => works(|site| site.task()),
        "find_vm" => works(|site| json!({ "name_glob": site.vm["name"] })),
        "get_vm" | "snapshot_list" | "check_access" => works(|site| site.vm()),
        "get_performance" => works(|site| site.vm_and(json!({ "samples": 1 }))),
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
        "standby_guest" => works(|site| site.awake()),
        // There are no guests that would restart, or run anything.
        "reboot_guest" => fails(|site| site.awake()),
        "guest_run" => fails(|site| {
            site.powered(true);
            site.vm_and(json!({ "guest_profile": site.guest_profile(), "program": "/bin/true" }))
        }),
        "guest_list_processes" => fails(|site| {
            site.powered(true);
            site.vm_and(json!({ "guest_profile": site.guest_profile() }))
        }),
        "enter_maintenance" => works(|site| site.maintained("DC1_C0_H0", false)),
        "exit_maintenance" => works(|site| site.maintained("DC1_C0_H1", true)),
        "reconnect_host" => works(|site| {
            let host = json!({ "host_system": "DC1_C0_H2" });
            let id = site.call("get_host", host.clone()).ok()["host"]["moref"].clone();
            let disconnect = format!(
                "<DisconnectHost_Task xmlns=\"urn:vim25\"><_this type=\"HostSystem\">{}</_this></DisconnectHost_Task>",
                id.as_str().unwrap()
            );
            soap(&site.lab.vcsim, &[disconnect]);
            eventually("the host is disconnected", || {
                let now = site.call("get_host", host.clone()).ok();
                now["host"]["connection_state"] == "disconnected"
            });
            host
        }),
        "rename" => works(|site| {
            let named = |end: &str| json!({ "new_name": format!("renamed-{end}") });
            site.bring("rename", named("before"));
            site.vm_and(named("after"))
        }),
        "move_to_folder" => works(|site| {
            site.bring("move_to_folder", json!({ "folder": "/DC0/vm" }));
            site.vm_and(json!({ "folder": "/DC0/vm/apps" }))
        }),
        "migrate" => works(|site| {
            site.bring("migrate", json!({ "host_system": "DC0_C0_H0" }));
            site.vm_and(json!({ "host_system": "DC0_C0_H1" }))
        }),
        "clone" => works(|site| site.vm_and(json!({ "name": site.gone("made-by-clone") }))),
        "deploy_template" => works(|site| {
            site.template(true);
            let name = site.gone("made-by-deployment");
            site.vm_and(json!({ "name": name, "host_system": site.vm["host"] }))
        }),
        "create_vm" => works(|site| {
            json!({
                "name": site.gone("made-from-nothing"), "folder": "/DC0/vm",
                "datastore": "/DC0/datastore/LocalDS_0", "host_system": "DC0_H0"
            })
        }),
        "mark_template" => works(|site| {
            site.template(false);
            site.vm()
        }),
        "mark_vm" => works(|site| {
            site.template(true);
            site.vm_and(json!({ "host_system": site.vm["host"] }))
        }),
        "unregister" => works(|site| site.registered(true)),
        "register" => works(|site| site.registered(false)),
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
