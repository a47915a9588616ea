//! Programs within guests, on the scripted fake: the simulator has no guests.

use base64::Engine as _;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::credentials::with_password;
use crate::fake::{Fake, Identity, Reply, Seen};
use crate::scene::{Scene, machine, property};
use crate::support::{TestHome, command};

const CANARY: &str = "canary-inside-the-guest";

/// Saves an account within the guests of a server.
fn save(home: &TestHome, name: &str, port: u16, more: &[&str]) {
    let mut save = command(home);
    save.args(["credential", "save", name, "--host", "127.0.0.1"])
        .args(["--port", &port.to_string(), "--user", "LAB\\in"])
        .args(more);
    let saved = with_password(save, CANARY);
    assert!(saved.status.success(), "{saved:?}");
}

fn reply(method: &str, value: &str) -> Reply {
    Reply::Soap(format!(
        "<{method}Response xmlns=\"urn:vim25\">{value}</{method}Response>"
    ))
}

fn object(kind: &str, id: &str, properties: &str) -> Reply {
    let object = format!(
        "<returnval><objects><obj type=\"{kind}\">{id}</obj>{properties}</objects></returnval>"
    );
    reply("RetrievePropertiesEx", &object)
}

fn referred(name: &str, kind: &str, id: &str) -> String {
    format!("<propSet><name>{name}</name><val type=\"{kind}\">{id}</val></propSet>")
}

fn process(exit: &str) -> Reply {
    let process = format!(
        "<returnval><name>tool</name><pid>77</pid><owner>in</owner><cmdLine>/bin/tool -v</cmdLine>\
         <startTime>2026-01-01T00:00:00Z</startTime>{exit}</returnval>"
    );
    reply("ListProcessesInGuest", &process)
}

/// A machine whose guest takes operations.
fn ready(family: &str) -> String {
    machine("poweredOn")
        + &property("guest.guestOperationsReady", "true")
        + &property("guest.guestFamily", family)
        + &referred("runtime.host", "HostSystem", "host-1")
}

/// A server whose guest runs what it is given.
fn guest(seen: &Seen) -> Option<Reply> {
    let manager = |id: &str| object("GuestOperationsManager", "ops", &referred(id, "M", id));
    Some(match seen.method.as_str() {
        "RetrieveServiceContent" => match crate::fake::ordinary(seen) {
            Reply::Soap(text) => Reply::Soap(text.replace(
                "<about>",
                "<guestOperationsManager type=\"GuestOperationsManager\">ops</guestOperationsManager><about>",
            )),
            other => other,
        },
        "RetrievePropertiesEx" if seen.body.contains(">processManager<") => {
            manager("processManager")
        }
        "RetrievePropertiesEx" if seen.body.contains(">fileManager<") => manager("fileManager"),
        "StartProgramInGuest" => reply("StartProgramInGuest", "<returnval>77</returnval>"),
        "ListProcessesInGuest" if seen.nth == 0 => process(""),
        "ListProcessesInGuest" => process("<endTime>2026-01-01T00:00:01Z</endTime><exitCode>0</exitCode>"),
        "CreateTemporaryFileInGuest" => reply(
            "CreateTemporaryFileInGuest",
            "<returnval>/tmp/pilothouse-1.out</returnval>",
        ),
        _ => return None,
    })
}

fn run(scene: &Scene, more: Value) -> crate::support::Answer {
    let mut all = json!({ "program": "/bin/tool", "guest_profile": "inside", "timeout_s": 20 });
    crate::support::merge(&mut all, &more);
    scene.call("guest_run", all)
}

fn scene(script: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) -> Scene {
    let scene = Scene::new(
        |_| ready("linuxGuest"),
        move |seen| script(seen).or_else(|| guest(seen)),
    );
    save(&scene.home, "inside", scene.fake.port, &["--guest"]);
    scene
}

