//! The objects beside virtual machines that a call names: hosts, datastores, clusters, networks,
//! pools, folders, datacenters. Each by exact name, by inventory path, or by reference; a name
//! that several bear is refused and never chosen among (C9).

use serde_json::{Map, Value, json};
use vsphere::{FilterSpec, MoRef, Object};

use crate::call::Call;
use crate::failure::{Failure, nearest};
use crate::fault;
use crate::machine::{Containers, decoded, shown_name};

/// How many of several are shown.
const SHOWN: usize = 20;

/// What lies above such objects.
const ABOVE: &[&str] = &["Folder", "Datacenter", "ComputeResource", "ResourcePool"];

/// A type of object, and the argument that names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Type {
    /// In the vSphere API; it stands for its subtypes.
    pub(crate) kind: &'static str,
    /// The argument that names one.
    pub(crate) argument: &'static str,
    /// What people call it.
    pub(crate) noun: &'static str,
    /// The action that lists them.
    pub(crate) list: &'static str,
}

/// An ESXi host.
pub(crate) const HOST: Type = Type {
    kind: "HostSystem",
    argument: "host_system",
    noun: "host",
    list: "list_hosts",
};

/// A datastore.
pub(crate) const DATASTORE: Type = Type {
    kind: "Datastore",
    argument: "datastore",
    noun: "datastore",
    list: "list_datastores",
};

/// A cluster, or the compute resource of a host outside of one.
pub(crate) const CLUSTER: Type = Type {
    kind: "ComputeResource",
    argument: "cluster",
    noun: "cluster",
    list: "list_clusters",
};

/// A datacenter.
pub(crate) const DATACENTER: Type = Type {
    kind: "Datacenter",
    argument: "datacenter",
    noun: "datacenter",
    list: "list_datacenters",
};

/// A network or a port group.
pub(crate) const NETWORK: Type = Type {
    kind: "Network",
    argument: "network",
    noun: "network",
    list: "list_networks",
};

/// A resource pool or a vApp.
pub(crate) const POOL: Type = Type {
    kind: "ResourcePool",
    argument: "resource_pool",
    noun: "resource pool",
    list: "list_resource_pools",
};

/// A folder.
pub(crate) const FOLDER: Type = Type {
    kind: "Folder",
    argument: "folder",
    noun: "folder",
    list: "list_folders",
};

/// An object that was named and found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) reference: MoRef,
    /// With `name`, `parent` and what was asked for.
    pub(crate) object: Object,
    /// Where it lies, as `/DC0/host/C0/esx01`.
    pub(crate) path: String,
}

impl Found {
    /// The object that the call's own argument for this type names, and that is its target: the
    /// one that was prepared, if one was.
    ///
    /// # Errors
    ///
    /// `argument.missing`, `object.not_found`, `object.ambiguous`, `target.changed`; those of the server.
    pub(crate) async fn target_of(
        call: &Call<'_>,
        of: &Type,
        more: &[&str],
    ) -> Result<Self, Failure> {
        let Some(text) = call.arguments.text(of.argument) else {
            return Err(Failure::new(
                "argument.missing",
                format!("Pass `{}`: `{}` shows them", of.argument, of.list),
            )
            .with("argument", of.argument));
        };
        let found = Self::named(call, of, text, more).await?;
        check_expected(call, &found.moref(), found.target(&call.server))?;
        Ok(found)
    }

    /// The object of this type that `text` names: its inventory path, its exact name, or its
    /// reference. It is read with `more` properties.
    ///
    /// # Errors
    ///
    /// `object.not_found`, `object.ambiguous`; those of the server.
    pub(crate) async fn named(
        call: &Call<'_>,
        of: &Type,
        text: &str,
        more: &[&str],
    ) -> Result<Self, Failure> {
        let root = call
            .session
            .content()
            .need("rootFolder")
            .map_err(fault::failure)?;
        let types: &[(&str, &[&str])] = &[(of.kind, &["name", "parent"])];
        let spec = [FilterSpec::inventory(&root, types)];
        // One after the other, over one connection.
        let objects = call.session.collect(&spec).await.map_err(fault::failure)?;
        let containers = Containers::read_types(call.session, ABOVE).await?;
        let all: Vec<(Object, String)> = objects
            .into_iter()
            .map(|object| {
                let path = containers.path_of(&object);
                (object, path)
            })
            .collect();
        let chosen = choose(of, text, &all)?;
        let (reference, path) = (chosen.0.reference.clone(), chosen.1.clone());
        let paths: Vec<&str> = ["name", "parent"]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        let object = call
            .session
            .properties(&reference, &paths)
            .await
            .map_err(fault::failure)?
            .ok_or_else(|| not_found(of, text, &all))?;
        Ok(Self {
            reference,
            object,
            path,
        })
    }

    /// Its name as people write it.
    pub(crate) fn name(&self) -> String {
        shown_name(self.object.text("name").unwrap_or_default())
    }

