//! The answers to many questions, in each of the forms: what need not be kept is not.

use super::Format;
use super::formats::{self, Item};
use super::from::Asked;
use super::many::Sink;
use super::offline::Owners;
use super::reasons::Class;
use super::summary::{self, Summary};
use crate::exit::{Exit, Failure};
use crate::output::out;
use plane::CheckResult;
use serde_json::Value;

/// The answers so far.
pub(super) struct Report {
    format: Format,
    summary: Summary,
    /// For forms that are written at the end.
    items: Vec<Item>,
    is_begun: bool,
}

impl Sink for Report {
    fn take(&mut self, asked: Asked, result: CheckResult) {
        self.summary.add(&asked, &result);
        match self.format {
            Format::Table => {}
            Format::Json => {
                // One by one: facts of a hundred thousand are more than memory should hold.
                let head = if self.is_begun { ",\n    " } else { "{\n  \"results\": [\n    " };
                out(&format!("{head}{}", summary::entry(&asked, &result)));
                self.is_begun = true;
            }
            Format::Sarif | Format::Junit => {
                self.items.push(Item { result: slim(result), asked: Some(asked) });
            }
        }
    }
}

impl Report {
    pub(super) fn new(format: Format) -> Self {
        Self { format, summary: Summary::default(), items: Vec::new(), is_begun: false }
    }

    /// The revision that was asked.
    pub(super) fn revision(&self) -> Option<&str> {
        self.summary.revision.as_deref()
    }

    /// Writes what is left to write.
    pub(super) fn end(self, owners: &Owners) -> Result<Exit, Failure> {
        match self.format {
            Format::Table => out(&self.summary.table(owners)),
            Format::Json => {
                let (groups, counts) = self.summary.json(owners);
                out(&format!("\n  ],\n  \"groups\": {groups},\n  \"counts\": {counts}\n}}\n"));
            }
            Format::Sarif => out(&formats::sarif(&self.items)?),
            Format::Junit => out(&formats::junit(&self.items)),
        }
        let [refused, unknown, elsewhere] =
            [Class::Refused, Class::Unknown, Class::Elsewhere].map(|it| self.summary.of(it));
        Ok(match (refused, unknown + elsewhere) {
            (1.., _) => Exit::No,
            (0, 1..) => Exit::CannotTell,
            (0, 0) => Exit::Yes,
        })
    }
}

/// An answer without the facts that no form shows.
fn slim(mut result: CheckResult) -> CheckResult {
    let trim = |result: &mut CheckResult| {
        if let Some(decision) = &mut result.decision {
            decision.facts = Value::Null;
            decision.outcomes.retain(|it| it.effect != "None");
        }
    };
    trim(&mut result);
    result.children.retain(|it| it.verdict != "Allow");
    result.children.iter_mut().for_each(trim);
    result
}
