//! One document: its head, its spec and what it refers to.

use crate::kind::{self, API_VERSION, KNOWN_BUT_UNENFORCED, Kind, UNENFORCED};
use crate::nearest::nearest;
use crate::text_start::TextStart;
use crate::tree::{Node, Value};
use crate::v1alpha1::metadata::WRITTEN_BY_SERVER;
use crate::v1alpha1::{
    AccessPolicySpec, ArtifactPolicySpec, BlockSpec, EnvironmentSpec, IdentityProviderSpec,
    Metadata, PlaneSpec, RepositorySpec, SignerSpec, UpstreamSpec, WaiverSpec,
};
use crate::validate::{convert, validate};
use crate::{Place, Problem, rules, schema};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What a document says, by kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// Who may do what where.
    AccessPolicy(AccessPolicySpec),
    /// What an artifact must be.
    ArtifactPolicy(Box<ArtifactPolicySpec>),
    /// What nobody may have.
    Block(BlockSpec),
    /// Where artifacts are meant to go.
    Environment(EnvironmentSpec),
    /// Who vouches for those who ask.
    IdentityProvider(Box<IdentityProviderSpec>),
    /// Choices for the whole plane.
    Plane(Box<PlaneSpec>),
    /// A name clients use.
    Repository(Box<RepositorySpec>),
    /// A named key or identity whose signatures count.
    Signer(Box<SignerSpec>),
    /// A remote registry.
    Upstream(Box<UpstreamSpec>),
    /// For some artifacts, until a day, some rules do not refuse.
    Waiver(WaiverSpec),
}

/// A document that is right by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its name and labels.
    pub metadata: Metadata,
    /// What it says.
    pub spec: Spec,
    /// Where it begins.
    pub place: Place,
    /// Places of fields that are judged with other documents at hand, by path.
    pub(crate) field_places: BTreeMap<String, Place>,
    /// How the text of a field was written, by path; only where places inside are known.
    pub(crate) text_starts: BTreeMap<String, TextStart>,
}

impl Document {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match &self.spec {
            Spec::AccessPolicy(_) => Kind::AccessPolicy,
            Spec::ArtifactPolicy(_) => Kind::ArtifactPolicy,
            Spec::Block(_) => Kind::Block,
            Spec::Environment(_) => Kind::Environment,
            Spec::IdentityProvider(_) => Kind::IdentityProvider,
            Spec::Signer(_) => Kind::Signer,
            Spec::Plane(_) => Kind::Plane,
            Spec::Repository(_) => Kind::Repository,
            Spec::Upstream(_) => Kind::Upstream,
            Spec::Waiver(_) => Kind::Waiver,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_str()
    }

    /// As JSON, as little as means the same: no labels, annotations or status.
    pub fn to_json(&self) -> Json {
        let spec = match &self.spec {
            Spec::AccessPolicy(spec) => serde_json::to_value(spec),
            Spec::ArtifactPolicy(spec) => serde_json::to_value(spec),
            Spec::Block(spec) => serde_json::to_value(spec),
            Spec::Environment(spec) => serde_json::to_value(spec),
            Spec::IdentityProvider(spec) => serde_json::to_value(spec),
            Spec::Signer(spec) => serde_json::to_value(spec),
            Spec::Plane(spec) => serde_json::to_value(spec),
            Spec::Repository(spec) => serde_json::to_value(spec),
            Spec::Upstream(spec) => serde_json::to_value(spec),
            Spec::Waiver(spec) => serde_json::to_value(spec),
        };
        let mut metadata = json!({ "name": self.name() });
        if let Some(namespace) = &self.metadata.namespace {
            metadata["namespace"] = namespace.as_str().into();
        }
        json!({
            "apiVersion": API_VERSION,
            "kind": self.kind().as_str(),
            "metadata": metadata,
            "spec": spec.expect("wire types have text keys only"),
        })
    }

    /// The place of a field, or of the document.
    pub fn place_of(&self, path: &str) -> &Place {
        self.field_places.get(path).unwrap_or(&self.place)
    }

    /// A place inside the text of a field: `line` and `column` count from 1 within the text, in
    /// characters. Exact for texts on one line without escapes and for blocks (`|`); else the field's own
    /// place.
    pub fn place_in_text(&self, path: &str, line: u32, column: u32) -> Place {
        let field = self.place_of(path);
        match self.text_starts.get(path) {
            Some(start) => start.place_of(field, line, column),
            None => field.clone(),
        }
    }
}

static SCHEMAS: LazyLock<BTreeMap<&'static str, Json>> = LazyLock::new(schema::json_schemas);

