//! Judging: what artifact policies say of one artifact for one caller, remembered while it holds.
//!
//! An answer is reused while the policy revision, the facts of the name and the setting are the same and
//! no date in it has passed (contracts §7). Nothing else drops it, and no lock is taken for it.

mod admissions;
mod blob;
mod block;
mod bytes;
mod children;
mod facts;
mod hide;
mod kin;
mod leases;
mod push;
mod record;

pub(crate) use admissions::Admissions;
use blob::is_cut;
pub(crate) use blob::{grounds, may_read};
pub(crate) use block::{end_fills, is_cut_under, may_fetch, may_fetch_parts};
pub(crate) use hide::shown;
pub(crate) use leases::{LEASE_TTL, Leases};
pub(crate) use push::{may_pull_manifest, pushed};
pub(crate) use record::permitted;

use crate::answer::ManifestContent;
use crate::cached::{Cached, Slots, cached};
use crate::candidates::{Asking, Candidate};
use crate::plane::Core;
use jiff::Timestamp;
use kin::Kin;
use moka::sync::Cache;
use oci::{Digest, Name, Tag};
use policy::{
    Action, ConfigFacts, Evaluation, Facts, Intent, ManifestFacts, PrincipalKind, Question,
    Setting, Verdict,
};
use smol_str::SmolStr;
use std::sync::Arc;

/// Remembered answers; about 1 KiB each.
const JUDGED_MAX: usize = 1 << 15;
/// Facts of manifests and of configs; a few KiB each.
const FACTS_MAX: u64 = 20_000;

/// What was said of an artifact, and on which facts.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) evaluation: Arc<Evaluation>,
    pub(crate) facts: Facts,
}

/// What is remembered for judging.
pub(crate) struct Govern {
    pub(crate) leases: Leases,
    pub(crate) admissions: Admissions,
    kin: Kin,
    judged: Slots<Key, Remembered>,
    manifests: Cached<Digest, Arc<ManifestFacts>>,
    configs: Cached<Digest, Arc<ConfigFacts>>,
}

#[derive(Clone)]
struct Remembered {
    policies: Digest,
    facts: u64,
    judged: Arc<Judged>,
}

/// One question, as far as answers can differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    setting: Setting,
    cluster: Option<SmolStr>,
    /// All that rules can see of who asks, only where a rule looks at that.
    asker: Option<Digest>,
    action: Action,
    name: Name,
    /// The tag asked by; rules about tags judge the request.
    tag: Option<Tag>,
    digest: Digest,
}

impl Govern {
    pub(crate) fn new() -> Self {
        Self {
            leases: Leases::new(),
            admissions: Admissions::new(),
            kin: Kin::new(),
            judged: Slots::new(JUDGED_MAX),
            manifests: cached(Cache::builder().max_capacity(FACTS_MAX)),
            configs: cached(Cache::builder().max_capacity(FACTS_MAX)),
        }
    }
}

/// An artifact to be judged: one manifest of one candidate.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) candidate: &'a Candidate,
    /// A pull or a push of the manifest, under the candidate's name.
    pub(crate) intent: &'a Intent,
    pub(crate) content: &'a Arc<ManifestContent>,
}

/// What the policies say of it.
pub(crate) async fn judge(core: &Arc<Core>, asking: Asking<'_>, case: Case<'_>) -> Arc<Judged> {
    let key = key(asking, case);
    match key.as_ref().and_then(|key| remembered(core, asking, key)) {
        Some(judged) => judged,
        None => Box::pin(anew(core, asking, case, key)).await,
    }
}

/// What they say of what is being pulled: the tag that it is asked by is known to name it from now on.
pub(crate) async fn judge_pulled(
    core: &Arc<Core>,
    asking: Asking<'_>,
    case: Case<'_>,
) -> Arc<Judged> {
    let key = key(asking, case);
    // An answer that is remembered was given for this tag and digest, and has noted that.
    if let Some(judged) = key.as_ref().and_then(|key| remembered(core, asking, key)) {
        return judged;
    }
    let name = case.candidate.name();
    if let Some(tag) = case.intent.object.tag()
        && core.govern.kin.note_tag(name, tag, &case.content.digest)
    {
        core.shelf.facts.changed(name);
    }
    Box::pin(anew(core, asking, case, key)).await
}

/// An answer that still holds.
fn remembered(core: &Core, asking: Asking<'_>, key: &Key) -> Option<Arc<Judged>> {
    let held = core.govern.judged.get(key)?;
    let holds = held.policies == asking.governance.revision
        && held.facts == core.shelf.facts.of(&key.name)
        && held.judged.evaluation.valid_until().is_none_or(|until| asking.now < until);
    holds.then_some(held.judged)
}

async fn anew(
    core: &Arc<Core>,
    asking: Asking<'_>,
    case: Case<'_>,
    key: Option<Key>,
) -> Arc<Judged> {
    let Some(key) = key else { return afresh(core, asking, case).await };
    // Read before the facts are.
    let (policies, facts) = (asking.governance.revision, core.shelf.facts.of(&key.name));
    let judged = afresh(core, asking, case).await;
    // What could not be found out is asked for again.
    if judged.evaluation.verdict() != Verdict::CannotTell {
        let held = Remembered { policies, facts, judged: judged.clone() };
        core.govern.judged.put(key, held);
    }
    judged
}

fn key(asking: Asking<'_>, case: Case<'_>) -> Option<Key> {
    let Asking { governance, caller, .. } = asking;
    let (principal, intent) = (&caller.principal, case.intent);
    // To the plane itself no policy speaks: what is said to it is nobody else's answer.
    if principal.kind() == PrincipalKind::System {
        return None;
    }
    let asker =
        governance.policies.looks_at_principal(caller, intent).then(|| principal.fingerprint());
    Some(Key {
        setting: caller.setting.clone(),
        cluster: caller.cluster().map(SmolStr::new),
        asker,
        action: intent.action,
        name: intent.name.clone()?,
        tag: intent.object.tag().cloned(),
        digest: case.content.digest,
    })
}

async fn afresh(core: &Arc<Core>, asking: Asking<'_>, case: Case<'_>) -> Arc<Judged> {
    let facts = facts::gather(core, asking, case).await;
    let own = weigh(asking, case, &facts);
    // An index is refused besides only if every child is known to be refused (contracts §7).
    let evaluation = match children::all_refused(core, asking, case, &facts, &own).await {
        Some(of_children) => of_children,
        None => Arc::new(own),
    };
    Arc::new(Judged { evaluation, facts })
}

/// The rules on facts that are at hand.
fn weigh(asking: Asking<'_>, case: Case<'_>, facts: &Facts) -> Evaluation {
    let Asking { governance, caller, now } = asking;
    let repository = case.candidate.repository().document_name();
    let question = Question { caller, intent: case.intent, repository, facts, now };
    governance.policies.evaluate(&question)
}

/// Whether what policies say may be served: nothing refuses, and nothing is missing.
pub(crate) fn passes(asking: Asking<'_>, judged: &Judged) -> bool {
    let observes = asking.governance.policies.posture() == policy::Posture::Observe;
    (observes && !judged.evaluation.is_blocked()) || judged.evaluation.verdict() == Verdict::Pass
}

/// Microseconds are what the catalog keeps; a moment later is another one.
pub(crate) fn minute(at: Timestamp) -> i64 {
    at.as_second() / 60
}
