//! The lists of the inventory beside VMs: what each is made of.

use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::failure::Failure;
use crate::listing::catalog::Catalog;
use crate::listing::column::{self, As, Column, column, part};
use crate::listing::filter::{Filter, Want};
use crate::machine::Containers;
use crate::object::{CLUSTER, DATACENTER, FOLDER, Found, HOST};
use crate::property;

/// What lies above hosts and what they are made of.
const ABOVE: &[&str] = &["Folder", "Datacenter", "ComputeResource"];

/// A key of `filter`.
const fn by(name: &'static str, want: Want) -> Filter {
    Filter { name, want }
}

const NAME: Filter = by("name", Want::Name);
const BENEATH_FOLDER: Filter = by("folder", Want::Beneath(&FOLDER));
const BENEATH_DATACENTER: Filter = by("datacenter", Want::Beneath(&DATACENTER));
const ATTRIBUTE: Filter = by("attribute:<name>", Want::Attribute);

/// Hosts.
pub(crate) static HOSTS: Catalog = Catalog {
    field: "hosts",
    kinds: &["HostSystem"],
    above: ABOVE,
    columns: &[
        column("cluster", "parent", As::Named),
        column("connection_state", "runtime.connectionState", As::Text),
        column("power_state", "runtime.powerState", As::Text),
        column("in_maintenance", "runtime.inMaintenanceMode", As::Flag),
        column("in_quarantine", "runtime.inQuarantineMode", As::Mark),
        column("booted", "runtime.bootTime", As::Text),
        column("vendor", "summary.hardware.vendor", As::Text),
        column("model", "summary.hardware.model", As::Text),
        column("cpu_model", "summary.hardware.cpuModel", As::Text),
        column("cpu_cores", "summary.hardware.numCpuCores", As::Whole),
        column("cpu_mhz", "summary.hardware.cpuMhz", As::Whole),
        column("memory_bytes", "summary.hardware.memorySize", As::Whole),
        column(
            "cpu_used_mhz",
            "summary.quickStats.overallCpuUsage",
            As::Whole,
        ),
        column(
            "memory_used_mb",
            "summary.quickStats.overallMemoryUsage",
            As::Whole,
        ),
        column("product", "summary.config.product.fullName", As::Text),
        column("status", "summary.overallStatus", As::Text),
        column("reboot_required", "summary.rebootRequired", As::Flag),
        column("managed_by_vcenter", "summary.managementServerIp", As::Text),
    ],
    more: &[
        column("version", "summary.config.product.version", As::Text),
        column("build", "summary.config.product.build", As::Text),
        column("evc_mode", "summary.currentEVCModeKey", As::Text),
        column("hardware_uuid", "summary.hardware.uuid", As::Text),
        column("cpu_packages", "summary.hardware.numCpuPkgs", As::Whole),
        column("cpu_threads", "summary.hardware.numCpuThreads", As::Whole),
        column("nics", "summary.hardware.numNics", As::Whole),
        column("hbas", "summary.hardware.numHBAs", As::Whole),
        column("uptime_s", "summary.quickStats.uptime", As::Whole),
        column("vms", "vm", As::Count),
        column("datastores", "datastore", As::Names),
        column("networks", "network", As::Names),
    ],
    more_above: &["Datastore", "Network"],
    counts: &[
        "connection_state",
        "power_state",
        "in_maintenance",
        "status",
    ],
    filters: &[
        NAME,
        by("state", Want::Word("runtime.connectionState", &[])),
        by("maintenance", Want::Flag("runtime.inMaintenanceMode")),
        by("cluster", Want::Refers("parent", &CLUSTER)),
        BENEATH_FOLDER,
        BENEATH_DATACENTER,
        ATTRIBUTE,
    ],
};

