//! One child process and its group: start, standard error, end.
//!
//! A task of its own waits for the child, so a companion that dies leaves no zombie even when
//! nobody needs it any more; and the whole process group goes with its leader, so a wrapper's
//! children do not stay behind.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::scrub::Scrub;

/// How many lines of standard error are remembered.
const TAIL_LINES: usize = 8;

/// How many characters of each.
const TAIL_CHARS: usize = 300;

/// A longer line is cut before it is looked at, in bytes.
const LINE_BYTES: usize = 4 * 1024;

/// What the kernel may take to hand over a killed process.
const REAP: Duration = Duration::from_secs(2);

/// What is started.
pub(crate) struct Launch {
    /// For the log.
    pub(crate) skill: String,
    /// The resolved program.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// All of its environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Cleans what it says.
    pub(crate) scrub: Scrub,
}

/// A running child. Dropping it kills the group.
pub(crate) struct Process {
    stop: mpsc::Sender<Duration>,
    exit: watch::Receiver<Option<String>>,
    tail: Arc<Tail>,
    drained: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Process {
    /// Starts the child in a process group of its own.
    ///
    /// # Errors
    /// The system's, e.g. that there is no such program.
    pub(crate) fn start(launch: &Launch) -> io::Result<(Self, ChildStdin, ChildStdout)> {
        let mut child = Command::new(&launch.program)
            .args(&launch.args)
            .env_clear()
            .envs(launch.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            // The lock of `owners/` goes with it, being left open on purpose: by it a successor of
            // this process can tell that an orphan may still be at work.
            .spawn()?;
        home::crash::point("companions.started");
        let broken = || io::Error::other("a pipe is missing");
        let stdin = child.stdin.take().ok_or_else(broken)?;
        let stdout = child.stdout.take().ok_or_else(broken)?;
        let stderr = child.stderr.take().ok_or_else(broken)?;
        // The group bears the number of its leader (`process_group(0)`).
        let group = child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .ok_or_else(broken)?;

        let tail = Arc::new(Tail::default());
        let drained = tokio::spawn(drain(
            stderr,
            launch.skill.clone(),
            launch.scrub.clone(),
            tail.clone(),
        ));
        let (stop, asked) = mpsc::channel(1);
        let (ended, exit) = watch::channel(None);
        tokio::spawn(supervise(child, group, asked, ended));
        let drained = tokio::sync::Mutex::new(Some(drained));
        Ok((
            Self {
                stop,
                exit,
                tail,
                drained,
            },
            stdin,
            stdout,
        ))
    }

    /// How it ended, if it did: `exit code 3`.
    pub(crate) fn exited(&self) -> Option<String> {
        self.exit.borrow().clone()
    }

    /// Resolves when it has ended and was reaped.
    pub(crate) async fn wait(&self) -> String {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(status) => status.clone().unwrap_or_default(),
            // The runtime is going down.
            Err(_) => "its end was not seen".to_owned(),
        }
    }

    /// Its last lines of standard error, sanitised; empty when it said nothing. Waits a moment
    /// for what is still in the pipe.
    pub(crate) async fn last_words(&self) -> String {
        let mut drained = self.drained.lock().await;
        if let Some(draining) = drained.as_mut()
            && timeout(Duration::from_millis(500), draining).await.is_ok()
        {
            *drained = None;
        }
        self.tail.text()
    }

    /// As [`Process::last_words`], without waiting.
    pub(crate) fn words_so_far(&self) -> String {
        self.tail.text()
    }

    /// Waits for a child whose standard input was closed; then asks it by signal, then kills it.
    /// All within about `bound`.
    pub(crate) async fn stop(&self, bound: Duration) {
        // Full or closed: somebody else asked already, or it has ended.
        let _ = self.stop.try_send(bound);
        let _ = timeout(bound + REAP, self.wait()).await;
        if let Some(drained) = self.drained.lock().await.take() {
            drained.abort();
        }
    }
}

/// Waits for the child, reaps it, and takes its group down with it.
async fn supervise(
    mut child: Child,
    group: Pid,
    mut asked: mpsc::Receiver<Duration>,
    ended: watch::Sender<Option<String>>,
) {
    let status = tokio::select! {
        status = child.wait() => status,
        bound = asked.recv() => end(&mut child, group, bound.unwrap_or_default()).await,
    };
    // The number of the group is free for others once its last member is gone; the kernel
    // counts through all of them before it uses one again.
    let _ = kill_process_group(group, Signal::KILL);
    let _ = ended.send(Some(status.map_or_else(|error| error.to_string(), words)));
}

async fn end(child: &mut Child, group: Pid, bound: Duration) -> io::Result<ExitStatus> {
    if let Ok(status) = timeout(bound / 2, child.wait()).await {
        return status;
    }
    if !bound.is_zero() {
        let _ = kill_process_group(group, Signal::TERM);
        if let Ok(status) = timeout(bound / 2, child.wait()).await {
            return status;
        }
    }
    let _ = kill_process_group(group, Signal::KILL);
    match timeout(REAP, child.wait()).await {
        Ok(status) => status,
        Err(_) => Err(io::Error::other("it does not go away")),
    }
}

fn words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit code".to_owned(),
    }
}

/// The last lines of standard error.
#[derive(Default)]
struct Tail {
    lines: Mutex<VecDeque<String>>,
}

impl Tail {
    fn push(&self, line: String) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn text(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // The last words matter most, so what is too long is cut at the front.
        let mut text = String::new();
        for line in lines.iter().rev() {
            if !text.is_empty() && text.chars().count() + line.chars().count() > TAIL_CHARS {
                break;
            }
            text = if text.is_empty() {
                line.clone()
            } else {
                format!("{line} | {text}")
            };
        }
        text
    }
}

async fn drain(stderr: impl AsyncRead + Unpin, skill: String, scrub: Scrub, tail: Arc<Tail>) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        let Ok(bytes) = reader.fill_buf().await else {
            return;
        };
        let (taken, whole) = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (bytes.len(), bytes.is_empty()),
        };
        let room = LINE_BYTES.saturating_sub(line.len());
        line.extend_from_slice(&bytes[..taken.min(room)]);
        reader.consume(taken);
        if whole {
            let text = scrub.text_to(&String::from_utf8_lossy(&line), TAIL_CHARS);
            line.clear();
            if !text.is_empty() {
                tracing::debug!(target: "companion", skill, "{text}");
                tail.push(text);
            }
            if taken == 0 {
                return;
            }
        }
    }
}
