//! One batch of events on its way into the tables: the events with their audit rows, and the
//! projections. What is touched depends on the batch alone, never on the size of the workflow.

use engine::ports::{Batch, Hold, Own, StepRow, WorkflowRow};
use home::Home;
use jiff::Timestamp;
use policy::audit::{Entry, Head};
use policy::audit_store;
use rusqlite::{Transaction, params};
use workflow::event::{self, Approval, Event, Principal, Subject};
use workflow::model::{ApprovalId, Millis, WorkflowId};

use crate::error::Fault;
use crate::writer::Refusal;
use crate::{hold, owner, query};

/// A batch, serialised and hashed before it waits for the writer.
pub(crate) struct Ready {
    workflow: WorkflowId,
    row: WorkflowRow,
    steps: Vec<StepRow>,
    hold: Hold,
    own: Own,
    events: Vec<Written>,
}

struct Written {
    seq: i64,
    at: Millis,
    actor: String,
    kind: &'static str,
    body: String,
    entry: Entry,
    mark: Option<Mark>,
}

/// What an event changes in `approval` and `decision`.
enum Mark {
    Asked(Approval),
    Decided {
        approval: ApprovalId,
        verdict: &'static str,
        by: Principal,
        comment: String,
    },
    Expired(ApprovalId),
}

/// What the audit row's word for an event begins with.
pub(crate) const EVENT: &str = "workflow.";

/// The audit row's word for an event.
pub(crate) fn audit_kind(kind: &str) -> String {
    format!("{EVENT}{kind}")
}

/// A moment as the audit chain writes it.
pub(crate) fn timestamp(at: Millis) -> Result<Timestamp, Fault> {
    Timestamp::from_millisecond(at)
        .map_err(|_| Fault::Misuse("a time is outside of the years that can be written".to_owned()))
}

/// A number as SQLite stores it.
pub(crate) fn number(value: u64) -> Result<i64, Fault> {
    i64::try_from(value).map_err(|_| Fault::Misuse("a number is beyond 2^63".to_owned()))
}

impl Ready {
    /// Serialises and hashes everything, so that the transaction only has to store it.
    pub(crate) fn new(batch: Batch) -> Result<Self, Fault> {
        let Batch {
            workflow,
            events,
            row,
            steps,
            hold,
            own,
        } = batch;
        if events.is_empty() {
            return Err(Fault::Misuse("a batch has no events".to_owned()));
        }
        let unwritable = |_| Fault::Misuse("an event cannot be written as JSON".to_owned());
        let mut written = Vec::with_capacity(events.len());
        for recorded in events {
            let value = serde_json::to_value(&recorded.event).map_err(unwritable)?;
            let kind = recorded.event.kind();
            let entry = Entry::new(
                timestamp(recorded.at)?,
                &recorded.actor,
                &audit_kind(kind),
                Some(&workflow.0),
                &value,
            );
            written.push(Written {
                seq: number(recorded.seq)?,
                at: recorded.at,
                actor: recorded.actor,
                kind,
                // Not the canonical form: that writes the number 1.0 as 1.
                body: serde_json::to_string(&value).map_err(unwritable)?,
                entry,
                mark: mark(recorded.event),
            });
        }
        Ok(Self {
            workflow,
            row,
            steps,
            hold,
            own,
            events: written,
        })
    }

    /// Stores it, if its first event is the next one.
    pub(crate) fn store(
        &self,
        transaction: &Transaction<'_>,
        home: &Home,
        process: Option<&str>,
    ) -> Result<(), Refusal> {
        let last: Option<i64> = transaction
            .prepare_cached("SELECT max(seq) FROM event WHERE workflow = ?1")?
            .query_row([&self.workflow.0], |row| row.get(0))?;
        if last.is_none()
            && let Some(file) = query::archived_in(transaction, &self.workflow)?
        {
            return Err(Refusal::Archived { file });
        }
        let mut expected = last.unwrap_or(0);
        for (place, event) in self.events.iter().enumerate() {
            expected += 1;
            if event.seq == expected {
                continue;
            }
            return Err(match place {
                0 => Refusal::Conflict,
                _ => Fault::Misuse("a batch is not numbered in order".to_owned()).into(),
            });
        }
        self.store_own(transaction, home, process)?;
        self.store_row(transaction)?;
        hold::store(transaction, &self.workflow, &self.hold, self.row.updated_at)?;
        let mut head = audit_store::head(transaction)?;
        for event in &self.events {
            head = self.store_event(transaction, &head, event)?;
        }
        for step in &self.steps {
            self.store_step(transaction, step)?;
        }
        Ok(())
    }

    fn store_own(
        &self,
        transaction: &Transaction<'_>,
        home: &Home,
        process: Option<&str>,
    ) -> Result<(), Refusal> {
        match (self.own, process) {
            (Own::Keep, _) => {}
            (Own::Take, Some(process)) => {
                let now = self.row.updated_at;
                owner::claim(transaction, home, &self.workflow, process, now)?;
            }
            (Own::Give, Some(process)) => {
                owner::release(transaction, &self.workflow, process)?;
            }
            (Own::Take | Own::Give, None) => {
                let why = "a batch changes the owner, and the journal was given none (`owned_by`)";
                return Err(Fault::Misuse(why.to_owned()).into());
            }
        }
        Ok(())
    }

