//! The key of the profiles from elsewhere, and what the terminal says of the home and its record.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;

use crate::credentials::with_password;
use crate::support::{Server, TestHome, command, to};
use crate::vcsim::Vcsim;

/// A terminal with something in its environment.
struct Terminal<'h> {
    home: &'h TestHome,
    env: Vec<(&'static str, PathBuf)>,
}

impl Terminal<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.home);
        command.args(arguments);
        command.envs(self.env.iter().map(|(name, path)| (name, path)));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        with_password(self.command(arguments), "pass")
    }

    fn save(&self, name: &str) -> Output {
        let all = [
            "credential",
            "save",
            name,
            "--host",
            "127.0.0.1",
            "--user",
            "user",
        ];
        self.run(&[&all[..], &["--port", "1"]].concat())
    }

    /// The code that loading the profile fails with; empty if it does not.
    fn code(&self, name: &str) -> String {
        let list = words(&self.run(&["credential", "list"]));
        let line = list
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default();
        if line.contains("cannot be loaded") {
            let check = self.run(&["credential", "check", name]);
            let words = words(&check);
            let (_, code) = words.trim().rsplit_once('(').unwrap();
            return code.trim_end_matches(')').to_owned();
        }
        assert!(line.contains("user@127.0.0.1"), "{list}");
        String::new()
    }
}

