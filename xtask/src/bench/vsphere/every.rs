//! A dozen properties of every VM: the export of the library, the tool's own pages, and the peers,
//! against the server's answer that is fetched and thrown away.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::lab::{Lab, PROPERTIES, simulator};
use super::pager::{MOST, Pager};
use super::timed::{Timed, run};
use super::{COMPARED, Size, Tools, load};
use crate::bench::report::{Report, Row, fastest, times};

/// The export may take this many times the floor.
const FLOOR: f64 = 1.5;
/// It is at least so many times as fast as the peers.
const GOVC: f64 = 3.0;
const PYVMOMI: f64 = 6.0;
/// The most memory that it may hold, in MB, with so many VMs.
const MEMORY: &[(usize, u64)] = &[(10_000, 25), (50_000, 30)];
/// The tool's pages are fetched so often, since with many VMs they take long.
const PAGED_ROUNDS: usize = 2;

pub(super) async fn measure(tools: &Tools, size: &Size, report: &mut Report) -> Result<()> {
    let mut rows = Vec::new();
    let mut promises = Promises::default();
    for &(vms, rounds) in size.inventories {
        let server = simulator(&tools.fast, vms, &[])?;
        let lab = Lab::at(server.host(), server.port())?;
        let seen = compare(tools, &lab, vms, rounds, 0)?;
        seen.rows(tools, vms, "", &mut rows);
        promises.of(&seen, tools, vms, "");
        let rounds = if vms > COMPARED { 1 } else { PAGED_ROUNDS };
        for row in rows.iter().rev().take(4).rev() {
            println!("  {}: {} ({})", row.what, row.value, row.against);
        }
        rows.push(pages(tools, &lab, vms, rounds, seen.export.wall).await?);
    }
    report.table("vsphere-every", &rows);

    let server = simulator(&tools.fast, size.paged, &["-tls=false"])?;
    let pager = Pager::start(SocketAddr::from((Ipv4Addr::LOCALHOST, server.port())))?;
    let lab = Lab::at("127.0.0.1", pager.port)?;
    let seen = compare(tools, &lab, size.paged, 3, size.paged.div_ceil(MOST))?;
    let how = format!(", {MOST} objects an answer");
    let mut rows = Vec::new();
    seen.rows(tools, size.paged, &how, &mut rows);
    promises.of(&seen, tools, size.paged, &how);
    report.table("vsphere-paged", &rows);

    promises.tell(report);
    Ok(())
}

/// What each of them needed.
struct Seen {
    floor: Timed,
    export: Timed,
    govc: Result<Timed, String>,
    python: Result<Timed, String>,
}

/// All of them in turns, so that what else the machine does meets each alike.
fn compare(tools: &Tools, lab: &Lab, vms: usize, rounds: usize, pages: usize) -> Result<Seen> {
    let (mut floor, mut export, mut govc, mut python) = (None, None, None, None);
    for _ in 0..rounds {
        keep(&mut floor, run(&mut lab.example(&tools.floor, &["list"]))?);
        let one = run(&mut lab.example(&tools.export, &[]))?;
        let (objects, in_pages, _) = said(&one.said).context("the export said nothing")?;
        ensure!(objects == vms, "the export found {objects} of {vms} VMs");
        ensure!(
            pages == 0 || in_pages == pages,
            "{in_pages} pages instead of {pages}"
        );
        keep(&mut export, one);
        if let Ok(program) = &tools.govc {
            let mut arguments = vec!["object.collect", "-json", "-type", "m", "/"];
            arguments.extend(PROPERTIES);
            keep(&mut govc, run(&mut lab.govc(program, &arguments))?);
        }
        if let Ok(program) = &tools.python {
            let one: Timed = run(&mut lab.pyvmomi(program) as &mut Command)?;
            ensure!(
                one.said == format!("{vms} objects"),
                "pyVmomi found: {}",
                one.said
            );
            keep(&mut python, one);
        }
    }
    let mut export = export.context("nothing was exported")?;
    // It says itself what it held at most, which is exact.
    if let Some((_, _, kb)) = said(&export.said) {
        export.peak_kb = kb;
    }
    let missing = |why: &Result<_, String>| why.as_ref().err().cloned().unwrap_or_default();
    Ok(Seen {
        floor: floor.context("there is no floor")?,
        export,
        govc: govc.ok_or_else(|| missing(&tools.govc)),
        python: python.ok_or_else(|| missing(&tools.python)),
    })
}

/// The faster of both, with the larger memory and the smaller time on a processor of both.
fn keep(best: &mut Option<Timed>, one: Timed) {
    *best = Some(match best.take() {
        None => one,
        Some(other) => {
            let (peak_kb, processor) = (
                one.peak_kb.max(other.peak_kb),
                one.processor.min(other.processor),
            );
            let faster = if one.wall < other.wall { one } else { other };
            Timed {
                peak_kb,
                processor,
                ..faster
            }
        }
    });
}

/// Objects, pages and kilobytes in `10000 objects in 10 pages, 9000 kB`.
fn said(text: &str) -> Option<(usize, usize, u64)> {
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty());
    let objects = numbers.next()?.parse().ok()?;
    let pages = numbers.next()?.parse().ok()?;
    Some((objects, pages, numbers.next()?.parse().ok()?))
}

