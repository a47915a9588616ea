//! Lists that fit (C10): sorted, paged by a cursor that holds all it needs, cut at whole rows.

pub(crate) mod catalog;
pub(crate) mod column;
mod cursor;
pub(crate) mod filter;
pub(crate) mod glob;
pub(crate) mod read;

use guard::limit;
use serde_json::{Map, Value, json};

use self::cursor::Cursor;

use crate::argument::Arguments;
use crate::call::Call;
use crate::failure::Failure;
use crate::table::Action;

/// What is kept free in an answer for all that is not rows, in characters.
const RESERVE: usize = 4_000;

/// More rows than fit into an answer of the default size.
const DEFAULT_ROWS: usize = 400;

/// How many rows are read at a time while it is not known how many of them fit.
const FEW: usize = 120;

/// The arguments that say how a list is reached or cut, and not what is in it: the place, which
/// the connection leads to, is named by itself.
const NO_FILTER: &[&str] = &[
    "credential_profile",
    "host",
    "port",
    "user",
    "verify_ssl",
    "timeout_s",
    "limit",
    "cursor",
    "fields",
    "detail",
];

/// A sort key and the reference that tells equal keys apart.
pub(crate) type Key = (String, String);

/// One page of a list, before its rows are read.
#[derive(Debug)]
pub(crate) struct Listing {
    field: &'static str,
    word: &'static str,
    list: String,
    keys: Vec<Key>,
    /// The first row of the page, as a place in `keys`.
    from: usize,
    /// The place after the last row of the page.
    to: usize,
    cap: usize,
    /// How many rows are read at a time.
    chunk: usize,
}

impl Listing {
    /// A page of the list with these keys, after the call's `cursor`, with at most `limit` rows.
    ///
    /// # Errors
    ///
    /// `cursor.invalid`, `cursor.other_list`.
    pub(crate) fn new(
        call: &Call<'_>,
        field: &'static str,
        keys: Vec<Key>,
    ) -> Result<Self, Failure> {
        Self::sorted(call, field, keys, false)
    }

    /// As [`Listing::new`], in descending order if that is said.
    pub(crate) fn sorted(
        call: &Call<'_>,
        field: &'static str,
        keys: Vec<Key>,
        descending: bool,
    ) -> Result<Self, Failure> {
        Self::ordered(
            call.row,
            call.arguments,
            &call.server,
            field,
            keys,
            descending,
        )
    }

    /// As [`Listing::new`], of what is kept at `place` rather than on a server.
    pub(crate) fn of(
        row: &Action,
        arguments: &Arguments,
        place: &str,
        field: &'static str,
        keys: Vec<Key>,
    ) -> Result<Self, Failure> {
        Self::ordered(row, arguments, place, field, keys, false)
    }

    fn ordered(
        row: &Action,
        arguments: &Arguments,
        place: &str,
        field: &'static str,
        mut keys: Vec<Key>,
        descending: bool,
    ) -> Result<Self, Failure> {
        keys.sort_unstable();
        if descending {
            keys.reverse();
        }
        let list = list_id(row, arguments, place);
        let from = match arguments.text("cursor") {
            None => 0,
            Some(text) => {
                let last = Cursor::read(text, &list)?;
                // Also where the last row itself is gone by now.
                keys.partition_point(|key| {
                    if descending {
                        *key >= last
                    } else {
                        *key <= last
                    }
                })
            }
        };
        // Whoever asks for a number of rows gets them as long as the hard cap allows.
        let asked = arguments
            .whole("limit")
            .and_then(|limit| usize::try_from(limit).ok());
        let (rows, cap) = match asked {
            Some(rows) => (rows, limit::ANSWER_CAP_CHARS),
            None => (DEFAULT_ROWS, limit::ANSWER_CHARS),
        };
        let chunk = if asked.is_some() { read::CHUNK } else { FEW };
        let to = keys.len().min(from.saturating_add(rows));
        Ok(Self {
            field,
            word: row.word,
            list,
            keys,
            from,
            to,
            cap: cap - RESERVE,
            chunk,
        })
    }

    /// The references of the page, in order.
    pub(crate) fn references(&self) -> impl Iterator<Item = &str> {
        self.keys[self.from..self.to]
            .iter()
            .map(|(_, reference)| reference.as_str())
    }

    /// The answer with these rows, by reference; a row that is not there any more is left out.
    pub(crate) fn answer(&self, row: impl FnMut(&str) -> Option<Value>) -> Map<String, Value> {
        self.answer_of(self.to - self.from, row)
    }

    /// As [`Listing::answer`], of the first `read` rows of the page: the others were not looked at,
    /// and are those of the next page.
    pub(crate) fn answer_of(
        &self,
        read: usize,
        mut row: impl FnMut(&str) -> Option<Value>,
    ) -> Map<String, Value> {
        let to = self.to.min(self.from.saturating_add(read));
        let mut kept = Vec::new();
        let mut used = 2;
        let mut end = self.from;
        for (_, reference) in &self.keys[self.from..to] {
            if let Some(mut row) = row(reference) {
                let mut size = row.to_string().chars().count() + 1;
                if size > self.cap {
                    // A page that can never hold it would be the last one that anybody gets.
                    row = too_large(&row, size);
                    size = row.to_string().chars().count() + 1;
                }
                used += size;
                if used > self.cap {
                    break;
                }
                kept.push(row);
            }
            end += 1;
        }
        let more = end < self.keys.len();
        let next = if more && end > 0 {
            json!(self.cursor_after(end - 1))
        } else {
            Value::Null
        };
        let mut answer = Map::new();
        answer.insert("action".to_owned(), json!(self.word));
        answer.insert("returned".to_owned(), json!(kept.len()));
        answer.insert("total".to_owned(), json!(self.keys.len()));
        answer.insert("truncated".to_owned(), json!(more));
        answer.insert("next_cursor".to_owned(), next);
        answer.insert(self.field.to_owned(), Value::Array(kept));
        answer
    }

    /// How many rows are read at a time.
    pub(crate) fn chunk(&self) -> usize {
        self.chunk
    }

    /// Whether rows of this size, in characters, fill the page already.
    pub(crate) fn is_full_at(&self, characters: usize) -> bool {
        characters > self.cap
    }

    fn cursor_after(&self, at: usize) -> String {
        Cursor::after(&self.list, &self.keys[at]).written()
    }
}

/// What stands for a row that fits no answer.
fn too_large(row: &Value, size: usize) -> Value {
    let mut short = Map::new();
    for name in ["name", "moref"] {
        if let Some(value) = row.get(name) {
            short.insert(name.to_owned(), value.clone());
        }
    }
    short.insert("too_large_chars".to_owned(), json!(size));
    Value::Object(short)
}

/// Names the list: action, place and filter. A cursor of one list means nothing in another.
fn list_id(row: &Action, arguments: &Arguments, place: &str) -> String {
    let filter: Map<String, Value> = row
        .arguments()
        .filter(|argument| !NO_FILTER.contains(&argument.name))
        .filter_map(|argument| {
            arguments
                .given(argument.name)
                .map(|value| (argument.name.to_owned(), value.clone()))
        })
        .collect();
    let list = json!({ "action": row.word, "server": place, "filter": filter });
    guard::digest::digest("pilothouse/cursor/1", &list).to_hex()[..16].to_owned()
}
