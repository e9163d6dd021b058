//! What is recorded: the words of callers. How it becomes a line is the business of [`crate::line`].

use crate::Detail;
use jiff::Timestamp;
use oci::{Digest, Name};
use policy::{Action, DecisionId, EnvironmentName, PrincipalKind, Purpose};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// Permitted.
    Allow,
    /// Permitted, and the client is told of something.
    Warn,
    /// Refused. Served all the same where it was not [enforced](Decision::enforced).
    Deny,
    /// A fact was missing, and the rule says that this does not pass.
    CannotTell,
}

impl Verdict {
    /// Whether the client got no for an answer, where it was enforced: somebody will ask why.
    pub fn refuses(self) -> bool {
        matches!(self, Self::Deny | Self::CannotTell)
    }
}

/// One decision. Nothing in it may be a secret. Texts longer than [`Decision::MAX_TEXT_BYTES`] are cut.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Its id.
    pub id: DecisionId,
    /// When it was made.
    pub at: Timestamp,
    /// What vouches for who asked.
    pub principal_kind: PrincipalKind,
    /// Who asked: the principal's key.
    pub principal: Arc<str>,
    /// For which environment.
    pub environment: EnvironmentName,
    /// What for.
    pub purpose: Purpose,
    /// From which cluster, where that is known.
    pub cluster: Option<Arc<str>>,
    /// To do what.
    pub action: Action,
    /// To which canonical name; none for what concerns no repository.
    pub name: Option<Name>,
    /// The tag or digest as it was asked for; empty where neither was.
    pub reference: Arc<str>,
    /// What that was, if it was found.
    pub digest: Option<Digest>,
    /// What came of it.
    pub verdict: Verdict,
    /// The policy that refused; empty where none did.
    pub policy: Arc<str>,
    /// The rule in it.
    pub rule: Arc<str>,
    /// What the client was told; empty where it was simply permitted. The decision's own id in it is
    /// kept as `{id}`, so that repeats are seen to be repeats.
    pub message: String,
    /// The resources it was made on.
    pub revision: Digest,
    /// Whether a refusal was carried out: not where the plane only observes.
    pub enforced: bool,
    /// Waivers that made a difference.
    pub waivers: Vec<Arc<str>>,
    /// The break-glass under which it was made.
    pub break_glass: Option<Arc<str>>,
    /// What it was made from; none where no policy looked.
    pub detail: Option<Arc<Detail>>,
}

impl Decision {
    /// Longest text of a decision, in bytes.
    pub const MAX_TEXT_BYTES: usize = 2048;
    /// How many waivers are told.
    pub const MAX_WAIVERS: usize = 64;

    /// Whether another one says the same of the same at another time.
    pub(crate) fn repeats(&self, other: &Self) -> bool {
        let same_detail = match (&self.detail, &other.detail) {
            (Some(one), Some(two)) => Arc::ptr_eq(one, two) || one.is_same(two),
            (None, None) => true,
            _ => false,
        };
        self.key() == other.key() && same_detail
    }

    /// All that makes two decisions the same, but for what they were made from.
    pub(crate) fn key(&self) -> impl std::hash::Hash + Eq {
        (
            (self.principal_kind, &self.principal, &self.environment, self.purpose, &self.cluster),
            (self.action, &self.name, &self.reference, self.digest, self.verdict, self.revision),
            (&self.policy, &self.rule, &self.message, self.enforced),
            (&self.waivers, &self.break_glass),
        )
    }
}

/// Something that happened to the plane and explains decisions.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: Happened,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Happened {
    /// A set of resources came into force.
    Revision {
        /// Its digest.
        revision: Digest,
        /// Who or what brought it, with commit and author where they are known. No secrets.
        by: Arc<str>,
    },
    /// A mark of the caller's: break-glass begins or ends, a freeze, an approval.
    Mark {
        /// What kind of mark, in one word: `BreakGlassBegins`.
        what: Arc<str>,
        /// What there is to know of it: a JSON object. No secrets.
        detail: serde_json::Value,
    },
}

/// What [`Recorder::note`](crate::Recorder::note) takes.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A decision was made.
    Decision(Box<Decision>),
    /// Something happened.
    Event(Box<Event>),
}

impl Entry {
    /// When it was.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Decision(decision) => decision.at,
            Self::Event(event) => event.at,
        }
    }
}

impl From<Decision> for Entry {
    fn from(decision: Decision) -> Self {
        Self::Decision(Box::new(decision))
    }
}

impl From<Event> for Entry {
    fn from(event: Event) -> Self {
        Self::Event(Box::new(event))
    }
}
