//! The documents in force: what a person wrote over what is built in, judged as one set.

use crate::document::{Document, Spec};
use crate::kind::Kind;
use crate::nearest::nearest;
use crate::set::Set;
use crate::{Problem, Problems, builtin, governance, members, read_dir};
use std::collections::BTreeMap;
use std::path::Path;

/// The built-in documents and those of a directory or file, judged together.
pub fn effective(path: Option<&Path>) -> Result<Set, Problems> {
    let written = match path {
        Some(path) => read_dir(path)?,
        None => Set::default(),
    };
    overlay(&builtin(), &written)
}

/// Puts documents over others: the same kind and name replaces. Then judges the whole: references
/// must name something, virtual repositories must not lead back to themselves, and no path or host
/// may lead to two repositories.
pub fn overlay(below: &Set, above: &Set) -> Result<Set, Problems> {
    let mut documents = above.documents().to_vec();
    for document in below.documents() {
        if above.get(document.kind(), document.name()).is_none() {
            documents.push(document.clone());
        }
    }
    let set = Set::new(documents);
    let mut problems = Vec::new();
    check_references(&set, &mut problems);
    members::check(&set, &mut problems);
    governance::check(&set, &mut problems);
    check_routes(&set, above, &mut problems);
    Problems::check(problems)?;
    Ok(set)
}

fn check_references(set: &Set, problems: &mut Vec<Problem>) {
    for (document, spec) in set.repositories() {
        let Some(remote) = &spec.remote else { continue };
        let name = remote.upstream.as_str();
        if set.get(Kind::Upstream, name).is_none() {
            let near = nearest(name, set.upstreams().map(|(upstream, _)| upstream.name()));
            let path = "spec.remote.upstream";
            let message = format!("no Upstream is named `{name}`");
            problems.push(
                Problem::new(document.place_of(path).clone(), path, message)
                    .with_nearest(near.map(str::to_owned)),
            );
        }
    }
}

/// Each path, alias and host leads to one repository.
fn check_routes(set: &Set, above: &Set, problems: &mut Vec<Problem>) {
    let mut taken: BTreeMap<(&str, String), (&Document, String)> = BTreeMap::new();
    // What was written comes last, so that it is the one that is told about a clash.
    let is_written = |document: &Document| above.get(document.kind(), document.name()).is_some();
    let mut repositories: Vec<&Document> =
        set.repositories().map(|(document, _)| document).collect();
    repositories.sort_by_key(|document| is_written(document));
    for document in repositories {
        for (what, value, path) in routes(document) {
            match taken.get(&(what, value.clone())) {
                Some((other, other_path)) => {
                    let hint = if is_written(other) {
                        format!("defined at {}", other.place_of(other_path))
                    } else {
                        format!("built in; name this document `{}` to replace it", other.name())
                    };
                    let message = format!(
                        "the {what} `{value}` already leads to Repository `{}`, {hint}",
                        other.name()
                    );
                    problems.push(Problem::new(document.place_of(&path).clone(), path, message));
                }
                None => {
                    taken.insert((what, value), (document, path));
                }
            }
        }
    }
}

/// Every way to a repository: what it is, its value, and the field that says so.
fn routes(document: &Document) -> Vec<(&'static str, String, String)> {
    let Spec::Repository(spec) = &document.spec else { return Vec::new() };
    let mut routes = Vec::new();
    match &spec.path {
        Some(path) => routes.push(("path", path.to_string(), "spec.path".to_owned())),
        None => routes.push(("path", document.name().to_owned(), "metadata.name".to_owned())),
    }
    for (index, alias) in spec.aliases.iter().enumerate() {
        routes.push(("path", alias.to_string(), format!("spec.aliases[{index}]")));
    }
    for (index, host) in spec.hosts.iter().enumerate() {
        routes.push(("host", host.to_string(), format!("spec.hosts[{index}]")));
    }
    routes
}
