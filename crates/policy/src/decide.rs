//! The decision itself: two pure functions, one before any upstream is asked and one before the
//! first byte.

use crate::Question;
use crate::rules::{Effect, Evaluation, Posture, Verdict};
use crate::{
    Access, Action, BlobGrounds, Caller, CannotTell, DecisionId, Denial, Environments, Facts,
    Intent, Object, Permit, Policies, PrincipalKind,
};
use jiff::Timestamp;
use oci::Digest;
use std::sync::Arc;

/// Everything of a view that decides.
#[derive(Clone, Debug)]
pub struct Governance {
    /// Who may do what where.
    pub access: Access,
    /// Where things are meant to go.
    pub environments: Environments,
    /// What artifacts must be.
    pub policies: Policies,
    /// The digest of the documents.
    pub revision: Digest,
}

/// A negative decision.
#[derive(Clone, Debug)]
pub enum Refused {
    /// No.
    Denied(Box<Denial>),
    /// Not now: what a rule needs could not be found out.
    CannotTell(Box<CannotTell>),
}

impl From<Denial> for Refused {
    fn from(denial: Denial) -> Self {
        Self::Denied(Box::new(denial))
    }
}

/// Proof that access was looked at before an upstream is asked (contracts §1). Resolution takes
/// it, so that no upstream learns of a request that nobody may make.
#[derive(Debug)]
pub struct Leave(());

/// One thing that may be asked for: a member of a virtual repository, or the only one there is.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// What is asked, under the candidate's canonical name.
    pub intent: &'a Intent,
    /// The credential scope the upstream would be asked with; `None`: public.
    pub private_to: Option<&'a str>,
}

/// Whether this principal may ask this of any candidate (contracts §1). Costs no I/O and says
/// nothing about existence; whether the one that has it may be used is decided afterwards.
///
/// Fails with the denial of the first candidate. None at all is nobody's, and refused.
pub fn may_ask(
    access: &Access,
    caller: &Caller,
    candidates: &[Candidate<'_>],
) -> Result<Leave, Denial> {
    let mut first = None;
    for candidate in candidates {
        match check(access, caller, candidate.intent, candidate.private_to) {
            Ok(()) => return Ok(Leave(())),
            Err(denial) => first = first.or(Some(denial)),
        }
    }
    Err(first.unwrap_or_else(Denial::no_candidate))
}

/// [`may_ask`] where there is one candidate.
pub fn may_ask_one(
    access: &Access,
    caller: &Caller,
    intent: &Intent,
    private_to: Option<&str>,
) -> Result<Leave, Denial> {
    may_ask(access, caller, &[Candidate { intent, private_to }])
}

/// What can be said of a request before any upstream is asked: the rules of artifact policies that need
/// the intent alone (contracts §1).
///
/// # Errors
/// The refusal.
pub fn judge_intent(
    governance: &Governance,
    caller: &Caller,
    intent: &Intent,
    place: Place<'_>,
    now: Timestamp,
) -> Result<(), Denial> {
    if governance.policies.is_empty() || !is_of_artifact(intent) || is_own_push(caller, intent) {
        return Ok(());
    }
    let facts = Facts { upstream: place.upstream.cloned(), ..Facts::default() };
    let question = Question { caller, intent, repository: place.repository, facts: &facts, now };
    let Some(evaluation) = governance.policies.evaluate_intent(&question) else { return Ok(()) };
    let is_enforced = governance.policies.posture() == Posture::Enforce;
    match evaluation.verdict() {
        Verdict::Refuse if is_enforced || evaluation.is_blocked() => {
            Err(Denial::by_policy(caller, intent, &Arc::new(evaluation)))
        }
        _ => Ok(()),
    }
}

/// Where a candidate is.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The name of its `Repository`.
    pub repository: &'a str,
    /// The name of its `Upstream`; none: hosted here.
    pub upstream: Option<&'a Arc<str>>,
}

