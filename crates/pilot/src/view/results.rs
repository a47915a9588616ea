//! The answers of steps: data of companions, shown once, clean and cut to fit (P12, P13, C10).

use engine::Kept;
use serde_json::{Map, Value, json};

use crate::cut;

/// The longest text in a result.
const TEXT: usize = 4_000;

/// What a row takes beside its result.
const FRAME: usize = 80;

/// The least room that is worth cutting a result for.
const LEAST: usize = 300;

/// The results that fit into `room` characters: each gets its share of what those before it left
/// over. With them, those that there is no room for, for the next answer.
pub(super) fn shown(mut kept: Vec<Kept>, room: usize) -> (Value, Vec<Kept>) {
    let rest = kept.split_off(
        kept.len()
            .min(room / (LEAST + FRAME))
            .max(1)
            .min(kept.len()),
    );
    let mut left = room;
    let mut to_come = kept.len();
    let rows = kept.into_iter().map(|kept| {
        let share = (left / to_come.max(1)).saturating_sub(FRAME);
        to_come -= 1;
        let row = row(kept, share);
        left = left.saturating_sub(cut::size(&row) + 1);
        row
    });
    (Value::Array(rows.collect()), rest)
}

fn row(kept: Kept, room: usize) -> Value {
    let mut row = Map::new();
    row.insert("step".to_owned(), json!(kept.step));
    let Some(body) = kept.body else {
        row.insert("not_kept".to_owned(), true.into());
        return Value::Object(row);
    };
    let cut = cut::to(cut::clean(&body, TEXT), room);
    row.insert("body".to_owned(), cut.value);
    if !cut.left_out.is_empty() {
        row.insert("truncated".to_owned(), true.into());
        row.insert("size".to_owned(), kept.size.into());
        let said: Vec<Value> = cut.left_out.into_iter().take(5).map(Value::from).collect();
        row.insert("left_out".to_owned(), Value::Array(said));
    }
    Value::Object(row)
}

#[cfg(test)]
mod tests {
    use workflow::model::StepId;

    use super::*;

    fn kept(step: &str, body: Option<Value>) -> Kept {
        Kept {
            step: StepId(step.to_owned()),
            size: body.as_ref().map_or(0, |b| b.to_string().len()),
            body,
        }
    }

    #[test]
    fn c10_a_large_result_is_cut_and_said_and_a_small_one_stays() {
        let rows: Vec<Value> = (0..1000)
            .map(|i| json!({"name": format!("vm-{i}")}))
            .collect();
        let (results, rest) = shown(
            vec![
                kept("big", Some(json!({"vms": rows}))),
                kept("small", Some(json!({"ok": true}))),
                kept("gone", None),
            ],
            3_000,
        );
        assert!(rest.is_empty());
        assert!(cut::size(&results) < 3_500, "{}", cut::size(&results));
        assert_eq!(results[0]["truncated"], true);
        assert_eq!(results[0]["body"]["vms"][0]["name"], "vm-0");
        assert_eq!(results[1], json!({"step": "small", "body": {"ok": true}}));
        assert_eq!(results[2], json!({"step": "gone", "not_kept": true}));
    }

    #[test]
    fn c10_what_there_is_no_room_for_waits_for_the_next_answer() {
        let all: Vec<Kept> = (0..100)
            .map(|i| kept(&format!("s{i}"), Some(json!({"i": i}))))
            .collect();
        let (results, rest) = shown(all.clone(), 4_000);
        let given = results.as_array().map_or(0, Vec::len);
        assert!(given >= 10, "{given}");
        assert_eq!(rest, all[given..]);
        assert_eq!(shown(all, 0).1.len(), 99, "there is room for one at least");
    }

    #[test]
    fn p13_a_result_is_sanitised() {
        let (results, _) = shown(
            vec![kept("a", Some(json!({"name": "web\u{202E}10\u{1b}[31m"})))],
            1_000,
        );
        assert_eq!(results[0]["body"]["name"], "web10[31m");
    }
}
