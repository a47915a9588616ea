//! The one `sanitize` for all text that passes between steps, to the agent or to a log (P13, C12).
//!
//! Two uses, never mixed up:
//!
//! - **Display text is altered**: [`sanitize`] strips what could deceive a reader and truncates.
//! - **A value that will be used is refused**: [`check_arguments`] and [`is_clean`] say
//!   whether sanitising would alter it. A stripped name could be another object's name.
//!
//! What is stripped: C0 and C1 controls (tab and line feed become a space), DEL, the
//! format characters (general category `Cf`, Unicode 17.0), the line and paragraph
//! separators U+2028 and U+2029, and all of U+E0000..=U+E0FFF: tags, the supplementary
//! variation selectors and the reserved rest, which are invisible and can carry a hidden text.

use serde_json::Value;

use crate::{limit, pointer};

/// The length of display text, in characters (P13).
pub const DISPLAY_LIMIT: usize = limit::DISPLAY_CHARS;

/// General category `Cf` of Unicode 17.0, with the two separators and the whole of the
/// invisible block U+E0000..=U+E0FFF. Sorted, inclusive.
///
/// U+2060..=U+206F is taken as one range: U+2065 is reserved for a format character.
const FORMAT: &[(u32, u32)] = &[
    (0x00AD, 0x00AD),   // soft hyphen
    (0x0600, 0x0605),   // Arabic number signs
    (0x061C, 0x061C),   // Arabic letter mark
    (0x06DD, 0x06DD),   // Arabic end of ayah
    (0x070F, 0x070F),   // Syriac abbreviation mark
    (0x0890, 0x0891),   // Arabic pound and piastre marks
    (0x08E2, 0x08E2),   // Arabic disputed end of ayah
    (0x180E, 0x180E),   // Mongolian vowel separator
    (0x200B, 0x200F),   // zero-width space and joiners, directional marks
    (0x2028, 0x202E),   // line and paragraph separator, bidi embeddings and overrides
    (0x2060, 0x206F),   // word joiner, invisible operators, bidi isolates
    (0xFEFF, 0xFEFF),   // byte order mark
    (0xFFF9, 0xFFFB),   // interlinear annotation
    (0x110BD, 0x110BD), // Kaithi number sign
    (0x110CD, 0x110CD), // Kaithi number sign above
    (0x13430, 0x1343F), // Egyptian hieroglyph format controls
    (0x1BCA0, 0x1BCA3), // shorthand format controls
    (0x1D173, 0x1D17A), // musical beams and slurs
    (0xE0000, 0xE0FFF), // tags, variation selectors supplement, reserved
];

/// Whether `c` is a format character or another one without a glyph of its own, by the table above.
#[must_use]
pub fn is_format(c: char) -> bool {
    let code = u32::from(c);
    FORMAT
        .binary_search_by(|&(first, last)| {
            if code < first {
                std::cmp::Ordering::Greater
            } else if code > last {
                std::cmp::Ordering::Less
            } else {
                std::cmp::Ordering::Equal
            }
        })
        .is_ok()
}

/// Whether [`sanitize`] would leave `c` as it is: neither a control nor a format character.
#[must_use]
pub fn is_ordinary(c: char) -> bool {
    !c.is_control() && !is_format(c)
}

/// Makes text safe to show: see the module's description. At most [`DISPLAY_LIMIT`]
/// characters are left. Idempotent.
///
/// ```
/// assert_eq!(guard::text::sanitize("web\u{202E}10\n"), "web10 ");
/// ```
#[must_use]
pub fn sanitize(text: &str) -> String {
    sanitize_to(text, DISPLAY_LIMIT)
}

/// As [`sanitize`], with a limit of `limit` characters instead of [`DISPLAY_LIMIT`].
#[must_use]
pub fn sanitize_to(text: &str, limit: usize) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\n' | '\t' => Some(' '),
            c if is_ordinary(c) => Some(c),
            _ => None,
        })
        .take(limit)
        .collect()
}

/// Whether [`sanitize`] would leave `text` as it is, its length apart: at most
/// [`limit::ARGUMENT_CHARS`] characters are clean.
#[must_use]
pub fn is_clean(text: &str) -> bool {
    unclean(text).is_none()
}

/// What is wrong with `text` as an argument: `U+202E`, or that it is too long.
fn unclean(text: &str) -> Option<String> {
    if let Some(c) = text.chars().find(|c| !is_ordinary(*c)) {
        return Some(format!("U+{:04X}", u32::from(c)));
    }
    // Bytes bound characters from above, so the common case needs no second pass.
    if text.len() > limit::ARGUMENT_CHARS && text.chars().count() > limit::ARGUMENT_CHARS {
        return Some(format!("more than {} characters", limit::ARGUMENT_CHARS));
    }
    None
}

/// A value that must not be used as an argument, since sanitising would alter it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Remove {what} from {}: a value that holds it is not used as an argument, since an altered one could name another object",
    pointer::place(.pointer)
)]
pub struct Unclean {
    /// JSON Pointer to the value, or to the value whose key it is; sanitised.
    pub pointer: String,
    /// The character as `U+202E`, or the limit that was passed.
    pub what: String,
}

