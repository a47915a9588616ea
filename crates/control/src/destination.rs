//! Where a VM is to go, as a call names it: host, resource pool, datastore, folder.

use vsphere::{FilterSpec, MoRef, Object, Value};

use crate::argument::Arguments;
use crate::call::Call;
use crate::failure::Failure;
use crate::fault;
use crate::object::{CLUSTER, DATACENTER, DATASTORE, FOLDER, Found, HOST, POOL, Type};

/// How far above a folder its datacenter can be.
const DEEPEST: usize = 64;

/// An object that the call may name.
///
/// # Errors
///
/// Those of [`Found::named`].
async fn named(call: &Call<'_>, of: &Type, more: &[&str]) -> Result<Option<Found>, Failure> {
    match call.arguments.text(of.argument) {
        Some(text) => Found::named(call, of, text, more).await.map(Some),
        None => Ok(None),
    }
}

/// The host that the call names.
pub(crate) async fn host(call: &Call<'_>) -> Result<Option<Found>, Failure> {
    named(
        call,
        &HOST,
        &["runtime.connectionState", "runtime.inMaintenanceMode"],
    )
    .await
}

/// The datastore that the call names.
pub(crate) async fn datastore(call: &Call<'_>) -> Result<Option<Found>, Failure> {
    named(call, &DATASTORE, DATASTORE_PATHS).await
}

/// What is read of a datastore that something goes to.
pub(crate) const DATASTORE_PATHS: &[&str] = &[
    "summary.accessible",
    "summary.maintenanceMode",
    "summary.freeSpace",
];

/// Why nothing can go to this host or datastore now.
pub(crate) fn unfit(host: Option<&Found>, datastore: Option<&Found>) -> Option<Failure> {
    host.and_then(unfit_host)
        .or_else(|| datastore.and_then(unfit_datastore))
}

fn unfit_host(host: &Found) -> Option<Failure> {
    let state = host.object.text("runtime.connectionState");
    if let Some(state) = state.filter(|state| *state != "connected") {
        return Some(
            Failure::new(
                "vsphere.host_not_connected",
                format!(
                    "Reconnect the host {}, or name another: it is {state}",
                    host.name()
                ),
            )
            .with("host_system", host.path.as_str()),
        );
    }
    is_true(&host.object, "runtime.inMaintenanceMode").then(|| {
        Failure::new(
            "host.in_maintenance",
            format!(
                "Take the host {} out of maintenance mode, or name another: it takes no VMs now",
                host.name()
            ),
        )
        .with("host_system", host.path.as_str())
    })
}

fn unfit_datastore(datastore: &Found) -> Option<Failure> {
    let mode = datastore.object.text("summary.maintenanceMode");
    let is_away = datastore
        .object
        .get("summary.accessible")
        .and_then(Value::as_bool)
        == Some(false);
    let why = match mode {
        _ if is_away => "it is not accessible",
        Some("inMaintenance" | "enteringMaintenance") => "it is in maintenance mode",
        _ => return None,
    };
    Some(
        Failure::new(
            "datastore.unusable",
            format!("Name another datastore than {}: {why}", datastore.name()),
        )
        .with("datastore", datastore.path.as_str()),
    )
}

fn is_true(object: &Object, path: &str) -> bool {
    object.get(path).and_then(Value::as_bool) == Some(true)
}

/// Whether the call says where a VM is to run.
pub(crate) fn is_named(arguments: &Arguments) -> bool {
    [&POOL, &CLUSTER, &HOST]
        .iter()
        .any(|of| arguments.text(of.argument).is_some())
}

/// The refusal if it has to and does not.
pub(crate) fn missing() -> Failure {
    Failure::new(
        "argument.missing",
        "Pass `resource_pool`, `cluster` or `host_system`: it is not clear where the VM is to run",
    )
    .with("argument", "resource_pool")
}

/// The pool that the call names: by itself, by its cluster, or by the host.
pub(crate) async fn pool(call: &Call<'_>, host: Option<&Found>) -> Result<Option<MoRef>, Failure> {
    if let Some(pool) = named(call, &POOL, &[]).await? {
        return Ok(Some(pool.reference));
    }
    if let Some(cluster) = named(call, &CLUSTER, &["resourcePool"]).await? {
        return root_pool(&cluster.object).map(Some);
    }
    match host.and_then(|host| parent(&host.object)) {
        Some(compute) => pool_of(call, &compute).await.map(Some),
        None => Ok(None),
    }
}

/// As [`pool`]; where the call names none, that of the server's only compute resource.
pub(crate) async fn pool_or_only(call: &Call<'_>, host: Option<&Found>) -> Result<MoRef, Failure> {
    if let Some(pool) = pool(call, host).await? {
        return Ok(pool);
    }
    match only(call, &CLUSTER, "resourcePool").await? {
        Some(pool) => Ok(pool),
        None => Err(missing()),
    }
}

