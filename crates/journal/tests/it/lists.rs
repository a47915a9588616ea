//! What a person asks for costs the same with many workflows as with few.

use engine::ports::{Batch, Journal as _};
use journal::Journal;
use std::time::{Duration, Instant};

use crate::common::{NOW, Place, batch, created, id, place, step, undo_failed};

/// The query plans that SQLite makes for what `list`, `load` and `projection` ask.
fn plans(place: &Place) -> Vec<(String, String)> {
    let sql = place.sql();
    let asked = [
        "SELECT * FROM workflow WHERE ?1 = '' AND (created_at, id) < (?2, ?3)
         ORDER BY created_at DESC, id DESC LIMIT ?4",
        "SELECT * FROM workflow WHERE state = ?1 AND (created_at, id) < (?2, ?3)
         ORDER BY created_at DESC, id DESC LIMIT ?4",
        "SELECT * FROM event WHERE workflow = ?1 ORDER BY seq",
        "SELECT max(seq) FROM event WHERE workflow = ?1",
        "SELECT * FROM step WHERE workflow = ?1 ORDER BY place",
        "SELECT * FROM output WHERE workflow = ?1",
        "SELECT workflow FROM held WHERE object = ?1",
        "DELETE FROM held WHERE workflow = ?1",
        "SELECT id FROM workflow WHERE archived_in = ?1 ORDER BY id",
    ];
    asked
        .map(|asked| {
            let mut statement = sql.prepare(&format!("EXPLAIN QUERY PLAN {asked}")).unwrap();
            let names: Vec<_> = (1..=statement.parameter_count()).map(|_| "x").collect();
            let steps = statement
                .query_map(rusqlite::params_from_iter(names), |row| row.get(3))
                .unwrap()
                .collect::<Result<Vec<String>, _>>()
                .unwrap();
            (asked.to_owned(), steps.join("; "))
        })
        .into()
}

#[tokio::test]
async fn p11_what_is_asked_for_is_found_by_an_index_and_in_order() {
    let place = place();
    drop(place.open());
    let plans = plans(&place);
    for (asked, plan) in &plans {
        assert!(plan.contains("SEARCH"), "{asked}: {plan}");
        assert!(
            !plan.contains("SCAN") && !plan.contains("B-TREE"),
            "{asked}: {plan}"
        );
    }
    assert_eq!(plans.len(), 9);
}

/// The number of steps that SQLite takes for a page does not grow with the number of workflows.
#[tokio::test]
async fn p11_a_page_of_a_list_is_the_same_however_it_is_asked_for() {
    let place = place();
    let journal = place.open();
    let states = ["running", "completed", "failed", "paused"];
    let appends: Vec<_> = (0..200)
        .map(|n| journal.append(one(n, states[usize::try_from(n).unwrap() % 4])))
        .collect();
    for append in appends {
        append.await.unwrap();
    }
    let names = async |states: &[&str], after: Option<&str>, limit| {
        let states = states.iter().map(|state| (*state).to_owned()).collect();
        let (rows, total) = journal.list(states, after.map(id), limit).await.unwrap();
        let names: Vec<String> = rows.into_iter().map(|row| row.workflow.0).collect();
        (names, total)
    };
    let (all, total) = names(&[], None, 999).await;
    assert_eq!((all.len(), total), (200, 200));
    let mut pages = 0;
    for wanted in [
        &states[..],
        &states[1..3],
        &states[2..3],
        &["failed", "failed", "none"],
    ] {
        let (whole, total) = names(wanted, None, 999).await;
        assert_eq!(whole.len() as u64, total);
        let of_all = |name: &&String| {
            let number: usize = name.trim_start_matches("wf_").parse().unwrap();
            wanted.contains(&states[number % 4])
        };
        assert_eq!(
            whole,
            all.iter().filter(of_all).cloned().collect::<Vec<_>>()
        );
        let (mut paged, mut after) = (Vec::new(), None::<String>);
        loop {
            let (page, _) = names(wanted, after.as_deref(), 7).await;
            let Some(last) = page.last() else { break };
            after = Some(last.trim_start_matches("wf_").to_owned());
            paged.extend(page);
            pages += 1;
        }
        assert_eq!(paged, whole);
    }
    assert_eq!(names(&[], Some("unknown"), 9).await, (vec![], 200));
    eprintln!("{pages} pages");
}

fn one(n: i64, state: &str) -> Batch {
    let workflow = id(&format!("{n:06}"));
    let mut batch = batch(&workflow, 1, vec![created(&workflow), undo_failed("a")]);
    batch.row.state = state.to_owned();
    // Several were made at the same moment.
    batch.row.created_at = NOW + n / 3;
    batch.row.updated_at = NOW + n / 3;
    batch.steps = vec![step(0, "succeeded"), step(1, "pending")];
    batch
}

/// The middle one of several times.
async fn middle(mut work: impl AsyncFnMut()) -> Duration {
    let mut times = Vec::new();
    for _ in 0..101 {
        let start = Instant::now();
        work().await;
        times.push(start.elapsed());
    }
    times.sort();
    times[50]
}

#[tokio::test]
#[ignore = "prints measurements"]
async fn measure_lists() {
    for count in [100, 100_000] {
        let place = place();
        let journal = place.open();
        for from in (0..count).step_by(1000) {
            let states = ["completed", "failed", "running"];
            let appends: Vec<_> = (from..count.min(from + 1000))
                .map(|n| {
                    // Few run, most are over.
                    let state = states[usize::from(n % 7 == 0) + usize::from(n % 5000 == 0)];
                    journal.append(one(n, state))
                })
                .collect();
            for append in appends {
                append.await.unwrap();
            }
        }
        drop(journal);
        let opening = middle(async || drop(Journal::open(&place.home).unwrap())).await;
        let journal = place.open();
        let list = async |states: &[&str]| {
            let states: Vec<String> = states.iter().map(|state| (*state).to_owned()).collect();
            let took = middle(async || {
                journal.list(states.clone(), None, 50).await.unwrap();
            });
            took.await
        };
        let (all, over, rare) = (
            list(&[]).await,
            list(&["completed", "failed"]).await,
            list(&["running", "paused"]).await,
        );
        let middle_one = id(&format!("{:06}", count / 2));
        let load = middle(async || drop(journal.load(&middle_one).await.unwrap())).await;
        let shown = middle(async || drop(journal.projection(&middle_one).await.unwrap())).await;
        let mut seq = 2;
        let transition = middle(async || {
            seq += 1;
            let mut next = one(count / 2, "running");
            next.events = batch(&middle_one, seq, vec![undo_failed("a")]).events;
            journal.append(next).await.unwrap();
        });
        let transition = transition.await;
        eprintln!(
            "{count} workflows: open {opening:?}, list all {all:?}, of two states {over:?}, of rare \
             ones {rare:?}, load {load:?}, projection {shown:?}, transition {transition:?}"
        );
        let start = Instant::now();
        let dry = journal.archive(0, NOW + count, true).await.unwrap();
        eprintln!(
            "  {} could be archived, counted in {:?}",
            dry.workflows,
            start.elapsed()
        );
        let start = Instant::now();
        let done = journal.archive(0, NOW + count, false).await.unwrap();
        eprintln!("  {} events archived in {:?}", done.events, start.elapsed());
        let start = Instant::now();
        let verified = journal.verify().await.unwrap();
        eprintln!("  {} rows verified in {:?}", verified.rows, start.elapsed());
        assert_eq!(verified.broken, None);
    }
}
