//! about, list_hosts, list_datastores, list_sessions.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use vsphere::{FilterSpec, Object};

use crate::call::Call;
use crate::failure::Failure;
use crate::fault;
use crate::listing::Listing;
use crate::machine::{Containers, shown_name};

/// The server itself.
pub(crate) fn about(call: &Call<'_>) -> Map<String, Value> {
    let about = call.session.about();
    let clean = |text: &str| (!text.is_empty()).then(|| guard::text::sanitize(text));
    let mut answer = Map::new();
    answer.insert("action".to_owned(), json!(call.row.word));
    answer.insert(
        "about".to_owned(),
        json!({
            "server": call.server,
            "name": clean(&about.name),
            "full_name": clean(&about.full_name),
            "version": clean(&about.version),
            "build": clean(&about.build),
            "kind": if about.is_vcenter() { "vcenter" } else { "esxi" },
            "api_version": clean(&about.api_version),
            "api_version_used": call.session.api_version(),
            "instance_uuid": clean(&about.instance_uuid),
            "os_type": clean(&about.os_type),
            "user": clean(&call.session.user().user_name),
        }),
    );
    if let Some((fingerprint, _)) = call.session.certificate() {
        answer.insert("fingerprint".to_owned(), json!(fingerprint.to_string()));
    }
    answer
}

/// A column of a row: its name, the property, and how it reads.
type Column = (&'static str, &'static str, As);

#[derive(Debug, Clone, Copy)]
enum As {
    Text,
    Whole,
    Flag,
}

const HOST: &[Column] = &[
    ("connection_state", "runtime.connectionState", As::Text),
    ("power_state", "runtime.powerState", As::Text),
    ("in_maintenance", "runtime.inMaintenanceMode", As::Flag),
    ("booted", "runtime.bootTime", As::Text),
    ("vendor", "summary.hardware.vendor", As::Text),
    ("model", "summary.hardware.model", As::Text),
    ("cpu_model", "summary.hardware.cpuModel", As::Text),
    ("cpu_cores", "summary.hardware.numCpuCores", As::Whole),
    ("cpu_mhz", "summary.hardware.cpuMhz", As::Whole),
    ("memory_bytes", "summary.hardware.memorySize", As::Whole),
    (
        "cpu_used_mhz",
        "summary.quickStats.overallCpuUsage",
        As::Whole,
    ),
    (
        "memory_used_mb",
        "summary.quickStats.overallMemoryUsage",
        As::Whole,
    ),
    ("product", "summary.config.product.fullName", As::Text),
    ("status", "summary.overallStatus", As::Text),
    ("reboot_required", "summary.rebootRequired", As::Flag),
    ("managed_by_vcenter", "summary.managementServerIp", As::Text),
];

const DATASTORE: &[Column] = &[
    ("type", "summary.type", As::Text),
    ("capacity_bytes", "summary.capacity", As::Whole),
    ("free_bytes", "summary.freeSpace", As::Whole),
    ("could_grow_bytes", "summary.uncommitted", As::Whole),
    ("accessible", "summary.accessible", As::Flag),
    ("shared", "summary.multipleHostAccess", As::Flag),
    ("maintenance_mode", "summary.maintenanceMode", As::Text),
];

/// All hosts.
pub(crate) async fn hosts(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    objects(call, "hosts", "HostSystem", HOST).await
}

/// All datastores.
pub(crate) async fn datastores(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    objects(call, "datastores", "Datastore", DATASTORE).await
}

/// All objects of a type, each a row. There are hundreds of these at most, so one call reads all.
async fn objects(
    call: &Call<'_>,
    field: &'static str,
    kind: &str,
    columns: &[Column],
) -> Result<Map<String, Value>, Failure> {
    let root = call
        .session
        .content()
        .need("rootFolder")
        .map_err(fault::failure)?;
    let paths: Vec<&str> = ["name", "parent"]
        .into_iter()
        .chain(columns.iter().map(|(_, path, _)| *path))
        .collect();
    let types: &[(&str, &[&str])] = &[(kind, &paths)];
    let spec = [FilterSpec::inventory(&root, types)];
    let (objects, containers) = tokio::join!(
        call.session.collect(&spec),
        Containers::read_types(call.session, &["Folder", "Datacenter", "ComputeResource"])
    );
    let (objects, containers) = (objects.map_err(fault::failure)?, containers?);
    let objects: HashMap<String, Object> = objects
        .into_iter()
        .map(|object| (object.reference.id.clone(), object))
        .collect();
    let keys = objects
        .iter()
        .map(|(id, object)| {
            (
                shown_name(object.text("name").unwrap_or_default()),
                id.clone(),
            )
        })
        .collect();
    let listing = Listing::new(call, field, keys)?;
    Ok(listing.answer(|id| {
        objects
            .get(id)
            .map(|object| row(object, columns, &containers))
    }))
}

fn row(object: &Object, columns: &[Column], containers: &Containers) -> Value {
    let mut row = Map::new();
    row.insert(
        "name".to_owned(),
        json!(shown_name(object.text("name").unwrap_or_default())),
    );
    row.insert("path".to_owned(), json!(containers.path_of(object)));
    row.insert(
        "moref".to_owned(),
        json!(guard::text::sanitize(&object.reference.id)),
    );
    for (name, path, how) in columns {
        let Some(value) = object.get(path) else {
            continue;
        };
        let value = match how {
            As::Text => json!(guard::text::sanitize(value.text())),
            As::Whole => json!(value.as_i64()),
            As::Flag => json!(value.as_bool()),
        };
        if !value.is_null() && value != json!("") {
            row.insert((*name).to_owned(), value);
        }
    }
    let unreadable: Vec<String> = object
        .missing
        .iter()
        .map(|missing| guard::text::sanitize(&missing.path))
        .collect();
    if !unreadable.is_empty() {
        row.insert("unreadable".to_owned(), json!(unreadable));
    }
    Value::Object(row)
}

/// All sessions on the server.
pub(crate) async fn sessions(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let sessions = call.session.session_list().await.map_err(fault::failure)?.ok_or_else(|| {
        Failure::new(
            "vsphere.no_permission",
            "Grant the user `Sessions.TerminateSession`, without which the server does not show its sessions, or use another user",
        )
    })?;
    let own = call.session.user().key.as_str();
    let rows: HashMap<&str, Value> = sessions
        .iter()
        .map(|session| {
            let row = json!({
                "user": guard::text::sanitize(&session.user_name),
                "full_name": guard::text::sanitize(&session.full_name),
                "login_time": guard::text::sanitize_to(&session.login_time, 40),
                "last_active": guard::text::sanitize_to(&session.last_active_time, 40),
                "ip": guard::text::sanitize_to(&session.ip_address, 60),
                "program": guard::text::sanitize(&session.user_agent),
                "own": session.key == own,
            });
            (session.key.as_str(), row)
        })
        .collect();
    let keys = sessions
        .iter()
        .map(|session| (session.user_name.clone(), session.key.clone()))
        .collect();
    let listing = Listing::new(call, "sessions", keys)?;
    Ok(listing.answer(|key| rows.get(key).cloned()))
}
