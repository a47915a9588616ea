//! `cargo xtask chaos`: the real programs are ended at the worst moments, and what is left is
//! judged by what is really there.
//!
//! Two forms. The *named points* end `pilot` at every place where that is dangerous, each time that
//! the place is reached, and again while it recovers. The *campaign* kills programs, hangs up,
//! decides and cancels at moments that follow from a seed. Both end with an operator who tells the
//! truth until everything is at rest, and with the judgement of the [`oracle`].

mod campaign;
mod dice;
mod operator;
mod oracle;
mod order;
mod plan;
mod points;
mod stage;
mod vcenter;

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::task::LocalSet;

use crate::{shell, sim};

/// The seed of the campaign that belongs to the tests, and how long it takes.
const SEED: u64 = 20_260_101;
const SHORT: Duration = Duration::from_secs(20);

/// Where Cargo puts intermediate files; with the target directory, if nobody says otherwise.
const BUILD_DIR: &str = "CARGO_BUILD_BUILD_DIR";

/// Arguments of `cargo xtask chaos`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// From which the choices follow; one of its own, and printed, without it.
    #[arg(long)]
    seed: Option<u64>,
    /// How long the campaign goes on.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// The named points instead of a campaign; with a name, that one alone.
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    points: Option<String>,
    /// Play with the programs in this directory, built with `crash-points`, instead of building them.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// What is played with.
struct Programs {
    pilot: PathBuf,
    control: PathBuf,
    fake: PathBuf,
    simulator: PathBuf,
}

/// What was exercised.
#[derive(Default)]
struct Tally {
    runs: usize,
    kills: usize,
    companion_kills: usize,
    hang_ups: usize,
    workflows: usize,
    judged: usize,
    changes: usize,
    requests: usize,
    recoveries: usize,
    unknowns: usize,
    resolved: usize,
    /// What happened of groups, lists and retries.
    seen: order::Seen,
    ends: BTreeMap<String, usize>,
    reached: BTreeMap<String, usize>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.kills += other.kills;
        self.companion_kills += other.companion_kills;
        self.hang_ups += other.hang_ups;
        self.workflows += other.workflows;
        self.judged += other.judged;
        self.changes += other.changes;
        self.requests += other.requests;
        self.recoveries += other.recoveries;
        self.unknowns += other.unknowns;
        self.resolved += other.resolved;
        self.seen.add(&other.seen);
        for (end, count) in other.ends {
            *self.ends.entry(end).or_insert(0) += count;
        }
        for (point, count) in other.reached {
            *self.reached.entry(point).or_insert(0) += count;
        }
    }

    fn told(&self) -> String {
        let ends: Vec<String> = self
            .ends
            .iter()
            .map(|(end, count)| format!("{count} {end}"))
            .collect();
        let of_the_language: Vec<String> = self
            .seen
            .counts()
            .iter()
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        format!(
            "{} runs, {} kills of pilot, {} of companions, {} hang-ups; {} workflows, {} judged ({}), \
             {} changes done; {} taken over, {} effects unknown, {} of them resolved by hand; {}",
            self.runs,
            self.kills,
            self.companion_kills,
            self.hang_ups,
            self.workflows,
            self.judged,
            ends.join(", "),
            self.changes,
            self.recoveries,
            self.unknowns,
            self.resolved,
            of_the_language.join(", "),
        )
    }
}

/// Plays what was asked for.
pub(crate) fn run(args: &Args) -> Result<()> {
    let programs = Rc::new(match &args.programs {
        Some(dir) => programs_in(dir)?,
        None => build()?,
    });
    if let Some(only) = &args.points {
        return in_time(|| points::run(&programs, only, false));
    }
    let seed = args.seed.unwrap_or_else(|| u64::from(std::process::id()));
    let long = Duration::from_secs(args.minutes * 60);
    in_time(|| campaign::run(&programs, seed, long))
}

/// What belongs to the tests: every named point, and a short campaign.
pub(crate) fn suite() -> Result<()> {
    let programs = Rc::new(build()?);
    in_time(|| points::run(&programs, "", true))?;
    in_time(|| campaign::run(&programs, SEED, SHORT))
}

/// Plays until the end or until Ctrl-C; all that was started ends with it.
fn in_time<Played: Future<Output = Result<()>>>(play: impl FnOnce() -> Played) -> Result<()> {
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // What is dropped at the end, in the midst of something, needs it.
    let _entered = runtime.enter();
    let all = LocalSet::new();
    all.block_on(&runtime, async {
        tokio::select! {
            played = play() => played,
            interrupted = shell::interrupted() => interrupted.and_then(|()| bail!("interrupted")),
        }
    })?;
    println!("  ({} s)", begun.elapsed().as_secs());
    Ok(())
}

/// Gets and builds what is played with: the programs with their crash points, in a place of their
/// own, from the same intermediate files as the tests.
fn build() -> Result<Programs> {
    let target = shell::target_dir();
    let place = target.join("crash-points");
    let mut cargo = shell::cargo();
    cargo
        .args(["build", "--workspace", "--quiet"])
        .args(["--bin", "pilot", "--bin", "vmware-control"])
        .args(["--example", "fake_companion"])
        .args(["--features", "pilot/crash-points"])
        .env("CARGO_TARGET_DIR", &place)
        .env(BUILD_DIR, env::var_os(BUILD_DIR).unwrap_or(target.into()));
    shell::run(&mut cargo)?;
    programs_in(&place.join("debug"))
}

fn programs_in(dir: &Path) -> Result<Programs> {
    let simulator = sim::ensure_vcsim()?;
    let dir = dir
        .canonicalize()
        .with_context(|| format!("there is no {}", dir.display()))?;
    let program = |name: &str| {
        let program = dir.join(name);
        ensure!(
            shell::is_executable(&program),
            "there is no program {}",
            program.display()
        );
        Ok(program)
    };
    Ok(Programs {
        pilot: program("pilot")?,
        control: program("vmware-control")?,
        fake: program("examples/fake_companion")?,
        simulator,
    })
}

/// The names in the table of `home::crash`: read from its source, since nothing in here depends on
/// a room.
fn table() -> Result<Vec<String>> {
    let source = shell::root().join("crates/home/src/crash.rs");
    let text = std::fs::read_to_string(&source)
        .with_context(|| format!("could not read {}", source.display()))?;
    let names = names_of(&text);
    ensure!(
        !names.is_empty(),
        "there is no table in {}",
        source.display()
    );
    Ok(names)
}

/// The names between `POINTS` and the end of the table.
pub(crate) fn names_of(source: &str) -> Vec<String> {
    let table = source
        .split_once("const POINTS")
        .map_or("", |(_, rest)| rest);
    let table = table.split_once("];").map_or("", |(table, _)| table);
    let parts = table.split('"').skip(1).step_by(2);
    parts.map(str::to_owned).collect()
}

/// Says where the home of a failed run was kept.
fn kept(error: &anyhow::Error, what: &str, place: &Path) -> anyhow::Error {
    anyhow::anyhow!(
        "{what}: {error:#}\nEverything of it is kept in {}",
        place.display()
    )
}

#[cfg(test)]
mod tests {
    use super::names_of;

    #[test]
    fn the_table_is_read_from_its_source() {
        let source = "const X: &str = \"x\";\npub const POINTS: &[&str] = &[\n    \"a.b\",\n    \"c.d\",\n];\n\"e\"";
        assert_eq!(names_of(source), ["a.b", "c.d"]);
        assert!(names_of("nothing").is_empty());
    }
}
