//! Lists that fit (C10): sorted, paged by a cursor that holds all it needs, cut at whole rows.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use guard::limit;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::argument::Arguments;
use crate::call::Call;
use crate::failure::Failure;
use crate::table::Action;

/// What is kept free in an answer for all that is not rows, in characters.
const RESERVE: usize = 4_000;

/// More rows than fit into an answer of the default size.
const DEFAULT_ROWS: usize = 400;

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
];

/// A sort key and the reference that tells equal keys apart.
pub(crate) type Key = (String, String);

/// Where a page ended, and of which list.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// Which list: action and filter.
    l: String,
    /// The last row's key.
    k: String,
    /// The last row's reference.
    m: String,
}

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
        mut keys: Vec<Key>,
    ) -> Result<Self, Failure> {
        keys.sort();
        let list = list_id(row, arguments, place);
        let from = match arguments.text("cursor") {
            None => 0,
            Some(text) => {
                let cursor = read(text)?;
                if cursor.l != list {
                    return Err(Failure::new(
                        "cursor.other_list",
                        "Pass a `cursor` only with the same action and filter that gave it, or leave it out to begin anew",
                    ));
                }
                let last = (cursor.k, cursor.m);
                keys.partition_point(|key| *key <= last)
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
        let to = keys.len().min(from.saturating_add(rows));
        Ok(Self {
            field,
            word: row.word,
            list,
            keys,
            from,
            to,
            cap: cap - RESERVE,
        })
    }

    /// The references of the page, in order.
    pub(crate) fn references(&self) -> impl Iterator<Item = &str> {
        self.keys[self.from..self.to]
            .iter()
            .map(|(_, reference)| reference.as_str())
    }

    /// The answer with these rows, by reference; a row that is not there any more is left out.
    pub(crate) fn answer(&self, mut row: impl FnMut(&str) -> Option<Value>) -> Map<String, Value> {
        let mut kept = Vec::new();
        let mut used = 2;
        let mut end = self.from;
        for (_, reference) in &self.keys[self.from..self.to] {
            if let Some(row) = row(reference) {
                used += row.to_string().chars().count() + 1;
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

    /// Whether rows of this size, in characters, fill the page already.
    pub(crate) fn is_full_at(&self, characters: usize) -> bool {
        characters > self.cap
    }

    fn cursor_after(&self, at: usize) -> String {
        let (k, m) = self.keys[at].clone();
        let cursor = Cursor {
            l: self.list.clone(),
            k,
            m,
        };
        // Three strings always serialise.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).unwrap_or_default())
    }
}

fn read(text: &str) -> Result<Cursor, Failure> {
    URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or_else(|| {
        Failure::new("cursor.invalid", "Pass the `next_cursor` of the answer before, unchanged, or leave `cursor` out to begin anew")
    })
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