/// Clusters, and the compute resources of hosts outside of one.
pub(crate) static CLUSTERS: Catalog = Catalog {
    field: "clusters",
    kinds: &["ComputeResource", "ClusterComputeResource"],
    above: &["Folder", "Datacenter"],
    columns: &[
        column(
            "kind",
            "",
            As::Type(&[
                ("ClusterComputeResource", "cluster"),
                ("ComputeResource", "host"),
            ]),
        ),
        column("hosts", "summary.numHosts", As::Whole),
        column("effective_hosts", "summary.numEffectiveHosts", As::Whole),
        column("cpu_cores", "summary.numCpuCores", As::Whole),
        column("cpu_mhz", "summary.totalCpu", As::Whole),
        column("memory_bytes", "summary.totalMemory", As::Whole),
        column("effective_cpu_mhz", "summary.effectiveCpu", As::Whole),
        column("effective_memory_mb", "summary.effectiveMemory", As::Whole),
        column("status", "summary.overallStatus", As::Text),
        part("drs", "configurationEx", "drsConfig.enabled", As::Flag),
        part(
            "drs_level",
            "configurationEx",
            "drsConfig.defaultVmBehavior",
            As::Text,
        ),
        part("ha", "configurationEx", "dasConfig.enabled", As::Flag),
        part(
            "ha_admission_control",
            "configurationEx",
            "dasConfig.admissionControlEnabled",
            As::Flag,
        ),
    ],
    more: &[
        part(
            "drs_threshold",
            "configurationEx",
            "drsConfig.vmotionRate",
            As::Whole,
        ),
        part(
            "ha_host_monitoring",
            "configurationEx",
            "dasConfig.hostMonitoring",
            As::Text,
        ),
        part(
            "ha_vm_monitoring",
            "configurationEx",
            "dasConfig.vmMonitoring",
            As::Text,
        ),
        column("members", "host", As::Names),
        column("datastores", "datastore", As::Names),
        column("networks", "network", As::Names),
    ],
    more_above: &["HostSystem", "Datastore", "Network"],
    counts: &["kind", "status", "drs", "ha"],
    filters: &[NAME, BENEATH_FOLDER, BENEATH_DATACENTER, ATTRIBUTE],
};

/// Datacenters.
pub(crate) static DATACENTERS: Catalog = Catalog {
    field: "datacenters",
    kinds: &["Datacenter"],
    above: &["Folder"],
    columns: &[
        column("status", "overallStatus", As::Text),
        column("datastores", "datastore", As::Count),
        column("networks", "network", As::Count),
    ],
    more: &[],
    more_above: &[],
    counts: &["status"],
    filters: &[NAME, BENEATH_FOLDER, ATTRIBUTE],
};

/// Datastores.
pub(crate) static DATASTORES: Catalog = Catalog {
    field: "datastores",
    kinds: &["Datastore"],
    above: &["Folder", "Datacenter"],
    columns: &[
        column("type", "summary.type", As::Text),
        column("capacity_bytes", "summary.capacity", As::Whole),
        column("free_bytes", "summary.freeSpace", As::Whole),
        column("could_grow_bytes", "summary.uncommitted", As::Whole),
        column("accessible", "summary.accessible", As::Flag),
        column("shared", "summary.multipleHostAccess", As::Flag),
        column("maintenance_mode", "summary.maintenanceMode", As::Text),
    ],
    more: &[
        column("url", "summary.url", As::Text),
        column("status", "overallStatus", As::Text),
        column("hosts", "host", As::Count),
        column("vms", "vm", As::Count),
    ],
    more_above: &[],
    counts: &["type", "accessible", "maintenance_mode"],
    filters: &[
        NAME,
        by(
            "state",
            Want::Word(
                "summary.maintenanceMode",
                &[("maintenance", "inMaintenance")],
            ),
        ),
        by("type", Want::Word("summary.type", &[])),
        by("accessible", Want::Flag("summary.accessible")),
        by("host", Want::Through(&HOST, &["datastore"])),
        by("cluster", Want::Through(&CLUSTER, &["datastore"])),
        BENEATH_FOLDER,
        BENEATH_DATACENTER,
        ATTRIBUTE,
    ],
};

/// Networks and port groups.
pub(crate) static NETWORKS: Catalog = Catalog {
    field: "networks",
    kinds: &["Network", "DistributedVirtualPortgroup", "OpaqueNetwork"],
    above: &["Folder", "Datacenter", "DistributedVirtualSwitch"],
    columns: &[
        column(
            "kind",
            "",
            As::Type(&[
                ("Network", "standard"),
                ("DistributedVirtualPortgroup", "distributed"),
                ("OpaqueNetwork", "opaque"),
            ]),
        ),
        column("accessible", "summary.accessible", As::Flag),
        column("switch", "config.distributedVirtualSwitch", As::Named),
        column("portgroup_key", "key", As::Text),
        column("uplink", "config.uplink", As::Mark),
        part("vlan", "config.defaultPortConfig", "vlan.vlanId", As::Text),
        part("opaque_network_id", "summary", "opaqueNetworkId", As::Text),
        part(
            "opaque_network_type",
            "summary",
            "opaqueNetworkType",
            As::Text,
        ),
    ],
    more: &[
        column("status", "overallStatus", As::Text),
        column("hosts", "host", As::Count),
        column("vms", "vm", As::Count),
    ],
    more_above: &[],
    counts: &["kind", "accessible"],
    filters: &[
        NAME,
        by("accessible", Want::Flag("summary.accessible")),
        by("host", Want::Through(&HOST, &["network"])),
        by("cluster", Want::Through(&CLUSTER, &["network"])),
        BENEATH_FOLDER,
        BENEATH_DATACENTER,
        ATTRIBUTE,
    ],
};

