//! A companion that does nothing, so that only the way to it is measured.

use std::env;
use std::fs::File;
use std::io::Write;
use std::time::Instant;

use anyhow::Result;
use rmcp::ServiceExt;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, ListToolsResult,
    MetaObject, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Map, json};

/// Names the file that the moment of each call is written to, if it is set.
pub(super) const TIMES: &str = "PILOTHOUSE_BENCH_TIMES";

/// Serves on standard input and output until the input ends.
pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let times = match env::var_os(TIMES) {
            Some(path) => Some(File::options().append(true).create(true).open(path)?),
            None => None,
        };
        let idle = Idle {
            times,
            begun: Instant::now(),
        };
        let service = idle
            .serve((tokio::io::stdin(), tokio::io::stdout()))
            .await?;
        service.waiting().await?;
        Ok(())
    })
}

struct Idle {
    times: Option<File>,
    begun: Instant,
}

impl ServerHandler for Idle {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("idle", "0"))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, rmcp::ErrorData> {
        let tool = |name: &'static str, read: bool| {
            let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
            Tool::new(
                name,
                "Does nothing.",
                schema.as_object().cloned().unwrap_or_default(),
            )
            .with_annotations(
                ToolAnnotations::new()
                    .read_only(read)
                    .destructive(false)
                    .idempotent(true)
                    .open_world(false),
            )
        };
        Ok(ListToolsResult::with_all_items(vec![
            tool("look", true),
            tool("touch", false),
            previewed(),
        ]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, rmcp::ErrorData> {
        if let Some(mut times) = self.times.as_ref() {
            // One short write beside what a call costs; where it fails, the reader finds too few.
            let _ = times.write_all(&self.begun.elapsed().as_nanos().to_le_bytes());
        }
        let arguments = request.arguments.unwrap_or_default();
        let mut answer = json!({"changed": true});
        if arguments.contains_key("action") {
            let target = json!({"server": "bench", "name": "nothing"});
            answer = json!({
                "changed": true, "target": target, "before": {"n": 0}, "after": {"n": 1},
                "undo": null, "undo_kind": "none", "undo_note": "it did nothing",
            });
        }
        if arguments
            .get("preview")
            .is_some_and(|preview| preview == true)
        {
            answer["preview"] = true.into();
        }
        Ok(CallToolResult::structured(answer).into())
    }
}

/// A change that is prepared by a preview.
fn previewed() -> Tool {
    let schema = json!({"type": "object", "required": ["action"], "properties": {
        "action": {"type": "string", "enum": ["turn"]},
        "n": {"type": "integer"},
        "preview": {"type": "boolean"},
    }});
    let row = json!({
        "doc": "Does nothing.", "risk": "write", "effect": "idempotent", "undo": [],
        "required": [], "arguments": ["n", "preview"], "preview": true,
    });
    let table =
        json!({"version": 1, "select": "action", "preview": "preview", "rows": {"turn": row}});
    let meta = MetaObject(Map::from_iter([("pilothouse/table".to_owned(), table)]));
    Tool::new(
        "prepared",
        "Does nothing, and says so first.",
        schema.as_object().cloned().unwrap_or_default(),
    )
    .with_meta(meta)
}
