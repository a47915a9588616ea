//! Effects: each is performed, and reports back as a command. What follows from that is performed in
//! the same task, so that a chain of steps is one task and not two for each step.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use workflow::decide::{ATTEMPTS, Command, Effect, Found, Unfit, not_yet};
use workflow::event::{Direction, Left, Verdict};
use workflow::judge;
use workflow::model::{Call, Facts, Risk, StepId, Verify, WorkflowId};
use workflow::reply::Reply;
use workflow::state::{Phase, State};

use crate::Engine;
use crate::live::Live;
use crate::ports::{Clock as _, Dispatch as _, Meta, Outgoing, Ports};

/// Counts an effect as in flight until it is dropped, however its task ends.
struct InFlight<P: Ports>(Engine<P>, Arc<Live>);

impl<P: Ports> InFlight<P> {
    fn new(engine: &Engine<P>, live: &Arc<Live>) -> Self {
        engine.inner.in_flight.fetch_add(1, Ordering::SeqCst);
        live.in_flight.fetch_add(1, Ordering::SeqCst);
        Self(engine.clone(), Arc::clone(live))
    }
}

impl<P: Ports> Drop for InFlight<P> {
    fn drop(&mut self) {
        self.1.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.0.inner.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.0.inner.idle.notify_waiters();
    }
}

/// An effect on its way. It ends when what came of it was reported, as the effect that follows from
/// that, if one does.
pub(crate) struct Job(Pin<Box<dyn Future<Output = Option<Job>> + Send>>);

impl Job {
    fn new(work: impl Future<Output = Option<Self>> + Send + 'static) -> Self {
        // On the heap: a task is moved several times before it runs.
        Self(Box::pin(work))
    }
}

impl<P: Ports> Engine<P> {
    /// Performs an effect of a turn that is committed, or needs no commit, and what follows from it.
    pub(crate) fn perform(&self, live: &Arc<Live>, state: &State, effect: Effect) {
        let mut next = Some(self.job(live, state, effect));
        tokio::spawn(async move {
            while let Some(Job(work)) = next {
                next = work.await;
                // Others are served in between, also where nothing had to be waited for.
                tokio::task::yield_now().await;
            }
        });
    }

    /// An effect that counts as in flight from now on.
    pub(crate) fn job(&self, live: &Arc<Live>, state: &State, effect: Effect) -> Job {
        let (engine, live) = (self.clone(), Arc::clone(live));
        let id = state.id.clone();
        let timeout = |step: &StepId| {
            state
                .call_of(step)
                .and_then(|c| c.timeout_s)
                .map_or(self.inner.settings.call_timeout, |s| {
                    Duration::from_secs(u64::from(s))
                })
        };
        let in_flight = InFlight::new(self, &live);
        match effect {
            Effect::Prepare { step, call, key } => Job::new(async move {
                let found = engine.prepare(&id, &step, call, key).await;
                let next = live
                    .report(&engine, Command::Prepared { step, found })
                    .await;
                drop(in_flight);
                next
            }),
            Effect::Send {
                step,
                direction,
                attempt,
                key,
                call,
                target,
                change,
            } => {
                let timeout = timeout(&step);
                // An undo is consented to as what it does, whoever does it by then.
                let reviewed = state
                    .step(&step)
                    .and_then(|(_, found)| found.facts.clone())
                    .filter(|_| direction == Direction::Do);
                Job::new(async move {
                    let start = Instant::now();
                    let reply = match engine.still_fit(&call, reviewed.as_ref(), change).await {
                        Ok(facts) => {
                            let outgoing = Outgoing {
                                call,
                                workflow: id.clone(),
                                step: step.clone(),
                                direction,
                                facts,
                                meta: Meta {
                                    key: key.clone(),
                                    attempt,
                                    target,
                                },
                                timeout,
                            };
                            engine.call(outgoing).await
                        }
                        Err(unfit) => not_sent(unfit),
                    };
                    let took_ms = millis(start);
                    if direction == Direction::Do {
                        engine.keep_success(&id, &step, &reply);
                    }
                    let command = Command::Replied {
                        step,
                        direction,
                        attempt,
                        key,
                        took_ms,
                        reply,
                    };
                    let next = live.report(&engine, command).await;
                    drop(in_flight);
                    next
                })
            }
            Effect::Poll {
                step,
                attempt,
                key,
                call,
                every_s,
                deadline,
            } => {
                let read = Poll {
                    every_ms: i64::from(every_s) * 1000,
                    deadline,
                    timeout: timeout(&step),
                    state: Arc::new(state.clone()),
                };
                Job::new(async move {
                    let start = Instant::now();
                    let mut next = None;
                    if let Some(reply) = engine.poll(&live, &step, call, key.clone(), read).await {
                        let took_ms = millis(start);
                        engine.keep_success(&id, &step, &reply);
                        let command = Command::Replied {
                            step,
                            direction: Direction::Do,
                            attempt,
                            key,
                            took_ms,
                            reply,
                        };
                        next = live.report(&engine, command).await;
                    }
                    drop(in_flight);
                    next
                })
            }
            Effect::Wait { step, until } => Job::new(async move {
                let next = tokio::select! {
                    () = engine.ports().clock().until(until) => {
                        live.report(&engine, Command::Woke { step, until }).await
                    }
                    () = engine.inner.closed() => None,
                };
                drop(in_flight);
                next
            }),
            Effect::Probe {
                step,
                direction,
                verify,
            } => Job::new(async move {
                let verdict = engine.probe(&id, &step, &verify).await;
                let command = Command::Probed {
                    step,
                    direction,
                    verdict,
                };
                let next = live.report(&engine, command).await;
                drop(in_flight);
                next
            }),
        }
    }

