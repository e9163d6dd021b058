//! What rules look at, one file for what belongs together.

mod cel;
mod content;
mod names;
mod pairs;
mod tags;
mod time;

pub use cel::Cel;
pub use content::{BaseImage, Evidence};
pub use names::Lists;
pub use pairs::Pairs;
pub use tags::Tags;
pub use time::{Age, Promotion};

pub(super) use content::{licences, media_types, platforms, size};
pub(super) use names::{repositories, upstreams};
pub(super) use pairs::{annotations, labels};

use super::check::Finding;
use super::evaluation::needed;
use crate::Fact;

/// The value of a fact, or what a fact without one leads to. `what`: what it is, for people.
pub(super) fn known<'f, T>(fact: &'f Fact<T>, what: &str) -> Result<&'f T, Finding> {
    needed(fact).map_err(|(outcome, why)| {
        Finding::new(outcome, format!("{what} is not known: {why}"), "ask the policy's owner")
    })
}

/// Some of a list, for people.
pub(super) fn some<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 4;
    let all: Vec<T> = texts.into_iter().collect();
    let shown: Vec<&str> = all.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match all.len() {
        0 => "none".to_owned(),
        n if n > SHOWN => format!("{} and {} more", shown.join(", "), n - SHOWN),
        _ => shown.join(", "),
    }
}
