//! Reading XML as it arrives, with a budget.
//!
//! Where tokens end is found in [`split`]; what is in them is read by `quick-xml`. Nothing in here holds more than one value at a time, resolves an entity of the document's own,
//! or goes deeper than [`DEPTH`].

mod split;

use std::borrow::Cow;
use std::io;

use quick_xml::XmlVersion;
use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesRef, BytesText};
use quick_xml::name::QName;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

use crate::value::{Name, Value};
use split::{PIECE, Raw, Split};

/// How deep elements may nest. Snapshot trees nest one element per snapshot, and have at most 32 in a chain.
const DEPTH: usize = 256;

/// Why a text could not be read as XML.
#[derive(Debug)]
pub(crate) enum XmlError {
    /// More bytes than the budget allows.
    Budget,
    /// The source failed.
    Io(io::Error),
    /// Not well-formed, or not what a vSphere server sends.
    Malformed(String),
}

fn malformed(what: impl Into<String>) -> XmlError {
    XmlError::Malformed(what.into())
}

/// The start of an element, names without prefixes.
#[derive(Debug)]
pub(crate) struct Tag {
    pub(crate) name: Name,
    /// `xsi:type`.
    pub(crate) ty: Option<Name>,
    /// `type` without a prefix: the type of a managed object.
    pub(crate) kind: Option<Name>,
}

impl Tag {
    /// The tag of a name with the attributes behind it.
    fn of(content: &str, name: &str) -> Self {
        let mut tag = Self {
            name: known(local(name)),
            ty: None,
            kind: None,
        };
        for (key, value) in split::attributes(&content[name.len()..]) {
            let slot = match key {
                "type" => &mut tag.kind,
                _ if key.ends_with(":type") => &mut tag.ty,
                _ => continue,
            };
            let is_plain = !value.bytes().any(|byte| byte == b'&' || byte < b' ');
            // An attribute that cannot be read says nothing about a type: skipped.
            let text = if is_plain {
                Ok(Cow::Borrowed(value))
            } else {
                let (key, value) = (QName(key), Cow::Borrowed(value));
                Attribute { key, value }.normalized_value(XmlVersion::Implicit1_0)
            };
            if let Ok(text) = text {
                *slot = Some(if key == "type" {
                    known(&text)
                } else {
                    known(local(&text))
                });
            }
        }
        tag
    }

    /// The value that the element begins, still without content.
    fn into_value(self) -> Value {
        Value {
            ty: self.ty,
            kind: self.kind,
            ..Value::default()
        }
    }

    /// The same with its name, as a field.
    fn into_field(mut self) -> (Box<str>, Value) {
        let name = std::mem::take(&mut self.name);
        (name.into(), self.into_value())
    }
}

/// A name without its prefix. Names are too short for a search that sets itself up first.
fn local(name: &str) -> &str {
    match name.bytes().rposition(|byte| byte == b':') {
        Some(colon) => &name[colon + 1..],
        None => name,
    }
}

/// The names that an answer of the property collector consists of: each of many thousands of times,
/// and none of them is worth memory of its own.
fn known(name: &str) -> Name {
    Name::Borrowed(match name {
        "propSet" => "propSet",
        "name" => "name",
        "val" => "val",
        "objects" => "objects",
        "obj" => "obj",
        "string" => "string",
        "int" => "int",
        "long" => "long",
        "boolean" => "boolean",
        "dateTime" => "dateTime",
        "ManagedObjectReference" => "ManagedObjectReference",
        "VirtualMachine" => "VirtualMachine",
        "HostSystem" => "HostSystem",
        "VirtualMachinePowerState" => "VirtualMachinePowerState",
        "VirtualMachineConnectionState" => "VirtualMachineConnectionState",
        _ => return Name::Owned(name.to_owned()),
    })
}

/// What comes next; the text before it went into the caller's string.
enum Token {
    Start(Tag),
    End,
    Eof,
}

/// A pull parser over bytes that arrive in pieces.
pub(crate) struct Pull<R> {
    source: R,
    split: Split,
    /// How many bytes may be taken from the source until a value is handed on.
    left: u64,
    budget: u64,
    /// The names of the elements that are open, one behind the other, and how long each is.
    names: String,
    open: Vec<usize>,
    /// The element that was begun has nothing in it: its end is next.
    is_empty: bool,
}

impl<R: AsyncBufRead + Unpin> Pull<R> {
    /// `budget`: how many bytes may be read between two calls of [`Pull::refill`].
    pub(crate) fn new(source: R, budget: u64) -> Self {
        Self {
            source,
            split: Split::default(),
            left: budget,
            budget,
            names: String::new(),
            open: Vec::new(),
            is_empty: false,
        }
    }

    /// Grants the whole budget anew: called when a value was handed on.
    pub(crate) fn refill(&mut self) {
        self.left = self.budget;
    }

    /// The next start or end; all text up to it is appended to `text`.
    async fn token(&mut self, text: &mut String) -> Result<Token, XmlError> {
        loop {
            if let Some(token) = self.arrived(text)? {
                return Ok(token);
            }
            if !self.more().await? {
                return if self.split.is_done() {
                    Ok(Token::Eof)
                } else {
                    Err(malformed("it ends in the middle"))
                };
            }
        }
    }

