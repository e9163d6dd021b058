//! The parsed request: what is to be done to what.

use oci::{Digest, Name, Reference, Tag};

/// What a principal wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Read manifests and blobs.
    Pull,
    /// Write them.
    Push,
    /// List tags or names.
    List,
    /// Remove tags, manifests or blobs.
    Delete,
    /// List what refers to an artifact.
    Referrers,
    /// Change or inspect the plane itself.
    Administer,
}

impl Action {
    /// The name as documents spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "Pull",
            Self::Push => "Push",
            Self::List => "List",
            Self::Delete => "Delete",
            Self::Referrers => "Referrers",
            Self::Administer => "Administer",
        }
    }

    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Pull, Self::Push, Self::List, Self::Delete, Self::Referrers, Self::Administer];
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the action is on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// A manifest, as the client named it.
    Manifest(Reference),
    /// A blob.
    Blob(Digest),
    /// An upload session; a push is decided before one exists. What is pushed is named by the
    /// digest among the facts, once it is known.
    Upload,
    /// The tags of a name.
    Tags,
    /// What refers to a digest.
    Referrers(Digest),
    /// The names of the plane.
    Catalog,
    /// Nothing of a repository: `/v2/` itself.
    Base,
}

impl Object {
    /// The tag that a manifest is asked by.
    pub fn tag(&self) -> Option<&Tag> {
        match self {
            Self::Manifest(Reference::Tag(tag)) => Some(tag),
            _ => None,
        }
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Manifest(Reference::Tag(tag)) => write!(f, ":{tag}"),
            Self::Manifest(Reference::Digest(digest)) | Self::Blob(digest) => {
                write!(f, "@{digest}")
            }
            Self::Referrers(digest) => write!(f, "@{digest} (referrers)"),
            Self::Upload => f.write_str(" (upload)"),
            Self::Tags => f.write_str(" (tags)"),
            Self::Catalog => f.write_str(" (catalog)"),
            Self::Base => Ok(()),
        }
    }
}

/// The parsed request under its canonical name (contracts §1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Intent {
    /// What to do.
    pub action: Action,
    /// The canonical name; none for what concerns no repository.
    pub name: Option<Name>,
    /// On what.
    pub object: Object,
}
