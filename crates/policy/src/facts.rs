//! What is known of an artifact when it is decided.
//!
//! A fact is known, unknown or failed, and these never mix: unknown is never taken for good unless a
//! policy says so (design, invariant 9), and what could not be asked now is asked again later.

use jiff::Timestamp;
use oci::{Digest, MediaType, Tag};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// A fact, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact<T> {
    /// It is so.
    Known(T),
    /// Everybody was asked and nobody knows.
    Unknown(Arc<str>),
    /// Somebody could not be asked.
    Failed {
        /// Who, and what happened.
        why: Arc<str>,
        /// When to ask again, if they said.
        retry_after: Option<Duration>,
    },
}

impl<T> Fact<T> {
    /// Nobody knows, for this reason.
    pub fn unknown(why: &str) -> Self {
        Self::Unknown(why.into())
    }

    /// It could not be found out now.
    pub fn failed(why: &str) -> Self {
        Self::Failed { why: why.into(), retry_after: None }
    }

    /// The value, if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            _ => None,
        }
    }
}

/// What an artifact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ArtifactKind {
    /// What a runtime unpacks and runs. Whatever has layers of an image is one, whatever else it says.
    Image,
    /// A list of images by platform.
    Index,
    /// A Helm chart.
    HelmChart,
    /// An operator or OCI bundle.
    Bundle,
    /// A plain file.
    File,
    /// What says something about another artifact: a signature, an SBOM, an attestation.
    Evidence,
    /// Anything else.
    Other,
}

impl ArtifactKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Image,
        Self::Index,
        Self::HelmChart,
        Self::Bundle,
        Self::File,
        Self::Evidence,
        Self::Other,
    ];

    /// The name as documents spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "Image",
            Self::Index => "Index",
            Self::HelmChart => "HelmChart",
            Self::Bundle => "Bundle",
            Self::File => "File",
            Self::Evidence => "Evidence",
            Self::Other => "Other",
        }
    }

    /// The kind of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What the bytes of a manifest settle. Made once per digest.
#[derive(Clone, Debug, PartialEq)]
pub struct ManifestFacts {
    /// Of the manifest.
    pub digest: Digest,
    /// What it is.
    pub kind: ArtifactKind,
    /// Of the manifest.
    pub media_type: MediaType,
    /// Its artifact type; of one without, the media type of its config.
    pub artifact_type: Option<String>,
    /// The manifest, its config and its layers; of an index, the manifest alone.
    pub size_bytes: u64,
    /// Media types of the config and the layers, each once, in order.
    pub part_types: Vec<MediaType>,
    /// How many layers.
    pub layer_count: usize,
    /// `os/architecture[/variant]` of the entries of an index.
    pub index_platforms: Vec<String>,
    /// Of an index: each entry says of itself what kind of artifact it is, and none is for a platform, as
    /// in a list of referrers.
    pub lists_referrers: bool,
    /// Of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// What the config of an image says. Made once per digest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigFacts {
    /// `os/architecture[/variant]`.
    pub platform: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When the image was made, as it says of itself.
    pub created: Option<Timestamp>,
}

/// That environments were served the digest under this name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Admissions {
    /// First and last time, by environment.
    pub by_environment: BTreeMap<String, Admitted>,
    /// Since when a policy's refusal is softened because the environment runs it already, by
    /// environment and policy.
    pub softened_since: BTreeMap<(String, String), Timestamp>,
}

/// The first and the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Served first.
    pub first: Timestamp,
    /// Served last.
    pub last: Timestamp,
}

/// What is known of the target when it is decided. What no matching rule needs is not gathered, and
/// says so.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The content was, or would be, fetched with this credential scope; `None`: public.
    pub private_to: Option<String>,
    /// The digest the target resolved to; of a push, what is to be taken. None for lists, and for
    /// uploads that do not say it yet.
    pub digest: Option<Digest>,
    /// Of a blob: why it may be had although it is no manifest.
    pub grounds: Option<BlobGrounds>,
    /// The `Upstream` it comes from; none for what is hosted here.
    pub upstream: Option<Arc<str>>,
    /// What the manifest says.
    pub manifest: Option<Arc<ManifestFacts>>,
    /// What its config says.
    pub config: Fact<Arc<ConfigFacts>>,
    /// Tags known to name it; of a child, also those of the permitted indexes that list it.
    pub tags: Fact<Arc<[Tag]>>,
    /// Those, and the tags of every index that lists it, also of refused ones: for blocks.
    pub any_tags: Fact<Arc<[Tag]>>,
    /// The indexes of its name that are known to list it.
    pub parents: Fact<Arc<[Digest]>>,
    /// When this name had it first.
    pub first_seen: Fact<Timestamp>,
    /// Where it was admitted.
    pub admissions: Fact<Arc<Admissions>>,
}

impl Default for Facts {
    fn default() -> Self {
        static NOT_ASKED: LazyLock<Arc<str>> = LazyLock::new(|| "no rule asked for it".into());
        Self {
            private_to: None,
            digest: None,
            grounds: None,
            upstream: None,
            manifest: None,
            config: Fact::Unknown(NOT_ASKED.clone()),
            tags: Fact::Unknown(NOT_ASKED.clone()),
            any_tags: Fact::Unknown(NOT_ASKED.clone()),
            parents: Fact::Unknown(NOT_ASKED.clone()),
            first_seen: Fact::Unknown(NOT_ASKED.clone()),
            admissions: Fact::Unknown(NOT_ASKED.clone()),
        }
    }
}

/// Why a blob may be had where artifact policies speak (contracts §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobGrounds {
    /// The principal was permitted a manifest that reaches it.
    Lease {
        /// The manifest.
        manifest: Digest,
    },
    /// A manifest that reaches it was decided afresh, and permitted.
    Decided {
        /// The manifest.
        manifest: Digest,
    },
    /// The principal pushed it.
    OwnPush,
}

impl BlobGrounds {
    /// The manifest that speaks for it.
    pub fn manifest(self) -> Option<Digest> {
        match self {
            Self::Lease { manifest } | Self::Decided { manifest } => Some(manifest),
            Self::OwnPush => None,
        }
    }
}

/// Which facts the rules that match a request need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The image's config.
    pub config: bool,
    /// The tags known to name it.
    pub tags: bool,
    /// The indexes known to list it.
    pub parents: bool,
    /// When it was first seen.
    pub first_seen: bool,
    /// Where it was admitted.
    pub admissions: bool,
}

impl Needs {
    /// What either needs.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            config: self.config | other.config,
            tags: self.tags | other.tags,
            parents: self.parents | other.parents,
            first_seen: self.first_seen | other.first_seen,
            admissions: self.admissions | other.admissions,
        }
    }
}
