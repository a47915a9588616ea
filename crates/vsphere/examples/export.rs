//! Writes a dozen properties of every VM of a server to standard output, a line each, as they
//! arrive: what the library needs for it in time and memory is what the benchmarks measure.
//!
//! `export HOST PORT USER PASSWORD-FILE [OBJECTS-A-PAGE]`

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;

use guard::secret::Secret;
use vsphere::{Client, Credentials, Endpoint, FilterSpec, Target, Trust, Value};

const PROPERTIES: &[&str] = &[
    "name",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.host",
    "summary.config.numCpu",
    "summary.config.memorySizeMB",
    "summary.config.guestFullName",
    "summary.config.uuid",
    "summary.config.instanceUuid",
    "summary.config.vmPathName",
    "guest.toolsRunningStatus",
    "summary.storage.committed",
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, user, password, page @ ..] = arguments.as_slice() else {
        return Err("export HOST PORT USER PASSWORD-FILE [OBJECTS-A-PAGE]".into());
    };
    let page = match page {
        [page, ..] => page.parse()?,
        [] => vsphere::property::PAGE,
    };
    let endpoint = Endpoint::new(host, port.parse()?)?;
    let credentials = Credentials {
        user: user.clone(),
        password: Secret::new(std::fs::read_to_string(password)?.trim_end().to_owned()),
    };
    let client = Client::default();
    // Whoever measures knows the server; the pin is what was seen just now.
    let pin = client.probe(&endpoint, None).await?.fingerprint;
    let target = Target {
        endpoint,
        trust: Trust::Pinned { pin, ca: None },
        operation_id: None,
    };
    let mut out = BufWriter::new(io::stdout());
    let session = client.connect(target, credentials).await?;
    let root = session.content().need("rootFolder")?;
    let spec = [FilterSpec::inventory(
        &root,
        &[("VirtualMachine", PROPERTIES)],
    )];
    let mut failed = Ok(());
    let read = session
        .retrieve(&spec, page, |object| {
            for path in PROPERTIES {
                let text = object.get(path).map(Value::text).unwrap_or_default();
                failed = write!(out, "{text}\t");
                if failed.is_err() {
                    return ControlFlow::Break(());
                }
            }
            failed = writeln!(out, "{}", object.reference.id);
            if failed.is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })
        .await;
    session.logout().await?;
    let read = read?;
    failed?;
    out.flush()?;
    eprintln!("{} objects in {} pages", read.objects, read.pages);
    Ok(())
}
