//! Why a text is no expression, and why an expression gave no value.

use std::fmt;

/// A place in the text of an expression, as editors count: both from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Place {
    /// The place of a byte of the text.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        Self {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        }
    }
}

/// Why a text was refused when it was loaded, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CelError {
    message: String,
    place: Place,
    nearest: Option<String>,
}

impl CelError {
    pub(super) fn new(text: &str, offset: usize, message: String) -> Self {
        Self { message, place: Place::of(text, offset), nearest: None }
    }

    pub(super) fn with_nearest(mut self, nearest: Option<String>) -> Self {
        self.nearest = nearest;
        self
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The line in the expression's own text, from 1.
    pub fn line(&self) -> u32 {
        self.place.line
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> u32 {
        self.place.column
    }

    /// Of a name that does not exist: the one that may have been meant.
    pub fn nearest(&self) -> Option<&str> {
        self.nearest.as_deref()
    }
}

impl fmt::Display for CelError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { line, column } = self.place;
        write!(out, "line {line}, column {column}: {}", self.message)?;
        match &self.nearest {
            Some(nearest) => write!(out, "; did you mean `{nearest}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CelError {}

/// Why an expression gave no value, and which part of it did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluationError {
    message: String,
    place: Place,
    missing_fact: Option<&'static str>,
    /// Nothing can make up for it, not even `|| true`.
    exhausted: bool,
}

impl EvaluationError {
    pub(super) fn new(place: Place, message: String) -> Self {
        Self { message, place, missing_fact: None, exhausted: false }
    }

    pub(super) fn exhausted(place: Place, message: &str) -> Self {
        Self { message: message.to_owned(), place, missing_fact: None, exhausted: true }
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    pub(super) fn missing(place: Place, path: &'static str) -> Self {
        Self {
            message: format!("`{path}` is not known"),
            place,
            missing_fact: Some(path),
            exhausted: false,
        }
    }

    /// What went wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The line in the expression's own text, from 1.
    pub fn line(&self) -> u32 {
        self.place.line
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> u32 {
        self.place.column
    }

    /// The fact that the [`Roots`](super::Roots) did not have, if that is why: whoever gathers facts
    /// knows whether it is unknown or could not be asked for.
    pub fn missing_fact(&self) -> Option<&'static str> {
        self.missing_fact
    }
}

impl fmt::Display for EvaluationError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { line, column } = self.place;
        write!(out, "line {line}, column {column}: {}", self.message)
    }
}

impl std::error::Error for EvaluationError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_start_anew() {
        let text = "añb\nc + d";
        assert_eq!(Place::of(text, 0), Place { line: 1, column: 1 });
        assert_eq!(Place::of(text, 3), Place { line: 1, column: 3 });
        assert_eq!(Place::of(text, 9), Place { line: 2, column: 5 });
        assert_eq!(Place::of(text, 99), Place { line: 2, column: 6 });
    }
}
