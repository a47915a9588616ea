//! How many durable commits a chain of steps costs.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use rusqlite::{Connection, OpenFlags};

use super::Size;
use super::lab::{Lab, create, run};
use super::wal::Watch;
use crate::bench::report::{Report, Row, ms};

/// So many commits may come on top of one for each change.
const MORE: usize = 2;

pub(super) async fn measure(pilot: &Path, size: &Size, report: &mut Report) -> Result<()> {
    let lab = Lab::new()?;
    let client = lab.client(pilot).await?;
    // The first one starts the companion.
    run(&client, &create(&client, &["look"]).await?).await?;

    let n = size.chain;
    let mixed: Vec<&str> = ["touch", "look"].repeat(n);
    let chains: [(&str, Vec<&str>, Option<usize>); 3] = [
        ("changes", vec!["touch"; n], Some(n + MORE)),
        (
            "changes, and as many reads between them",
            mixed,
            Some(n + MORE),
        ),
        // They cost no commit each, but nothing else takes their outcomes along: those are
        // committed after 50 ms, whatever has come together by then.
        ("reads", vec!["look"; n], None),
    ];
    let mut rows = Vec::new();
    let mut promises = Vec::new();
    for (what, tools, most) in chains {
        let id = create(&client, &tools).await?;
        let watch = Watch::begin(&lab.database())?;
        let beside = beside(&lab)?;
        let begun = Instant::now();
        run(&client, &id).await?;
        let time = begun.elapsed();
        let commits = watch.end()?;
        let beside = self::beside(&lab)? - beside;
        rows.push(Row::new(
            format!("commits of an ungated chain of {n} {what}"),
            commits.to_string(),
            format!(
                "{} of them not the chain's own: the rows of tool calls, the owner's coming and going; {} in all",
                beside,
                ms(time)
            ),
        ));
        if let Some(most) = most {
            promises.push((
                commits <= most,
                format!("{n} {what}: at most {most} commits in all"),
            ));
        }
    }
    client.stop().await?;
    report.table("commits", &rows);
    for (kept, what) in promises {
        report.promise(kept, what);
    }
    Ok(())
}

/// How many commits there were that are not of a workflow's events: one for the row of each call of
/// a tool, and two for each time that a workflow was owned.
fn beside(lab: &Lab) -> Result<i64> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(lab.database(), flags)?;
    let count =
        "SELECT (SELECT count(*) FROM call) + 2 * (SELECT ifnull(sum(epoch), 0) FROM owner)";
    Ok(database.query_row(count, [], |row| row.get(0))?)
}
