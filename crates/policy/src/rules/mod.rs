//! Artifact policies: what an artifact must be. They only refuse.
//!
//! [`ArtifactPolicy`] is one document, compiled; [`Policies`] all of a view. [`Policies::evaluate`] is
//! pure: the same question on the same facts at the same time has the same answer, on every replica
//! and in a replay.

mod block;
mod check;
mod checks;
mod effect;
mod evaluation;
mod policies;
mod waiver;

pub use block::Block;
pub use check::{Check, CompiledRule};
pub use checks::{Age, BaseImage, Cel, Evidence, Lists, Pairs, Promotion, Tags};
pub use evaluation::{Effect, Evaluation, Outcome, RuleOutcome, Verdict};
pub use policies::{
    AlreadyAdmitted, ArtifactPolicy, Enforcement, Match, Mode, OnUnknown, Policies, Posture,
    Question,
};
pub use waiver::Waiver;
