//! list_vms and get_vm.

use std::collections::HashMap;
use std::ops::ControlFlow;

use serde_json::{Map, Value, json};
use vsphere::{FilterSpec, MoRef, Object, Question};

use super::device::{cdrom, nic};
use super::disk::{self, DEVICES, Disk};
use super::reconfigure::values::{self, DEFINED, SET};
use super::tree::Tree;
use crate::call::Call;
use crate::failure::Failure;
use crate::fault;
use crate::listing::{Key, Listing};
use crate::machine::{self, Containers, Machine, VM, decoded, shown_name};

/// What a row of the list is made of. Not `config`: it is unset for half-created machines,
/// and large.
const ROW: &[&str] = &[
    "name",
    "parent",
    "parentVApp",
    "runtime.host",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.consolidationNeeded",
    "runtime.question",
    "summary.config.template",
    "summary.config.uuid",
    "summary.config.instanceUuid",
    "summary.config.numCpu",
    "summary.config.memorySizeMB",
    "summary.config.guestFullName",
    "summary.config.managedBy",
    "guest.toolsRunningStatus",
    "guest.ipAddress",
    "guest.hostName",
    "summary.storage.committed",
    "summary.storage.uncommitted",
];

/// What one machine in detail needs besides.
const DETAIL: &[&str] = &[
    "config.annotation",
    DEFINED,
    SET,
    "config.version",
    "config.files.vmPathName",
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "config.hardware.numCoresPerSocket",
    DEVICES,
    "config.cpuHotAddEnabled",
    "config.memoryHotAddEnabled",
    "guest.net",
    "guest.toolsVersionStatus2",
    "snapshot",
];

/// How many objects one request names.
const CHUNK: usize = 500;

/// How many disks, adapters and addresses are shown.
const SHOWN: usize = 64;

/// All machines, or those that the filter fits.
pub(crate) async fn list(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let (keys, containers) = tokio::join!(
        keys(call),
        Containers::read_types(
            call.session,
            &["Folder", "Datacenter", "VirtualApp", "HostSystem"]
        )
    );
    let (keys, containers) = (keys?, containers?);
    let listing = Listing::new(call, "vms", keys)?;
    let references: Vec<MoRef> = listing.references().map(|id| MoRef::new(VM, id)).collect();
    let mut rows: HashMap<String, Value> = HashMap::new();
    let mut size = 0;
    for chunk in references.chunks(CHUNK) {
        let spec = FilterSpec::objects(VM, chunk, ROW);
        for object in call
            .session
            .collect(&[spec])
            .await
            .map_err(fault::failure)?
        {
            if object.is_gone() {
                continue;
            }
            let row = Value::Object(row(&object, &containers));
            size += row.to_string().len();
            rows.insert(object.reference.id, row);
        }
        if listing.is_full_at(size) {
            break;
        }
    }
    Ok(listing.answer(|id| rows.remove(id)))
}

/// Sort keys of the machines that the filter fits: name, then reference.
async fn keys(call: &Call<'_>) -> Result<Vec<Key>, Failure> {
    let arguments = call.arguments;
    let expected = arguments.text("instance_uuid");
    let references = match (arguments.text("moref"), arguments.text("vm_uuid")) {
        (Some(moref), _) => Some(vec![MoRef::new(VM, moref)]),
        (None, Some(uuid)) => Some(machine::by_uuid(call.session, uuid).await?),
        (None, None) => None,
    };
    let wanted = arguments.text("vm_name").map(decoded);
    let paths: &[&str] = if expected.is_some() || references.is_some() {
        &["name", "runtime.powerState", "summary.config.instanceUuid"]
    } else {
        &["name"]
    };
    let spec = match &references {
        Some(references) if references.is_empty() => return Ok(Vec::new()),
        Some(references) => FilterSpec::objects(VM, references, paths),
        None => {
            let root = call
                .session
                .content()
                .need("rootFolder")
                .map_err(fault::failure)?;
            FilterSpec::inventory(&root, &[(VM, paths)])
        }
    };
    let by_reference = references.is_some();
    let mut keys = Vec::new();
    let retrieved = call
        .session
        .retrieve(&[spec], vsphere::property::PAGE, |object| {
            let name = decoded(object.text("name").unwrap_or_default());
            let is_machine = !by_reference || object.get("runtime.powerState").is_some();
            let fits = wanted.as_ref().is_none_or(|wanted| *wanted == name)
                && expected.is_none_or(|uuid| {
                    object
                        .text("summary.config.instanceUuid")
                        .is_some_and(|actual| actual.eq_ignore_ascii_case(uuid))
                });
            if is_machine && fits && !object.is_gone() {
                keys.push((name, object.reference.id));
            }
            ControlFlow::Continue(())
        })
        .await;
    match retrieved {
        Ok(_) => Ok(keys),
        // A machine that was asked for by reference and is gone is an empty list.
        Err(error) if by_reference && error.is_fault("ManagedObjectNotFound") => Ok(Vec::new()),
        Err(error) => Err(fault::failure(error)),
    }
}

