//! What a vSphere error means to the caller: code, remedy, effect, and the fault itself (C11).

use policy::answer::ErrorEffect;
use serde_json::json;
use vsphere::{Effect, Error, Fault};

use crate::failure::Failure;

/// Answers an error of the vSphere client.
pub(crate) fn failure(error: Error) -> Failure {
    let effect = match error.effect() {
        Effect::None => ErrorEffect::None,
        Effect::Unknown => ErrorEffect::Unknown,
    };
    let text = error.to_string();
    let failure = match &error {
        Error::InvalidEndpoint { .. } => Failure::new("connection.invalid_host", text),
        Error::InvalidText { .. } => Failure::new("argument.unclean", text),
        Error::UnusableCa { .. } => Failure::new("certificate.authority", text),
        Error::Unreachable {
            endpoint,
            timed_out,
            ..
        } => Failure::new("host.unreachable", text)
            .with("server", endpoint.as_str())
            .with("timed_out", *timed_out),
        Error::CertificateChanged {
            endpoint,
            pinned,
            seen,
        } => certificate_changed(endpoint, &pinned.to_string(), &seen.to_string()),
        Error::CertificateUntrusted { endpoint, seen, .. } => {
            Failure::new("certificate.untrusted", text)
                .with("server", endpoint.as_str())
                .with("seen", seen.to_string())
        }
        Error::CertificateUnusable { endpoint, seen, .. } => {
            Failure::new("certificate.unusable", text)
                .with("server", endpoint.as_str())
                .with("seen", seen.to_string())
        }
        Error::Tls { endpoint, .. } => {
            Failure::new("host.no_tls", text).with("server", endpoint.as_str())
        }
        Error::LoginRefused { .. } => Failure::new("login.refused", text).with("tried", true),
        Error::LoginLost { .. } => {
            Failure::new("login.lost", text).with("session", "possibly_left")
        }
        Error::Fault { call, fault, .. } => refused(call, fault),
        Error::Lost { call, .. } => Failure::new("connection.lost", text).with("call", *call),
        Error::Timeout { call, .. } => Failure::new("call.timeout", text).with("call", *call),
        Error::Http { call, status, .. } => Failure::new("host.http", text)
            .with("call", *call)
            .with("status", *status),
        Error::Malformed { call, .. } => Failure::new("host.not_vsphere", text).with("call", *call),
        Error::TooLarge { call, .. } => Failure::new("answer.too_large", text).with("call", *call),
        Error::Wait { task, source } => {
            let code = match **source {
                Error::Timeout { .. } => "call.timeout",
                _ => "task.lost",
            };
            Failure::new(code, text).with("task", task.id.as_str())
        }
        Error::Absent { .. } => Failure::new("vsphere.absent", text),
        // The enum may grow: what is not known here is still said, with its effect.
        _ => Failure::new("vsphere.error", text),
    };
    failure.leaving(effect)
}

/// A certificate that is another one than the one that is known, and does not verify.
pub(crate) fn certificate_changed(server: &str, pinned: &str, seen: &str) -> Failure {
    Failure::new(
        "certificate.changed",
        format!(
            "Find out why the certificate of {server} changed; if on purpose, save the profile again \
             in a terminal (`vmware-control credential save NAME … --accept-new-certificate`), which pins the new one: pinned {pinned}, seen {seen}"
        ),
    )
    .with("server", server)
    .with("pinned", pinned)
    .with("seen", seen)
}

/// A fault of the server's, with its own type and words.
pub(crate) fn refused(call: &str, fault: &Fault) -> Failure {
    let (code, remedy) = meaning(&fault.kind);
    let words = if fault.message.is_empty() {
        "it gave no reason"
    } else {
        fault.message.as_str()
    };
    let kind = if fault.kind.is_empty() {
        "a fault"
    } else {
        fault.kind.as_str()
    };
    Failure::new(
        code,
        format!("{remedy}: the server refused {call} with {kind}: {words}"),
    )
    .with(
        "fault",
        json!({ "type": fault.kind, "message": fault.message, "detail": fault.fields() }),
    )
}

/// How the types of faults begin that stand in the way of a migration.
const MIGRATION: &[&str] = &[
    "Migration",
    "VMotion",
    "CannotAccess",
    "CannotMove",
    "DisallowedMigration",
    "CpuIncompatible",
];

