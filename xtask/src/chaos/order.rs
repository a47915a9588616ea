//! In which order things happened: what may be under way together was, nothing of the next part
//! began before all of this one was settled, and what was undone was undone last first. Judged by
//! the journal, read past `pilot`, and by the companion's own ledger.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::plan::{Part, Plan};

/// How often what the language has beside single steps really happened.
#[derive(Default)]
pub(super) struct Seen {
    /// Parallel groups, and batches of a list, of which several steps were under way at once.
    pub(super) groups: usize,
    pub(super) batches: usize,
    /// Those that another process took over when they had begun and were not settled.
    pub(super) cut_groups: usize,
    pub(super) cut_batches: usize,
    /// Steps that were tried again since they had failed.
    pub(super) retries: usize,
    /// Lists that went on after one of their items had failed.
    pub(super) tolerated: usize,
    /// Rollbacks that undid several steps.
    pub(super) reversed: usize,
}

impl Seen {
    pub(super) fn add(&mut self, other: &Self) {
        self.groups += other.groups;
        self.batches += other.batches;
        self.cut_groups += other.cut_groups;
        self.cut_batches += other.cut_batches;
        self.retries += other.retries;
        self.tolerated += other.tolerated;
        self.reversed += other.reversed;
    }

    /// Each count, with its name.
    pub(super) fn counts(&self) -> [(usize, &'static str); 7] {
        [
            (self.groups, "groups at once"),
            (self.cut_groups, "groups taken over half-way"),
            (self.batches, "batches at once"),
            (self.cut_batches, "batches taken over half-way"),
            (self.retries, "retries"),
            (self.tolerated, "lists that went on after a failure"),
            (self.reversed, "rollbacks of several steps"),
        ]
    }

    /// What never happened; of what depends on the moment only where that was long enough.
    pub(super) fn missed(&self, long: bool) -> Option<&'static str> {
        let missed =
            |(count, what): &(usize, &str)| *count == 0 && (long || !what.contains("half-way"));
        self.counts().into_iter().find(missed).map(|(_, what)| what)
    }
}

/// What may be under way at once: a step, a group, or one batch of a list.
struct Window<'a> {
    part: &'a Part,
    steps: Vec<&'a str>,
    limit: usize,
}

fn windows(plan: &Plan) -> Vec<Window<'_>> {
    let mut all = Vec::new();
    for part in &plan.parts {
        let steps: Vec<&str> = part.steps().iter().map(|step| step.id.as_str()).collect();
        let (size, limit) = match part {
            Part::One(_) => (1, 1),
            Part::Beside { limit, .. } => (steps.len(), *limit),
            Part::Each { batch, .. } => (*batch, *batch),
        };
        all.extend(steps.chunks(size.max(1)).map(|steps| Window {
            part,
            steps: steps.to_vec(),
            limit,
        }));
    }
    all
}

/// Where a step stands, by what was recorded of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// Not begun, or to be begun anew.
    Open,
    /// Sent, and nothing is known of it yet.
    Sent,
    /// It was sent, and what came of it nobody knows.
    Unknown,
    Done,
    Failed,
}

/// Goes through the events of a workflow.
struct Walk<'a> {
    windows: Vec<Window<'a>>,
    stands: BTreeMap<&'a str, Stand>,
    /// The event with the last outcome of each step.
    ended: BTreeMap<&'a str, usize>,
    at_once: BTreeSet<usize>,
    cut: BTreeSet<usize>,
    tolerated: BTreeSet<usize>,
    /// Of the rollback that goes on: the steps whose undo was sent, in order.
    undone: Vec<&'a str>,
    seen: Seen,
    wrong: Vec<String>,
}