#[test]
fn a_program_is_run_by_the_guests_own_account_and_waited_for() {
    let scene = scene(|_| None);
    let preview = run(&scene, json!({ "preview": true })).ok();
    assert_eq!(preview["runs"]["as"], "LAB\\in");
    assert_eq!(scene.was_sent("StartProgramInGuest"), 0);
    let done = run(&scene, json!({ "program_arguments": "-v '<&>'" })).ok();
    assert_eq!((&done["pid"], &done["exit_code"]), (&json!(77), &json!(0)));
    assert_eq!(done["undo_kind"], "none");
    assert!(!done.to_string().contains(CANARY));
    let sent = &scene.fake.of("StartProgramInGuest")[0].body;
    assert!(sent.contains("<username>LAB\\in</username>"), "{sent}");
    assert!(sent.contains(CANARY), "{sent}");
    assert!(
        sent.contains("<arguments>-v &apos;&lt;&amp;&gt;&apos;</arguments>"),
        "{sent}"
    );
    let listed = scene
        .call("guest_list_processes", json!({ "guest_profile": "inside" }))
        .ok();
    assert_eq!(listed["processes"][0]["pid"], 77);
    assert_eq!(listed["processes"][0]["exit_code"], 0);
}

#[test]
fn what_a_program_does_badly_or_leaves_open_is_never_a_success() {
    let failed = scene(|seen| {
        (seen.method == "ListProcessesInGuest").then(|| process("<exitCode>3</exitCode>"))
    });
    let answer = run(&failed, json!({}));
    assert_eq!(
        answer.fails("guest.program_failed", "partial")["exit_code"],
        3
    );
    let endless = scene(|seen| (seen.method == "ListProcessesInGuest").then(|| process("")));
    let answer = run(&endless, json!({ "timeout_s": 5 }));
    assert_eq!(answer.fails("call.timeout", "unknown")["pid"], 77);
    let forgotten = scene(|seen| {
        (seen.method == "ListProcessesInGuest").then(|| reply("ListProcessesInGuest", ""))
    });
    run(&forgotten, json!({})).fails("guest.process_lost", "unknown");
    let lost = scene(|seen| (seen.method == "StartProgramInGuest").then_some(Reply::Close));
    run(&lost, json!({})).is_lost();
    assert_eq!(
        lost.was_sent("StartProgramInGuest"),
        1,
        "a change is sent once"
    );
    let refused = scene(|seen| {
        (seen.method == "StartProgramInGuest").then_some(Reply::Fault("InvalidGuestLogin", ""))
    });
    let answer = run(&refused, json!({}));
    answer.fails("guest.login_refused", "none");
    assert!(!answer.body.to_string().contains(CANARY));
}

#[test]
fn c7_a_guests_password_goes_through_its_own_server_alone_and_never_to_a_login() {
    let scene = scene(|_| None);
    let port = scene.fake.port;
    save(
        &scene.home,
        "elsewhere",
        port.wrapping_add(1).max(1),
        &["--guest"],
    );
    save(&scene.home, "lab", port, &[]);
    run(&scene, json!({ "guest_profile": "elsewhere" })).fails("profile.other_host", "none");
    run(&scene, json!({ "guest_profile": "lab" })).fails("profile.wrong_kind", "none");
    run(&scene, json!({ "guest_profile": null })).fails("argument.missing", "none");
    for action in ["get_vm", "credential_check"] {
        let wrong = json!({
            "credential_profile": "inside", "host": null, "port": null, "user": null,
            "password": null, "moref": if action == "get_vm" { json!("vm-42") } else { json!(null) },
        });
        scene
            .call(action, wrong)
            .fails("profile.wrong_kind", "none");
    }
    assert!(
        scene
            .fake
            .seen()
            .iter()
            .all(|seen| !seen.body.contains(CANARY))
    );
    let listed = command(&scene.home)
        .args(["credential", "list"])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains("inside\tLAB\\in@127.0.0.1") && listed.contains("in guests"),
        "{listed}"
    );
}

