//! The floor of the benchmarks: the same calls with a common HTTP library, whose answers
//! are fetched and thrown away. It looks at no certificate and understands no answer: it is no
//! client for anything else.
//!
//! - `floor HOST PORT USER PASSWORD-FILE list [FILE]`: a dozen properties of every VM, all pages;
//!   the first page is kept in FILE.
//! - `floor HOST PORT USER PASSWORD-FILE power UUID ROUNDS`: so often, the round trips that a power
//!   on needs, over connections of their own; a line with the microseconds of each.

mod common;

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Instant;

use common::{PROPERTIES, Place};
use reqwest::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};

type Answer<T> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Answer<()> {
    // Of two processes one may have been faster: it is there either way.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let place = Place::of_the_command_line()?;
    let rest: Vec<&str> = place.rest.iter().map(String::as_str).collect();
    match rest.as_slice() {
        ["list", file @ ..] => list(&place, file.first().copied()).await,
        ["power", uuid, rounds] => power(&place, uuid, rounds.parse()?).await,
        _ => Err("pass `list [FILE]` or `power UUID ROUNDS`".into()),
    }
}

/// Calls, and hardly anything about their answers.
struct Wire {
    client: reqwest::Client,
    url: String,
    cookie: String,
}

impl Wire {
    fn new(place: &Place) -> Answer<Self> {
        let client = reqwest::Client::builder()
            .tls_danger_accept_invalid_certs(true)
            .no_proxy()
            .build()?;
        Ok(Self {
            client,
            url: format!("https://{}:{}/sdk", place.host, place.port),
            cookie: String::new(),
        })
    }

    /// Sends a call and hands on the pieces of its answer.
    async fn call(
        &mut self,
        method: &str,
        this: (&str, &str),
        inner: &str,
        mut sink: impl FnMut(&[u8]) -> Answer<()>,
    ) -> Answer<()> {
        let (kind, id) = this;
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
             <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>\
             <{method} xmlns=\"urn:vim25\"><_this type=\"{kind}\">{id}</_this>{inner}</{method}>\
             </soapenv:Body></soapenv:Envelope>"
        );
        let mut answer = self
            .client
            .post(&self.url)
            .header(CONTENT_TYPE, "text/xml; charset=\"utf-8\"")
            .header("SOAPAction", "\"urn:vim25/6.5\"")
            .header(COOKIE, &self.cookie)
            .body(body)
            .send()
            .await?;
        if !answer.status().is_success() {
            return Err(format!("{method}: {}", answer.text().await?).into());
        }
        if let Some(cookie) = answer.headers().get(SET_COOKIE) {
            let cookie = cookie.to_str()?;
            cookie
                .split(';')
                .next()
                .unwrap_or_default()
                .clone_into(&mut self.cookie);
        }
        while let Some(piece) = answer.chunk().await? {
            sink(&piece)?;
        }
        Ok(())
    }

    /// Sends a call and keeps its answer, which is small.
    async fn ask(&mut self, method: &str, this: (&str, &str), inner: &str) -> Answer<String> {
        let mut bytes = Vec::new();
        self.call(method, this, inner, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })
        .await?;
        Ok(String::from_utf8(bytes)?)
    }

    async fn log_in(&mut self, place: &Place) -> Answer<Managers> {
        let instance = ("ServiceInstance", "ServiceInstance");
        let content = self.ask("RetrieveServiceContent", instance, "").await?;
        let manager = |name: &str| {
            text_of(&content, name)
                .map(str::to_owned)
                .ok_or(format!("the server has no {name}"))
        };
        let managers = Managers {
            collector: manager("propertyCollector")?,
            sessions: manager("sessionManager")?,
            index: manager("searchIndex")?,
            root: manager("rootFolder")?,
        };
        let inner = format!(
            "<userName>{}</userName><password>{}</password>",
            escaped(&place.user),
            escaped(place.password.expose())
        );
        let this = ("SessionManager", managers.sessions.as_str());
        self.ask("Login", this, &inner).await?;
        Ok(managers)
    }

    async fn log_out(&mut self, managers: &Managers) -> Answer<()> {
        let this = ("SessionManager", managers.sessions.as_str());
        self.ask("Logout", this, "").await.map(drop)
    }
}

struct Managers {
    collector: String,
    sessions: String,
    index: String,
    root: String,
}

