//! Where a VM is, and what it is made from.

use super::{Action, Argument, Effect, Kind, Needs, Platform, Risk, Run, accept};
use crate::action::{clone, create, migrate, place, registration, template};

/// The rows of this family, in the order in which they are published.
pub(super) const ROWS: &[&Action] = &[
    &RENAME,
    &MOVE,
    &MIGRATE,
    &CLONE,
    &DEPLOY,
    &MARK_TEMPLATE,
    &MARK_VM,
    &UNREGISTER,
    &REGISTER,
    &CREATE,
];

/// The arguments of this family, in the order in which they are published.
pub(super) const ARGUMENTS: &[Argument] = &[
    Argument {
        name: "vm_key",
        kind: Kind::Text { longest: 200 },
        doc: "Key that the VM must have been made under; refused if it differs",
    },
    Argument {
        name: "disk_datastores",
        kind: Kind::Fields,
        doc: "Datastores of single disks by device key, e.g. {\"2000\": \"datastore-12\"}",
    },
    Argument {
        name: "linked",
        kind: Kind::Flag {
            default: Some(false),
        },
        doc: "Make a linked clone of the snapshot: it shares its disks",
    },
    Argument {
        name: "power_on",
        kind: Kind::Flag {
            default: Some(false),
        },
        doc: "Power the new VM on",
    },
    Argument {
        name: "as_template",
        kind: Kind::Flag {
            default: Some(false),
        },
        doc: "Register it as a template",
    },
    Argument {
        name: "guest_id",
        kind: Kind::Text { longest: 80 },
        doc: "Guest OS by vSphere's id (default otherGuest64)",
    },
];

const RENAME: Action = Action {
    word: "rename",
    aliases: &["rename_vm", "vm_rename"],
    doc: "Give a VM another name; its files keep the old one",
    risk: Risk::Write,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &["new_name"],
    own: &["expect"],
    undo: &["rename"],
    preview: true,
    probe: "the name",
    api: &["Rename_Task"],
    check: place::check_rename,
    run: Run::Server(|call| Box::pin(place::rename(call))),
};

const MOVE: Action = Action {
    word: "move_to_folder",
    aliases: &["move_vm", "vm_move", "move_vm_to_folder"],
    doc: "Move a VM into another folder",
    risk: Risk::Write,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    platform: Platform::VCenter,
    required: &["folder"],
    own: &["expect"],
    undo: &["move_to_folder"],
    preview: true,
    probe: "the folder",
    api: &["MoveIntoFolder_Task"],
    check: place::check_move,
    run: Run::Server(|call| Box::pin(place::move_to_folder(call))),
};

const MIGRATE: Action = Action {
    word: "migrate",
    aliases: &[
        "migrate_vm",
        "vm_migrate",
        "relocate",
        "relocate_vm",
        "vmotion",
    ],
    doc: "Move a VM to another host_system, datastore or resource_pool, running or not; checked first",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    platform: Platform::VCenter,
    required: &[],
    own: &[
        "host_system",
        "datastore",
        "resource_pool",
        "disk_datastores",
        "expect",
        "override",
    ],
    undo: &["migrate"],
    preview: true,
    probe: "the host; the object's tasks",
    api: &["RelocateVM_Task"],
    check: migrate::check,
    run: Run::Server(|call| Box::pin(migrate::change(call))),
};

const CLONE: Action = Action {
    word: "clone",
    aliases: &["clone_vm", "vm_clone"],
    doc: "Make a VM of another: full, or linked to one of its snapshots",
    risk: Risk::Write,
    effect: Effect::Once,
    needs: Needs::Machine,
    platform: Platform::VCenter,
    required: &["name"],
    own: &[
        "folder",
        "datastore",
        "host_system",
        "resource_pool",
        "cluster",
        "linked",
        "snapshot_name",
        "snapshot_id",
        "power_on",
    ],
    undo: &["delete"],
    preview: true,
    probe: "the key in the clone's extraConfig",
    api: &["CloneVM_Task"],
    check: clone::check,
    run: Run::Server(|call| Box::pin(clone::clone(call))),
};