/// The code of a fault's type, and what to do about it.
fn meaning(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "TaskInProgress" => (
            "vsphere.busy",
            "Wait for the other task on this object, then try again",
        ),
        "NoPermission" | "RestrictedByAdministrator" => (
            "vsphere.no_permission",
            "Grant the user the privilege that the fault names, or use another user",
        ),
        "NotAuthenticated" => (
            "vsphere.not_authenticated",
            "Try again: the server ended the session",
        ),
        "ManagedObjectNotFound" => (
            "vsphere.object_gone",
            "Look it up again: the object is no longer there",
        ),
        "InvalidPowerState" => (
            "vsphere.invalid_power_state",
            "Bring the VM into the power state that the fault names first",
        ),
        "InvalidState" => (
            "vsphere.invalid_state",
            "Look at the object's state: it does not allow this now",
        ),
        "MethodDisabled" => (
            "vsphere.method_disabled",
            "Wait for what has disabled it, such as a backup",
        ),
        "RestrictedVersion" => (
            "vsphere.restricted_licence",
            "Use a licensed host: its free licence refuses changes",
        ),
        "HostNotConnected" | "HostNotReachable" | "HostCommunication" => (
            "vsphere.host_not_connected",
            "Reconnect the host that the object runs on",
        ),
        "NotSupported" | "MethodNotFound" | "NotImplemented" => (
            "vsphere.not_supported",
            "Use another way: this server cannot do it",
        ),
        "InvalidGuestLogin" => (
            "guest.login_refused",
            "Save the guest's account again, with the user and password that the guest knows",
        ),
        "GuestOperationsUnavailable" | "OperationNotSupportedByGuest" => (
            "guest.not_ready",
            "Start VMware Tools in the guest, and wait until they have come up",
        ),
        "ToolsUnavailable" => (
            "vsphere.tools_unavailable",
            "Start VMware Tools in the guest, or use power_off",
        ),
        "ConcurrentAccess" => (
            "vsphere.concurrent_access",
            "Read the VM again, then try again: someone else changed it",
        ),
        "CpuHotPlugNotSupported" | "MemoryHotPlugNotSupported" => (
            "vsphere.hot_plug_not_supported",
            "Power the VM off first: this cannot be changed while it runs",
        ),
        "NoDiskSpace" | "InsufficientStorageSpace" => {
            ("vsphere.no_disk_space", "Free some space on the datastore")
        }
        "InvalidName" => ("vsphere.invalid_name", "Choose another name"),
        "DuplicateName" => (
            "vsphere.duplicate_name",
            "Choose another name, or another folder",
        ),
        "AlreadyExists" => (
            "vsphere.already_exists",
            "Look at what is there already, and use it or choose another name",
        ),
        "NotFound" | "InvalidDatastore" | "InvalidDatastorePath" => (
            "vsphere.file_not_found",
            "Correct the path: the server finds no such file or datastore",
        ),
        "InvalidArgument" => (
            "vsphere.invalid_argument",
            "Correct the value that the fault names",
        ),
        "FileLocked" => (
            "vsphere.file_locked",
            "Find out who holds the file that the fault names",
        ),
        "RequestCanceled" => (
            "vsphere.task_cancelled",
            "Find out who cancelled the task, then try again",
        ),
        "QuarantineModeFault" | "InsufficientResourcesFault" => (
            "vsphere.insufficient_resources",
            "Free CPU or memory on a host",
        ),
        kind if MIGRATION.iter().any(|start| kind.starts_with(start)) => (
            "vsphere.migration_fault",
            "Remove what is in the way, or choose another host or datastore",
        ),
        kind if kind.starts_with("Insufficient") => (
            "vsphere.insufficient_resources",
            "Free CPU or memory on a host",
        ),
        kind if kind.ends_with("QuiesceFault") => (
            "vsphere.quiesce_failed",
            "Take the snapshot without `quiesce`, or mend VMware Tools in the guest",
        ),
        "SnapshotFault"
        | "TooManySnapshotLevels"
        | "MultipleSnapshotsNotSupported"
        | "SnapshotIncompatibleDeviceInVm" => (
            "vsphere.snapshot_fault",
            "Look at the VM's disks and snapshots",
        ),
        _ => ("vsphere.fault", "Look at the fault"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c11_the_faults_that_callers_meet_have_codes_of_their_own() {
        for (kind, code) in [
            ("TaskInProgress", "vsphere.busy"),
            ("NoPermission", "vsphere.no_permission"),
            ("InvalidPowerState", "vsphere.invalid_power_state"),
            (
                "InsufficientMemoryResourcesFault",
                "vsphere.insufficient_resources",
            ),
            ("ApplicationQuiesceFault", "vsphere.quiesce_failed"),
            ("SomethingOfTomorrow", "vsphere.fault"),
        ] {
            assert_eq!(meaning(kind).0, code);
        }
    }
}