    /// Checks a call against the live catalog and, where the tool has previews, asks for one.
    async fn prepare(
        &self,
        id: &WorkflowId,
        step: &StepId,
        call: Call,
        key: String,
    ) -> Result<Box<Found>, Unfit> {
        let facts = self.describe(&call).await?;
        let prepared = if facts.risk.changes() && facts.preview.is_some() {
            // On the heap, since most calls have none.
            Box::pin(self.ask_preview(id, step, &call, &facts, key)).await?
        } else {
            workflow::model::Prepared::default()
        };
        Ok(Box::new(Found { facts, prepared }))
    }

    /// What the catalog says of a call that is whole.
    async fn describe(&self, call: &Call) -> Result<Facts, Unfit> {
        let described = self
            .ports()
            .dispatch()
            .describe(call, &BTreeMap::new())
            .await;
        described.map_err(|unfit| Unfit::new(unfit.code, unfit.message))
    }

    /// Asks a tool for a preview of a call.
    pub(crate) async fn ask_preview(
        &self,
        id: &WorkflowId,
        step: &StepId,
        call: &Call,
        facts: &Facts,
        key: String,
    ) -> Result<workflow::model::Prepared, Unfit> {
        let Some(argument) = &facts.preview else {
            return Ok(workflow::model::Prepared::default());
        };
        let mut preview = call.clone();
        preview
            .arguments
            .insert(argument.clone(), Value::Bool(true));
        let outgoing = Outgoing {
            call: preview,
            workflow: id.clone(),
            step: step.clone(),
            direction: Direction::Do,
            facts: Facts {
                // A preview changes nothing: it may be made again.
                risk: Risk::Read,
                effect: workflow::model::Effect::Read,
                ..facts.clone()
            },
            meta: Meta {
                key,
                attempt: 1,
                target: None,
            },
            timeout: self.inner.settings.read_timeout,
        };
        match self.read(outgoing).await {
            Reply::Success { body, .. } => {
                let prepared = judge::prepared(call, facts, &body)
                    .map_err(|error| Unfit::new("companion.preview", error))?;
                Ok(self.check_undo(prepared).await)
            }
            Reply::Failure { code, error, left } => Err(Unfit { code, error, left }),
            Reply::Lost { why } => Err(Unfit::new("companion.lost", why)),
        }
    }

    /// Asks the catalog about a prepared undo: one that could not be sent is none.
    async fn check_undo(
        &self,
        mut prepared: workflow::model::Prepared,
    ) -> workflow::model::Prepared {
        let Some(undo) = &mut prepared.undo else {
            return prepared;
        };
        match self.describe(&undo.call).await {
            Ok(facts) => undo.effect = facts.effect,
            Err(unfit) => {
                prepared.no_undo = format!(
                    "the undo that the companion offers cannot be sent: {}",
                    unfit.error
                );
                prepared.undo = None;
            }
        }
        prepared
    }

