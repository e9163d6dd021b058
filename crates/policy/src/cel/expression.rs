//! A checked expression: what it needs, and what it gives.

use super::program::Node;
use super::{CelError, EvaluationError, Schema, Type, Value, check, parser, run};
use std::sync::Arc;

/// What an expression has to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// True or false.
    Bool,
    /// Text.
    String,
    /// A list of texts.
    Strings,
}

impl Expect {
    pub(super) fn of(self) -> Type {
        match self {
            Self::Bool => Type::Bool,
            Self::String => Type::String,
            Self::Strings => Type::String.list(),
        }
    }

    /// Whether the value is what was expected; the check cannot tell of what an issuer decides.
    fn fits(self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::Bool, Value::Bool(_)) | (Self::String, Value::String(_)) => true,
            (Self::Strings, Value::List(list)) => list.items().all(|item| item.as_str().is_some()),
            _ => false,
        }
    }
}

/// Where the facts come from. Only what an expression reads is asked for, when it is read.
pub trait Roots {
    /// The fact at a path of the schema, such as `artifact.labels` or `now`, borrowed; none if it is
    /// not known, which ends the evaluation with [`EvaluationError::missing_fact`] unless another part
    /// decides (`false && …`).
    fn fact(&self, path: &str) -> Option<Value<'_>>;
}

/// An expression that was checked and may be evaluated by any number of threads. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Expression {
    text: Arc<str>,
    expect: Expect,
    program: Arc<Node>,
    needs: Arc<[&'static str]>,
}

impl PartialEq for Expression {
    /// The same text for the same use.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.expect == other.expect && self.needs == other.needs
    }
}

impl Expression {
    /// Reads and checks a text. The error names the place and, of a wrong name, the nearest one.
    pub fn compile(text: &str, schema: &Schema, expect: Expect) -> Result<Self, CelError> {
        let tree = parser::parse(text)?;
        let (program, needs) = check::check(text, schema, expect, &tree)?;
        Ok(Self { text: text.into(), expect, program: Arc::new(program), needs: needs.into() })
    }

    /// The text as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The paths of the facts that it reads, such as `artifact.labels`, in order, each once.
    pub fn needs(&self) -> impl Iterator<Item = &'static str> {
        self.needs.iter().copied()
    }

    /// Its value, of the type that was expected. Facts are borrowed, not copied. Never panics, ends
    /// after a bounded number of steps and allocates a bounded number of bytes, whatever the facts are.
    pub fn evaluate<'a>(&'a self, roots: &'a dyn Roots) -> Result<Value<'a>, EvaluationError> {
        let value = run::value(&self.program, roots)?;
        if self.expect.fits(&value) {
            return Ok(value);
        }
        let message = format!("it gave {}, not {}", value.value_type(), self.expect.of());
        Err(EvaluationError::new(self.program.place, message))
    }

    /// The value of an expression that was compiled for [`Expect::Bool`].
    pub fn evaluate_bool(&self, roots: &dyn Roots) -> Result<bool, EvaluationError> {
        let value = self.evaluate(roots)?;
        value.as_bool().ok_or_else(|| self.other_use(&value))
    }

    /// The value of an expression that was compiled for [`Expect::String`].
    pub fn evaluate_string(&self, roots: &dyn Roots) -> Result<String, EvaluationError> {
        let value = self.evaluate(roots)?;
        value.as_str().map(str::to_owned).ok_or_else(|| self.other_use(&value))
    }

    /// The value of an expression that was compiled for [`Expect::Strings`].
    pub fn evaluate_strings(&self, roots: &dyn Roots) -> Result<Vec<String>, EvaluationError> {
        let value = self.evaluate(roots)?;
        let Value::List(list) = &value else { return Err(self.other_use(&value)) };
        Ok(list.items().filter_map(|item| item.as_str().map(str::to_owned)).collect())
    }

    /// It was compiled for another use than it is put to.
    fn other_use(&self, value: &Value<'_>) -> EvaluationError {
        let message =
            format!("it was checked to give {}, which is not used here", value.value_type());
        EvaluationError::new(self.program.place, message)
    }
}
