//! Other machines that stand on the files of one: linked clones, and those that share a disk.

use std::collections::HashSet;

use serde_json::{Value, json};
use vsphere::{FilterSpec, MoRef, Object};

use super::Harm;
use crate::action::disk::{self, DEVICES, Disk};
use crate::call::Call;
use crate::machine::{Machine, VM, shown_name};

/// How many machines of the same datastores are looked at. Reading a machine's devices costs the
/// server some milliseconds.
const MOST: usize = 2_000;

/// How many of them in one request.
const CHUNK: usize = 200;

/// Looks through the machines of the same datastores. What could not be looked at is said.
pub(super) async fn look(call: &Call<'_>, machine: &Machine, own: &Object, harm: &mut Harm) {
    let files = Files::of(own, harm.disks());
    if files.attached.is_empty() {
        return;
    }
    let mut others = match neighbours(call, machine, own).await {
        Ok(others) => others,
        Err(()) => return harm.unsure("the VMs of its datastores cannot be read"),
    };
    if others.len() > MOST {
        others.truncate(MOST);
        harm.unsure("more VMs lie on its datastores than were looked at");
    }
    let (mut clones, mut sharers) = (Vec::new(), Vec::new());
    for chunk in others.chunks(CHUNK) {
        let spec = FilterSpec::objects(VM, chunk, &["name", DEVICES]);
        let Ok(objects) = call.session.collect(&[spec]).await else {
            return harm.unsure("not all VMs of its datastores can be read");
        };
        for other in objects {
            if other.is_gone() {
                continue;
            }
            if other.is_unreadable(DEVICES) {
                harm.unsure("not all VMs of its datastores can be read");
            }
            for disk in disk::all(&other) {
                if files.attached.contains(&disk.file) {
                    sharers.push(named(&other));
                } else if disk.parents.iter().any(|file| files.holds(file)) {
                    clones.push(named(&other));
                }
            }
        }
    }
    clones.dedup();
    sharers.dedup();
    if !clones.is_empty() {
        let text = format!("{} linked clone(s) depend on its disks", clones.len());
        harm.add("linked_clones", true, text, clones);
    }
    if !sharers.is_empty() {
        let text = format!("{} other VM(s) have its disks attached", sharers.len());
        harm.add("shared_disks", true, text, sharers);
    }
}

/// The files that are the machine's own.
struct Files {
    /// Those of the disks that are attached now.
    attached: HashSet<String>,
    /// Those that the attached ones stand on.
    below: HashSet<String>,
    /// Where its files lie: what is below its disks and lies elsewhere is another machine's, of which
    /// it is a linked clone itself.
    folders: HashSet<String>,
}

impl Files {
    fn of(own: &Object, disks: &[Disk]) -> Self {
        let attached: HashSet<String> = disks
            .iter()
            .map(|disk| disk.file.clone())
            .filter(|file| !file.is_empty())
            .collect();
        let config = own.text("config.files.vmPathName").unwrap_or_default();
        let mut folders: HashSet<String> = attached.iter().map(|file| folder(file)).collect();
        folders.insert(folder(config));
        Self {
            below: disks.iter().flat_map(|disk| disk.parents.clone()).collect(),
            attached,
            folders,
        }
    }

    /// Whether a file that another machine stands on is ours. One in our folder that we do not use at
    /// the moment belongs to a snapshot.
    fn holds(&self, file: &str) -> bool {
        let lies_with_us = self.folders.contains(&folder(file));
        lies_with_us || (self.attached.contains(file) && !self.below.contains(file))
    }
}

/// The folder of a datastore path.
fn folder(file: &str) -> String {
    let end = file.rfind(['/', ']']).map_or(0, |at| at + 1);
    file[..end].to_owned()
}

/// The other machines of the same datastores.
async fn neighbours(call: &Call<'_>, machine: &Machine, own: &Object) -> Result<Vec<MoRef>, ()> {
    let stores: Vec<MoRef> = own
        .get("datastore")
        .into_iter()
        .flat_map(vsphere::Value::items)
        .filter_map(vsphere::Value::as_moref)
        .collect();
    if stores.is_empty() {
        return Ok(Vec::new());
    }
    let spec = FilterSpec::objects("Datastore", &stores, &["vm"]);
    let stores = call.session.collect(&[spec]).await.map_err(drop)?;
    if stores.iter().any(|store| store.is_unreadable("vm")) {
        return Err(());
    }
    let mut all: Vec<MoRef> = stores
        .iter()
        .filter_map(|store| store.get("vm"))
        .flat_map(vsphere::Value::items)
        .filter_map(vsphere::Value::as_moref)
        .filter(|vm| *vm != machine.reference)
        .collect();
    all.sort();
    all.dedup();
    Ok(all)
}

fn named(object: &Object) -> Value {
    json!({
        "moref": guard::text::sanitize(&object.reference.id),
        "name": shown_name(object.text("name").unwrap_or_default()),
    })
}

impl Harm {
    fn unsure(&mut self, why: &str) {
        if !self.has("unknown_clones") {
            let text = format!("linked clones of it may exist: {why}");
            self.add("unknown_clones", true, text, Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c12_a_file_is_ours_if_it_lies_with_us_and_not_if_we_are_a_clone_of_it() {
        assert_eq!(folder("[ds 1] a/b/c.vmdk"), "[ds 1] a/b/");
        assert_eq!(folder("[ds] c.vmdk"), "[ds]");
        assert_eq!(folder(""), "");
        let set = |files: &[&str]| files.iter().map(|file| (*file).to_owned()).collect();
        let files = Files {
            attached: set(&["[ds] clone/clone.vmdk"]),
            below: set(&["[ds] base/base.vmdk"]),
            folders: set(&["[ds] clone/"]),
        };
        assert!(files.holds("[ds] clone/clone.vmdk"));
        assert!(files.holds("[ds] clone/old-000001.vmdk"));
        assert!(!files.holds("[ds] base/base.vmdk"));
        assert!(!files.holds("[ds] other/clone.vmdk"));
    }
}
