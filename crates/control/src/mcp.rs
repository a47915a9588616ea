//! The MCP server: one tool over standard input and output.

use std::sync::Arc;
use std::time::Duration;

use policy::stdio;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CustomRequest, CustomResult,
    ErrorCode, Implementation, ListToolsResult, MetaObject, PaginatedRequestParams,
    ProgressNotificationParam, ProgressToken, ProtocolVersion, ServerCapabilities, ServerConfig,
    Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, Peer, RoleServer, ServerHandler, ServiceExt as _};
use serde_json::{Map, Value};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::parting::Parting;
use crate::program::{Program, Request};
use crate::schema::{self, TABLE_KEY, TOOL};
use crate::table::Mode;

/// How long answers that are still due are waited for when the client closes its end.
const DRAIN: Duration = Duration::from_secs(20);

/// What a server that changes nothing says about itself.
const READ_ONLY: &str = "One tool, `vmware_control`: one action per call on a vCenter or ESXi host. Started read-only: \
    nothing can be changed. Pass `credential_profile` instead of a password.";

/// What the server says about itself.
const INSTRUCTIONS: &str = "One tool, `vmware_control`: one action per call on a vCenter or ESXi host. Look before you \
    change: `list_vms`, then `preview: true`. Pass `credential_profile` instead of a password.";

#[derive(Clone)]
struct Server {
    program: Arc<Program>,
}

/// Serves until the client closes its end, or the process is told to end.
pub(crate) async fn serve(mode: Mode) -> anyhow::Result<()> {
    let program = Arc::new(Program::from_environment(mode));
    if let Some(failure) = program.problem() {
        tracing::error!(
            code = failure.code(),
            "the state directory cannot be used: {failure}"
        );
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let door = stdio::door(tokio::io::stdin(), tokio::io::stdout(), DRAIN);
    let server = Server {
        program: Arc::clone(&program),
    };
    let told_to_end = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::pin!(told_to_end);
    let running = tokio::select! {
        running = server.serve((door.read, door.write)) => running,
        () = &mut told_to_end => return Ok(()),
    };
    match running {
        Ok(running) => {
            let stop = running.cancellation_token();
            let ended = running.waiting();
            tokio::pin!(ended);
            tokio::select! {
                _ = &mut ended => {}
                () = &mut told_to_end => {
                    stop.cancel();
                    // What it ended with is of no interest to anyone.
                    let _ = ended.await;
                }
            }
        }
        // The client went away before it said anything, or said nothing that makes sense.
        Err(error) => tracing::info!("no conversation came about: {error}"),
    }
    program.end().await;
    // Whoever closed standard output does not wait for it.
    let _ = tokio::time::timeout(Duration::from_secs(2), door.done).await;
    Ok(())
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new(
                "vmware-control",
                env!("CARGO_PKG_VERSION"),
            ))
            .with_instructions(match self.program.mode() {
                Mode::Full => INSTRUCTIONS,
                Mode::ReadOnly => READ_ONLY,
            })
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(vec![tool(
            self.program.mode(),
        )]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let result = self.call(&request.name, arguments, context).await?;
        Ok(result.into())
    }

    /// A request that the library could not read as what its method says comes here. A call whose
    /// arguments are no object is refused and recorded like any other.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let params = request.params.unwrap_or_default();
        if request.method != "tools/call" {
            let known = ["initialize", "tools/list", "ping"].contains(&request.method.as_str());
            let code = if known {
                ErrorCode::INVALID_PARAMS
            } else {
                ErrorCode::METHOD_NOT_FOUND
            };
            let remedy = "Pass a method and `params` as the protocol says";
            return Err(ErrorData::new(code, remedy, None));
        }
        let Some(name) = params.get("name").and_then(Value::as_str) else {
            let remedy = format!("Pass `name`: `{TOOL}` is the only tool");
            return Err(ErrorData::invalid_params(remedy, None));
        };
        let legacy = context
            .protocol_version()
            .is_none_or(|version| version.as_str() < ProtocolVersion::V_2026_07_28.as_str());
        let mut result = self.call(name, Map::new(), context).await?;
        if legacy {
            // A word that clients of the first era do not know; the library leaves it in here.
            result.result_type = None;
        }
        serde_json::to_value(result)
            .map(CustomResult)
            .map_err(|_| ErrorData::internal_error("the answer could not be written", None))
    }
}

impl Server {
    async fn call(
        &self,
        name: &str,
        arguments: Map<String, Value>,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        if name != TOOL {
            return Err(ErrorData::invalid_params(
                format!("Call `{TOOL}`: there is no other tool"),
                None,
            ));
        }
        let client = context
            .client_info()
            .map(|client| format!("{} {}", client.name, client.version));
        let (progress, told) = match context.meta.get_progress_token() {
            Some(token) => {
                let (sender, receiver) = unbounded_channel();
                (Some(sender), Some(tell(context.peer, token, receiver)))
            }
            None => (None, None),
        };
        let request = Request {
            arguments,
            meta: context.meta.0.0,
            client,
            cancel: context.ct,
            progress,
            parting: Parting::default(),
        };
        // The sender is gone with the request, and with it the telling comes to its end.
        let answer = async { self.program.call(request).await };
        let (answer, ()) = tokio::join!(answer, async {
            if let Some(told) = told {
                told.await;
            }
        });
        let is_error = answer.is_error();
        let body = answer.into_value();
        Ok(if is_error {
            CallToolResult::structured_error(body)
        } else {
            CallToolResult::structured(body)
        })
    }
}

/// Tells a client of progress, until there is no more.
async fn tell(peer: Peer<RoleServer>, token: ProgressToken, mut percents: UnboundedReceiver<i64>) {
    let mut last = -1;
    while let Some(percent) = percents.recv().await {
        // A client is only told of more.
        let percent = i32::try_from(percent.clamp(0, 100)).unwrap_or_default();
        if percent <= last {
            continue;
        }
        last = percent;
        let param = ProgressNotificationParam::new(token.clone(), f64::from(percent));
        // A client that went away hears nothing.
        let _ = peer.notify_progress(param.with_total(100.0)).await;
    }
}

/// The one tool, as it is published.
pub(crate) fn tool(mode: Mode) -> Tool {
    let is_read_only = mode == Mode::ReadOnly;
    let annotations = ToolAnnotations::with_title("VMware control")
        .read_only(is_read_only)
        .destructive(!is_read_only)
        .idempotent(is_read_only)
        .open_world(true);
    let meta = MetaObject(Map::from_iter([(
        TABLE_KEY.to_owned(),
        schema::published_table(mode),
    )]));
    Tool::new(
        TOOL,
        schema::description(mode),
        Arc::new(schema::input_schema(mode)),
    )
    .with_raw_output_schema(Arc::new(schema::output_schema()))
    .with_annotations(annotations)
    .with_meta(meta)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tool_list_is_what_it_was() {
        insta::assert_json_snapshot!(
            "tool",
            serde_json::to_value(tool(Mode::Full)).unwrap_or_default()
        );
    }
}
