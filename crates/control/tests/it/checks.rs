//! The order of checks, and what is refused before anything is contacted.

use serde_json::{Value, json};

use crate::support::{Answer, Listener, Server, TestHome};
use crate::vcsim::Vcsim;

/// Arguments that reach for a listener, complete enough to log in.
fn toward(listener: &Listener, more: Value) -> Value {
    let mut all = json!({
        "action": "power_off", "host": "127.0.0.1", "port": listener.port, "user": "u", "password": "canary-7f3a",
        "vm_name": "web01", "timeout_s": 1
    });
    crate::support::merge(&mut all, &more);
    all
}

#[test]
fn c5_without_the_privilege_nothing_is_contacted_and_it_is_a_security_warning() {
    let listener = Listener::silent();
    for env in [
        &[][..],
        &[("PILOTHOUSE_PRIVILEGES", "")],
        &[("PILOTHOUSE_PRIVILEGES", "SOMETHING_ELSE")],
    ] {
        let home = TestHome::new();
        let server = Server::start_with(&home, env);
        for arguments in [
            toward(&listener, json!({})),
            toward(&listener, json!({ "preview": true })),
            toward(&listener, json!({ "action": "about", "vm_name": null })),
            json!({ "action": "credential_list" }),
            json!({ "action": "credential_save", "credential_profile": "x", "host": "127.0.0.1",
                    "port": listener.port, "user": "u", "password": "canary-7f3a" }),
        ] {
            let answer = server.call(arguments);
            answer.fails("privilege.missing", "none");
            assert!(!answer.body.to_string().contains("canary"));
        }
        let log = server.err();
        assert!(log.contains("security"), "{log}");
        assert!(!log.contains("canary"), "{log}");
    }
    assert_eq!(listener.count(), 0);
}

#[test]
fn c5_the_file_grants_as_well_and_a_slip_in_it_grants_nothing() {
    let home = TestHome::new();
    let server = Server::start_with(&home, &[]);
    server
        .call(json!({ "action": "credential_list" }))
        .fails("privilege.missing", "none");
    let user = home::User::current().name;
    let file = home.path().join("privileges.toml");
    std::fs::write(&file, format!("[users]\n{user} = [\"UNSANDBOXED_EXEC\"]\n")).unwrap();
    server.call(json!({ "action": "credential_list" })).ok();
    std::fs::write(
        &file,
        format!("[users]\n{user} = [\"UNSANDBOXED_EXEC\", \"ROOT\"]\n"),
    )
    .unwrap();
    let answer = server.call(json!({ "action": "credential_list" }));
    answer.fails("privilege.missing", "none");
    assert!(answer.body["cause"]["error"].is_string(), "{}", answer.body);
}

/// Each call has every fault from its own on, so that the order shows.
#[test]
fn c6_the_checks_come_in_the_fixed_order_and_contact_nothing() {
    let listener = Listener::silent();
    let home = TestHome::new();
    let order: &[(&str, Value)] = &[
        (
            "privilege.missing",
            json!({ "action": "nonsense", "credential_profile": "nope" }),
        ),
        (
            "action.unknown",
            json!({ "action": "nonsense", "credential_profile": "nope" }),
        ),
        (
            "profile.not_found",
            json!({ "action": "snapshot_revert", "credential_profile": "nope" }),
        ),
        (
            "profile.verify_ssl_loosened",
            json!({ "action": "snapshot_revert", "credential_profile": "strict", "verify_ssl": false }),
        ),
        (
            "profile.other_host",
            json!({ "action": "snapshot_revert", "credential_profile": "strict", "host": "127.0.0.2" }),
        ),
        (
            "connection.missing_host",
            json!({ "action": "snapshot_revert" }),
        ),
        (
            "connection.missing_user",
            json!({ "action": "snapshot_revert", "host": "127.0.0.1" }),
        ),
        (
            "connection.missing_password",
            json!({ "action": "snapshot_revert", "host": "127.0.0.1", "user": "u" }),
        ),
        (
            "vm.missing_identifier",
            json!({ "action": "snapshot_revert", "host": "127.0.0.1", "user": "u", "password": "p" }),
        ),
        (
            "snapshot.missing_identifier",
            json!({ "action": "snapshot_revert", "host": "127.0.0.1", "user": "u", "password": "p", "vm_name": "x" }),
        ),
    ];
    let without = Server::start_with(&home, &[]);
    without.call(order[0].1.clone()).fails(order[0].0, "none");
    let server = Server::start(&home);
    // Saved although nobody listens there: said, and nothing pinned.
    let saved = server.call(json!({
        "action": "credential_save", "credential_profile": "strict", "host": "127.0.0.1", "port": 1,
        "user": "u", "password": "p", "verify_ssl": true, "timeout_s": 2
    }));
    assert_eq!(saved.ok()["pinned"], false);
    for (code, arguments) in &order[1..] {
        server.call(arguments.clone()).fails(code, "none");
    }
    assert_eq!(listener.count(), 0);
}

