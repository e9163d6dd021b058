//! The last decisions, in memory, so that the id in an error text or a header can be asked about.
//!
//! Two rings without a lock: refusals, and the rest, so that the many that are permitted do not push
//! out the few that somebody will ask about. The record that outlives the process is another part.

use crate::ask::Method;
use crate::govern::Judged;
use crate::plane::Plane;
use crate::refusal::Refusal;
use crate::view::View;
use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use policy::{Caller, DecisionId, Evaluation, Facts, Intent, Permit, PrincipalKind};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Refusals remembered.
const REFUSALS_MAX: usize = 4096;
/// Other decisions remembered.
const PERMITS_MAX: usize = 4096;

/// One decision, for people and machines.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionView {
    /// The decision's id, as printed in the refusal and in `Lockgate-Decision`.
    pub id: String,
    /// When it was made.
    pub at: Timestamp,
    /// Who asked.
    pub principal: String,
    /// Tells principals apart: `<kind>:<provider>:<name>`.
    pub principal_key: String,
    /// For which environment.
    pub environment: String,
    /// What for.
    pub purpose: String,
    /// What was asked for: action and name with tag or digest.
    pub request: String,
    /// `Allow`, `Warn`, `Deny` or `CannotTell`.
    pub verdict: String,
    /// The policy that refused; empty where none did.
    pub policy: String,
    /// The rule in it.
    pub rule: String,
    /// The whole text.
    pub message: String,
    /// The resources it was made on.
    pub revision: oci::Digest,
    /// What came of every rule of every policy that matched.
    pub outcomes: Vec<OutcomeView>,
    /// What the rules were judged on; null where no policy matched.
    pub facts: serde_json::Value,
    /// Waivers used.
    pub waivers: Vec<String>,
}

/// What came of one rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeView {
    /// The `ArtifactPolicy`.
    pub policy: String,
    /// The rule in it.
    pub rule: String,
    /// `Pass`, `NotApplicable`, `Refuses`, `Unknown`, `Failed` or `Error`.
    pub outcome: String,
    /// `None`, `Refuse`, `CannotTell`, `Warn` or `Audit`.
    pub effect: String,
    /// Why.
    pub reason: String,
    /// What to do.
    pub remedy: String,
    /// Why the effect is less than a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub softened: Option<String>,
    /// A `Block` said it, and no rule of an `ArtifactPolicy`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_block: bool,
}

/// One decision as it is kept: made into words when somebody asks.
struct Kept {
    id: DecisionId,
    at: Timestamp,
    caller: Caller,
    request: Request,
    revision: oci::Digest,
    refused: Option<Refused>,
    judged: Option<Arc<Judged>>,
    evaluation: Option<Arc<Evaluation>>,
}

enum Request {
    Told(String),
    Intent(Method, Intent),
}

struct Refused {
    verdict: &'static str,
    policy: String,
    rule: String,
    message: String,
}

/// Slots that are written one after the other, round and round.
struct Ring {
    slots: Box<[ArcSwapOption<Kept>]>,
    next: AtomicUsize,
}

impl Ring {
    fn new(len: usize) -> Self {
        let slots = (0..len).map(|_| ArcSwapOption::empty()).collect();
        Self { slots, next: AtomicUsize::new(0) }
    }

    fn put(&self, kept: Kept) {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len();
        self.slots[at].store(Some(Arc::new(kept)));
    }

    fn find(&self, id: DecisionId) -> Option<Arc<Kept>> {
        self.slots.iter().find_map(|slot| slot.load_full().filter(|kept| kept.id == id))
    }
}

/// The last decisions.
pub(crate) struct Decisions {
    refusals: Ring,
    permits: Ring,
}

impl Decisions {
    pub(crate) fn new() -> Self {
        Self { refusals: Ring::new(REFUSALS_MAX), permits: Ring::new(PERMITS_MAX) }
    }

    pub(crate) fn note_permit(
        &self,
        permit: &Permit,
        judged: Option<&Arc<Judged>>,
        method: Method,
        at: Timestamp,
    ) {
        self.permits.put(Kept {
            id: permit.id(),
            at,
            caller: permit.caller().clone(),
            request: Request::Intent(method, permit.intent().clone()),
            revision: *permit.revision(),
            refused: None,
            judged: judged.cloned(),
            evaluation: permit.evaluation().cloned(),
        });
    }

    /// Notes a refusal that is a decision of ours; others are not.
    pub(crate) fn note_refusal(
        &self,
        refusal: &Refusal,
        caller: &Caller,
        request: String,
        view: &View,
        judged: Option<Arc<Judged>>,
        at: Timestamp,
    ) {
        let (id, refused, evaluation) = match refusal {
            Refusal::Denied(denial) | Refusal::LoginNeeded(denial) => {
                let refused = Refused {
                    verdict: "Deny",
                    policy: denial.policy().to_owned(),
                    rule: denial.rule().to_owned(),
                    message: denial.message(),
                };
                (denial.id(), refused, denial.evaluation().cloned())
            }
            Refusal::CannotTell(cannot) => {
                let refused = Refused {
                    verdict: "CannotTell",
                    policy: String::new(),
                    rule: String::new(),
                    message: cannot.message(),
                };
                (cannot.id(), refused, Some(cannot.evaluation().clone()))
            }
            _ => return,
        };
        self.refusals.put(Kept {
            id,
            at,
            caller: caller.clone(),
            request: Request::Told(request),
            revision: view.revision,
            refused: Some(refused),
            judged,
            evaluation,
        });
    }

