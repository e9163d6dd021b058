//! The last refusals, in memory, so that the id in an error text can be asked about.
//!
//! The full record of decisions comes with the policy engine; until then a bounded number of
//! refusals of this process is what `lockgate why` knows.

use crate::plane::Plane;
use jiff::Timestamp;
use parking_lot::Mutex;
use policy::{DecisionId, Denial};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Refusals remembered.
const DENIALS_MAX: usize = 4096;

/// One refusal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionView {
    /// The decision's id, as printed in the refusal.
    pub id: String,
    /// When it was made.
    pub at: Timestamp,
    /// Who asked.
    pub principal: String,
    /// What was asked for: action and name with tag or digest.
    pub request: String,
    /// The policy that refused.
    pub policy: String,
    /// The rule in it.
    pub rule: String,
    /// The whole text.
    pub message: String,
    /// The resources it was made on.
    pub revision: oci::Digest,
}

/// The last refusals.
#[derive(Debug, Default)]
pub(crate) struct Denials(Mutex<VecDeque<(DecisionId, DecisionView)>>);

impl Denials {
    pub(crate) fn note(
        &self,
        denial: &Denial,
        principal: String,
        request: String,
        revision: oci::Digest,
        at: Timestamp,
    ) {
        let view = DecisionView {
            id: denial.id().to_string(),
            at,
            principal,
            request,
            policy: denial.policy().to_owned(),
            rule: denial.rule().to_owned(),
            message: denial.message(),
            revision,
        };
        let mut held = self.0.lock();
        if held.len() >= DENIALS_MAX {
            held.pop_front();
        }
        held.push_back((denial.id(), view));
    }
}

impl Plane {
    /// What is remembered of a refusal: the last few thousand of this process. `id` as printed.
    pub fn decision(&self, id: &str) -> Option<DecisionView> {
        let id = DecisionId::parse(id)?;
        let held = self.core.denials.0.lock();
        held.iter().rev().find(|(held, _)| *held == id).map(|(_, view)| view.clone())
    }
}
