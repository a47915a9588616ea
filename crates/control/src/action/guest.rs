//! guest_run, guest_list_processes: programs within a guest, by an account of the guest's own.

use std::collections::HashMap;
use std::time::Duration;

use policy::answer::ErrorEffect;
use serde_json::{Map, Value, json};
use vsphere::{Fingerprint, GuestAccount, GuestProgram, MoRef};

use crate::call::Call;
use crate::change::{self, Deed, Done, Plan, Undo};
use crate::failure::Failure;
use crate::fault;
use crate::listing::Listing;
use crate::machine::{Machine, reread};

const READY: &str = "guest.guestOperationsReady";
const FAMILY: &str = "guest.guestFamily";

/// How much of what a program wrote is fetched, in bytes.
const FETCHED: i64 = 4 << 20;

/// How much of it is shown: lines, and characters of all of them.
const LINES: usize = 1_000;
const CHARACTERS: usize = 50_000;

/// How often a process is looked at: quickly at first, then patiently.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const SLOWEST_LOOK: Duration = Duration::from_secs(2);

/// How long the end of a capture may take beyond the program's own.
const TIDY: Duration = Duration::from_secs(2);

fn account<'a>(call: &Call<'a>) -> Result<&'a GuestAccount, Failure> {
    call.guest.ok_or_else(|| {
        Failure::new(
            "argument.missing",
            "Pass `guest_profile`: an account within the guest, saved with `vmware-control credential save NAME --guest`",
        )
        .with("argument", "guest_profile")
    })
}

/// Why the guest would not be asked now.
fn unready(machine: &Machine) -> Option<Failure> {
    machine.unfit().or_else(|| {
        (!machine.flag(READY)).then(|| {
            Failure::new(
                "guest.not_ready",
                format!(
                    "Start the VM and VMware Tools in its guest, and wait until they have come up: it is {} and takes no guest operations now",
                    machine.power_state()
                ),
            )
        })
    })
}

/// A process (`GuestProcessInfo`) as it is shown.
fn process_row(process: &vsphere::Value) -> Value {
    let text = |name: &str, longest| {
        let text = process.text_at(name).filter(|text| !text.is_empty());
        text.map(|text| guard::text::sanitize_to(text, longest))
    };
    let whole = |name: &str| process.get(name).and_then(vsphere::Value::as_i64);
    let mut row = Map::new();
    for (name, value) in [
        ("pid", json!(whole("pid"))),
        ("name", json!(text("name", 255))),
        ("owner", json!(text("owner", 255))),
        ("command", json!(text("cmdLine", 500))),
        ("started", json!(text("startTime", 40))),
        ("ended", json!(text("endTime", 40))),
        ("exit_code", json!(whole("exitCode"))),
    ] {
        if !value.is_null() {
            row.insert(name.to_owned(), value);
        }
    }
    Value::Object(row)
}

/// The processes of a guest.
pub(crate) async fn processes(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let account = account(call)?;
    let machine = Machine::find(call, &[READY]).await?;
    if let Some(failure) = unready(&machine) {
        return Err(failure);
    }
    let all = call
        .session
        .guest_processes(&machine.reference, account, &[])
        .await
        .map_err(fault::failure)?;
    let rows: HashMap<String, Value> = all
        .iter()
        .map(|process| {
            let pid = process.get("pid").and_then(vsphere::Value::as_i64);
            (format!("{:020}", pid.unwrap_or(0)), process_row(process))
        })
        .collect();
    let keys = rows.keys().map(|pid| (pid.clone(), pid.clone())).collect();
    let listing = Listing::new(call, "processes", keys)?;
    let mut answer = listing.answer(|pid| rows.get(pid).cloned());
    answer.insert("target".to_owned(), machine.target(&call.server));
    Ok(answer)
}

