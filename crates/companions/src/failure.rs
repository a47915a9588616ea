//! Why a companion does not run. Each text leads with what to do; all of it is sanitised.

/// Why a companion does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StartError {
    /// Its command is not there.
    #[error(
        "Install the companion `{skill}`, or correct its `command` in `companions.json`: there is no executable `{command}`"
    )]
    NotFound {
        /// Which companion.
        skill: String,
        /// Its command, sanitised.
        command: String,
    },
    /// The system did not start it.
    #[error("Check the `command` of the companion `{skill}`: it cannot be started ({why})")]
    Spawn {
        /// Which companion.
        skill: String,
        /// The system's words.
        why: String,
    },
    /// It said nothing in time.
    #[error(
        "Check the companion `{skill}`: it did not answer within {seconds} s of its start{words}"
    )]
    Silent {
        /// Which companion.
        skill: String,
        /// How long was waited.
        seconds: u64,
        /// Its last words.
        words: String,
    },
    /// It ended at once.
    #[error("Check the companion `{skill}`: it ended at its start ({how}){words}")]
    Ended {
        /// Which companion.
        skill: String,
        /// How it ended.
        how: String,
        /// Its last words.
        words: String,
    },
    /// It does not speak MCP, or does not say what tools it has.
    #[error("Check the companion `{skill}`: {what}{words}")]
    Protocol {
        /// Which companion.
        skill: String,
        /// What is wrong.
        what: String,
        /// Its last words.
        words: String,
    },
    /// It fails again and again.
    #[error(
        "Wait {seconds} s before the companion `{skill}` is tried again, since it failed {failures} times in a row. {last}"
    )]
    Backoff {
        /// Which companion.
        skill: String,
        /// How long.
        seconds: u64,
        /// How often.
        failures: u32,
        /// The last failure.
        last: String,
    },
    /// Everything is being stopped.
    #[error("Start Pilothouse again to use the companion `{skill}`: it is shutting down")]
    Closing {
        /// Which companion.
        skill: String,
    },
}