#[test]
fn c6_credential_actions_check_privilege_then_action_then_arguments() {
    let home = TestHome::new();
    let server = Server::start(&home);
    let save = |more: Value| {
        let mut all = json!({ "action": "credential_save" });
        crate::support::merge(&mut all, &more);
        server.call(all)
    };
    let missing = |answer: Answer| answer.fails("argument.missing", "none")["argument"].clone();
    assert_eq!(missing(save(json!({}))), "credential_profile");
    assert_eq!(missing(save(json!({ "credential_profile": "x" }))), "host");
    assert_eq!(
        missing(save(json!({ "credential_profile": "x", "host": "h" }))),
        "user"
    );
    assert_eq!(
        missing(save(
            json!({ "credential_profile": "x", "host": "h", "user": "u" })
        )),
        "password"
    );
    save(json!({ "credential_profile": "../x", "host": "h", "user": "u", "password": "p" }))
        .fails("profile.invalid_name", "none");
    save(json!({ "credential_profile": "x", "host": "https://h", "user": "u", "password": "p" }))
        .fails("connection.invalid_host", "none");
    save(json!({ "credential_profile": "x", "vm_name": "web" }))
        .fails("argument.not_taken", "none");
}

#[test]
fn c11_arguments_that_do_not_fit_are_refused_before_contact() {
    let listener = Listener::silent();
    let home = TestHome::new();
    let server = Server::start(&home);
    let code = |more: Value| {
        let answer = server.call(toward(&listener, more));
        let code = answer.code().to_owned();
        assert_eq!(answer.body["effect"], "none");
        assert!(
            !answer.body.to_string().contains("canary"),
            "{}",
            answer.body
        );
        code
    };
    assert_eq!(code(json!({ "action": null })), "action.missing");
    assert_eq!(code(json!({ "action": ["about"] })), "action.wrong_type");
    assert_eq!(code(json!({ "action": "Power_Off" })), "action.unknown");
    assert_eq!(code(json!({ "vmname": "x" })), "argument.unknown");
    assert_eq!(code(json!({ "cpu": 2 })), "argument.not_taken");
    assert_eq!(code(json!({ "vm_name": 7 })), "argument.wrong_type");
    assert_eq!(
        code(json!({ "vm_name": "web\u{202e}10" })),
        "argument.unclean"
    );
    assert_eq!(code(json!({ "host": "h\u{0}" })), "argument.unclean");
    assert_eq!(
        code(json!({ "vm_name": "x".repeat(100_000) })),
        "argument.too_long"
    );
    assert_eq!(
        code(json!({ "password": { "canary": "canary" } })),
        "argument.wrong_type"
    );
    assert_eq!(
        code(json!({ "password": "canary\u{7}" })),
        "argument.unclean"
    );
    assert_eq!(code(json!({ "port": 70_000 })), "argument.out_of_range");
    assert_eq!(code(json!({ "preview": "yes" })), "argument.wrong_type");
    assert_eq!(
        code(json!({ "host": "127.0.0.1/x" })),
        "connection.invalid_host"
    );
    assert_eq!(code(json!({ "action": "reconfigure" })), "argument.missing");
    assert_eq!(
        code(json!({ "action": "reconfigure", "cpu": 2, "expect": { "name": "x" } })),
        "argument.wrong_type"
    );
    assert_eq!(
        code(json!({ "action": "snapshot_create" })),
        "argument.missing"
    );
    assert_eq!(listener.count(), 0);
    let bad_key = server.call_with(
        toward(&listener, json!({})),
        json!({ "pilothouse/key": "a]b" }),
    );
    bad_key.fails("request.key", "none");
    let bad_target = server.call_with(
        toward(&listener, json!({})),
        json!({ "pilothouse/target": "vm-1" }),
    );
    bad_target.fails("request.target", "none");
    assert_eq!(listener.count(), 0);
}

