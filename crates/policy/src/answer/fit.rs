//! Lists that fit: cut at whole rows, and said so (C10).

use serde_json::{Map, Value};

/// Rows that fit into an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The rows, whole, from the first on.
    pub rows: Vec<Value>,
    /// How many there were.
    pub total: usize,
    /// Whether some were left out.
    pub truncated: bool,
}

impl Fitted {
    /// How many rows are left.
    #[must_use]
    pub fn returned(&self) -> usize {
        self.rows.len()
    }

    /// The fields of an answer: the rows under `key`, `returned`, `total`, `truncated`,
    /// and `next_cursor` (null at the end). `offset` is where the first row stands in the
    /// whole list, `total` how long that is.
    #[must_use]
    pub fn into_body(self, key: &str, offset: usize, total: usize) -> Map<String, Value> {
        let returned = self.rows.len();
        let next = offset + returned;
        let more = next < total;
        Map::from_iter([
            (key.to_owned(), Value::Array(self.rows)),
            ("returned".to_owned(), returned.into()),
            ("total".to_owned(), total.into()),
            ("truncated".to_owned(), more.into()),
            (
                "next_cursor".to_owned(),
                if more {
                    next.to_string().into()
                } else {
                    Value::Null
                },
            ),
        ])
    }
}

/// Keeps as many whole rows, from the first on, as fit into `cap` characters of JSON with
/// their commas and brackets. A row that alone is larger than `cap` is not kept.
#[must_use]
pub fn fit_rows(rows: Vec<Value>, cap: usize) -> Fitted {
    let total = rows.len();
    let mut used = 2;
    let mut kept = Vec::new();
    for row in rows {
        let comma = usize::from(!kept.is_empty());
        used += comma + row.to_string().chars().count();
        if used > cap {
            break;
        }
        kept.push(row);
    }
    Fitted {
        truncated: kept.len() < total,
        total,
        rows: kept,
    }
}
