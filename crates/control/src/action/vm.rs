//! list_vms, list_templates and get_vm.

use serde_json::{Map, Value, json};
use vsphere::{MoRef, Object};

use super::device::{cdrom, nic};
use super::disk::{self, DEVICES, Disk};
use super::reconfigure::values::{self, DEFINED, SET};
use super::tree::Tree;
use crate::argument::Arguments;
use crate::call::Call;
use crate::failure::Failure;
use crate::listing::catalog::Catalog;
use crate::listing::column::{self, As, Column, SHOWN, column, part, put};
use crate::listing::filter::{Chosen, Filter, Test, Want};
use crate::machine::{self, Containers, Machine, VM, decoded};
use crate::object::{CLUSTER, DATACENTER, DATASTORE, FOLDER, HOST, NETWORK, POOL};
use crate::property;

/// Virtual machines and templates. A row is not made of `config`: that is unset for half-created
/// machines, and large.
pub(crate) static VMS: Catalog = Catalog {
    field: "vms",
    kinds: &[VM],
    above: &["Folder", "Datacenter", "VirtualApp", "HostSystem"],
    columns: &[
        column("instance_uuid", "summary.config.instanceUuid", As::Text),
        column("bios_uuid", "summary.config.uuid", As::Text),
        column("power_state", "runtime.powerState", As::Text),
        // Always: values of a disconnected machine look alive.
        column("connection_state", "runtime.connectionState", As::Text),
        column("cpu", "summary.config.numCpu", As::Whole),
        column("memory_mb", "summary.config.memorySizeMB", As::Whole),
        column("guest_os", "summary.config.guestFullName", As::Text),
        column("guest_host_name", "guest.hostName", As::Text),
        column("guest_ip", "guest.ipAddress", As::Text),
        column("tools", "guest.toolsRunningStatus", As::Text),
        column("host", "runtime.host", As::Named),
        column("used_bytes", "summary.storage.committed", As::Whole),
        column("could_grow_bytes", "summary.storage.uncommitted", As::Whole),
        column("template", "summary.config.template", As::Mark),
        column(
            "consolidation_needed",
            "runtime.consolidationNeeded",
            As::Mark,
        ),
        column("waits_for_answer", "runtime.question", As::Present),
        part(
            "managed_by",
            "summary.config.managedBy",
            "extensionKey",
            As::Text,
        ),
    ],
    more: &[
        column("annotation", "config.annotation", As::Text),
        column("hardware_version", "config.version", As::Text),
        column("change_version", "config.changeVersion", As::Text),
        column("guest_id", "config.guestId", As::Text),
        column("firmware", "config.firmware", As::Text),
        column("vmx_path", "config.files.vmPathName", As::Text),
        column("cpu_hot_add", "config.cpuHotAddEnabled", As::Flag),
        column("memory_hot_add", "config.memoryHotAddEnabled", As::Flag),
        column(
            "tools_version_status",
            "guest.toolsVersionStatus2",
            As::Text,
        ),
        column("booted", "runtime.bootTime", As::Text),
        column("status", "overallStatus", As::Text),
        column(
            "cpu_used_mhz",
            "summary.quickStats.overallCpuUsage",
            As::Whole,
        ),
        column(
            "memory_used_mb",
            "summary.quickStats.hostMemoryUsage",
            As::Whole,
        ),
        column("resource_pool", "resourcePool", As::Named),
        column("datastores", "datastore", As::Names),
        column("networks", "network", As::Names),
        column("has_snapshots", "snapshot", As::Present),
    ],
    more_above: &["ResourcePool", "Datastore", "Network"],
    counts: &["power_state", "connection_state", "template", "tools"],
    filters: &[
        by("name", Want::Name),
        by(
            "state",
            Want::Word(
                "runtime.powerState",
                &[
                    ("on", "poweredOn"),
                    ("off", "poweredOff"),
                    ("powered_on", "poweredOn"),
                    ("powered_off", "poweredOff"),
                ],
            ),
        ),
        by("connection", Want::Word("runtime.connectionState", &[])),
        by("host", Want::Through(&HOST, &["vm"])),
        by("cluster", Want::Through(&CLUSTER, &["host", "vm"])),
        by("folder", Want::Beneath(&FOLDER)),
        by("datacenter", Want::Beneath(&DATACENTER)),
        by("datastore", Want::Through(&DATASTORE, &["vm"])),
        by("network", Want::Refers("network", &NETWORK)),
        by("resource_pool", Want::Through(&POOL, &["vm"])),
        by("annotation", Want::Glob("config.annotation")),
        by("guest_os", Want::Glob("summary.config.guestFullName")),
        by(
            "tools",
            Want::Word(
                "guest.toolsRunningStatus",
                &[
                    ("running", "guestToolsRunning"),
                    ("not_running", "guestToolsNotRunning"),
                ],
            ),
        ),
        by("template", Want::Flag("summary.config.template")),
        by("attribute:<name>", Want::Attribute),
    ],
};

