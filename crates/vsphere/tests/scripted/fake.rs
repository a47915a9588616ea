//! A scripted vSphere server over TLS: it answers, misbehaves, and remembers what it was sent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

/// What the fake was sent.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The SOAP method; `GET` for a file.
    pub(crate) method: String,
    /// The head of the HTTP request.
    pub(crate) head: String,
    /// Its body.
    pub(crate) body: String,
    /// How many of this method came before.
    pub(crate) nth: usize,
    /// On which connection it came, counted from 0.
    pub(crate) connection: usize,
}

impl Seen {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// Where a [`Reply::Halves`] waits.
pub(crate) const HERE: &str = "<!--here-->";

/// How it answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A SOAP body's content.
    Soap(String),
    /// A fault: type, and its detail's fields.
    Fault(&'static str, &'static str),
    /// These bytes, and the connection is closed without having said so: what is sent on it
    /// afterwards is lost.
    Raw(Vec<u8>),
    /// The connection is closed without a word.
    Close,
    /// Nothing, for ever.
    Hang,
    /// As `Soap`; what comes after [`HERE`] only once it is notified.
    Halves(String, Arc<Notify>),
    /// The other one, after this time.
    Late(Duration, Box<Reply>),
}

impl Reply {
    /// An HTTP answer whose `Content-Length` is longer than what comes by `cut` bytes.
    pub(crate) fn http(status: &str, headers: &str, body: &str, cut: usize) -> Self {
        let length = body.len() + cut;
        Self::Raw(
            format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
                .into_bytes(),
        )
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        let soap = |status: &str, inner: &str| {
            let body = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope \
                 xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
                 xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>{inner}</soapenv:Body>\
                 </soapenv:Envelope>"
            );
            format!(
                "HTTP/1.1 {status}\r\nContent-Type: text/xml; charset=utf-8\r\nSet-Cookie: {COOKIE}; Path=/; \
                 HttpOnly; Secure\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes()
        };
        match self {
            Self::Soap(inner) | Self::Halves(inner, _) => Some(soap("200 OK", inner)),
            Self::Fault(kind, detail) => Some(soap(
                "500 Internal Server Error",
                &format!(
                    "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>said the server</faultstring>\
                     <detail><{kind}Fault xmlns=\"urn:vim25\" xsi:type=\"{kind}\">{detail}</{kind}Fault></detail>\
                     </soapenv:Fault>"
                ),
            )),
            Self::Raw(bytes) => Some(bytes.clone()),
            Self::Close | Self::Hang | Self::Late(..) => None,
        }
    }
}

/// The session's cookie, with what a careless client would lose.
pub(crate) const COOKIE: &str = "vmware_soap_session=\"a1b2; c/+=3\"";

/// The answers of a server with nothing wrong.
pub(crate) fn ordinary(seen: &Seen) -> Reply {
    let returns = |value: &str| {
        Reply::Soap(format!(
            "<{0}Response xmlns=\"urn:vim25\">{value}</{0}Response>",
            seen.method
        ))
    };
    match seen.method.as_str() {
        "GET" => Reply::http(
            "200 OK",
            "Content-Type: text/xml\r\n",
            "<namespaces version=\"1.0\"><namespace><name>urn:vim25</name><version>9.9.0.0</version><priorVersions>\
             <version>8.0.3.0</version><version>6.5</version></priorVersions></namespace></namespaces>",
            0,
        ),
        "RetrieveServiceContent" => returns(
            "<returnval><rootFolder type=\"Folder\">group-d1</rootFolder>\
             <propertyCollector type=\"PropertyCollector\">propertyCollector</propertyCollector>\
             <about><name>Fake</name><apiType>VirtualCenter</apiType><apiVersion>8.0.3.0</apiVersion></about>\
             <sessionManager type=\"SessionManager\">SessionManager</sessionManager>\
             <searchIndex type=\"SearchIndex\">SearchIndex</searchIndex></returnval>",
        ),
        "Login" => {
            returns("<returnval><key>52-key</key><userName>LAB\\user</userName></returnval>")
        }
        "CurrentTime" => returns("<returnval>2026-01-01T00:00:00Z</returnval>"),
        "CreatePropertyCollector" => {
            returns("<returnval type=\"PropertyCollector\">session[1]pc</returnval>")
        }
        "CreateFilter" => returns("<returnval type=\"PropertyFilter\">session[1]f</returnval>"),
        method if method.ends_with("_Task") => {
            returns("<returnval type=\"Task\">task-7</returnval>")
        }
        _ => returns(""),
    }
}

/// A certificate with its key.
pub(crate) struct Identity {
    /// The leaf.
    pub(crate) leaf: CertificateDer<'static>,
    key: rcgen::KeyPair,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            leaf: self.leaf.clone(),
            key: rcgen::KeyPair::try_from(self.key.serialize_der()).unwrap(),
        }
    }
}

