//! A companion between `pilot` and the real one, which lets everything through, and holds back one
//! answer where a file asks for it: the change is done by then, and `pilot` does not know yet. So
//! a kill can be between the two every time, and not only when the moment is lucky.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// How often the file is looked at while an answer is held.
const POLL: Duration = Duration::from_millis(5);

/// Arguments of `cargo xtask relay`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file that names the action whose answer is held for as long as the file is there.
    hold: PathBuf,
    /// The real companion, and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Beside the file that asks: says that an answer is being held.
pub(super) fn held(hold: &Path) -> PathBuf {
    hold.with_extension("held")
}

/// Relays until either side ends.
pub(crate) fn run(args: &Args) -> Result<()> {
    let (program, rest) = args.command.split_first().context("no program to relay")?;
    let mut child = Command::new(program)
        .args(rest)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start {program}"))?;
    let mut to = child.stdin.take().context("no standard input")?;
    let from = BufReader::new(child.stdout.take().context("no standard output")?);

    let ended = Arc::new(AtomicBool::new(false));
    let wanted = Arc::new(Mutex::new(Value::Null));
    let (end, id, hold) = (Arc::clone(&ended), Arc::clone(&wanted), args.hold.clone());
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if let Some(found) = change(&line, &hold) {
                *id.lock().unwrap_or_else(PoisonError::into_inner) = found;
            }
            if writeln!(to, "{line}").is_err() {
                break;
            }
        }
        // Our input has ended, and with `to` so does that of the child.
        end.store(true, Ordering::SeqCst);
    });

    let mut out = std::io::stdout().lock();
    for line in from.lines() {
        let line = line.context("could not read what the companion says")?;
        let asked = wanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if !asked.is_null() && answers(&line, &asked) {
            fs::write(held(&args.hold), "").context("could not say that an answer is held")?;
            while args.hold.exists() && !ended.load(Ordering::SeqCst) {
                thread::sleep(POLL);
            }
        }
        // Nobody may be there any more to hear it; the child is still waited for.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
    child.wait().context("could not wait for the companion")?;
    Ok(())
}

/// The id of a request to make the change whose answer is to be held.
fn change(line: &str, hold: &Path) -> Option<Value> {
    let action = fs::read_to_string(hold).ok()?;
    let request: Value = serde_json::from_str(line).ok()?;
    let arguments = &request["params"]["arguments"];
    let sent = request["method"] == "tools/call"
        && arguments["action"] == action.as_str()
        && arguments["preview"] != true;
    sent.then(|| request["id"].clone())
}

/// Whether a line is the answer to that request.
fn answers(line: &str, id: &Value) -> bool {
    serde_json::from_str::<Value>(line)
        .is_ok_and(|message| message["id"] == *id && message.get("method").is_none())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use anyhow::Result;
    use serde_json::json;

    use super::{answers, change};

    #[test]
    fn only_the_change_that_was_named_is_held_and_only_while_the_file_is_there() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let hold = dir.path().join("hold");
        let call = |arguments| {
            json!({"id": 7, "method": "tools/call", "params": {"arguments": arguments}}).to_string()
        };
        let sent = call(json!({"action": "reset"}));
        assert_eq!(change(&sent, &hold), None);
        fs::write(&hold, "reset")?;
        assert_eq!(change(&sent, &hold), Some(json!(7)));
        let preview = call(json!({"action": "reset", "preview": true}));
        assert_eq!(change(&preview, &hold), None);
        assert_eq!(change(&call(json!({"action": "get_vm"})), &hold), None);
        assert!(answers(r#"{"id": 7, "result": {}}"#, &json!(7)));
        assert!(!answers(r#"{"id": 8, "result": {}}"#, &json!(7)));
        assert!(!answers(r#"{"id": 7, "method": "ping"}"#, &json!(7)));
        Ok(())
    }
}
