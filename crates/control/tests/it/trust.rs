//! Whom the tool believes: authorities of a profile, pins brought along from another tool, and what
//! is too weak to prove anything.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::credentials::with_password;
use crate::fake::{Authority, Fake, Identity, ordinary};
use crate::support::{Server, TestHome, command};
use crate::vcsim::Vcsim;

/// A scripted server with this identity.
fn serve(runtime: &Runtime, identity: Identity) -> Fake {
    runtime.block_on(Fake::start(identity, ordinary))
}

fn run(home: &TestHome, arguments: &[&str]) -> Output {
    with_password(
        {
            let mut command = command(home);
            command.args(arguments);
            command
        },
        "p",
    )
}

fn words(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn file(home: &TestHome, name: &str, text: &str) -> PathBuf {
    let path = home.path().parent().unwrap().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn about(port: u16) -> Value {
    json!({ "action": "about", "host": "127.0.0.1", "port": port, "user": "u", "password": "p" })
}

#[test]
fn c8_a_profiles_own_authority_is_believed_and_a_renewed_certificate_of_it_too() {
    let (home, runtime) = (TestHome::new(), Runtime::new().unwrap());
    let authority = Authority::new();
    let ca = file(&home, "ca.pem", &authority.pem);
    let fake = serve(&runtime, authority.sign("127.0.0.1"));
    let port = fake.port.to_string();
    let save = |name: &str, more: &[&str]| {
        let mut all = vec!["credential", "save", name, "--host", "127.0.0.1"];
        all.extend([
            "--user",
            "u",
            "--port",
            &port,
            "--ca-file",
            ca.to_str().unwrap(),
        ]);
        all.extend(more);
        run(&home, &all)
    };
    let strict = save("strict", &["--verify-ssl"]);
    assert!(
        words(&strict).contains("The certificate verifies"),
        "{}",
        words(&strict)
    );
    let server = Server::start(&home);
    server
        .call(json!({ "action": "about", "credential_profile": "strict" }))
        .ok();
    // Without the authority it does not verify.
    let mut alone = about(fake.port);
    alone["verify_ssl"] = json!(true);
    server.call(alone).fails("certificate.untrusted", "none");

    // Pinned, and then another one of the same authority, which was given to the profile.
    assert!(save("pinned", &[]).status.success());
    let pinned = json!({ "action": "about", "credential_profile": "pinned" });
    let first = server.call(pinned.clone()).ok();
    assert!(first.get("first_contact").is_none(), "{first}");
    let list = server.call(json!({ "action": "credential_list" })).ok();
    let shown = &list["profiles"][0]["authorities"][0];
    assert_eq!(shown.as_str().unwrap().len(), 95, "{list}");
    // Saving it anew by the tool keeps the authority, which the tool cannot give.
    let anew = json!({
        "action": "credential_save", "credential_profile": "pinned", "host": "127.0.0.1",
        "port": fake.port, "user": "u", "password": "p"
    });
    assert!(server.call(anew).ok()["after"]["authorities"].is_array());
    let renewed = serve(&runtime, authority.sign("127.0.0.1"));
    // The other server has another port: its pin is the one of the first.
    let pins = run(&home, &["pins", "list"]);
    let line = words(&pins);
    let pin = line.trim().rsplit('\t').next().unwrap().to_owned();
    let known = file(
        &home,
        "known",
        &format!("127.0.0.1:{} {pin}\n", renewed.port),
    );
    assert!(
        run(&home, &["pins", "import", known.to_str().unwrap()])
            .status
            .success()
    );
    // Not under the system's authorities alone.
    server
        .call(about(renewed.port))
        .fails("certificate.changed", "none");
    let port = renewed.port.to_string();
    let mut all = vec![
        "credential",
        "save",
        "moved",
        "--host",
        "127.0.0.1",
        "--user",
        "u",
    ];
    all.extend(["--port", &port, "--ca-file", ca.to_str().unwrap()]);
    let saved = run(&home, &all);
    assert!(saved.status.success(), "{}", words(&saved));
    // Saving pins what a person has seen; put the old pin back to see the call accept it.
    assert!(
        run(&home, &["pins", "delete", &format!("127.0.0.1:{port}")])
            .status
            .success()
    );
    assert!(
        run(&home, &["pins", "import", known.to_str().unwrap()])
            .status
            .success()
    );
    let accepted = server
        .call(json!({ "action": "about", "credential_profile": "moved" }))
        .ok();
    assert_eq!(accepted["certificate_renewed"], true);
    assert_eq!(accepted["fingerprint_pinned"], pin.as_str());
    assert!(
        server.err().contains("the certificate was renewed"),
        "{}",
        server.err()
    );
}

#[test]
fn c8_what_verifies_on_first_contact_is_pinned_without_being_taken_on_faith() {
    let (home, runtime) = (TestHome::new(), Runtime::new().unwrap());
    let authority = Authority::new();
    let ca = file(&home, "ca.pem", &authority.pem);
    let fake = serve(&runtime, authority.sign("127.0.0.1"));
    let port = fake.port.to_string();
    let mut all = vec![
        "credential",
        "save",
        "lab",
        "--host",
        "127.0.0.1",
        "--user",
        "u",
    ];
    all.extend(["--port", &port, "--ca-file", ca.to_str().unwrap()]);
    assert!(run(&home, &all).status.success());
    assert!(
        run(&home, &["pins", "delete", &format!("127.0.0.1:{port}")])
            .status
            .success()
    );
    let server = Server::start(&home);
    let seen = server
        .call(json!({ "action": "about", "credential_profile": "lab" }))
        .ok();
    assert!(seen.get("first_contact").is_none(), "{seen}");
    assert!(words(&run(&home, &["pins", "list"])).contains("SHA-256"));
}

#[test]
fn c8_lines_of_govc_are_imported_and_a_sha_1_is_only_compared_with() {
    let (home, runtime) = (TestHome::new(), Runtime::new().unwrap());
    let (one, other) = (Identity::self_signed(), Identity::self_signed());
    let sha1 = vsphere::Thumbprint::of(&one.leaf);
    let sha256 = vsphere::Fingerprint::of(&other.leaf);
    let (first, second) = (serve(&runtime, one), serve(&runtime, other));
    let text = format!(
        "127.0.0.1:{} {sha1}\n127.0.0.1:{} {sha256}\n127.0.0.1:1 {sha1}\n",
        first.port, second.port
    );
    let known = file(&home, "known_hosts", &text);
    let import = run(&home, &["pins", "import", known.to_str().unwrap()]);
    assert!(import.status.success(), "{}", words(&import));
    let said = words(&import);
    assert!(
        said.contains("pinned") && said.contains("compared with"),
        "{said}"
    );

    let server = Server::start(&home);
    for port in [first.port, second.port] {
        let seen = server.call(about(port)).ok();
        assert!(seen.get("first_contact").is_none(), "{seen}");
    }
    // Compared with once, it is pinned as the stronger one.
    let list = words(&run(&home, &["pins", "list"]));
    assert_eq!(list.matches("SHA-256").count(), 2, "{list}");
    assert_eq!(list.matches("SHA-1\t").count(), 1, "{list}");

    // A server that shows another one gets no password.
    let third = serve(&runtime, Identity::self_signed());
    let line = file(&home, "more", &format!("127.0.0.1:{} {sha1}\n", third.port));
    assert!(
        run(&home, &["pins", "import", line.to_str().unwrap()])
            .status
            .success()
    );
    let refused = server.call(about(third.port));
    let body = refused.fails("certificate.changed", "none");
    assert!(body["pinned"].as_str().unwrap().contains(&sha1.to_string()));
    assert!(body["seen"].as_str().unwrap().contains("SHA-256"));
    assert!(third.seen().is_empty(), "nothing was sent to it");
    let save = json!({
        "action": "credential_save", "credential_profile": "x", "host": "127.0.0.1",
        "port": third.port, "user": "u", "password": "p"
    });
    server.call(save).fails("certificate.changed", "none");

    // What is no such file imports nothing.
    let bad = file(
        &home,
        "bad",
        &format!("127.0.0.1:2 {sha256}\nno such line\n"),
    );
    let refused = run(&home, &["pins", "import", bad.to_str().unwrap()]);
    assert!(!refused.status.success());
    assert!(words(&refused).contains("pins.not_known_hosts"));
    assert!(!words(&run(&home, &["pins", "list"])).contains("127.0.0.1:2\t"));
    let absent = run(&home, &["pins", "import", "/no/such/file"]);
    assert!(words(&absent).contains("pins.unreadable"));
}

/// A simulator with a certificate and key of the test data.
fn simulator(name: &str) -> Vcsim {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/");
    let (cert, key) = (format!("{data}{name}.pem"), format!("{data}{name}.key"));
    Vcsim::start(&["-vm", "0", "-tlscert", &cert, "-tlskey", &key])
}

#[test]
fn c8_an_rsa_key_of_2048_bits_works_and_a_weaker_one_is_refused_with_the_reason() {
    let home = TestHome::new();
    let server = Server::start(&home);
    let strong = simulator("rsa-2048");
    server.call(about(strong.port)).ok();
    let weak = simulator("rsa-1024");
    let refused = server.call(about(weak.port));
    let body = refused.fails("certificate.unusable", "none");
    assert!(
        body["error"].as_str().unwrap().contains("1024 bits"),
        "{body}"
    );
    assert_eq!(crate::outside::sessions(&strong), 0);
}

#[test]
fn c8_tls_1_2_works() {
    let (home, runtime) = (TestHome::new(), Runtime::new().unwrap());
    let versions = &[&rustls::version::TLS12];
    let fake = runtime.block_on(Fake::speaking(versions, Identity::self_signed(), ordinary));
    let server = Server::start(&home);
    server.call(about(fake.port)).ok();
    assert_eq!(fake.of("Login").len(), 1);
}

#[test]
fn c8_a_server_that_speaks_only_older_tls_is_refused_with_the_reason() {
    // A server hello of TLS 1.1, and an alert that says "protocol version".
    const HELLO: &[u8] = &[
        0x16, 3, 2, 0, 0x2a, 2, 0, 0, 0x26, 3, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
        15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 0, 0, 0x35, 0,
    ];
    const ALERT: &[u8] = &[0x15, 3, 1, 0, 2, 2, 70];
    let home = TestHome::new();
    let server = Server::start(&home);
    for answer in [HELLO, ALERT] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut hello = [0; 64];
                let _ = stream.read(&mut hello);
                let _ = stream.write_all(answer);
                let _ = stream.read(&mut hello);
            }
        });
        let refused = server.call(about(port));
        let body = refused.fails("host.no_tls", "none");
        assert!(
            body["error"].as_str().unwrap().contains("TLS 1.2"),
            "{body}"
        );
    }
}