    /// Makes a read, and makes it again when it got lost.
    async fn read(&self, outgoing: Outgoing) -> Reply {
        let mut reply = self.call(outgoing.clone()).await;
        for attempt in 2..=ATTEMPTS {
            if !matches!(reply, Reply::Lost { .. }) {
                break;
            }
            let mut again = outgoing.clone();
            again.meta.attempt = attempt;
            reply = self.call(again).await;
        }
        reply
    }

    /// Finds out by a read whether a change is in effect. A call that is no read is not made.
    pub(crate) async fn probe(&self, id: &WorkflowId, step: &StepId, verify: &Verify) -> Verdict {
        let unclear = |why: String| Verdict::Unclear { why };
        let facts = match self.describe(&verify.call).await {
            Ok(facts) => facts,
            Err(unfit) => {
                return unclear(format!(
                    "the check cannot be made: {}: {}",
                    unfit.code, unfit.error
                ));
            }
        };
        if facts.risk != Risk::Read {
            return unclear("the check is not a read, so it is not made".to_owned());
        }
        let outgoing = Outgoing {
            call: verify.call.clone(),
            workflow: id.clone(),
            step: step.clone(),
            direction: Direction::Do,
            facts,
            meta: Meta {
                key: format!("{id}/{step}/verify"),
                attempt: 1,
                target: None,
            },
            timeout: self.inner.settings.read_timeout,
        };
        judge::verdict(verify, &self.read(outgoing).await)
    }

    /// What the catalog says of a call right before it is sent. What a person approved is sent to
    /// the tool that was reviewed, and what runs by itself is a read.
    async fn still_fit(
        &self,
        call: &Call,
        reviewed: Option<&Facts>,
        change: bool,
    ) -> Result<Facts, Unfit> {
        let facts = self.describe(call).await?;
        let other = reviewed.is_some_and(|reviewed| *reviewed != facts);
        if (change && other) || (!change && facts.risk != Risk::Read) {
            return Err(Unfit::new(
                "companion.changed",
                "Create the workflow anew: the companion or its tool became another one just \
                 before the call, so nothing was sent",
            ));
        }
        Ok(facts)
    }

    /// Sends a call once it is its turn: so many are under way at the same time, and who came
    /// first is served first.
    async fn call(&self, outgoing: Outgoing) -> Reply {
        // The semaphore is never closed; without a permit the call would only be less bounded.
        let _turn = self.inner.calls.acquire().await;
        self.ports().dispatch().call(outgoing).await
    }

    /// Makes a read until its condition holds, cannot be told, or it is too late. `None` where
    /// nobody waits for it any more.
    async fn poll(
        &self,
        live: &Live,
        step: &StepId,
        call: Call,
        key: String,
        read: Poll,
    ) -> Option<Reply> {
        let clock = self.ports().clock();
        loop {
            let reply = match self.still_fit(&call, None, false).await {
                Ok(facts) => {
                    let outgoing = Outgoing {
                        call: call.clone(),
                        workflow: read.state.id.clone(),
                        step: step.clone(),
                        direction: Direction::Do,
                        facts,
                        meta: Meta {
                            key: key.clone(),
                            attempt: 1,
                            target: None,
                        },
                        timeout: read.timeout,
                    };
                    self.read(outgoing).await
                }
                Err(unfit) => not_sent(unfit),
            };
            let next = clock.now().saturating_add(read.every_ms);
            if !not_yet(&read.state, step, &reply) || clock.now() >= read.deadline {
                return Some(reply);
            }
            tokio::select! {
                () = clock.until(next.min(read.deadline)) => {}
                () = self.inner.closed() => return None,
            }
            // Somebody stopped it, or something else failed: nobody waits for this any more.
            let now = live.shown().state;
            if now.phase != Phase::Running || now.cancelling {
                return None;
            }
        }
    }

    fn keep_success(&self, id: &WorkflowId, step: &StepId, reply: &Reply) {
        let Reply::Success { body, size, .. } = reply else {
            return;
        };
        let (body, size) = (body.clone(), usize::try_from(*size).unwrap_or(usize::MAX));
        self.inner
            .results
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .put(id, step, body, size);
    }
}

/// How a read is made until its condition holds.
struct Poll {
    every_ms: i64,
    deadline: i64,
    timeout: Duration,
    /// As it was when the read began: what the condition is evaluated over.
    state: Arc<State>,
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn not_sent(unfit: Unfit) -> Reply {
    Reply::Failure {
        code: unfit.code,
        error: unfit.error,
        left: Left::Nothing,
    }
}
