//! What expressions may name: every fact with its type, its bound and what it means.

use super::facts;
use std::fmt;

/// The type of a fact or of a part of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Nothing: the `null` of JSON.
    Null,
    /// True or false.
    Bool,
    /// A whole number of 64 bits with a sign.
    Int,
    /// A binary floating-point number of 64 bits.
    Double,
    /// Unicode text.
    String,
    /// A moment.
    Timestamp,
    /// A span of time.
    Duration,
    /// Items of one type, in order.
    List(Box<Type>),
    /// Values of one type by text.
    Map(Box<Type>),
    /// Known only when evaluated, such as a claim of a token.
    Dyn,
}

impl Type {
    /// A list of this.
    pub(super) fn list(self) -> Self {
        Self::List(Box::new(self))
    }

    /// A map from text to this.
    pub(super) fn map(self) -> Self {
        Self::Map(Box::new(self))
    }
}

impl fmt::Display for Type {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => out.write_str("null"),
            Self::Bool => out.write_str("bool"),
            Self::Int => out.write_str("int"),
            Self::Double => out.write_str("double"),
            Self::String => out.write_str("string"),
            Self::Timestamp => out.write_str("timestamp"),
            Self::Duration => out.write_str("duration"),
            Self::List(item) => write!(out, "list<{item}>"),
            Self::Map(value) => write!(out, "map<string, {value}>"),
            Self::Dyn => out.write_str("dyn"),
        }
    }
}

/// One fact that expressions may read.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub(super) path: &'static str,
    pub(super) of: Type,
    pub(super) max: u32,
    pub(super) doc: &'static str,
}

impl Field {
    /// How expressions name it: `artifact.labels`, `now`.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// Its type.
    pub fn field_type(&self) -> &Type {
        &self.of
    }

    /// For how many items (of a list or map) or bytes (of text) the cost of an expression is reckoned.
    /// More is evaluated all the same, as long as the steps and the memory of one evaluation last.
    pub fn max(&self) -> u32 {
        self.max
    }

    /// What it means, in one line.
    pub fn doc(&self) -> &'static str {
        self.doc
    }
}

/// The facts that a kind of expression may read.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    fields: Vec<Field>,
}

impl Schema {
    /// For rules: who asks for what, and what is known of the artifact.
    pub fn facts() -> Self {
        Self { fields: facts::of_requests() }
    }

    /// For the claims of a token: one root, `claims`, whose members have the types the issuer gives them.
    pub fn claims() -> Self {
        Self { fields: facts::of_claims() }
    }

    /// For the subject of a client certificate.
    pub fn certificate() -> Self {
        Self { fields: facts::of_certificates() }
    }

    /// Every fact, in the order in which it is documented.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter()
    }

    /// The fact with exactly this path.
    pub(super) fn field(&self, path: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.path == path)
    }

    /// The first segments of all paths.
    pub(super) fn roots(&self) -> impl Iterator<Item = &'static str> {
        self.fields.iter().map(|field| field.path.split('.').next().unwrap_or(field.path))
    }
}
