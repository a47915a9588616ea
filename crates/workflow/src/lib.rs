//! Room `workflow`: the model and every decision.
//!
//! A workflow is steps in order, with a state. What happened to it is a list of
//! [events](event::Event); where it stands is their [fold](state::State); what follows from a
//! command is [`decide::decide`]. Whoever wants to know what Pilothouse does in a given
//! situation finds the answer in here, and nowhere else.
//!
//! # Guarantees
//!
//! - A change is sent only in a turn whose events hold its intent.
//! - A step that asks is sent only with an approval of the very digest of what will be sent.
//! - Undo is the exact reverse of the order of outcomes.
//! - An effect that is not known is `unknown`, and a failed undo is a state of its own.
//!
//! # Invariants by absence
//!
//! - Nothing in here does IO, reads a clock, draws randomness or is `async`: what time it is and
//!   which ids are fresh is told.
//! - Nothing in here knows MCP, vSphere, SQL or a file.
//! - No event and no state holds an answer of a companion, only what was declared of it.

pub mod condition;
pub mod decide;
pub mod define;
pub mod event;
pub mod hold;
pub mod judge;
pub mod model;
pub mod reference;
pub mod refusal;
pub mod reply;
pub mod review;
pub mod state;
