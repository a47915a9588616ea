//! What an ESXi host refuses, or should, of every change: known before anything is sent.

use std::net::IpAddr;

use vsphere::{FilterSpec, Object, Value};

use crate::argument::Arguments;
use crate::call::Call;
use crate::failure::Failure;
use crate::fault;

/// What accepts that the host belongs to a vCenter.
const MANAGED: &str = "managed_host";

/// What accepts that the host's licence is one that allows no change.
const LICENCE: &str = "free_licence";

/// What of the host a call has accepted: its undo goes the same way, and accepts it too.
pub(crate) fn accepted(arguments: &Arguments) -> Vec<&'static str> {
    let named = arguments.texts("override");
    [MANAGED, LICENCE]
        .into_iter()
        .filter(|name| named.contains(name))
        .collect()
}

/// The edition of the free licence, with which the API only reads.
const FREE_EDITION: &str = "esxBasic";

/// Why this host is not to be changed directly, or will not let itself be.
///
/// # Errors
///
/// Those of reading.
pub(super) async fn refuses_changes(call: &Call<'_>) -> Result<Option<Failure>, Failure> {
    if !call.row.changes() || call.session.about().is_vcenter() {
        return Ok(None);
    }
    let accepted = call.arguments.texts("override");
    if !accepted.contains(&MANAGED)
        && let Some(vcenter) = vcenter_of(call).await?
    {
        return Ok(Some(
            Failure::new(
                "host.managed",
                format!(
                    "Call `{}` on the vCenter at {vcenter}, which manages this host and would not know of the change; if the vCenter is down, pass `override: [\"{MANAGED}\"]`",
                    call.row.word
                ),
            )
            .with("vcenter", vcenter)
            .with("findings", vec![MANAGED]),
        ));
    }
    if !accepted.contains(&LICENCE) && has_free_licence(call).await {
        return Ok(Some(
            Failure::new(
                "vsphere.restricted_licence",
                format!(
                    "Assign a paid licence to the host, or make the change in its own web interface: with the free one the API only reads; if that is not so, pass `override: [\"{LICENCE}\"]`"
                ),
            )
            .with("findings", vec![LICENCE]),
        ));
    }
    Ok(None)
}

/// The address of the vCenter that the host belongs to.
async fn vcenter_of(call: &Call<'_>) -> Result<Option<String>, Failure> {
    const PATH: &str = "summary.managementServerIp";
    let root = call
        .session
        .content()
        .need("rootFolder")
        .map_err(fault::failure)?;
    let hosts = call
        .session
        .collect(&[FilterSpec::inventory(&root, &[("HostSystem", &[PATH])])])
        .await
        .map_err(fault::failure)?;
    let address = hosts
        .iter()
        .filter_map(|host| host.text(PATH))
        .find(|address| names_another_machine(address));
    Ok(address.map(|address| guard::text::sanitize_to(address, 255)))
}

/// No vCenter is the host itself: a loopback address is left over from something else.
fn names_another_machine(address: &str) -> bool {
    let loopback = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    !address.is_empty() && !address.parse().is_ok_and(loopback)
}

/// Whether each licence of the host is the free one. What cannot be read does not count: then the
/// host itself refuses, with a fault of its own.
async fn has_free_licence(call: &Call<'_>) -> bool {
    let Some(manager) = call.session.content().find("licenseManager") else {
        return false;
    };
    let licences = call.session.properties(&manager, &["licenses"]).await;
    let Ok(Some(licences)) = licences else {
        return false;
    };
    let editions: Vec<&str> = editions(&licences).collect();
    !editions.is_empty()
        && editions
            .iter()
            .all(|edition| edition.starts_with(FREE_EDITION))
}

fn editions(manager: &Object) -> impl Iterator<Item = &str> {
    manager
        .get("licenses")
        .into_iter()
        .flat_map(Value::items)
        .filter_map(|licence| licence.text_at("editionKey"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_host_itself_is_no_vcenter() {
        for address in ["", "127.0.0.1", "::1", "0.0.0.0"] {
            assert!(!names_another_machine(address), "{address}");
        }
        for address in ["10.0.0.5", "fd00::5", "vc.example"] {
            assert!(names_another_machine(address), "{address}");
        }
    }
}
