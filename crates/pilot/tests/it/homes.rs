//! State directories that cannot be used: said by each call, and never overwritten.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Home, Pilot, answer, decision, pilot, store, until};

/// The server starts, lists its tools, and refuses each call with this code.
fn all_refused(home: &Home, code: &str) -> Value {
    let mut pilot = home.pilot();
    assert_eq!(
        pilot.request("tools/list", json!({})).unwrap()["tools"]
            .as_array()
            .unwrap()
            .len(),
        14
    );
    pilot.refused("get_audit_log", json!({}), code);
    pilot.refused(
        "create_workflow",
        json!({"name": "x", "steps": [{"id": "a", "gate": "g"}]}),
        code,
    );
    let refused = pilot.refused("list_workflows", json!({}), code);
    assert!(pilot.end().success());
    refused
}

/// A home that was used once.
fn used() -> Home {
    let home = Home::new();
    let mut pilot = home.pilot();
    let id = pilot.create(json!([store("set_a", "set", "a", json!("1"))]));
    pilot.run_approving(&id);
    assert!(pilot.end().success());
    home
}

#[test]
fn p11_a_corrupted_database_is_said_and_left_as_it_is() {
    for (at, bytes) in [
        (0, &b"not a database at all"[..]),
        (100, &[0xff; 4000]),
        (5000, &[0xaa; 3000]),
    ] {
        let home = used();
        let path = home.root().join("pilot.db");
        let mut content = fs::read(&path).unwrap();
        content[at..at + bytes.len()].copy_from_slice(bytes);
        fs::write(&path, &content).unwrap();
        let mut pilot = home.pilot();
        let answered = pilot.call("list_workflows", json!({}));
        // Damage in the middle shows when it is read: here or in the audit of the call.
        let refused = match answered {
            Err(refused) => refused,
            Ok(answer) => {
                json!({"code": answer["audit_error"]["code"].as_str().unwrap_or("none").replace("audit", "store")})
            }
        };
        assert_eq!(
            refused["code"], "store.corrupted",
            "damaged at {at}: {refused}"
        );
        pilot.end();
        assert!(
            fs::read(&path).unwrap() == content,
            "damaged at {at}: it was written to"
        );
    }
}

#[test]
fn p11_an_empty_database_is_damage_too() {
    let home = used();
    let path = home.root().join("pilot.db");
    fs::write(&path, b"").unwrap();
    let refused = all_refused(&home, "store.corrupted");
    assert!(
        refused["error"].as_str().unwrap().contains("backup"),
        "{refused}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[test]
fn p11_a_read_only_home_is_said() {
    let home = used();
    let before = home.files();
    fs::set_permissions(home.root(), fs::Permissions::from_mode(0o500)).unwrap();
    let refused = all_refused(&home, "store.read_only");
    assert!(
        refused["error"].as_str().unwrap().contains("writable"),
        "{refused}"
    );
    let after = home.files();
    fs::set_permissions(home.root(), fs::Permissions::from_mode(0o700)).unwrap();
    let of_db = |files: &[(std::path::PathBuf, Vec<u8>)]| {
        files
            .iter()
            .find(|(path, _)| path.ends_with("pilot.db"))
            .unwrap()
            .1
            .clone()
    };
    assert!(of_db(&before) == of_db(&after));
    let mut pilot = home.pilot();
    assert_eq!(
        pilot.ok("list_workflows", json!({}))["total"],
        1,
        "nothing was lost"
    );
}

/// A server whose home is a small file system of its own, in a namespace of its own, and the file
/// in it that can be filled.
fn on_a_small_disk(home: &Home) -> (Pilot, Filler) {
    let companions = home.root().parent().unwrap().join("companions");
    fs::copy(home.root().join("companions.json"), &companions).unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-ec"])
        .arg(
            "mount -t tmpfs -o size=4m,mode=0700 tmpfs \"$1\"
             install -m 600 \"$2\" \"$1/companions.json\"
             exec \"$3\" mcp",
        )
        .arg("sh")
        .arg(home.root())
        .arg(&companions)
        .arg(pilot());
    let mut pilot = home.start(command);
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}});
    pilot.request("initialize", hello).unwrap();
    // Seen through the process, since nobody else sees the file system.
    let inside = format!("/proc/{}/root{}", pilot.pid(), home.root().display());
    (pilot, Filler(format!("{inside}/filler")))
}

struct Filler(String);

impl Filler {
    fn fill(&self) {
        let full = (0..).find_map(|_| {
            let mut file = fs::File::options()
                .create(true)
                .append(true)
                .open(&self.0)
                .unwrap();
            file.write_all(&[0; 4096]).and_then(|()| file.flush()).err()
        });
        assert_eq!(full.unwrap().kind(), std::io::ErrorKind::StorageFull);
    }

