//! The first rows of a long list, and one VM of many by its name.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::lab::{Lab, Tool, simulator};
use super::timed::run;
use super::{Size, Tools};
use crate::bench::report::{Report, Row, fastest, ms, times};

/// Rows of the short list.
const LIMIT: usize = 100;
/// It costs less than this part of the whole list.
const PART: f64 = 1.0 / 3.0;
/// By name, a power on is at least so many times as fast as by `govc`.
const GOVC: f64 = 2.0;
/// How often each is measured.
const ROUNDS: usize = 5;
/// Somewhere in the middle, by the names that the simulator gives.
const NAME: &str = "DC0_C0_RP0_VM77";

pub(super) async fn measure(tools: &Tools, size: &Size, report: &mut Report) -> Result<()> {
    let vms = size.one_of;
    let server = simulator(&tools.fast, vms, &[])?;
    let lab = Lab::at(server.host(), server.port())?;
    let tool = lab.tool(&tools.control).await?;
    let mut rows = Vec::new();

    let (mut short, mut whole) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let (count, _) = tool.page(LIMIT, None).await?;
        short.push(begun.elapsed());
        ensure!(count == LIMIT, "{count} rows instead of {LIMIT}");
        if round < 2 {
            let begun = Instant::now();
            let (count, _) = tool.all_pages().await?;
            whole.push(begun.elapsed());
            ensure!(count == vms, "the tool listed {count} of {vms} VMs");
        }
    }
    let (short, whole) = (fastest(&short), fastest(&whole));
    let part = times(short, whole);
    rows.push(Row::new(
        format!("`list_vms` of {vms} VMs, `limit: {LIMIT}`"),
        ms(short),
        format!("{part:.2} of the whole list, which takes {}", ms(whole)),
    ));

    let by_name = named(&tool).await?;
    rows.push(Row::new(
        format!("`power_on` by name, one of {vms} VMs, in a running server"),
        ms(by_name),
        "",
    ));
    tool.stop().await?;
    let peer = match &tools.govc {
        Ok(program) => Ok(govc(&lab, program)?),
        Err(why) => Err(why.clone()),
    };
    rows.push(match &peer {
        Ok(peer) => Row::new(
            "the same by `govc vm.power`, a process for each, its session kept",
            ms(*peer),
            format!("the tool is {:.1} × as fast", times(*peer, by_name)),
        ),
        Err(why) => Row::new("the same by `govc`", "not measured", why.as_str()),
    });
    report.table("vsphere-first", &rows);
    report.promise(
        part < PART,
        format!(
            "the first {LIMIT} of {vms} VMs for less than a third of the whole list ({part:.2})"
        ),
    );
    let what = format!("a power on by name, of {vms} VMs, at least {GOVC} × as fast as by govc");
    match peer {
        Ok(peer) => {
            let ratio = times(peer, by_name);
            report.promise(ratio >= GOVC, format!("{what} ({ratio:.1})"));
        }
        Err(why) => report.unmeasured(what, why),
    }
    Ok(())
}

async fn named(tool: &Tool) -> Result<Duration> {
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        tool.ask(json!({"action": "power_off", "vm_name": NAME}))
            .await?;
        let begun = Instant::now();
        let done = tool
            .ask(json!({"action": "power_on", "vm_name": NAME}))
            .await?;
        all.push(begun.elapsed());
        ensure!(done["changed"] == true, "nothing was powered on: {done}");
    }
    Ok(fastest(&all))
}

fn govc(lab: &Lab, program: &std::path::Path) -> Result<Duration> {
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        run(&mut lab.govc(program, &["vm.power", "-off", NAME]))?;
        all.push(run(&mut lab.govc(program, &["vm.power", "-on", NAME]))?.wall);
    }
    Ok(fastest(&all))
}
