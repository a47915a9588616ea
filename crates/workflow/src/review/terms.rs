//! Under which terms a step runs, in plain words.

use crate::model::{Deed, Definition, Group, OnFailure};

/// Under which terms the step at this place runs: its conditions, its retries, what it runs
/// beside, and what its failure leads to. Nothing where it simply runs.
#[must_use]
pub fn terms(definition: &Definition, place: usize) -> Vec<String> {
    let mut terms = Vec::new();
    let Some(step) = definition.steps.get(place) else {
        return terms;
    };
    if let Some(group) = definition.group_of(place) {
        terms.push(beside(group, place));
    }
    if let Some(when) = &step.when {
        terms.push(format!("runs only if: {when}"));
    }
    let Deed::Call(call) = &step.deed else {
        return terms;
    };
    if let Some(wait) = &call.wait_for {
        terms.push(format!(
            "is read every {} s until: {}; fails after {} s",
            wait.every_s, wait.until, wait.deadline_s
        ));
    }
    if let Some(expect) = &call.expect {
        terms.push(format!("fails unless, once it answered: {expect}"));
    }
    if let Some(retry) = &call.retry {
        terms.push(format!(
            "if it fails it is tried again, at most {} time(s), after {} s and then longer, up to \
             {} s",
            retry.count, retry.backoff_s, retry.max_backoff_s
        ));
    }
    if let Some(seconds) = call.timeout_s {
        terms.push(format!("one attempt may take {seconds} s"));
    }
    if call
        .on_failure
        .is_some_and(|own| own != definition.on_failure)
    {
        terms.push(format!(
            "if it fails, {}",
            match definition.on_failure_of(place) {
                OnFailure::Rollback => "what completed before it is undone",
                OnFailure::Stop => "the workflow stops and what was done stays",
                OnFailure::Continue => "the next step runs all the same",
            }
        ));
    }
    terms
}

fn beside(group: &Group, place: usize) -> String {
    let id = &group.id;
    match &group.each {
        None => format!(
            "one of {} steps of `{id}` that run at the same time, at most {} at once",
            group.count, group.limit
        ),
        Some(each) => {
            let failures = match each.max_failures {
                0 => "none may fail".to_owned(),
                n => format!("{n} may fail"),
            };
            format!(
                "item {} of {} of `{id}`, {} at a time; {failures}",
                place - group.from + 1,
                group.count,
                each.batch
            )
        }
    }
}
