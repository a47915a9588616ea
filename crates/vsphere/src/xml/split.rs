//! XML that arrives in pieces, split into tokens where they lie.
//!
//! What is within a token is for others to read: this finds where it ends. A token costs no memory
//! and no copy of its own, which is what reading an inventory mostly consists of.

use memchr::{memchr, memchr2, memchr3, memmem};

use super::{XmlError, malformed};

/// How much is taken from a source at once, however much it has.
pub(super) const PIECE: usize = 64 << 10;

/// How long a tag may be, attributes included. Those of vSphere have a few hundred bytes.
const TAG: usize = 64 << 10;

/// How long a reference may be, as `&#x10FFFF;`.
const REFERENCE: usize = 64;

/// A token, as it stands in the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Raw<'t> {
    /// `<name attributes>`, without the angles and the slash of an empty one.
    Start { content: &'t str, is_empty: bool },
    /// `</name>`: the name.
    End(&'t str),
    /// Text, or a piece of one.
    Text(&'t str),
    /// What stands between `&` and `;`.
    Reference(&'t str),
    /// Something that says nothing: a comment, an instruction, the marks around a text.
    Nothing,
}

/// What is read until its mark comes, without a look at what is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Inside {
    /// Comments and instructions.
    Nothing(&'static str),
    /// Text as it is.
    CData,
}

const CDATA: &str = "<![CDATA[";
const COMMENT: &str = "<!--";

/// Bytes that have arrived and are not read yet.
#[derive(Default)]
pub(super) struct Split {
    text: String,
    /// Up to here it is read.
    at: usize,
    /// The beginning of a character whose end has not arrived.
    torn: Vec<u8>,
    is_spoiled: bool,
    inside: Option<Inside>,
    /// Whether anything was read: only before it a byte order mark may stand.
    is_begun: bool,
}

impl Split {
    /// Takes bytes that arrived. What comes before bytes that are no UTF-8 can still be read.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        self.text.drain(..self.at);
        self.at = 0;
        while let (false, Some((first, rest))) = (self.torn.is_empty(), bytes.split_first()) {
            self.torn.push(*first);
            bytes = rest;
            match std::str::from_utf8(&self.torn) {
                Ok(whole) => {
                    self.text.push_str(whole);
                    self.torn.clear();
                }
                Err(error) if error.error_len().is_some() => self.is_spoiled = true,
                Err(_) => {}
            }
            if self.is_spoiled {
                return;
            }
        }
        let error = match std::str::from_utf8(bytes) {
            Ok(whole) => return self.text.push_str(whole),
            Err(error) => error,
        };
        let (whole, rest) = bytes.split_at(error.valid_up_to());
        self.text.push_str(&String::from_utf8_lossy(whole));
        self.is_spoiled = error.error_len().is_some();
        self.torn.extend_from_slice(rest);
    }

    /// Whether bytes came that are no UTF-8, and nothing can come behind them.
    pub(super) fn is_spoiled(&self) -> bool {
        self.is_spoiled
    }

    /// Whether nothing is left that was begun.
    pub(super) fn is_done(&self) -> bool {
        let left = &self.text[self.at..];
        self.torn.is_empty() && self.inside.is_none() && left.bytes().all(|byte| byte == b'\r')
    }

    /// The next token, if its end has arrived.
    ///
    /// # Errors
    /// What vSphere does not send: a document type, and tags and references without an end.
    pub(super) fn next(&mut self) -> Result<Option<Raw<'_>>, XmlError> {
        if !self.is_begun && self.at < self.text.len() {
            self.is_begun = true;
            if self.text.starts_with('\u{feff}') {
                self.at = '\u{feff}'.len_utf8();
            }
        }
        let rest = &self.text[self.at..];
        let bytes = rest.as_bytes();
        let Some(first) = bytes.first() else {
            return Ok(None);
        };
        if let Some(inside) = self.inside {
            let (mark, is_text) = match inside {
                Inside::Nothing(mark) => (mark, false),
                Inside::CData => ("]]>", true),
            };
            let (end, over) = match memmem::find(bytes, mark.as_bytes()) {
                Some(end) => (end, mark.len()),
                None => (all_but(rest, mark.len()), 0),
            };
            if end + over == 0 {
                return Ok(None);
            }
            if over > 0 {
                self.inside = None;
            }
            self.at += end + over;
            return Ok(Some(if is_text {
                Raw::Text(&rest[..end])
            } else {
                Raw::Nothing
            }));
        }
        let (token, length) = match (first, bytes.get(1)) {
            (b'<', None) => return Ok(None),
            (b'<', Some(b'/')) => match memchr(b'>', short(bytes, TAG)) {
                Some(end) => (Raw::End(rest[2..end].trim_ascii_end()), end + 1),
                None => return short_of(bytes, TAG, "a tag without an end"),
            },
            (b'<', Some(b'?')) => {
                self.inside = Some(Inside::Nothing("?>"));
                (Raw::Nothing, 2)
            }
            (b'<', Some(b'!')) => {
                if rest.starts_with(COMMENT) {
                    self.inside = Some(Inside::Nothing("-->"));
                    (Raw::Nothing, COMMENT.len())
                } else if rest.starts_with(CDATA) {
                    self.inside = Some(Inside::CData);
                    (Raw::Nothing, CDATA.len())
                } else if COMMENT.starts_with(rest) || CDATA.starts_with(rest) {
                    return Ok(None);
                } else {
                    return Err(malformed("a document type declaration"));
                }
            }
            (b'<', Some(_)) => match end_of_tag(short(bytes, TAG)) {
                Some(end) => {
                    let content = &rest[1..end];
                    let bare = content.strip_suffix('/');
                    let start = Raw::Start {
                        content: bare.unwrap_or(content),
                        is_empty: bare.is_some(),
                    };
                    (start, end + 1)
                }
                None => return short_of(bytes, TAG, "a tag without an end"),
            },
            (b'&', _) => match memchr(b';', short(bytes, REFERENCE)) {
                Some(end) => (Raw::Reference(&rest[1..end]), end + 1),
                None => return short_of(bytes, REFERENCE, "a reference without an end"),
            },
            _ => {
                // A carriage return means another thing before a line feed.
                let end =
                    memchr2(b'<', b'&', bytes).unwrap_or_else(|| rest.trim_end_matches('\r').len());
                if end == 0 {
                    return Ok(None);
                }
                (Raw::Text(&rest[..end]), end)
            }
        };
        self.at += length;
        Ok(Some(token))
    }
}

/// The beginning of the bytes.
fn short(bytes: &[u8], limit: usize) -> &[u8] {
    bytes.get(..limit).unwrap_or(bytes)
}

/// More is to come, unless there is too much already.
fn short_of<'t>(
    bytes: &[u8],
    limit: usize,
    what: &'static str,
) -> Result<Option<Raw<'t>>, XmlError> {
    if bytes.len() < limit {
        Ok(None)
    } else {
        Err(malformed(what))
    }
}

