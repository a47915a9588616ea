//! Names, descriptions and ids of workflows and steps (P14).
//!
//! Letters, digits, marks, spaces and punctuation of any language pass. Control and
//! format characters do not, nor do `<`, `>` and the backtick, which start markup in the
//! places where names are shown.

use crate::{limit, text};

/// Why a name, a description or an id is refused. Each names the rule; a character is
/// named by its code point, and shown where it can be printed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing but spaces, or nothing at all.
    #[error("Give the {what} at least one character other than a space")]
    Empty {
        /// `name`, `description` or `step id`.
        what: &'static str,
    },
    /// More characters than the rule allows.
    #[error("Shorten the {what} to {max} characters: it has {given}")]
    TooLong {
        /// `name`, `description` or `step id`.
        what: &'static str,
        /// The limit, in characters.
        max: usize,
        /// The length that was given, in characters.
        given: usize,
    },
    /// A character that the rule does not allow.
    #[error("Remove {} at position {position} from the {what}: {rule}", show(*.character))]
    Character {
        /// `name`, `description` or `step id`.
        what: &'static str,
        /// The first character that is not allowed.
        character: char,
        /// Its place, counted in characters from 1.
        position: usize,
        /// The rule in words.
        rule: &'static str,
    },
}

const TEXT_RULE: &str = "letters, digits, spaces and punctuation of any language are allowed; \
     control and format characters, `<`, `>` and the backtick are not";
const ID_RULE: &str =
    "a step id is a lower-case letter a-z followed by letters a-z, digits and underscores";

/// Checks the name of a workflow or a step: 1 to [`limit::NAME_CHARS`] characters.
///
/// # Errors
///
/// [`NameError`], which names the character and the rule.
pub fn name(name: &str) -> Result<(), NameError> {
    not_blank("name", name)?;
    check("name", name, limit::NAME_CHARS, TEXT_RULE, |_, c| {
        is_allowed(c)
    })
}

/// Checks the description of a workflow or a step: 0 to [`limit::DESCRIPTION_CHARS`] characters.
///
/// A line break is a control character and not allowed; a loader of multi-line
/// text joins the lines first.
///
/// # Errors
///
/// [`NameError`], which names the character and the rule.
pub fn description(description: &str) -> Result<(), NameError> {
    check(
        "description",
        description,
        limit::DESCRIPTION_CHARS,
        TEXT_RULE,
        |_, c| is_allowed(c),
    )
}

/// Checks the id of a step: `[a-z][a-z0-9_]*`, at most [`limit::STEP_ID_CHARS`] characters.
///
/// # Errors
///
/// [`NameError`], which names the character and the rule.
pub fn step_id(id: &str) -> Result<(), NameError> {
    not_blank("step id", id)?;
    check("step id", id, limit::STEP_ID_CHARS, ID_RULE, |i, c| {
        c.is_ascii_lowercase() || (i > 0 && (c.is_ascii_digit() || c == '_'))
    })
}

fn is_allowed(c: char) -> bool {
    text::is_ordinary(c) && !matches!(c, '<' | '>' | '`')
}

fn not_blank(what: &'static str, text: &str) -> Result<(), NameError> {
    if text.trim().is_empty() && text.chars().all(text::is_ordinary) {
        return Err(NameError::Empty { what });
    }
    Ok(())
}

fn check(
    what: &'static str,
    text: &str,
    max: usize,
    rule: &'static str,
    allowed: impl Fn(usize, char) -> bool,
) -> Result<(), NameError> {
    if let Some((i, character)) = text.chars().enumerate().find(|&(i, c)| !allowed(i, c)) {
        return Err(NameError::Character {
            what,
            character,
            position: i + 1,
            rule,
        });
    }
    match text.chars().count() {
        given if given > max => Err(NameError::TooLong { what, max, given }),
        _ => Ok(()),
    }
}

fn show(c: char) -> String {
    let code = format!("U+{:04X}", u32::from(c));
    match c {
        ' ' => format!("the space ({code})"),
        '`' => format!("the backtick ({code})"),
        c if text::is_ordinary(c) && !c.is_whitespace() => format!("`{c}` ({code})"),
        _ => code,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(result: Result<(), NameError>) -> String {
        result
            .map_err(|e| e.to_string())
            .err()
            .unwrap_or_else(|| "accepted".to_owned())
    }

    #[test]
    fn p14_names_of_any_language_pass() {
        for ok in [
            "Restart web tier (blue/green) – 50 %",
            "Neustart der Größe „Web“",
            "再起動：ウェブ層、第2段階",
            "إعادة التشغيل، المرحلة ٢",
            "पुनः आरंभ",
            "deploy 👍🏽 e\u{301}",
            " a ",
            "x",
        ] {
            assert_eq!(name(ok), Ok(()), "{ok}");
            assert_eq!(description(ok), Ok(()), "{ok}");
        }
        assert_eq!(description(""), Ok(()));
    }

    #[test]
    fn p14_the_error_names_the_character_and_the_rule() {
        assert!(
            refusal(name("a<b"))
                .starts_with("Remove `<` (U+003C) at position 2 from the name: letters")
        );
        assert!(refusal(name("a`")).starts_with("Remove the backtick (U+0060) at position 2"));
        assert!(refusal(name("ab\u{202E}c")).starts_with("Remove U+202E at position 3"));
        assert!(
            refusal(description("a\nb"))
                .starts_with("Remove U+000A at position 2 from the description")
        );
        assert!(refusal(name("\u{200b}")).starts_with("Remove U+200B"));
    }

    #[test]
    fn p14_lengths_are_counted_in_characters() {
        assert_eq!(name(&"ü".repeat(120)), Ok(()));
        assert_eq!(
            refusal(name(&"ü".repeat(121))),
            "Shorten the name to 120 characters: it has 121"
        );
        assert_eq!(description(&"ü".repeat(2_000)), Ok(()));
        assert!(description(&"ü".repeat(2_001)).is_err());
        assert!(refusal(name("")).starts_with("Give the name"));
        assert!(refusal(name("  ")).starts_with("Give the name"));
    }

    #[test]
    fn p14_step_ids_are_lower_case_words() {
        for ok in ["a", "stop_web_1", "x2"] {
            assert_eq!(step_id(ok), Ok(()), "{ok}");
        }
        for bad in [
            "",
            "1a",
            "_a",
            "A",
            "a-b",
            "a b",
            "ä",
            "a.b",
            &"a".repeat(65),
        ] {
            assert!(step_id(bad).is_err(), "{bad}");
        }
        assert_eq!(step_id(&"a".repeat(64)), Ok(()));
        assert!(
            refusal(step_id("a-b"))
                .starts_with("Remove `-` (U+002D) at position 2 from the step id: a step id is")
        );
    }

    proptest! {
        #[test]
        fn p14_an_accepted_name_is_not_altered_by_sanitising(text in any::<String>()) {
            if name(&text).is_ok() {
                prop_assert_eq!(crate::text::sanitize(&text), text);
            }
        }

        #[test]
        fn p14_a_refusal_never_shows_a_control_or_format_character(text in any::<String>()) {
            for result in [name(&text), description(&text), step_id(&text)] {
                if let Err(error) = result {
                    prop_assert!(crate::text::is_clean(&error.to_string()));
                }
            }
        }
    }
}
