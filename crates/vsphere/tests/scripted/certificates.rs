//! Whom we talk to, and what happens before any password leaves.

use std::time::Duration;

use crate::fake::{Authority, Fake, Identity, ordinary};
use guard::secret::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use vsphere::{
    Accepted, CaBundle, Client, Credentials, Effect, Endpoint, Error, Fingerprint, Settings,
    Target, Trust,
};

fn client() -> Client {
    Client::new(Settings {
        connect_timeout: Duration::from_millis(500),
        call_timeout: Duration::from_millis(500),
        ..Settings::default()
    })
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint::new("127.0.0.1", port).unwrap()
}

async fn connect(port: u16, trust: Trust) -> Result<Option<(Fingerprint, Accepted)>, Error> {
    let credentials = Credentials {
        user: "user".into(),
        password: Secret::new("pass".into()),
    };
    let target = Target {
        endpoint: endpoint(port),
        trust,
        operation_id: None,
    };
    let session = client().connect(target, credentials).await?;
    let certificate = session.certificate();
    session.logout().await.unwrap();
    Ok(certificate)
}

#[tokio::test]
async fn c8_a_probe_sends_nothing_but_the_handshake() {
    let identity = Identity::self_signed();
    let print = Fingerprint::of(&identity.leaf);
    let fake = Fake::start(identity, ordinary).await;
    let shown = client().probe(&endpoint(fake.port), None).await.unwrap();
    assert_eq!(shown.fingerprint, print);
    assert!(shown.unverified.is_some());
    assert!(fake.seen().is_empty());
    assert_eq!(
        connect(
            fake.port,
            Trust::Pinned {
                pin: print,
                ca: None
            }
        )
        .await
        .unwrap(),
        Some((print, Accepted::Pin))
    );
}

#[tokio::test]
async fn c8_a_connection_that_was_looked_at_carries_what_comes_before_the_login_if_it_is_accepted()
{
    let (identity, other) = (Identity::self_signed(), Identity::self_signed());
    let (print, another) = (
        Fingerprint::of(&identity.leaf),
        Fingerprint::of(&other.leaf),
    );
    for (pin, is_accepted) in [(print, true), (another, false)] {
        let fake = Fake::start(identity.clone(), ordinary).await;
        let (client, endpoint) = (client(), endpoint(fake.port));
        let greeted = client.greet(&endpoint, None).await.unwrap();
        assert_eq!(greeted.fingerprint(), print);
        assert!(fake.seen().is_empty(), "something was sent");
        let lane = client.lane(&endpoint, "user").await;
        let target = Target {
            endpoint,
            trust: Trust::Pinned { pin, ca: None },
            operation_id: None,
        };
        let credentials = Credentials {
            user: "user".into(),
            password: Secret::new("pass".into()),
        };
        let connected = client.connect_in(lane, target, credentials, Some(greeted));
        match connected.await {
            Ok(session) if is_accepted => session.logout().await.unwrap(),
            Err(Error::CertificateChanged { seen, .. }) if !is_accepted => {
                assert_eq!(seen, print);
                assert!(fake.seen().is_empty(), "something was sent");
                continue;
            }
            other => panic!("{other:?}"),
        }
        let on = |method| fake.of(method)[0].connection;
        assert_eq!((on("RetrieveServiceContent"), on("Login")), (0, 1));
    }
}

