//! What a server sends: references to managed objects, and values of any shape.

use std::borrow::Cow;
use std::fmt;

/// The name of an element or a type: the common ones have no memory of their own.
pub(crate) type Name = Cow<'static, str>;

/// A reference to a managed object: its type and its id on one server.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MoRef {
    /// The type, as `VirtualMachine`.
    pub kind: String,
    /// The id, as `vm-42`.
    pub id: String,
}

impl MoRef {
    /// A reference from its parts.
    pub fn new(kind: impl Into<String>, id: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            id: id.into(),
        }
    }
}

impl fmt::Display for MoRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}

impl fmt::Debug for MoRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A value as the server sent it: a scalar (text), or a struct or array (fields).
///
/// Tolerant by construction: a newer server's unknown fields, types and enum values are simply
/// there, or simply absent. Nothing is checked until it is asked for, and asking never fails:
/// what is not there, or does not read as what was asked for, is `None`.
///
/// Arrays come in two shapes in vim25: a property whose value is `ArrayOf…` has its elements as
/// [`Value::items`]; an array within a struct is the same field several times: [`Value::all`].
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Value {
    pub(crate) ty: Option<Name>,
    pub(crate) kind: Option<Name>,
    pub(crate) text: String,
    pub(crate) fields: Vec<(Box<str>, Value)>,
}

impl Value {
    /// The `xsi:type` without prefix, if the server gave one.
    pub fn type_name(&self) -> Option<&str> {
        self.ty.as_deref()
    }

    /// The text of a scalar; empty for a struct or array.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it has fields (a struct or a filled array).
    pub fn is_struct(&self) -> bool {
        !self.fields.is_empty()
    }

    /// The first field of that name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields
            .iter()
            .find(|(n, _)| &**n == name)
            .map(|(_, v)| v)
    }

    /// Every field of that name: an array within a struct.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> + 'a {
        self.fields
            .iter()
            .filter(move |(n, _)| &**n == name)
            .map(|(_, v)| v)
    }

    /// Every field's value: the elements of an `ArrayOf…`.
    pub fn items(&self) -> impl Iterator<Item = &Value> {
        self.fields.iter().map(|(_, v)| v)
    }

    /// Every field with its name, in the server's order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.fields.iter().map(|(n, v)| (&**n, v))
    }

    /// The value at a dotted path of field names, as `config.hardware.numCPU`.
    pub fn at(&self, path: &str) -> Option<&Value> {
        path.split('.')
            .try_fold(self, |value, name| value.get(name))
    }

    /// The text at a dotted path.
    pub fn text_at(&self, path: &str) -> Option<&str> {
        self.at(path).map(Value::text)
    }

    /// As a boolean (`true`, `false`, `1`, `0`).
    pub fn as_bool(&self) -> Option<bool> {
        match self.text.trim() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    }

    /// As a whole number.
    pub fn as_i64(&self) -> Option<i64> {
        self.text.trim().parse().ok()
    }

    /// As a reference: a scalar that carries the type of the object.
    pub fn as_moref(&self) -> Option<MoRef> {
        match &self.kind {
            Some(kind) if !self.text.is_empty() => Some(MoRef::new(&**kind, self.text.as_str())),
            _ => None,
        }
    }
}

/// Making values to send. What was read and is sent back keeps its types and all its fields.
impl Value {
    /// An empty struct of this type.
    pub fn record(ty: &str) -> Self {
        Self {
            ty: Some(ty.to_owned().into()),
            ..Self::default()
        }
    }

    /// A scalar that carries the name of its type, as `string`: where the API allows any.
    pub fn typed_text(ty: &str, text: &str) -> Self {
        Self {
            ty: Some(ty.to_owned().into()),
            text: text.to_owned(),
            ..Self::default()
        }
    }

    /// A reference.
    pub fn reference(to: &MoRef) -> Self {
        Self {
            kind: Some(to.kind.clone().into()),
            text: to.id.clone(),
            ..Self::default()
        }
    }

    /// With one more field, behind those that it has: in the order of the API's schema.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// With a field as given: in the place of the one of that name, else before the first of `later`.
    #[must_use]
    pub fn replacing(mut self, name: &str, value: impl Into<Value>, later: &[&str]) -> Self {
        let value = value.into();
        if let Some((_, old)) = self.fields.iter_mut().find(|(n, _)| &**n == name) {
            *old = value;
            return self;
        }
        let at = self.fields.iter().position(|(n, _)| later.contains(&&**n));
        let at = at.unwrap_or(self.fields.len());
        self.fields.insert(at, (name.into(), value));
        self
    }
}

/// A number, as a server would send it.
impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::from(number.to_string().as_str())
    }
}

/// A boolean, as a server would send it.
impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::from(if flag { "true" } else { "false" })
    }
}

/// A scalar, as a server would send it without a type.
impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            ..Self::default()
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(reference) = self.as_moref() {
            return write!(f, "{reference}");
        }
        if self.fields.is_empty() {
            return write!(f, "{:?}", self.text);
        }
        if let Some(ty) = self.type_name() {
            write!(f, "{ty} ")?;
        }
        f.debug_map().entries(self.fields()).finish()
    }
}
