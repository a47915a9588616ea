//! Where things lie: the folders and datacenters above them.

use std::collections::HashMap;

use vsphere::{FilterSpec, MoRef, Object, Session, Value};

use super::{decoded, shown_name};
use crate::failure::Failure;
use crate::fault;

/// How deep an inventory can be; a chain of parents that is longer turns in a circle.
const DEEPEST: usize = 64;

/// Every container of the inventory by reference, with its name and what it lies in.
#[derive(Debug, Default)]
pub(crate) struct Containers(HashMap<MoRef, (String, Option<MoRef>)>);

impl Containers {
    /// The types of what machines lie in.
    pub(crate) const OF_MACHINES: &[&str] = &["Folder", "Datacenter", "VirtualApp"];

    /// What is read of each.
    pub(crate) const PATHS: &[&str] = &["name", "parent"];

    /// Reads all containers of machines in one call.
    pub(crate) async fn read(session: &Session) -> Result<Self, Failure> {
        Self::read_types(session, Self::OF_MACHINES).await
    }

    /// Reads these types of containers in one call.
    pub(crate) async fn read_types(session: &Session, types: &[&str]) -> Result<Self, Failure> {
        let root = session
            .content()
            .need("rootFolder")
            .map_err(fault::failure)?;
        let types: Vec<(&str, &[&str])> = types.iter().map(|kind| (*kind, Self::PATHS)).collect();
        let objects = session
            .collect(&[FilterSpec::inventory(&root, &types)])
            .await
            .map_err(fault::failure)?;
        Ok(Self::of(objects, &root))
    }

    /// Those that were read with [`Containers::PATHS`].
    pub(crate) fn of(objects: impl IntoIterator<Item = Object>, root: &MoRef) -> Self {
        let mut containers = Self::default();
        for object in objects {
            let name = object.text("name").unwrap_or_default().to_owned();
            let parent = object.get("parent").and_then(Value::as_moref);
            containers.0.insert(object.reference, (name, parent));
        }
        // The root is called `Datacenters` by the server, and `/` by everyone.
        containers.0.remove(root);
        containers
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

    /// Whether this is the way to an object that was read as for [`Containers::path_of`].
    pub(crate) fn is_at(&self, object: &Object, names: &[String]) -> bool {
        steps(&self.path_of(object)).is_some_and(|path| path == names)
    }

    /// The name of one container.
    pub(crate) fn name_of(&self, reference: &MoRef) -> Option<String> {
        self.0.get(reference).map(|(name, _)| shown_name(name))
    }
}

/// The names of a path, without vSphere's escapes; nothing if it does not begin with a slash, or
/// leads nowhere.
pub(crate) fn steps(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return None;
    }
    Some(path.split('/').map(decoded).collect())
}

#[cfg(test)]
mod tests {
    use super::steps;

    #[test]
    fn c9_a_path_is_read_step_by_step_with_its_escapes() {
        let names = |path| steps(path).unwrap_or_default();
        assert_eq!(names("/DC0/vm/a%2fb"), ["DC0", "vm", "a/b"]);
        assert_eq!(names("/DC0/vm/a%2Fb/"), ["DC0", "vm", "a/b"]);
        assert_eq!(names("/x%5cy%25"), ["x\\y%"]);
        for none in ["", "/", "DC0/vm/a", "vm-42"] {
            assert_eq!(steps(none), None, "{none}");
        }
    }
}