/// One machine in detail.
pub(crate) async fn get(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let more: Vec<&str> = ROW.iter().chain(DETAIL).copied().collect();
    let machine = Machine::find(call, &more).await?;
    let object = &machine.object;
    let containers = Containers::read_types(call.session, &["HostSystem"]).await?;
    let mut vm = row(object, &containers);
    vm.insert("path".to_owned(), json!(machine.path));
    let mut put = |name: &str, value: Value| put(&mut vm, name, value);
    // The configuration is what a change sets; the summary may lag behind it.
    put("cpu", whole(object, "config.hardware.numCPU"));
    put("memory_mb", whole(object, "config.hardware.memoryMB"));
    put(
        "cores_per_socket",
        whole(object, "config.hardware.numCoresPerSocket"),
    );
    put("cpu_hot_add", flag(object, "config.cpuHotAddEnabled"));
    put("memory_hot_add", flag(object, "config.memoryHotAddEnabled"));
    put("hardware_version", text(object, "config.version"));
    put("vm_path", text(object, "config.files.vmPathName"));
    put(
        "tools_version_status",
        text(object, "guest.toolsVersionStatus2"),
    );
    let attributes = values::attributes(object);
    if !attributes.is_empty() {
        put("attributes", Value::Object(attributes));
    }
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
    let mut answer = Map::new();
    answer.insert("action".to_owned(), json!(call.row.word));
    answer.insert("target".to_owned(), machine.target(&call.server));
    answer.insert("vm".to_owned(), Value::Object(vm));
    Ok(answer)
}

/// A row; what is unset is left out, what is unreadable is said.
fn row(object: &Object, containers: &Containers) -> Map<String, Value> {
    let mut vm = Map::new();
    let mut put = |name: &str, value: Value| put(&mut vm, name, value);
    put(
        "name",
        json!(shown_name(object.text("name").unwrap_or_default())),
    );
    put("path", json!(containers.path_of(object)));
    put("moref", json!(guard::text::sanitize(&object.reference.id)));
    put("instance_uuid", text(object, "summary.config.instanceUuid"));
    put("bios_uuid", text(object, "summary.config.uuid"));
    put("power_state", text(object, "runtime.powerState"));
    // Always: values of a disconnected machine look alive.
    put("connection_state", text(object, "runtime.connectionState"));
    put("cpu", whole(object, "summary.config.numCpu"));
    put("memory_mb", whole(object, "summary.config.memorySizeMB"));
    put("guest_os", text(object, "summary.config.guestFullName"));
    put("guest_host_name", text(object, "guest.hostName"));
    put("guest_ip", text(object, "guest.ipAddress"));
    put("tools", text(object, "guest.toolsRunningStatus"));
    let host = object
        .get("runtime.host")
        .and_then(vsphere::Value::as_moref);
    put(
        "host",
        json!(host.map(|host| containers.name_of(&host).unwrap_or(host.id))),
    );
    put("used_bytes", whole(object, "summary.storage.committed"));
    put(
        "could_grow_bytes",
        whole(object, "summary.storage.uncommitted"),
    );
    for (name, path) in [
        ("template", "summary.config.template"),
        ("consolidation_needed", "runtime.consolidationNeeded"),
    ] {
        if flag(object, path) == json!(true) {
            put(name, json!(true));
        }
    }
    if object
        .get("runtime.question")
        .and_then(Question::from_value)
        .is_some()
    {
        put("waits_for_answer", json!(true));
    }
    let manager = object
        .get("summary.config.managedBy")
        .and_then(|by| by.text_at("extensionKey"));
    put("managed_by", json!(manager.map(guard::text::sanitize)));
    let unreadable: Vec<String> = object
        .missing
        .iter()
        .take(SHOWN)
        .map(|missing| guard::text::sanitize(&missing.path))
        .collect();
    if !unreadable.is_empty() {
        put("unreadable", json!(unreadable));
    }
    vm
}

fn put(map: &mut Map<String, Value>, name: &str, value: Value) {
    if !value.is_null() && value.as_str() != Some("") {
        map.insert(name.to_owned(), value);
    }
}

fn text(object: &Object, path: &str) -> Value {
    json!(object.text(path).map(guard::text::sanitize))
}

fn whole(object: &Object, path: &str) -> Value {
    json!(object.get(path).and_then(vsphere::Value::as_i64))
}

fn flag(object: &Object, path: &str) -> Value {
    json!(object.get(path).and_then(vsphere::Value::as_bool))
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