/// Reads one document of a text with these lines, or says everything that is wrong with it.
pub(crate) fn read(mut node: Node, lines: &[&str]) -> Result<Document, Vec<Problem>> {
    let kind = read_head(&node).map_err(|problem| vec![problem])?;
    node.remove("status");
    if let Value::Map(entries) = &mut node.value
        && let Some(metadata) = entries.iter_mut().find(|entry| entry.key == "metadata")
    {
        WRITTEN_BY_SERVER.iter().for_each(|name| metadata.value.remove(name));
    }
    let unenforced = |path: &str, value: Option<&str>| match value {
        None if kind::is_unenforced_field(kind, path) => Some(UNENFORCED.to_owned()),
        _ => None,
    };
    let mut problems = validate(&node, &SCHEMAS[kind.as_str()], Some(&unenforced));
    if problems.is_empty() {
        match convert_document(&node, kind, lines) {
            Ok(document) => {
                rules::check(&document, &node, &mut problems);
                if problems.is_empty() {
                    return Ok(document);
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    Err(problems)
}

/// The version and the kind come first: without them nothing else can be judged.
fn read_head(node: &Node) -> Result<Kind, Problem> {
    let at = |field: &str, message: String| {
        Problem::new(node.place_of(field).clone(), field.to_owned(), message)
    };
    if !matches!(node.value, Value::Map(_)) {
        let message = "a document is a map with apiVersion, kind, metadata and spec";
        return Err(at("", message.to_owned()));
    }
    match node.text_of("apiVersion") {
        Some(API_VERSION) => {}
        Some(other) => {
            let other: String = other.chars().take(64).collect();
            return Err(at("apiVersion", format!("{other:?} is not {API_VERSION}")));
        }
        None => return Err(at("apiVersion", format!("required; write {API_VERSION}"))),
    }
    let Some(name) = node.text_of("kind") else {
        return Err(at("kind", format!("required; one of: {}", kind_names().join(", "))));
    };
    if KNOWN_BUT_UNENFORCED.contains(&name) {
        return Err(at("kind", format!("{name} is {UNENFORCED}")));
    }
    Kind::parse(name).ok_or_else(|| {
        let near = nearest(name, kind_names().into_iter().chain(KNOWN_BUT_UNENFORCED));
        let shown: String = name.chars().take(64).collect();
        at("kind", format!("{shown:?} is not one of: {}", kind_names().join(", ")))
            .with_nearest(near.map(str::to_owned))
    })
}

fn kind_names() -> Vec<&'static str> {
    Kind::ALL.into_iter().map(Kind::as_str).collect()
}

fn convert_document(node: &Node, kind: Kind, lines: &[&str]) -> Result<Document, Problem> {
    let missing = || Problem::new(node.place.clone(), "", "metadata and spec are required");
    let metadata = &node.entry("metadata").ok_or_else(missing)?.value;
    let spec = &node.entry("spec").ok_or_else(missing)?.value;
    let mut field_places = BTreeMap::new();
    let mut text_starts = BTreeMap::new();
    collect_places(&node.value, "", &mut field_places);
    if matches!(
        kind,
        Kind::ArtifactPolicy
            | Kind::Block
            | Kind::IdentityProvider
            | Kind::AccessPolicy
            | Kind::Environment
            | Kind::Waiver
    ) {
        collect_all(spec, "spec", lines, &mut field_places, &mut text_starts);
    }
    Ok(Document {
        metadata: convert(metadata, "metadata")?,
        spec: match kind {
            Kind::AccessPolicy => Spec::AccessPolicy(convert(spec, "spec")?),
            Kind::ArtifactPolicy => Spec::ArtifactPolicy(convert(spec, "spec")?),
            Kind::Block => Spec::Block(convert(spec, "spec")?),
            Kind::Environment => Spec::Environment(convert(spec, "spec")?),
            Kind::IdentityProvider => Spec::IdentityProvider(convert(spec, "spec")?),
            Kind::Signer => Spec::Signer(convert(spec, "spec")?),
            Kind::Plane => Spec::Plane(convert(spec, "spec")?),
            Kind::Repository => Spec::Repository(convert(spec, "spec")?),
            Kind::Upstream => Spec::Upstream(convert(spec, "spec")?),
            Kind::Waiver => Spec::Waiver(convert(spec, "spec")?),
        },
        place: node.place.clone(),
        field_places,
        text_starts,
    })
}

/// Only what [`crate::overlay`] judges: references, and what must be unique in the set.
fn collect_places(value: &Value, path: &str, places: &mut BTreeMap<String, Place>) {
    let Value::Map(entries) = value else { return };
    for entry in entries {
        let path =
            if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
        match path.as_str() {
            "metadata" | "spec" | "spec.remote" | "spec.virtual" => {
                collect_places(&entry.value.value, &path, places);
                places.insert(path, entry.value.place.clone());
            }
            "metadata.name"
            | "metadata.namespace"
            | "spec.remote.upstream"
            | "spec.path"
            | "spec.virtual.pushTo" => {
                places.insert(path, entry.value.place.clone());
            }
            "spec.virtual.members" => {
                let Value::List(items) = &entry.value.value else { continue };
                for (index, item) in items.iter().enumerate() {
                    collect_member(item, &format!("{path}[{index}]"), places);
                }
            }
            "spec.hosts" | "spec.aliases" => {
                if let Value::List(items) = &entry.value.value {
                    for (index, item) in items.iter().enumerate() {
                        places.insert(format!("{path}[{index}]"), item.place.clone());
                    }
                }
            }
            _ => {}
        }
    }
}

/// Everything below a node: for kinds whose texts are compiled by others.
fn collect_all(
    node: &Node,
    path: &str,
    lines: &[&str],
    places: &mut BTreeMap<String, Place>,
    starts: &mut BTreeMap<String, TextStart>,
) {
    places.insert(path.to_owned(), node.place.clone());
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                let path = format!("{path}.{}", entry.key);
                collect_all(&entry.value, &path, lines, places, starts);
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                collect_all(item, &format!("{path}[{index}]"), lines, places, starts);
            }
        }
        Value::Text(text) => {
            if let Some(start) = TextStart::find(lines, &node.place, text) {
                starts.insert(path.to_owned(), start);
            }
        }
        _ => {}
    }
}

/// What names another document in a member, and what only its user can judge.
fn collect_member(member: &Node, path: &str, places: &mut BTreeMap<String, Place>) {
    for field in ["repository", "rewrite.from"] {
        places.insert(format!("{path}.{field}"), member.place_of(field).clone());
    }
}
