//! Room `guard`: what text, numbers and JSON may come in and go out.
//!
//! Everything that enters Pilothouse from an agent, a companion or a server, and
//! everything that leaves it again, is measured against the rules in here: text is
//! sanitised ([`text`]), names are checked ([`name`]), JSON is read strictly
//! ([`json`]), sizes are bounded ([`limit`]), values are fingerprinted ([`digest`]),
//! and secrets are found, hidden and wiped ([`secret`]).
//!
//! # Invariants by absence
//!
//! - Nothing in here does IO, reads a clock, draws randomness or is `async`.
//! - Nothing in here keeps state: every function gives the same answer for the same input.
//! - No error in here carries the value it complains about, only where it stands.
//! - This crate depends on no other room.

pub mod digest;
pub mod json;
pub mod limit;
pub mod name;
pub mod pointer;
pub mod secret;
pub mod text;
