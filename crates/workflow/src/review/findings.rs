//! What a caller should know of a definition before it runs.

use super::undo_from;
use crate::event::{Preview, UndoFrom};
use crate::model::{Deed, Definition, Facts, Risk};

/// What a caller should know of a definition before it runs, in plain sentences.
#[must_use]
pub fn findings(definition: &Definition, facts: &[Option<Facts>]) -> Vec<String> {
    let mut findings = Vec::new();
    for (def, facts) in definition.steps.iter().zip(facts) {
        let (Deed::Call(call), Some(facts)) = (&def.deed, facts) else {
            continue;
        };
        let id = &def.id;
        if facts.risk == Risk::Unknown {
            findings.push(format!(
                "Step `{id}`: what it may do is not known, so it is treated as destructive"
            ));
        }
        if !facts.risk.changes() {
            if call.undo.is_some() {
                findings.push(format!(
                    "Step `{id}`: it only reads, so its `undo` is never used"
                ));
            }
            continue;
        }
        let from = undo_from(&def.deed, Some(facts), &Preview::NotNeeded);
        if from == UndoFrom::Nowhere {
            findings.push(format!(
                "Step `{id}`: it cannot be undone; a rollback will leave it behind and say so"
            ));
        }
        if facts.preview.is_some() && call.undo.is_some() {
            findings.push(format!(
                "Step `{id}`: its own `undo` is used only where the companion offers none"
            ));
        }
        if facts.preview.is_none() && call.verify.is_none() {
            findings.push(format!("Step `{id}`: nothing can tell whether it took effect, since the companion has no previews and the step no `verify`"));
        }
    }
    findings
}