/// Resource pools and vApps.
pub(crate) static POOLS: Catalog = Catalog {
    field: "resource_pools",
    kinds: &["ResourcePool", "VirtualApp"],
    above: &["Folder", "Datacenter", "ComputeResource", "ResourcePool"],
    columns: &[
        column(
            "kind",
            "",
            As::Type(&[("ResourcePool", "pool"), ("VirtualApp", "vapp")]),
        ),
        column("owner", "owner", As::Named),
        column("status", "runtime.overallStatus", As::Text),
        column("cpu_used_mhz", "runtime.cpu.overallUsage", As::Whole),
        column(
            "cpu_reservation_mhz",
            "config.cpuAllocation.reservation",
            As::Whole,
        ),
        column("cpu_limit_mhz", "config.cpuAllocation.limit", As::Whole),
        column(
            "cpu_shares",
            "config.cpuAllocation.shares.shares",
            As::Whole,
        ),
        column(
            "memory_used_bytes",
            "runtime.memory.overallUsage",
            As::Whole,
        ),
        column(
            "memory_reservation_mb",
            "config.memoryAllocation.reservation",
            As::Whole,
        ),
        column(
            "memory_limit_mb",
            "config.memoryAllocation.limit",
            As::Whole,
        ),
        column(
            "memory_shares",
            "config.memoryAllocation.shares.shares",
            As::Whole,
        ),
    ],
    more: &[
        column("vms", "vm", As::Count),
        column("pools", "resourcePool", As::Names),
    ],
    more_above: &[],
    counts: &["kind", "status"],
    filters: &[
        NAME,
        by("cluster", Want::Refers("owner", &CLUSTER)),
        BENEATH_DATACENTER,
        ATTRIBUTE,
    ],
};

/// Folders.
pub(crate) static FOLDERS: Catalog = Catalog {
    field: "folders",
    kinds: &["Folder", "StoragePod"],
    above: &["Folder", "Datacenter"],
    columns: &[
        column(
            "kind",
            "",
            As::Type(&[("Folder", "folder"), ("StoragePod", "datastore_cluster")]),
        ),
        column("holds", "childType", As::Texts),
    ],
    more: &[column("children", "childEntity", As::Count)],
    more_above: &[],
    counts: &["kind"],
    filters: &[NAME, BENEATH_FOLDER, BENEATH_DATACENTER, ATTRIBUTE],
};

/// One host in detail.
pub(crate) async fn host(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let version = property::version(call.session.api_version());
    let fields = call.arguments.texts("fields");
    property::check(HOSTS.kinds, &fields, Some(version))?;
    let columns: Vec<&Column> = HOSTS.all().collect();
    let mut paths = column::paths(&columns, HOST.kind, version);
    paths.extend(HOST_DETAIL);
    paths.extend(fields.iter().copied());
    paths.sort_unstable();
    paths.dedup();
    let above: Vec<&str> = HOSTS
        .above
        .iter()
        .chain(HOSTS.more_above)
        .copied()
        .collect();
    let (found, names) = tokio::join!(
        Found::target_of(call, &HOST, &paths),
        Containers::read_types(call.session, &above)
    );
    let (found, names) = (found?, names?);
    let object = &found.object;
    let mut host = column::row(object, &columns, &names);
    let text = |path: &str| json!(object.text(path).map(guard::text::sanitize));
    for (name, path) in [
        ("host_name", "config.network.dnsConfig.hostName"),
        ("domain", "config.network.dnsConfig.domainName"),
        ("lockdown", "config.lockdownMode"),
    ] {
        column::put(&mut host, name, text(path));
    }
    let addresses = object.get("config.network.vnic");
    let addresses = addresses.into_iter().flat_map(vsphere::Value::items);
    let addresses: Vec<Value> = addresses
        .take(column::SHOWN)
        .map(|nic| {
            let text = |path: &str| nic.text_at(path).map(guard::text::sanitize);
            json!({
                "device": text("device"),
                "ip": text("spec.ip.ipAddress"),
                "mac": text("spec.mac"),
                "network": text("portgroup").filter(|name| !name.is_empty()),
            })
        })
        .collect();
    column::put(&mut host, "addresses", Value::Array(addresses));
    if !fields.is_empty() {
        let fields = column::by_path(object, &fields);
        host.insert("fields".to_owned(), Value::Object(fields));
    }
    let mut answer = Map::new();
    answer.insert("action".to_owned(), json!(call.row.word));
    answer.insert("target".to_owned(), found.target(&call.server));
    answer.insert("host".to_owned(), Value::Object(host));
    Ok(answer)
}

/// What one host in detail needs besides.
const HOST_DETAIL: &[&str] = &[
    "config.network.dnsConfig.hostName",
    "config.network.dnsConfig.domainName",
    "config.network.vnic",
    "config.lockdownMode",
];