const DEPLOY: Action = Action {
    word: "deploy_template",
    aliases: &["deploy_from_template", "vm_deploy_template"],
    doc: "Make a VM of a template; needs resource_pool, cluster or host_system",
    risk: Risk::Write,
    effect: Effect::Once,
    needs: Needs::Machine,
    platform: Platform::VCenter,
    required: &["name"],
    own: &[
        "folder",
        "datastore",
        "host_system",
        "resource_pool",
        "cluster",
        "power_on",
    ],
    undo: &["delete"],
    preview: true,
    probe: "the key in the VM's extraConfig",
    api: &["CloneVM_Task"],
    check: clone::check_deploy,
    run: Run::Server(|call| Box::pin(clone::deploy(call))),
};

const MARK_TEMPLATE: Action = Action {
    word: "mark_template",
    aliases: &["mark_as_template", "convert_to_template"],
    doc: "Make a template of a powered-off VM",
    risk: Risk::Write,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    platform: Platform::VCenter,
    required: &[],
    own: &[],
    undo: &["mark_vm"],
    preview: true,
    probe: "summary.config.template",
    api: &["MarkAsTemplate"],
    check: accept,
    run: Run::Server(|call| Box::pin(template::mark_template(call))),
};

const MARK_VM: Action = Action {
    word: "mark_vm",
    aliases: &["mark_as_vm", "mark_as_virtual_machine", "convert_to_vm"],
    doc: "Make a VM of a template itself; needs resource_pool, cluster or host_system",
    risk: Risk::Write,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    platform: Platform::VCenter,
    required: &[],
    own: &["resource_pool", "cluster", "host_system"],
    undo: &["mark_template"],
    preview: true,
    probe: "summary.config.template",
    api: &["MarkAsVirtualMachine"],
    check: accept,
    run: Run::Server(|call| Box::pin(template::mark_vm(call))),
};

const UNREGISTER: Action = Action {
    word: "unregister",
    aliases: &["unregister_vm", "vm_unregister"],
    doc: "Take a powered-off VM out of the inventory; its files stay",
    risk: Risk::Destructive,
    effect: Effect::Idempotent,
    needs: Needs::Machine,
    platform: Platform::Any,
    required: &[],
    own: &["path", "override"],
    undo: &["register"],
    preview: true,
    probe: "absence of the reference",
    api: &["UnregisterVM"],
    check: accept,
    run: Run::Server(|call| Box::pin(registration::unregister(call))),
};

const REGISTER: Action = Action {
    word: "register",
    aliases: &["register_vm", "vm_register"],
    doc: "Add a VM to the inventory from its .vmx file (path)",
    risk: Risk::Write,
    effect: Effect::Idempotent,
    needs: Needs::Server,
    platform: Platform::Any,
    required: &["path"],
    own: &[
        "name",
        "folder",
        "datacenter",
        "resource_pool",
        "cluster",
        "host_system",
        "as_template",
    ],
    undo: &["unregister"],
    preview: true,
    probe: "FindByDatastorePath",
    api: &["RegisterVM_Task"],
    check: registration::check,
    run: Run::Server(|call| Box::pin(registration::register(call))),
};

const CREATE: Action = Action {
    word: "create_vm",
    aliases: &["vm_create", "create_virtual_machine"],
    doc: "Make an empty VM, without disks and network adapters",
    risk: Risk::Write,
    effect: Effect::Once,
    needs: Needs::Server,
    platform: Platform::Any,
    required: &["name", "datastore"],
    own: &[
        "folder",
        "datacenter",
        "resource_pool",
        "cluster",
        "host_system",
        "cpu",
        "memory_mb",
        "guest_id",
    ],
    undo: &["delete"],
    preview: true,
    probe: "the key in its extraConfig",
    api: &["CreateVM_Task"],
    check: create::check,
    run: Run::Server(|call| Box::pin(create::change(call))),
};
