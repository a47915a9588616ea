//! The command line: the server, connection profiles and pins by hand, the audit trail, and the
//! reference of all actions.
//!
//! A password is asked for in a terminal, or read from standard input when that is none.
//! There is no argument for it: arguments are seen by everyone on the machine.

mod audit;
mod pins;

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use guard::secret::Secret;

use crate::action::{OnChangedCertificate, Pinned};
use crate::failure::Failure;
use crate::mcp;
use crate::profile::{Profile, ProfileKind};
use crate::program::Program;
use crate::reference;
use crate::table::Mode;

/// How long a command waits for a server.
const PATIENCE: Duration = Duration::from_secs(30);

/// The largest file of certificate authorities, in bytes.
const LARGEST_CA: u64 = 256 * 1024;

/// The longest password that is read.
const LONGEST: u64 = 4_096;

/// vSphere for agents: one tool, one action per call, no session kept.
#[derive(Debug, Parser)]
#[command(name = "vmware-control", version)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve MCP on standard input and output
    Mcp {
        /// Offer nothing that changes anything, and refuse it if it is called
        #[arg(long)]
        read_only: bool,
    },
    /// Connection profiles, encrypted on this machine
    #[command(subcommand)]
    Credential(Credential),
    /// Certificates that were seen before, by server
    #[command(subcommand)]
    Pins(pins::Pins),
    /// The record of every call
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Print the reference of all actions, as Markdown
    Actions,
}

#[derive(Debug, Subcommand)]
enum Credential {
    /// Save a profile; asks for the password, or reads it from standard input
    Save {
        /// The profile's name
        name: String,
        /// vCenter or ESXi host
        #[arg(long)]
        host: String,
        /// User, e.g. name@vsphere.local
        #[arg(long)]
        user: String,
        /// HTTPS port
        #[arg(long, default_value_t = crate::connection::PORT)]
        port: u16,
        /// Verify the certificate against the system's authorities instead of pinning it
        #[arg(long)]
        verify_ssl: bool,
        /// Believe the certificate authorities in this PEM file as well, for this profile
        #[arg(long, value_name = "FILE")]
        ca_file: Option<PathBuf>,
        /// Pin the certificate that the server shows now, even if another one is pinned
        #[arg(long)]
        accept_new_certificate: bool,
        /// An account within the guests of that host, for `guest_run`; not one of the host itself
        #[arg(long, conflicts_with_all = ["verify_ssl", "accept_new_certificate"])]
        guest: bool,
    },
    /// Show all profiles; never a password
    List,
    /// Log in with a profile, and out again
    Check {
        /// The profile's name
        name: String,
    },
    /// Delete a profile
    Delete {
        /// The profile's name
        name: String,
    },
}

/// Runs what the command line says.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let line = Line::parse();
    // A call waits for its server most of the time. A second worker would make it wait for threads to
    // be woken, and hold memory of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let code = runtime.block_on(async {
        match line.command {
            Command::Mcp { read_only } => {
                let mode = if read_only {
                    Mode::ReadOnly
                } else {
                    Mode::Full
                };
                mcp::serve(mode).await.map(|()| ExitCode::SUCCESS)
            }
            Command::Credential(command) => {
                Ok(told(async |program| credential(program, command).await).await)
            }
            Command::Pins(command) => {
                Ok(told(async |program| pins::perform(program, command)).await)
            }
            Command::Audit(command) => Ok(told(async |_| audit::perform(&command)).await),
            Command::Actions => {
                // A closed standard output is nobody's error.
                let _ = write!(std::io::stdout(), "{}", reference::markdown());
                Ok(ExitCode::SUCCESS)
            }
        }
    })?;
    // A thread that still waits for standard input must not hold up the end.
    runtime.shutdown_background();
    Ok(code)
}

/// Does what a command says, and tells what came of it.
async fn told(work: impl AsyncFnOnce(&Program) -> Result<String, Failure>) -> ExitCode {
    let program = Program::from_environment(Mode::Full);
    let result = work(&program).await;
    program.end().await;
    match result {
        Ok(text) => {
            // A closed standard output is nobody's error.
            let _ = writeln!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let _ = writeln!(
                std::io::stderr(),
                "error: {} ({})",
                failure.message(),
                failure.code()
            );
            ExitCode::FAILURE
        }
    }
}