#[test]
fn c11_a_server_that_is_not_there_or_silent_or_something_else_is_said() {
    let home = TestHome::new();
    let server = Server::start(&home);
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let about = |port: u16, timeout: u64| {
        server.call(json!({
            "action": "about", "host": "127.0.0.1", "port": port, "user": "u", "password": "p", "timeout_s": timeout
        }))
    };
    about(free, 20).fails("host.unreachable", "none");
    let silent = Listener::silent();
    about(silent.port, 1).fails("call.timeout", "none");
    assert_eq!(silent.count(), 1);
    // Plain HTTP where TLS is expected.
    let plain = Vcsim::start(&["-vm", "0", "-tls=false"]);
    about(plain.port, 20).fails("host.no_tls", "none");
}

#[test]
fn p15_every_call_leaves_one_row_in_the_audit_trail_and_no_secret() {
    let listener = Listener::silent();
    let home = TestHome::new();
    {
        let mut server = Server::start(&home);
        server
            .call(toward(&listener, json!({ "action": "nonsense" })))
            .fails("action.unknown", "none");
        server
            .call_with(
                json!({ "action": "credential_list" }),
                json!({ "pilothouse/key": "wf_1/a/do/0", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01" }),
            )
            .ok();
        server.close();
        assert!(server.ended().success());
    }
    let opened = home::Home::open(home.path()).unwrap();
    let audit = policy::audit_file::AuditFile::open(&opened).unwrap();
    audit.verify().unwrap();
    let rows = audit.read(0, 10, None).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].1["code"], "action.unknown");
    assert_eq!(rows[0].1["arguments"]["password"], "***");
    assert_eq!(rows[1].1["action"], "credential_list");
    assert_eq!(rows[1].1["outcome"], "ok");
    assert_eq!(rows[1].0.entry.workflow.as_deref(), Some("wf_1"));
    assert!(rows[1].1["traceparent"].is_string());
    for (path, content) in home.files() {
        let text = String::from_utf8_lossy(&content);
        assert!(!text.contains("canary-7f3a"), "{}", path.display());
    }
}

#[test]
fn p15_a_change_that_cannot_be_recorded_is_not_made() {
    let listener = Listener::silent();
    let home = TestHome::new();
    std::fs::create_dir_all(home.path()).unwrap();
    let restrict = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(home.path(), restrict).unwrap();
    let audit = home.path().join("control-audit.db");
    home::replace(&audit, b"this is no database, and never was one").unwrap();
    let server = Server::start(&home);
    let answer = server.call(toward(&listener, json!({})));
    answer.fails("audit.unavailable", "none");
    assert_eq!(answer.body["cause"], "audit.corrupted");
    assert_eq!(listener.count(), 0);
    // Said, never overwritten.
    assert_eq!(
        std::fs::read(&audit).unwrap(),
        b"this is no database, and never was one"
    );
}

#[test]
fn a_home_that_cannot_be_used_is_said_by_each_call() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = TestHome::new();
    std::fs::create_dir_all(home.path()).unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = Server::start(&home);
    server
        .call(json!({ "action": "credential_list" }))
        .fails("home.mode", "none");
}
