//! The permit: what only a positive decision makes, and what every byte needs.

use crate::{DecisionId, Intent, Principal};
use oci::Digest;

/// Leave to serve one answer. Not `Clone`, not constructible elsewhere; consumed by serving.
#[derive(Debug)]
#[must_use = "a permit that serves nothing was a decision for nothing"]
pub struct Permit {
    pub(crate) id: DecisionId,
    pub(crate) principal: Principal,
    pub(crate) intent: Intent,
    pub(crate) object: Option<Digest>,
    pub(crate) revision: Digest,
}

impl Permit {
    /// The decision's id.
    pub fn id(&self) -> DecisionId {
        self.id
    }

    /// Who may.
    pub fn principal(&self) -> &Principal {
        &self.principal
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
