//! One line: what it is, and what is wrong with it.

use guard::json::{JsonError, parse_strict};
use guard::{digest, limit};
use serde_json::{Map, Value, json};

/// The longest id that is repeated in an answer, in characters.
const ID_CHARS: usize = 256;

/// A line that may pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Good {
    /// A request, with its id as canonical JSON.
    Request(String),
    /// The cancellation of a request, with the id of that as canonical JSON.
    Cancel(String),
    /// Anything else that needs no answer.
    Other,
}

/// Checks one line, without its line feed.
///
/// The error is the JSON-RPC answer.
pub(super) fn check(line: &[u8]) -> Result<Good, Value> {
    let value = parse_strict(line).map_err(|error| match error {
        JsonError::Utf8 { .. } | JsonError::Syntax { .. } => {
            answer(-32700, Value::Null, &error.to_string())
        }
        _ => answer(-32600, lenient_id(line), &error.to_string()),
    })?;
    let Value::Object(message) = &value else {
        let remedy = if value.is_array() {
            "Send each message on a line of its own: batches are not taken"
        } else {
            "Send a JSON-RPC message: a JSON object"
        };
        return Err(answer(-32600, Value::Null, remedy));
    };
    // A response is never answered, however wrong: two ends could go on like that for ever.
    if !message.contains_key("method")
        && (message.contains_key("result") || message.contains_key("error"))
    {
        return Ok(Good::Other);
    }
    let id = id_of(&value);
    let invalid = |remedy| Err(answer(-32600, id.clone().unwrap_or(Value::Null), remedy));
    if message.get("jsonrpc") != Some(&json!("2.0")) {
        return invalid("Send `\"jsonrpc\": \"2.0\"` in each message");
    }
    if message.contains_key("id") && id.is_none() {
        return invalid("Send an `id` that is a string of at most 256 characters or an integer");
    }
    match message.get("method") {
        Some(Value::String(_)) => {}
        Some(_) => return invalid("Send a `method` that is a string"),
        None => return invalid("Send a `method`, or the `result` or `error` of a request"),
    }
    if message
        .get("params")
        .is_some_and(|params| !params.is_object())
    {
        return invalid("Send `params` that are an object");
    }
    if let Some(id) = id {
        return match misshapen(message) {
            Some(remedy) => Err(answer(-32602, id, remedy)),
            None => Ok(Good::Request(digest::canonical(&id))),
        };
    }
    if message.get("method") == Some(&json!("notifications/cancelled"))
        && let Some(cancelled) = value.pointer("/params/requestId")
    {
        return Ok(Good::Cancel(digest::canonical(cancelled)));
    }
    Ok(Good::Other)
}

/// What the library would answer with another error, or without the id, since it takes such a
/// request for one of a method that it does not know.
fn misshapen(request: &Map<String, Value>) -> Option<&'static str> {
    let params = request.get("params")?;
    let is_object_or_nothing = |name: &str| match params.get(name) {
        None | Some(Value::Null) => true,
        Some(value) => value.is_object(),
    };
    if !is_object_or_nothing("_meta") {
        return Some("Send a `_meta` that is an object, or leave it out");
    }
    if request.get("method") != Some(&json!("tools/call")) {
        return None;
    }
    // Arguments that are no object are the server's to refuse: such a call is recorded like any other.
    (!params.get("name").is_some_and(Value::is_string))
        .then_some("Send the `name` of a tool, as a string")
}

/// The answer to a line that is too long to be read.
pub(super) fn too_long() -> Value {
    let remedy = format!("Send messages of at most {} bytes", limit::LINE_BYTES);
    answer(-32600, Value::Null, &remedy)
}

/// The id of a request that a line of the library answers, as canonical JSON.
pub(super) fn answered(line: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Head<'a> {
        id: Option<Value>,
        #[serde(borrow)]
        method: Option<std::borrow::Cow<'a, str>>,
    }
    let head: Head<'_> = serde_json::from_slice(line).ok()?;
    if head.method.is_some() {
        None
    } else {
        head.id.map(|id| digest::canonical(&id))
    }
}

fn answer(code: i32, id: Value, remedy: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": remedy}})
}

/// The id, if it is one that may be repeated.
fn id_of(value: &Value) -> Option<Value> {
    match value.get("id")? {
        Value::String(id) if id.chars().count() <= ID_CHARS => Some(Value::String(id.clone())),
        Value::Number(id) if id.is_i64() || id.is_u64() => Some(Value::Number(id.clone())),
        _ => None,
    }
}

/// The id of a message that is well-formed and yet refused. `null` if it stands there
/// twice or is itself the reason, since then it is in doubt.
fn lenient_id(line: &[u8]) -> Value {
    struct Ids(Vec<Value>);

    impl<'de> serde::de::Visitor<'de> for Ids {
        type Value = Vec<Value>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(
            mut self,
            mut map: A,
        ) -> Result<Vec<Value>, A::Error> {
            while let Some(key) = map.next_key::<String>()? {
                if key == "id" {
                    self.0.push(map.next_value()?);
                } else {
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
            }
            Ok(self.0)
        }
    }

    let mut reader = serde_json::Deserializer::from_slice(line);
    let ids =
        serde::Deserializer::deserialize_map(&mut reader, Ids(Vec::new())).unwrap_or_default();
    let [id] = ids.as_slice() else {
        return Value::Null;
    };
    let sure = parse_strict(id.to_string().as_bytes()).is_ok();
    id_of(&json!({"id": id}))
        .filter(|_| sure)
        .unwrap_or(Value::Null)
}
