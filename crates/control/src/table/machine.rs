//! Virtual machines: reading them, their size, their end.

use super::argument::{LIST, NAME};
use super::{Action, Argument, Effect, Kind, Needs, Platform, Risk, Run, accept};
use crate::action::vm::VMS;
use crate::action::{delete, find, reconfigure, vm};

/// The rows of this family, in the order in which they are published.
pub(super) const ROWS: &[&Action] = &[
    &LIST_VMS,
    &GET_VM,
    &FIND_VM,
    &LIST_TEMPLATES,
    &RECONFIGURE,
    &DELETE,
];

/// The arguments of this family, in the order in which they are published.
pub(super) const ARGUMENTS: &[Argument] = &[
    Argument {
        name: "name_glob",
        kind: NAME,
        doc: "Name pattern: * is any text, ? one character; case does not matter",
    },
    Argument {
        name: "ip",
        kind: Kind::Text { longest: 60 },
        doc: "IP address of the guest, any of its own",
    },
    Argument {
        name: "mac",
        kind: Kind::Text { longest: 40 },
        doc: "MAC address of a network adapter",
    },
    Argument {
        name: "dns_name",
        kind: NAME,
        doc: "DNS name of the guest, or a pattern of it",
    },
    Argument {
        name: "uuid",
        kind: Kind::Text { longest: 64 },
        doc: "Instance UUID or BIOS UUID to look for",
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
        name: "cores_per_socket",
        kind: Kind::Whole {
            least: 0,
            most: 4_096,
            default: None,
        },
        doc: "Cores in each socket; 0 leaves it to the server (from 8.0 on)",
    },
    Argument {
        name: "clear_annotation",
        kind: Kind::Flag { default: None },
        doc: "Empty the notes",
    },
    Argument {
        name: "attributes",
        kind: Kind::Fields,
        doc: "Custom attributes by name, as texts; an empty one takes the value away",
    },
    Argument {
        name: "expect",
        kind: Kind::Fields,
        doc: "Values, by argument, that must still be there, else nothing is changed",
    },
];

const LIST_VMS: Action = Action {
    word: "list_vms",
    aliases: &["vm_list", "get_vms", "list_virtual_machines"],
    doc: "List VMs with path, power state, size, guest and address, of any number; filter narrows it",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Server,
    platform: Platform::Any,
    required: &[],
    own: &[
        "vm_uuid",
        "vm_name",
        "vm_path",
        "moref",
        "instance_uuid",
        "filter",
        "fields",
        "sort",
        "detail",
        "limit",
        "cursor",
    ],
    undo: &[],
    preview: false,
    probe: "",
    api: &[],
    check: |arguments| VMS.check(arguments),
    run: Run::Server(|call| Box::pin(vm::list(call))),
};

const GET_VM: Action = Action {
    word: "get_vm",
    aliases: &["vm_info", "vm_get", "get_vm_info", "describe_vm"],
    doc: "One VM in detail: state, hardware, limits, disks, networks, guest, attributes, snapshots",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &[],
    own: &["fields"],
    undo: &[],
    preview: false,
    probe: "",
    api: &[],
    check: vm::check_get,
    run: Run::Server(|call| Box::pin(vm::get(call))),
};

const FIND_VM: Action = Action {
    word: "find_vm",
    aliases: &["vm_find", "search_vm", "find_vms"],
    doc: "Find VMs by name pattern, IP, MAC or DNS name, or uuid (at least one; all must fit)",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Server,
    platform: Platform::Any,
    required: &[],
    own: &[
        "name_glob",
        "ip",
        "mac",
        "dns_name",
        "uuid",
        "filter",
        "fields",
        "sort",
        "detail",
        "limit",
        "cursor",
    ],
    undo: &[],
    preview: false,
    probe: "",
    api: &[],
    check: find::check,
    run: Run::Server(|call| Box::pin(find::find(call))),
};

const LIST_TEMPLATES: Action = Action {
    word: "list_templates",
    aliases: &["get_templates", "template_list"],
    doc: "List the templates among the VMs",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Server,
    platform: Platform::Any,
    required: &[],
    own: LIST,
    undo: &[],
    preview: false,
    probe: "",
    api: &[],
    check: |arguments| VMS.check(arguments),
    run: Run::Server(|call| Box::pin(vm::templates(call))),
};

const RECONFIGURE: Action = Action {
    word: "reconfigure",
    aliases: &["reconfigure_vm", "reconfig_vm", "vm_reconfigure"],
    doc: "Set cpu, cores_per_socket, memory_mb, annotation or custom attributes of a VM (at least one)",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &[],
    own: &[
        "cpu",
        "memory_mb",
        "cores_per_socket",
        "annotation",
        "clear_annotation",
        "attributes",
        "expect",
    ],
    undo: &["reconfigure"],
    preview: true,
    probe: "the fields",
    api: &["ReconfigVM_Task", "SetField"],
    check: reconfigure::check,
    run: Run::Server(|call| Box::pin(reconfigure::change(call))),
};

const DELETE: Action = Action {
    word: "delete",
    aliases: &[
        "delete_vm",
        "destroy_vm",
        "remove_vm",
        "vm_delete",
        "vm_destroy",
    ],
    doc: "Delete a powered-off VM with all its disks and snapshots; cannot be undone",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &[],
    own: &["override", "vm_key"],
    undo: &[],
    preview: true,
    probe: "absence of the reference",
    api: &["Destroy_Task"],
    check: accept,
    run: Run::Server(|call| Box::pin(delete::change(call))),
};
