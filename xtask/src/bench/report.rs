//! Tables of what was measured.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::shell;

const DOCUMENT: &str = "docs/benchmarks.md";

/// What was measured, and which promises were not kept.
#[derive(Default)]
pub(super) struct Report {
    missed: Vec<String>,
    unmeasured: Vec<String>,
    /// Name of the section in the document, and its table.
    tables: Vec<(&'static str, String)>,
}

/// One line of a table: what, how much, and against which bound or floor.
pub(super) struct Row {
    pub(super) what: String,
    pub(super) value: String,
    pub(super) against: String,
}

impl Row {
    pub(super) fn new(
        what: impl Into<String>,
        value: impl Into<String>,
        against: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            value: value.into(),
            against: against.into(),
        }
    }
}

impl Report {
    /// Prints a table and keeps it for the document.
    pub(super) fn table(&mut self, section: &'static str, rows: &[Row]) {
        let mut text = String::from("| what | measured | against |\n|---|---|---|\n");
        for row in rows {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {} | {} | {} |", row.what, row.value, row.against);
        }
        println!("\n{section}\n\n{text}");
        self.tables.push((section, text));
    }

    /// Records a promise, kept or not.
    pub(super) fn promise(&mut self, kept: bool, what: impl Into<String>) {
        let what = what.into();
        println!("{} {what}", if kept { "✓" } else { "✗" });
        if !kept {
            self.missed.push(what);
        }
    }

    /// Records a promise that could not be measured here: neither kept nor missed.
    pub(super) fn unmeasured(&mut self, what: impl Into<String>, why: impl Into<String>) {
        let (what, why) = (what.into(), why.into());
        println!("? not measured: {what}: {why}");
        self.unmeasured.push(what);
    }

    /// Writes the document if asked, and fails if a promise was not kept.
    pub(super) fn finish(self, write: bool) -> Result<()> {
        if write {
            let path = shell::root().join(DOCUMENT);
            let mut text =
                fs::read_to_string(&path).with_context(|| format!("could not read {DOCUMENT}"))?;
            for (section, table) in &self.tables {
                text = replace(&text, section, table)?;
            }
            fs::write(&path, text).with_context(|| format!("could not write {DOCUMENT}"))?;
            println!("wrote {DOCUMENT}");
        }
        if !self.unmeasured.is_empty() {
            println!(
                "not measured, and so not known to be kept: {}",
                self.unmeasured.join("; ")
            );
        }
        if !self.missed.is_empty() {
            bail!("not kept: {}", self.missed.join("; "));
        }
        Ok(())
    }
}

/// Replaces what stands between the marks of a section.
fn replace(text: &str, section: &str, table: &str) -> Result<String> {
    let (open, close) = (format!("<!-- measured: {section} -->"), "<!-- end -->");
    let (before, rest) = text
        .split_once(&open)
        .with_context(|| format!("{DOCUMENT} has no `{open}`"))?;
    let (_, after) = rest
        .split_once(close)
        .with_context(|| format!("`{open}` has no `{close}`"))?;
    Ok(format!("{before}{open}\n\n{table}\n{close}{after}"))
}

/// The middle of the measurements, which one slow outlier does not move.
pub(super) fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// The fastest of the measurements: what else the machine does can only add to it.
pub(super) fn fastest(all: &[Duration]) -> Duration {
    all.iter().min().copied().unwrap_or_default()
}

/// How many times one is the other.
pub(super) fn times(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// Milliseconds, to read.
pub(super) fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Report, fastest, median, replace, times};

    #[test]
    fn a_section_is_replaced_and_nothing_else() {
        let text = "a\n<!-- measured: x -->\nold\n<!-- end -->\nb\n<!-- measured: y -->\nkept\n<!-- end -->\n";
        let new = replace(text, "x", "new\n");
        assert_eq!(
            new.ok().as_deref(),
            Some(
                "a\n<!-- measured: x -->\n\nnew\n\n<!-- end -->\nb\n<!-- measured: y -->\nkept\n<!-- end -->\n"
            )
        );
        assert!(replace(text, "z", "").is_err());
    }

    #[test]
    fn what_was_not_measured_is_neither_kept_nor_missed() {
        let mut report = Report::default();
        report.unmeasured("faster than the peer", "it could not be had");
        assert!(report.missed.is_empty());
        assert_eq!(report.unmeasured, ["faster than the peer"]);
        report.promise(false, "small");
        assert!(report.finish(false).is_err());
    }

    #[test]
    fn the_fastest_counts_and_its_ratio() {
        let all = [30, 20, 900].map(Duration::from_millis);
        assert_eq!(fastest(&all), Duration::from_millis(20));
        assert!((times(fastest(&all), Duration::from_millis(10)) - 2.0).abs() < 1e-9);
        assert!(times(all[0], Duration::ZERO).is_finite());
    }

    #[test]
    fn the_median_ignores_an_outlier() {
        let all = [3, 900, 1].map(Duration::from_millis).to_vec();
        assert_eq!(median(all), Duration::from_millis(3));
    }
}
