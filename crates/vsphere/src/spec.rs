//! What to read of which objects: property filters.

use crate::envelope::Envelope;
use crate::value::MoRef;

/// One filter: which properties of which types, and where to look for the objects.
///
/// An unknown property path faults the whole call on real servers: ask only for what the
/// version of the API has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterSpec {
    props: Vec<(String, Vec<String>)>,
    objects: Vec<MoRef>,
    /// The steps to follow from the objects; then the objects themselves count only if their type
    /// is asked for.
    edges: Vec<&'static Edge>,
}

/// A step of the inventory's tree: from objects of a type, along a property, on to more steps.
#[derive(Debug, PartialEq, Eq)]
struct Edge {
    name: &'static str,
    from: &'static str,
    path: &'static str,
    then: &'static [&'static str],
    /// The types that are found at its end or beyond it.
    leads_to: &'static [&'static str],
}

const VM_SIDE: &[&str] = &["VirtualMachine", "VirtualApp", "Folder", "ManagedEntity"];
const VMS: &[&str] = &["VirtualMachine", "ManagedEntity"];
const HOST_SIDE: &[&str] = &[
    "HostSystem",
    "ComputeResource",
    "ClusterComputeResource",
    "ResourcePool",
    "VirtualApp",
    "VirtualMachine",
    "Folder",
    "ManagedEntity",
];
const HOSTS: &[&str] = &["HostSystem", "ManagedEntity"];
const POOLS: &[&str] = &[
    "ResourcePool",
    "VirtualApp",
    "VirtualMachine",
    "ManagedEntity",
];
const DATASTORES: &[&str] = &["Datastore", "StoragePod", "Folder", "ManagedEntity"];
const NETWORKS: &[&str] = &[
    "Network",
    "OpaqueNetwork",
    "DistributedVirtualPortgroup",
    "DistributedVirtualSwitch",
    "VmwareDistributedVirtualSwitch",
    "Folder",
    "ManagedEntity",
];

/// VMs are found by folder, and those in apps, which may have no folder, by app; apps are found by
/// pool, since an app within an app has no folder either.
///
/// Each kind of folder has steps of its own. With one step for all of them, a server that looks at
/// the path alone and not at the type (the simulator does) would go from each VM to its
/// `resourcePool` and on to all VMs of that: with 10,000 VMs it never comes back.
const EDGES: &[Edge] = &[
    Edge {
        name: "root",
        from: "Folder",
        path: "childEntity",
        then: &[
            "root",
            "dcVm",
            "dcHost",
            "dcDatastore",
            "dcNetwork",
            "appVm",
            "hosts",
            "crPool",
        ],
        leads_to: &[],
    },
    Edge {
        name: "dcVm",
        from: "Datacenter",
        path: "vmFolder",
        then: &["vmFolder"],
        leads_to: VM_SIDE,
    },
    Edge {
        name: "vmFolder",
        from: "Folder",
        path: "childEntity",
        then: &["vmFolder", "appVm"],
        leads_to: VM_SIDE,
    },
    Edge {
        name: "appVm",
        from: "VirtualApp",
        path: "vm",
        then: &[],
        leads_to: VMS,
    },
    Edge {
        name: "dcHost",
        from: "Datacenter",
        path: "hostFolder",
        then: &["hostFolder"],
        leads_to: HOST_SIDE,
    },
    Edge {
        name: "hostFolder",
        from: "Folder",
        path: "childEntity",
        then: &["hostFolder", "hosts", "crPool"],
        leads_to: HOST_SIDE,
    },
    Edge {
        name: "hosts",
        from: "ComputeResource",
        path: "host",
        then: &[],
        leads_to: HOSTS,
    },
    Edge {
        name: "crPool",
        from: "ComputeResource",
        path: "resourcePool",
        then: &["pool", "appPool", "appVm"],
        leads_to: POOLS,
    },
    Edge {
        name: "pool",
        from: "ResourcePool",
        path: "resourcePool",
        then: &["pool", "appPool", "appVm"],
        leads_to: POOLS,
    },
    // Pools and apps within an app, and the VMs in them.
    Edge {
        name: "appPool",
        from: "VirtualApp",
        path: "resourcePool",
        then: &["appPool", "appVm", "poolInApp", "vmInApp"],
        leads_to: POOLS,
    },
    Edge {
        name: "poolInApp",
        from: "ResourcePool",
        path: "resourcePool",
        then: &["poolInApp", "vmInApp", "appPool", "appVm"],
        leads_to: POOLS,
    },
    Edge {
        name: "vmInApp",
        from: "ResourcePool",
        path: "vm",
        then: &[],
        leads_to: VMS,
    },
    Edge {
        name: "dcDatastore",
        from: "Datacenter",
        path: "datastoreFolder",
        then: &["datastoreFolder"],
        leads_to: DATASTORES,
    },
    Edge {
        name: "datastoreFolder",
        from: "Folder",
        path: "childEntity",
        then: &["datastoreFolder"],
        leads_to: DATASTORES,
    },
    Edge {
        name: "dcNetwork",
        from: "Datacenter",
        path: "networkFolder",
        then: &["networkFolder"],
        leads_to: NETWORKS,
    },
    Edge {
        name: "networkFolder",
        from: "Folder",
        path: "childEntity",
        then: &["networkFolder"],
        leads_to: NETWORKS,
    },
];