const fn by(name: &'static str, want: Want) -> Filter {
    Filter { name, want }
}

/// What one machine in detail needs besides.
const DETAIL: &[&str] = &[
    DEFINED,
    SET,
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "config.hardware.numCoresPerSocket",
    DEVICES,
    "config.hotPlugMemoryIncrementSize",
    "config.hotPlugMemoryLimit",
    "config.memoryReservationLockedToMax",
    "config.cpuAllocation",
    "config.memoryAllocation",
    "config.files",
    "config.keyId",
    "config.ftInfo",
    "guest.net",
    "guest.disk",
    "guest.guestState",
    "guest.toolsVersion",
    "snapshot",
];

/// All machines, or those that the arguments choose.
pub(crate) async fn list(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let mut chosen = Chosen::default();
    narrow(call, &mut chosen).await?;
    VMS.list_of(call, chosen).await
}

/// All templates.
pub(crate) async fn templates(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let mut chosen = Chosen::default();
    chosen
        .tests
        .push(Test::new(&["summary.config.template"], |object| {
            let is = object.get("summary.config.template");
            is.and_then(vsphere::Value::as_bool) == Some(true)
        }));
    VMS.list_of(call, chosen).await
}

/// What the identifiers of one machine choose in a list: none, one, or those of one name.
async fn narrow(call: &Call<'_>, chosen: &mut Chosen) -> Result<(), Failure> {
    let arguments = call.arguments;
    if let Some(moref) = arguments.text("moref") {
        chosen.narrow([MoRef::new(VM, moref)]);
    }
    if let Some(uuid) = arguments.text("vm_uuid") {
        chosen.narrow(machine::by_uuid(call.session, uuid).await?);
    }
    if let Some(path) = arguments.text("vm_path") {
        chosen.narrow(machine::by_path(call.session, path).await?);
    }
    if chosen.only.is_some() {
        // A reference to something else than a machine has none.
        chosen
            .tests
            .push(Test::new(&["runtime.powerState"], |object| {
                object.get("runtime.powerState").is_some()
                    || object.is_unreadable("runtime.powerState")
            }));
    }
    if let Some(name) = arguments.text("vm_name").map(decoded) {
        chosen.tests.push(Test::new(&["name"], move |object| {
            decoded(object.text("name").unwrap_or_default()) == name
        }));
    }
    if let Some(uuid) = arguments.text("instance_uuid").map(str::to_owned) {
        const PATH: &str = "summary.config.instanceUuid";
        chosen.tests.push(Test::new(&[PATH], move |object| {
            object
                .text(PATH)
                .is_some_and(|actual| actual.eq_ignore_ascii_case(&uuid))
        }));
    }
    Ok(())
}

/// What the guest says of its adapters.
pub(super) fn nics(object: &Object) -> impl Iterator<Item = &vsphere::Value> {
    let nics = object.get("guest.net");
    nics.into_iter().flat_map(vsphere::Value::items)
}

