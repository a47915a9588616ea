//! Strict JSON: what comes through the door means one thing to every reader.
//!
//! RFC 8259 leaves to each parser what a duplicate key or a large integer means, so a check
//! and the program it guards could read the same bytes differently. [`parse_strict`]
//! follows RFC 7493 (I-JSON) and refuses those.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::{limit, pointer};

/// Why JSON was refused. No variant carries content other than the pointer to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The bytes are not UTF-8.
    #[error("Send UTF-8: the bytes from offset {offset} on are not")]
    Utf8 {
        /// Offset of the first wrong byte, from 0.
        offset: usize,
    },
    /// The text is not one JSON value: malformed, cut short, or followed by more.
    #[error("Send one well-formed JSON value: it is malformed at line {line}, column {column}")]
    Syntax {
        /// Line of the first error, from 1.
        line: usize,
        /// Column of the first error, from 1; 0 at the end of a line.
        column: usize,
    },
    /// A key stands twice in one object.
    #[error("Give each key once: {} is there twice", pointer::place(.pointer))]
    DuplicateKey {
        /// JSON Pointer to the second one, sanitised.
        pointer: String,
    },
    /// A number beyond ±2^53, which many readers would round.
    #[error(
        "Pass the number at {} as a string: beyond ±2^53 it would be rounded",
        pointer::place(.pointer)
    )]
    Number {
        /// JSON Pointer to the number, sanitised.
        pointer: String,
    },
    /// Nested deeper than [`limit::DEPTH`].
    #[error("Nest at most {} levels deep: {} is deeper", limit::DEPTH, pointer::place(.pointer))]
    TooDeep {
        /// JSON Pointer to the first value that is too deep, sanitised.
        pointer: String,
    },
}

/// Reads one JSON value, and refuses what two parsers could read differently: duplicate
/// keys at any depth, numbers beyond ±2^53, nesting deeper than [`limit::DEPTH`], bytes
/// that are not UTF-8, and anything but white space after the value.
///
/// Every number beyond ±2^53 is refused, with or without an exponent: as a double it
/// is an integer that cannot be told from its neighbours.
///
/// # Errors
///
/// [`JsonError`], which says where.
pub fn parse_strict(bytes: &[u8]) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|e| JsonError::Utf8 {
        offset: e.valid_up_to(),
    })?;
    let found = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict {
        found: &found,
        at: String::new(),
        depth: 0,
    }
    .deserialize(&mut reader)
    .and_then(|value| reader.end().map(|()| value));
    value.map_err(|e| {
        found.take().unwrap_or(JsonError::Syntax {
            line: e.line(),
            column: e.column(),
        })
    })
}

/// Reads one value at `at`. The reason for a refusal goes to `found`, since an error of
/// the parser can carry only text.
struct Strict<'a> {
    found: &'a RefCell<Option<JsonError>>,
    at: String,
    depth: usize,
}

