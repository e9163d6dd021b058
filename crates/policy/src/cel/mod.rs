//! Expressions of the Common Expression Language in resources: rules of policies, claims of identity.
//!
//! An expression is checked once, when the resource that holds it is loaded: every name, every type,
//! and how much work it can be at most. What passes cannot name what does not exist, cannot run long
//! and cannot use much memory, whatever the facts are. What remains to go wrong, such as a label that an
//! image does not have, is an [`EvaluationError`], which a rule takes for a refusal.
//!
//! The language is that of <https://github.com/google/cel-spec>, without unsigned numbers, bytes, messages
//! and time zones, with text as the only keys of maps, and with two functions of our own, `semverMatches`
//! and `glob`. Patterns (of those and of `matches`) are literals, so that they are compiled once.
//! Reading, checking and evaluating are our own: the tests hold them against another implementation.

mod budget;
mod builtins;
mod calls;
mod check;
mod cost;
mod error;
mod expression;
mod facts;
mod functions;
mod lexer;
mod nearest;
mod operators;
mod parser;
mod program;
mod run;
mod schema;
mod source;
mod syntax;
mod time;
mod value;
mod version;

pub use error::{CelError, EvaluationError};
pub use expression::{Expect, Expression, Roots};
pub use schema::{Field, Schema, Type};
pub use value::{AsValue, List, ListSource, Map, MapSource, Text, Value};
pub use version::VersionRange;
