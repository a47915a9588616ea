//! The stable codes of the failures that a caller of `vmware_control` meets beside those of
//! `policy`, with what each means. Each has a page in `docs/errors/`.

/// Code and meaning, sorted by code.
pub(crate) const TABLE: &[(&str, &str)] = &[
    ("action.missing", "a call does not say what to do"),
    (
        "action.read_only",
        "a change was asked of a server that was started read-only",
    ),
    ("action.unknown", "an action was named that does not exist"),
    ("action.wrong_type", "the action is not a string"),
    ("alarm.not_found", "an alarm was named that is not raised"),
    (
        "answer.too_large",
        "an answer does not fit into the largest answer allowed",
    ),
    (
        "argument.conflict",
        "arguments were passed that exclude each other",
    ),
    (
        "argument.missing",
        "an argument that the action needs was not passed",
    ),
    (
        "argument.not_taken",
        "an argument was passed that this action does not take",
    ),
    (
        "argument.out_of_range",
        "an argument has the right type and a value that is not allowed",
    ),
    (
        "argument.too_long",
        "a text argument is longer than any such value can be",
    ),
    (
        "argument.unclean",
        "a value holds a character that sanitising would strip",
    ),
    (
        "argument.unknown",
        "an argument was passed that the tool does not have",
    ),
    (
        "argument.wrong_type",
        "an argument is of another type than the tool takes",
    ),
    (
        "attribute.unknown",
        "a custom attribute was named that the vCenter does not have",
    ),
    (
        "audit.missing",
        "there is no audit trail yet, or it is no longer there",
    ),
    ("call.cancelled", "the client cancelled the call"),
    ("call.timeout", "a call did not end within its time"),
    (
        "certificate.authority",
        "the given certificate authorities cannot be read",
    ),
    (
        "certificate.changed",
        "a server shows another certificate than the pinned one",
    ),
    (
        "certificate.untrusted",
        "a certificate does not verify, and was to be verified",
    ),
    (
        "certificate.unusable",
        "a certificate proves nothing, pinned or not",
    ),
    (
        "connection.invalid_host",
        "host or port cannot be used as an address",
    ),
    ("connection.lost", "the connection broke during a call"),
    ("connection.missing_host", "it is not said which server"),
    ("connection.missing_password", "there is no password"),
    ("connection.missing_user", "it is not said as whom"),
    ("cursor.invalid", "a cursor is none that was given out"),
    (
        "cursor.other_list",
        "a cursor was given out for another list",
    ),
    (
        "datastore.no_such_folder",
        "there is no such folder on the datastore",
    ),
    (
        "datastore.not_accessible",
        "the server cannot read the datastore now",
    ),
    (
        "datastore.unusable",
        "nothing can be put on a datastore now",
    ),
    (
        "device.ambiguous",
        "more than one device fits what was named",
    ),
    (
        "device.has_snapshots",
        "a disk cannot be changed while the VM has snapshots",
    ),
    ("device.linked", "a disk stands on the disk of another VM"),
    (
        "device.no_free_unit",
        "no controller of the VM has room for another disk",
    ),
    ("device.not_found", "the VM has no such device"),
    (
        "field.unknown",
        "a property path that the objects do not have, or not in this version of the API",
    ),
    (
        "filter.unknown",
        "a list was to be narrowed by something that it does not have",
    ),
    ("guest.login_refused", "the guest refused its account"),
    ("guest.not_ready", "a guest takes no guest operations now"),
    (
        "guest.process_lost",
        "a guest no longer knows a process that was started in it",
    ),
    (
        "guest.program_failed",
        "a program ran in a guest and ended with an exit code other than 0",
    ),
    (
        "harm.found",
        "something hangs on the object that the change would do harm to",
    ),
    (
        "host.http",
        "the server answered with an HTTP status that is no answer",
    ),
    (
        "host.in_maintenance",
        "a host in maintenance mode takes no VMs",
    ),
    (
        "host.managed",
        "an ESXi host belongs to a vCenter, and a change was asked of the host itself",
    ),
    ("host.no_tls", "no TLS connection came about"),
    ("host.not_vsphere", "what answers is no vSphere server"),
    ("host.unreachable", "the server cannot be reached"),
    (
        "host.vsan_mode_missing",
        "it is not said what becomes of a host's vSAN data",
    ),
    (
        "internal.error",
        "a part of the program was used in a way that it should not",
    ),
    (
        "internal.panic",
        "a tool failed in a way that it should not",
    ),
    ("login.lost", "the answer to a login was lost"),
    ("login.refused", "the server refused user and password"),
    (
        "network.unusable",
        "a network is none that VMs are connected to",
    ),
    (
        "object.ambiguous",
        "several objects beside VMs fit what was named",
    ),
    (
        "object.not_found",
        "there is no such host, datastore, cluster, network, pool, folder or datacenter",
    ),
    ("password.missing", "no password was typed or piped in"),
    ("password.unreadable", "the password cannot be read"),
    (
        "password.unusable",
        "the password cannot be sent to a server",
    ),
    ("pins.damaged", "the file of certificate pins is damaged"),
    (
        "pins.not_known_hosts",
        "a file to be imported holds a line that is no server with a thumbprint",
    ),
    ("pins.unreadable", "a file to be imported cannot be read"),
    (
        "platform.unsupported",
        "an action was called on a standalone host that only a vCenter has",
    ),
    (
        "profile.altered",
        "a profile was changed after it was saved",
    ),
    (
        "profile.damaged",
        "a profile's file is cut short or no profile",
    ),
    ("profile.invalid_name", "a profile's name cannot be used"),
    ("profile.key_damaged", "the key of the profiles is damaged"),
    (
        "profile.key_missing",
        "the key of the profiles is not there",
    ),
    (
        "profile.key_source",
        "the environment names two keys for the profiles",
    ),
    ("profile.not_deleted", "a profile cannot be deleted"),
    ("profile.not_found", "there is no profile of that name"),
    ("profile.not_sealed", "a profile cannot be encrypted"),
    (
        "profile.other_host",
        "a stored password would go to another server",
    ),
    (
        "profile.passphrase",
        "the passphrase that profiles are encrypted with cannot be used",
    ),
    (
        "profile.swapped",
        "a profile's file lies under another name",
    ),
    ("profile.unreadable", "the profiles cannot be listed"),
    (
        "profile.verify_ssl_loosened",
        "a call would verify less than its profile",
    ),
    (
        "profile.version",
        "a profile was written by another version",
    ),
    (
        "profile.wrong_key",
        "a profile was encrypted with another key",
    ),
    (
        "profile.wrong_kind",
        "a profile holds an account of another kind than is needed",
    ),
    (
        "question.other",
        "a VM asks another question than the one that was answered",
    ),
    ("request.key", "a request's key is not one"),
    ("request.target", "a request's target is not one"),
    ("snapshot.ambiguous", "several snapshots fit"),
    (
        "snapshot.missing_identifier",
        "it is not said which snapshot",
    ),
    ("snapshot.not_found", "there is no such snapshot"),
    (
        "snapshot.unsupported",
        "no snapshot of the VM can be taken as it is now",
    ),
    (
        "sort.unknown",
        "a list was to be sorted by a column that it does not have",
    ),
    ("target.changed", "the object is not the one that was meant"),
    ("task.lost", "nobody knows how a task ended"),
    (
        "task.not_cancelable",
        "the server says that a task cannot be cancelled",
    ),
    ("task.not_found", "the server knows no such task"),
    ("task.running", "a task was started and has not ended yet"),
    ("vm.ambiguous", "several VMs fit"),
    ("vm.changed_since", "a VM was changed meanwhile"),
    (
        "vm.identifiers_disagree",
        "several identifiers name different VMs",
    ),
    ("vm.missing_identifier", "it is not said which VM"),
    (
        "vm.not_a_template",
        "a VM was to be deployed from, and is no template",
    ),
    ("vm.not_connected", "a VM's host is not connected"),
    ("vm.not_found", "there is no such VM"),
    ("vm.question", "a VM waits for an answer"),
    ("vm.unreadable", "a VM's values cannot be read"),
    ("vsphere.absent", "the server does not have what is needed"),
    (
        "vsphere.already_exists",
        "what was to be made is there already",
    ),
    ("vsphere.busy", "another task is at work on the object"),
    (
        "vsphere.concurrent_access",
        "someone else changed the VM at the same moment",
    ),
    (
        "vsphere.duplicate_name",
        "another object in the folder bears the name",
    ),
    (
        "vsphere.error",
        "something went wrong with the server that has no code of its own",
    ),
    (
        "vsphere.fault",
        "the server refused with a fault that has no code of its own",
    ),
    ("vsphere.file_locked", "a file of the VM is locked"),
    (
        "vsphere.file_not_found",
        "the server finds no such file or datastore",
    ),
    ("vsphere.host_not_connected", "the host is not connected"),
    (
        "vsphere.hot_plug_not_supported",
        "this cannot be changed while the VM runs",
    ),
    (
        "vsphere.insufficient_resources",
        "a host or pool has too little CPU or memory",
    ),
    ("vsphere.invalid_argument", "the server refused a value"),
    ("vsphere.invalid_name", "the server refused a name"),
    (
        "vsphere.invalid_power_state",
        "the power state does not allow this",
    ),
    (
        "vsphere.invalid_state",
        "the object's state does not allow this",
    ),
    (
        "vsphere.lost_answer",
        "the answer to a change was lost, and what came of it cannot be told",
    ),
    (
        "vsphere.method_disabled",
        "something has disabled this on the object",
    ),
    (
        "vsphere.migration_fault",
        "the VM cannot go where it was to go",
    ),
    ("vsphere.no_disk_space", "a datastore is full"),
    (
        "vsphere.no_permission",
        "the user lacks a privilege on the server",
    ),
    ("vsphere.not_authenticated", "the server ended the session"),
    ("vsphere.not_supported", "the server cannot do this"),
    ("vsphere.object_gone", "the object is no longer there"),
    ("vsphere.quiesce_failed", "the guest could not be quiesced"),
    (
        "vsphere.restricted_licence",
        "the host's licence refuses changes",
    ),
    (
        "vsphere.snapshot_fault",
        "a snapshot could not be taken or used",
    ),
    ("vsphere.task_cancelled", "someone cancelled the task"),
    (
        "vsphere.tools_unavailable",
        "VMware Tools do not run in the guest",
    ),
];

/// Whether the code is listed here, or is one of the state directory's own.
pub(crate) fn is_known(code: &str) -> bool {
    code.starts_with("home.")
        || TABLE
            .binary_search_by_key(&code, |(listed, _)| listed)
            .is_ok()
}

#[cfg(test)]
mod tests {
    use super::TABLE;

    #[test]
    fn c11_codes_are_sorted_and_unique_so_that_they_are_found() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (code, meaning) in TABLE {
            assert!(super::is_known(code) && !meaning.is_empty());
        }
    }
}
