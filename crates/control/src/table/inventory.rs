//! The inventory beside VMs.

use super::argument::{LIST, NAME};
use super::{Action, Argument, Effect, Needs, Platform, Risk, Run};
use crate::action::lists::{
    self, CLUSTERS, DATACENTERS, DATASTORES, FOLDERS, HOSTS, NETWORKS, POOLS,
};
use crate::property;

/// The rows of this family, in the order in which they are published.
pub(super) const ROWS: &[&Action] = &[
    &LIST_HOSTS,
    &GET_HOST,
    &LIST_CLUSTERS,
    &LIST_DATACENTERS,
    &LIST_DATASTORES,
    &LIST_NETWORKS,
    &LIST_RESOURCE_POOLS,
    &LIST_FOLDERS,
];

/// The arguments of this family, in the order in which they are published.
pub(super) const ARGUMENTS: &[Argument] = &[Argument {
    name: "host_system",
    kind: NAME,
    doc: "ESXi host by name, path or reference",
}];

const GET_HOST: Action = Action {
    word: "get_host",
    aliases: &["host_info", "get_host_info", "describe_host"],
    doc: "One host in detail: state, hardware, load, version, addresses, datastores",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Server,
    platform: Platform::Any,
    required: &["host_system"],
    own: &["fields"],
    undo: &[],
    preview: false,
    probe: "",
    api: &[],
    check: |arguments| property::check(HOSTS.kinds, &arguments.texts("fields"), None),
    run: Run::Server(|call| Box::pin(lists::host(call))),
};

const LIST_HOSTS: Action = Action {
    word: "list_hosts",
    aliases: &["get_hosts", "host_list"],
    doc: "List hosts with state, load, version and maintenance mode",
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
    check: |arguments| HOSTS.check(arguments),
    run: Run::Server(|call| Box::pin(HOSTS.list(call))),
};

const LIST_CLUSTERS: Action = Action {
    word: "list_clusters",
    aliases: &["get_clusters", "cluster_list"],
    doc: "List clusters with capacity, DRS and HA",
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
    check: |arguments| CLUSTERS.check(arguments),
    run: Run::Server(|call| Box::pin(CLUSTERS.list(call))),
};

const LIST_DATACENTERS: Action = Action {
    word: "list_datacenters",
    aliases: &["get_datacenters", "datacenter_list"],
    doc: "List datacenters",
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
    check: |arguments| DATACENTERS.check(arguments),
    run: Run::Server(|call| Box::pin(DATACENTERS.list(call))),
};

const LIST_DATASTORES: Action = Action {
    word: "list_datastores",
    aliases: &["get_datastores", "datastore_list"],
    doc: "List datastores with capacity, free space and accessibility",
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
    check: |arguments| DATASTORES.check(arguments),
    run: Run::Server(|call| Box::pin(DATASTORES.list(call))),
};

const LIST_NETWORKS: Action = Action {
    word: "list_networks",
    aliases: &["get_networks", "network_list", "list_portgroups"],
    doc: "List networks: standard, distributed port groups, opaque",
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
    check: |arguments| NETWORKS.check(arguments),
    run: Run::Server(|call| Box::pin(NETWORKS.list(call))),
};

const LIST_RESOURCE_POOLS: Action = Action {
    word: "list_resource_pools",
    aliases: &["get_resource_pools", "list_pools"],
    doc: "List resource pools and vApps with use, reservations and limits",
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
    check: |arguments| POOLS.check(arguments),
    run: Run::Server(|call| Box::pin(POOLS.list(call))),
};

const LIST_FOLDERS: Action = Action {
    word: "list_folders",
    aliases: &["get_folders", "folder_list"],
    doc: "List folders and what they hold",
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
    check: |arguments| FOLDERS.check(arguments),
    run: Run::Server(|call| Box::pin(FOLDERS.list(call))),
};
