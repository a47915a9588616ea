//! Whether memory stays flat over many steps.

use std::path::Path;

use anyhow::Result;

use super::Size;
use super::lab::{Lab, create, run};
use crate::bench::report::{Report, Row};
use crate::bench::startup::resident_kb;

/// Steps of each workflow.
const STEPS: usize = 1_000;
/// So much larger may it be the second time.
const TIMES: f64 = 1.25;

pub(super) async fn measure(pilot: &Path, size: &Size, report: &mut Report) -> Result<()> {
    let lab = Lab::new()?;
    let client = lab.client(pilot).await?;
    let (early, late) = size.memory;
    let mut rows = Vec::new();
    let (mut first, mut last) = (0, 0);
    for turn in 1..=late / STEPS {
        run(&client, &create(&client, &vec!["touch"; STEPS]).await?).await?;
        let done = turn * STEPS;
        if done == early || done == late || (done > early && done.is_multiple_of(late / 4)) {
            last = resident_kb(client.process())?;
            if done == early {
                first = last;
            }
            rows.push(Row::new(
                format!("memory of `pilot` after {done} steps (VmRSS)"),
                format!("{:.1} MB", megabytes(last)),
                format!(
                    "{:.2} × that after {early}",
                    megabytes(last) / megabytes(first)
                ),
            ));
        }
    }
    client.stop().await?;
    report.table("memory", &rows);
    report.promise(
        megabytes(last) <= TIMES * megabytes(first),
        format!("memory after {late} steps at most {TIMES} × that after {early}"),
    );
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "megabytes to read, with one decimal"
)]
fn megabytes(kilobytes: u64) -> f64 {
    kilobytes as f64 / 1024.0
}
