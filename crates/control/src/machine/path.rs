//! Where things lie: the folders and datacenters above them.

use std::collections::HashMap;

use vsphere::{FilterSpec, MoRef, Object, Session, Value};

use super::shown_name;
use crate::failure::Failure;
use crate::fault;

/// How deep an inventory can be; a chain of parents that is longer turns in a circle.
const DEEPEST: usize = 64;

/// Every container of the inventory by reference, with its name and what it lies in.
#[derive(Debug, Default)]
pub(crate) struct Containers(HashMap<MoRef, (String, Option<MoRef>)>);

impl Containers {
    /// Reads all containers of machines in one call.
    pub(crate) async fn read(session: &Session) -> Result<Self, Failure> {
        Self::read_types(session, &["Folder", "Datacenter", "VirtualApp"]).await
    }

    /// Reads these types of containers in one call.
    pub(crate) async fn read_types(session: &Session, types: &[&str]) -> Result<Self, Failure> {
        let root = session
            .content()
            .need("rootFolder")
            .map_err(fault::failure)?;
        let paths: &[&str] = &["name", "parent"];
        let types: Vec<(&str, &[&str])> = types.iter().map(|kind| (*kind, paths)).collect();
        let objects = session
            .collect(&[FilterSpec::inventory(&root, &types)])
            .await
            .map_err(fault::failure)?;
        let mut containers = Self::default();
        for object in objects {
            let name = object.text("name").unwrap_or_default().to_owned();
            let parent = object.get("parent").and_then(Value::as_moref);
            containers.0.insert(object.reference, (name, parent));
        }
        // The root is called `Datacenters` by the server, and `/` by everyone.
        containers.0.remove(&root);
        Ok(containers)
    }

    /// The path of an object that was read with `name`, `parent` and, for machines, `parentVApp`.
    pub(crate) fn path_of(&self, object: &Object) -> String {
        let reference = |name: &str| object.get(name).and_then(Value::as_moref);
        let mut names = vec![object.text("name").unwrap_or_default().to_owned()];
        // A machine in a virtual app may have no folder.
        let mut above = reference("parent").or_else(|| reference("parentVApp"));
        while let Some((name, parent)) = above.as_ref().and_then(|above| self.0.get(above)) {
            if names.len() > DEEPEST {
                break;
            }
            names.push(name.clone());
            above = parent.clone();
        }
        names.iter().rev().fold(String::new(), |mut path, name| {
            path.push('/');
            // A slash within a name would look like a step of the path.
            path.push_str(&shown_name(name).replace('/', "%2f"));
            path
        })
    }

    /// The name of one container.
    pub(crate) fn name_of(&self, reference: &MoRef) -> Option<String> {
        self.0.get(reference).map(|(name, _)| shown_name(name))
    }
}
