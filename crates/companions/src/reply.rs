//! What an answer means. Pure.
//!
//! The rules, in order:
//!
//! | answer | reply |
//! |---|---|
//! | JSON-RPC error -32700, -32600, -32601, -32602 | failed: the tool did not run, nothing is left |
//! | JSON-RPC error -32042 (a page must be visited first) | failed, `companion.input_required`, not said what is left |
//! | any other JSON-RPC error | failed, not said what is left |
//! | no result, or one that is no tool result | lost |
//! | a result that asks for input | failed, `companion.input_required`, not said what is left |
//! | a result that promises a later one | lost |
//! | `isError`, or a non-empty `error` at the top level of what it says, structured or as text | failed; `effect` says what is left, `unknown` is lost |
//! | a preview (`preview`, `dry_run`) that nobody asked for | failed, `companion.preview_only`, nothing is left |
//! | no preview where one was asked for | failed, `companion.no_preview`, not said what is left |
//! | anything else | success |
//!
//! A preview that fails without a word on what is left has left nothing: that is what a preview is.

use guard::digest::sha256_hex;
use guard::text::sanitize_to;
use serde_json::{Map, Value, json};
use workflow::event::Left;
use workflow::model::Facts;
use workflow::reply::Reply;

use crate::scrub::Scrub;
use crate::wire::Answer;

/// It was asked for a preview, and nobody knows what it did.
const NO_PREVIEW: &str = "companion.no_preview";

/// Where a failure has no code of its own.
const ERROR: &str = "companion.error";

/// More text than any error needs, for which the blocks of an answer are joined.
const TEXT_BYTES: usize = 8 * 1024;

/// Arguments by which a call asks for no more than a preview, and fields by which an answer is one.
const PREVIEWS: &[&str] = &["preview", "dry_run", "dryRun"];

/// What an answer to a call means.
pub(crate) fn meaning(
    answer: Answer,
    arguments: &Map<String, Value>,
    facts: &Facts,
    scrub: &Scrub,
) -> Reply {
    let is_preview = facts
        .preview
        .as_deref()
        .is_some_and(|name| is_true(arguments, name));
    match read(answer, arguments, is_preview, scrub) {
        Reply::Failure {
            code,
            error,
            left: Left::NotSaid,
        } if is_preview && code != NO_PREVIEW => Reply::Failure {
            code,
            error,
            left: Left::Nothing,
        },
        reply => reply,
    }
}

fn is_true(fields: &Map<String, Value>, name: &str) -> bool {
    fields.get(name) == Some(&Value::Bool(true))
}

fn read(answer: Answer, arguments: &Map<String, Value>, is_preview: bool, scrub: &Scrub) -> Reply {
    let result = match answer {
        Answer::Error { code, message } => return refused(code, &message, scrub),
        Answer::TooLarge => return lost("its answer is larger than an answer may be"),
        Answer::Malformed => return lost("it answered with neither a result nor an error"),
        Answer::Result(Value::Object(result)) => result,
        Answer::Result(_) => return lost("it answered with something that is no tool result"),
    };
    match result.get("resultType").and_then(Value::as_str) {
        None | Some("complete") => {}
        Some("input_required") => return input_required(),
        Some(_) => return lost("it promised a result for later, which is not waited for"),
    }
    if result.contains_key("inputRequests") {
        return input_required();
    }
    let content = result.get("content");
    let structured = result
        .get("structuredContent")
        .filter(|value| !value.is_null());
    if structured.is_none() && !content.is_some_and(Value::is_array) {
        let later = result.contains_key("task");
        return lost(if later {
            "it promised a result for later, which is not waited for"
        } else {
            "it answered with something that is no tool result"
        });
    }
    let body = match structured {
        Some(body) => body.clone(),
        None => unstructured(content),
    };
    if says_error(&body) {
        return failed(&body, scrub);
    }
    // The text should be the structured content; where only the text speaks of an error, there was
    // one all the same.
    if structured.is_some() && mentions_error(content) {
        let said = unstructured(content);
        if says_error(&said) {
            return failed(&said, scrub);
        }
    }
    if is_true(&result, "isError") {
        return failed(&body, scrub);
    }
    let is = |name: &str| body.get(name) == Some(&Value::Bool(true));
    // A companion may call it otherwise than the argument that asks for it.
    let any_asked = is_preview || PREVIEWS.iter().any(|name| is_true(arguments, name));
    if PREVIEWS.iter().any(|name| is(name)) && !any_asked {
        return Reply::Failure {
            code: "companion.preview_only".to_owned(),
            error: "Call the tool so that it performs the change: its answer says that it only previewed it".to_owned(),
            left: Left::Nothing,
        };
    }
    if is_preview && !PREVIEWS.iter().any(|name| is(name)) {
        return Reply::Failure {
            code: NO_PREVIEW.to_owned(),
            error:
                "Check what the companion did: it was asked for a preview, and its answer is none"
                    .to_owned(),
            left: Left::NotSaid,
        };
    }
    // As it came, save for white space and escapes, which the parser does not keep.
    let bytes = Value::Object(result).to_string();
    Reply::Success {
        body,
        sha256: sha256_hex(bytes.as_bytes()),
        size: bytes.len() as u64,
    }
}

