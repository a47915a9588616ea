//! Lines of a companion, of which never more than one response is held.

use std::fmt;
use std::io;

use guard::limit::RESPONSE_BYTES;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// How much of a line that is too long is kept, to find out what it answers.
const PREFIX_BYTES: usize = 4 * 1024;

/// What a bounded read of a line found.
pub(crate) enum Line {
    /// It is in the buffer.
    Whole,
    /// It was too long; its beginning is in the buffer, and the rest will be passed over.
    TooLong,
    /// There are no more.
    End,
}

/// Reads lines without ever holding more than one response.
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    /// The line that was read last, up to [`Lines::clear`].
    pub(crate) buffer: Vec<u8>,
    discarding: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader: BufReader::with_capacity(64 * 1024, reader),
            buffer: Vec::new(),
            discarding: false,
        }
    }

    /// Reads on to the end of a line. Cancel-safe: what was read stays in the buffer.
    pub(crate) async fn next(&mut self) -> io::Result<Line> {
        loop {
            let bytes = self.reader.fill_buf().await?;
            if bytes.is_empty() {
                // A last line without its end is still a line.
                return Ok(if self.buffer.is_empty() {
                    Line::End
                } else {
                    Line::Whole
                });
            }
            let newline = bytes.iter().position(|byte| *byte == b'\n');
            let taken = newline.map_or(bytes.len(), |at| at + 1);
            let was_discarding = self.discarding;
            let mut too_long = false;
            if !was_discarding {
                if self.buffer.len() + taken > RESPONSE_BYTES {
                    too_long = true;
                    self.buffer.truncate(PREFIX_BYTES);
                    self.buffer.shrink_to(PREFIX_BYTES);
                } else {
                    self.buffer.extend_from_slice(&bytes[..taken]);
                }
            }
            self.discarding = (was_discarding || too_long) && newline.is_none();
            self.reader.consume(taken);
            if too_long {
                return Ok(Line::TooLong);
            }
            if newline.is_some() && !was_discarding {
                return Ok(Line::Whole);
            }
        }
    }

    /// Makes room for the next one.
    pub(crate) fn clear(&mut self) {
        self.buffer.clear();
        // One large answer must not hold its room for ever.
        self.buffer.shrink_to(1024 * 1024);
    }
}

/// The `id` of a message of which only the beginning is there, if it stands before the content.
pub(crate) fn id_of_prefix(prefix: &[u8]) -> Option<i64> {
    struct Keys<'a>(&'a mut Option<i64>);

    impl<'de> Visitor<'de> for Keys<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a message")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(key) = map.next_key::<String>()? {
                match key.as_str() {
                    "id" => {
                        *self.0 = number(&map.next_value::<Value>()?);
                        return Ok(());
                    }
                    "jsonrpc" => {
                        map.next_value::<IgnoredAny>()?;
                    }
                    // What follows is long and may be cut anywhere.
                    _ => return Ok(()),
                }
            }
            Ok(())
        }
    }

    let mut id = None;
    let _ = serde_json::Deserializer::from_slice(prefix).deserialize_map(Keys(&mut id));
    id
}

/// The number of a request, also where a server answers with it as a string.
pub(crate) fn number(id: &Value) -> Option<i64> {
    id.as_i64().or_else(|| id.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_line_that_is_too_long_is_found_at_its_beginning() {
        assert_eq!(
            id_of_prefix(br#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"te"#),
            Some(7)
        );
        assert_eq!(
            id_of_prefix(br#"{"id":"8","jsonrpc":"2.0","result"#),
            Some(8)
        );
        assert_eq!(
            id_of_prefix(br#"{"jsonrpc":"2.0","result":{"id":9,"x"#),
            None
        );
        assert_eq!(id_of_prefix(b"noise"), None);
    }

    #[tokio::test]
    async fn a_line_beyond_the_limit_is_passed_over_and_the_next_one_is_read() {
        let mut input = br#"{"jsonrpc":"2.0","id":7,"result":"#.to_vec();
        input.resize(RESPONSE_BYTES + 10, b'x');
        input.extend_from_slice(b"\nsecond\nthird");
        let mut lines = Lines::new(&input[..]);
        assert!(matches!(lines.next().await, Ok(Line::TooLong)));
        assert_eq!(id_of_prefix(&lines.buffer), Some(7));
        lines.clear();
        for text in ["second\n", "third"] {
            assert!(matches!(lines.next().await, Ok(Line::Whole)));
            assert_eq!(lines.buffer, text.as_bytes());
            lines.clear();
        }
        assert!(matches!(lines.next().await, Ok(Line::End)));
    }
}
