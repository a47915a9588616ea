//! `vmware-control audit`: whether the record of the calls is whole.

use clap::Subcommand;
use home::Home;
use policy::audit::VerifyError;
use policy::audit_file::{AuditError, AuditFile};

use crate::failure::Failure;

/// What can be done with the audit trail.
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Check every row against the one before it, and its details against its hash
    Verify,
}

pub(super) fn perform(command: &Audit) -> Result<String, Failure> {
    let Audit::Verify = command;
    let home = Home::open_default(&|name| std::env::var_os(name))?;
    let path = home.control_audit_db();
    // Opening would make a new one, which is always whole.
    if !path.exists() {
        return Err(Failure::new(
            "audit.missing",
            format!(
                "Call the tool once if it was never called, else find out who removed `{}`: there is nothing to verify",
                path.display()
            ),
        ));
    }
    let failed = |error: AuditError| Failure::new(error.code(), error.to_string());
    let file = AuditFile::open(&home).map_err(failed)?;
    let head = file.verify().map_err(|error| match error {
        VerifyError::Read(error) => failed(error),
        VerifyError::Broken(broken) => Failure::new(
            "audit.corrupted",
            format!(
                "Keep a copy of `{}` and find out who changed it: {broken}",
                path.display()
            ),
        )
        .with("row", broken.seq),
    })?;
    Ok(format!(
        "The audit trail is whole: {} rows, the last with the hash\n  {}\nRows that were cut off at the end cannot be seen; compare with a number and hash noted down before.",
        head.seq, head.hash
    ))
}
