//! One running simulator.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use super::Certificate;

/// How long a simulator may take to say where it listens.
const START: Duration = Duration::from_secs(60);
/// How long it may take to tidy up after itself before it is killed.
const STOP: Duration = Duration::from_secs(3);
/// How often it is looked at meanwhile.
const POLL: Duration = Duration::from_millis(10);

/// A simulator that listens on a free port of this machine, over TLS with a
/// certificate of its own. It is stopped, and everything it wrote removed,
/// when this is dropped; it also stops by itself when this process dies in a
/// way that drops nothing, since its standard input ends then.
pub(crate) struct Vcsim {
    child: Child,
    host: String,
    port: u16,
    // Its TMPDIR, certificate and output. Removed last.
    dir: Option<TempDir>,
}

impl Vcsim {
    /// Starts `program` with further flags, such as `-vm 4`.
    pub(crate) fn start(program: &Path, flags: &[&str]) -> Result<Self> {
        Self::spawn(program, flags, false, START)
    }

    /// The same for an inventory that takes its time.
    pub(crate) fn start_within(program: &Path, flags: &[&str], limit: Duration) -> Result<Self> {
        Self::spawn(program, flags, false, limit)
    }

    /// Starts one that can outlive this process, see [`Vcsim::leave`].
    pub(crate) fn start_to_leave(program: &Path, flags: &[&str]) -> Result<Self> {
        Self::spawn(program, flags, true, START)
    }

    fn spawn(program: &Path, flags: &[&str], outlive: bool, limit: Duration) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("pilothouse-vcsim-")
            .tempdir()
            .context("could not make a directory for the simulator")?;
        let certificate = Certificate::make(dir.path())?;
        // A file and not a pipe: a pipe that nobody reads any more would end it.
        let output = dir.path().join("output");
        let out =
            File::create(&output).context("could not make a file for the simulator's output")?;
        let mut command = Command::new(program);
        command
            .args(["-l", "127.0.0.1:0", "-tlscert"])
            .arg(&certificate.cert)
            .arg("-tlskey")
            .arg(&certificate.key)
            .args(flags)
            .env("TMPDIR", dir.path())
            // A group of its own: Ctrl-C reaches us alone, and we stop it in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out.try_clone().context("could not share a file")?)
            .stderr(out);
        if !outlive {
            command.arg("-stdinexit").stdin(Stdio::piped());
        }
        let child = command
            .spawn()
            .with_context(|| format!("could not start {}", program.display()))?;
        let mut sim = Self {
            child,
            host: String::new(),
            port: 0,
            dir: Some(dir),
        };

        let deadline = Instant::now() + limit;
        loop {
            // Whether it runs is asked first: what it wrote before its end is read then.
            let ended = sim
                .child
                .try_wait()
                .context("could not watch the simulator")?;
            let said = fs::read_to_string(&output).unwrap_or_default();
            if let Some((host, port)) = said.lines().find_map(address) {
                (sim.host, sim.port) = (host, port);
                return Ok(sim);
            }
            if let Some(status) = ended {
                bail!("the simulator ended at once ({status}): {}", said.trim());
            }
            if Instant::now() >= deadline {
                bail!(
                    "the simulator did not say where it listens within {} s: {}",
                    limit.as_secs(),
                    said.trim()
                );
            }
            thread::sleep(POLL);
        }
    }

    /// Lets it run on after this process; returns its process id, and the
    /// directory to remove after it.
    pub(crate) fn leave(mut self) -> (u32, PathBuf) {
        let dir = self.dir.take().map(TempDir::keep).unwrap_or_default();
        (self.child.id(), dir)
    }

    /// The address it listens on, without scheme or port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where its API is.
    pub(crate) fn address(&self) -> String {
        format!("https://{}:{}/sdk", self.host, self.port)
    }
}

impl Drop for Vcsim {
    fn drop(&mut self) {
        if self.dir.is_none() {
            return; // It was left running.
        }
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // It may have ended already; then there is nobody to tell.
            let _ = kill_process_group(group, Signal::TERM);
        }
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(POLL);
        }
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Host and port in `export GOVC_URL=https://user:pass@127.0.0.1:PORT/sdk …`; the scheme is `http`
/// of one that was told to speak no TLS.
fn address(line: &str) -> Option<(String, u16)> {
    let (scheme, url) = line.split_once("GOVC_URL=")?.1.split_once("://")?;
    if !matches!(scheme, "https" | "http") {
        return None;
    }
    let authority = url.split(['/', ' ']).next()?;
    let (host, port) = authority.rsplit('@').next()?.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn the_address_is_read_from_what_the_simulator_prints() {
        let told = "export GOVC_URL=https://user:pass@127.0.0.1:36477/sdk GOVC_SIM_PID=9335";
        assert_eq!(address(told), Some(("127.0.0.1".to_owned(), 36477)));
        let plain = "export GOVC_URL=http://user:pass@127.0.0.1:8989/sdk GOVC_SIM_PID=1";
        assert_eq!(address(plain), Some(("127.0.0.1".to_owned(), 8989)));
        assert_eq!(address("Press any key to exit"), None);
        assert_eq!(address("export GOVC_URL=https://127.0.0.1:x/sdk"), None);
    }
}