/// Refuses property paths that no machine has.
pub(crate) fn check_get(arguments: &Arguments) -> Result<(), Failure> {
    property::check(VMS.kinds, &arguments.texts("fields"), None)
}

/// One machine in detail.
pub(crate) async fn get(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let version = property::version(call.session.api_version());
    let fields = call.arguments.texts("fields");
    property::check(VMS.kinds, &fields, Some(version))?;
    let columns: Vec<&Column> = VMS.all().collect();
    let mut paths = column::paths(&columns, VM, version);
    paths.extend(DETAIL);
    paths.extend(fields.iter().copied());
    let above: Vec<&str> = VMS.above.iter().chain(VMS.more_above).copied().collect();
    let machine = Machine::find(call, &paths).await?;
    let names = Containers::read_types(call.session, &above).await?;
    let object = &machine.object;
    let mut vm = column::row(object, &columns, &names);
    let whole = |path: &str| json!(object.get(path).and_then(vsphere::Value::as_i64));
    let text = |path: &str| json!(object.text(path).map(guard::text::sanitize));
    vm.insert("path".to_owned(), json!(machine.path));
    let mut put = |name: &str, value: Value| put(&mut vm, name, value);
    // The configuration is what a change sets; the summary may lag behind it.
    // Also when it is none: who makes a VM of a template looks for this.
    put(
        "template",
        json!(
            object
                .get("summary.config.template")
                .and_then(vsphere::Value::as_bool)
        ),
    );
    put("cpu", whole("config.hardware.numCPU"));
    put("memory_mb", whole("config.hardware.memoryMB"));
    put(
        "cores_per_socket",
        whole("config.hardware.numCoresPerSocket"),
    );
    put(
        "memory_hot_add_step_mb",
        whole("config.hotPlugMemoryIncrementSize"),
    );
    let attributes = values::attributes(object);
    if !attributes.is_empty() {
        put("attributes", Value::Object(attributes));
    }
    put("memory_hot_add_most_mb", whole("config.hotPlugMemoryLimit"));
    let locked = object.get("config.memoryReservationLockedToMax");
    put(
        "memory_reservation_locked",
        json!(locked.and_then(vsphere::Value::as_bool).filter(|is| *is)),
    );
    put(
        "cpu_allocation",
        allocation(object, "config.cpuAllocation", "mhz"),
    );
    put(
        "memory_allocation",
        allocation(object, "config.memoryAllocation", "mb"),
    );
    put("files", files(object));
    put("encrypted", json!(object.get("config.keyId").map(|_| true)));
    put(
        "fault_tolerant",
        json!(object.get("config.ftInfo").map(|_| true)),
    );
    put("guest_state", text("guest.guestState"));
    put("tools_version", text("guest.toolsVersion"));
    let disks = disk::all(object);
    put("disks", disks.iter().take(SHOWN).map(Disk::row).collect());
    put("disks_total", json!(disks.len()));
    let adapters = adapters(object);
    put("network_adapters_total", json!(adapters.len()));
    put(
        "network_adapters",
        adapters.into_iter().take(SHOWN).collect(),
    );
    put("cdroms", json!(cdrom::rows(object)));
    put("addresses", addresses(object));
    put("guest_networks", guest_networks(object));
    put("guest_disks", guest_disks(object));
    let tree = Tree::of(object);
    put("snapshots", json!(tree.all.len()));
    put("current_snapshot", json!(tree.current));
    if let Some(question) = machine.question() {
        let text = guard::text::sanitize(&question.text);
        put("question", json!(text));
        put(
            "question_id",
            json!(guard::text::sanitize_to(&question.id, 80)),
        );
        let choices = question.choices.iter().take(20).map(|(key, label)| {
            json!({ "key": guard::text::sanitize(key), "label": guard::text::sanitize(label) })
        });
        put("question_choices", choices.collect());
    }
    // Always: changes of them are verified here.
    vm.insert(
        "waits_for_answer".to_owned(),
        json!(machine.question().is_some()),
    );
    vm.insert(
        "consolidation_needed".to_owned(),
        json!(machine.flag("runtime.consolidationNeeded")),
    );
    if !object.is_unreadable("config.annotation") {
        // Also empty: a change of it is verified here.
        let notes = values::shown_annotation(object);
        vm.insert("annotation".to_owned(), json!(notes));
    }
    if !fields.is_empty() {
        let values = Value::Object(column::by_path(object, &fields));
        vm.insert("fields".to_owned(), values);
    }
    let mut answer = Map::new();
    answer.insert("action".to_owned(), json!(call.row.word));
    answer.insert("target".to_owned(), machine.target(&call.server));
    answer.insert("vm".to_owned(), Value::Object(vm));
    Ok(answer)
}