/// Judges the events of a workflow, and counts what happened in it.
pub(super) fn judge(plan: &Plan, events: &[(String, Value)], wrong: &mut Vec<String>) -> Seen {
    let mut walk = Walk {
        windows: windows(plan),
        stands: plan.steps().map(|s| (s.id.as_str(), Stand::Open)).collect(),
        ended: BTreeMap::new(),
        at_once: BTreeSet::new(),
        cut: BTreeSet::new(),
        tolerated: BTreeSet::new(),
        undone: Vec::new(),
        seen: Seen::default(),
        wrong: Vec::new(),
    };
    for (place, (kind, body)) in events.iter().enumerate() {
        let named = body["step"].as_str().unwrap_or_default();
        let step = plan.steps().find(|step| step.id == named);
        walk.event(place, kind, step.map(|step| step.id.as_str()), body);
    }
    walk.rollback_over();
    wrong.append(&mut walk.wrong);
    let count = |places: &BTreeSet<usize>, list: bool| {
        let is_list = |place: &&usize| matches!(walk.windows[**place].part, Part::Each { .. });
        places.iter().filter(|place| is_list(place) == list).count()
    };
    Seen {
        groups: count(&walk.at_once, false),
        batches: count(&walk.at_once, true),
        cut_groups: count(&walk.cut, false),
        cut_batches: count(&walk.cut, true),
        tolerated: walk.tolerated.len(),
        ..walk.seen
    }
}

impl<'a> Walk<'a> {
    fn event(&mut self, place: usize, kind: &str, step: Option<&'a str>, body: &Value) {
        match (kind, step) {
            ("adopted", _) => self.taken_over(),
            ("rollback_started", _) => self.rollback_over(),
            ("intent", Some(step)) if body["direction"] == "undo" => self.undo_sent(step),
            ("intent", Some(step)) => self.sent(step),
            ("outcome", Some(step)) if body["direction"] == "do" => {
                self.ended.insert(step, place);
                let stand = match body["outcome"]["is"].as_str() {
                    Some("succeeded") => Stand::Done,
                    Some("failed") => Stand::Failed,
                    _ => Stand::Unknown,
                };
                self.stands.insert(step, stand);
            }
            ("probed", Some(step))
                if body["direction"] == "do" && body["verdict"]["is"] == "in_effect" =>
            {
                self.stands.insert(step, Stand::Done);
            }
            ("retry_scheduled", Some(step)) => {
                self.seen.retries += 1;
                self.stands.insert(step, Stand::Open);
            }
            ("skipped", Some(step)) => {
                self.stands.insert(step, Stand::Done);
            }
            ("resolved", Some(step)) => {
                let happened = body["happened"] == true;
                let stand = if happened { Stand::Done } else { Stand::Open };
                self.stands.insert(step, stand);
            }
            _ => {}
        }
    }

    fn stand(&self, step: &str) -> Stand {
        self.stands.get(step).copied().unwrap_or(Stand::Open)
    }