async fn credential(program: &Program, command: Credential) -> Result<String, Failure> {
    let local = program.local()?;
    match command {
        Credential::Save {
            name,
            host,
            user,
            port,
            verify_ssl,
            ca_file,
            accept_new_certificate,
            guest,
        } => {
            let exists = local.profiles.exists(&name)?;
            for (what, text) in [("host", &host), ("user", &user)] {
                if text.is_empty() || !guard::text::is_clean(text) {
                    return Err(Failure::new(
                        "argument.unclean",
                        format!(
                            "Correct `--{what}`: it is empty, or holds control or invisible characters"
                        ),
                    ));
                }
            }
            let ca = ca_file.as_deref().map(authorities).transpose()?;
            let password = ask(&user, &host)?;
            let kind = if guest {
                ProfileKind::Guest
            } else {
                ProfileKind::Server
            };
            let profile = Profile {
                kind,
                host,
                port,
                user,
                password,
                verify_ssl,
                ca,
            };
            let saved = if exists { "Replaced" } else { "Saved" };
            if guest {
                local.store_guest(&name, &profile).await?;
                return Ok(format!(
                    "{saved} profile `{name}`: {} in the guests of {}:{port}",
                    profile.user, profile.host
                ));
            }
            let on_changed = if accept_new_certificate {
                OnChangedCertificate::Replace
            } else {
                OnChangedCertificate::Refuse
            };
            let pinned = local.store(&name, &profile, on_changed, PATIENCE).await?;
            Ok(format!(
                "{saved} profile `{name}`: {}@{}:{}\n{}",
                profile.user,
                profile.host,
                port,
                said(&pinned)
            ))
        }
        Credential::List => {
            let rows = local.rows().await?;
            if rows.is_empty() {
                return Ok("No profiles. Save one: vmware-control credential save NAME --host HOST --user USER".to_owned());
            }
            let lines: Vec<String> = rows.iter().map(line).collect();
            Ok(lines.join("\n"))
        }
        Credential::Check { name } => {
            let answer = local.try_login(&name, PATIENCE).await?;
            let text = |field: &str| {
                answer
                    .get(field)
                    .and_then(serde_json::Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            Ok(format!(
                "Logged in to {} as {} ({}) and out again",
                text("host"),
                text("user"),
                text("product")
            ))
        }
        Credential::Delete { name } => {
            if local.profiles.delete(&name)? {
                Ok(format!("Deleted profile `{name}`"))
            } else {
                Ok(format!("There is no profile `{name}`"))
            }
        }
    }
}

/// Certificate authorities in PEM, from a file.
fn authorities(path: &Path) -> Result<String, Failure> {
    let refuse = |why: String| {
        Failure::new(
            "certificate.authority",
            format!(
                "Give `--ca-file` a file of certificate authorities in PEM, of at most {LARGEST_CA} bytes: `{}`: {why}",
                path.display()
            ),
        )
    };
    let file = std::fs::File::open(path).map_err(|error| refuse(error.to_string()))?;
    let mut text = String::new();
    std::io::Read::take(file, LARGEST_CA + 1)
        .read_to_string(&mut text)
        .map_err(|error| refuse(error.to_string()))?;
    if text.len() as u64 > LARGEST_CA {
        return Err(refuse("it is larger".to_owned()));
    }
    vsphere::CaBundle::from_pem(text.as_bytes()).map_err(|error| refuse(error.to_string()))?;
    Ok(text)
}

/// The password, from the terminal without echo, or the first line of standard input.
fn ask(user: &str, host: &str) -> Result<Secret, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::new(
            "password.unreadable",
            format!("Type or pipe the password again: {error}"),
        )
    };
    let stdin = std::io::stdin();
    let password = if stdin.is_terminal() {
        Secret::new(
            rpassword::prompt_password(format!("Password of {user} on {host}: "))
                .map_err(unreadable)?,
        )
    } else {
        let mut text = zeroize::Zeroizing::new(String::with_capacity(LONGEST as usize + 2));
        let mut limited = std::io::Read::take(stdin.lock(), LONGEST + 2);
        limited.read_line(&mut text).map_err(unreadable)?;
        Secret::new(text.trim_end_matches(['\r', '\n']).to_owned())
    };
    if password.is_empty() {
        return Err(Failure::new(
            "password.missing",
            "Type the password, or pipe it into standard input: it is empty",
        ));
    }
    if password.expose().len() as u64 > LONGEST || !guard::text::is_clean(password.expose()) {
        return Err(Failure::new(
            "password.unusable",
            "Use another password: it is too long, or holds characters that a server cannot be sent",
        ));
    }
    Ok(password)
}

fn said(pinned: &Pinned) -> String {
    match pinned {
        Pinned::Unreachable(reason) => {
            format!("Nothing was pinned: the server could not be reached: {reason}")
        }
        Pinned::Verified {
            seen,
            problem: None,
        } => format!("The certificate verifies: {seen}"),
        Pinned::Verified {
            seen,
            problem: Some(problem),
        } => {
            format!("The certificate does NOT verify, so logins will be refused: {seen}: {problem}")
        }
        Pinned::Pin { seen, before: None } => {
            format!("Pinned certificate (SHA-256), compare it with the server's:\n  {seen}")
        }
        Pinned::Pin {
            seen,
            before: Some(before),
        } => {
            format!(
                "Pinned a NEW certificate (SHA-256), compare it with the server's:\n  {seen}\nin place of\n  {before}"
            )
        }
    }
}

fn line(row: &serde_json::Value) -> String {
    let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
    if let Some(error) = row["error"].as_str() {
        return format!("{}\tcannot be loaded: {error}", text("name"));
    }
    let verify = if row["kind"] == "guest" {
        "in guests"
    } else if row["verify_ssl"] == true {
        "verified"
    } else {
        "pinned"
    };
    format!(
        "{}\t{}@{}:{}\t{verify}",
        text("name"),
        text("user"),
        text("host"),
        row["port"]
    )
}