    fn find(&self, id: DecisionId) -> Option<Arc<Kept>> {
        self.refusals.find(id).or_else(|| self.permits.find(id))
    }
}

impl Kept {
    fn view(&self) -> DecisionView {
        let setting = &self.caller.setting;
        let outcomes = self.evaluation.iter().flat_map(|it| it.outcomes());
        let outcomes: Vec<OutcomeView> = outcomes.map(OutcomeView::of).collect();
        let warns = outcomes.iter().any(|it| it.effect == "Warn");
        let refused = self.refused.as_ref();
        let verdict = match refused {
            Some(refused) => refused.verdict,
            None if warns => "Warn",
            None => "Allow",
        };
        DecisionView {
            id: self.id.to_string(),
            at: self.at,
            principal: self.caller.principal.to_string(),
            principal_key: self.caller.principal.key().to_owned(),
            environment: setting.environment().to_string(),
            purpose: setting.purpose().to_string(),
            request: self.request.to_string(),
            verdict: verdict.to_owned(),
            policy: refused.map(|it| it.policy.clone()).unwrap_or_default(),
            rule: refused.map(|it| it.rule.clone()).unwrap_or_default(),
            message: refused.map_or_else(|| "permitted".to_owned(), |it| it.message.clone()),
            revision: self.revision,
            outcomes,
            facts: match &self.judged {
                Some(judged) => facts_view(&judged.facts),
                None => serde_json::Value::Null,
            },
            waivers: self
                .evaluation
                .iter()
                .flat_map(|it| it.waivers())
                .map(|it| it.to_string())
                .collect(),
        }
    }
}

impl OutcomeView {
    pub(crate) fn of(outcome: &policy::RuleOutcome) -> Self {
        let said = match outcome.outcome {
            policy::Outcome::Failed { .. } => "Failed".to_owned(),
            ref other => format!("{other:?}"),
        };
        Self {
            policy: outcome.policy.to_string(),
            rule: outcome.rule.to_string(),
            outcome: said,
            effect: format!("{:?}", outcome.effect),
            reason: outcome.reason.clone(),
            remedy: outcome.remedy.clone(),
            softened: outcome.softened.clone(),
            is_block: outcome.is_block,
        }
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Told(text) => f.write_str(text),
            Self::Intent(method, intent) => {
                write!(f, "{} ", method.as_str())?;
                if let Some(name) = &intent.name {
                    write!(f, "{name}")?;
                }
                write!(f, "{}", intent.object)
            }
        }
    }
}

/// Facts as the record has them.
pub(crate) fn facts_view(facts: &Facts) -> serde_json::Value {
    use serde_json::json;
    let manifest = facts.manifest.as_ref().map(|it| {
        json!({
            "digest": it.digest.to_string(),
            "kind": it.kind.as_str(),
            "mediaType": it.media_type.to_string(),
            "artifactType": it.artifact_type,
            "sizeBytes": it.size_bytes,
            "layerCount": it.layer_count,
            "indexPlatforms": it.index_platforms,
            "annotations": it.annotations,
        })
    });
    let config = fact_view(
        &facts.config,
        |it| json!({ "platform": it.platform, "labels": it.labels, "created": it.created }),
    );
    let admissions = fact_view(&facts.admissions, |it| {
        let all = it.by_environment.iter();
        let all = all.map(|(name, at)| (name, json!({ "first": at.first, "last": at.last })));
        json!(all.collect::<std::collections::BTreeMap<_, _>>())
    });
    json!({
        "upstream": facts.upstream.as_deref(),
        "manifest": manifest,
        "config": config,
        "tags": fact_view(&facts.tags, |it| json!(it.iter().map(|t| t.as_str()).collect::<Vec<_>>())),
        "firstSeen": fact_view(&facts.first_seen, |it| json!(it)),
        "admissions": admissions,
    })
}

fn fact_view<T>(
    fact: &policy::Fact<T>,
    known: impl FnOnce(&T) -> serde_json::Value,
) -> serde_json::Value {
    use serde_json::json;
    match fact {
        policy::Fact::Known(value) => json!({ "known": known(value) }),
        policy::Fact::Unknown(why) => json!({ "unknown": why.as_ref() }),
        policy::Fact::Failed { why, .. } => json!({ "failed": why.as_ref() }),
    }
}

impl Plane {
    /// What is remembered of a decision: the last few thousand of this process. `id` as printed.
    pub fn decision(&self, id: &str) -> Option<DecisionView> {
        let id = DecisionId::parse(id)?;
        self.core.decisions.find(id).map(|kept| kept.view())
    }

    /// Whether somebody who may not administer may see a decision: their own.
    pub fn may_see_decision(&self, caller: &Caller, decision: &DecisionView) -> bool {
        caller.principal.kind() != PrincipalKind::Anonymous
            && caller.principal.key() == decision.principal_key
    }
}
