//! Running, stopping and undoing workflows, and waiting for them.

use std::time::Duration;

use engine::Engine;
use policy::answer::{Answer, ErrorEffect, Refusal};
use workflow::event::Principal;
use workflow::model::WorkflowId;

use super::{refused, workflow_id};
use crate::arguments::Arguments;
use crate::desk::Context;
use crate::view::{self, Extra};
use crate::waiting::{until_rest, whole};
use crate::world::World;

/// How long a call waits where it does not say, in seconds.
const WAIT_S: u64 = 25;

/// `run_workflow`.
pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Answer, Refusal> {
    then_shown(
        context,
        arguments,
        Extra::with_results(),
        |engine, id, by| async move { engine.run(&id, &by).await },
    )
    .await
}

/// `get_workflow_status`.
pub(super) async fn status(context: &Context, arguments: &Arguments) -> Result<Answer, Refusal> {
    let id = workflow_id(arguments);
    let seconds = arguments.whole("wait_seconds").unwrap_or(0);
    shown_within(context, &id, seconds, Extra::with_results()).await
}

/// `rollback`.
pub(super) async fn rollback(context: &Context, arguments: &Arguments) -> Result<Answer, Refusal> {
    then_shown(
        context,
        arguments,
        Extra::default(),
        |engine, id, by| async move { engine.rollback(&id, by).await },
    )
    .await
}

/// `cancel_workflow`.
pub(super) async fn cancel(context: &Context, arguments: &Arguments) -> Result<Answer, Refusal> {
    then_shown(
        context,
        arguments,
        Extra::default(),
        |engine, id, by| async move { engine.cancel(&id, by).await },
    )
    .await
}

/// `resume_workflow`.
pub(super) async fn resume(context: &Context, arguments: &Arguments) -> Result<Answer, Refusal> {
    then_shown(
        context,
        arguments,
        Extra::with_results(),
        |engine, id, by| async move { engine.resume(&id, by).await },
    )
    .await
}

/// Does something with a workflow, and shows what came of it.
pub(super) async fn then_shown<Done>(
    context: &Context,
    arguments: &Arguments,
    extra: Extra,
    act: impl FnOnce(Engine<World>, WorkflowId, Principal) -> Done,
) -> Result<Answer, Refusal>
where
    Done: Future<Output = Result<(), workflow::refusal::Refusal>> + Send + 'static,
{
    let id = workflow_id(arguments);
    let acting = act(context.open.engine.clone(), id.clone(), context.requester());
    whole(acting).await.map_err(refused)?;
    shown_at_rest(context, &id, arguments, extra).await
}

/// Waits as long as the call says, and shows the workflow. What was asked for is done by now, so a
/// failure to show it does not say that nothing was.
async fn shown_at_rest(
    context: &Context,
    id: &WorkflowId,
    arguments: &Arguments,
    extra: Extra,
) -> Result<Answer, Refusal> {
    let seconds = arguments.whole("wait_seconds").unwrap_or(WAIT_S);
    shown_within(context, id, seconds, extra)
        .await
        .map_err(|refusal| refusal.effect(ErrorEffect::Unknown))
}

async fn shown_within(
    context: &Context,
    id: &WorkflowId,
    seconds: u64,
    extra: Extra,
) -> Result<Answer, Refusal> {
    let engine = &context.open.engine;
    let most = Duration::from_secs(seconds);
    let mut ending = context.ending.clone();
    let shown = until_rest(engine, id, most, context.progress.as_ref(), &mut ending)
        .await
        .map_err(refused)?;
    // Taken last: an answer that is not given loses none.
    let results = if extra.results {
        engine.take_results(id)
    } else {
        Vec::new()
    };
    let (body, rest) = view::workflow(&shown, results, extra);
    engine.give_back(id, rest);
    Ok(Answer::ok(body))
}