#[test]
fn a_guest_that_is_not_ready_is_not_asked() {
    let scene = Scene::new(|_| machine("poweredOn"), guest);
    save(&scene.home, "inside", scene.fake.port, &["--guest"]);
    run(&scene, json!({})).fails("guest.not_ready", "none");
    scene
        .call("guest_list_processes", json!({ "guest_profile": "inside" }))
        .fails("guest.not_ready", "none");
    assert!(
        scene
            .fake
            .seen()
            .iter()
            .all(|seen| !seen.body.contains(CANARY))
    );
}

/// The file that holds the output, as a server hands it out.
fn file(seen: &Seen) -> Option<Reply> {
    let is_file = seen.method == "GET" && seen.head.starts_with("GET /guestFile?id=1&token=t");
    is_file.then(|| {
        Reply::http(
            "200 OK",
            "Content-Type: text/plain\r\n",
            "one\ntw\u{202e}o\n",
            0,
        )
    })
}

fn url(url: &str) -> Reply {
    let info =
        format!("<returnval><size>9</size><url>{url}/guestFile?id=1&amp;token=t</url></returnval>");
    reply("InitiateFileTransferFromGuest", &info)
}

#[test]
fn output_is_fetched_from_the_server_itself_and_its_file_is_taken_away() {
    let scene = scene(|seen| match seen.method.as_str() {
        "InitiateFileTransferFromGuest" => Some(url("https://*:443")),
        _ => file(seen),
    });
    let done = run(
        &scene,
        json!({ "capture": true, "program_arguments": "-v" }),
    )
    .ok();
    assert_eq!(done["output"], json!(["one", "two"]));
    let sent = &scene.fake.of("StartProgramInGuest")[0].body;
    let redirected = "<arguments>-v &gt; &apos;/tmp/pilothouse-1.out&apos; 2&gt;&amp;1</arguments>";
    assert!(sent.contains(redirected), "{sent}");
    let deleted = scene.fake.of("DeleteFileInGuest");
    assert!(
        deleted[0]
            .body
            .contains("<filePath>/tmp/pilothouse-1.out</filePath>")
    );
    // No session of ours is shown with the file's URL.
    let fetched = scene.fake.of("GET");
    let fetched = fetched
        .iter()
        .find(|seen| seen.head.contains("guestFile"))
        .unwrap();
    assert_eq!(fetched.header("cookie"), None);
}

/// As a server sends `xsd:byte[]`: each byte in an element of its own.
fn certificate(leaf: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(leaf);
    let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    let bytes: String = pem
        .bytes()
        .map(|byte| format!("<byte>{byte}</byte>"))
        .collect();
    format!("<propSet><name>config.certificate</name><val>{bytes}</val></propSet>")
}

#[test]
fn c8_output_on_an_esxi_host_is_fetched_under_the_certificate_that_the_vcenter_knows_of_it() {
    let runtime = Runtime::new().unwrap();
    for is_right in [true, false] {
        let identity = Identity::self_signed();
        let leaf = identity.leaf.to_vec();
        let host = runtime.block_on(Fake::start(identity, |seen| {
            file(seen).unwrap_or(Reply::Close)
        }));
        let known = if is_right {
            certificate(&leaf)
        } else {
            certificate(&Identity::self_signed().leaf)
        };
        let port = host.port;
        let scene = scene(move |seen| match seen.method.as_str() {
            "InitiateFileTransferFromGuest" => Some(url(&format!("https://127.0.0.1:{port}"))),
            "RetrievePropertiesEx" if seen.body.contains("config.certificate") => {
                Some(object("HostSystem", "host-1", &known))
            }
            _ => None,
        });
        let done = run(&scene, json!({ "capture": true })).ok();
        assert_eq!(done["exit_code"], 0, "the program has run");
        if is_right {
            assert_eq!(done["output"], json!(["one", "two"]));
        } else {
            assert_eq!(done["output"], Value::Null);
            assert_eq!(done["output_missing"]["code"], "certificate.changed");
            assert_eq!(host.of("GET").len(), 0, "nothing was asked of it");
        }
        assert_eq!(scene.was_sent("DeleteFileInGuest"), 1);
    }
}
