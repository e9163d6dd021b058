//! A set of documents, and the revision that names its content.

use crate::document::{Document, Spec};
use crate::kind::Kind;
use crate::v1alpha1::{
    AccessPolicySpec, ArtifactPolicySpec, BlockSpec, EnvironmentSpec, IdentityProviderSpec,
    PlaneSpec, RepositorySpec, SignerSpec, UpstreamSpec, WaiverSpec,
};
use oci::Digest;
use serde_json::Value;
use std::fmt::Write;

/// Documents that are each right by themselves, with no name twice, sorted by kind and name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Set {
    documents: Vec<Document>,
}

impl Set {
    /// Sorts; the caller made sure that no kind and name stand there twice.
    pub(crate) fn new(mut documents: Vec<Document>) -> Self {
        documents.sort_by(|a, b| (a.kind(), a.name()).cmp(&(b.kind(), b.name())));
        Self { documents }
    }

    /// All documents, sorted by kind and name.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// The document of this kind and name.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Document> {
        self.documents.iter().find(|document| document.kind() == kind && document.name() == name)
    }

    /// The remote registries, by name.
    pub fn upstreams(&self) -> impl Iterator<Item = (&Document, &UpstreamSpec)> {
        self.documents.iter().filter_map(|document| match &document.spec {
            Spec::Upstream(spec) => Some((document, spec.as_ref())),
            _ => None,
        })
    }

    /// The names clients use.
    pub fn repositories(&self) -> impl Iterator<Item = (&Document, &RepositorySpec)> {
        self.documents.iter().filter_map(|document| match &document.spec {
            Spec::Repository(spec) => Some((document, spec.as_ref())),
            _ => None,
        })
    }

    /// Where artifacts are meant to go.
    pub fn environments(&self) -> impl Iterator<Item = (&Document, &EnvironmentSpec)> {
        self.documents.iter().filter_map(|document| match &document.spec {
            Spec::Environment(spec) => Some((document, spec)),
            _ => None,
        })
    }

    /// Who vouches for those who ask.
    pub fn identity_providers(&self) -> impl Iterator<Item = (&Document, &IdentityProviderSpec)> {
        self.documents.iter().filter_map(|document| match &document.spec {
            Spec::IdentityProvider(spec) => Some((document, spec.as_ref())),
            _ => None,
        })
    }

    /// What artifacts must be.
    pub fn artifact_policies(&self) -> impl Iterator<Item = (&Document, &ArtifactPolicySpec)> {
        self.documents.iter().filter_map(|document| match &document.spec {
            Spec::ArtifactPolicy(spec) => Some((document, spec.as_ref())),
            _ => None,
        })
    }

    /// What nobody may have.
    pub fn blocks(&self) -> impl Iterator<Item = (&Document, &BlockSpec)> {
        self.documents.iter().filter_map(|document| match &document.spec {
            Spec::Block(spec) => Some((document, spec)),
            _ => None,
        })
    }

    /// What is let pass until a day.
    pub fn waivers(&self) -> impl Iterator<Item = (&Document, &WaiverSpec)> {
        self.documents.iter().filter_map(|document| match &document.spec {
            Spec::Waiver(spec) => Some((document, spec)),
            _ => None,
        })
    }

    /// Whose signatures count.
    pub fn signers(&self) -> impl Iterator<Item = (&Document, &SignerSpec)> {
        self.documents.iter().filter_map(|document| match &document.spec {
            Spec::Signer(spec) => Some((document, spec.as_ref())),
            _ => None,
        })
    }

    /// What is allowed; none means the built-in access.
    pub fn access_policies(&self) -> impl Iterator<Item = (&Document, &AccessPolicySpec)> {
        self.documents.iter().filter_map(|document| match &document.spec {
            Spec::AccessPolicy(spec) => Some((document, spec)),
            _ => None,
        })
    }

    /// The choices for the whole plane, if somebody made them.
    pub fn plane(&self) -> Option<&PlaneSpec> {
        self.documents.iter().find_map(|document| match &document.spec {
            Spec::Plane(spec) => Some(spec.as_ref()),
            _ => None,
        })
    }

    /// The digest of the content (contracts §6): SHA-256 over canonical JSON, keys sorted,
    /// defaults not filled in, documents by kind, namespace and name, without what has no meaning
    /// to us. Two sets that say the same in other files, orders or layouts have the same one.
    pub fn revision(&self) -> Digest {
        Digest::sha256(self.canonical_json().as_bytes())
    }

    /// The text that [`Set::revision`] is taken over.
    pub fn canonical_json(&self) -> String {
        let mut text = String::from("[");
        for (index, document) in self.documents.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            write_canonical(&document.to_json(), &mut text);
        }
        text.push(']');
        text
    }

    /// The documents as YAML, to be kept and read again: the revision stays the same.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        for document in &self.documents {
            if !text.is_empty() {
                text.push_str("---\n");
            }
            let yaml = serde_saphyr::to_string(&document.to_json());
            text.push_str(&yaml.expect("plain JSON can be written as YAML"));
        }
        text
    }
}

/// JSON with sorted keys and no blanks (as RFC 8785 for what we hold: texts, whole numbers, lists).
fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            text.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                // Writing to a String cannot fail.
                let _ = write!(text, "{comma}{}:", Value::from(key.as_str()));
                write_canonical(&map[key], text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        plain => {
            let _ = write!(text, "{plain}");
        }
    }
}