/// The attributes in what stands behind a name: key, value as it is written. What cannot be read as
/// attributes ends them.
pub(super) fn attributes(mut rest: &str) -> impl Iterator<Item = (&str, &str)> {
    std::iter::from_fn(move || {
        let (key, behind) = rest.split_at(memchr(b'=', rest.as_bytes())?);
        let behind = behind[1..].trim_ascii_start();
        let quote = behind
            .bytes()
            .next()
            .filter(|mark| matches!(mark, b'"' | b'\''))?;
        let value = &behind[1..];
        let end = memchr(quote, value.as_bytes())?;
        rest = &value[end + 1..];
        let key = key.trim_ascii();
        // What is no attribute may stand before one.
        let blank = key.bytes().rposition(|byte| byte.is_ascii_whitespace());
        Some((blank.map_or(key, |blank| &key[blank + 1..]), &value[..end]))
    })
}

/// Where the tag ends that the bytes begin with: an angle within quotes is none.
fn end_of_tag(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr3(b'>', b'"', b'\'', &bytes[at..])?;
        let mark = bytes[at];
        if mark == b'>' {
            return Some(at);
        }
        at += 1;
        at += memchr(mark, &bytes[at..])? + 1;
    }
}

/// How much of a text can be no part of a mark of this length, whatever comes.
fn all_but(text: &str, mark: usize) -> usize {
    let mut end = text.len().saturating_sub(mark - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    // A carriage return means another thing before a line feed.
    text[..end].trim_end_matches('\r').len()
}