    /// The next start or end, if it has arrived.
    fn arrived(&mut self, text: &mut String) -> Result<Option<Token>, XmlError> {
        if self.is_empty {
            self.is_empty = false;
            self.close();
            return Ok(Some(Token::End));
        }
        while let Some(raw) = self.split.next()? {
            match raw {
                Raw::Start { content, is_empty } => {
                    if self.open.len() == DEPTH {
                        return Err(malformed("elements nest too deep"));
                    }
                    let blank = content.bytes().position(|byte| byte.is_ascii_whitespace());
                    let name = &content[..blank.unwrap_or(content.len())];
                    if name.is_empty() {
                        return Err(malformed("a tag without a name"));
                    }
                    self.names.push_str(name);
                    self.open.push(name.len());
                    self.is_empty = is_empty;
                    return Ok(Some(Token::Start(Tag::of(content, name))));
                }
                Raw::End(name) => {
                    let begun = self.open.last().map(|length| self.names.len() - length);
                    if begun.is_none_or(|begun| &self.names[begun..] != name) {
                        return Err(malformed("an end without a start"));
                    }
                    self.close();
                    return Ok(Some(Token::End));
                }
                Raw::Text(piece) => text.push_str(&BytesText::from_escaped(piece).xml10_content()),
                Raw::Reference(name) => text.push(character(name)?),
                Raw::Nothing => {}
            }
        }
        Ok(None)
    }

    /// The innermost element is over.
    fn close(&mut self) {
        let length = self.open.pop().unwrap_or_default();
        self.names.truncate(self.names.len() - length);
    }

    /// Takes another piece from the source; false at its end.
    async fn more(&mut self) -> Result<bool, XmlError> {
        if self.split.is_spoiled() {
            return Err(malformed("it is no UTF-8"));
        }
        let bytes = self.source.fill_buf().await.map_err(XmlError::Io)?;
        if bytes.is_empty() {
            return Ok(false);
        }
        if self.left == 0 {
            return Err(XmlError::Budget);
        }
        let amount = bytes.len().min(PIECE);
        self.split.push(&bytes[..amount]);
        self.source.consume(amount);
        self.left = self.left.saturating_sub(amount as u64);
        Ok(true)
    }

    /// The next child of the element we are in, or `None` at its end.
    pub(crate) async fn child(&mut self) -> Result<Option<Tag>, XmlError> {
        match self.token(&mut String::new()).await? {
            Token::Start(tag) => Ok(Some(tag)),
            Token::End => Ok(None),
            Token::Eof => Err(malformed("it ends in the middle")),
        }
    }

    /// The rest of the element that `tag` started, as a value.
    pub(crate) async fn value(&mut self, tag: Tag) -> Result<Value, XmlError> {
        let mut value = tag.into_value();
        // The fields around the one that is read, each with the name of the one within it.
        let mut around: Vec<(Value, Box<str>)> = Vec::new();
        let mut text = String::new();
        loop {
            text.clear();
            match self.token(&mut text).await? {
                Token::Start(tag) => {
                    let (name, field) = tag.into_field();
                    around.push((std::mem::replace(&mut value, field), name));
                }
                Token::End => {
                    // Indentation and the like between fields is no content.
                    if value.fields.is_empty() {
                        value.text = std::mem::take(&mut text);
                    }
                    let Some((parent, name)) = around.pop() else {
                        return Ok(value);
                    };
                    let field = std::mem::replace(&mut value, parent);
                    value.fields.push((name, field));
                }
                Token::Eof => return Err(malformed("it ends in the middle")),
            }
        }
    }

    /// Leaves out the rest of the element that was just started.
    pub(crate) async fn skip(&mut self) -> Result<(), XmlError> {
        let outside = self.open.len().saturating_sub(1);
        let mut text = String::new();
        while self.open.len() > outside {
            text.clear();
            if let Token::Eof = self.token(&mut text).await? {
                return Err(malformed("it ends in the middle"));
            }
        }
        Ok(())
    }

    /// Reads on to the end; only the ends of open elements may come.
    pub(crate) async fn finish(&mut self) -> Result<(), XmlError> {
        let mut text = String::new();
        loop {
            let token = self.token(&mut text).await?;
            if !text.trim().is_empty() {
                return Err(malformed("text where none belongs"));
            }
            match token {
                Token::Eof if self.open.is_empty() => return Ok(()),
                Token::Eof => return Err(malformed("it ends in the middle")),
                Token::End => {}
                // A second body element or a header after the body: nothing of ours.
                Token::Start(_) => self.skip().await?,
            }
        }
    }
}

/// The character that a reference stands for.
fn character(name: &str) -> Result<char, XmlError> {
    Ok(match BytesRef::new(name).resolve_char_ref() {
        Ok(Some(c)) => c,
        Ok(None) => match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            _ => return Err(malformed("an entity that is not predefined")),
        },
        // A character that does not exist: shown as such rather than failing a whole list.
        Err(_) => char::REPLACEMENT_CHARACTER,
    })
}

#[cfg(test)]
mod tests;
