//! The questions, as SQL. One function each, over a connection that someone else found.

pub(crate) mod content;
pub(crate) mod governance;
pub(crate) mod history;
pub(crate) mod hosted;
pub(crate) mod keep;
pub(crate) mod manifests;
pub(crate) mod mark;
pub(crate) mod names;
pub(crate) mod pins;
pub(crate) mod tags;

#[cfg(test)]
mod plans;
