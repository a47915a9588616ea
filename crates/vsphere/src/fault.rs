//! vSphere faults: their type, their words and their typed detail.

use std::collections::BTreeMap;

use crate::value::{MoRef, Value};

/// A fault as the server reported it, from a failed call or a failed task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fault {
    /// The type's name in the vSphere API, as `InvalidPowerState`; empty if the server named none.
    pub kind: String,
    /// The server's words, raw.
    pub message: String,
    /// The fault's own fields, as `requestedState` and `existingState`.
    pub detail: Value,
}

/// The types whose name really ends in `Fault` (vim25 up to 9.0). For all others the suffix only
/// names the XML element of the fault, and some servers put that where the type belongs.
const NAMED_FAULT: &[&str] = &[
    "ActiveDirectoryFault",
    "ApplicationQuiesceFault",
    "CustomizationFault",
    "DasConfigFault",
    "DrsVmotionIncompatibleFault",
    "DvsApplyOperationFault",
    "DvsFault",
    "DvsOperationBulkFault",
    "EVCConfigFault",
    "ExtendedFault",
    "FcoeFault",
    "FileFault",
    "FilesystemQuiesceFault",
    "GatewayConnectFault",
    "GatewayToHostAuthFault",
    "GatewayToHostConnectFault",
    "GatewayToHostTrustVerifyFault",
    "GenericDrsFault",
    "GenericVmConfigFault",
    "GuestOperationsFault",
    "GuestRegistryFault",
    "GuestRegistryKeyFault",
    "GuestRegistryValueFault",
    "HostConfigFault",
    "HostConnectFault",
    "HttpFault",
    "ImportOperationBulkFault",
    "InsufficientCpuResourcesFault",
    "InsufficientFailoverResourcesFault",
    "InsufficientGraphicsResourcesFault",
    "InsufficientHostCapacityFault",
    "InsufficientHostCpuCapacityFault",
    "InsufficientHostMemoryCapacityFault",
    "InsufficientMemoryResourcesFault",
    "InsufficientResourcesFault",
    "InsufficientVFlashResourcesFault",
    "InvalidAffinitySettingFault",
    "InvalidResourcePoolStructureFault",
    "IscsiFault",
    "MethodAlreadyDisabledFault",
    "MethodFault",
    "MigrationFault",
    "MultipleCertificatesVerifyFault",
    "NasConfigFault",
    "NetworkCopyFault",
    "OvfConsumerCallbackFault",
    "OvfConsumerFault",
    "OvfConsumerPowerOnFault",
    "OvfConsumerValidationFault",
    "OvfFault",
    "OvfSystemFault",
    "PlatformConfigFault",
    "QuarantineModeFault",
    "ReplicationConfigFault",
    "ReplicationDiskConfigFault",
    "ReplicationFault",
    "ReplicationVmConfigFault",
    "ReplicationVmFault",
    "ReplicationVmInProgressFault",
    "RuntimeFault",
    "SSLDisabledFault",
    "SSLVerifyFault",
    "ShrinkDiskFault",
    "SnapshotFault",
    "UnexpectedCustomizationFault",
    "UnexpectedFault",
    "VAppConfigFault",
    "VAppPropertyFault",
    "VimFault",
    "VmConfigFault",
    "VmMetadataManagerFault",
    "VmToolsUpgradeFault",
    "VmfsMountFault",
    "VsanDiskFault",
    "VsanFault",
    "VspanPortMoveFault",
    "VspanPortPromiscChangeFault",
    "VspanPortgroupPromiscChangeFault",
    "VspanPortgroupTypeChangeFault",
    "WipeDiskFault",
];

/// The name of a fault's type: without prefix, and without the suffix that is the element's.
fn normal(name: &str) -> String {
    let name = name.rsplit(':').next().unwrap_or(name);
    // `FileFaultFault` is the element of `FileFault`, `FileFault` is itself.
    match name.strip_suffix("Fault") {
        Some(stem) if !stem.is_empty() && !NAMED_FAULT.contains(&name) => stem.to_owned(),
        _ => name.to_owned(),
    }
}

impl Fault {
    /// From the `Fault` element of a SOAP body.
    pub(crate) fn from_soap(soap: Value) -> Self {
        let message = soap
            .text_at("faultstring")
            .or_else(|| soap.text_at("Reason.Text"))
            .unwrap_or_default()
            .to_owned();
        let mut soap = soap;
        let detail = soap
            .fields
            .iter_mut()
            .find(|(n, _)| matches!(&**n, "detail" | "Detail"));
        let Some((element, detail)) =
            detail.and_then(|(_, v)| (!v.fields.is_empty()).then(|| v.fields.swap_remove(0)))
        else {
            return Self {
                kind: String::new(),
                message,
                detail: Value::default(),
            };
        };
        Self {
            kind: normal(detail.ty.as_deref().unwrap_or(&element)),
            message,
            detail,
        }
    }

