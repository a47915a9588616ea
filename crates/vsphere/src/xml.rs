//! Reading XML as it arrives, with a budget.
//!
//! Nothing in here holds more than one value at a time, resolves an entity of the document's own,
//! or goes deeper than [`DEPTH`].

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

use crate::value::Value;

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
    pub(crate) name: Cow<'static, str>,
    /// `xsi:type`.
    pub(crate) ty: Option<Box<str>>,
    /// `type` without a prefix: the type of a managed object.
    pub(crate) kind: Option<Box<str>>,
}

impl Tag {
    fn of(start: &BytesStart<'_>) -> Self {
        let mut tag = Self {
            name: known(local(start.name().as_ref())),
            ty: None,
            kind: None,
        };
        if start.attributes_raw().is_empty() {
            return tag;
        }
        // An attribute that cannot be read says nothing about a type: skipped.
        for attribute in start.attributes().with_checks(false).flatten() {
            let key: &str = attribute.key.as_ref();
            let slot = match key {
                "type" => &mut tag.kind,
                _ if key.ends_with(":type") => &mut tag.ty,
                _ => continue,
            };
            if let Ok(text) = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0) {
                *slot = Some(if key == "type" {
                    text.into()
                } else {
                    local(&text).into()
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
fn known(name: &str) -> Cow<'static, str> {
    Cow::Borrowed(match name {
        "propSet" => "propSet",
        "name" => "name",
        "val" => "val",
        "objects" => "objects",
        "obj" => "obj",
        _ => return Cow::Owned(name.to_owned()),
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
    reader: Reader<Budget<R>>,
    buf: Vec<u8>,
    depth: usize,
    budget: u64,
}

impl<R: AsyncBufRead + Unpin> Pull<R> {
    /// `budget`: how many bytes may be read between two calls of [`Pull::refill`].
    pub(crate) fn new(source: R, budget: u64) -> Self {
        let mut reader = Reader::from_reader(Budget {
            source,
            left: budget,
        });
        reader.config_mut().expand_empty_elements = true;
        Self {
            reader,
            buf: Vec::new(),
            depth: 0,
            budget,
        }
    }

    /// Grants the whole budget anew: called when a value was handed on.
    pub(crate) fn refill(&mut self) {
        self.reader.get_mut().left = self.budget;
    }

    /// The next start or end; all text up to it is appended to `text`.
    async fn token(&mut self, text: &mut String) -> Result<Token, XmlError> {
        loop {
            self.buf.clear();
            match self
                .reader
                .read_event_into_async(&mut self.buf)
                .await
                .map_err(xml_error)?
            {
                Event::Start(start) => {
                    self.depth += 1;
                    if self.depth > DEPTH {
                        return Err(malformed("elements nest too deep"));
                    }
                    return Ok(Token::Start(Tag::of(&start)));
                }
                Event::End(_) => {
                    self.depth = self
                        .depth
                        .checked_sub(1)
                        .ok_or_else(|| malformed("an end without a start"))?;
                    return Ok(Token::End);
                }
                Event::Text(piece) => text.push_str(&piece.xml10_content()),
                Event::CData(piece) => text.push_str(&piece.xml10_content()),
                Event::GeneralRef(reference) => text.push(match reference.resolve_char_ref() {
                    Ok(Some(c)) => c,
                    Ok(None) => match &*reference {
                        "lt" => '<',
                        "gt" => '>',
                        "amp" => '&',
                        "quot" => '"',
                        "apos" => '\'',
                        _ => return Err(malformed("an entity that is not predefined")),
                    },
                    // A character that does not exist: shown as such rather than failing a whole list.
                    Err(_) => char::REPLACEMENT_CHARACTER,
                }),
                Event::DocType(_) => return Err(malformed("a document type declaration")),
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::Empty(_) => {}
                Event::Eof => return Ok(Token::Eof),
            }
        }
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
        let outside = self.depth.saturating_sub(1);
        let mut text = String::new();
        while self.depth > outside {
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
                Token::Eof if self.depth == 0 => return Ok(()),
                Token::Eof => return Err(malformed("it ends in the middle")),
                Token::End => {}
                // A second body element or a header after the body: nothing of ours.
                Token::Start(_) => self.skip().await?,
            }
        }
    }
}

fn xml_error(error: quick_xml::Error) -> XmlError {
    match error {
        quick_xml::Error::Io(io) if io.get_ref().is_some_and(|e| e.is::<OverBudget>()) => {
            XmlError::Budget
        }
        quick_xml::Error::Io(io) => XmlError::Io(io::Error::new(io.kind(), io)),
        other => malformed(other.to_string()),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("more than the budget")]
struct OverBudget;

/// A source that fails once it gave more than it may.
struct Budget<R> {
    source: R,
    left: u64,
}

impl<R: AsyncBufRead + Unpin> AsyncBufRead for Budget<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        match Pin::new(&mut this.source).poll_fill_buf(cx) {
            Poll::Ready(Ok(bytes)) if this.left == 0 && !bytes.is_empty() => {
                Poll::Ready(Err(io::Error::other(OverBudget)))
            }
            other => other,
        }
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        let this = self.get_mut();
        this.left = this.left.saturating_sub(amount as u64);
        Pin::new(&mut this.source).consume(amount);
    }
}

impl<R: AsyncBufRead + Unpin> AsyncRead for Budget<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = match self.as_mut().poll_fill_buf(cx) {
            Poll::Ready(Ok(bytes)) => bytes,
            Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
            Poll::Pending => return Poll::Pending,
        };
        let amount = bytes.len().min(buf.remaining());
        buf.put_slice(&bytes[..amount]);
        self.consume(amount);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
