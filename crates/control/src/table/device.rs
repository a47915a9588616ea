//! The devices of a virtual machine, and what it asks.

use super::argument::NAME;
use super::{Action, Argument, Effect, Kind, Needs, Platform, Risk, Run};
use crate::action::device::{self, cdrom, disk, nic};
use crate::action::question;

/// The rows of this family, in the order in which they are published.
pub(super) const ROWS: &[&Action] = &[
    &ADD_DISK,
    &REMOVE_DISK,
    &GROW_DISK,
    &ADD_NIC,
    &REMOVE_NIC,
    &CONNECT_NIC,
    &MOUNT_ISO,
    &EJECT_ISO,
    &ANSWER_QUESTION,
];

/// The arguments of this family, in the order in which they are published.
pub(super) const ARGUMENTS: &[Argument] = &[
    Argument {
        name: "device_label",
        kind: NAME,
        doc: "Device by its label, e.g. Hard disk 2; refused if several bear it",
    },
    Argument {
        name: "added_key",
        kind: Kind::Text { longest: 200 },
        doc: "Device by the key that it was added under",
    },
    Argument {
        name: "replaces_mac",
        kind: Kind::Text { longest: 32 },
        doc: "MAC address of the adapter that it replaces: while that is there, nothing is added",
    },
    Argument {
        name: "size_gb",
        kind: Kind::Whole {
            least: 1,
            most: 63_488,
            default: None,
        },
        doc: "Size of the whole disk in GB; or size_mb",
    },
    Argument {
        name: "size_mb",
        kind: Kind::Whole {
            least: 1,
            most: 65_011_712,
            default: None,
        },
        doc: "Size of the whole disk in MB; or size_gb",
    },
    Argument {
        name: "thin",
        kind: Kind::Flag {
            default: Some(true),
        },
        doc: "Take space on the datastore only as it is written to",
    },
    Argument {
        name: "controller_key",
        kind: Kind::Whole {
            least: 0,
            most: 1_000_000,
            default: None,
        },
        doc: "Controller of the disk; without it the first with a free unit",
    },
    Argument {
        name: "unit",
        kind: Kind::Whole {
            least: 0,
            most: 254,
            default: None,
        },
        doc: "Unit at the controller; without it the first that is free",
    },
    Argument {
        name: "destroy_file",
        kind: Kind::Flag {
            default: Some(false),
        },
        doc: "Destroy the disk's file too, and what is in it",
    },
    Argument {
        name: "adapter",
        kind: Kind::Word {
            allowed: &["vmxnet3", "e1000e", "e1000", "vmxnet2", "pcnet32"],
            default: Some("vmxnet3"),
        },
        doc: "Type of the network adapter",
    },
    Argument {
        name: "connected",
        kind: Kind::Flag { default: None },
        doc: "Connected now; only of a VM that runs",
    },
    Argument {
        name: "start_connected",
        kind: Kind::Flag { default: None },
        doc: "Connected when the VM is powered on",
    },
    Argument {
        name: "question_id",
        kind: Kind::Text { longest: 80 },
        doc: "Id of the question that is answered; refused if the VM asks another",
    },
    Argument {
        name: "choice",
        kind: NAME,
        doc: "The answer: key or label of a choice",
    },
];

/// What every change of a device has in common; the rows below say what differs.
const CHANGE: Action = Action {
    word: "",
    aliases: &[],
    doc: "",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &[],
    own: &[],
    undo: &[],
    preview: true,
    probe: "the device",
    api: &["ReconfigVM_Task"],
    check: device::check_named,
    run: Run::Server(|call| Box::pin(disk::remove(call))),
};

const ADD_DISK: Action = Action {
    word: "add_disk",
    aliases: &["vm_add_disk", "create_disk", "attach_disk"],
    doc: "Add a disk to a VM: a new one (size_gb or size_mb), or the file at path",
    risk: Risk::Write,
    effect: Effect::Once,
    own: &[
        "size_gb",
        "size_mb",
        "thin",
        "datastore",
        "path",
        "controller_key",
        "unit",
    ],
    undo: &["remove_disk"],
    probe: "mark in extraConfig, new device",
    check: disk::check_add,
    run: Run::Server(|call| Box::pin(disk::add(call))),
    ..CHANGE
};

