//! One long workflow: whether its last steps cost what its first ones do, and whether answers about
//! it stay small.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use super::Size;
use super::answers;
use super::lab::{Lab, create, run};
use crate::bench::report::{Report, Row, median, ms};

/// So many steps at the beginning and at the end are compared.
const ENDS: usize = 100;
/// So much more may the last ones cost than the first ones.
const APART: f64 = 0.25;

pub(super) async fn measure(pilot: &Path, size: &Size, report: &mut Report) -> Result<()> {
    let lab = Lab::timed()?;
    let client = lab.client(pilot).await?;
    // The first one starts the companion, and warms everything up.
    run(&client, &create(&client, &vec!["touch"; 2 * ENDS]).await?).await?;
    let steps = size.long;
    let (mut first, mut last, mut all) = (Vec::new(), Vec::new(), Vec::new());
    let mut id = String::new();
    for _ in 0..size.rounds {
        id = create(&client, &vec!["touch"; steps]).await?;
        lab.take_times()?;
        run(&client, &id).await?;
        let moments = lab.take_times()?;
        if moments.len() != steps {
            bail!("{} calls were made for {steps} steps", moments.len());
        }
        let between: Vec<Duration> = moments
            .windows(2)
            .map(|pair| nanoseconds(pair[1].saturating_sub(pair[0])))
            .collect();
        first.push(median(between.iter().copied().take(ENDS).collect()));
        last.push(median(between.iter().rev().copied().take(ENDS).collect()));
        all.push(median(between));
    }
    let (first, last, all) = (median(first), median(last), median(all));
    let ratio = last.as_secs_f64() / first.as_secs_f64();
    report.table(
        "long",
        &[
            Row::new(
                format!("a step, median of the first {ENDS} of {steps}"),
                ms(first),
                "",
            ),
            Row::new(format!("the same of all {steps}"), ms(all), ""),
            Row::new(
                format!("the same of the last {ENDS}"),
                ms(last),
                format!("{ratio:.2} × the first"),
            ),
        ],
    );
    report.promise(
        ratio <= 1.0 + APART,
        format!(
            "the last {ENDS} of {steps} steps at most {:.0} % above the first",
            APART * 100.0
        ),
    );
    answers::measure(&client, &id, steps, report).await?;
    client.stop().await
}

fn nanoseconds(count: u128) -> Duration {
    Duration::from_nanos(u64::try_from(count).unwrap_or(u64::MAX))
}
