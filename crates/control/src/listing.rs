//! Lists that fit (C10): sorted, paged by a cursor that holds all it needs, cut at whole rows.

pub(crate) mod catalog;
pub(crate) mod column;
mod cursor;
pub(crate) mod filter;
pub(crate) mod glob;
pub(crate) mod read;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

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

/// The keys of a list, as they come: those of one page are kept, of the others only how many there are.
#[derive(Debug)]
pub(crate) struct Keys {
    word: &'static str,
    list: String,
    /// The last row of the page before.
    after: Option<Key>,
    descending: bool,
    /// How many rows the page has at most.
    rows: usize,
    /// The first of those behind `after`; on top is the last of them.
    page: BinaryHeap<Placed>,
    /// How many come before the page.
    before: usize,
    total: usize,
    cap: usize,
    chunk: usize,
}

/// A key, in the order of its list.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Placed {
    Ascending(Key),
    Descending(Reverse<Key>),
}

impl Placed {
    fn new(key: Key, descending: bool) -> Self {
        if descending {
            Self::Descending(Reverse(key))
        } else {
            Self::Ascending(key)
        }
    }

    fn into_key(self) -> Key {
        match self {
            Self::Ascending(key) | Self::Descending(Reverse(key)) => key,
        }
    }
}

impl Keys {
    /// None yet, of the list that the call asks for: after its `cursor`, with at most `limit` rows.
    ///
    /// # Errors
    ///
    /// `cursor.invalid`, `cursor.other_list`.
    pub(crate) fn new(call: &Call<'_>, descending: bool) -> Result<Self, Failure> {
        Self::of(call.row, call.arguments, &call.server, descending)
    }

    fn of(
        row: &Action,
        arguments: &Arguments,
        place: &str,
        descending: bool,
    ) -> Result<Self, Failure> {
        let list = list_id(row, arguments, place);
        let after = match arguments.text("cursor") {
            None => None,
            Some(text) => Some(Cursor::read(text, &list)?),
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
        Ok(Self {
            word: row.word,
            list,
            after,
            descending,
            rows,
            page: BinaryHeap::new(),
            before: 0,
            total: 0,
            cap: cap - RESERVE,
            chunk,
        })
    }

    /// Takes one more, in any order.
    pub(crate) fn add(&mut self, key: Key) {
        self.total += 1;
        // Also where the last row itself is gone by now.
        let is_before = self.after.as_ref().is_some_and(|last| {
            if self.descending {
                key >= *last
            } else {
                key <= *last
            }
        });
        if is_before {
            self.before += 1;
            return;
        }
        let key = Placed::new(key, self.descending);
        if self.page.len() < self.rows {
            self.page.push(key);
        } else if let Some(mut last) = self.page.peek_mut()
            && key < *last
        {
            *last = key;
        }
    }
}

/// One page of a list, before its rows are read.
#[derive(Debug)]
pub(crate) struct Listing {
    field: &'static str,
    word: &'static str,
    list: String,
    after: Option<Key>,
    page: Vec<Key>,
    /// How many come before the page.
    before: usize,
    total: usize,
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
        Self::of(call.row, call.arguments, &call.server, field, keys)
    }

    /// As [`Listing::new`], of what is kept at `place` rather than on a server.
    pub(crate) fn of(
        row: &Action,
        arguments: &Arguments,
        place: &str,
        field: &'static str,
        keys: Vec<Key>,
    ) -> Result<Self, Failure> {
        let mut all = Keys::of(row, arguments, place, false)?;
        keys.into_iter().for_each(|key| all.add(key));
        Ok(Self::page(field, all))
    }

    /// The page that these keys make.
    pub(crate) fn page(field: &'static str, keys: Keys) -> Self {
        let page = keys.page.into_sorted_vec();
        Self {
            field,
            word: keys.word,
            list: keys.list,
            after: keys.after,
            page: page.into_iter().map(Placed::into_key).collect(),
            before: keys.before,
            total: keys.total,
            cap: keys.cap,
            chunk: keys.chunk,
        }
    }

    /// The references of the page, in order.
    pub(crate) fn references(&self) -> impl Iterator<Item = &str> {
        self.page.iter().map(|(_, reference)| reference.as_str())
    }

    /// The answer with these rows, by reference; a row that is not there any more is left out.
    pub(crate) fn answer(&self, row: impl FnMut(&str) -> Option<Value>) -> Map<String, Value> {
        self.answer_of(self.page.len(), row)
    }

    /// As [`Listing::answer`], of the first `read` rows of the page: the others were not looked at,
    /// and are those of the next page.
    pub(crate) fn answer_of(
        &self,
        read: usize,
        mut row: impl FnMut(&str) -> Option<Value>,
    ) -> Map<String, Value> {
        let mut kept = Vec::new();
        let mut used = 2;
        let (mut told, mut last) = (0, self.after.as_ref());
        for key in self.page.iter().take(read) {
            let (_, reference) = key;
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
            told += 1;
            last = Some(key);
        }
        let more = self.before + told < self.total;
        let next = last.filter(|_| more);
        let next = next.map(|last| Cursor::after(&self.list, last).written());
        let mut answer = Map::new();
        answer.insert("action".to_owned(), json!(self.word));
        answer.insert("returned".to_owned(), json!(kept.len()));
        answer.insert("total".to_owned(), json!(self.total));
        answer.insert("truncated".to_owned(), json!(more));
        answer.insert("next_cursor".to_owned(), json!(next));
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
