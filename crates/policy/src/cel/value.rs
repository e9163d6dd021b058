//! Values of expressions: borrowed from whoever holds the facts, so that a warm decision copies none.

use super::Type;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

/// A value that an expression reads or gives.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// JSON's `null`.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Double(f64),
    /// Text.
    String(Text<'a>),
    /// A moment.
    Timestamp(Timestamp),
    /// A span of time.
    Duration(SignedDuration),
    /// Items in order.
    List(List<'a>),
    /// Values by text.
    Map(Map<'a>),
}

/// Text, borrowed from the facts or made by the expression. Cloning copies no characters.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// From the facts or the expression's own text.
    Borrowed(&'a str),
    /// Made while evaluating.
    Owned(Arc<str>),
}

/// A list, borrowed or made by the expression.
#[derive(Clone, Debug)]
pub enum List<'a> {
    /// From the facts.
    Borrowed(&'a dyn ListSource),
    /// Made while evaluating.
    Owned(Arc<[Value<'a>]>),
}

/// A map, borrowed or made by the expression.
#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// From the facts.
    Borrowed(&'a dyn MapSource),
    /// Made while evaluating.
    Owned(Arc<BTreeMap<Text<'a>, Value<'a>>>),
}

/// What can be read as a value without being copied.
pub trait AsValue {
    /// The value, borrowed.
    fn as_value(&self) -> Value<'_>;
}

/// What can be read as a list without being copied.
pub trait ListSource: std::fmt::Debug + Send + Sync {
    /// How many items.
    fn length(&self) -> usize;
    /// The item at an index from 0.
    fn item(&self, index: usize) -> Option<Value<'_>>;
}

/// What can be read as a map without being copied.
pub trait MapSource: std::fmt::Debug + Send + Sync {
    /// How many entries.
    fn length(&self) -> usize;
    /// The value of a key.
    fn value(&self, key: &str) -> Option<Value<'_>>;
    /// The keys in order.
    fn keys(&self) -> Box<dyn Iterator<Item = &str> + '_>;
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Owned(text) => text,
        }
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text<'_> {}

impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl std::borrow::Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        self
    }
}

impl<'a> List<'a> {
    /// How many items.
    pub fn length(&self) -> usize {
        match self {
            Self::Borrowed(source) => source.length(),
            Self::Owned(items) => items.len(),
        }
    }

    /// The item at an index from 0.
    pub fn item(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Self::Borrowed(source) => source.item(index),
            Self::Owned(items) => items.get(index).cloned(),
        }
    }

    /// The items in order.
    pub fn items(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.length()).map_while(|index| self.item(index))
    }
}

impl<'a> Map<'a> {
    /// How many entries.
    pub fn length(&self) -> usize {
        match self {
            Self::Borrowed(source) => source.length(),
            Self::Owned(entries) => entries.len(),
        }
    }

    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<Value<'a>> {
        match self {
            Self::Borrowed(source) => source.value(key),
            Self::Owned(entries) => entries.get(key).cloned(),
        }
    }

    /// The keys in order.
    pub fn keys(&self) -> Vec<Text<'a>> {
        match self {
            Self::Borrowed(source) => source.keys().map(Text::Borrowed).collect(),
            Self::Owned(entries) => entries.keys().cloned().collect(),
        }
    }
}

impl<'a> Value<'a> {
    /// A list that is made, not borrowed.
    pub fn list(items: impl IntoIterator<Item = Value<'a>>) -> Self {
        Self::List(List::Owned(items.into_iter().collect()))
    }

    /// A map that is made, not borrowed.
    pub fn map(entries: impl IntoIterator<Item = (String, Value<'a>)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (Text::Owned(key.into()), value));
        Self::Map(Map::Owned(Arc::new(entries.collect())))
    }

    /// What it is, as messages name it; of collections, of anything.
    pub fn value_type(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::Timestamp(_) => Type::Timestamp,
            Self::Duration(_) => Type::Duration,
            Self::List(_) => Type::Dyn.list(),
            Self::Map(_) => Type::Dyn.map(),
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// True or false, if it is that.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(it) => Some(*it),
            _ => None,
        }
    }
}

impl PartialEq for Value<'_> {
    /// As CEL compares: numbers by their value whatever their type, maps without regard to order.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(left), Self::Bool(right)) => left == right,
            (Self::Int(left), Self::Int(right)) => left == right,
            (Self::Double(left), Self::Double(right)) => left == right,
            (Self::Int(int), Self::Double(double)) | (Self::Double(double), Self::Int(int)) => {
                super::operators::order_numbers(*int, *double) == Some(std::cmp::Ordering::Equal)
            }
            (Self::String(left), Self::String(right)) => left == right,
            (Self::Timestamp(left), Self::Timestamp(right)) => left == right,
            (Self::Duration(left), Self::Duration(right)) => left == right,
            (Self::List(left), Self::List(right)) => {
                left.length() == right.length()
                    && left.items().zip(right.items()).all(|(left, right)| left == right)
            }
            (Self::Map(left), Self::Map(right)) => {
                left.length() == right.length()
                    && left.keys().iter().all(|key| left.value(key) == right.value(key))
            }
            _ => false,
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(Text::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::String(Text::Owned(text.into()))
    }
}

impl From<bool> for Value<'_> {
    fn from(it: bool) -> Self {
        Self::Bool(it)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(moment: Timestamp) -> Self {
        Self::Timestamp(moment)
    }
}

impl<'a> From<&'a dyn ListSource> for Value<'a> {
    fn from(source: &'a dyn ListSource) -> Self {
        Self::List(List::Borrowed(source))
    }
}

impl<'a> From<&'a dyn MapSource> for Value<'a> {
    fn from(source: &'a dyn MapSource) -> Self {
        Self::Map(Map::Borrowed(source))
    }
}

impl<'a, T: AsValue + std::fmt::Debug + Send + Sync> From<&'a Vec<T>> for Value<'a> {
    fn from(source: &'a Vec<T>) -> Self {
        Self::List(List::Borrowed(source))
    }
}

impl<'a, T: AsValue + std::fmt::Debug + Send + Sync> From<&'a BTreeMap<String, T>> for Value<'a> {
    fn from(source: &'a BTreeMap<String, T>) -> Self {
        Self::Map(Map::Borrowed(source))
    }
}
