//! The protocol: what clients ask, in either era of MCP, becomes calls at the desk.

use std::sync::Arc;

use policy::answer::Answer;
use policy::guarded::Risk;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CustomRequest, CustomResult,
    Implementation, ListToolsResult, PaginatedRequestParams, ProtocolVersion, ServerCapabilities,
    ServerConfig, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::Value;

use crate::desk::{Call, Desk};
use crate::tools::table::{TABLE, Tool};
use crate::waiting::Progress;

/// What the server says about itself.
const INSTRUCTIONS: &str = "Plans, reviews, gates, runs, records and undoes multi-step workflows; \
    each step calls a tool of a companion. get_skill_catalog, create_workflow, review_workflow, \
    run_workflow. Changes wait for a person: show them `approval.summary`, then call approve with \
    their name, or reject. Each answer's `next` says what to do. Never approve by yourself.";

/// One conversation.
#[derive(Clone)]
pub(crate) struct Server {
    desk: Arc<Desk>,
}

impl Server {
    pub(crate) fn new(desk: Arc<Desk>) -> Self {
        Self { desk }
    }

    async fn call(
        &self,
        name: &str,
        arguments: Value,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let Some(tool) = Tool::find(name) else {
            let near = policy::answer::nearest(name, TABLE.iter().map(|tool| tool.name), 1);
            let message = match near.first() {
                Some(near) => format!(
                    "Call `{near}`, or another tool of tools/list: there is no tool of the name given"
                ),
                None => "Call a tool of tools/list: there is none of the name given".to_owned(),
            };
            return Err(ErrorData::invalid_params(message, None));
        };
        let progress = context
            .meta
            .get_progress_token()
            .map(|token| Progress::new(context.peer.clone(), token));
        let call = Call {
            tool,
            arguments,
            client: context
                .client_info()
                .map(|client| format!("{}/{}", client.name, client.version)),
            traceparent: context
                .meta
                .get("traceparent")
                .and_then(Value::as_str)
                .map(str::to_owned),
            progress,
        };
        let answer = tokio::select! {
            answer = self.desk.serve(call) => answer,
            // The wrapper records that the call was cancelled; what it began goes on.
            () = context.ct.cancelled() => return Err(ErrorData::internal_error("cancelled", None)),
        };
        home::crash::point("pilot.before_answer");
        Ok(result(answer))
    }
}

fn result(answer: Answer) -> CallToolResult {
    let is_error = answer.is_error();
    let body = answer.into_value();
    if is_error {
        CallToolResult::structured_error(body)
    } else {
        CallToolResult::structured(body)
    }
}

/// A tool as clients see it.
fn published(tool: &'static Tool) -> rmcp::model::Tool {
    let annotations = ToolAnnotations::with_title(tool.title)
        .read_only(tool.risk == Risk::Read)
        .destructive(tool.risk == Risk::Destructive)
        .idempotent(tool.idempotent)
        .open_world(tool.open_world);
    rmcp::model::Tool::new(tool.name, tool.doc, Arc::new(tool.input_schema()))
        .with_raw_output_schema(Arc::new(tool.output_schema()))
        .with_annotations(annotations)
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let implementation =
            Implementation::new("pilot", env!("CARGO_PKG_VERSION")).with_title("Pilothouse");
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(implementation)
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(
            TABLE.iter().map(published).collect(),
        ))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        self.call(&request.name, arguments, context)
            .await
            .map(Into::into)
    }

    /// A request that the library could not read as what its method says comes here.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let params = request.params.unwrap_or_default();
        if request.method == "tools/call" {
            let Some(name) = params.get("name").and_then(Value::as_str) else {
                return Err(ErrorData::invalid_params(
                    "Pass `name`: a tool of tools/list",
                    None,
                ));
            };
            let arguments = params.get("arguments").cloned().unwrap_or_default();
            // What it is that does not fit is beside the arguments then.
            if arguments.is_object() || arguments.is_null() {
                return Err(ErrorData::invalid_params(
                    "Pass `params` as the protocol says: `name`, `arguments`, `_meta`",
                    None,
                ));
            }
            let legacy = context
                .protocol_version()
                .is_none_or(|version| version.as_str() < ProtocolVersion::V_2026_07_28.as_str());
            let mut result = self.call(name, arguments, context).await?;
            if legacy {
                // A word that clients of the first era do not know; the library leaves it in here.
                result.result_type = None;
            }
            return serde_json::to_value(result)
                .map(CustomResult)
                .map_err(|_| ErrorData::internal_error("the answer could not be written", None));
        }
        if matches!(
            request.method.as_str(),
            "initialize" | "tools/list" | "ping"
        ) {
            return Err(ErrorData::invalid_params(
                "Pass `params` as the protocol says",
                None,
            ));
        }
        Err(ErrorData::new(
            rmcp::model::ErrorCode::METHOD_NOT_FOUND,
            "there is no such method",
            None,
        ))
    }
}
