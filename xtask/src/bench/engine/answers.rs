//! How large the answers about a large workflow are.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use super::lab::create;
use crate::bench::report::{Report, Row, ms};
use crate::mcp::Client;

/// The most characters that one may have: about 20,000 tokens.
const CHARS: usize = 60_000;

pub(super) async fn measure(
    client: &Client,
    completed: &str,
    steps: usize,
    report: &mut Report,
) -> Result<()> {
    let pending = create(client, &vec!["touch"; steps]).await?;
    let asked = [
        ("get_workflow_status", "completed", completed),
        ("get_workflow_status", "pending", &pending),
        ("review_workflow", "pending", &pending),
        ("get_audit_log", "completed", completed),
    ];
    let mut rows = Vec::new();
    let mut largest = 0;
    for (tool, state, id) in asked {
        let begun = Instant::now();
        let answer = client.ask(tool, json!({"workflow_id": id})).await?;
        let time = begun.elapsed();
        let chars = answer.to_string().chars().count();
        largest = largest.max(chars);
        rows.push(Row::new(
            format!("`{tool}` of a workflow of {steps} steps, {state}, first page"),
            format!("{chars} characters"),
            ms(time),
        ));
    }
    report.table("answers", &rows);
    report.promise(
        largest <= CHARS,
        format!("answers about {steps} steps have at most {CHARS} characters"),
    );
    Ok(())
}
