//! Writing requests: one method call as a SOAP envelope.

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::value::{MoRef, Value};

const OPEN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">";

/// The types of scalars that XML Schema defines; all others are vim25's own.
const SCALARS: &[&str] = &[
    "anyURI",
    "base64Binary",
    "boolean",
    "byte",
    "dateTime",
    "double",
    "float",
    "int",
    "long",
    "short",
    "string",
];

/// A request being written. Everything given is escaped; names of elements are the code's own.
pub(crate) struct Envelope {
    method: &'static str,
    text: Zeroizing<String>,
    /// The first field whose text XML cannot carry.
    illegal: Option<String>,
}

impl Envelope {
    /// Starts the call of `method` on `this`. `operation` shows in the server's logs.
    pub(crate) fn new(method: &'static str, this: &MoRef, operation: Option<&str>) -> Self {
        let mut envelope = Self {
            method,
            text: Zeroizing::new(String::with_capacity(1024)),
            illegal: None,
        };
        envelope.text.push_str(OPEN);
        if let Some(id) = operation {
            envelope.raw("<soapenv:Header><operationID xmlns=\"urn:vim25\">");
            envelope.escaped("operationID", id);
            envelope.raw("</operationID></soapenv:Header>");
        }
        envelope.raw("<soapenv:Body><");
        envelope.raw(method);
        envelope.raw(" xmlns=\"urn:vim25\">");
        envelope.moref("_this", this);
        envelope
    }

    pub(crate) fn method(&self) -> &'static str {
        self.method
    }

    fn raw(&mut self, text: &str) {
        // A buffer with a password in it would leave its old copy behind when it grows.
        let free = self.text.capacity() - self.text.len();
        if free < text.len() {
            let mut grown =
                Zeroizing::new(String::with_capacity((self.text.len() + text.len()) * 2));
            grown.push_str(&self.text);
            self.text = grown;
        }
        self.text.push_str(text);
    }

    fn escaped(&mut self, field: &str, text: &str) {
        let mut from = 0;
        for (at, c) in text.char_indices() {
            let with = match c {
                '<' => "&lt;",
                '>' => "&gt;",
                '&' => "&amp;",
                '"' => "&quot;",
                '\'' => "&apos;",
                // A bare carriage return would arrive as a line feed.
                '\r' => "&#13;",
                '\t' => "&#9;",
                '\n' => "&#10;",
                '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
                    self.illegal.get_or_insert_with(|| field.to_owned());
                    ""
                }
                _ => continue,
            };
            self.raw(&text[from..at]);
            self.raw(with);
            from = at + c.len_utf8();
        }
        self.raw(&text[from..]);
    }

    /// `<name>`.
    pub(crate) fn open(&mut self, name: &str) -> &mut Self {
        self.raw("<");
        self.raw(name);
        self.raw(">");
        self
    }

    /// `<name xsi:type="ty">`.
    pub(crate) fn open_as(&mut self, name: &str, ty: &str) -> &mut Self {
        self.raw("<");
        self.raw(name);
        self.raw(" xsi:type=\"");
        self.escaped(name, ty);
        self.raw("\">");
        self
    }

    /// `</name>`.
    pub(crate) fn close(&mut self, name: &str) -> &mut Self {
        self.raw("</");
        self.raw(name);
        self.raw(">");
        self
    }

    /// `<name>text</name>`.
    pub(crate) fn text(&mut self, name: &str, text: &str) -> &mut Self {
        self.open(name);
        self.escaped(name, text);
        self.close(name)
    }

    /// The text within an element that is open; `field` names it in an error.
    pub(crate) fn content(&mut self, field: &str, text: &str) -> &mut Self {
        self.escaped(field, text);
        self
    }

    /// A boolean field.
    pub(crate) fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.text(name, if value { "true" } else { "false" })
    }

    /// A field that is a reference.
    pub(crate) fn moref(&mut self, name: &str, reference: &MoRef) -> &mut Self {
        self.raw("<");
        self.raw(name);
        self.raw(" type=\"");
        self.escaped(name, &reference.kind);
        self.raw("\">");
        self.escaped(name, &reference.id);
        self.close(name)
    }

    /// A value as it is: scalar, reference or struct, with its type where it has one.
    pub(crate) fn value(&mut self, name: &str, value: &Value) -> &mut Self {
        self.raw("<");
        self.raw(name);
        if let Some(ty) = &value.ty {
            self.raw(" xsi:type=\"");
            if SCALARS.contains(&&**ty) {
                self.raw("xsd:");
            }
            self.escaped(name, ty);
            self.raw("\"");
        }
        if let Some(kind) = &value.kind {
            self.raw(" type=\"");
            self.escaped(name, kind);
            self.raw("\"");
        }
        self.raw(">");
        if value.fields.is_empty() {
            self.escaped(name, &value.text);
        }
        for (field, value) in &value.fields {
            // Names that were read come from a server: what is no name of the API is not sent back.
            if field
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_')
            {
                self.value(field, value);
            }
        }
        self.close(name)
    }

    /// The bytes to send; they are overwritten when the last holder lets them go.
    ///
    /// # Errors
    /// [`Error::InvalidText`] if a text held a character that XML cannot carry.
    pub(crate) fn finish(mut self) -> Result<Bytes, Error> {
        if let Some(field) = self.illegal.take() {
            return Err(Error::InvalidText { field });
        }
        self.close(self.method);
        self.raw("</soapenv:Body></soapenv:Envelope>");
        Ok(Bytes::from_owner(Owned(self.text)))
    }
}

struct Owned(Zeroizing<String>);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