#[tokio::test]
async fn c8_a_changed_certificate_is_refused_before_anything_is_sent() {
    let stored = Fingerprint::of(&Identity::self_signed().leaf);
    let identity = Identity::self_signed();
    let print = Fingerprint::of(&identity.leaf);
    let fake = Fake::start(identity, ordinary).await;
    match connect(
        fake.port,
        Trust::Pinned {
            pin: stored,
            ca: None,
        },
    )
    .await
    {
        Err(Error::CertificateChanged { pinned, seen, .. }) => {
            assert_eq!((pinned, seen), (stored, print))
        }
        other => panic!("{other:?}"),
    }
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn c8_an_authority_that_is_given_is_believed_for_its_names_only() {
    let authority = Authority::new();
    let ca = CaBundle::from_pem(authority.pem.as_bytes()).unwrap();
    let identity = authority.sign("127.0.0.1");
    let print = Fingerprint::of(&identity.leaf);
    let fake = Fake::start(identity, ordinary).await;
    assert_eq!(
        client()
            .probe(&endpoint(fake.port), Some(&ca))
            .await
            .unwrap()
            .unverified,
        None
    );
    let roots = Trust::Roots {
        ca: Some(ca.clone()),
    };
    assert_eq!(
        connect(fake.port, roots.clone()).await.unwrap(),
        Some((print, Accepted::Roots))
    );
    // A renewed certificate of the same authority is no reason for an alarm.
    let stale = Trust::Pinned {
        pin: Fingerprint::of(b"before the renewal"),
        ca: Some(ca),
    };
    assert_eq!(
        connect(fake.port, stale).await.unwrap(),
        Some((print, Accepted::Roots))
    );

    let elsewhere = Fake::start(authority.sign("vc.lab.example"), ordinary).await;
    assert!(matches!(
        connect(elsewhere.port, roots).await,
        Err(Error::CertificateUntrusted { .. })
    ));
    let unknown = Trust::Roots { ca: None };
    assert!(matches!(
        connect(fake.port, unknown).await,
        Err(Error::CertificateUntrusted { .. })
    ));
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn c8_a_pinned_certificate_without_its_key_proves_nothing() {
    let stolen = Identity::self_signed();
    let pin = Fingerprint::of(&stolen.leaf);
    let fake = Fake::start(stolen.with_key_of(Identity::self_signed()), ordinary).await;
    let refused = connect(fake.port, Trust::Pinned { pin, ca: None }).await;
    assert!(matches!(refused, Err(Error::Tls { .. })), "{refused:?}");
    assert!(matches!(
        client().probe(&endpoint(fake.port), None).await,
        Err(Error::Tls { .. })
    ));
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn c8_what_is_no_authority_is_refused() {
    for pem in [
        "",
        "not PEM",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        assert!(
            matches!(
                CaBundle::from_pem(pem.as_bytes()),
                Err(Error::UnusableCa { .. })
            ),
            "{pem}"
        );
    }
}

#[tokio::test]
async fn c11_a_host_that_cannot_be_reached_is_told_apart_from_one_that_is_silent() {
    let pin = Trust::Pinned {
        pin: Fingerprint::of(b""),
        ca: None,
    };
    // Bound and let go: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let refused = client().probe(&endpoint(port), None).await.unwrap_err();
    assert!(
        matches!(
            refused,
            Error::Unreachable {
                timed_out: false,
                ..
            }
        ),
        "{refused:?}"
    );
    let refused = connect(port, pin.clone()).await.unwrap_err();
    assert!(
        matches!(
            refused,
            Error::Unreachable {
                timed_out: false,
                ..
            }
        ),
        "{refused:?}"
    );
    assert_eq!(refused.effect(), Effect::None);

    // Accepts, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let hung = client().probe(&endpoint(port), None).await.unwrap_err();
    assert!(
        matches!(
            hung,
            Error::Unreachable {
                timed_out: true,
                ..
            }
        ),
        "{hung:?}"
    );
    let hung = connect(port, pin.clone()).await.unwrap_err();
    assert!(
        matches!(
            hung,
            Error::Unreachable {
                timed_out: true,
                ..
            }
        ),
        "{hung:?}"
    );

    // A name that does not exist.
    let nowhere = Endpoint::new("no-such-host.invalid", 443).unwrap();
    let client = Client::default();
    assert!(matches!(
        client.probe(&nowhere, None).await,
        Err(Error::Unreachable { .. })
    ));
}

#[tokio::test]
async fn c11_a_port_that_speaks_no_tls_is_an_error_of_its_own() {
    let garbage = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = garbage.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = garbage.accept().await {
            let mut hello = [0; 16];
            let _ = stream.read(&mut hello).await;
            let _ = stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\nno TLS here")
                .await;
        }
    });
    let probed = client().probe(&endpoint(port), None).await;
    assert!(matches!(probed, Err(Error::Tls { .. })), "{probed:?}");
    let connected = connect(
        port,
        Trust::Pinned {
            pin: Fingerprint::of(b""),
            ca: None,
        },
    )
    .await;
    assert!(matches!(connected, Err(Error::Tls { .. })), "{connected:?}");
}
