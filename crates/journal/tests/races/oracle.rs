//! What must hold after each round, told from the events in the database and the companion's own
//! ledger alone.

use std::collections::{BTreeMap, BTreeSet};

use engine::ports::Recorded;
use rusqlite::Connection;
use workflow::decide::step_digest;
use workflow::event::{Direction, Event, Subject};
use workflow::model::{ApprovalId, Effect, WorkflowId};
use workflow::state::{State, Status, StepStatus, fold};

use crate::command::Ask;
use crate::round::{Came, Played};
use crate::world::Sent;

/// How an approval was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Use {
    Approved,
    Rejected,
    Expired,
    Cancelled,
}

/// How the approvals of a workflow were used: each is to be used once.
pub(crate) fn uses(events: &[Recorded]) -> BTreeMap<ApprovalId, Vec<(Use, u64)>> {
    let mut uses: BTreeMap<ApprovalId, Vec<(Use, u64)>> = BTreeMap::new();
    let mut open: Option<ApprovalId> = None;
    for recorded in events {
        let used = match &recorded.event {
            Event::ApprovalRequested { approval } => {
                uses.entry(approval.id.clone()).or_default();
                open = Some(approval.id.clone());
                continue;
            }
            Event::Approved { approval, .. } => (approval.clone(), Use::Approved),
            Event::Rejected { approval, .. } => (approval.clone(), Use::Rejected),
            Event::Expired { approval } => (approval.clone(), Use::Expired),
            Event::Cancelled { .. } => match open.take() {
                Some(approval) => (approval, Use::Cancelled),
                None => continue,
            },
            _ => continue,
        };
        open.take_if(|open| *open == used.0);
        uses.entry(used.0).or_default().push((used.1, recorded.seq));
    }
    uses
}

/// Everything that does not hold, in plain sentences.
pub(crate) fn breaches(played: &Played, sql: &Connection) -> Vec<String> {
    let mut breaches = Vec::new();
    for (id, events) in &played.workflows {
        one_use_each(id, events, &mut breaches);
        intended(id, events, &mut breaches);
        at_rest(id, events, sql, &mut breaches);
        for sent in played.sent.iter().filter(|sent| sent.workflow == *id) {
            sent_rightly(sent, sql, &mut breaches);
        }
        as_it_says(events, &played.sent, &mut breaches);
    }
    once(&played.sent, &mut breaches);
    one_sender(&played.sent, &mut breaches);
    for came in &played.came {
        answered(came, played, &mut breaches);
    }
    breaches
}

fn one_use_each(id: &WorkflowId, events: &[Recorded], breaches: &mut Vec<String>) {
    for (approval, used) in uses(events) {
        if used.len() != 1 {
            breaches.push(format!(
                "{id}: the approval {approval} was used {} times: {used:?}",
                used.len()
            ));
        }
    }
}

/// Every change has an intent that follows an approved plan; a destructive one an approval of the
/// very digest that its intent has, which no other deed used.
fn intended(id: &WorkflowId, events: &[Recorded], breaches: &mut Vec<String>) {
    let mut asked: BTreeMap<ApprovalId, (Subject, String)> = BTreeMap::new();
    let mut approved: BTreeSet<String> = BTreeSet::new();
    // Where nobody is asked about the plan, none of what follows is destructive.
    let is_plan = |r: &&Recorded| matches!(&r.event, Event::ApprovalRequested { approval } if approval.subject == Subject::Plan);
    let mut plan = events.iter().find(is_plan).is_none();
    let mut spent: BTreeMap<String, String> = BTreeMap::new();
    for (at, recorded) in events.iter().enumerate() {
        match &recorded.event {
            Event::ApprovalRequested { approval } => {
                let subject = (approval.subject.clone(), approval.digest.to_string());
                asked.insert(approval.id.clone(), subject);
            }
            Event::Approved { approval, .. } => match asked.get(approval) {
                Some((Subject::Plan, _)) => plan = true,
                Some((Subject::Step { .. }, digest)) => {
                    approved.insert(digest.clone());
                }
                Some(_) => {}
                None => breaches.push(format!("{id}: {approval} was never asked for")),
            },
            Event::Intent {
                step,
                direction,
                key,
                call,
                ..
            } => {
                if !plan {
                    breaches.push(format!("{id}: {key} before the plan was approved"));
                }
                let before = fold(events[..at].iter().map(|r| (r.at, &r.event)));
                let before: State = before.unwrap().unwrap();
                let (_, found) = before.step(step).unwrap();
                let asks = found.facts.as_ref().unwrap().risk.is_destructive();
                if *direction == Direction::Undo || !asks {
                    continue;
                }
                let prepared = found.prepared.clone().unwrap();
                let digest = step_digest(&before, step, call, &prepared).to_string();
                if !approved.contains(&digest) {
                    breaches.push(format!("{id}: {key} without an approval of its digest"));
                }
                let deed = spent.entry(digest).or_insert_with(|| key.clone());
                if deed != key {
                    breaches.push(format!("{id}: {key} by the approval of {deed}"));
                }
            }
            _ => {}
        }
    }
}