fn refused(code: i64, message: &str, scrub: &Scrub) -> Reply {
    let (word, left) = match code {
        -32700 | -32600 => ("companion.bad_request", Left::Nothing),
        -32601 => ("companion.no_such_method", Left::Nothing),
        -32602 => ("companion.bad_arguments", Left::Nothing),
        -32042 => return input_required(),
        _ => (ERROR, Left::NotSaid),
    };
    let message = scrub.text(message);
    let error = if message.is_empty() {
        format!("The companion refused the call with the code {code} and no words")
    } else {
        message
    };
    Reply::Failure {
        code: word.to_owned(),
        error,
        left,
    }
}

fn input_required() -> Reply {
    Reply::Failure {
        code: "companion.input_required".to_owned(),
        error: "Give the call all that it needs: the companion asked for more input, which nobody can give it here".to_owned(),
        left: Left::NotSaid,
    }
}

fn lost(why: &str) -> Reply {
    Reply::Lost {
        why: why.to_owned(),
    }
}

/// The body of an answer without structured content: its text, read as JSON if it is one object.
fn unstructured(content: Option<&Value>) -> Value {
    let texts: Vec<&str> = content
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|block| block.get("type").and_then(Value::as_str) == Some("text"))
        .filter_map(|block| block.get("text").and_then(Value::as_str))
        .collect();
    let object = match texts[..] {
        [text] if text.trim_start().starts_with('{') => {
            serde_json::from_str(text).ok().filter(Value::is_object)
        }
        _ => None,
    };
    object.unwrap_or_else(|| json!({"text": texts.join("\n")}))
}

/// Whether its top level says that there was an error.
fn says_error(body: &Value) -> bool {
    body.get("error").is_some_and(is_something)
}

/// Whether it is worth reading the text for that: it may be long.
fn mentions_error(content: Option<&Value>) -> bool {
    content
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|block| block.get("text")?.as_str())
        .any(|text| text.contains("\"error\""))
}

/// Whether an `error` at the top level says that there was one.
fn is_something(error: &Value) -> bool {
    match error {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

fn failed(body: &Value, scrub: &Scrub) -> Reply {
    let inner = body.get("error").filter(|error| error.is_object());
    let field = |name: &str| {
        let text = |value: Option<&Value>| {
            value
                .and_then(Value::as_str)
                .filter(|text| !text.trim().is_empty())
                .map(str::to_owned)
        };
        text(body.get(name)).or_else(|| text(inner?.get(name)))
    };
    let words = field("error")
        .or_else(|| field("message"))
        .or_else(|| field("text"))
        .or_else(|| field("detail"));
    let error = match words {
        Some(words) => scrub.text(&words),
        // Something is better than nothing, once its secrets are out.
        None => match body
            .get("error")
            .filter(|error| is_something(error) && **error != Value::Bool(true))
        {
            Some(error) => scrub.text(&cut(guard::secret::redact(error).to_string())),
            None => String::new(),
        },
    };
    let error = if error.is_empty() {
        "The companion says that it failed, and not why".to_owned()
    } else {
        error
    };
    let left = match field("effect").as_deref() {
        Some("none") => Left::Nothing,
        Some("partial") => Left::Something,
        Some("unknown") => {
            return Reply::Lost {
                why: format!(
                    "it does not know whether it took effect: {}",
                    sanitize_to(&error, 400)
                ),
            };
        }
        _ => Left::NotSaid,
    };
    let code = field("code")
        .filter(|code| is_code(code))
        .unwrap_or_else(|| ERROR.to_owned());
    Reply::Failure { code, error, left }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES));
    text
}

/// `vm.not_found`: what may stand in a record as a code.
fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len())
        && code
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