/// All VMs by folder: enough for the floor, which misses those that only an app knows.
async fn list(place: &Place, keep: Option<&str>) -> Answer<()> {
    let mut wire = Wire::new(place)?;
    let managers = wire.log_in(place).await?;
    let mut spec = "<specSet><propSet><type>VirtualMachine</type><all>false</all>".to_owned();
    for path in PROPERTIES {
        write!(spec, "<pathSet>{path}</pathSet>")?;
    }
    write!(
        spec,
        "</propSet><objectSet><obj type=\"Folder\">{}</obj><skip>false</skip>",
        managers.root
    )?;
    for (name, from, path, then) in [
        ("root", "Folder", "childEntity", &["root", "dcVm"][..]),
        ("dcVm", "Datacenter", "vmFolder", &["vmFolder"]),
        ("vmFolder", "Folder", "childEntity", &["vmFolder"]),
    ] {
        write!(
            spec,
            "<selectSet xsi:type=\"TraversalSpec\"><name>{name}</name><type>{from}</type>\
             <path>{path}</path><skip>false</skip>"
        )?;
        for next in then {
            write!(spec, "<selectSet><name>{next}</name></selectSet>")?;
        }
        spec.push_str("</selectSet>");
    }
    spec.push_str("</objectSet></specSet><options><maxObjects>1000</maxObjects></options>");

    let mut kept = keep.map(std::fs::File::create).transpose()?;
    let collector = ("PropertyCollector", managers.collector.as_str());
    let (mut bytes, mut pages) = (0, 0);
    let mut method = "RetrievePropertiesEx";
    loop {
        // A token stands in front of the objects.
        let mut head = Vec::new();
        wire.call(method, collector, &spec, |piece| {
            bytes += piece.len();
            if head.len() < 1_000 {
                head.extend_from_slice(piece);
            }
            if let Some(file) = &mut kept {
                file.write_all(piece)?;
            }
            Ok(())
        })
        .await?;
        kept = None;
        pages += 1;
        let head = String::from_utf8_lossy(&head);
        let Some(token) = text_of(&head, "token") else {
            break;
        };
        spec = format!("<token>{token}</token>");
        method = "ContinueRetrievePropertiesEx";
    }
    wire.log_out(&managers).await?;
    let peak = common::peak_kb().unwrap_or_default();
    writeln!(io::stderr(), "{bytes} bytes in {pages} pages, {peak} kB")?;
    Ok(())
}

/// What a power on by uuid cannot do without: the managers, a login, the VM that bears the uuid,
/// its state, the call, the task's end, a logout.
async fn power(place: &Place, uuid: &str, rounds: usize) -> Answer<()> {
    for _ in 0..rounds {
        let begun = Instant::now();
        let mut wire = Wire::new(place)?;
        let managers = wire.log_in(place).await?;
        let index = ("SearchIndex", managers.index.as_str());
        let inner = format!(
            "<uuid>{}</uuid><vmSearch>true</vmSearch><instanceUuid>true</instanceUuid>",
            escaped(uuid)
        );
        let found = wire.ask("FindAllByUuid", index, &inner).await?;
        let vm = text_of(&found, "returnval")
            .ok_or("no VM bears that uuid")?
            .to_owned();
        wire.read(&managers, "VirtualMachine", &vm, "runtime.powerState")
            .await?;
        let this = ("VirtualMachine", vm.as_str());
        let started = wire.ask("PowerOnVM_Task", this, "").await?;
        let task = text_of(&started, "returnval")
            .ok_or("the call made no task")?
            .to_owned();
        loop {
            let state = wire.read(&managers, "Task", &task, "info.state").await?;
            if state.contains(">success<") {
                break;
            }
            if state.contains(">error<") {
                return Err("the task failed".into());
            }
        }
        wire.log_out(&managers).await?;
        let time = begun.elapsed();

        // Back to where it was, which is not counted.
        let mut wire = Wire::new(place)?;
        let managers = wire.log_in(place).await?;
        let started = wire.ask("PowerOffVM_Task", this, "").await?;
        let task = text_of(&started, "returnval").unwrap_or_default();
        loop {
            let state = wire.read(&managers, "Task", task, "info.state").await?;
            if state.contains(">success<") || state.contains(">error<") {
                break;
            }
        }
        wire.log_out(&managers).await?;
        writeln!(io::stdout(), "{}", time.as_micros())?;
    }
    Ok(())
}

impl Wire {
    /// One property of one object, as it came.
    async fn read(
        &mut self,
        managers: &Managers,
        kind: &str,
        id: &str,
        path: &str,
    ) -> Answer<String> {
        let inner = format!(
            "<specSet><propSet><type>{kind}</type><all>false</all><pathSet>{path}</pathSet></propSet>\
             <objectSet><obj type=\"{kind}\">{id}</obj><skip>false</skip></objectSet></specSet><options/>"
        );
        let this = ("PropertyCollector", managers.collector.as_str());
        self.ask("RetrievePropertiesEx", this, &inner).await
    }
}

/// The text of the first element of that name.
fn text_of<'t>(xml: &'t str, name: &str) -> Option<&'t str> {
    let start = xml
        .match_indices(name)
        .find(|(at, _)| xml[..*at].ends_with('<'))?;
    let (_, rest) = xml[start.0..].split_once('>')?;
    rest.split('<').next()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
