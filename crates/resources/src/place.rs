//! Where something was written, so that an error can be found without searching.

use std::fmt;
use std::sync::Arc;

/// A place in a file, or a source without lines such as a flag or an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    source: Arc<str>,
    line: u32,
    column: u32,
}

impl Place {
    /// A character of a file; both counted from 1.
    pub fn in_file(file: &Arc<str>, line: u32, column: u32) -> Self {
        Self { source: Arc::clone(file), line, column }
    }

    /// A source that has no lines: a flag, a variable, a file that could not be read.
    pub fn of(source: impl Into<Arc<str>>) -> Self {
        Self { source: source.into(), line: 0, column: 0 }
    }

    /// The file's name as it was given, or the name of the flag or variable.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Counted from 1; 0 where the source has no lines.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// In characters, counted from 1; 0 where the source has no lines.
    pub fn column(&self) -> u32 {
        self.column
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.source),
            line => write!(f, "{}:{line}:{}", self.source, self.column),
        }
    }
}
