//! Prints `docs/states.md`: the transition table of a workflow, and its diagram.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use workflow::state::{Status, TABLE};

fn main() {
    println!("# The states of a workflow");
    println!();
    println!(
        "Generated from `TABLE` in `crates/workflow/src/state/table.rs` by `cargo xtask tidy \
         --write`. An event that would make any other move is not applied. The test \
         `crates/workflow/tests/it/model.rs` takes every row."
    );
    println!();
    println!("```mermaid");
    println!("stateDiagram-v2");
    println!("    [*] --> pending: created");
    for (from, event, tos) in TABLE {
        for to in *tos {
            println!("    {} --> {}: {event}", from.word(), to.word());
        }
    }
    println!("```");
    println!();
    println!("| from | event | to |");
    println!("|---|---|---|");
    for (from, event, tos) in TABLE {
        let tos: Vec<String> = tos.iter().map(|to| format!("`{}`", to.word())).collect();
        println!("| `{}` | `{event}` | {} |", from.word(), tos.join(", "));
    }
    println!();
    let ends: Vec<String> = Status::ALL
        .into_iter()
        .filter(|status| !TABLE.iter().any(|(from, _, _)| from == status))
        .map(|status| format!("`{}`", status.word()))
        .collect();
    println!("No move leads out of {}.", ends.join(", "));
}