/// An authority that can sign identities.
pub(crate) struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    /// Its own certificate.
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "Lab CA");
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: rcgen::Issuer::new(params, key),
            pem,
        }
    }

    pub(crate) fn sign(&self, name: &str) -> Identity {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        Identity {
            leaf: params.signed_by(&key, &self.issuer).unwrap().der().clone(),
            key,
        }
    }
}

impl Identity {
    pub(crate) fn self_signed() -> Self {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        Self {
            leaf: cert.der().clone(),
            key: signing_key,
        }
    }

    /// The certificate of this one, with the key of another: what a thief of a certificate has.
    pub(crate) fn with_key_of(self, other: Self) -> Self {
        Self {
            leaf: self.leaf,
            key: other.key,
        }
    }
}

/// Shows one certificate, without asking whether its key is the right one.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// The running fake. It ends with the test's runtime.
pub(crate) struct Fake {
    /// Its port at 127.0.0.1.
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    /// Starts one with a certificate and a script.
    pub(crate) async fn start(
        identity: Identity,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::speaking(rustls::DEFAULT_VERSIONS, identity, script).await
    }

    /// As [`Fake::start`], with these versions of TLS alone.
    pub(crate) async fn speaking(
        versions: &[&'static rustls::SupportedProtocolVersion],
        identity: Identity,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let provider = rustls::crypto::ring::default_provider();
        let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
        let shown = CertifiedKey::new(
            vec![identity.leaf],
            provider.key_provider.load_private_key(key).unwrap(),
        );
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Shown(Arc::new(shown))));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, script) = (Arc::clone(&seen), Arc::new(script));
        tokio::spawn(async move {
            let mut connections = 0..;
            while let (Ok((stream, _)), Some(connection)) =
                (listener.accept().await, connections.next())
            {
                let (acceptor, log, script) =
                    (acceptor.clone(), Arc::clone(&log), Arc::clone(&script));
                tokio::spawn(async move {
                    if let Ok(mut stream) = acceptor.accept(stream).await {
                        while let Some(request) = receive(&mut stream, &log, connection).await {
                            let mut reply = script(&request);
                            while let Reply::Late(delay, then) = reply {
                                tokio::time::sleep(delay).await;
                                reply = *then;
                            }
                            let Some(bytes) = reply.bytes() else {
                                if matches!(reply, Reply::Hang) {
                                    std::future::pending::<()>().await;
                                }
                                return;
                            };
                            let mut bytes = bytes.as_slice();
                            if let Reply::Halves(_, more) = &reply {
                                let here = HERE.as_bytes();
                                let at = bytes.windows(here.len()).position(|part| part == here);
                                let (first, rest) = bytes.split_at(at.unwrap());
                                let _ = stream.write_all(first).await;
                                let _ = stream.flush().await;
                                more.notified().await;
                                bytes = rest;
                            }
                            if stream.write_all(bytes).await.is_err()
                                || stream.flush().await.is_err()
                            {
                                return;
                            }
                            if matches!(reply, Reply::Raw(_)) {
                                let _ = stream.shutdown().await;
                                return;
                            }
                        }
                    }
                });
            }
        });
        Self { port, seen }
    }

    /// With nothing wrong but what `script` says.
    pub(crate) async fn but(
        script: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        Self::start(Identity::self_signed(), move |seen| {
            script(seen).unwrap_or_else(|| ordinary(seen))
        })
        .await
    }

    /// All that it was sent.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The requests of one method.
    pub(crate) fn of(&self, method: &str) -> Vec<Seen> {
        self.seen()
            .into_iter()
            .filter(|s| s.method == method)
            .collect()
    }
}

async fn receive(
    stream: &mut (impl AsyncReadExt + Unpin),
    log: &Mutex<Vec<Seen>>,
    connection: usize,
) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut seen = Seen {
        method: "GET".into(),
        head: String::from_utf8_lossy(&bytes[..head]).into_owned(),
        body: String::new(),
        nth: 0,
        connection,
    };
    let length: usize = seen
        .header("content-length")
        .and_then(|v| v.parse().ok())
        .unwrap_or(0);
    while bytes.len() < head + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    seen.body = String::from_utf8_lossy(&bytes[head..]).into_owned();
    if let Some((_, rest)) = seen.body.split_once("<soapenv:Body><") {
        seen.method = rest.split([' ', '>']).next().unwrap_or_default().to_owned();
    }
    let mut log = log.lock().unwrap();
    seen.nth = log.iter().filter(|s| s.method == seen.method).count();
    log.push(seen.clone());
    Some(seen)
}
