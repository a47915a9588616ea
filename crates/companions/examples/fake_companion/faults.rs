//! Faults that are put beside the arguments, and the record of the calls that were heard.

use std::fs::OpenOptions;
use std::io::Write as _;

use serde_json::{Value, json};

use crate::var;

/// Records a call, and says which fault is put on it.
pub(crate) fn put(key: &str, is_preview: bool) -> Option<String> {
    let calls = var("FAKE_CALLS")?;
    let mut parts = key.split('/').skip(1);
    let step = parts.next().unwrap_or_default();
    let stage = if is_preview {
        "preview"
    } else {
        parts.next().unwrap_or_default()
    };
    let heard = std::fs::read_to_string(&calls).unwrap_or_default();
    let earlier = heard
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["step"] == step && line["stage"] == stage)
        .count();
    let n = earlier as u64 + 1;
    let fault = rule(step, stage, n);
    let line = json!({"step": step, "stage": stage, "key": key, "n": n, "fault": fault});
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(calls)
        .ok()?;
    file.write_all(format!("{line}\n").as_bytes()).ok()?;
    fault
}

fn rule(step: &str, stage: &str, n: u64) -> Option<String> {
    let text = var("FAKE_FAULTS").and_then(|path| std::fs::read_to_string(path).ok())?;
    let rules: Vec<Value> = serde_json::from_str(&text).ok()?;
    let of_this = |rule: &&Value| {
        let from = rule["from"].as_u64().unwrap_or(1);
        let times = rule["times"].as_u64().unwrap_or(u64::MAX);
        rule["step"] == step && rule["stage"] == stage && n >= from && n - from < times
    };
    let found = rules.iter().find(of_this)?;
    found["fault"].as_str().map(str::to_owned)
}
