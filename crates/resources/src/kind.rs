//! The kinds of documents, and those that this version knows but cannot enforce.

use std::fmt;

/// The one version of the API.
pub const API_VERSION: &str = "lockgate.dev/v1alpha1";

/// A kind of document that is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Who may do what where.
    AccessPolicy,
    /// What an artifact must be.
    ArtifactPolicy,
    /// What nobody may have.
    Block,
    /// Where artifacts are meant to go.
    Environment,
    /// Who vouches for those who ask.
    IdentityProvider,
    /// Choices for the whole plane.
    Plane,
    /// A name clients use.
    Repository,
    /// A named key or identity whose signatures count.
    Signer,
    /// A remote registry.
    Upstream,
    /// For some artifacts, until a day, some rules do not refuse.
    Waiver,
}

/// Kinds of the design that this version cannot enforce. A document of such a kind is refused,
/// because ignoring a rule that somebody relies on is worse than not starting with it.
pub const KNOWN_BUT_UNENFORCED: [&str; 2] = ["AdvisorySource", "TrustRoot"];

/// Fields of enforced kinds that this version cannot enforce; `[]` stands for any entry of a list.
const UNENFORCED_FIELDS: [(Kind, &str); 4] = [
    (Kind::Block, "spec.match.packages"),
    (Kind::Plane, "spec.maxNewDenials"),
    (Kind::Plane, "spec.maxPolicyAge"),
    (Kind::Plane, "spec.records"),
];

/// What is said of all of them.
pub(crate) const UNENFORCED: &str = "not enforced by this version; remove it or upgrade";

impl Kind {
    /// All of them, in the order in which a revision sorts them.
    pub const ALL: [Self; 10] = [
        Self::AccessPolicy,
        Self::ArtifactPolicy,
        Self::Block,
        Self::Environment,
        Self::IdentityProvider,
        Self::Plane,
        Self::Repository,
        Self::Signer,
        Self::Upstream,
        Self::Waiver,
    ];

    /// The name as documents spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessPolicy => "AccessPolicy",
            Self::ArtifactPolicy => "ArtifactPolicy",
            Self::Block => "Block",
            Self::Environment => "Environment",
            Self::IdentityProvider => "IdentityProvider",
            Self::Plane => "Plane",
            Self::Repository => "Repository",
            Self::Signer => "Signer",
            Self::Upstream => "Upstream",
            Self::Waiver => "Waiver",
        }
    }

    /// The kind of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether a field that the schema does not have is one that a later version enforces.
pub(crate) fn is_unenforced_field(kind: Kind, path: &str) -> bool {
    let mut general = String::with_capacity(path.len());
    let mut in_index = false;
    for letter in path.chars() {
        match letter {
            '[' => in_index = true,
            ']' => in_index = false,
            _ if in_index => continue,
            _ => {}
        }
        general.push(letter);
    }
    UNENFORCED_FIELDS.iter().any(|(of, field)| *of == kind && *field == general)
}
