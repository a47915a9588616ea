//! `vmware-control pins`: look at the certificates that are known, and bring some along.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use guard::text::sanitize;

use crate::failure::Failure;
use crate::pin::{Imported, endpoint_of, read_known_hosts};
use crate::program::Program;

/// The largest file that is imported, in bytes.
const LARGEST: u64 = 4 * 1024 * 1024;

/// What can be done with pins.
#[derive(Debug, Subcommand)]
pub(super) enum Pins {
    /// Show every server whose certificate is known
    List,
    /// Import the lines of govc's `known_hosts`; SHA-1 is compared with, and never pinned
    Import {
        /// As `~/.govmomi/known_hosts`
        file: PathBuf,
    },
    /// Forget a server: the next certificate that it shows is pinned as the first one seen
    Delete {
        /// As `vc.example` or `vc.example:8443`
        server: String,
    },
}

pub(super) fn perform(program: &Program, command: Pins) -> Result<String, Failure> {
    let pins = program.local()?.pins;
    match command {
        Pins::List => {
            let lines: Vec<String> = pins
                .all()?
                .into_iter()
                .map(|(server, hash, text)| format!("{server}\t{hash}\t{text}"))
                .collect();
            if lines.is_empty() {
                return Ok("No certificate is known yet.".to_owned());
            }
            Ok(lines.join("\n"))
        }
        Pins::Import { file } => {
            let lines = read_known_hosts(&text(&file)?)?;
            if lines.is_empty() {
                return Ok("There is no line in it; nothing was imported.".to_owned());
            }
            let said = lines.iter().zip(pins.import(&lines)?).map(|(line, done)| {
                let what = match done {
                    Imported::Pinned => "pinned",
                    Imported::Told => "SHA-1, compared with at the first contact",
                    Imported::Known => "known already",
                    Imported::Differs => {
                        "NOT imported: another one is known; if this is the right one, delete that first"
                    }
                };
                format!("{}\t{what}\t{}", line.endpoint, line.text())
            });
            Ok(said.collect::<Vec<_>>().join("\n"))
        }
        Pins::Delete { server } => {
            let Some(endpoint) = endpoint_of(&server) else {
                return Err(Failure::new(
                    "connection.invalid_host",
                    format!(
                        "Name the server as `pins list` shows it: `{}` is none",
                        sanitize(&server)
                    ),
                ));
            };
            Ok(if pins.forget(&endpoint.to_string())? {
                format!("Forgot {endpoint}")
            } else {
                format!("Nothing is known of {endpoint}")
            })
        }
    }
}

fn text(path: &Path) -> Result<String, Failure> {
    let unreadable = |why: String| {
        Failure::new(
            "pins.unreadable",
            format!(
                "Give a file of at most {LARGEST} bytes that you can read: `{}`: {why}",
                path.display()
            ),
        )
    };
    let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut text = String::new();
    file.take(LARGEST + 1)
        .read_to_string(&mut text)
        .map_err(|error| unreadable(error.to_string()))?;
    if text.len() as u64 > LARGEST {
        return Err(unreadable("it is larger".to_owned()));
    }
    Ok(text)
}
