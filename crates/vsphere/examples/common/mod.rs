//! What the examples have in common: their arguments, what they read, and their memory.

use std::error::Error;
use std::fs;

use guard::secret::Secret;

/// The properties that are read of every VM.
pub(crate) const PROPERTIES: &[&str] = &[
    "name",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.host",
    "summary.config.numCpu",
    "summary.config.memorySizeMB",
    "summary.config.guestFullName",
    "summary.config.uuid",
    "summary.config.instanceUuid",
    "summary.config.vmPathName",
    "guest.toolsRunningStatus",
    "summary.storage.committed",
];

/// How a server is reached.
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: Secret,
    /// The arguments after those.
    pub(crate) rest: Vec<String>,
}

impl Place {
    /// `HOST PORT USER PASSWORD-FILE …`: a password has no place on a command line.
    pub(crate) fn of_the_command_line() -> Result<Self, Box<dyn Error>> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let [host, port, user, password, rest @ ..] = arguments.as_slice() else {
            return Err("pass HOST PORT USER PASSWORD-FILE first".into());
        };
        Ok(Self {
            host: host.clone(),
            port: port.parse()?,
            user: user.clone(),
            password: Secret::new(fs::read_to_string(password)?.trim_end().to_owned()),
            rest: rest.to_vec(),
        })
    }
}

/// The most memory that this process held so far, in kB, as the kernel counts.
pub(crate) fn peak_kb() -> Option<u64> {
    fs::read_to_string("/proc/self/status")
        .ok()?
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB"))?
        .trim()
        .parse()
        .ok()
}