/// Runs a program in a guest, and waits for its end.
pub(crate) async fn run(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let account = account(call)?;
    let machine = Machine::find(call, &[READY, FAMILY]).await?;
    let text = |name: &str| call.arguments.text(name).unwrap_or_default().to_owned();
    let program = GuestProgram {
        path: text("program"),
        arguments: text("program_arguments"),
        directory: call.arguments.text("directory").map(str::to_owned),
    };
    let shown = json!({
        "program": guard::text::sanitize(&program.path),
        "program_arguments": guard::text::sanitize(&program.arguments),
        "as": guard::text::sanitize(&account.user),
    });
    let mut warnings = machine.warnings();
    let is_windows = machine.object.text(FAMILY) == Some("windowsGuest");
    if !is_windows {
        warnings.push("On Linux a shell reads the arguments: what they hold of `$`, `;` or `*` means something to it".to_owned());
    }
    let plan = Plan {
        target: machine.target(&call.server),
        changed: true,
        before: Map::new(),
        after: Map::from_iter([("ran".to_owned(), json!(true))]),
        undo: Undo::none("What a program does in a guest is not known, and cannot be taken back"),
        verify: None,
        warnings,
        refusal: unready(&machine),
        extra: Map::from_iter([("runs".to_owned(), shown)]),
    };
    let deed = Start {
        machine: machine.reference,
        account,
        program,
        is_windows,
        capture: call.arguments.flag("capture"),
    };
    change::carry_out(call, plan, deed).await
}

struct Start<'a> {
    machine: MoRef,
    account: &'a GuestAccount,
    program: GuestProgram,
    is_windows: bool,
    capture: bool,
}

impl Deed for Start<'_> {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let (session, vm) = (call.session, &self.machine);
        let file = if self.capture {
            let made = session.guest_temporary_file(vm, self.account, "pilothouse-");
            Some(
                made.await
                    .map_err(|error| change::not_started(call, error))?,
            )
        } else {
            None
        };
        let result = self.start_and_wait(call, file.as_deref()).await;
        if let Some(file) = &file {
            let deleted = session.delete_guest_file(vm, self.account, file);
            let deleted = tokio::time::timeout(TIDY, deleted).await;
            if !matches!(deleted, Ok(Ok(()))) {
                tracing::warn!("a temporary file is left in the guest");
            }
        }
        result
    }
}

impl Start<'_> {
    /// The program with its output, and that of its errors, led into `file`.
    fn redirected(&self, file: Option<&str>) -> GuestProgram {
        let Some(file) = file else {
            return self.program.clone();
        };
        let GuestProgram {
            path, arguments, ..
        } = &self.program;
        let directory = self.program.directory.clone();
        if self.is_windows {
            // There is no shell by itself. `/s` takes off the outer quotes, and those alone.
            GuestProgram {
                path: "C:\\Windows\\System32\\cmd.exe".to_owned(),
                arguments: format!("/s /c \"\"{path}\" {arguments} > \"{file}\" 2>&1\""),
                directory,
            }
        } else {
            GuestProgram {
                path: path.clone(),
                arguments: format!("{arguments} > '{}' 2>&1", file.replace('\'', "'\\''")),
                directory,
            }
        }
    }

    async fn start_and_wait(&self, call: &Call<'_>, file: Option<&str>) -> Result<Done, Failure> {
        let program = self.redirected(file);
        call.sent.change("StartProgramInGuest");
        let pid = call
            .session
            .start_program(&self.machine, self.account, &program)
            .await
            .map_err(|error| change::not_started(call, error))?;
        let exit_code = self
            .exit_code(call, pid)
            .await
            .map_err(|failure| call.sent.mark(failure).with("pid", pid))?;
        let output = match file {
            Some(file) => Some(self.output(call, file).await),
            None => None,
        };
        let mut extra = Map::from_iter([
            ("pid".to_owned(), json!(pid)),
            ("exit_code".to_owned(), json!(exit_code)),
        ]);
        match output {
            Some(Ok(output)) => extra.extend(shown_output(&output)),
            // The program has run: that what it wrote cannot be had does not change that.
            Some(Err(failure)) => {
                extra.insert("output".to_owned(), Value::Null);
                let why = json!({ "code": failure.code(), "error": failure.message() });
                extra.insert("output_missing".to_owned(), why);
            }
            None => {}
        }
        if exit_code == 0 {
            return Ok(Done {
                extra,
                ..Done::default()
            });
        }
        let failure = Failure::new(
            "guest.program_failed",
            format!("Look at what the program says, with `capture`: it ran in the guest and ended with exit code {exit_code}"),
        )
        .leaving(ErrorEffect::Partial);
        Err(extra
            .into_iter()
            .fold(failure, |failure, (name, value)| failure.with(&name, value)))
    }

    /// Waits until the process has ended.
    async fn exit_code(&self, call: &Call<'_>, pid: i64) -> Result<i64, Failure> {
        let mut pause = FIRST_LOOK;
        loop {
            let found = call
                .session
                .guest_processes(&self.machine, self.account, &[pid])
                .await
                .map_err(fault::failure)?;
            let process = found
                .iter()
                .find(|one| one.get("pid").and_then(vsphere::Value::as_i64) == Some(pid))
                .ok_or_else(|| {
                    Failure::new(
                        "guest.process_lost",
                        "Look into the guest: it no longer knows the process that was started, nor how it ended",
                    )
                })?;
            if let Some(code) = process.get("exitCode").and_then(vsphere::Value::as_i64) {
                return Ok(code);
            }
            let left = call.left();
            if left.is_zero() {
                return Err(Failure::new(
                    "call.timeout",
                    "Look again with `guest_list_processes`, or pass a longer `timeout_s`: the program was started and has not ended; it was not stopped",
                ));
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(SLOWEST_LOOK);
        }
    }

    /// What the program wrote.
    async fn output(&self, call: &Call<'_>, file: &str) -> Result<Vec<u8>, Failure> {
        let session = call.session;
        let (size, url) = session
            .guest_file(&self.machine, self.account, file)
            .await
            .map_err(fault::failure)?;
        if size > FETCHED {
            return Err(Failure::new(
                "answer.too_large",
                format!(
                    "Let the program write less: it wrote {size} bytes, and at most {FETCHED} are fetched"
                ),
            ));
        }
        let pin = self.pin_of_host(call).await?;
        let limit = usize::try_from(FETCHED).unwrap_or(usize::MAX);
        session
            .fetch_guest_file(&url, pin, limit)
            .await
            .map_err(fault::failure)
    }

    /// The certificate of the host that the machine runs on, as the vCenter knows it.
    async fn pin_of_host(&self, call: &Call<'_>) -> Result<Option<Fingerprint>, Failure> {
        let at = reread(call.session, &self.machine, &["runtime.host"]).await?;
        let host = at
            .as_ref()
            .and_then(|object| object.get("runtime.host"))
            .and_then(vsphere::Value::as_moref);
        let Some(host) = host else {
            return Ok(None);
        };
        let object = reread(call.session, &host, &["config.certificate"]).await?;
        let certificate = object
            .as_ref()
            .and_then(|object| object.get("config.certificate"));
        Ok(certificate.and_then(|value| Fingerprint::of_pem(&bytes(value))))
    }
}

