//! What an adapter is connected to: a network of a host, a port group of a distributed switch, or an
//! opaque network.

use vsphere::MoRef;

use super::super::text;
use crate::call::Call;
use crate::failure::Failure;
use crate::fault;
use crate::object::{Found, NETWORK};

const NETWORK_BACKING: &str = "VirtualEthernetCardNetworkBackingInfo";
const PORT_BACKING: &str = "VirtualEthernetCardDistributedVirtualPortBackingInfo";
const OPAQUE_BACKING: &str = "VirtualEthernetCardOpaqueNetworkBackingInfo";

/// A network that the call names, as an adapter is connected to it.
pub(super) struct Network {
    pub(super) name: String,
    /// As [`shown`] shows it.
    pub(super) shown: String,
    pub(super) backing: vsphere::Value,
}

/// The network that the call names.
pub(super) async fn named(call: &Call<'_>) -> Result<Network, Failure> {
    let said = call.arguments.text("network").unwrap_or_default();
    let found = Found::named(call, &NETWORK, said, &[]).await?;
    let name = found.name();
    let (shown, backing) = match found.reference.kind.as_str() {
        "DistributedVirtualPortgroup" => of_port_group(call, &found.reference).await?,
        "OpaqueNetwork" => of_opaque(call, &found.reference).await?,
        _ => {
            // As the server spells it, escapes included.
            let raw = found.object.text("name").unwrap_or_default();
            let backing = vsphere::Value::record(NETWORK_BACKING)
                .with("deviceName", raw)
                .with("network", vsphere::Value::reference(&found.reference));
            (guard::text::sanitize(raw), backing)
        }
    };
    Ok(Network {
        name,
        shown,
        backing,
    })
}

async fn read(
    call: &Call<'_>,
    reference: &MoRef,
    paths: &[&str],
) -> Result<vsphere::Object, Failure> {
    let object = call.session.properties(reference, paths).await;
    object
        .map_err(fault::failure)?
        .ok_or_else(|| unusable("it is gone"))
}

fn unusable(why: &str) -> Failure {
    Failure::new(
        "network.unusable",
        format!("Pass a network that VMs are connected to: {why}"),
    )
}

async fn of_port_group(
    call: &Call<'_>,
    reference: &MoRef,
) -> Result<(String, vsphere::Value), Failure> {
    let paths = ["key", "config.distributedVirtualSwitch", "config.uplink"];
    let group = read(call, reference, &paths).await?;
    if group.get("config.uplink").and_then(vsphere::Value::as_bool) == Some(true) {
        return Err(unusable("this port group holds the uplinks of its switch"));
    }
    let switch = group
        .get("config.distributedVirtualSwitch")
        .and_then(vsphere::Value::as_moref)
        .ok_or_else(|| unusable("the switch of this port group cannot be read"))?;
    let of_switch = read(call, &switch, &["uuid"]).await?;
    let (Some(key), Some(uuid)) = (group.text("key"), of_switch.text("uuid")) else {
        return Err(unusable("the switch of this port group cannot be read"));
    };
    let port = vsphere::Value::record("DistributedVirtualSwitchPortConnection")
        .with("switchUuid", uuid)
        .with("portgroupKey", key);
    let backing = vsphere::Value::record(PORT_BACKING).with("port", port);
    Ok((guard::text::sanitize(key), backing))
}

async fn of_opaque(
    call: &Call<'_>,
    reference: &MoRef,
) -> Result<(String, vsphere::Value), Failure> {
    let network = read(call, reference, &["summary"]).await?;
    let text = |name: &str| network.get("summary").and_then(|all| all.text_at(name));
    let (Some(id), Some(kind)) = (text("opaqueNetworkId"), text("opaqueNetworkType")) else {
        return Err(unusable("the id of this opaque network cannot be read"));
    };
    let backing = vsphere::Value::record(OPAQUE_BACKING)
        .with("opaqueNetworkId", id)
        .with("opaqueNetworkType", kind);
    Ok((guard::text::sanitize(id), backing))
}

/// What an adapter is connected to: a network's name, a port group's key, or an opaque network's id.
pub(super) fn shown(device: &vsphere::Value) -> String {
    let paths = [
        "backing.port.portgroupKey",
        "backing.opaqueNetworkId",
        "backing.deviceName",
    ];
    paths
        .iter()
        .map(|path| text(device, path))
        .find(|shown| !shown.is_empty())
        .unwrap_or_default()
}

/// How a call names what an adapter is connected to. A port group's key is its reference's id.
pub(super) fn argument(device: &vsphere::Value) -> Option<String> {
    let reference = device
        .at("backing.network")
        .and_then(vsphere::Value::as_moref);
    if let Some(reference) = reference {
        return Some(guard::text::sanitize(&reference.id));
    }
    ["backing.port.portgroupKey", "backing.deviceName"]
        .iter()
        .map(|path| text(device, path))
        .find(|said| !said.is_empty())
}