/// Decides. Deny wins, and all reasons are collected.
///
/// `evaluation`: what the artifact policies say of exactly this question, where they could say
/// anything ([`Policies::may_concern`]). Without it, and for a blob without grounds, the answer is no:
/// a path on which nobody thought of policies is closed.
///
/// # Errors
/// The refusal, with every reason.
pub fn decide(
    governance: &Governance,
    caller: &Caller,
    intent: &Intent,
    facts: &Facts,
    evaluation: Option<&Arc<Evaluation>>,
) -> Result<Permit, Refused> {
    check(&governance.access, caller, intent, facts.private_to.as_deref())?;
    let mut warnings = Vec::new();
    match (&intent.object, evaluation) {
        (Object::Blob(_), _) => {
            not_cut(governance, intent, facts)?;
            if facts.grounds.is_none() && needs_grounds(governance, caller, intent) {
                return Err(Denial::blob_alone(intent).into());
            }
        }
        (_, Some(evaluation)) => warnings = judged(governance, caller, intent, evaluation)?,
        (_, None) if needs_evaluation(governance, caller, intent) => {
            return Err(Denial::undecided(intent).into());
        }
        (_, None) => {}
    }
    Ok(Permit {
        id: DecisionId::generate(),
        caller: caller.clone(),
        intent: intent.clone(),
        object: facts.digest,
        revision: governance.revision,
        warnings,
        evaluation: evaluation.cloned(),
    })
}

/// Whether artifact policies have to be asked before this is permitted. Lists carry no artifact; what
/// they name is decided when it is asked for. The plane's own work brings things in, and whoever asks
/// for them is decided then.
pub fn needs_evaluation(governance: &Governance, caller: &Caller, intent: &Intent) -> bool {
    let policies = &governance.policies;
    is_of_artifact(intent)
        && !is_own_push(caller, intent)
        && (policies.may_concern(caller, intent) || policies.blocks_may_concern(intent))
}

/// The plane's own pushes (a copy, a scenario) bring in what nobody gets who is not judged.
fn is_own_push(caller: &Caller, intent: &Intent) -> bool {
    caller.principal.kind() == PrincipalKind::System && intent.action == Action::Push
}

/// Whether a blob is served only for a manifest that reaches it. Where nothing but blocks could speak, one of
/// which no manifest is known is not blocked.
fn needs_grounds(governance: &Governance, caller: &Caller, intent: &Intent) -> bool {
    is_of_artifact(intent) && governance.policies.may_concern(caller, intent)
}

/// That no block is about bytes, as far as it needs no asking.
fn not_cut(governance: &Governance, intent: &Intent, facts: &Facts) -> Result<(), Denial> {
    let digests: Vec<Digest> =
        facts.digest.into_iter().chain(facts.grounds.and_then(BlobGrounds::manifest)).collect();
    match governance.policies.cut_by(intent.name.as_ref(), &digests) {
        Some(block) => Err(Denial::blocked(block)),
        None => Ok(()),
    }
}

/// Whether it is about an artifact.
fn is_of_artifact(intent: &Intent) -> bool {
    match (intent.action, &intent.object) {
        (Action::Pull, Object::Manifest(_) | Object::Blob(_)) => true,
        (Action::Push, Object::Manifest(_)) => true,
        // What is listed belongs to its subject.
        (Action::Referrers, Object::Referrers(_)) => false,
        _ => false,
    }
}

/// The refusal of an evaluation whose verdict is not to pass.
pub fn refused(caller: &Caller, intent: &Intent, evaluation: &Arc<Evaluation>) -> Refused {
    match evaluation.verdict() {
        Verdict::CannotTell => Refused::CannotTell(Box::new(CannotTell::new(evaluation))),
        _ => Denial::by_policy(caller, intent, evaluation).into(),
    }
}

/// The warnings, or the refusal.
fn judged(
    governance: &Governance,
    caller: &Caller,
    intent: &Intent,
    evaluation: &Arc<Evaluation>,
) -> Result<Vec<String>, Refused> {
    let observes = governance.policies.posture() == Posture::Observe;
    match evaluation.verdict() {
        Verdict::Refuse | Verdict::CannotTell if !observes || evaluation.is_blocked() => {
            Err(refused(caller, intent, evaluation))
        }
        _ if !evaluation.warns() => Ok(Vec::new()),
        _ => Ok(evaluation.with_effect(Effect::Warn).map(crate::denials::warning).collect()),
    }
}

/// Whether a body that is being sent may go on after the view changed (contracts §3).
pub fn still_allowed(
    governance: &Governance,
    caller: &Caller,
    intent: &Intent,
    facts: &Facts,
) -> bool {
    check(&governance.access, caller, intent, facts.private_to.as_deref()).is_ok()
        && not_cut(governance, intent, facts).is_ok()
}

fn check(
    access: &Access,
    caller: &Caller,
    intent: &Intent,
    private_to: Option<&str>,
) -> Result<(), Denial> {
    if matches!(intent.object, Object::Base) || access.allows(caller, intent, private_to.is_some())
    {
        return Ok(());
    }
    if private_to.is_some() && access.allows(caller, intent, false) {
        return Err(Denial::private_content(intent));
    }
    Err(Denial::not_allowed(caller, intent, access))
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