/// From a VM to what it lies in, up to the root: a VM in an app may have no folder.
const ABOVE: &[Edge] = &[
    Edge {
        name: "above",
        from: "ManagedEntity",
        path: "parent",
        then: &["above"],
        leads_to: &[],
    },
    Edge {
        name: "app",
        from: "VirtualMachine",
        path: "parentVApp",
        then: &["above"],
        leads_to: &[],
    },
];

impl FilterSpec {
    /// These properties of these objects. All are of one type; an object that is gone is left out
    /// of the answer, or is in it as [`crate::Object::is_gone`].
    pub fn objects<'o>(
        kind: &str,
        objects: impl IntoIterator<Item = &'o MoRef>,
        paths: &[&str],
    ) -> Self {
        Self {
            props: vec![owned(kind, paths)],
            objects: objects.into_iter().cloned().collect(),
            edges: Vec::new(),
        }
    }

    /// These properties of one VM, and `above` of each object of these types that it lies in, up to
    /// the root.
    pub fn vm_and_above(vm: &MoRef, paths: &[&str], types: &[&str], above: &[&str]) -> Self {
        let vms = std::iter::once(owned(&vm.kind, paths));
        Self {
            props: vms
                .chain(types.iter().map(|kind| owned(kind, above)))
                .collect(),
            objects: vec![vm.clone()],
            edges: ABOVE.iter().collect(),
        }
    }

    /// Both in one filter. Neither may lead from one object to others, and their types differ.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.props.extend(other.props);
        self.objects.extend(other.objects);
        self
    }

    /// These properties of all objects of these types under `root` (the server's `rootFolder`,
    /// a datacenter, or a folder): nested folders, apps and pools included.
    ///
    /// A type stands for its subtypes: `ComputeResource` for clusters, `ResourcePool` for apps,
    /// `Network` for port groups, `Folder` for `StoragePod`.
    pub fn inventory(root: &MoRef, types: &[(&str, &[&str])]) -> Self {
        let wanted = |edge: &Edge| {
            edge.name == "root" || types.iter().any(|(kind, _)| edge.leads_to.contains(kind))
        };
        let edges = EDGES.iter().filter(|edge| wanted(edge)).collect();
        Self {
            props: types
                .iter()
                .map(|(kind, paths)| owned(kind, paths))
                .collect(),
            objects: vec![root.clone()],
            edges,
        }
    }

    pub(crate) fn write(&self, out: &mut Envelope, name: &str) {
        out.open(name);
        for (kind, paths) in &self.props {
            out.open("propSet").text("type", kind).flag("all", false);
            for path in paths {
                out.text("pathSet", path);
            }
            out.close("propSet");
        }
        for object in &self.objects {
            out.open("objectSet")
                .moref("obj", object)
                .flag("skip", false);
            self.write_edges(out);
            out.close("objectSet");
        }
        // One object that was deleted meanwhile must not fail the whole page.
        out.flag("reportMissingObjectsInResults", true).close(name);
    }

    fn write_edges(&self, out: &mut Envelope) {
        for edge in &self.edges {
            out.open_as("selectSet", "TraversalSpec");
            out.text("name", edge.name)
                .text("type", edge.from)
                .text("path", edge.path)
                .flag("skip", false);
            for next in edge.then {
                if self.edges.iter().any(|edge| edge.name == *next) {
                    out.open("selectSet").text("name", next).close("selectSet");
                }
            }
            out.close("selectSet");
        }
    }
}

fn owned(kind: &str, paths: &[&str]) -> (String, Vec<String>) {
    (
        kind.to_owned(),
        paths.iter().map(|p| (*p).to_owned()).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c2_every_step_that_is_named_exists() {
        for edges in [EDGES, ABOVE] {
            for edge in edges {
                for next in edge.then {
                    let is_there = edges.iter().any(|e| e.name == *next);
                    assert!(is_there, "{} -> {next}", edge.name);
                }
            }
        }
    }

    #[test]
    fn c10_no_step_goes_from_every_vm_to_every_vm() {
        let folder = EDGES.iter().find(|e| e.name == "vmFolder");
        let next = folder.map(|f| f.then).unwrap_or_default();
        assert!(!next.is_empty());
        for edge in EDGES.iter().filter(|e| next.contains(&e.name)) {
            // What a VM has as well: see `EDGES`.
            assert_ne!(edge.path, "resourcePool", "{}", edge.name);
        }
    }

    #[test]
    fn c2_only_the_branches_that_lead_to_the_types_are_walked() {
        let root = MoRef::new("Folder", "group-d1");
        let names = |kind| -> Vec<&str> {
            FilterSpec::inventory(&root, &[(kind, &["name"])])
                .edges
                .iter()
                .map(|edge| edge.name)
                .collect()
        };
        assert_eq!(names("Datacenter"), ["root"]);
        assert_eq!(
            names("Datastore"),
            ["root", "dcDatastore", "datastoreFolder"]
        );
        assert_eq!(
            names("HostSystem"),
            ["root", "dcHost", "hostFolder", "hosts"]
        );
        assert_eq!(
            names("ResourcePool"),
            [
                "root",
                "dcHost",
                "hostFolder",
                "crPool",
                "pool",
                "appPool",
                "poolInApp"
            ]
        );
        let vms = names("VirtualMachine");
        assert!(vms.contains(&"vmFolder") && vms.contains(&"vmInApp") && !vms.contains(&"hosts"));
        assert_eq!(names("ManagedEntity").len(), EDGES.len());
    }
}