impl Strict<'_> {
    fn refuse<T, E: serde::de::Error>(&self, error: JsonError) -> Result<T, E> {
        self.found.replace(Some(error));
        Err(E::custom("refused"))
    }

    fn number<E: serde::de::Error>(&self, number: Option<Number>, fits: bool) -> Result<Value, E> {
        match number {
            Some(number) if fits => Ok(Value::Number(number)),
            _ => self.refuse(JsonError::Number {
                pointer: self.at.clone(),
            }),
        }
    }

    fn enter<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.depth >= limit::DEPTH {
            return self.refuse(JsonError::TooDeep {
                pointer: self.at.clone(),
            });
        }
        Ok(())
    }

    fn inside(&self, at: String) -> Self {
        Self {
            found: self.found,
            at,
            depth: self.depth + 1,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.number(Some(value.into()), value <= limit::INTEGER)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.number(Some(value.into()), value.unsigned_abs() <= limit::INTEGER)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.number(
            Number::from_f64(value),
            value.abs() <= limit::INTEGER as f64,
        )
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut out = Vec::new();
        while let Some(item) =
            items.next_element_seed(self.inside(format!("{}/{}", self.at, out.len())))?
        {
            out.push(item);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut out = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let at = pointer::join(&self.at, &key);
            if out.contains_key(&key) {
                return self.refuse(JsonError::DuplicateKey { pointer: at });
            }
            let item = entries.next_value_seed(self.inside(at))?;
            out.insert(key, item);
        }
        Ok(Value::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Result<Value, JsonError> {
        parse_strict(text.as_bytes())
    }

    #[test]
    fn ordinary_json_is_read_as_usual() {
        let text = r#" {"a": [1, -2.5, "x\u00e9", null, true], "b": {"a": {}}} "#;
        assert_eq!(
            parse(text),
            Ok(json!({"a": [1, -2.5, "xé", null, true], "b": {"a": {}}}))
        );
    }

    #[test]
    fn duplicate_keys_are_refused_at_any_depth() {
        for (text, at) in [
            (r#"{"a":1,"a":1}"#, "/a"),
            (r#"{"x":[0,{"b/c":1,"b/c":2}]}"#, "/x/1/b~1c"),
            (r#"{"a":1,"\u0061":2}"#, "/a"),
        ] {
            assert_eq!(
                parse(text),
                Err(JsonError::DuplicateKey {
                    pointer: at.to_owned()
                }),
                "{text}"
            );
        }
    }

    #[test]
    fn numbers_beyond_two_to_the_53_are_refused() {
        for ok in [
            "9007199254740992",
            "-9007199254740992",
            "0.1",
            "1e15",
            "-0",
            "5e-324",
        ] {
            assert!(parse(ok).is_ok(), "{ok}");
        }
        for bad in [
            "9007199254740993",
            "-9007199254740993",
            "18446744073709551616",
            "1e300",
            "-1e17",
        ] {
            assert_eq!(
                parse(&format!("[{bad}]")),
                Err(JsonError::Number {
                    pointer: "/0".to_owned()
                }),
                "{bad}"
            );
        }
        assert!(parse("1e400").is_err());
    }

    #[test]
    fn deep_nesting_is_refused_without_exhausting_the_stack() {
        let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(&nested(limit::DEPTH)).is_ok());
        assert!(matches!(
            parse(&nested(limit::DEPTH + 1)),
            Err(JsonError::TooDeep { .. })
        ));
        assert!(matches!(
            parse(&"[".repeat(1_000_000)),
            Err(JsonError::TooDeep { .. })
        ));
        assert!(matches!(
            parse(&r#"{"a":"#.repeat(100_000)),
            Err(JsonError::TooDeep { .. })
        ));
    }

    #[test]
    fn malformed_bytes_are_refused_with_their_place_and_no_content() {
        assert_eq!(
            parse_strict(b"{\"a\":\"\xff\"}"),
            Err(JsonError::Utf8 { offset: 6 })
        );
        for bad in [
            "",
            "{",
            "[1,]",
            "{} {}",
            "tru",
            "\u{feff}{}",
            r#""\ud800""#,
            "NaN",
            "1 2",
            "'secret'",
            "{\"a\" 1}",
        ] {
            let error = parse(bad);
            assert!(
                matches!(error, Err(JsonError::Syntax { .. })),
                "{bad}: {error:?}"
            );
            assert!(!format!("{error:?}").contains("secret"));
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<f32>()
                .prop_filter("in range", |f| f.abs() < 1e15)
                .prop_map(|f| json!(f64::from(f))),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(value in any_json()) {
            prop_assert_eq!(parse(&value.to_string()), Ok(value.clone()));
            // The canonical form is JSON of the same value, and canonicalising is idempotent.
            let canonical = crate::digest::canonical(&value);
            let again = parse(&canonical).map(|v| crate::digest::canonical(&v));
            prop_assert_eq!(again, Ok(canonical));
        }

        #[test]
        fn any_bytes_are_answered_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse_strict(&bytes);
        }
    }
}