/// What a machine is promised of its host, and what it may take at most.
fn allocation(object: &Object, path: &str, unit: &str) -> Value {
    let Some(value) = object.get(path) else {
        return Value::Null;
    };
    let whole = |name: &str| value.at(name).and_then(vsphere::Value::as_i64);
    let mut row = Map::new();
    put(
        &mut row,
        &format!("reservation_{unit}"),
        json!(whole("reservation")),
    );
    // Less than zero: as much as there is.
    let limit = whole("limit").filter(|limit| *limit >= 0);
    put(&mut row, &format!("limit_{unit}"), json!(limit));
    put(&mut row, "shares", json!(whole("shares.shares")));
    let level = value.text_at("shares.level").map(guard::text::sanitize);
    put(&mut row, "shares_level", json!(level));
    Value::Object(row)
}

/// Where a machine's own files lie.
fn files(object: &Object) -> Value {
    let mut row = Map::new();
    for (name, field) in [
        ("vmx", "vmPathName"),
        ("snapshots", "snapshotDirectory"),
        ("suspended", "suspendDirectory"),
        ("logs", "logDirectory"),
    ] {
        let path = object
            .get("config.files")
            .and_then(|files| files.text_at(field));
        put(&mut row, name, json!(path.map(guard::text::sanitize)));
    }
    if row.is_empty() {
        Value::Null
    } else {
        Value::Object(row)
    }
}

/// What the guest says of its network.
fn guest_networks(object: &Object) -> Value {
    nics(object)
        .take(SHOWN)
        .map(|nic| {
            let text = |name: &str| nic.text_at(name).map(guard::text::sanitize);
            let addresses: Vec<String> = nic
                .all("ipAddress")
                .take(SHOWN)
                .map(|ip| guard::text::sanitize_to(ip.text(), 60))
                .collect();
            json!({
                "network": text("network"),
                "mac": text("macAddress"),
                "connected": nic.get("connected").and_then(vsphere::Value::as_bool),
                "addresses": addresses,
            })
        })
        .collect()
}

/// What the guest says of its disks.
fn guest_disks(object: &Object) -> Value {
    let disks = object.get("guest.disk");
    disks
        .into_iter()
        .flat_map(vsphere::Value::items)
        .take(SHOWN)
        .map(|disk| {
            let whole = |name: &str| disk.get(name).and_then(vsphere::Value::as_i64);
            json!({
                "path": disk.text_at("diskPath").map(guard::text::sanitize),
                "capacity_bytes": whole("capacity"),
                "free_bytes": whole("freeSpace"),
            })
        })
        .collect()
}

fn adapters(object: &Object) -> Vec<Value> {
    disk::devices(object)
        .filter(|device| device.get("macAddress").is_some())
        .map(|device| Value::Object(nic::row(device)))
        .collect()
}

fn addresses(object: &Object) -> Value {
    let adapters = object
        .get("guest.net")
        .into_iter()
        .flat_map(vsphere::Value::items);
    let addresses = adapters.flat_map(|adapter| adapter.all("ipAddress"));
    addresses
        .map(|address| json!(guard::text::sanitize_to(address.text(), 60)))
        .take(SHOWN)
        .collect()
}