/// It is over, holds nothing, and the row of it says what its events say.
fn at_rest(id: &WorkflowId, events: &[Recorded], sql: &Connection, breaches: &mut Vec<String>) {
    let state = match fold(events.iter().map(|r| (r.at, &r.event))) {
        Ok(Some(state)) => state,
        other => {
            breaches.push(format!("{id}: its events do not fit together: {other:?}"));
            return;
        }
    };
    if !workflow::hold::is_over(state.status()) {
        breaches.push(format!("{id} is {}", state.status().word()));
    }
    let mut row = sql
        .prepare_cached(
            "SELECT state, (SELECT count(*) FROM held WHERE workflow = ?1),
                    (SELECT count(*) FROM decision WHERE workflow = ?1)
             FROM workflow WHERE id = ?1",
        )
        .unwrap();
    let (word, held, decisions): (String, i64, i64) = row
        .query_row([&id.0], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
        .unwrap();
    let decided = |r: &&Recorded| matches!(r.event.kind(), "approved" | "rejected");
    if word != state.status().word() {
        breaches.push(format!("{id}: the row says {word}, and the events do not"));
    }
    if held != 0 {
        breaches.push(format!("{id} holds {held} objects"));
    }
    if usize::try_from(decisions).unwrap() != events.iter().filter(decided).count() {
        breaches.push(format!("{id}: {decisions} rows of decisions"));
    }
}

/// The one who sent it was the owner, held the object, and the intent was durable before.
fn sent_rightly(sent: &Sent, sql: &Connection, breaches: &mut Vec<String>) {
    if sent.owner.as_ref().map(|(process, _)| process) != Some(&sent.by) {
        breaches.push(format!("not by the owner: {sent:?}"));
    }
    if sent.held_by.as_ref() != Some(&sent.workflow.0) {
        breaches.push(format!("without holding the object: {sent:?}"));
    }
    let mut intents = sql
        .prepare_cached(
            "SELECT count(*) FROM event WHERE workflow = ?1 AND kind = 'intent' AND audit_seq <= ?2
             AND json_extract(body, '$.key') = ?3 AND json_extract(body, '$.attempt') = ?4",
        )
        .unwrap();
    let intents: i64 = intents
        .query_row(
            rusqlite::params![sent.workflow.0, sent.audit_seq, sent.key, sent.attempt],
            |row| row.get(0),
        )
        .unwrap();
    if intents != 1 {
        breaches.push(format!("{intents} intents before it: {sent:?}"));
    }
}

/// No key of what may be done once was sent twice, and no attempt of anything.
fn once(sent: &[Sent], breaches: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for sent in sent {
        let attempt = if sent.once { 0 } else { sent.attempt };
        if !seen.insert((&sent.key, attempt)) {
            breaches.push(format!("sent twice: {sent:?}"));
        }
    }
}

/// In one epoch of a workflow one process sent.
fn one_sender(sent: &[Sent], breaches: &mut Vec<String>) {
    let mut senders = BTreeMap::new();
    for sent in sent {
        let epoch = sent.owner.as_ref().map(|(_, epoch)| epoch);
        let sender = senders.entry((&sent.workflow, epoch)).or_insert(&sent.by);
        if **sender != sent.by {
            breaches.push(format!("{sender} sent in this epoch as well: {sent:?}"));
        }
    }
}

/// What was done is what the steps say.
fn as_it_says(events: &[Recorded], sent: &[Sent], breaches: &mut Vec<String>) {
    let Ok(Some(state)) = fold(events.iter().map(|r| (r.at, &r.event))) else {
        return;
    };
    for (def, step) in state.definition.steps.iter().zip(&state.steps) {
        if step.facts.as_ref().is_none_or(|f| f.effect == Effect::Read) {
            continue;
        }
        let done = |direction| {
            let of_step = sent.iter().filter(|sent| {
                sent.workflow == state.id && sent.step == def.id.0 && sent.direction == direction
            });
            of_step.filter(|sent| sent.done).count() > 0
        };
        let in_effect = done(Direction::Do) && !done(Direction::Undo);
        let says = match step.status {
            StepStatus::Succeeded | StepStatus::RollbackSkipped | StepStatus::RollbackFailed => {
                true
            }
            StepStatus::RolledBack
            | StepStatus::Pending
            | StepStatus::Skipped
            | StepStatus::Failed => false,
            // It was cancelled while nobody knew, and says so.
            StepStatus::Unknown if state.status() == Status::Cancelled => continue,
            other => {
                breaches.push(format!(
                    "{}: `{}` rests at {}",
                    state.id,
                    def.id,
                    other.word()
                ));
                continue;
            }
        };
        if says != in_effect {
            breaches.push(format!(
                "{}: `{}` is {}, and in effect is {in_effect}",
                state.id,
                def.id,
                step.status.word()
            ));
        }
    }
}

/// What was refused changed nothing, and what was acknowledged is there.
fn answered(came: &Came, played: &Played, breaches: &mut Vec<String>) {
    let asked = &came.asked;
    let all = played.workflows.iter().flat_map(|(_, events)| events);
    let own: Vec<&str> = all
        .filter(|r| r.actor == asked.account)
        .map(|r| r.event.kind())
        .collect();
    match &came.answer {
        Some(Ok(())) => {
            let wanted = asked.ask.events();
            if !wanted.is_empty() && !own.iter().any(|kind| wanted.contains(kind)) {
                breaches.push(format!("`{}` said yes and did {own:?}", asked.account));
            }
        }
        // It makes a workflow of its own first, which stays.
        Some(Err(refusal)) if asked.ask == Ask::Create => {
            if own.contains(&"approved") {
                breaches.push(format!(
                    "`{}` said {}: {own:?}",
                    asked.account, refusal.code
                ));
            }
        }
        Some(Err(refusal)) => {
            if !own.is_empty() {
                breaches.push(format!(
                    "`{}` said {}: {own:?}",
                    asked.account, refusal.code
                ));
            }
            if refusal.code.starts_with("store.") || refusal.code.starts_with("internal.") {
                breaches.push(format!("`{}` failed: {refusal:?}", asked.account));
            }
        }
        None => {
            let ended = |other: &&Came| other.asked.at == asked.at && other.asked.ask.ends();
            let ended = played.came.iter().filter(ended);
            // A process that ended, and not by this very ask.
            if ended.filter(|other| other.answer.is_some()).count() == 0 {
                breaches.push(format!("`{}` was never answered", asked.account));
            }
        }
    }
}

/// Whether an ask changed anything.
pub(crate) fn took_effect(came: &Came, played: &Played) -> bool {
    let asked = &came.asked;
    let (_, events) = &played.workflows[0];
    let later = events.iter().filter(|r| r.seq > played.begun_at);
    match asked.ask {
        Ask::Expire => uses(events)
            .get(&played.about.approval)
            .is_some_and(|used| used.iter().any(|(how, _)| *how == Use::Expired)),
        Ask::Create => played.workflows[1..]
            .iter()
            .flat_map(|(_, events)| events)
            .any(|r| r.actor == asked.account && matches!(r.event.kind(), "approved" | "started")),
        Ask::Close | Ask::Kill => true,
        _ => later.clone().any(|r| r.actor == asked.account),
    }
}

/// The state in which a workflow ended.
pub(crate) fn rest(events: &[Recorded]) -> Status {
    fold(events.iter().map(|r| (r.at, &r.event)))
        .unwrap()
        .unwrap()
        .status()
}