/// The pool for a machine that goes to a host: its own where the host is under it, else the host's.
pub(crate) async fn pool_at_host(
    call: &Call<'_>,
    host: &Found,
    present: Option<&MoRef>,
) -> Result<Option<MoRef>, Failure> {
    let compute = parent(&host.object);
    if let Some(present) = present {
        let object = call.session.properties(present, &["owner"]).await;
        let owner = object
            .map_err(fault::failure)?
            .and_then(|object| object.get("owner").and_then(Value::as_moref));
        if owner.is_some() && owner == compute {
            return Ok(None);
        }
    }
    match compute {
        Some(compute) => pool_of(call, &compute).await.map(Some),
        None => Ok(None),
    }
}

async fn pool_of(call: &Call<'_>, compute: &MoRef) -> Result<MoRef, Failure> {
    let object = call.session.properties(compute, &["resourcePool"]).await;
    match object.map_err(fault::failure)? {
        Some(object) => root_pool(&object),
        None => Err(missing()),
    }
}

fn root_pool(compute: &Object) -> Result<MoRef, Failure> {
    compute
        .get("resourcePool")
        .and_then(Value::as_moref)
        .ok_or_else(missing)
}

/// What an object lies in.
pub(crate) fn parent(object: &Object) -> Option<MoRef> {
    object.get("parent").and_then(Value::as_moref)
}

/// A property of the server's only object of a type; `None` if there are several.
async fn only(call: &Call<'_>, of: &Type, path: &str) -> Result<Option<MoRef>, Failure> {
    let root = call
        .session
        .content()
        .need("rootFolder")
        .map_err(fault::failure)?;
    let spec = FilterSpec::inventory(&root, &[(of.kind, &[path])]);
    let all = call
        .session
        .collect(&[spec])
        .await
        .map_err(fault::failure)?;
    match all.as_slice() {
        [one] => Ok(one.get(path).and_then(Value::as_moref)),
        _ => Ok(None),
    }
}

/// The folder for machines that the call names.
///
/// # Errors
///
/// Those of [`Found::named`]; `argument.out_of_range` for a folder that holds no machines.
pub(crate) async fn folder(call: &Call<'_>) -> Result<Option<Found>, Failure> {
    let Some(folder) = named(call, &FOLDER, &["childType"]).await? else {
        return Ok(None);
    };
    let kinds = folder.object.get("childType");
    let holds = kinds.is_none_or(|kinds| kinds.items().any(|kind| kind.text() == "VirtualMachine"));
    if !holds {
        return Err(Failure::new(
            "argument.out_of_range",
            format!(
                "Pass `folder` as one for VMs, such as `/DC0/vm/…`: {} holds other objects",
                folder.path
            ),
        )
        .with("argument", "folder"));
    }
    Ok(Some(folder))
}

/// The folder for a new machine: the one that is named, else that of the only datacenter.
pub(crate) async fn folder_or_only(call: &Call<'_>) -> Result<Found, Failure> {
    if let Some(folder) = folder(call).await? {
        return Ok(folder);
    }
    let chosen = match named(call, &DATACENTER, &["vmFolder"]).await? {
        Some(datacenter) => datacenter.object.get("vmFolder").and_then(Value::as_moref),
        None => only(call, &DATACENTER, "vmFolder").await?,
    };
    let Some(chosen) = chosen else {
        return Err(Failure::new(
            "argument.missing",
            "Pass `folder`, or `datacenter`: it is not clear where the VM is to lie",
        )
        .with("argument", "folder"));
    };
    by_reference(call, &chosen).await
}

/// A folder by its reference.
pub(crate) async fn by_reference(call: &Call<'_>, folder: &MoRef) -> Result<Found, Failure> {
    Found::named(call, &FOLDER, &folder.id, &["childType"]).await
}

/// The datacenter that a folder lies in.
pub(crate) async fn datacenter_of(call: &Call<'_>, folder: &Found) -> Result<MoRef, Failure> {
    let mut above = parent(&folder.object);
    for _ in 0..DEEPEST {
        let Some(reference) = above else { break };
        if reference.kind == "Datacenter" {
            return Ok(reference);
        }
        let object = call.session.properties(&reference, &["parent"]).await;
        above = object.map_err(fault::failure)?.as_ref().and_then(parent);
    }
    Err(Failure::new(
        "argument.out_of_range",
        format!(
            "Pass `folder` as one within a datacenter: {} is in none",
            folder.path
        ),
    )
    .with("argument", "folder"))
}

/// Makes the path of what is called `name` in a folder.
pub(crate) fn path_in(folder: &Found, name: &str) -> String {
    let shown = crate::machine::shown_name(name).replace('/', "%2f");
    format!("{}/{shown}", folder.path)
}
