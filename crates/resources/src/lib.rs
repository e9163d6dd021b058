//! What users write: the documents of `lockgate.dev/v1alpha1`, read with place and nearest name.
//!
//! It exists so that a mistake in a file is told by file, line, column, field and the nearest
//! valid name, all mistakes at once, and so that what is in force has one name: the revision,
//! a digest of its content (contracts §6). The wire types are plain structures of options, since
//! each must also become a structural schema of a Kubernetes custom resource; defaults and
//! domain types belong to those who use them. Settings files are read by the same code.

mod builtin;
mod document;
mod formats;
mod governance;
mod kind;
mod members;
mod nearest;
mod overlay;
mod parse;
mod place;
mod problem;
mod read;
mod rules;
mod scenario;
mod schema;
mod set;
mod text;
mod text_start;
mod tree;
pub mod v1alpha1;
mod validate;

pub use builtin::{WELL_KNOWN_REGISTRIES, builtin, is_builtin};
pub use document::{Document, Spec};
pub use kind::{API_VERSION, KNOWN_BUT_UNENFORCED, Kind};
pub use nearest::nearest;
pub use overlay::{effective, overlay};
pub use parse::{
    WireDuration, WireDurationOrForever, WirePercent, WireSize, format_duration, format_size,
    parse_duration, parse_percent, parse_size,
};
pub use place::Place;
pub use problem::{Problem, Problems};
pub use read::{MAX_DOCUMENTS, MAX_FILE_BYTES, read_dir, read_text};
pub use scenario::{
    Scenario, ScenarioAdmission, ScenarioAnswer, ScenarioArtifact, ScenarioArtifactKind,
    ScenarioCase, read_scenario,
};
pub use schema::{json_schema, json_schemas, schema_of};
pub use set::Set;
pub use text::{
    Cidr, DigestText, Expression, Glob, HostName, HttpUrl, NamePrefix, ObjectPrefix, PinGlob,
    PlatformGlob, RegexText, RepositoryPath, ResourceName, ShortText, SocketAddress, TagGlob,
    TextGlob, UrlPattern, WireTime,
};
pub use tree::{Entry, Node, Value, parse_documents};
pub use validate::{from_node, from_yaml};