/// An `xsd:byte[]`: servers send each byte, signed, in an element of its own.
fn bytes(value: &vsphere::Value) -> Vec<u8> {
    if value.is_struct() {
        let bytes = value.items().filter_map(vsphere::Value::as_i64);
        // A byte below zero is the one above 127.
        return bytes.map(|byte| byte.rem_euclid(256) as u8).collect();
    }
    let text = value.text();
    if text.contains("-----BEGIN") {
        return text.as_bytes().to_vec();
    }
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text.trim())
        .unwrap_or_default()
}

/// What a program wrote, line by line, each sanitised.
fn shown_output(output: &[u8]) -> Map<String, Value> {
    let text = String::from_utf8_lossy(output);
    let mut lines = Vec::new();
    let mut left = CHARACTERS;
    let mut is_cut = false;
    for line in text.lines() {
        let line = guard::text::sanitize_to(line, left.min(4_000));
        if lines.len() == LINES || left == 0 {
            is_cut = true;
            break;
        }
        left -= line.chars().count();
        lines.push(line);
    }
    Map::from_iter([
        ("output".to_owned(), json!(lines)),
        ("output_bytes".to_owned(), json!(output.len())),
        ("output_truncated".to_owned(), json!(is_cut)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c12_output_is_shown_line_by_line_without_what_could_mislead() {
        let shown = shown_output("one\ntw\u{202e}o\u{1b}[1m\n\u{fffd}".as_bytes());
        assert_eq!(shown["output"], json!(["one", "two[1m", "\u{fffd}"]));
        assert_eq!(shown["output_truncated"], false);
        let long = "x\n".repeat(LINES + 1);
        let shown = shown_output(long.as_bytes());
        assert_eq!(shown["output"].as_array().map(Vec::len), Some(LINES));
        assert_eq!(shown["output_truncated"], true);
        let wide = format!("{}\n", "y".repeat(4_000)).repeat(20);
        assert_eq!(shown_output(wide.as_bytes())["output_truncated"], true);
    }
}