    /// From a `LocalizedMethodFault`: what a failed task carries, and each entry of a missing set.
    pub fn from_localized(value: &Value) -> Self {
        let detail = value.get("fault").cloned().unwrap_or_default();
        Self {
            kind: normal(detail.type_name().unwrap_or_default()),
            message: value
                .text_at("localizedMessage")
                .unwrap_or_default()
                .to_owned(),
            detail,
        }
    }

    /// A field of the detail as text: a state, a name, the id of a reference.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.detail.text_at(name)
    }

    /// The object that a `NoPermission` or `ManagedObjectNotFound` is about.
    pub fn object(&self) -> Option<MoRef> {
        ["object", "obj", "entity"]
            .iter()
            .find_map(|name| self.detail.get(name))
            .and_then(Value::as_moref)
    }

    /// All scalar fields of the detail by dotted path; the second and further of one name have `[1]`, `[2]`…
    /// References read `type:id`. The localised messages and the cause are left out.
    pub fn fields(&self) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        flatten(&self.detail, "", &mut out);
        out
    }
}

fn flatten(value: &Value, path: &str, out: &mut BTreeMap<String, String>) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, field) in value.fields() {
        if matches!(name, "faultMessage" | "faultCause") {
            continue;
        }
        let nth = seen.entry(name).and_modify(|n| *n += 1).or_insert(0);
        let mut at = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        };
        if *nth > 0 {
            at.push_str(&format!("[{nth}]"));
        }
        match field.as_moref() {
            Some(reference) => {
                out.insert(at, reference.to_string());
            }
            None if field.is_struct() => flatten(field, &at, out),
            None => {
                out.insert(at, field.text().to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c11_a_fault_type_has_one_name_whoever_sends_it() {
        for (sent, name) in [
            ("InvalidPowerStateFault", "InvalidPowerState"),
            ("InvalidPowerState", "InvalidPowerState"),
            ("vim25:NoPermissionFault", "NoPermission"),
            ("FileFault", "FileFault"),
            ("FileFaultFault", "FileFault"),
            (
                "InsufficientResourcesFaultFault",
                "InsufficientResourcesFault",
            ),
            ("RuntimeFaultFault", "RuntimeFault"),
            ("Fault", "Fault"),
            ("SomethingNewFault", "SomethingNew"),
            ("", ""),
        ] {
            assert_eq!(normal(sent), name, "{sent}");
        }
    }

    fn field(name: &str, value: Value) -> (Box<str>, Value) {
        (name.into(), value)
    }

    fn scalar(text: &str) -> Value {
        Value {
            text: text.into(),
            ..Value::default()
        }
    }

    #[test]
    fn c11_the_fields_of_a_fault_are_kept() {
        let vm = Value {
            kind: Some("VirtualMachine".into()),
            ..scalar("vm-1")
        };
        let list = |id: &str| Value {
            fields: vec![
                field("entity", vm.clone()),
                field("privilegeIds", scalar(id)),
            ],
            ..Value::default()
        };
        let fault = Fault {
            kind: "NoPermission".into(),
            message: "denied".into(),
            detail: Value {
                fields: vec![
                    field("faultCause", scalar("hidden")),
                    field("object", vm.clone()),
                    field("privilegeId", scalar("VirtualMachine.Interact.PowerOn")),
                    field("missingPrivileges", list("A")),
                    field("missingPrivileges", list("B")),
                ],
                ..Value::default()
            },
        };
        assert_eq!(fault.object(), Some(MoRef::new("VirtualMachine", "vm-1")));
        let fields: Vec<_> = fault.fields().into_iter().collect();
        let expected = [
            ("missingPrivileges.entity", "VirtualMachine:vm-1"),
            ("missingPrivileges.privilegeIds", "A"),
            ("missingPrivileges[1].entity", "VirtualMachine:vm-1"),
            ("missingPrivileges[1].privilegeIds", "B"),
            ("object", "VirtualMachine:vm-1"),
            ("privilegeId", "VirtualMachine.Interact.PowerOn"),
        ];
        assert_eq!(fields, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn c11_a_fault_without_detail_keeps_its_words() {
        let soap = Value {
            fields: vec![field("faultstring", scalar("no"))],
            ..Value::default()
        };
        let fault = Fault::from_soap(soap);
        assert_eq!((fault.kind.as_str(), fault.message.as_str()), ("", "no"));
    }
}
