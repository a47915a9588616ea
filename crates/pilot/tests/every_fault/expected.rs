//! Where a cell comes to rest.

use crate::cell::{Cell, Done, Kind, Stage};
use crate::flow::Story;
use crate::judge::{Found, ensure, text};

/// Where a cell comes to rest, and whether a person is asked on the way.
pub(crate) fn rests_as_expected(cell: &Cell, story: &Story) -> Found {
    let outcome = text(&story.rest, "outcome");
    let (expected, asked) = expected(cell);
    ensure(expected == outcome, || {
        format!("it is `{outcome}`, and `{expected}` was expected")
    })?;
    let found: Vec<&str> = story
        .resolved
        .iter()
        .map(|(step, _)| step.as_str())
        .collect();
    let wanted: &[&str] = if asked { &[cell.step.id] } else { &[] };
    ensure(found == wanted, || {
        format!("a person was asked about {found:?}")
    })
}

/// Where it should come to rest, and whether a person has to say what became of the step.
fn expected(cell: &Cell) -> (&'static str, bool) {
    let once = matches!(cell.step.id, "add_n" | "mail");
    let probed = cell.step.id != "mail";
    let is_error = matches!(cell.fault.kind, Kind::Error(_));
    match cell.stage {
        Stage::Review => ("completed", false),
        _ if cell.absorbed() && cell.stage != Stage::Probe => (
            if cell.last_fails() || cell.by_hand() {
                "rolled_back"
            } else {
                "completed"
            },
            false,
        ),
        Stage::Probe if cell.passes => ("completed", false),
        Stage::Do if cell.step.id == "look" => ("failed", false),
        // A preview that says that it changed something in part is taken at its word; where an
        // earlier one told how to look, a probe shows that nothing was.
        Stage::Prepare if cell.fault.kind == Kind::Error("something") => ("rollback_failed", false),
        Stage::Prepare if cell.step.id == "set_a" => ("failed", false),
        Stage::Prepare | Stage::PrepareAgain => ("rolled_back", false),
        Stage::Do if is_error => {
            let half = cell.fault.done == Done::Half && half_shows(cell);
            let untold = !probed && cell.fault.kind == Kind::Error("something");
            if cell.step.id == "set_a" && cell.fault.kind == Kind::Error("nothing") {
                ("failed", false)
            } else if half || untold {
                ("rollback_failed", false)
            } else {
                ("rolled_back", false)
            }
        }
        // A probe shows that it is done; one that is not is sent again, at most three times, but not
        // where it may be done once only; where nothing can tell, a person is asked.
        Stage::Do => (
            "completed",
            !(probed && (cell.fault.done == Done::Yes || (cell.passes && !once))),
        ),
        Stage::Probe => ("completed", true),
        // What cannot be looked at cannot be seen to be undone either.
        Stage::Verify if is_error => ("rolled_back", false),
        Stage::Verify => ("rollback_failed", false),
        Stage::Undo => {
            // Two are undone by removing a value, of which there is no half.
            let whole = matches!(cell.step.id, "set_b" | "last") && cell.fault.done == Done::Half;
            let done = cell.fault.done == Done::Yes || whole;
            // What got lost and is shown not to be done is undone once more, if that is idempotent.
            let again = cell.passes && matches!(cell.step.id, "set_a" | "set_b" | "rm_c" | "last");
            (
                if done || again {
                    "rolled_back"
                } else {
                    "rollback_failed"
                },
                false,
            )
        }
        Stage::UndoVerify => ("rollback_failed", false),
    }
}

/// Whether half of the step's value is another than the whole and none.
fn half_shows(cell: &Cell) -> bool {
    !matches!(cell.step.id, "rm_c" | "wipe" | "mail" | "look")
}
