//! Runs cells beside each other, and gathers what is wrong with any of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The cells that are to be run now (see the suite's own words).
pub(crate) fn chosen<C: Clone>(
    all: &[C],
    name: fn(&C) -> String,
    slice: fn(&[C]) -> Vec<usize>,
) -> Vec<C> {
    let asked = std::env::var("PILOTHOUSE_FAULTS").unwrap_or_default();
    let places = match asked.as_str() {
        "" => slice(all),
        "all" => (0..all.len()).collect(),
        part => (0..all.len())
            .filter(|place| name(&all[*place]).contains(part))
            .collect(),
    };
    places.into_iter().map(|place| all[place].clone()).collect()
}

/// Runs them, a few on each core, since most of their time is waiting. Fails with all that failed.
pub(crate) fn run<C: Sync, T: Send>(
    what: &str,
    cells: &[C],
    name: fn(&C) -> String,
    one: fn(&C) -> Result<T, String>,
) -> Vec<T> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let failed = Mutex::new(Vec::new());
    let longest = Mutex::new((Duration::ZERO, String::new()));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..cores * 6 {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = Instant::now();
                    match catch_unwind(AssertUnwindSafe(|| one(cell))) {
                        Ok(Ok(story)) => done.lock().unwrap().push(story),
                        Ok(Err(why)) => failed
                            .lock()
                            .unwrap()
                            .push(format!("{}: {why}", name(cell))),
                        Err(panic) => {
                            let why = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                            failed
                                .lock()
                                .unwrap()
                                .push(format!("{}: panic: {why}", name(cell)));
                        }
                    }
                    let took = (start.elapsed(), name(cell));
                    let mut longest = longest.lock().unwrap();
                    if took.0 > longest.0 {
                        *longest = took;
                    }
                }
            });
        }
    });
    println!(
        "{what}: {} cells in {:?}, the longest {:?}",
        cells.len(),
        begun.elapsed(),
        longest.into_inner().unwrap()
    );
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    assert!(
        failed.is_empty(),
        "{} of {} cells:\n{}",
        failed.len(),
        cells.len(),
        failed.join("\n")
    );
    done.into_inner().unwrap()
}
