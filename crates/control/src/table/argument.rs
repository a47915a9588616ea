//! The arguments of `vmware_control`: each defined once, with its type and its documentation.

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
    "moref",
    "instance_uuid",
];

/// vSphere's names are at most 80 characters; escapes (`%2f`) and room to spare.
const NAME: Kind = Kind::Text { longest: 255 };

/// Every argument but `action`, in the order in which it is published.
pub(crate) const ARGUMENTS: &[Argument] = &[
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
        name: "snapshot_name",
        kind: NAME,
        doc: "Snapshot by exact name; refused if several bear it",
    },
    Argument {
        name: "snapshot_id",
        kind: Kind::Text { longest: 80 },
        doc: "Snapshot by reference, e.g. snapshot-7",
    },
    Argument {
        name: "snapshot_key",
        kind: Kind::Text { longest: 200 },
        doc: "Snapshot by the key it was created under",
    },
    Argument {
        name: "description",
        kind: Kind::Text { longest: 250 },
        doc: "Description of the new snapshot",
    },
    Argument {
        name: "memory",
        kind: Kind::Flag {
            default: Some(false),
        },
        doc: "Include memory in the snapshot",
    },
    Argument {
        name: "quiesce",
        kind: Kind::Flag {
            default: Some(false),
        },
        doc: "Quiesce guest file systems first",
    },
    Argument {
        name: "remove_children",
        kind: Kind::Flag {
            default: Some(false),
        },
        doc: "Delete the snapshots below it too",
    },
    Argument {
        name: "cpu",
        kind: Kind::Whole {
            least: 1,
            most: 4_096,
            default: None,
        },
        doc: "Number of virtual CPUs",
    },
    Argument {
        name: "memory_mb",
        kind: Kind::Whole {
            least: 4,
            most: 64 * 1_024 * 1_024,
            default: None,
        },
        doc: "Memory in MB",
    },
    Argument {
        name: "expect",
        kind: Kind::Fields,
        doc: "Values (cpu, memory_mb) that must still be there, else nothing is changed",
    },
    Argument {
        name: "preview",
        kind: Kind::Flag {
            default: Some(false),
        },
        doc: "Show target, before, after and undo of a change; changes nothing",
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
        kind: Kind::Text { longest: 2_000 },
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
        ARGUMENTS.iter().find(|argument| argument.name == name)
    }
}
