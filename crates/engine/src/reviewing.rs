//! Looking before anything runs: every step against the live catalog, and a preview of each change.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use workflow::decide::Unfit as StepUnfit;
use workflow::define::{fits, reference_refusal};
use workflow::event::{Assurance, Direction, Preview, Principal, Review};
use workflow::hold;
use workflow::model::{Call, CallStep, Deed, Definition, Facts, Risk, ScalarKind, StepDef, StepId};
use workflow::reference::{self, Scope};
use workflow::refusal::Refusal;
use workflow::review::Look;
use workflow::state::State;

use crate::ports::{Dispatch as _, Journal as _, Ports, Unfit};
use crate::{Engine, store_refusal};

/// What a companion is refused with that cannot be asked.
const UNREACHABLE: [&str; 2] = ["companion.unavailable", "companion.config"];

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
        let scope = Scope::of(definition, position);
        let facts = self.check_call(definition, scope, id, &step.call).await?;
        fits(definition, position, &facts)?;
        let mut undo_risk = None;
        if let Some(undo) = &step.undo {
            let undo = self.check_call(definition, scope.after(), id, undo).await;
            undo_risk = Some(undo.map_err(|refusal| of_part("undo", refusal))?.risk);
        }
        if let Some(verify) = &step.verify {
            let verify = self
                .check_call(definition, scope.after(), id, &verify.call)
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
        scope: Scope,
        id: &StepId,
        call: &Call,
    ) -> Result<Facts, Refusal> {
        let (arguments, holes) = reference::resolve_params(definition, scope, &call.arguments)
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
    ///
    /// # Errors
    /// [`Refusal`], where a companion cannot be asked: that says nothing of what it would answer.
    pub(crate) async fn facts_now(&self, state: &State) -> Result<Vec<Option<Facts>>, Refusal> {
        let mut facts = Vec::with_capacity(state.steps.len());
        for (i, def) in state.definition.steps.iter().enumerate() {
            let (Deed::Call(call), true) = (&def.deed, state.steps[i].is_open()) else {
                facts.push(state.steps[i].facts.clone());
                continue;
            };
            let scope = Scope::of(&state.definition, i);
            let now = self
                .check_call(&state.definition, scope, &def.id, &call.call)
                .await;
            facts.push(match now {
                Ok(facts) => Some(facts),
                Err(refusal) if UNREACHABLE.contains(&refusal.code) => return Err(refusal),
                Err(_) => state.steps[i].facts.clone().map(gone),
            });
        }
        Ok(facts)
    }

    /// Looks at a workflow as a whole: what the catalog says of each step now, and a preview of
    /// each change whose arguments are known.
    pub(crate) async fn review(&self, state: &State) -> Result<Review, Refusal> {
        // No more of them exist at the same time: each is some kilobytes.
        let looks = (0..state.definition.steps.len()).map(|position| self.look(state, position));
        let mut found: Vec<Look> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
        self.look_for_holders(state, &mut found).await?;
        Ok(workflow::review::review(state, found))
    }

    /// Which other workflow is changing what a step would change.
    async fn look_for_holders(&self, state: &State, found: &mut [Look]) -> Result<(), Refusal> {
        let object = |look: &Look| match &look.preview {
            Preview::Shown { prepared } => hold::object(&prepared.target),
            _ => None,
        };
        let objects: BTreeSet<String> = found.iter().filter_map(object).collect();
        if objects.is_empty() {
            return Ok(());
        }
        let holders = self.ports().journal().holders(objects).await;
        let holders = holders.map_err(|e| store_refusal(&e))?;
        for look in found {
            let held = object(look).and_then(|object| holders.get(&object));
            look.held_by = held.filter(|by| **by != state.id).cloned();
        }
        Ok(())
    }

    /// Refuses a workflow whose approvals nobody here could give.
    pub(crate) fn check_quorum(
        &self,
        definition: &Definition,
        facts: &[Option<Facts>],
        by: &Principal,
    ) -> Result<(), Refusal> {
        let settings = &self.inner.settings;
        let approvers = settings.rules.approvers.and(definition.approvers);
        let asks = facts
            .iter()
            .any(|f| f.as_ref().is_none_or(|f| f.risk.changes()));
        if approvers.is_anyone() || !asks {
            return Ok(());
        }
        let requester = approvers.exclude_requester && by.assurance >= Assurance::Authenticated;
        let needed = approvers.quorum + u32::from(requester);
        if settings.deciders >= needed {
            return Ok(());
        }
        Err(Refusal::new(
            "approval.quorum",
            format!(
                "Ask for fewer approvers: {needed} authenticated people would have to be there, \
                 and {} can be authenticated here",
                settings.deciders
            ),
        )
        .with("given", approvers.quorum)
        .with("allowed", settings.deciders))
    }

    async fn look(&self, state: &State, position: usize) -> Result<Look, Refusal> {
        let StepDef { id, deed, .. } = &state.definition.steps[position];
        let found = &state.steps[position];
        let mut look = Look {
            facts: found.facts.clone(),
            preview: Preview::NotNeeded,
            undo_risk: None,
            held_by: None,
        };
        let Deed::Call(step) = deed else {
            return Ok(look);
        };
        if !found.is_open() {
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
