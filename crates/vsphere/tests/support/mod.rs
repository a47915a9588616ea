//! A vCenter simulator (`vcsim`) for one test: started on a free port of the loopback, killed on drop.
//!
//! Self-contained: other crates take it in with `#[path]`. It uses the standard library alone.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// How long a start may take: current versions need some 40 ms for each VM.
const START: Duration = Duration::from_secs(120);

/// A running simulator.
pub(crate) struct Vcsim {
    child: Child,
    home: PathBuf,
    /// The port it listens on, at 127.0.0.1.
    pub(crate) port: u16,
}

impl Vcsim {
    /// Where it listens.
    pub(crate) const HOST: &'static str = "127.0.0.1";
    /// Any non-empty user and password pass, unless `-username` and `-password` are given.
    pub(crate) const USER: &'static str = "user";
    /// See [`Vcsim::USER`].
    pub(crate) const PASSWORD: &'static str = "pass";

    /// Starts one with these flags, as `["-vm", "2", "-esx"]`. Fails the test if there is no simulator.
    pub(crate) fn start(flags: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let program = program();
        // Killed, it leaves files behind in its TMPDIR.
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let home =
            std::env::temp_dir().join(format!("pilothouse-vcsim-{}-{nth}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        let mut child = Command::new(&program)
            .args(["-l", "127.0.0.1:0"])
            .args(flags)
            .env("TMPDIR", &home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{} does not start: {e}", program.display()));
        let stdout = child.stdout.take().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let (found, port) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(port) = port_in(&line) {
                    // The test may have given up.
                    let _ = found.send(port);
                }
            }
        });
        let (complaint, complained) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            let _ = complaint.send(text);
        });
        // From here on, a failure kills it.
        let mut vcsim = Self {
            child,
            home,
            port: 0,
        };
        match port.recv_timeout(START) {
            Ok(port) => vcsim.port = port,
            Err(_) => {
                let _ = vcsim.child.kill();
                let why = complained
                    .recv_timeout(Duration::from_secs(5))
                    .unwrap_or_default();
                panic!("vcsim told no address: {why}");
            }
        }
        vcsim
    }

    /// Kills it now: a server that has died.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Vcsim {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

/// `export GOVC_URL=https://user:pass@127.0.0.1:PORT/sdk GOVC_SIM_PID=N`
fn port_in(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("GOVC_URL=")?;
    let (_, rest) = rest.split_once("127.0.0.1:")?;
    rest.split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// `PILOTHOUSE_VCSIM`, else `vcsim` on PATH, else the one that `cargo xtask` installed.
fn program() -> PathBuf {
    if let Some(given) = std::env::var_os("PILOTHOUSE_VCSIM") {
        return given.into();
    }
    let on_path = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path)
            .map(|dir| dir.join("vcsim"))
            .find(|file| file.is_file())
    });
    let installed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/vcsim");
    on_path
        .or_else(|| installed.is_file().then_some(installed))
        .expect("run `cargo xtask test`, which installs the vCenter simulator that this test needs")
}
