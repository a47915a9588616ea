//! The arguments of `vmware_control`: each defined once, with its type and its documentation.

use crate::listing::catalog::DETAILS;

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text that names or describes something; never empty, never altered.
    Text {
        /// In characters.
        longest: usize,
    },
    /// Text that is never echoed, logged or stored in the clear.
    Secret {
        /// In characters.
        longest: usize,
    },
    /// A whole number.
    Whole {
        least: i64,
        most: i64,
        default: Option<i64>,
    },
    /// True or false.
    Flag { default: Option<bool> },
    /// An object of scalars by field name.
    Fields,
    /// One of these words.
    Word {
        allowed: &'static [&'static str],
        default: Option<&'static str>,
    },
    /// A list of texts, none of them empty or altered.
    Texts {
        /// In texts.
        most: usize,
        /// Each, in characters.
        longest: usize,
    },
}

/// One argument.
#[derive(Debug)]
pub(crate) struct Argument {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) doc: &'static str,
}

/// What every action takes that goes to a server.
pub(super) const CONNECTION: &[&str] = &[
    "credential_profile",
    "host",
    "port",
    "user",
    "password",
    "verify_ssl",
    "timeout_s",
];

/// What every action takes that works on one virtual machine.
pub(super) const MACHINE: &[&str] = &[
    "credential_profile",
    "host",
    "port",
    "user",
    "password",
    "verify_ssl",
    "timeout_s",
    "vm_uuid",
    "vm_name",
    "vm_path",
    "moref",
    "instance_uuid",
];

/// What every list of the inventory takes.
pub(super) const LIST: &[&str] = &["filter", "fields", "sort", "detail", "limit", "cursor"];

/// vSphere's names are at most 80 characters; escapes (`%2f`) and room to spare.
pub(super) const NAME: Kind = Kind::Text { longest: 255 };

/// The arguments that belong to no family of actions, in the order in which they are published.
pub(super) const COMMON: &[Argument] = &[
    Argument {
        name: "credential_profile",
        kind: Kind::Text { longest: 64 },
        doc: "Saved connection profile (preferred: then no password is passed)",
    },
    Argument {
        name: "host",
        kind: NAME,
        doc: "vCenter or ESXi name or address",
    },
    Argument {
        name: "port",
        kind: Kind::Whole {
            least: 1,
            most: 65_535,
            default: Some(443),
        },
        doc: "HTTPS port",
    },
    Argument {
        name: "user",
        kind: NAME,
        doc: "User, e.g. name@vsphere.local",
    },
    Argument {
        name: "password",
        kind: Kind::Secret { longest: 1_024 },
        doc: "Password; save a profile instead",
    },
    Argument {
        name: "verify_ssl",
        kind: Kind::Flag {
            default: Some(false),
        },
        doc: "Verify the certificate against known authorities; when false, the first one seen is pinned",
    },
    Argument {
        name: "vm_uuid",
        kind: Kind::Text { longest: 64 },
        doc: "VM by instance UUID, else BIOS UUID (preferred)",
    },
    Argument {
        name: "vm_name",
        kind: NAME,
        doc: "VM by exact name; refused if several bear it",
    },
    Argument {
        name: "vm_path",
        kind: Kind::Text { longest: 1_000 },
        doc: "VM by inventory path, e.g. /DC0/vm/web01",
    },
    Argument {
        name: "moref",
        kind: Kind::Text { longest: 80 },
        doc: "VM by managed object reference, e.g. vm-42",
    },
    Argument {
        name: "instance_uuid",
        kind: Kind::Text { longest: 64 },
        doc: "Instance UUID that the VM must have; refused if it differs",
    },
    Argument {
        name: "host_system",
        kind: NAME,
        doc: "ESXi host by name, path or reference",
    },
    Argument {
        name: "datastore",
        kind: NAME,
        doc: "Datastore by name, path or reference",
    },
    Argument {
        name: "cluster",
        kind: NAME,
        doc: "Cluster by name, path or reference",
    },
    Argument {
        name: "datacenter",
        kind: NAME,
        doc: "Datacenter by name, path or reference",
    },
    Argument {
        name: "network",
        kind: NAME,
        doc: "Network or port group by name, path or reference",
    },
    Argument {
        name: "resource_pool",
        kind: NAME,
        doc: "Resource pool by name, path or reference",
    },
    Argument {
        name: "folder",
        kind: NAME,
        doc: "Folder by name, path or reference",
    },
    Argument {
        name: "task",
        kind: Kind::Text { longest: 80 },
        doc: "Task by its id, e.g. task-42",
    },
    Argument {
        name: "name",
        kind: NAME,
        doc: "Name of the new object",
    },
    Argument {
        name: "new_name",
        kind: NAME,
        doc: "New name",
    },
    Argument {
        name: "path",
        kind: Kind::Text { longest: 1_000 },
        doc: "Path on a datastore, e.g. [ds] folder/file",
    },
    Argument {
        name: "preview",
        kind: Kind::Flag {
            default: Some(false),
        },
        doc: "Show target, before, after and undo of a change; changes nothing",
    },
    Argument {
        name: "override",
        kind: Kind::Texts {
            most: 20,
            longest: 60,
        },
        doc: "Findings to accept, by the names that the refusal lists",
    },
    Argument {
        name: "device_key",
        kind: Kind::Whole {
            least: 0,
            most: 1_000_000,
            default: None,
        },
        doc: "Device by its key, as get_vm shows it",
    },
    Argument {
        name: "annotation",
        kind: Kind::Text { longest: 4_000 },
        doc: "Notes of the VM",
    },
    Argument {
        name: "filter",
        kind: Kind::Fields,
        doc: "What a list is narrowed by, e.g. {\"name\": \"web*\", \"state\": \"on\", \"host\": \"esx01\"}; \
              an unknown key is answered with those there are",
    },
    Argument {
        name: "fields",
        kind: Kind::Texts {
            most: 60,
            longest: 200,
        },
        doc: "Exactly these vSphere property paths, e.g. config.hardware.numCPU",
    },
    Argument {
        name: "sort",
        kind: Kind::Text { longest: 80 },
        doc: "Column to sort by, with - before it for descending; else by name",
    },
    Argument {
        name: "detail",
        kind: Kind::Word {
            allowed: DETAILS,
            default: Some("rows"),
        },
        doc: "summary: only counts; full: every column",
    },
    Argument {
        name: "wait",
        kind: Kind::Flag {
            default: Some(true),
        },
        doc: "Wait for the end of the task; when false, answer with its id",
    },
    Argument {
        name: "limit",
        kind: Kind::Whole {
            least: 1,
            most: 10_000,
            default: None,
        },
        doc: "Most rows to return; without it, as many as fit about 20,000 tokens",
    },
    Argument {
        name: "cursor",
        kind: Kind::Text { longest: 4_000 },
        doc: "next_cursor of the answer before",
    },
    Argument {
        name: "timeout_s",
        kind: Kind::Whole {
            least: 1,
            most: 86_400,
            default: None,
        },
        doc: "Give up waiting after this many seconds (60 for reads, 300 for changes)",
    },
];

impl Argument {
    /// The argument named `name`.
    pub(crate) fn find(name: &str) -> Option<&'static Argument> {
        super::arguments().find(|argument| argument.name == name)
    }
}
