//! Certificates, logins, logouts.

use std::time::Duration;

use guard::secret::Secret;
use vsphere::{
    Accepted, Client, Credentials, Effect, Error, FilterSpec, MoRef, Session, Target, Trust,
};

use crate::support::Vcsim;
use crate::{all, credentials, endpoint, first_vm, pinned, session};

#[tokio::test]
async fn c8_the_first_certificate_is_shown_without_a_login_and_then_pinned() {
    let sim = Vcsim::start(&["-vm", "1"]);
    let client = Client::default();
    let shown = client.probe(&endpoint(&sim), None).await.unwrap();
    assert!(
        shown.unverified.is_some(),
        "a self-signed certificate verified"
    );
    let session = session(&client, &sim).await;
    assert_eq!(
        session.certificate(),
        Some((shown.fingerprint, Accepted::Pin))
    );
    assert!(session.about().is_vcenter());
    assert!(!session.about().instance_uuid.is_empty());
    assert!(!session.user().key.is_empty());
    assert!(session.current_time().await.unwrap().starts_with("20"));
    session.logout().await.unwrap();
}

#[tokio::test]
async fn c8_a_changed_certificate_is_refused_with_both_fingerprints() {
    let sim = Vcsim::start(&["-vm", "1"]);
    let client = Client::default();
    let seen_now = client
        .probe(&endpoint(&sim), None)
        .await
        .unwrap()
        .fingerprint;
    let stored = vsphere::Fingerprint::of(b"another certificate");
    let target = Target {
        endpoint: endpoint(&sim),
        trust: Trust::Pinned {
            pin: stored,
            ca: None,
        },
        operation_id: None,
    };
    match client.connect(target, credentials()).await {
        Err(error @ Error::CertificateChanged { .. }) => {
            let text = error.to_string();
            assert!(
                text.contains(&stored.to_string()) && text.contains(&seen_now.to_string()),
                "{text}"
            );
            assert_eq!(error.effect(), Effect::None);
        }
        other => panic!("{other:?}"),
    }
    let strict = Target {
        endpoint: endpoint(&sim),
        trust: Trust::Roots { ca: None },
        operation_id: None,
    };
    match client.connect(strict, credentials()).await {
        Err(Error::CertificateUntrusted { seen, .. }) => assert_eq!(seen, seen_now),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn c11_a_refused_login_is_an_error_of_its_own() {
    let sim = Vcsim::start(&["-vm", "1", "-username", "root", "-password", "right"]);
    let client = Client::default();
    let target = pinned(&client, &sim).await;
    let wrong = Credentials {
        user: "root".into(),
        password: Secret::new("wrong".into()),
    };
    match client.connect(target.clone(), wrong).await {
        Err(error @ Error::LoginRefused { .. }) => {
            assert!(!format!("{error} {error:?}").contains("wrong"))
        }
        other => panic!("{other:?}"),
    }
    let right = Credentials {
        user: "root".into(),
        password: Secret::new("right".into()),
    };
    client
        .connect(target, right)
        .await
        .unwrap()
        .logout()
        .await
        .unwrap();
}

/// How many sessions the server has, our watching one left out.
async fn others(watcher: &Session) -> usize {
    watcher.session_list().await.unwrap().unwrap().len() - 1
}

#[tokio::test(flavor = "multi_thread")]
async fn c3_no_session_is_left_behind() {
    let sim = Vcsim::start(&["-vm", "1", "-method-delay", "CurrentTime:60000"]);
    let client = Client::default();
    let target = pinned(&client, &sim).await;
    let watcher = session(&client, &sim).await;
    let go = |client: &Client| {
        let (client, target) = (client.clone(), target.clone());
        async move { (client, target) }
    };

    // It works: and is there while it works.
    let (c, t) = go(&client).await;
    let during = c
        .with_session(t, credentials(), |_| async {
            Ok::<_, Error>(others(&watcher).await)
        })
        .await
        .unwrap();
    assert_eq!((during, others(&watcher).await), (1, 0), "after success");

    // It fails.
    let (c, t) = go(&client).await;
    let failed: Result<(), Error> = c
        .with_session(t, credentials(), |session| async move {
            session
                .power_on(&MoRef::new("VirtualMachine", "vm-nowhere"))
                .await
                .map(drop)
        })
        .await;
    assert!(failed.unwrap_err().is_fault("ManagedObjectNotFound"));
    assert_eq!(others(&watcher).await, 0, "after a failure");

    // It panics.
    let (c, t) = go(&client).await;
    let panicked = tokio::spawn(async move {
        c.with_session(t, credentials(), |_| async {
            panic!("on purpose") as Result<(), Error>
        })
        .await
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_eq!(client.drain(Duration::from_secs(20)).await, 0);
    assert_eq!(others(&watcher).await, 0, "after a panic");

    // It takes too long, in the middle of a call.
    let (c, t) = go(&client).await;
    let work = c.with_session(t, credentials(), |session| async move {
        session.current_time().await
    });
    tokio::time::timeout(Duration::from_secs(2), work)
        .await
        .unwrap_err();
    assert_eq!(client.drain(Duration::from_secs(20)).await, 0);
    assert_eq!(others(&watcher).await, 0, "after a cancelled call");

    // Dropped at every moment of a login.
    for millis in [0, 1, 2, 4, 8, 16, 32] {
        let (c, t) = go(&client).await;
        let work = c.connect(t, credentials());
        drop(tokio::time::timeout(Duration::from_millis(millis), work).await);
    }
    assert_eq!(client.drain(Duration::from_secs(20)).await, 0);
    assert_eq!(others(&watcher).await, 0, "after cancelled logins");
    watcher.logout().await.unwrap();
}

#[tokio::test]
async fn c4_many_calls_run_in_one_session_at_once() {
    let sim = Vcsim::start(&["-vm", "1"]);
    let client = Client::default();
    let session = std::sync::Arc::new(session(&client, &sim).await);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let session = std::sync::Arc::clone(&session);
            tokio::spawn(async move { all(&session, "VirtualMachine", &["name"]).await.len() })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 2);
    }
}

#[tokio::test]
async fn c11_a_server_that_died_is_an_error_and_no_empty_list() {
    let mut sim = Vcsim::start(&["-vm", "1"]);
    let client = Client::default();
    let session = session(&client, &sim).await;
    let vm = first_vm(&session).await;
    sim.kill();
    let root = session.content().need("rootFolder").unwrap();
    let read = session
        .collect(&[FilterSpec::inventory(
            &root,
            &[("VirtualMachine", &["name"])],
        )])
        .await;
    assert!(
        matches!(read, Err(Error::Unreachable { .. } | Error::Lost { .. })),
        "{read:?}"
    );
    let change = session.power_off(&vm).await.unwrap_err();
    assert!(
        matches!(change, Error::Unreachable { .. } | Error::Lost { .. }),
        "{change:?}"
    );
}