impl Seen {
    fn rows(&self, tools: &Tools, vms: usize, how: &str, rows: &mut Vec<Row>) {
        let floor = self.floor.wall;
        rows.push(Row::new(
            format!("{vms} VMs{how}: the floor"),
            figures(&self.floor),
            format!("{}; load of the machine {}", self.floor.said, load()),
        ));
        rows.push(Row::new(
            format!("{vms} VMs{how}: export of the library"),
            figures(&self.export),
            format!("{:.2} × the floor", times(self.export.wall, floor)),
        ));
        for (name, peer, why) in [
            ("`govc object.collect -json`", &self.govc, &tools.govc),
            ("pyVmomi, one collector call", &self.python, &tools.python),
        ] {
            let what = format!("{vms} VMs{how}: {name}");
            rows.push(match peer {
                Ok(peer) => Row::new(
                    what,
                    figures(peer),
                    format!(
                        "the export is {:.1} × as fast",
                        times(peer.wall, self.export.wall)
                    ),
                ),
                Err(_) => Row::new(
                    what,
                    "not measured",
                    why.as_ref().err().cloned().unwrap_or_default(),
                ),
            });
        }
    }
}

/// To read.
fn figures(run: &Timed) -> String {
    format!(
        "{}, {:.2} s of it on a processor, {:.1} MB",
        seconds(run.wall),
        run.processor.as_secs_f64(),
        megabytes(run.peak_kb)
    )
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "megabytes to read, with one decimal"
)]
fn megabytes(kilobytes: u64) -> f64 {
    kilobytes as f64 / 1024.0
}

/// The tool's own pages of the list, in a running server.
async fn pages(
    tools: &Tools,
    lab: &Lab,
    vms: usize,
    rounds: usize,
    export: Duration,
) -> Result<Row> {
    let tool = lab.tool(&tools.control).await?;
    let mut all = Vec::new();
    let mut count = 0;
    for _ in 0..rounds {
        let begun = Instant::now();
        let (rows, pages) = tool.all_pages().await?;
        all.push(begun.elapsed());
        ensure!(rows == vms, "the tool listed {rows} of {vms} VMs");
        count = pages;
    }
    let peak = tool.peak_kb();
    let of = if tool.takes_fields {
        "these properties"
    } else {
        "its own rows of 20 properties"
    };
    tool.stop().await?;
    let time = fastest(&all);
    Ok(Row::new(
        format!("{vms} VMs: `list_vms`, {of}, all {count} pages"),
        format!("{}, {:.1} MB", seconds(time), megabytes(peak)),
        format!(
            "{:.1} × the export; each page begins with the names of all VMs",
            times(time, export)
        ),
    ))
}

/// What came of the promises, to be told after the tables.
#[derive(Default)]
struct Promises {
    known: Vec<(bool, String)>,
    unknown: Vec<(String, String)>,
}

impl Promises {
    fn of(&mut self, seen: &Seen, tools: &Tools, vms: usize, how: &str) {
        let export = seen.export.wall;
        let ratio = times(export, seen.floor.wall);
        self.known.push((
            ratio <= FLOOR,
            format!("{vms} VMs{how}: exported within {FLOOR} × the floor ({ratio:.2})"),
        ));
        if vms == COMPARED && how.is_empty() {
            for (name, least, peer, why) in [
                ("govc", GOVC, &seen.govc, &tools.govc),
                ("pyVmomi", PYVMOMI, &seen.python, &tools.python),
            ] {
                let what = format!("{vms} VMs exported at least {least} × as fast as by {name}");
                match peer {
                    Ok(peer) => {
                        let ratio = times(peer.wall, export);
                        self.known
                            .push((ratio >= least, format!("{what} ({ratio:.1})")));
                    }
                    Err(_) => self
                        .unknown
                        .push((what, why.as_ref().err().cloned().unwrap_or_default())),
                }
            }
        }
        for (_, most) in MEMORY.iter().filter(|(many, _)| *many == vms) {
            let peak = megabytes(seen.export.peak_kb);
            self.known.push((
                seen.export.peak_kb < most * 1024,
                format!("{vms} VMs{how}: exported in less than {most} MB ({peak:.1})"),
            ));
        }
    }

    fn tell(self, report: &mut Report) {
        for (kept, what) in self.known {
            report.promise(kept, what);
        }
        for (what, why) in self.unknown {
            report.unmeasured(what, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Timed, keep, said};

    #[test]
    fn what_the_export_says_is_read() {
        assert_eq!(
            said("10000 objects in 10 pages, 9000 kB"),
            Some((10_000, 10, 9_000))
        );
        assert_eq!(said("10000 objects"), None);
    }

    #[test]
    fn of_two_runs_the_faster_counts_and_the_larger_memory() {
        let timed = |ms, peak_kb| Timed {
            wall: Duration::from_millis(ms),
            processor: Duration::from_millis(ms),
            peak_kb,
            said: ms.to_string(),
        };
        let mut best = None;
        for one in [timed(7, 10), timed(5, 30), timed(9, 20)] {
            keep(&mut best, one);
        }
        assert!(best.is_some_and(|best| {
            (best.wall.as_millis(), best.peak_kb, best.said.as_str()) == (5, 30, "5")
        }));
    }
}
