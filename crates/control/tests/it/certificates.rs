//! Certificates: the first is pinned before the password leaves, a changed one is refused.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{Server, TestHome, command, to};
use crate::vcsim::Vcsim;

/// A certificate of its own for `127.0.0.1`, as two files.
fn certificate(home: &TestHome, name: &str) -> (PathBuf, PathBuf) {
    let signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let dir = home.path().parent().unwrap().to_owned();
    let (cert, key) = (
        dir.join(format!("{name}.crt")),
        dir.join(format!("{name}.key")),
    );
    std::fs::write(&cert, signed.cert.pem()).unwrap();
    std::fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
    (cert, key)
}

fn start(home: &TestHome, name: &str, port: u16) -> Vcsim {
    let (cert, key) = certificate(home, name);
    let listen = format!("127.0.0.1:{port}");
    let flags = [
        "-vm",
        "0",
        "-l",
        &listen,
        "-tlscert",
        cert.to_str().unwrap(),
        "-tlskey",
        key.to_str().unwrap(),
    ];
    Vcsim::start(&flags)
}

#[test]
fn c8_the_first_certificate_is_pinned_and_a_changed_one_refused_with_both() {
    let home = TestHome::new();
    let first = start(&home, "first", 0);
    let port = first.port;
    let server = Server::start(&home);
    let about = to(&first, json!({ "action": "about" }));

    let contact = server.call(about.clone()).ok();
    assert_eq!(contact["first_contact"], true);
    let pinned = contact["fingerprint"].as_str().unwrap().to_owned();
    assert_eq!(pinned.len(), 95, "SHA-256 in hexadecimal with colons");
    let again = server.call(about.clone()).ok();
    assert!(again.get("first_contact").is_none());

    drop(first);
    let second = start(&home, "second", port);
    let refused = server.call(about.clone());
    let body = refused.fails("certificate.changed", "none");
    assert_eq!(body["pinned"], pinned.as_str());
    let seen = body["seen"].as_str().unwrap().to_owned();
    assert_ne!(seen, pinned);
    assert!(body["error"].as_str().unwrap().contains("credential save"));
    // The password did not get there: nobody has logged in since.
    assert_eq!(crate::outside::sessions(&second), 0);

    // Through the tool nobody can accept it, not even with a profile of another name.
    let save = to(
        &second,
        json!({ "action": "credential_save", "credential_profile": "other" }),
    );
    server.call(save).fails("certificate.changed", "none");
    server
        .call(json!({ "action": "credential_check", "credential_profile": "other" }))
        .fails("profile.not_found", "none");

    // A person in a terminal can, and has to say so.
    let save = |accept: bool| {
        let mut command = command(&home);
        let port = port.to_string();
        command.args([
            "credential",
            "save",
            "lab",
            "--host",
            "127.0.0.1",
            "--user",
            "user",
            "--port",
            &port,
        ]);
        if accept {
            command.arg("--accept-new-certificate");
        }
        crate::credentials::with_password(command, "pass")
    };
    let refused = save(false);
    assert!(!refused.status.success());
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.contains(&pinned) && words.contains(&seen), "{words}");
    let accepted = save(true);
    assert!(accepted.status.success(), "{accepted:?}");
    let words = String::from_utf8(accepted.stdout).unwrap();
    assert!(words.contains(&seen) && words.contains(&pinned), "{words}");
    server.call(about).ok();
}

#[test]
fn c8_verify_ssl_refuses_a_certificate_that_does_not_verify() {
    let home = TestHome::new();
    let vcsim = start(&home, "own", 0);
    let server = Server::start(&home);
    let strict = to(&vcsim, json!({ "action": "about", "verify_ssl": true }));
    let refused = server.call(strict.clone());
    let body = refused.fails("certificate.untrusted", "none");
    assert!(body["seen"].is_string());
    // Also after the same certificate was pinned.
    server.call(to(&vcsim, json!({ "action": "about" }))).ok();
    server.call(strict).fails("certificate.untrusted", "none");
    assert_eq!(crate::outside::sessions(&vcsim), 0);
}

#[test]
fn c8_a_profile_that_verifies_says_when_the_certificate_does_not() {
    let home = TestHome::new();
    let vcsim = start(&home, "own", 0);
    let server = Server::start(&home);
    let saved = server
        .call(to(
            &vcsim,
            json!({ "action": "credential_save", "credential_profile": "strict", "verify_ssl": true }),
        ))
        .ok();
    assert_eq!(saved["pinned"], false);
    assert!(
        saved["note"].as_str().unwrap().contains("does not verify"),
        "{saved}"
    );
    let pins = home.path().join("pins");
    assert!(!pins.exists() || std::fs::read_dir(pins).unwrap().next().is_none());
}

#[test]
fn c8_a_pin_is_stored_before_the_password_is_sent() {
    let home = TestHome::new();
    let (cert, key) = certificate(&home, "own");
    // Nobody gets in here: the first login is refused.
    let vcsim = Vcsim::start(&[
        "-vm",
        "0",
        "-username",
        "user",
        "-password",
        "other",
        "-tlscert",
        cert.to_str().unwrap(),
        "-tlskey",
        key.to_str().unwrap(),
    ]);
    let server = Server::start(&home);
    server
        .call(to(&vcsim, json!({ "action": "about" })))
        .fails("login.refused", "none");
    let user = home::User::current().name;
    let pins = std::fs::read(home.path().join("pins").join(format!("{user}.json"))).unwrap();
    let pins: Value = serde_json::from_slice(&pins).unwrap();
    assert!(
        pins["pins"][format!("127.0.0.1:{}", vcsim.port)].is_string(),
        "{pins}"
    );
}
