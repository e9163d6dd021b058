//! The permit: what only a positive decision makes, and what every byte needs.

use crate::{Caller, DecisionId, Evaluation, Intent, Principal};
use oci::Digest;
use std::sync::Arc;

/// Leave to serve one answer. Not `Clone`, not constructible elsewhere; consumed by serving.
#[derive(Debug)]
#[must_use = "a permit that serves nothing was a decision for nothing"]
pub struct Permit {
    pub(crate) id: DecisionId,
    pub(crate) caller: Caller,
    pub(crate) intent: Intent,
    pub(crate) object: Option<Digest>,
    pub(crate) revision: Digest,
    pub(crate) warnings: Vec<String>,
    pub(crate) evaluation: Option<Arc<Evaluation>>,
}

impl Permit {
    /// The decision's id.
    pub fn id(&self) -> DecisionId {
        self.id
    }

    /// Who may, in which setting.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Who may.
    pub fn principal(&self) -> &Principal {
        &self.caller.principal
    }

    /// What the client is to be warned of, one line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What the artifact policies said, where any had a say.
    pub fn evaluation(&self) -> Option<&Arc<Evaluation>> {
        self.evaluation.as_ref()
    }

    /// What they asked.
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// The one digest this permit is for, also of what is pushed. None for lists, and for an upload
    /// that does not say its digest yet.
    pub fn object(&self) -> Option<&Digest> {
        self.object.as_ref()
    }

    /// The revision the decision was made in.
    pub fn revision(&self) -> &Digest {
        &self.revision
    }
}

/// Leave to write to the store in the plane's own name (revalidation, prefetch, refill). There is
/// no way from it to a response.
#[derive(Debug)]
pub struct SystemPermit {
    id: DecisionId,
}

impl SystemPermit {
    /// Background work is allowed by being background work; what it brings in is decided again
    /// when somebody asks for it.
    pub fn new() -> Self {
        Self { id: DecisionId::generate() }
    }

    /// The decision's id.
    pub fn id(&self) -> DecisionId {
        self.id
    }
}

impl Default for SystemPermit {
    fn default() -> Self {
        Self::new()
    }
}