    fn under_way(&self) -> Vec<&'a str> {
        let sent = self.stands.iter().filter(|(_, s)| **s == Stand::Sent);
        sent.map(|(step, _)| *step).collect()
    }

    fn window_of(&self, step: &str) -> usize {
        let place = self.windows.iter().position(|w| w.steps.contains(&step));
        place.unwrap_or_default()
    }

    /// A step was sent.
    fn sent(&mut self, step: &'a str) {
        let own = self.window_of(step);
        let mut early = Vec::new();
        for (place, window) in self.windows.iter().enumerate() {
            let of = |stand| {
                let those = window.steps.iter().filter(|s| self.stand(s) == stand);
                those.count()
            };
            let all = window.steps.join(", ");
            if place < own && of(Stand::Done) + of(Stand::Failed) < window.steps.len() {
                early.push(format!(
                    "`{step}` was sent before all of {all} were settled"
                ));
            }
            if place > own && of(Stand::Open) < window.steps.len() {
                early.push(format!("`{step}` was sent after {all} had begun"));
            }
        }
        self.wrong.append(&mut early);
        for part in self.windows.iter().map(|window| window.part) {
            let failed = |id: &str| id != step && self.stand(id) == Stand::Failed;
            let failed = part.steps().iter().filter(|s| failed(&s.id)).count();
            let most = match part {
                Part::Each { max_failures, .. } => *max_failures,
                Part::One(_) | Part::Beside { .. } => 0,
            };
            if failed > most {
                let id = &part.steps()[0].id;
                self.wrong.push(format!(
                    "`{step}` was sent after {failed} failures beside `{id}`, and {most} may be"
                ));
            }
        }
        self.stands.insert(step, Stand::Sent);
        let failed_before = self.windows[..own]
            .iter()
            .filter(|window| window.steps.iter().any(|s| self.stand(s) == Stand::Failed));
        let count = failed_before.count();
        if count > 0 {
            self.tolerated.insert(own);
        }
        let under_way = self.under_way().len();
        let window = &self.windows[own];
        if under_way > window.limit {
            self.wrong.push(format!(
                "{under_way} steps were under way with `{step}`, and {} may be",
                window.limit
            ));
        }
        if under_way > 1 {
            self.at_once.insert(own);
        }
    }

    /// Another process owns the workflow now.
    fn taken_over(&mut self) {
        for (place, window) in self.windows.iter().enumerate() {
            let of = |stands: &[Stand]| {
                let those = window.steps.iter();
                those.filter(|s| stands.contains(&self.stand(s))).count()
            };
            let begun = of(&[Stand::Open]) < window.steps.len();
            let settled = of(&[Stand::Done, Stand::Failed]) == window.steps.len();
            if begun && !settled && !matches!(window.part, Part::One(_)) {
                self.cut.insert(place);
            }
        }
    }

    /// The undo of a step was sent.
    fn undo_sent(&mut self, step: &'a str) {
        for other in self.under_way() {
            self.wrong
                .push(format!("`{step}` was undone while `{other}` was under way"));
        }
        if self.undone.last() == Some(&step) {
            return;
        }
        if self.undone.contains(&step) {
            self.wrong
                .push(format!("`{step}` was undone again, after others were"));
        }
        if let Some(last) = self.undone.last() {
            let order = |step: &str| self.ended.get(step).copied().unwrap_or(usize::MAX);
            if order(last) < order(step) {
                self.wrong.push(format!(
                    "`{last}` was undone before `{step}`, which had ended after it"
                ));
            }
        }
        self.undone.push(step);
    }

    fn rollback_over(&mut self) {
        self.seen.reversed += usize::from(self.undone.len() > 1);
        self.undone.clear();
    }
}

