//! `AccessPolicy` documents as the rules that `policy` judges by, and the subjects they share with
//! environments.

use policy::{Access, AccessRule, Action, NamePattern, Network, Subject, TextPattern, Who};
use resources::v1alpha1::{
    AccessAction, AccessRule as WireRule, Subject as WireSubject, SubjectKind,
};
use resources::{Cidr, Document, Problem, Set, TextGlob};

/// The access of a set: that of its policies, or the built-in one if there are none.
pub(super) fn build(set: &Set, problems: &mut Vec<Problem>) -> Access {
    let mut rules = Vec::new();
    let mut is_written = false;
    for (document, spec) in set.access_policies() {
        is_written = true;
        for (index, rule) in spec.allow.iter().enumerate() {
            match convert(document, rule) {
                Ok(rule) => rules.push(rule),
                Err(message) => {
                    let path = format!("spec.allow[{index}]");
                    let place = document.place_of(&path).clone();
                    problems.push(Problem::new(place, path, message));
                }
            }
        }
    }
    if is_written { Access::new(rules) } else { Access::built_in() }
}

fn convert(document: &Document, rule: &WireRule) -> Result<AccessRule, String> {
    let mut actions = Vec::new();
    for action in &rule.actions {
        match action {
            AccessAction::Pull => actions.push(Action::Pull),
            AccessAction::Push => actions.push(Action::Push),
            AccessAction::Delete => actions.push(Action::Delete),
            AccessAction::List => actions.push(Action::List),
            AccessAction::Referrers => actions.push(Action::Referrers),
            AccessAction::Administer => actions.push(Action::Administer),
            AccessAction::All => actions.extend(Action::ALL),
        }
    }
    let mut repositories = Vec::new();
    for pattern in &rule.repositories {
        repositories.push(NamePattern::parse(pattern.as_str()).map_err(|e| e.to_string())?);
    }
    let subjects = rule.subjects.iter().map(subject).collect::<Result<_, _>>()?;
    let environments = texts(&rule.environments)?;
    let policy = document.name().to_owned();
    Ok(AccessRule { policy, subjects, actions, repositories, environments, is_explicit: true })
}

/// Whom a document speaks of.
pub(super) fn subject(subject: &WireSubject) -> Result<Subject, String> {
    let text = |glob: &Option<TextGlob>| glob.as_ref().map(pattern).transpose();
    let who = match subject.kind {
        SubjectKind::Anonymous => Who::Anonymous,
        SubjectKind::Authenticated => Who::Authenticated,
        SubjectKind::User => Who::User { name: text(&subject.name)? },
        SubjectKind::Group => {
            let name = subject.name.as_ref().ok_or("a Group needs its name")?;
            Who::Group { name: pattern(name)? }
        }
        SubjectKind::ServiceAccount => Who::ServiceAccount {
            cluster: text(&subject.cluster)?,
            namespace: text(&subject.namespace)?,
            name: text(&subject.name)?,
        },
        SubjectKind::Node => Who::Node { cluster: text(&subject.cluster)? },
        SubjectKind::Workload => Who::Workload { spiffe_id: text(&subject.spiffe_id)? },
        SubjectKind::CI => Who::CI {
            issuer: text(&subject.issuer)?,
            repository: text(&subject.repository)?,
            reference: text(&subject.r#ref)?,
        },
    };
    Ok(Subject { who, networks: networks(&subject.networks)? })
}

pub(super) fn networks(cidrs: &[Cidr]) -> Result<Vec<Network>, String> {
    cidrs.iter().map(|net| Network::parse(net.as_str()).map_err(|e| e.to_string())).collect()
}

pub(super) fn texts(globs: &[TextGlob]) -> Result<Vec<TextPattern>, String> {
    globs.iter().map(pattern).collect()
}

fn pattern(glob: &TextGlob) -> Result<TextPattern, String> {
    TextPattern::parse(glob.as_str()).map_err(|error| error.to_string())
}