    fn store_row(&self, transaction: &Transaction<'_>) -> Result<(), Refusal> {
        let row = &self.row;
        // Most batches do not change the state: then no index is written, and nothing is tallied.
        let known = transaction
            .prepare_cached(
                "UPDATE workflow SET updated_at = ?4, settled = ?5, approval = ?6, expires_at = ?7
                 WHERE id = ?1 AND state = ?2 AND reason IS ?3",
            )?
            .execute(params![
                self.workflow.0,
                row.state,
                row.reason,
                row.updated_at,
                number(row.settled)?,
                row.approval.as_ref().map(|id| &id.0),
                row.expires_at,
            ])?;
        if known > 0 {
            return Ok(());
        }
        transaction
            .prepare_cached(
                "INSERT INTO workflow (id, name, state, reason, created_at, updated_at, requester,
                                       steps, settled, approval, expires_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                 ON CONFLICT (id) DO UPDATE SET
                     name = ?2, state = ?3, reason = ?4, updated_at = ?6, requester = ?7,
                     steps = ?8, settled = ?9, approval = ?10, expires_at = ?11",
            )?
            .execute(params![
                self.workflow.0,
                row.name,
                row.state,
                row.reason,
                row.created_at,
                row.updated_at,
                row.requester,
                number(row.steps)?,
                number(row.settled)?,
                row.approval.as_ref().map(|id| &id.0),
                row.expires_at,
            ])?;
        Ok(())
    }

    /// Stores an event after `head`, and returns the new head.
    fn store_event(
        &self,
        transaction: &Transaction<'_>,
        head: &Head,
        event: &Written,
    ) -> Result<Head, Refusal> {
        let audited = audit_store::append_to(transaction, head, event.entry.clone())?;
        transaction
            .prepare_cached(
                "INSERT INTO event (audit_seq, workflow, seq, at, actor, v, kind, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                number(audited.seq)?,
                self.workflow.0,
                event.seq,
                event.at,
                event.actor,
                event::VERSION,
                event.kind,
                event.body,
            ])?;
        if let Some(mark) = &event.mark {
            self.store_mark(transaction, event, mark)?;
        }
        Ok(Head::from(&audited))
    }

    fn store_mark(
        &self,
        transaction: &Transaction<'_>,
        event: &Written,
        mark: &Mark,
    ) -> Result<(), Refusal> {
        match mark {
            Mark::Asked(approval) => transaction
                .prepare_cached(
                    "INSERT INTO approval (id, workflow, kind, step, digest, requested_at, expires_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    approval.id.0,
                    self.workflow.0,
                    approval.subject.word(),
                    step_of(&approval.subject),
                    approval.digest.to_string(),
                    approval.requested_at,
                    approval.expires_at,
                ])?,
            Mark::Decided { approval, verdict, by, comment } => transaction
                .prepare_cached(
                    "INSERT INTO decision (workflow, seq, approval, verdict, name, assurance, account, comment, at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?
                .execute(params![
                    self.workflow.0,
                    event.seq,
                    approval.0,
                    verdict,
                    by.name,
                    by.assurance.word(),
                    by.account,
                    comment,
                    event.at,
                ])?,
            Mark::Expired(approval) => transaction
                .prepare_cached("UPDATE approval SET expired_at = ?2 WHERE id = ?1")?
                .execute(params![approval.0, event.at])?,
        };
        Ok(())
    }

    fn store_step(&self, transaction: &Transaction<'_>, step: &StepRow) -> Result<(), Refusal> {
        let place = number(step.index)?;
        // Few steps have any yet, and SQLite makes a table of its own for what is to be deleted.
        let outdated: bool = transaction
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM output WHERE workflow = ?1 AND place = ?2)",
            )?
            .query_row(params![self.workflow.0, place], |row| row.get(0))?;
        if outdated {
            transaction
                .prepare_cached("DELETE FROM output WHERE workflow = ?1 AND place = ?2")?
                .execute(params![self.workflow.0, place])?;
        }
        transaction
            .prepare_cached(
                "INSERT INTO step (workflow, place, id, state, attempt, error, sha256, size)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (workflow, place) DO UPDATE SET
                     id = ?3, state = ?4, attempt = ?5, error = ?6, sha256 = ?7, size = ?8",
            )?
            .execute(params![
                self.workflow.0,
                place,
                step.id.0,
                step.state,
                step.attempt,
                step.error,
                step.sha256,
                step.size.map(number).transpose()?,
            ])?;
        for (name, value) in &step.outputs {
            transaction
                .prepare_cached(
                    "INSERT INTO output (workflow, place, name, value) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![self.workflow.0, place, name, value.to_string()])?;
        }
        Ok(())
    }
}

fn mark(event: Event) -> Option<Mark> {
    match event {
        Event::ApprovalRequested { approval } => Some(Mark::Asked(approval)),
        Event::Approved {
            approval,
            by,
            comment,
            covers: _,
        } => Some(Mark::Decided {
            approval,
            verdict: "approved",
            by,
            comment,
        }),
        Event::Rejected {
            approval,
            by,
            reason,
        } => Some(Mark::Decided {
            approval,
            verdict: "rejected",
            by,
            comment: reason,
        }),
        Event::Expired { approval } => Some(Mark::Expired(approval)),
        // Every other event stands for itself: what it means is in the fold.
        _ => None,
    }
}

fn step_of(subject: &Subject) -> Option<&str> {
    match subject {
        Subject::Step { step } | Subject::Gate { step } | Subject::Resolution { step, .. } => {
            Some(&step.0)
        }
        Subject::Plan | Subject::Rollback { .. } => None,
    }
}