const REMOVE_DISK: Action = Action {
    word: "remove_disk",
    aliases: &["vm_remove_disk", "detach_disk", "delete_disk"],
    doc: "Take a disk off a VM (device_key or device_label); its file stays unless destroy_file",
    own: &[
        "device_key",
        "device_label",
        "added_key",
        "destroy_file",
        "expect",
        "override",
    ],
    undo: &["add_disk"],
    probe: "absence of the device",
    ..CHANGE
};

const GROW_DISK: Action = Action {
    word: "grow_disk",
    aliases: &["extend_disk", "resize_disk", "vm_grow_disk", "expand_disk"],
    doc: "Make a disk larger (device_key or device_label; size_gb or size_mb of the whole); no way back",
    own: &[
        "device_key",
        "device_label",
        "size_gb",
        "size_mb",
        "override",
    ],
    probe: "capacity",
    check: disk::check_grow,
    run: Run::Server(|call| Box::pin(disk::grow(call))),
    ..CHANGE
};

const ADD_NIC: Action = Action {
    word: "add_nic",
    aliases: &["vm_add_nic", "add_network_adapter"],
    doc: "Add a network adapter to a VM",
    risk: Risk::Write,
    effect: Effect::Once,
    required: &["network"],
    own: &["adapter", "connected", "start_connected", "replaces_mac"],
    undo: &["remove_nic"],
    probe: "mark in extraConfig, new device",
    check: super::accept,
    run: Run::Server(|call| Box::pin(nic::add(call))),
    ..CHANGE
};

const REMOVE_NIC: Action = Action {
    word: "remove_nic",
    aliases: &["vm_remove_nic", "remove_network_adapter", "delete_nic"],
    doc: "Take a network adapter off a VM (device_key or device_label); its MAC address is lost",
    own: &[
        "device_key",
        "device_label",
        "added_key",
        "expect",
        "override",
    ],
    undo: &["add_nic"],
    probe: "absence of the device",
    run: Run::Server(|call| Box::pin(nic::remove(call))),
    ..CHANGE
};

const CONNECT_NIC: Action = Action {
    word: "connect_nic",
    aliases: &["vm_connect_nic", "change_network", "disconnect_nic"],
    doc: "Connect or disconnect an adapter (connected, start_connected), or change its network",
    own: &[
        "device_key",
        "device_label",
        "connected",
        "start_connected",
        "network",
        "expect",
        "override",
    ],
    undo: &["connect_nic"],
    check: nic::check_connect,
    run: Run::Server(|call| Box::pin(nic::connect(call))),
    ..CHANGE
};

const MOUNT_ISO: Action = Action {
    word: "mount_iso",
    aliases: &["vm_mount_iso", "attach_iso", "insert_iso"],
    doc: "Put an ISO file of a datastore into a VM's CD drive",
    risk: Risk::Write,
    required: &["path"],
    own: &[
        "device_key",
        "device_label",
        "connected",
        "start_connected",
        "expect",
        "override",
    ],
    undo: &["mount_iso", "eject_iso"],
    check: cdrom::check_path,
    run: Run::Server(|call| Box::pin(cdrom::mount(call))),
    ..CHANGE
};

const EJECT_ISO: Action = Action {
    word: "eject_iso",
    aliases: &["vm_eject_iso", "unmount_iso", "detach_iso"],
    doc: "Take the ISO file out of a VM's CD drive",
    risk: Risk::Write,
    own: &["device_key", "device_label", "expect", "override"],
    undo: &["mount_iso"],
    check: super::accept,
    run: Run::Server(|call| Box::pin(cdrom::eject(call))),
    ..CHANGE
};

const ANSWER_QUESTION: Action = Action {
    word: "answer_question",
    aliases: &["answer_vm", "vm_answer", "vm_answer_question"],
    doc: "Answer the question that a VM waits with (get_vm shows it)",
    required: &["choice"],
    own: &["question_id", "override"],
    probe: "absence of the question",
    api: &["AnswerVM"],
    check: super::accept,
    run: Run::Server(|call| Box::pin(question::answer(call))),
    ..CHANGE
};
