//! Against a scripted server over TLS that does what no real one does on demand.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

mod again;
mod calls;
mod certificates;
mod fake;
mod reads;

use std::time::Duration;

use fake::{Fake, Reply, Seen};
use guard::secret::Secret;
use vsphere::{Client, Credentials, Endpoint, Error, MoRef, Session, Settings, Target, Trust};

const CANARY: &str = "canary-7f3a <&> passwörd";

fn settings() -> Settings {
    Settings {
        connect_timeout: Duration::from_secs(2),
        call_timeout: Duration::from_secs(2),
        logout_timeout: Duration::from_secs(2),
        ..Settings::default()
    }
}

fn client() -> Client {
    Client::new(settings())
}

fn credentials() -> Credentials {
    Credentials {
        user: "user".into(),
        password: Secret::new(CANARY.into()),
    }
}

async fn target(client: &Client, fake: &Fake) -> Target {
    let endpoint = Endpoint::new("127.0.0.1", fake.port).unwrap();
    let pin = client.probe(&endpoint, None).await.unwrap().fingerprint;
    Target {
        endpoint,
        trust: Trust::Pinned { pin, ca: None },
        operation_id: None,
    }
}

async fn connect(client: &Client, fake: &Fake) -> Result<Session, Error> {
    client
        .connect(target(client, fake).await, credentials())
        .await
}

fn vm() -> MoRef {
    MoRef::new("VirtualMachine", "vm-42")
}

fn on(
    method: &'static str,
    reply: Reply,
) -> impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static {
    move |seen| (seen.method == method).then(|| reply.clone())
}
