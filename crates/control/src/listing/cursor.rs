//! Where a page ended: opaque to the caller, and all that the next page needs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::Key;
use crate::failure::Failure;

/// Where a page ended, and of which list.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cursor {
    /// Which list: action, place, filter and order.
    l: String,
    /// The last row's key.
    k: String,
    /// The last row's reference.
    m: String,
}

impl Cursor {
    /// The end of a page of this list.
    pub(super) fn after(list: &str, (key, reference): &Key) -> Self {
        Self {
            l: list.to_owned(),
            k: key.clone(),
            m: reference.clone(),
        }
    }

    /// As it is handed out.
    pub(super) fn written(&self) -> String {
        // Three strings always serialise.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// The last row of the page before.
    ///
    /// # Errors
    ///
    /// `cursor.invalid`, `cursor.other_list`.
    pub(super) fn read(text: &str, list: &str) -> Result<Key, Failure> {
        let cursor: Option<Self> = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let Some(cursor) = cursor else {
            return Err(Failure::new(
                "cursor.invalid",
                "Pass the `next_cursor` of the answer before, unchanged, or leave `cursor` out to begin anew",
            ));
        };
        if cursor.l != list {
            return Err(Failure::new(
                "cursor.other_list",
                "Pass a `cursor` only with the same action, filter and sort that gave it, or leave it out to begin anew",
            ));
        }
        Ok((cursor.k, cursor.m))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const LIST: &str = "0123456789abcdef";

    fn cursor() -> Cursor {
        Cursor::after(
            LIST,
            &("wéb 01 💥\u{202e}\"".to_owned(), "vm-42".to_owned()),
        )
    }

    #[test]
    fn c10_a_cursor_reads_as_it_was_written() {
        let Cursor { k, m, .. } = cursor();
        assert_eq!(Cursor::read(&cursor().written(), LIST), Ok((k, m)));
        let other = Cursor::read(&cursor().written(), "another").unwrap_err();
        assert_eq!(other.code(), "cursor.other_list");
    }

    /// What was once seen to be special, and what people may pass by mistake.
    const CORPUS: &str = include_str!("cursor.corpus.txt");

    /// It reads, or is refused: and what reads is never taken for a row of another list.
    fn try_one(text: &str) -> bool {
        match Cursor::read(text, LIST) {
            Ok(_) => true,
            Err(refusal) => {
                assert!(["cursor.invalid", "cursor.other_list"].contains(&refusal.code()));
                false
            }
        }
    }

    #[test]
    fn c10_no_text_makes_the_reading_of_a_cursor_fail_otherwise_than_by_refusal() {
        let written = cursor().written();
        assert!(CORPUS.lines().count() >= 20);
        for line in CORPUS.lines() {
            assert!(!try_one(line), "{line}");
            let raw = URL_SAFE_NO_PAD.encode(line);
            assert!(!try_one(&raw), "{line}");
        }
        // Every byte replaced by each of a few, left out, and doubled; every prefix.
        let (mut tried, mut read) = (0, 0);
        let mut count = |text: &[u8]| {
            if let Ok(text) = std::str::from_utf8(text) {
                tried += 1;
                read += usize::from(try_one(text));
            }
        };
        let bytes = written.as_bytes();
        for at in 0..bytes.len() {
            for with in b"\0 \"=A_-+/z\x7f" {
                let mut text = bytes.to_vec();
                text[at] = *with;
                count(&text);
                text[at] = bytes[at];
                text.insert(at, *with);
                count(&text);
            }
            let mut text = bytes.to_vec();
            text.remove(at);
            count(&text);
            count(&bytes[..at]);
        }
        assert!(tried > 1_500, "{tried}");
        // Most of them are refused; a changed letter of a name is another, valid place.
        assert!(read < tried / 2, "{read} of {tried}");
    }
}
