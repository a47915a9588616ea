//! Profiles: by the tool and in the terminal, and a canary password that shows up nowhere.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::{Lab, Server, TestHome, command, to};
use crate::vcsim::Vcsim;

const CANARY: &str = "canary-Tr0ub4dor&3";

/// Runs a command with a password on standard input.
pub(crate) fn with_password(mut command: Command, password: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let line = format!("{password}\n");
    let written = child.stdin.take().unwrap().write_all(line.as_bytes());
    // Who reads no password may have ended before it came.
    if let Err(error) = written {
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
    }
    child.wait_with_output().unwrap()
}

fn credential(home: &TestHome, arguments: &[&str]) -> Command {
    let mut command = command(home);
    command.arg("credential").args(arguments);
    command
}

fn save(home: &TestHome, name: &str, port: u16, password: &str) -> Output {
    let port = port.to_string();
    let arguments = [
        "save",
        name,
        "--host",
        "127.0.0.1",
        "--user",
        "user",
        "--port",
        &port,
    ];
    with_password(credential(home, &arguments), password)
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn c7_a_canary_password_is_in_no_file_no_output_and_no_log() {
    let home = TestHome::new();
    let vcsim = Vcsim::start(&["-vm", "1", "-username", "user", "-password", CANARY]);
    let saved = save(&home, "lab", vcsim.port, CANARY);
    assert!(saved.status.success(), "{saved:?}");
    let mut seen = text(&saved);
    seen.push_str(&text(&credential(&home, &["list"]).output().unwrap()));
    let checked = credential(&home, &["check", "lab"]).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    seen.push_str(&text(&checked));
    {
        // As loud as can be: also then no secret is logged.
        let env = [
            ("PILOTHOUSE_PRIVILEGES", "UNSANDBOXED_EXEC"),
            ("PILOTHOUSE_LOG", "trace"),
        ];
        let mut server = Server::start_with(&home, &env);
        let lab = json!({ "credential_profile": "lab" });
        let call = |action: &str, more: Value| {
            let mut all = lab.clone();
            all["action"] = json!(action);
            crate::support::merge(&mut all, &more);
            server.call(all)
        };
        let vm = call("list_vms", json!({})).ok()["vms"][0].clone();
        call("power_off", json!({ "moref": vm["moref"] })).ok();
        call("delete", json!({ "vm_name": "none such" })).code();
        call("credential_list", json!({})).ok();
        call("credential_check", json!({})).ok();
        // Passed by hand, and passed where it does not belong.
        let by_hand = to(&vcsim, json!({ "action": "about", "password": CANARY }));
        server.call(by_hand).ok();
        let by_mistake = to(&vcsim, json!({ "action": "about", "password": [CANARY] }));
        server.call(by_mistake).code();
        let saved_by_tool = to(
            &vcsim,
            json!({ "action": "credential_save", "credential_profile": "two", "password": CANARY }),
        );
        server.call(saved_by_tool).ok();
        server.close();
        assert!(server.ended().success());
        seen.push_str(&server.out());
        seen.push_str(&server.err());
    }
    assert!(
        !seen.contains(CANARY) && !seen.contains("Tr0ub4dor"),
        "{seen}"
    );
    let files = home.files();
    assert!(files.iter().any(|(path, _)| path.ends_with("two.json")));
    for (path, content) in &files {
        let clear = String::from_utf8_lossy(content);
        assert!(!clear.contains("Tr0ub4dor"), "{}", path.display());
        let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
}

#[test]
fn c7_profiles_are_saved_listed_checked_and_deleted_in_the_terminal() {
    let home = TestHome::new();
    let vcsim = Vcsim::start(&["-vm", "0"]);
    let none = text(&credential(&home, &["list"]).output().unwrap());
    assert!(none.contains("No profiles"), "{none}");
    let saved = save(&home, "lab", vcsim.port, "pass");
    assert!(saved.status.success());
    assert!(text(&saved).contains("Pinned certificate"), "{saved:?}");
    assert!(text(&save(&home, "lab", vcsim.port, "pass")).contains("Replaced"));
    let list = text(&credential(&home, &["list"]).output().unwrap());
    assert!(
        list.contains("lab") && list.contains("user@127.0.0.1"),
        "{list}"
    );
    let checked = credential(&home, &["check", "lab"]).output().unwrap();
    assert!(checked.status.success());
    crate::outside::no_session_is_left(&vcsim);
    let deleted = credential(&home, &["delete", "lab"]).output().unwrap();
    assert!(deleted.status.success());
    let gone = credential(&home, &["check", "lab"]).output().unwrap();
    assert!(!gone.status.success());
    assert!(text(&gone).contains("profile.not_found"), "{gone:?}");
}

#[test]
fn c7_there_is_no_way_to_pass_a_password_as_an_argument() {
    let home = TestHome::new();
    let help = text(&credential(&home, &["save", "--help"]).output().unwrap());
    assert!(help.contains("--host"), "{help}");
    assert!(!help.contains("--password"), "{help}");
    let empty = save(&home, "lab", 1, "");
    assert!(!empty.status.success());
    assert!(text(&empty).contains("password.missing"), "{empty:?}");
    let unusable = save(&home, "lab", 1, "a\u{7}b");
    assert!(
        text(&unusable).contains("password.unusable"),
        "{unusable:?}"
    );
}

#[test]
fn c7_a_profile_for_a_server_that_is_down_is_saved_and_says_that_nothing_was_pinned() {
    let home = TestHome::new();
    let saved = save(&home, "later", 1, "pass");
    assert!(saved.status.success(), "{saved:?}");
    assert!(text(&saved).contains("Nothing was pinned"), "{saved:?}");
    let server = Server::start(&home);
    let list = server.call(json!({ "action": "credential_list" })).ok();
    assert_eq!(list["profiles"][0]["name"], "later");
    server
        .call(json!({ "action": "credential_check", "credential_profile": "later" }))
        .fails("host.unreachable", "none");
}

#[test]
fn c7_the_tool_saves_lists_checks_and_deletes_as_well() {
    let lab = Lab::new(&["-vm", "0"]);
    let list = lab
        .server
        .call(json!({ "action": "credential_list", "credential_profile": "lab" }))
        .ok();
    assert_eq!(list["matching"], 1);
    assert_eq!(list["profiles"][0]["user"], Vcsim::USER);
    assert!(list["profiles"][0].get("password").is_none());
    let checked = lab.call("credential_check", json!({})).ok();
    assert_eq!(checked["login"], "accepted");
    let delete = json!({ "preview": true });
    let preview = lab.call("credential_delete", delete).ok();
    assert_eq!(preview["undo"], Value::Null);
    assert_eq!(preview["verify"]["after"], json!({ "/matching": 0 }));
    assert_eq!(preview["before"]["exists"], true);
    let done = lab.call("credential_delete", json!({})).ok();
    assert_eq!(done["changed"], true);
    assert_eq!(
        lab.call("credential_delete", json!({})).ok()["changed"],
        false
    );
    lab.call("about", json!({}))
        .fails("profile.not_found", "none");
    // A new one is undone by deleting it.
    let new = to(
        &lab.vcsim,
        json!({ "action": "credential_save", "credential_profile": "new" }),
    );
    let mut asked = new.clone();
    asked["preview"] = json!(true);
    let preview = lab.server.call(asked).ok();
    assert_eq!(preview["undo"]["action"], "credential_delete");
    assert!(preview["undo"].get("password").is_none());
    let saved = lab.server.call(new).ok();
    assert_eq!(lab.server.call(saved["undo"].clone()).ok()["changed"], true);
    lab.no_session_is_left();
}

#[test]
fn c11_a_profile_that_was_tampered_with_is_refused_with_its_own_code() {
    let lab = Lab::new(&["-vm", "0"]);
    let user = home::User::current().name;
    let file = lab
        .home
        .path()
        .join("profiles")
        .join(&user)
        .join("lab.json");
    let good = std::fs::read(&file).unwrap();
    let fails = |code: &str| {
        lab.call("about", json!({})).fails(code, "none");
        // The list goes on, and says it too.
        let list = lab.server.call(json!({ "action": "credential_list" })).ok();
        assert_eq!(list["profiles"][0]["code"], code);
    };
    home::replace(&file, &good[..good.len() - 9]).unwrap();
    fails("profile.damaged");
    home::replace(&file, &good).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    fails("home.mode");
    home::replace(&file, &good).unwrap();
    let key = lab.home.path().join("key");
    let good_key = std::fs::read(&key).unwrap();
    home::replace(&key, "ab".repeat(32).as_bytes()).unwrap();
    fails("profile.wrong_key");
    std::fs::remove_file(&key).unwrap();
    fails("profile.key_missing");
    home::replace(&key, &good_key).unwrap();
    let mut json: Value = serde_json::from_slice(&good).unwrap();
    json["nonce"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    home::replace(&file, json.to_string().as_bytes()).unwrap();
    fails("profile.altered");
    home::replace(&file, &good).unwrap();
    lab.call("about", json!({})).ok();
}

#[test]
fn c10_a_list_of_profiles_is_paged_like_any_other() {
    let home = TestHome::new();
    let server = Server::start(&home);
    for name in ["c", "a", "b"] {
        let save = json!({
            "action": "credential_save", "credential_profile": name,
            "host": "127.0.0.1", "port": 1, "user": "u", "password": "p"
        });
        server.call(save).ok();
    }
    let mut names = Vec::new();
    let mut ask = json!({ "action": "credential_list", "limit": 2 });
    loop {
        let page = server.call(ask.clone()).ok();
        assert_eq!(page["total"], 3);
        for row in page["profiles"].as_array().unwrap() {
            names.push(row["name"].as_str().unwrap().to_owned());
        }
        assert_eq!(page["truncated"], page["next_cursor"].is_string());
        if page["next_cursor"].is_null() {
            break;
        }
        ask["cursor"] = page["next_cursor"].clone();
    }
    assert_eq!(names, ["a", "b", "c"]);
}
