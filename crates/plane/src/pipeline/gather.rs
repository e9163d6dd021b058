//! Stage 4, gather: what is known of the target, and what the policies say of it.
//!
//! What a rule needs is fetched only where a rule that could match needs it, and an answer that still
//! holds is taken as it is ([`crate::govern`]).

use super::resolve::{Resolution, Target};
use crate::candidates::{Asking, Candidate};
use crate::govern::{self, Case, Judged};
use crate::plane::Core;
use crate::refusal::Refusal;
use oci::ErrorCode;
use policy::{Action, Evaluation, Facts, Object};
use std::sync::Arc;

/// What a decision is made on.
pub(super) struct Gathered {
    pub(super) facts: Facts,
    pub(super) judged: Option<Arc<Judged>>,
    /// Of a push: what can be said before its bytes are here. They are judged when they are.
    ahead: Option<Arc<Evaluation>>,
}

impl Gathered {
    pub(super) fn evaluation(&self) -> Option<&Arc<Evaluation>> {
        self.judged.as_ref().map(|judged| &judged.evaluation).or(self.ahead.as_ref())
    }
}

pub(super) async fn gather(
    core: &Arc<Core>,
    asking: Asking<'_>,
    found: &Resolution,
    is_head: bool,
) -> Result<Gathered, Refusal> {
    let mut gathered = Gathered { facts: plain(&found.target), judged: None, ahead: None };
    if !policy::needs_evaluation(asking.governance, asking.caller, &found.intent) {
        return Ok(gathered);
    }
    match (&found.target, &found.candidate) {
        (Target::Manifest { content, .. }, Some(candidate)) => {
            let case = Case { candidate, intent: &found.intent, content };
            gathered.judged = Some(govern::judge_pulled(core, asking, case).await);
        }
        (Target::Blob { digest, .. }, Some(candidate)) => {
            // Of several members that may have it, this one was not looked at by itself yet.
            let Asking { governance, caller, now } = asking;
            policy::judge_intent(governance, caller, &found.intent, candidate.place(), now)?;
            let grounds = Box::pin(govern::grounds(core, asking, candidate, digest)).await;
            gathered.facts.grounds = match grounds {
                Ok(Some(grounds)) => Some(grounds),
                refused if is_head && may_push(asking, candidate) => {
                    return Err(to_be_sent(candidate, refused.err()));
                }
                refused => refused?,
            };
        }
        (Target::Write { .. }, _) => gathered.ahead = Some(Arc::new(Evaluation::default())),
        _ => {}
    }
    Ok(gathered)
}

/// Whoever pushes asks by HEAD which blobs they need not send. One that they may not read is not there:
/// they send it, and nothing is told of it.
fn may_push(asking: Asking<'_>, candidate: &Candidate) -> bool {
    matches!(candidate, Candidate::Hosted(_))
        && candidate.may(asking, Action::Push, &Object::Upload).is_ok()
}

fn to_be_sent(candidate: &Candidate, refused: Option<Refusal>) -> Refusal {
    match refused {
        Some(refusal @ Refusal::Indeterminate { .. }) => refusal,
        _ => Refusal::Absent {
            code: ErrorCode::BlobUnknown,
            reason: format!("{} has no such blob for you: send it", candidate.name()),
        },
    }
}

/// What needs no looking.
fn plain(target: &Target) -> Facts {
    let (private_to, digest) = match target {
        Target::Manifest { content, private_to, .. } => {
            (private_to.as_deref(), Some(content.digest))
        }
        Target::Blob { digest, private_to, .. } => (private_to.as_deref(), Some(*digest)),
        Target::Write { write, .. } => (None, write.digest()),
        Target::Base | Target::Tags { .. } | Target::Referrers { .. } | Target::Catalog { .. } => {
            (None, None)
        }
    };
    Facts { private_to: private_to.map(str::to_owned), digest, ..Facts::default() }
}
