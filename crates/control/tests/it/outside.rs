//! The simulator, looked at and changed behind the back of the program under test.

use std::sync::Arc;
use std::time::Instant;

use guard::secret::Secret;
use vsphere::{Client, Credentials, Endpoint, Session, Target, Trust};

use crate::support::PATIENCE;
use crate::vcsim::Vcsim;

/// A session of the test's own on the simulator, for what the program under test must not do.
pub(crate) fn with_session<T, F>(vcsim: &Vcsim, work: impl FnOnce(Arc<Session>) -> F) -> T
where
    F: Future<Output = Result<T, vsphere::Error>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = Client::default();
        let endpoint = Endpoint::new(Vcsim::HOST, vcsim.port).unwrap();
        let pin = client.probe(&endpoint, None).await.unwrap().fingerprint;
        let target = Target {
            endpoint,
            trust: Trust::Pinned { pin, ca: None },
            operation_id: None,
        };
        let credentials = Credentials {
            user: Vcsim::USER.into(),
            password: Secret::new(Vcsim::PASSWORD.into()),
        };
        client
            .with_session(target, credentials, work)
            .await
            .unwrap()
    })
}

/// How many sessions there are besides the one that looks.
pub(crate) fn sessions(vcsim: &Vcsim) -> usize {
    let all = with_session(vcsim, |session| async move { session.session_list().await });
    all.expect("the list is readable").len() - 1
}

pub(crate) fn no_session_is_left(vcsim: &Vcsim) {
    let until = Instant::now() + PATIENCE;
    while sessions(vcsim) > 0 {
        assert!(Instant::now() < until, "sessions are left");
    }
}

/// Sends requests of any kind to the simulator, one session for all of them: for what the
/// program under test has no action for.
pub(crate) fn soap(vcsim: &Vcsim, bodies: &[String]) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // Another test may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    runtime.block_on(async {
        let client = reqwest::Client::builder()
            .tls_danger_accept_invalid_certs(true)
            .build()
            .unwrap();
        let url = format!("https://{}:{}/sdk", Vcsim::HOST, vcsim.port);
        let mut cookie = String::new();
        let login = format!(
            "<Login xmlns=\"urn:vim25\"><_this type=\"SessionManager\">SessionManager</_this>\
             <userName>{}</userName><password>{}</password></Login>",
            Vcsim::USER,
            Vcsim::PASSWORD
        );
        let logout = "<Logout xmlns=\"urn:vim25\">\
                      <_this type=\"SessionManager\">SessionManager</_this></Logout>";
        let mut answers = Vec::new();
        let all = std::iter::once(login.as_str())
            .chain(bodies.iter().map(String::as_str))
            .chain([logout]);
        for body in all {
            let envelope = format!(
                "<?xml version=\"1.0\"?><soapenv:Envelope \
                 xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\">\
                 <soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
            );
            let request = client
                .post(&url)
                .header("SOAPAction", "urn:vim25/8.0")
                .header("Content-Type", "text/xml")
                .header("Cookie", &cookie);
            let response = request.body(envelope).send().await.unwrap();
            if let Some(set) = response.headers().get("set-cookie") {
                cookie = set.to_str().unwrap().split(';').next().unwrap().to_owned();
            }
            let status = response.status();
            let text = response.text().await.unwrap();
            assert!(status.is_success(), "{text}");
            answers.push(text);
        }
        answers
    })
}

/// Gives a machine another name, behind the back of the program under test.
pub(crate) fn rename(vcsim: &Vcsim, vm: &vsphere::MoRef, name: &str) {
    let body = format!(
        "<Rename_Task xmlns=\"urn:vim25\"><_this type=\"{}\">{}</_this><newName>{name}</newName></Rename_Task>",
        vm.kind, vm.id
    );
    soap(vcsim, &[body]);
}
