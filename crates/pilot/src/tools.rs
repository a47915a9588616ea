//! The tools, one file per group: making and looking ([`make`]), running ([`run`]), deciding
//! ([`decide`]), the records ([`records`]), and putting
//! old ones away ([`archive`]). [`table`] says what each is called and
//! takes, and [`param`] what an argument may be.

mod archive;
mod decide;
mod make;
pub(crate) mod param;
mod records;
mod run;
mod schema;
pub(crate) mod table;

use policy::answer::{Answer, ErrorEffect, Refusal};
use serde_json::{Map, Value};
use workflow::model::WorkflowId;

use crate::arguments::Arguments;
use crate::desk::Context;
use table::Which;

/// Serves one call. Its arguments fit the table, and hold no secret.
pub(crate) async fn serve(
    which: Which,
    context: &Context,
    arguments: Arguments,
) -> Result<Answer, Refusal> {
    match which {
        Which::Catalog => make::catalog(context, &arguments).await,
        Which::Create => make::create(context, arguments).await,
        Which::Review => make::review(context, &arguments).await,
        Which::Run => run::run(context, &arguments).await,
        Which::Status => run::status(context, &arguments).await,
        Which::Rollback => run::rollback(context, &arguments).await,
        Which::Cancel => run::cancel(context, &arguments).await,
        Which::Resume => run::resume(context, &arguments).await,
        Which::Approve => decide::approve(context, &arguments).await,
        Which::Reject => decide::reject(context, &arguments).await,
        Which::Resolve => decide::resolve(context, &arguments).await,
        Which::List => records::list(context, &arguments).await,
        Which::Audit => records::audit(context, &arguments).await,
        Which::Archive => archive::archive(context, &arguments).await,
    }
}

/// The workflow that a call is about.
fn workflow_id(arguments: &Arguments) -> WorkflowId {
    WorkflowId(arguments.text("workflow_id").to_owned())
}

/// A refusal of the workflow's, as it is answered. The state is as before, so nothing was done.
fn refused(refusal: workflow::refusal::Refusal) -> Refusal {
    with_extra(Refusal::new(refusal.code, refusal.message), refusal.extra)
}

/// A refusal of the catalog's, as it is answered.
fn unfit(unfit: engine::ports::Unfit) -> Refusal {
    with_extra(Refusal::new(unfit.code, unfit.message), unfit.extra)
}

fn with_extra(refusal: Refusal, extra: Map<String, Value>) -> Refusal {
    extra
        .into_iter()
        .fold(refusal, |refusal, (key, value)| refusal.with(&key, value))
        .effect(ErrorEffect::None)
}

/// The refusal of a cursor that is none of ours.
fn bad_cursor() -> Refusal {
    crate::arguments::refusal(
        "cursor.invalid",
        "Pass `next_cursor` of the page before as it was given, or leave `cursor` out",
    )
}