/// Refuses arguments in which any string or key, however deep, is not [clean](is_clean) (P13).
///
/// # Errors
///
/// [`Unclean`] for the first such string, or for nesting deeper than [`limit::DEPTH`].
pub fn check_arguments(arguments: &Value) -> Result<(), Unclean> {
    walk(arguments, "", 0)
}

fn walk(value: &Value, at: &str, depth: usize) -> Result<(), Unclean> {
    if depth > limit::DEPTH {
        return Err(Unclean {
            pointer: at.to_owned(),
            what: format!("nesting deeper than {}", limit::DEPTH),
        });
    }
    let fail = |pointer: String, what| Err(Unclean { pointer, what });
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::String(text) => match unclean(text) {
            Some(what) => fail(at.to_owned(), what),
            None => Ok(()),
        },
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(i, item)| walk(item, &format!("{at}/{i}"), depth + 1)),
        Value::Object(map) => map.iter().try_for_each(|(key, item)| {
            let here = pointer::join(at, key);
            match unclean(key) {
                Some(what) => fail(here, what),
                None => walk(item, &here, depth + 1),
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn p13_the_table_is_sorted_and_disjoint() {
        assert!(FORMAT.iter().all(|(first, last)| first <= last));
        assert!(FORMAT.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }

    #[test]
    fn p13_each_kind_of_deceiving_character_is_stripped() {
        for c in [
            '\0',
            '\u{7}',
            '\u{1b}',
            '\r',
            '\u{7f}',
            '\u{80}',
            '\u{85}',
            '\u{9f}',
            '\u{ad}',
            '\u{61c}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{feff}',
            '\u{fff9}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e007f}',
            '\u{e0100}',
        ] {
            assert_eq!(sanitize(&format!("a{c}b")), "ab", "U+{:04X}", u32::from(c));
            assert!(!is_clean(&format!("a{c}b")), "U+{:04X}", u32::from(c));
        }
    }

    #[test]
    fn p13_newline_and_tab_become_a_space() {
        assert_eq!(sanitize("a\r\nb\tc"), "a b c");
        assert!(!is_clean("a\nb"));
    }

    #[test]
    fn p13_text_of_any_language_is_left_alone() {
        for text in [
            "Größe",
            "日本語 サーバ",
            "שלום",
            "سلام",
            "e\u{301}",
            "👍🏽❤\u{fe0f}",
            "a\u{a0}b",
        ] {
            assert_eq!(sanitize(text), text);
            assert!(is_clean(text));
        }
    }

    #[test]
    fn p13_truncation_counts_characters_and_never_splits_one() {
        let long = "ü".repeat(501);
        assert_eq!(sanitize(&long), "ü".repeat(500));
        assert_eq!(sanitize_to("日本語", 2), "日本");
        assert!(
            is_clean(&long),
            "length alone does not make an argument unclean"
        );
        assert!(is_clean(&"ü".repeat(limit::ARGUMENT_CHARS)));
        assert!(!is_clean(&"ü".repeat(limit::ARGUMENT_CHARS + 1)));
    }

    #[test]
    fn p13_an_unclean_argument_is_refused_wherever_it_stands() {
        let place = |value| check_arguments(&value).map_err(|e| (e.pointer, e.what));
        let bad = |p: &str, w: &str| Err((p.to_owned(), w.to_owned()));
        assert_eq!(
            place(json!({"a": [1, {"b": "x\u{202E}y"}]})),
            bad("/a/1/b", "U+202E")
        );
        assert_eq!(
            place(json!({"a/b": {"k\u{200b}": 1}})),
            bad("/a~1b/k", "U+200B")
        );
        assert_eq!(place(json!("\u{7}")), bad("", "U+0007"));
        assert_eq!(place(json!({"a": [null, true, 1.5, "Größe"]})), Ok(()));
    }

    #[test]
    fn p13_arguments_nested_too_deep_are_refused() {
        let nested = |depth| (0..depth).fold(json!("x"), |inner, _| json!([inner]));
        assert_eq!(check_arguments(&nested(limit::DEPTH)), Ok(()));
        assert!(check_arguments(&nested(limit::DEPTH + 1)).is_err());
    }

    #[test]
    fn p13_the_refusal_leads_with_the_remedy_and_shows_no_value() {
        let error = check_arguments(&json!({"vm_name": "web\u{202E}hidden"}));
        let text = error.map_err(|e| e.to_string()).err().unwrap_or_default();
        assert!(text.starts_with("Remove U+202E from `/vm_name`"), "{text}");
        assert!(!text.contains("hidden"));
    }

    proptest! {
        #[test]
        fn p13_sanitize_is_idempotent_and_bounded(text in any::<String>(), limit in 0usize..600) {
            let once = sanitize_to(&text, limit);
            prop_assert_eq!(&sanitize_to(&once, limit), &once);
            prop_assert!(once.chars().count() <= limit);
            prop_assert!(is_clean(&once));
        }

        #[test]
        fn p13_clean_means_that_sanitising_alters_nothing(text in any::<String>()) {
            prop_assert_eq!(is_clean(&text), sanitize_to(&text, usize::MAX) == text);
        }
    }
}
