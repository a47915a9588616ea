//! The stable codes of the refusals that a client of `pilot` meets beside those of `policy`, with
//! what each means. Each has a page in `docs/errors/`.
//!
//! `workflow`, `engine`, `journal` and `companions` refuse through `pilot`, so theirs are listed here.

/// Code and meaning, sorted by code.
pub(crate) const TABLE: &[(&str, &str)] = &[
    (
        "approval.already",
        "the same person said yes before, and different people have to",
    ),
    (
        "approval.assurance",
        "the installation takes no decision that is known so weakly",
    ),
    (
        "approval.quorum",
        "more people would have to approve than can be authenticated here",
    ),
    (
        "approval.requester",
        "whoever asked for a workflow may not approve it",
    ),
    (
        "approval.steps",
        "a decision names a step that it cannot cover",
    ),
    (
        "approval.void",
        "the approval that a decision is about is not the one that is open",
    ),
    (
        "argument.missing",
        "an argument that the tool needs was not passed",
    ),
    (
        "argument.out_of_range",
        "an argument has the right type and a value that is not allowed",
    ),
    (
        "argument.unknown",
        "an argument was passed that the tool does not have",
    ),
    (
        "argument.wrong_type",
        "an argument is of another type than the tool takes",
    ),
    (
        "companion.bad_arguments",
        "the companion refused the arguments of a call",
    ),
    (
        "companion.bad_request",
        "the companion could not read a call",
    ),
    (
        "companion.changed",
        "the companion or its tool is not the one that was reviewed",
    ),
    (
        "companion.config",
        "a companion cannot be used as it is set up",
    ),
    (
        "companion.error",
        "the companion said that a call failed, and gave no code of its own",
    ),
    (
        "companion.input_required",
        "the companion asked for more input in the middle of a call",
    ),
    (
        "companion.lost",
        "a call was sent and its answer never came",
    ),
    (
        "companion.no_preview",
        "the companion was asked for a preview and did something else",
    ),
    (
        "companion.no_such_method",
        "the companion does not know the method of a call",
    ),
    (
        "companion.preview",
        "a preview of the companion cannot be read",
    ),
    (
        "companion.preview_only",
        "the companion only previewed a change that it was asked to make",
    ),
    (
        "companion.unavailable",
        "a companion cannot be started or reached",
    ),
    ("config.rules", "a rule in config.toml cannot be read"),
    ("cursor.invalid", "a cursor is none that was given out"),
    (
        "step.arguments",
        "the arguments of a step do not fit the tool's schema",
    ),
    (
        "step.condition",
        "a condition of a step is not one, or cannot be evaluated",
    ),
    (
        "step.field",
        "a field of a step is unknown or of another form",
    ),
    (
        "step.id",
        "a step has no id, a wrong one, or one that another step has",
    ),
    (
        "step.name",
        "the name or description of a step holds a character that is not allowed",
    ),
    (
        "step.not_unknown",
        "a step was resolved whose effect is not unknown",
    ),
    (
        "step.not_verified",
        "a step was answered as done, and its verify does not show it",
    ),
    (
        "step.parallel",
        "a step that is asked about runs beside others",
    ),
    ("step.reference", "a reference in a step cannot be resolved"),
    (
        "step.retry",
        "a step is to be tried again that may be done only once",
    ),
    (
        "step.still_unknown",
        "a probe could not tell what became of a step",
    ),
    (
        "step.unclean",
        "an argument of a step holds a character that sanitising would strip",
    ),
    (
        "step.unexpected",
        "a step was answered, and what was expected of it does not hold",
    ),
    ("step.unknown", "it is not known whether a step took effect"),
    (
        "step.unknown_action",
        "a step names an action that its tool does not have",
    ),
    (
        "step.unknown_skill",
        "a step names a companion that is not listed",
    ),
    (
        "step.unknown_tool",
        "a step names a tool that its companion does not have",
    ),
    (
        "step.verify_not_read",
        "the verify of a step uses a tool that may change something",
    ),
    (
        "step.wait_for",
        "a step waits for a condition with a tool that may change something",
    ),
    ("store.corrupted", "the database of workflows is damaged"),
    (
        "store.failed",
        "the database of workflows cannot be used for another reason",
    ),
    (
        "store.full",
        "there is no space left for the database of workflows",
    ),
    (
        "store.locked",
        "another process holds the database of workflows for too long",
    ),
    (
        "store.newer",
        "the database of workflows was written by a newer version",
    ),
    (
        "store.read_only",
        "the database of workflows cannot be written",
    ),
    (
        "workflow.archived",
        "the workflow was moved into an archive",
    ),
    (
        "workflow.busy",
        "another process is at work on the workflow",
    ),
    (
        "workflow.description",
        "the description of a workflow holds a character that is not allowed",
    ),
    (
        "workflow.ended",
        "a workflow was cancelled that has ended already",
    ),
    (
        "workflow.field",
        "a field of a definition is unknown or of another form",
    ),
    (
        "workflow.held",
        "another workflow is changing the same object",
    ),
    (
        "workflow.name",
        "a workflow has no name, or one with a character that is not allowed",
    ),
    (
        "workflow.not_paused",
        "a workflow was resumed that is not paused",
    ),
    (
        "workflow.not_pending",
        "a workflow was begun that was begun before",
    ),
    (
        "workflow.not_undoable",
        "a rollback was asked for where there can be none",
    ),
    (
        "workflow.nothing_to_undo",
        "a rollback was asked for and nothing was changed",
    ),
    (
        "workflow.review",
        "the plan must be reviewed before the workflow goes on",
    ),
    ("workflow.rolling_back", "the workflow is being rolled back"),
    ("workflow.secret", "a definition holds a literal secret"),
    ("workflow.steps", "a definition has no steps, or too many"),
    ("workflow.too_large", "a definition is too large"),
    ("workflow.unknown", "there is no workflow with this id"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_codes_are_dotted_words() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (code, meaning) in TABLE {
            let (area, reason) = code.split_once('.').unwrap_or_default();
            let word =
                |w: &str| !w.is_empty() && w.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            assert!(word(area) && word(reason), "{code}");
            assert!(!meaning.is_empty() && !meaning.ends_with('.'), "{code}");
            assert_eq!(
                policy::codes::meaning(code),
                None,
                "{code} is listed by `policy`"
            );
        }
    }
}