    /// The id of its reference.
    pub(crate) fn moref(&self) -> String {
        guard::text::sanitize(&self.reference.id)
    }

    /// The `target` of previews and answers.
    pub(crate) fn target(&self, server: &str) -> Value {
        json!({
            "server": server,
            "type": self.reference.kind,
            "moref": self.moref(),
            "name": self.name(),
            "path": self.path,
        })
    }

    /// The arguments of `action` on exactly this object, the same way as the call came.
    pub(crate) fn arguments(&self, call: &Call<'_>, of: &Type, action: &str) -> Map<String, Value> {
        let mut arguments = Map::new();
        arguments.insert("action".to_owned(), json!(action));
        arguments.insert(of.argument.to_owned(), json!(self.moref()));
        arguments.extend(crate::connection::same_way(call.arguments));
        arguments
    }
}

/// Checks that the object with this reference is the one that was prepared, if one was.
///
/// # Errors
///
/// `target.changed`.
pub(crate) fn check_expected(call: &Call<'_>, moref: &str, found: Value) -> Result<(), Failure> {
    let Some(expected) = call.expected_target else {
        return Ok(());
    };
    let same = |field: &str, actual: &str| {
        expected
            .get(field)
            .is_none_or(|value| value.as_str() == Some(actual))
    };
    if same("server", &call.server) && same("moref", moref) {
        return Ok(());
    }
    Err(Failure::new(
        "target.changed",
        "Prepare the call again and look at its target: it is not the object that was meant before",
    )
    .with("expected", Value::Object(expected.clone()))
    .with("found", found))
}

/// The one object that is meant. A path is exact; else the name decides, and a reference only where
/// nothing is called so.
fn choose<'o>(
    of: &Type,
    text: &str,
    all: &'o [(Object, String)],
) -> Result<&'o (Object, String), Failure> {
    let raw = |object: &Object| decoded(object.text("name").unwrap_or_default());
    let wanted = decoded(text);
    let mut fitting: Vec<&(Object, String)> = if text.starts_with('/') {
        all.iter().filter(|(_, path)| path == text).collect()
    } else {
        all.iter()
            .filter(|(object, _)| raw(object) == wanted)
            .collect()
    };
    if fitting.is_empty() {
        fitting = all
            .iter()
            .filter(|(object, _)| object.reference.id == text)
            .collect();
    }
    match fitting.as_slice() {
        [one] => Ok(one),
        [] => Err(not_found(of, text, all)),
        several => Err(ambiguous(of, several)),
    }
}

fn not_found(of: &Type, text: &str, all: &[(Object, String)]) -> Failure {
    let names: Vec<String> = all
        .iter()
        .map(|(object, _)| shown_name(object.text("name").unwrap_or_default()))
        .collect();
    Failure::new(
        "object.not_found",
        format!(
            "Pass `{}` as `{}` shows it, by name, path or reference: there is no {} `{text}`",
            of.argument, of.list, of.noun
        ),
    )
    .with("nearest", nearest(text, names.iter().map(String::as_str)))
}

fn ambiguous(of: &Type, several: &[&(Object, String)]) -> Failure {
    let candidates: Vec<Value> = several
        .iter()
        .take(SHOWN)
        .map(|(object, path)| {
            json!({
                "path": path,
                "moref": guard::text::sanitize(&object.reference.id),
                "type": object.reference.kind,
            })
        })
        .collect();
    Failure::new(
        "object.ambiguous",
        format!(
            "Pass `{}` as the path or the reference of one of those in `candidates`: {} of type {} fit, and none is chosen for you",
            of.argument,
            several.len(),
            of.noun
        ),
    )
    .with("candidates", candidates)
    .with("total", several.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(id: &str, name: &str, path: &str) -> (Object, String) {
        let object = Object {
            reference: MoRef::new("Network", id),
            properties: vec![("name".to_owned(), vsphere::Value::from(name))],
            missing: Vec::new(),
        };
        (object, path.to_owned())
    }

    #[test]
    fn c9_a_name_that_several_bear_is_refused_and_a_path_or_reference_decides() {
        let all = [
            object("network-1", "VM%2fA", "/DC0/network/VM%2fA"),
            object("network-2", "VM%2fA", "/DC1/network/VM%2fA"),
            object("network-3", "network-1", "/DC1/network/network-1"),
        ];
        let id = |text: &str| {
            choose(&NETWORK, text, &all)
                .map(|(object, _)| object.reference.id.clone())
                .map_err(|failure| failure.code().to_owned())
        };
        assert_eq!(id("VM/A"), Err("object.ambiguous".to_owned()));
        assert_eq!(id("/DC1/network/VM%2fA"), Ok("network-2".to_owned()));
        assert_eq!(id("network-2"), Ok("network-2".to_owned()));
        // What is called so goes before what is referred to so.
        assert_eq!(id("network-1"), Ok("network-3".to_owned()));
        assert_eq!(id("VM"), Err("object.not_found".to_owned()));
    }
}
