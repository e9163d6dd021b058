//! What one evaluation may use up. The check of the expression reckons with the bounds of the schema;
//! this holds whatever the facts are.

use super::cost::{MAX_BYTES, MAX_COST};

/// Why a part gave no value, before its place is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The part cannot be evaluated for these values.
    Message(String),
    /// The evaluation as a whole ends.
    Exhausted(&'static str),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Message(message)
    }
}

/// What is left for one evaluation.
#[derive(Debug)]
pub(super) struct Budget {
    steps: u64,
    bytes: u64,
}

impl Budget {
    /// Twice of what an expression may take by the check, for facts larger than the schema reckons with.
    pub(super) fn new() -> Self {
        Self { steps: 2 * MAX_COST, bytes: MAX_BYTES }
    }

    /// Takes steps.
    pub(super) fn steps(&mut self, steps: usize) -> Result<(), Failure> {
        match self.steps.checked_sub(steps as u64) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err(Failure::Exhausted("it takes too many steps for these facts")),
        }
    }

    /// Takes steps for looking at every byte of a text.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.steps(text.len() / 64)
    }

    /// Takes memory before it is allocated.
    pub(super) fn bytes(&mut self, bytes: usize) -> Result<(), Failure> {
        match self.bytes.checked_sub(bytes as u64) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => Err(Failure::Exhausted("it puts together more text or items than fit 1 MiB")),
        }
    }
}
