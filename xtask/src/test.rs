//! `cargo xtask test`: sets up what the tests need and runs all of them.

use std::env;
use std::ffi::OsString;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{chaos, shell, sim};

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments for `cargo test`, such as `-p guard` or a filter.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs every test of the workspace, or those that the arguments select.
pub(crate) fn run(args: &Args) -> Result<()> {
    let begun = Instant::now();
    let simulator = sim::ensure_vcsim()?;
    sim::ensure_strace()?;
    let cargo_test = |arguments: &[OsString]| {
        let mut cargo = shell::cargo();
        cargo
            .arg("test")
            .args(arguments)
            .env("PILOTHOUSE_VCSIM", &simulator);
        cargo
    };

    let selected = if args.arguments.is_empty() {
        // One build for everything, first, so that no test waits for it, and a
        // second run beside this one rebuilds nothing under its feet. (Not
        // `--all-targets`: that builds examples as tests only, and the fake
        // companion that tests start is one.)
        shell::run(&mut cargo_test(&words(&[
            "--workspace",
            "--no-run",
            "--quiet",
        ])))?;
        // Every test is run, so that one report shows all that fails.
        words(&["--workspace", "--no-fail-fast"])
    } else {
        selection(verbatim("test", env::args_os()).unwrap_or_else(|| args.arguments.clone()))
    };
    // Whatever a test leaves when it is killed lies in here, and goes with it.
    let scratch = tempfile::Builder::new()
        .prefix("pilothouse-test-")
        .tempdir()
        .context("could not make a directory for temporary files")?;
    shell::run_to_its_end(cargo_test(&selected).env("TMPDIR", scratch.path()))?;
    if args.arguments.is_empty() {
        chaos::suite()?;
    }
    println!("All tests passed ({} s).", begun.elapsed().as_secs());
    Ok(())
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// What was typed after the command, with the first `--` that the command
/// line parser would take for itself.
fn verbatim(command: &str, typed: impl Iterator<Item = OsString>) -> Option<Vec<OsString>> {
    let mut rest = typed.skip_while(|word| word != command);
    rest.next()?;
    Some(rest.collect())
}

/// All packages, unless some were named.
fn selection(arguments: Vec<OsString>) -> Vec<OsString> {
    let named = arguments
        .iter()
        .take_while(|word| *word != "--")
        .any(|word| {
            let word = word.to_string_lossy();
            word.starts_with("-p") || word.starts_with("--package")
        });
    let all = (!named).then(|| OsString::from("--workspace"));
    all.into_iter().chain(arguments).collect()
}

#[cfg(test)]
mod tests {
    use super::{selection, verbatim, words};

    #[test]
    fn what_was_typed_is_passed_on_as_it_is() {
        let typed = words(&["xtask", "test", "sanitize", "--", "--nocapture"]);
        assert_eq!(
            verbatim("test", typed.into_iter()),
            Some(words(&["sanitize", "--", "--nocapture"]))
        );
        assert_eq!(verbatim("test", words(&["xtask"]).into_iter()), None);
    }

    #[test]
    fn packages_that_are_named_replace_the_workspace() {
        assert_eq!(selection(words(&["-p", "guard"])), words(&["-p", "guard"]));
        assert_eq!(selection(words(&["bidi"])), words(&["--workspace", "bidi"]));
        assert_eq!(
            selection(words(&["--", "-p"])),
            words(&["--workspace", "--", "-p"])
        );
    }
}
