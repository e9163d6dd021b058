//! `Environment` documents as the environments that requests are settled in.

use super::access;
use policy::{Environment, EnvironmentName, Environments};
use resources::v1alpha1::EnvironmentSpec;
use resources::{Document, Problem, Set};

/// The environments of a set.
pub(super) fn build(set: &Set, problems: &mut Vec<Problem>) -> Environments {
    let mut list = Vec::new();
    for (document, spec) in set.environments() {
        match convert(document, spec) {
            Ok(environment) => list.push(environment),
            Err(message) => {
                let place = document.place_of("spec").clone();
                problems.push(Problem::new(place, "spec", message));
            }
        }
    }
    Environments::new(list)
}

fn convert(document: &Document, spec: &EnvironmentSpec) -> Result<Environment, String> {
    Ok(Environment {
        name: EnvironmentName::new(document.name()),
        strictness: spec.strictness.unwrap_or(0),
        subjects: spec.subjects.iter().map(access::subject).collect::<Result<_, _>>()?,
        networks: access::networks(&spec.networks)?,
        listener_hosts: access::texts(&spec.listener_hosts)?,
    })
}
