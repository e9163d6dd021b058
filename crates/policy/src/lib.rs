//! May they: who asks, for what, and the permit or the denial that follows.
//!
//! Pure and synchronous: no I/O, no async, the clock is an argument. It owns the nouns of a
//! decision, so that every other crate says the same thing by the same word, and it is the only
//! place that can make a [`Permit`], the value without which no code serves or accepts a byte
//! (contracts §3).

mod access;
mod artifact;
mod caller;
pub mod cel;
mod decide;
mod decision_id;
mod denial;
mod denials;
mod environment;
mod facts;
mod identity;
mod intent;
mod network;
mod pattern;
mod permit;
mod principal;
mod rules;
mod subject;

pub use access::{Access, AccessRule};
pub use caller::{Caller, EnvironmentName, Purpose, Setting};
pub use decide::{
    Candidate, Governance, Leave, Place, Refused, decide, judge_intent, may_ask, may_ask_one,
    needs_evaluation, refused, still_allowed,
};
pub use decision_id::DecisionId;
pub use denial::{CannotTell, Denial};
pub use denials::warning;
pub use environment::{Environment, Environments, Said};
pub use facts::{
    Admissions, Admitted, ArtifactKind, BlobGrounds, ConfigFacts, Fact, Facts, ManifestFacts, Needs,
};
pub use identity::{Identity, TokenScope, attribute};
pub use intent::{Action, Intent, Object};
pub use network::{Network, NetworkError};
pub use pattern::{NamePattern, PatternError, TagPattern, TextPattern};
pub use permit::{Permit, SystemPermit};
pub use principal::{Principal, PrincipalKind};
pub use rules::{
    Age, AlreadyAdmitted, ArtifactPolicy, BaseImage, Block, Cel, Check, CompiledRule, Effect,
    Enforcement, Evaluation, Evidence, Lists, Match, Mode, OnUnknown, Outcome, Pairs, Policies,
    Posture, Promotion, Question, RuleOutcome, Tags, Verdict, Waiver,
};
pub use subject::{Subject, Who};
