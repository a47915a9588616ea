//! list_old_snapshots: over all VMs, the oldest first; and what is told of each snapshot's age and size.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use vsphere::{FilterSpec, MoRef, Object};

use super::moment::{age_days, now, oldest_first};
use super::tree::Tree;
use crate::call::Call;
use crate::failure::Failure;
use crate::fault;
use crate::listing::Listing;
use crate::machine::{Containers, VM, shown_name};

/// How old a snapshot is to be listed unless the call says otherwise.
pub(crate) const DEFAULT_DAYS: i64 = 7;

/// The files of a VM, with their sizes. It is large: read for what is shown alone.
pub(super) const LAYOUT: &str = "layoutEx";

/// What is read of every VM.
const PATHS: &[&str] = &[
    "name",
    "parent",
    "parentVApp",
    "snapshot",
    "runtime.powerState",
    "summary.config.instanceUuid",
];

/// What each snapshot of a VM takes on disk in bytes, by its reference, where the server tells:
/// its own state and memory, and what was written to the disks since it was taken.
///
/// What was written is in the files that its children, or the VM's present state, stand on and
/// that it does not stand on itself. Deleting it may free less: what is still in use is kept.
pub(super) fn sizes(tree: &Tree, layout: Option<&vsphere::Value>) -> HashMap<String, i64> {
    let Some(layout) = layout else {
        return HashMap::new();
    };
    let whole = |value: Option<&vsphere::Value>| value.and_then(vsphere::Value::as_i64);
    let files: HashMap<i64, i64> = layout
        .all("file")
        .filter_map(|file| Some((whole(file.get("key"))?, whole(file.get("size"))?)))
        .collect();
    let chain_of = |of: &vsphere::Value| -> HashSet<i64> {
        of.all("disk")
            .flat_map(|disk| disk.all("chain"))
            .flat_map(|link| link.all("fileKey"))
            .filter_map(vsphere::Value::as_i64)
            .collect()
    };
    let present = chain_of(layout);
    let mut own: HashMap<String, (HashSet<i64>, Vec<i64>)> = HashMap::new();
    for snapshot in layout.all("snapshot") {
        let Some(key) = snapshot.get("key").and_then(vsphere::Value::as_moref) else {
            continue;
        };
        // Without memory its key is -1, which no file has.
        let kept = ["dataKey", "memoryKey"]
            .iter()
            .filter_map(|field| whole(snapshot.get(field)))
            .collect();
        own.insert(guard::text::sanitize(&key.id), (chain_of(snapshot), kept));
    }
    let mut sizes = HashMap::new();
    for (at, snapshot) in tree.all.iter().enumerate() {
        let Some((chain, kept)) = own.get(&snapshot.id) else {
            continue;
        };
        let children = tree
            .all
            .iter()
            .filter(|child| child.parent == Some(at))
            .filter_map(|child| own.get(&child.id).map(|(chain, _)| chain));
        let current = (tree.current.as_deref() == Some(snapshot.id.as_str())).then_some(&present);
        let since: HashSet<i64> = children
            .chain(current)
            .flat_map(|above| above.difference(chain))
            .copied()
            .collect();
        let size = since.iter().chain(kept).filter_map(|key| files.get(key));
        sizes.insert(snapshot.id.clone(), size.sum());
    }
    sizes
}

/// A snapshot as it is shown, with its age, and its size if it is known.
pub(super) fn aged(tree: &Tree, at: usize, now: Timestamp, sizes: &HashMap<String, i64>) -> Value {
    let snapshot = &tree.all[at];
    let mut row = tree.row(at);
    row["age_days"] = json!(age_days(&snapshot.created, now));
    if let Some(size) = sizes.get(&snapshot.id) {
        row["size_bytes"] = json!(size);
    }
    row
}

/// A VM with snapshots that are old enough.
struct Holder {
    object: Object,
    tree: Tree,
}

/// The snapshots of all VMs that are older than the call says.
pub(crate) async fn list(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let days = call
        .arguments
        .whole("older_than_days")
        .unwrap_or(DEFAULT_DAYS);
    let now = now(call).await?;
    let root = call
        .session
        .content()
        .need("rootFolder")
        .map_err(fault::failure)?;
    let mut holders: HashMap<MoRef, Holder> = HashMap::new();
    let mut unreadable = 0_usize;
    let mut keys = Vec::new();
    let mut places: HashMap<String, (MoRef, usize)> = HashMap::new();
    let spec = [FilterSpec::inventory(&root, &[(VM, PATHS)])];
    let read = call
        .session
        .retrieve(&spec, vsphere::property::PAGE, |object| {
            unreadable += usize::from(object.is_unreadable("snapshot"));
            let tree = Tree::of(&object);
            let mut holds = false;
            for (at, snapshot) in tree.all.iter().enumerate() {
                // What tells no time is shown: nobody can say that it is young.
                let old = age_days(&snapshot.created, now).is_none_or(|age| age >= days as f64);
                if old {
                    let id = format!("{} {}", object.reference.id, snapshot.id);
                    keys.push((oldest_first(&snapshot.created), id.clone()));
                    places.insert(id, (object.reference.clone(), at));
                    holds = true;
                }
            }
            if holds {
                holders.insert(object.reference.clone(), Holder { object, tree });
            }
            ControlFlow::Continue(())
        });
    let (read, containers) = tokio::join!(read, Containers::read(call.session));
    read.map_err(fault::failure)?;
    let containers = containers?;
    let vms = holders.len();
    let listing = Listing::new(call, "snapshots", keys)?;
    let page: HashSet<MoRef> = listing
        .references()
        .filter_map(|id| places.get(id).map(|(vm, _)| vm.clone()))
        .collect();
    let sizes = sizes_of(call, &holders, &page).await?;
    let none = HashMap::new();
    let mut answer = listing.answer(|id| {
        let (vm, at) = places.get(id)?;
        let holder = holders.get(vm)?;
        let mut row = aged(&holder.tree, *at, now, sizes.get(vm).unwrap_or(&none));
        let text = |path: &str| guard::text::sanitize(holder.object.text(path).unwrap_or_default());
        row["vm"] = json!({
            "name": shown_name(holder.object.text("name").unwrap_or_default()),
            "path": containers.path_of(&holder.object),
            "moref": guard::text::sanitize(&vm.id),
            "instance_uuid": text("summary.config.instanceUuid"),
            "power_state": text("runtime.powerState"),
        });
        Some(row)
    });
    answer.insert("older_than_days".to_owned(), json!(days));
    answer.insert("vms".to_owned(), json!(vms));
    if unreadable > 0 {
        answer.insert("vms_unreadable".to_owned(), json!(unreadable));
    }
    Ok(answer)
}

/// The sizes of the snapshots of these VMs, where the server tells them.
async fn sizes_of(
    call: &Call<'_>,
    holders: &HashMap<MoRef, Holder>,
    page: &HashSet<MoRef>,
) -> Result<HashMap<MoRef, HashMap<String, i64>>, Failure> {
    let page: Vec<&MoRef> = page.iter().collect();
    let mut all = HashMap::new();
    // Layouts are large: a hundred at a time.
    for some in page.chunks(100) {
        let spec = FilterSpec::objects(VM, some.iter().copied(), &[LAYOUT]);
        let objects = call
            .session
            .collect(&[spec])
            .await
            .map_err(fault::failure)?;
        for object in objects {
            if let Some(holder) = holders.get(&object.reference) {
                let sizes = sizes(&holder.tree, object.get(LAYOUT));
                all.insert(object.reference, sizes);
            }
        }
    }
    Ok(all)
}
