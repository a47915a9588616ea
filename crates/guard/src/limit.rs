//! All size limits, in one place, so that no room invents its own.
//!
//! A limit named `…_CHARS` counts Unicode scalar values, `…_BYTES` counts bytes of UTF-8.

/// Steps in one workflow.
pub const STEPS: usize = 10_000;

/// One workflow definition as written, in bytes (1 MiB).
pub const DEFINITION_BYTES: usize = 1024 * 1024;

/// Display text after [`crate::text::sanitize`] (P13).
pub const DISPLAY_CHARS: usize = 500;

/// One string used as an argument of a call, or one key in it.
///
/// Larger than [`DISPLAY_CHARS`]: an argument is never truncated, only refused, and a
/// guest command or an annotation may be long.
pub const ARGUMENT_CHARS: usize = 65_536;

/// All arguments of one call together, as JSON.
pub const ARGUMENTS_BYTES: usize = 1024 * 1024;

/// How deep arrays and objects may be nested; a scalar alone has depth 0.
pub const DEPTH: usize = 64;

/// The name of a workflow or a step (P14).
pub const NAME_CHARS: usize = 120;

/// The description of a workflow or a step (P14).
pub const DESCRIPTION_CHARS: usize = 2_000;

/// The id of a step.
pub const STEP_ID_CHARS: usize = 64;

/// One declared output of a step (P12).
pub const OUTPUT_CHARS: usize = 500;

/// Declared outputs of one step.
pub const OUTPUTS: usize = 32;

/// What was prepared for one change, as JSON. Over it there is no undo, and the
/// review says so before anything is sent.
pub const PREPARED_BYTES: usize = 64 * 1024;

/// The hard cap of one answer (C10).
pub const ANSWER_CAP_CHARS: usize = 500_000;

/// The default size of one answer: about 20,000 tokens, which fits an agent's context (C10).
pub const ANSWER_CHARS: usize = 60_000;

/// One line of the MCP conversation on stdin (4 MiB).
pub const LINE_BYTES: usize = 4 * 1024 * 1024;

/// One response of a companion that is held in memory (16 MiB).
pub const RESPONSE_BYTES: usize = 16 * 1024 * 1024;

/// The largest integer, either sign, that JSON carries without loss: 2^53
/// (RFC 7493, section 2.2).
pub const INTEGER: u64 = 1 << 53;
