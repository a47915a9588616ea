//! A companion's text, made fit to be shown: sanitised, and without its own secrets.

use std::sync::Arc;

use guard::secret::{HIDDEN, Secret, redact_text};
use guard::text::{DISPLAY_LIMIT, sanitize_to};

/// How much of a text is looked at before it is cut to what is shown.
const LOOKED_AT: usize = 8 * 1024;

/// The shortest value that is taken for a secret: a shorter one would blank out prose.
const SHORTEST: usize = 4;

/// Cleans the text of one companion.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scrub {
    secrets: Arc<[Secret]>,
}

impl Scrub {
    /// Hides these values too, beside what looks like a secret to anyone: the values that the
    /// companion got in its environment under a name such as `VMWARE_LAB_PASSWORD`.
    pub(crate) fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let secrets = secrets
            .into_iter()
            .map(|secret| Secret::new(sanitize_to(secret.expose(), usize::MAX)))
            .filter(|secret| secret.expose().len() >= SHORTEST)
            .collect();
        Self { secrets }
    }

    /// At most as much as display text may have.
    pub(crate) fn text(&self, text: &str) -> String {
        self.text_to(text, DISPLAY_LIMIT)
    }

    /// At most `limit` characters.
    pub(crate) fn text_to(&self, text: &str, limit: usize) -> String {
        // What is invisible goes first: it must not split a secret in two.
        let mut text = sanitize_to(text, LOOKED_AT.max(limit));
        for secret in self.secrets.iter() {
            if text.contains(secret.expose()) {
                text = text.replace(secret.expose(), HIDDEN);
            }
        }
        sanitize_to(redact_text(&text).trim(), limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p2_the_companions_own_secrets_are_hidden_even_when_split_by_invisible_characters() {
        let scrub = Scrub::new([
            Secret::new("hunter22".to_owned()),
            Secret::new("abc".to_owned()),
        ]);
        assert_eq!(
            scrub.text("login with hunter22 failed, abc"),
            "login with *** failed, abc"
        );
        assert_eq!(
            scrub.text("login with hun\u{200B}ter22 failed"),
            "login with *** failed"
        );
    }

    #[test]
    fn p13_text_is_sanitised_and_cut() {
        let text =
            Scrub::default().text(&format!("\u{1b}[31mred\u{202E}{}", "x".repeat(1_000_000)));
        assert!(text.starts_with("[31mredxxx"), "{text}");
        assert_eq!(text.chars().count(), 500);
    }
}
