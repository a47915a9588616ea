//! The reading of an answer by itself: from memory, without a network.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::lab::{Lab, simulator};
use super::timed::run;
use super::{Size, Tools};
use crate::bench::report::{Report, Row};
use crate::shell;

/// The answer about so many VMs is counted in instructions, which takes fifty times as long.
const COUNTED: usize = 1_000;
/// How often an answer is read; the fastest counts.
const ROUNDS: &str = "7";

/// What the example says of one file.
struct Read {
    bytes: f64,
    objects: f64,
    properties: f64,
    micros: f64,
}

pub(super) fn measure(tools: &Tools, size: &Size, report: &mut Report) -> Result<()> {
    let mut rows = Vec::new();
    let (large, small) = (recorded(tools, size.one_of)?, recorded(tools, COUNTED)?);
    let read = read(&shell::output(
        Command::new(&tools.parse)
            .arg(large.path("answer"))
            .arg(ROUNDS),
    )?)?;
    rows.push(Row::new(
        format!(
            "an answer of {:.1} MB, {:.0} objects with {:.0} properties",
            read.bytes / 1e6,
            read.objects,
            read.properties
        ),
        format!("{:.0} MB/s", read.bytes / read.micros),
        format!("{:.2} µs for each object", read.micros / read.objects),
    ));
    let what = format!("instructions to read the answer about {COUNTED} VMs (callgrind)");
    rows.push(match instructions(&tools.parse, &small)? {
        Ok((count, bytes)) => Row::new(
            what,
            format!("{:.1} million", count / 1e6),
            format!("{:.1} for each byte", count / bytes),
        ),
        Err(why) => Row::new(what, "not measured", why),
    });
    report.table("vsphere-parser", &rows);
    Ok(())
}

/// A lab with a real answer about so many VMs in its file `answer`.
fn recorded(tools: &Tools, vms: usize) -> Result<Lab> {
    let server = simulator(&tools.fast, vms, &[])?;
    let lab = Lab::at(server.host(), server.port())?;
    let file = lab.path("answer");
    let file = file
        .to_str()
        .context("the temporary directory has no name in UTF-8")?;
    run(&mut lab.example(&tools.floor, &["list", file]))?;
    Ok(lab)
}

fn read(said: &str) -> Result<Read> {
    let numbers: Vec<f64> = said
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .with_context(|| format!("the parser's example said: {said}"))?;
    match numbers.as_slice() {
        [bytes, objects, properties, micros] => Ok(Read {
            bytes: *bytes,
            objects: *objects,
            properties: *properties,
            micros: *micros,
        }),
        _ => anyhow::bail!("the parser's example said: {said}"),
    }
}

/// How many instructions a reading takes, start of the program left out, and of how many bytes;
/// or why nobody can count them here.
fn instructions(parse: &Path, lab: &Lab) -> Result<Result<(f64, f64), String>> {
    let Some(valgrind) = shell::on_path("valgrind") else {
        return Ok(Err("there is no valgrind here".to_owned()));
    };
    let file = lab.path("answer");
    let count = |rounds: &str| -> Result<Option<f64>> {
        let out = lab.path("callgrind.out");
        let said = run(Command::new(&valgrind)
            .arg("--tool=callgrind")
            .arg(format!("--callgrind-out-file={}", out.display()))
            .arg(parse)
            .arg(&file)
            .arg(rounds))?;
        Ok(collected(&said.said))
    };
    let bytes = std::fs::metadata(&file)?.len();
    // The second reading alone: the first one also starts the program.
    match (count("1")?, count("2")?) {
        (Some(once), Some(twice)) => Ok(Ok((twice - once, f64::from(u32::try_from(bytes)?)))),
        _ => Ok(Err("callgrind said no count".to_owned())),
    }
}

/// The count in `==7== Collected : 12345`.
fn collected(said: &str) -> Option<f64> {
    said.lines()
        .find_map(|line| line.split_once("Collected :"))?
        .1
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::{collected, read};

    #[test]
    fn what_the_example_and_callgrind_say_is_read() {
        let said = "==7== \n==7== Events    : Ir\n==7== Collected : 1234567\n";
        assert_eq!(collected(said), Some(1_234_567.0));
        assert_eq!(collected("==7== killed"), None);
        assert!(read("20700000 10000 120000 150000\n").is_ok_and(|read| read.objects > 9_999.0));
        assert!(read("20700000 10000").is_err());
    }
}
