//! Looking before anything runs: every step against the live catalog, and a preview of each change.

use std::collections::BTreeMap;

use tokio::sync::Semaphore;
use workflow::decide::Unfit as StepUnfit;
use workflow::define::reference_refusal;
use workflow::event::{Direction, Preview, Review};
use workflow::model::{Call, CallStep, Deed, Definition, Facts, Risk, ScalarKind, StepId};
use workflow::reference;
use workflow::refusal::Refusal;
use workflow::review::Look;
use workflow::state::{State, StepStatus};

use crate::Engine;
use crate::ports::{Dispatch as _, Ports, Unfit};

/// How many previews of one review are made at the same time.
const AT_ONCE: usize = 8;

impl<P: Ports> Engine<P> {
    /// The catalog's word on every step of a definition, after checking all of its calls.
    pub(crate) async fn facts(
        &self,
        definition: &Definition,
    ) -> Result<Vec<Option<Facts>>, Refusal> {
        let mut facts = Vec::with_capacity(definition.steps.len());
        for (i, step) in definition.steps.iter().enumerate() {
            facts.push(match &step.deed {
                Deed::Gate(_) => None,
                Deed::Call(call) => {
                    let (facts, _) = self.check_step(definition, i, &step.id, call).await?;
                    Some(facts)
                }
            });
        }
        Ok(facts)
    }

    /// Checks a step against the live catalog: its call, its undo, and that its verify is a read.
    /// What is known of the call, and what its undo may do.
    pub(crate) async fn check_step(
        &self,
        definition: &Definition,
        position: usize,
        id: &StepId,
        step: &CallStep,
    ) -> Result<(Facts, Option<Risk>), Refusal> {
        let facts = self
            .check_call(definition, position, id, &step.call)
            .await?;
        let mut undo_risk = None;
        if let Some(undo) = &step.undo {
            let undo = self.check_call(definition, position + 1, id, undo).await;
            undo_risk = Some(undo.map_err(|refusal| of_part("undo", refusal))?.risk);
        }
        if let Some(verify) = &step.verify {
            let verify = self
                .check_call(definition, position + 1, id, &verify.call)
                .await
                .map_err(|refusal| of_part("verify", refusal))?;
            if verify.risk != Risk::Read {
                return Err(Refusal::new(
                    "step.verify_not_read",
                    format!("Use a tool that only reads in the `verify` of step `{id}`: this one may change something"),
                )
                .with("step", id.0.clone()));
            }
        }
        Ok((facts, undo_risk))
    }

    async fn check_call(
        &self,
        definition: &Definition,
        until: usize,
        id: &StepId,
        call: &Call,
    ) -> Result<Facts, Refusal> {
        let (arguments, holes) = reference::resolve_params(definition, until, &call.arguments)
            .map_err(|e| reference_refusal(id, &e))?;
        let call = Call {
            arguments,
            ..call.clone()
        };
        self.describe_with(&call, &holes)
            .await
            .map_err(|unfit| refusal(id, unfit))
    }

    async fn describe_with(
        &self,
        call: &Call,
        holes: &BTreeMap<String, ScalarKind>,
    ) -> Result<Facts, Unfit> {
        self.ports().dispatch().describe(call, holes).await
    }

    /// The catalog's word on every pending step now. Where it has none any more, that is a
    /// difference as well: nothing is left of what was reviewed.
    pub(crate) async fn facts_now(&self, state: &State) -> Vec<Option<Facts>> {
        let mut facts = Vec::with_capacity(state.steps.len());
        for (i, def) in state.definition.steps.iter().enumerate() {
            facts.push(match (&def.deed, state.steps[i].status) {
                (Deed::Call(call), StepStatus::Pending) => self
                    .check_call(&state.definition, i, &def.id, &call.call)
                    .await
                    .ok()
                    .or_else(|| state.steps[i].facts.clone().map(gone)),
                _ => state.steps[i].facts.clone(),
            });
        }
        facts
    }

    /// Looks at a workflow as a whole: what the catalog says of each step now, and a preview of
    /// each change whose arguments are known.
    pub(crate) async fn review(&self, state: &State) -> Result<Review, Refusal> {
        let at_once = Semaphore::new(AT_ONCE);
        let looks = state.definition.steps.iter().enumerate().map(|(i, def)| {
            let at_once = &at_once;
            async move {
                let _turn = at_once.acquire().await;
                self.look(state, i, &def.id, &def.deed).await
            }
        });
        let found = futures_util::future::try_join_all(looks).await?;
        Ok(workflow::review::review(state, found))
    }

    async fn look(
        &self,
        state: &State,
        position: usize,
        id: &StepId,
        deed: &Deed,
    ) -> Result<Look, Refusal> {
        let found = &state.steps[position];
        let mut look = Look {
            facts: found.facts.clone(),
            preview: Preview::NotNeeded,
            undo_risk: None,
        };
        let Deed::Call(step) = deed else {
            return Ok(look);
        };
        if found.status != StepStatus::Pending {
            return Ok(look);
        }
        let (facts, undo_risk) = self
            .check_step(&state.definition, position, id, step)
            .await?;
        look.undo_risk = undo_risk;
        if facts.risk != Risk::Read {
            look.preview = self.look_at_change(state, id, &facts).await;
        }
        look.facts = Some(facts);
        Ok(look)
    }

    async fn look_at_change(&self, state: &State, id: &StepId, facts: &Facts) -> Preview {
        if facts.preview.is_none() {
            let why = "the companion has no previews".to_owned();
            return Preview::NotPossible { why };
        }
        let Ok(call) = workflow::decide::call_to_prepare(state, id) else {
            let why = "it depends on what an earlier step answers".to_owned();
            return Preview::NotPossible { why };
        };
        let key = state.key(id, Direction::Do);
        match self.ask_preview(&state.id, id, &call, facts, key).await {
            Ok(prepared) => Preview::Shown {
                prepared: Box::new(prepared),
            },
            Err(StepUnfit { code, error, .. }) => Preview::Refused { code, error },
        }
    }
}

/// The facts of a tool that is not there any more: never the same as those of one that is.
fn gone(facts: Facts) -> Facts {
    Facts {
        risk: Risk::Unknown,
        tool: guard::digest::Digest::of_bytes(b"gone"),
        ..facts
    }
}

fn refusal(step: &StepId, unfit: Unfit) -> Refusal {
    let mut refusal = Refusal::new(unfit.code, format!("{} (step `{step}`)", unfit.message))
        .with("step", step.0.clone());
    refusal.extra.extend(unfit.extra);
    refusal
}

/// The refusal of a part of a step that is not its own call.
fn of_part(part: &str, mut refusal: Refusal) -> Refusal {
    refusal.message = format!("{} (in its `{part}`)", refusal.message);
    refusal
}
