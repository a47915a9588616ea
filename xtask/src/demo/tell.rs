//! What the person at the terminal reads, and what was checked.

use std::fmt::Display;
use std::io::Write;

use anyhow::{Result, bail};

/// How wide a line may be.
const WIDTH: usize = 100;
/// Where the words of somebody begin: behind the longest name.
const WORDS: usize = 13;

/// The story so far.
pub(super) struct Tell {
    part: usize,
    held: usize,
    broken: Vec<String>,
}

impl Tell {
    pub(super) fn new() -> Self {
        Self {
            part: 0,
            held: 0,
            broken: Vec::new(),
        }
    }

    /// The heading of everything.
    pub(super) fn title(&mut self, text: impl Display) {
        let text = text.to_string();
        say(format_args!(
            "\n{text}\n{}\n",
            "═".repeat(text.chars().count())
        ));
    }

    /// The heading of a part.
    pub(super) fn part(&mut self, text: impl Display) {
        self.part += 1;
        let text = format!("{}  {text}", self.part);
        say(format_args!(
            "\n{text}\n{}",
            "─".repeat(text.chars().count())
        ));
    }

    /// A line of the story.
    pub(super) fn line(&mut self, text: impl Display) {
        print(&text.to_string(), "  ", 2);
    }

    /// A line that a program wrote, indented as it was.
    pub(super) fn quote(&mut self, line: &str) {
        let text = line.trim_start();
        let indent = 4 + line.len() - text.len();
        print(text, &" ".repeat(indent), indent + 4);
    }

    /// Text to paste, which is not to be broken.
    pub(super) fn paste(&mut self, text: &str) {
        for line in text.lines() {
            say(format_args!("      {line}"));
        }
    }

    /// An empty line.
    pub(super) fn pause(&mut self) {
        say("");
    }

    /// What somebody does or says.
    pub(super) fn act(&mut self, who: &str, what: impl Display) {
        print(&what.to_string(), &format!("  {who:<11}"), WORDS);
    }

    /// More of what somebody does or says.
    pub(super) fn more(&mut self, what: impl Display) {
        self.act("", what);
    }

    /// Something that must be so. What is not is counted, and told again at the end.
    pub(super) fn check(&mut self, holds: bool, what: impl Display) {
        let what = what.to_string();
        print(&what, if holds { "  ✓ " } else { "  ✗ " }, 4);
        if holds {
            self.held += 1;
        } else {
            self.broken.push(what);
        }
    }

    /// How many checks held; fails unless all did.
    pub(super) fn verdict(&self) -> Result<usize> {
        if self.held == 0 {
            bail!("nothing was checked");
        }
        if !self.broken.is_empty() {
            bail!(
                "{} of {} checks did not hold: {}",
                self.broken.len(),
                self.held + self.broken.len(),
                self.broken.join("; ")
            );
        }
        Ok(self.held)
    }

    /// The last words: how many checks held, and where to go next.
    pub(super) fn farewell(&self, held: usize, kept: bool) {
        say(format_args!(
            "\nAll {held} checks held.\n\nWhere to go next:"
        ));
        say("  README.md                  your own vCenter, and your own client");
        say("  ARCHITECTURE.md            how it works");
        if !kept {
            say("  cargo xtask demo --keep    the same, and go on with your own client");
        }
    }
}

/// Whoever closes the other end of the pipe wants to read no more; what is
/// played is played to its end all the same.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn print(text: &str, first: &str, rest: usize) {
    for line in wrapped(text, first, rest) {
        say(line);
    }
}

/// A text as lines that are not too wide, unless a single word is: the first
/// one after `first`, the others after `rest` spaces.
fn wrapped(text: &str, first: &str, rest: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut begun = false;
    for word in text.split_whitespace() {
        if begun && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(line);
            line = " ".repeat(rest);
            begun = false;
        }
        if begun {
            line.push(' ');
        }
        line.push_str(word);
        begun = true;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::{Tell, WIDTH, wrapped};

    #[test]
    fn a_demo_that_checks_nothing_or_finds_something_fails() {
        let after = |held, broken: &[&str]| Tell {
            part: 1,
            held,
            broken: broken.iter().map(ToString::to_string).collect(),
        };
        assert!(Tell::new().verdict().is_err());
        assert!(after(0, &["it is not"]).verdict().is_err());
        assert_eq!(after(3, &[]).verdict().ok(), Some(3));
        let found = after(3, &["it is not"]).verdict();
        assert!(found.is_err_and(|error| {
            error
                .to_string()
                .contains("1 of 4 checks did not hold: it is not")
        }));
    }

    #[test]
    fn long_text_is_broken_between_words_and_nothing_is_lost() {
        let text = "word ".repeat(60);
        let lines = wrapped(&text, "  - ", 6);
        assert!(lines.len() > 1);
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH));
        assert!(lines[0].starts_with("  - word") && lines[1].starts_with("      word"));
        let words = lines.join(" ").split_whitespace().count();
        assert_eq!(words, 61);
        let long = "x".repeat(200);
        assert_eq!(wrapped(&long, "  ", 2), [format!("  {long}")]);
    }
}