    fn free(&self) {
        fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn p11_a_full_home_is_said_and_goes_on_once_there_is_space() {
    let home = Home::new();
    let (mut pilot, disk) = on_a_small_disk(&home);
    let id = pilot.create(json!([store("set_a", "set", "a", json!("1"))]));
    let plan = pilot.run(&id);
    disk.fill();
    let refused = pilot.call("approve", decision(&plan)).unwrap_err();
    assert_eq!(refused["code"], "audit.unavailable", "{refused}");
    assert_eq!(refused["cause"], "audit.full", "{refused}");
    assert!(home.deeds().is_empty(), "nothing was sent");
    disk.free();
    let done = pilot.approve(&plan);
    assert_eq!(done["outcome"], "completed", "{done}");
    assert_eq!(home.deeds(), ["set_a/do"]);
    assert_eq!(
        pilot.ok("get_audit_log", json!({"verify": true}))["verified"],
        true
    );
}

#[test]
fn p11_a_home_that_fills_up_while_a_step_runs_pauses_the_workflow() {
    let home = Home::new();
    let (mut pilot, disk) = on_a_small_disk(&home);
    let mut lost = store("set_a", "set", "a", json!("1"));
    // Done, and answered by nobody: there is time to fill the disk until it is given up.
    lost["params"]["fault"] = json!("lost");
    lost["params"]["fault_attempts"] = json!(1);
    lost["timeout_s"] = json!(2);
    let id = pilot.create(json!([lost, store("set_b", "set", "b", json!("2"))]));
    let plan = pilot.run(&id);
    let call = pilot.begin_call("approve", decision(&plan));
    until("the change", || !home.ledger().is_empty());
    disk.fill();
    let paused = answer(&pilot.wait(call).unwrap()).unwrap();
    assert_eq!(
        (&paused["outcome"], &paused["reason"]),
        (&json!("paused"), &json!("store")),
        "{paused}"
    );
    assert_eq!(paused["store_error"]["code"], "store.full", "{paused}");
    assert!(
        paused["audit_error"].is_object(),
        "the call itself could not be recorded: {paused}"
    );
    assert_eq!(home.deeds(), ["set_a/do"], "nothing more is sent");
    disk.free();
    let done = pilot.run(&id);
    assert_eq!(done["outcome"], "completed", "{done}");
    assert_eq!(
        home.deeds(),
        ["set_a/do", "set_b/do"],
        "nothing was done twice"
    );
}

#[test]
fn a_home_that_others_can_read_is_said() {
    let home = Home::new();
    fs::set_permissions(home.root(), fs::Permissions::from_mode(0o755)).unwrap();
    let refused = all_refused(&home, "home.mode");
    assert!(
        refused["error"]
            .as_str()
            .unwrap()
            .starts_with("Run `chmod 700 "),
        "{refused}"
    );
    assert_eq!(home.files().len(), 1, "nothing was made");
}

#[test]
fn a_home_that_is_no_directory_or_nowhere_is_said() {
    let home = Home::new();
    fs::remove_file(home.root().join("companions.json")).unwrap();
    fs::remove_dir(home.root()).unwrap();
    fs::write(home.root(), b"").unwrap();
    all_refused(&home, "home.not_a_directory");
}

#[test]
fn an_operators_slip_of_the_pen_is_said_and_not_passed_over() {
    for (name, content, code, word) in [
        (
            "config.toml",
            "min_assurance = \"none\"",
            "home.content",
            "min_assurance",
        ),
        ("config.toml", "[rules]\ndeni = []", "home.content", "line"),
        (
            "config.toml",
            "[rules]\ndeny = [\"a//b\"]",
            "config.rules",
            "entry 1",
        ),
        (
            "companions.json",
            "{\"mcpServers\": []}",
            "companion.config",
            "mcpServers",
        ),
        (
            "companions.json",
            "{\"mcpServers\": {}, \"mcpServers\": {}}",
            "companion.config",
            "companions.json",
        ),
    ] {
        let home = Home::new();
        home.write(name, content);
        let refused = all_refused(&home, code);
        assert!(
            refused["error"].as_str().unwrap().contains(word),
            "{name} {content}: {refused}"
        );
        assert_eq!(fs::read_to_string(home.root().join(name)).unwrap(), content);
    }
}

#[test]
fn a_home_that_was_repaired_is_used_without_a_restart() {
    let home = Home::new();
    home.write("config.toml", "min_assurance = \"none\"");
    let mut pilot = home.pilot();
    pilot.refused("list_workflows", json!({}), "home.content");
    home.write("config.toml", "min_assurance = \"attested\"");
    assert_eq!(pilot.ok("list_workflows", json!({}))["total"], 0);
}

#[test]
fn p11_what_is_made_is_the_owners_alone() {
    let home = used();
    let mut checked = 0;
    for (path, _) in home.files() {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
        checked += 1;
    }
    assert!(checked >= 2);
}
