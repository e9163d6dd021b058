//! A checked expression as it is evaluated: names resolved, patterns compiled, every part in its place.

use super::error::Place;
use super::functions::Function;
use super::syntax::Operator;
use super::value::Value;
use super::version::VersionRange;
use crate::TextPattern;
use regex::Regex;

/// A part that gives a value.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) place: Place,
}

/// What the part does.
#[derive(Debug)]
pub(super) enum Kind {
    Literal(Value<'static>),
    /// Apart from other literals, so that it is borrowed when evaluated.
    Text(String),
    Fact(&'static str),
    /// What the loop at this depth is at.
    Variable(usize),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// `of.key` of a map.
    Member(Box<Node>, String),
    /// `has(of.key)`.
    Has(Box<Node>, String),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Conditional(Box<[Node; 3]>),
    Binary(Operator, Box<[Node; 2]>),
    Call(Function, Vec<Node>),
    Test(Box<Node>, Pattern),
    Loop(Box<Loop>),
}

/// What a text is held against; compiled when the expression is loaded.
#[derive(Debug)]
pub(super) enum Pattern {
    Regex(Regex),
    Glob(TextPattern),
    Version(VersionRange),
}

impl Pattern {
    /// Whether the text fits.
    pub(super) fn fits(&self, text: &str) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(text),
            Self::Glob(glob) => glob.matches(text),
            Self::Version(range) => range.contains(text),
        }
    }
}

/// A macro that goes over a list, or over the keys of a map.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) of: LoopKind,
    pub(super) range: Node,
    /// The index of its variable among those of the loops around it.
    pub(super) variable: usize,
    /// What is asked of each item; of `map` without a filter, nothing.
    pub(super) condition: Option<Node>,
    /// What `map` makes of each item.
    pub(super) result: Option<Node>,
}

/// Which macro.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

impl LoopKind {
    /// The macro of this name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "all" => Self::All,
            "exists" => Self::Exists,
            "exists_one" | "existsOne" => Self::ExistsOne,
            "filter" => Self::Filter,
            "map" => Self::Map,
            _ => return None,
        })
    }
}
