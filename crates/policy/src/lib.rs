//! May they: who asks, for what, and the permit or the denial that follows.
//!
//! Pure and synchronous: no I/O, no async, the clock is an argument. It owns the nouns of a
//! decision, so that every other crate says the same thing by the same word, and it is the only
//! place that can make a [`Permit`], the value without which no code serves or accepts a byte
//! (contracts §3).

mod access;
mod decide;
mod decision_id;
mod denial;
mod denials;
mod intent;
mod pattern;
mod permit;
mod principal;

pub use access::{Access, AccessRule, Subject};
pub use decide::{Candidate, Facts, Leave, decide, may_ask, may_ask_one, still_allowed};
pub use decision_id::DecisionId;
pub use denial::Denial;
pub use intent::{Action, Intent, Object};
pub use pattern::{NamePattern, PatternError, TagPattern};
pub use permit::{Permit, SystemPermit};
pub use principal::{Network, NetworkError, Principal, PrincipalKind};