fn words(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn private(home: &TestHome, name: &str, text: &str) -> PathBuf {
    let path = home.path().parent().unwrap().join(name);
    std::fs::write(&path, text).unwrap();
    mode(&path, 0o600);
    path
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn c7_the_key_may_lie_in_a_file_that_the_environment_names() {
    let home = TestHome::new();
    let key = private(&home, "elsewhere", &"5a".repeat(32));
    let terminal = Terminal {
        home: &home,
        env: vec![("PILOTHOUSE_KEY_FILE", key.clone())],
    };
    let saved = terminal.save("lab");
    assert!(saved.status.success(), "{}", words(&saved));
    assert_eq!(terminal.code("lab"), "");
    assert!(
        !home.path().join("key").exists(),
        "no key lies beside the profiles"
    );

    // Without the environment the profile does not open, and each slip is said as what it is.
    let bare = Terminal {
        home: &home,
        env: Vec::new(),
    };
    assert_eq!(bare.code("lab"), "profile.key_missing");
    mode(&key, 0o640);
    assert_eq!(terminal.code("lab"), "home.mode");
    mode(&key, 0o600);
    std::fs::write(&key, "a5".repeat(32)).unwrap();
    assert_eq!(terminal.code("lab"), "profile.wrong_key");
    std::fs::write(&key, "no key").unwrap();
    assert_eq!(terminal.code("lab"), "profile.key_damaged");
    std::fs::remove_file(&key).unwrap();
    assert_eq!(terminal.code("lab"), "profile.key_missing");
    // It is never made: where it should lie may only not be mounted.
    assert!(words(&terminal.save("other")).contains("profile.key_missing"));
    assert!(!key.exists());
}

#[test]
fn c7_the_key_may_come_from_a_passphrase() {
    let home = TestHome::new();
    let passphrase = private(&home, "passphrase", "correct horse battery\n");
    let terminal = Terminal {
        home: &home,
        env: vec![("PILOTHOUSE_PASSPHRASE_FILE", passphrase.clone())],
    };
    assert!(terminal.save("lab").status.success());
    assert_eq!(terminal.code("lab"), "");
    assert!(!home.path().join("key").exists());
    for (path, content) in home.files() {
        let is_it = path == passphrase;
        let clear = String::from_utf8_lossy(&content).contains("horse");
        assert_eq!(clear, is_it, "{}", path.display());
    }

    std::fs::write(&passphrase, "another passphrase").unwrap();
    assert_eq!(terminal.code("lab"), "profile.wrong_key");
    std::fs::write(&passphrase, "short").unwrap();
    assert_eq!(terminal.code("lab"), "profile.passphrase");
    std::fs::write(&passphrase, "correct horse battery").unwrap();
    assert_eq!(terminal.code("lab"), "");
    mode(&passphrase, 0o644);
    assert_eq!(terminal.code("lab"), "home.mode");
    mode(&passphrase, 0o600);

    let derivation = home.path().join("key-derivation.json");
    let good = std::fs::read(&derivation).unwrap();
    // A file that asks for all the memory there is, or that is cut short.
    let greedy = String::from_utf8(good.clone()).unwrap();
    std::fs::write(&derivation, greedy.replace("65536", "4000000000")).unwrap();
    assert_eq!(terminal.code("lab"), "profile.key_damaged");
    std::fs::write(&derivation, &good[..good.len() / 2]).unwrap();
    assert_eq!(terminal.code("lab"), "profile.key_damaged");
    std::fs::remove_file(&derivation).unwrap();
    assert_eq!(terminal.code("lab"), "profile.key_missing");
    std::fs::write(&derivation, &good).unwrap();
    mode(&derivation, 0o600);
    assert_eq!(terminal.code("lab"), "");
    std::fs::remove_file(&passphrase).unwrap();
    assert_eq!(terminal.code("lab"), "profile.passphrase");

    let both = Terminal {
        home: &home,
        env: vec![
            ("PILOTHOUSE_PASSPHRASE_FILE", passphrase.clone()),
            ("PILOTHOUSE_KEY_FILE", passphrase),
        ],
    };
    assert_eq!(both.code("lab"), "profile.key_source");
}

#[test]
fn c7_the_server_uses_the_passphrase_as_well() {
    let home = TestHome::new();
    let vcsim = Vcsim::start(&["-vm", "0"]);
    let passphrase = private(&home, "passphrase", "correct horse battery");
    let env = [
        ("PILOTHOUSE_PRIVILEGES", "UNSANDBOXED_EXEC"),
        ("PILOTHOUSE_PASSPHRASE_FILE", passphrase.to_str().unwrap()),
    ];
    let server = Server::start_with(&home, &env);
    let save = json!({ "action": "credential_save", "credential_profile": "lab" });
    server.call(to(&vcsim, save)).ok();
    for _ in 0..3 {
        server
            .call(json!({ "action": "about", "credential_profile": "lab" }))
            .ok();
    }
}

#[test]
fn a_home_that_cannot_be_used_is_said_once_in_the_terminal() {
    let home = TestHome::new();
    std::fs::create_dir_all(home.path()).unwrap();
    mode(&home.path(), 0o777);
    for arguments in [
        &["credential", "list"][..],
        &["audit", "verify"],
        &["pins", "list"],
    ] {
        let refused = command(&home).args(arguments).output().unwrap();
        assert!(!refused.status.success());
        let words = words(&refused);
        assert_eq!(words.matches("home.mode").count(), 1, "{words}");
        assert_eq!(words.trim().lines().count(), 1, "{words}");
    }
}

#[test]
fn p15_the_record_of_the_calls_is_verified_in_the_terminal() {
    let home = TestHome::new();
    let verify = || command(&home).args(["audit", "verify"]).output().unwrap();
    let none = verify();
    assert!(!none.status.success());
    assert!(words(&none).contains("audit.missing"), "{}", words(&none));
    assert!(
        !home.path().join("control-audit.db").exists(),
        "looking makes none"
    );

    let server = Server::start(&home);
    for _ in 0..3 {
        server.call(json!({ "action": "credential_list" })).ok();
    }
    // Also while the server is at work.
    let whole = verify();
    assert!(whole.status.success(), "{}", words(&whole));
    assert!(words(&whole).contains(" 3 rows"), "{}", words(&whole));
    drop(server);
    // Whoever closes it last moves everything into the one file.
    assert!(verify().status.success());

    let path = home.path().join("control-audit.db");
    tamper(&path);
    let broken = verify();
    assert!(!broken.status.success(), "{}", words(&broken));
    assert!(
        words(&broken).contains("audit.corrupted"),
        "{}",
        words(&broken)
    );
}

/// Changes a word of a record in the file itself, in place.
fn tamper(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let word = b"credential_list";
    let at = bytes
        .windows(word.len())
        .rposition(|window| window == word)
        .unwrap();
    bytes[at..at + word.len()].copy_from_slice(b"credential_none");
    std::fs::write(path, bytes).unwrap();
}