/// What the companion did, it did in that order too: a part after the other, and the undos as they
/// were announced.
pub(super) fn of_the_ledger(
    plan: &Plan,
    id: &str,
    lines: &[Value],
    events: &[(String, Value)],
    wrong: &mut Vec<String>,
) {
    let windows = windows(plan);
    let announced = |key: &str| {
        let is = |(kind, body): &(String, Value)| kind == "intent" && body["key"] == key;
        events.iter().position(is).unwrap_or(usize::MAX)
    };
    let mine = format!("{id}/");
    let mut last: Option<((bool, usize), &str)> = None;
    for line in lines {
        let key = line["key"].as_str().unwrap_or_default();
        let Some((step, rest)) = key.strip_prefix(&mine).and_then(|key| key.split_once('/')) else {
            continue;
        };
        let is_undo = rest.starts_with("undo");
        let place = if is_undo {
            announced(key)
        } else {
            let place = windows.iter().position(|w| w.steps.contains(&step));
            place.unwrap_or_default()
        };
        let now = (is_undo, place);
        if let Some((before, earlier)) = last
            && before > now
        {
            wrong.push(format!("{key} was done after {earlier}"));
        }
        last = Some((now, key));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::dice::Dice;
    use super::super::plan::Plan;
    use super::{Seen, judge, of_the_ledger};

    /// A word for each event: `+a` sent, `a` done, `-a` failed, `?a` unknown, `~a` tried again,
    /// `<a` its undo sent, `!` taken over, `|` a rollback begins.
    fn events(words: &str) -> Vec<(String, Value)> {
        let event = |word: &str| {
            let (sign, step) = word.split_at(usize::from(!word.starts_with(char::is_alphabetic)));
            let outcome = |is: &str| {
                let body = json!({"step": step, "direction": "do", "outcome": {"is": is}});
                ("outcome", body)
            };
            let intent = |direction: &str| {
                let key = format!("wf_1/{step}/{direction}/0");
                let body = json!({"step": step, "direction": direction, "key": key});
                ("intent", body)
            };
            let (kind, body) = match sign {
                "+" => intent("do"),
                "<" => intent("undo"),
                "-" => outcome("failed"),
                "?" => outcome("unknown"),
                "~" => ("retry_scheduled", json!({"step": step})),
                "!" => ("adopted", json!({})),
                "|" => ("rollback_started", json!({})),
                _ => outcome("succeeded"),
            };
            (kind.to_owned(), body)
        };
        words.split_whitespace().map(event).collect()
    }

    fn judged(words: &str) -> (Vec<String>, Seen) {
        // A group of four and a list of five, both with two or three at once.
        let plan = Plan::wide("t", true, &mut Dice::new(7, 1));
        let mut wrong = Vec::new();
        let seen = judge(&plan, &events(words), &mut wrong);
        (wrong, seen)
    }

    const GROUP: &str = "+set set +beside_1 +beside_2 beside_1 -beside_2 ~beside_2 +beside_3 \
        beside_3 +beside_4 beside_4 +beside_2 beside_2";

    #[test]
    fn what_happens_at_once_and_again_is_counted() {
        let (wrong, seen) = judged(&format!(
            "{GROUP} ! +each_1 +each_2 ! ?each_1 ?each_2 +each_1 +each_2 -each_1 each_2"
        ));
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!((seen.groups, seen.cut_groups), (1, 0));
        assert_eq!((seen.batches, seen.cut_batches), (1, 1));
        assert_eq!(seen.retries, 1);
    }

    #[test]
    fn what_began_too_early_or_too_often_is_found() {
        for (words, what) in [
            ("+set +beside_1", "settled"),
            ("+set set +each_1", "settled"),
            ("+set -set +beside_1", "failures"),
            ("+set set +beside_1 -beside_1 +beside_2", "failures"),
            (
                "+set set +beside_1 +beside_2 +beside_3 +beside_4",
                "were under way",
            ),
        ] {
            let (wrong, _) = judged(words);
            assert!(wrong.iter().any(|w| w.contains(what)), "{words}: {wrong:?}");
        }
        let two = format!("{GROUP} +each_1 +each_2 -each_1 -each_2 +each_3");
        let (wrong, _) = judged(&two);
        assert!(wrong.iter().any(|w| w.contains("2 failures")), "{wrong:?}");
    }

    #[test]
    fn what_was_undone_in_another_order_is_found() {
        let (wrong, seen) = judged(&format!("{GROUP} | <beside_2 <beside_4 <beside_1 <set"));
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(seen.reversed, 1);
        for words in ["<beside_1 <beside_4", "<beside_4 <beside_2 <beside_4"] {
            let (wrong, _) = judged(&format!("{GROUP} | {words}"));
            assert!(!wrong.is_empty(), "{words}");
        }
        let (wrong, _) = judged("+set set +beside_1 | <set");
        assert_eq!(wrong.len(), 1, "one is under way: {wrong:?}");
    }

    #[test]
    fn a_ledger_in_another_order_is_found() {
        let plan = Plan::wide("t", true, &mut Dice::new(7, 1));
        let events = events(&format!("{GROUP} | <beside_4 <beside_1"));
        let count = |keys: &[&str]| {
            let line = |key: &&str| json!({"key": format!("wf_1/{key}/0")});
            let lines: Vec<Value> = keys.iter().map(line).collect();
            let mut wrong = Vec::new();
            of_the_ledger(&plan, "wf_1", &lines, &events, &mut wrong);
            wrong.len()
        };
        let good = ["set/do", "beside_2/do", "beside_1/do", "beside_4/undo"];
        assert_eq!(count(&good), 0, "members of a group in any order");
        assert_eq!(count(&["beside_1/do", "set/do"]), 1);
        assert_eq!(count(&["beside_4/undo", "beside_1/do"]), 1);
        assert_eq!(count(&["beside_1/undo", "beside_4/undo"]), 1);
    }
}
