//! A power on by uuid in a running server, against the bare round trips that it needs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::lab::{Lab, Tool, simulator};
use super::{Size, Tools};
use crate::bench::report::{Report, Row, fastest, median, ms, times};
use crate::shell;

/// The tool may take this many times the bare round trips.
const TIMES: f64 = 1.5;
/// An inventory in which nothing takes long to find. The newest simulator looks uuids up.
const VMS: usize = 20;
/// In so many turns, so that what else the machine does meets both alike.
const TURNS: usize = 4;

pub(super) async fn measure(tools: &Tools, size: &Size, report: &mut Report) -> Result<()> {
    let server = simulator(&tools.vcsim, VMS, &[])?;
    let lab = Lab::at(server.host(), server.port())?;
    let tool = lab.tool(&tools.control).await?;
    let listed = tool.ask(json!({"action": "list_vms"})).await?;
    let vm = listed["vms"].get(0).context("no VM is listed")?;
    let uuid = ["vm_uuid", "instance_uuid"]
        .iter()
        .find_map(|name| vm[*name].as_str())
        .context("a VM has no uuid")?
        .to_owned();
    // Off from here on, between the measurements.
    tool.ask(json!({"action": "power_off", "vm_uuid": uuid}))
        .await?;

    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    let rounds = size.rounds.div_ceil(TURNS);
    for _ in 0..TURNS {
        let rounds_text = rounds.to_string();
        let mut floor = lab.example(&tools.floor, &["power", &uuid, &rounds_text]);
        for line in shell::output(&mut floor)?.lines() {
            bare.push(Duration::from_micros(line.trim().parse()?));
        }
        for _ in 0..rounds {
            ours.push(power_on(&tool, &uuid).await?);
        }
    }
    tool.stop().await?;
    ensure!(bare.len() == ours.len(), "not all rounds were measured");
    let (floor, time) = (fastest(&bare), fastest(&ours));
    let ratio = times(time, floor);
    report.table(
        "vsphere-power",
        &[
            Row::new(
                "the bare round trips: connect, log in, find, read, change, see its end, log out",
                ms(floor),
                format!("median of {}: {}", bare.len(), ms(median(bare))),
            ),
            Row::new(
                "`power_on` by uuid, in a running server",
                ms(time),
                format!("{ratio:.2} × the bare; median {}", ms(median(ours))),
            ),
        ],
    );
    report.promise(
        ratio < TIMES,
        format!("a power on by uuid within {TIMES} × the bare round trips ({ratio:.2})"),
    );
    Ok(())
}

async fn power_on(tool: &Tool, uuid: &str) -> Result<Duration> {
    let begun = Instant::now();
    let done = tool
        .ask(json!({"action": "power_on", "vm_uuid": uuid}))
        .await?;
    let time = begun.elapsed();
    ensure!(done["changed"] == true, "nothing was powered on: {done}");
    tool.ask(json!({"action": "power_off", "vm_uuid": uuid}))
        .await?;
    Ok(time)
}
