//! Against a real vCenter simulator, over TLS.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

mod changing;
mod connecting;
mod reading;
#[path = "../support/mod.rs"]
mod support;

use guard::secret::Secret;
use support::Vcsim;
use vsphere::{Client, Credentials, Endpoint, FilterSpec, MoRef, Session, Target, Trust};

fn credentials() -> Credentials {
    Credentials {
        user: Vcsim::USER.into(),
        password: Secret::new(Vcsim::PASSWORD.into()),
    }
}

fn endpoint(sim: &Vcsim) -> Endpoint {
    Endpoint::new(Vcsim::HOST, sim.port).unwrap()
}

async fn pinned(client: &Client, sim: &Vcsim) -> Target {
    let endpoint = endpoint(sim);
    let shown = client.probe(&endpoint, None).await.unwrap();
    Target {
        endpoint,
        trust: Trust::Pinned {
            pin: shown.fingerprint,
            ca: None,
        },
        operation_id: Some("test-1".into()),
    }
}

async fn session(client: &Client, sim: &Vcsim) -> Session {
    client
        .connect(pinned(client, sim).await, credentials())
        .await
        .unwrap()
}

async fn all(session: &Session, kind: &str, paths: &[&str]) -> Vec<vsphere::Object> {
    let root = session.content().need("rootFolder").unwrap();
    session
        .collect(&[FilterSpec::inventory(&root, &[(kind, paths)])])
        .await
        .unwrap()
}

async fn first_vm(session: &Session) -> MoRef {
    let mut vms = all(session, "VirtualMachine", &["name"]).await;
    vms.sort_by_key(|vm| vm.text("name").unwrap_or_default().to_owned());
    vms.into_iter().next().unwrap().reference
}
