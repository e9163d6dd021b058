//! `AccessPolicy` documents as the rules that `policy` judges by.

use policy::{Access, AccessRule, Action, NamePattern, Network, Subject, Who};
use resources::v1alpha1::{
    AccessAction, AccessRule as WireRule, Subject as WireSubject, SubjectKind,
};
use resources::{Document, Problem, Set};

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
    let policy = document.name().to_owned();
    Ok(AccessRule {
        policy,
        subjects,
        actions,
        repositories,
        environments: Vec::new(),
        is_explicit: true,
    })
}

fn subject(subject: &WireSubject) -> Result<Subject, String> {
    match subject.kind {
        SubjectKind::Anonymous => {
            let networks = subject.networks.iter().map(|net| Network::parse(net.as_str()));
            let networks = networks.collect::<Result<_, _>>().map_err(|e| e.to_string())?;
            Ok(Subject { who: Who::Anonymous, networks })
        }
    }
}
