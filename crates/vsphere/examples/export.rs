//! Writes a dozen properties of every VM to standard output, a JSON object on a line each, as they
//! arrive. It logs out at the end.
//!
//! `export HOST PORT USER PASSWORD-FILE [OBJECTS-A-PAGE]`
//!
//! At the end it writes to standard error how many objects came in how many pages, and the most
//! memory it held in kB: what `cargo xtask bench vsphere` reads.

mod common;

use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;

use common::{PROPERTIES, Place};
use vsphere::{Client, Credentials, Endpoint, FilterSpec, Object, Target, Trust, Value};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let place = Place::of_the_command_line()?;
    let page = match place.rest.first() {
        Some(page) => page.parse()?,
        None => vsphere::property::PAGE,
    };
    let endpoint = Endpoint::new(&place.host, place.port)?;
    let client = Client::default();
    // This is an example: a program for others shows the fingerprint to a person first.
    let greeted = client.greet(&endpoint, None).await?;
    let pin = greeted.fingerprint();
    let target = Target {
        endpoint,
        trust: Trust::Pinned { pin, ca: None },
        operation_id: None,
    };
    let credentials = Credentials {
        user: place.user,
        password: place.password,
    };
    let mut out = BufWriter::with_capacity(64 << 10, io::stdout());
    let lane = client.lane(&target.endpoint, &credentials.user).await;
    let session = client
        .connect_in(lane, target, credentials, Some(greeted))
        .await?;
    let root = session.content().need("rootFolder")?;
    let spec = FilterSpec::inventory(&root, &[("VirtualMachine", PROPERTIES)]);
    let mut written = Ok(());
    let read = session
        .retrieve(&[spec], page, |object| {
            written = line(&mut out, &object);
            match written {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })
        .await;
    session.logout().await?;
    let read = read?;
    written?;
    out.flush()?;
    let peak = common::peak_kb().unwrap_or_default();
    writeln!(
        io::stderr(),
        "{} objects in {} pages, {peak} kB",
        read.objects,
        read.pages
    )?;
    Ok(())
}

/// One object. What is unset is not there; values stay text, as the server wrote them.
fn line(out: &mut impl Write, object: &Object) -> io::Result<()> {
    out.write_all(b"{\"moref\":")?;
    serde_json::to_writer(&mut *out, &object.reference.id)?;
    for (path, value) in &object.properties {
        out.write_all(b",")?;
        serde_json::to_writer(&mut *out, path)?;
        out.write_all(b":")?;
        serde_json::to_writer(&mut *out, Value::text(value))?;
    }
    out.write_all(b"}\n")
}
