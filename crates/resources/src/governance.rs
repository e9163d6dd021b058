//! References between documents about identity, access and policies: each must name something.

use crate::document::Document;
use crate::kind::Kind;
use crate::nearest::nearest;
use crate::rules::DEFAULT_ENVIRONMENT;
use crate::set::Set;
use crate::{HttpUrl, Problem, TextGlob};
use std::collections::BTreeSet;

/// Adds what names nothing.
pub(crate) fn check(set: &Set, problems: &mut Vec<Problem>) {
    let mut environments: BTreeSet<&str> =
        set.environments().map(|(document, _)| document.name()).collect();
    environments.insert(DEFAULT_ENVIRONMENT);
    let upstreams: BTreeSet<&str> = set.upstreams().map(|(document, _)| document.name()).collect();
    let signers: BTreeSet<&str> = set.signers().map(|(document, _)| document.name()).collect();
    let clusters = clusters(set);
    check_issuers(set, problems);
    for (document, spec) in set.access_policies() {
        for (index, rule) in spec.allow.iter().enumerate() {
            let path = format!("spec.allow[{index}].environments");
            globs(document, &path, &rule.environments, Kind::Environment, &environments, problems);
        }
    }
    check_outranking(set, &environments, &upstreams, problems);
    for (document, spec) in set.artifact_policies() {
        let mut names = |path: &str, globs_: &[TextGlob], kind, known: &BTreeSet<&str>| {
            globs(document, path, globs_, kind, known, problems);
        };
        if let Some(matches) = &spec.r#match {
            let path = "spec.match.environments";
            names(path, &matches.environments, Kind::Environment, &environments);
            clusters_known(document, "spec.match.clusters", &matches.clusters, &clusters, problems);
        }
        for (index, entry) in spec.enforcement.iter().enumerate() {
            let path = format!("spec.enforcement[{index}].environments");
            globs(document, &path, &entry.environments, Kind::Environment, &environments, problems);
            let path = format!("spec.enforcement[{index}].clusters");
            clusters_known(document, &path, &entry.clusters, &clusters, problems);
        }
        for (index, rule) in spec.rules.iter().enumerate() {
            let path = format!("spec.rules[{index}]");
            if let Some(check) = &rule.upstreams {
                for (field, list) in [("allow", &check.allow), ("deny", &check.deny)] {
                    let path = format!("{path}.upstreams.{field}");
                    globs(document, &path, list, Kind::Upstream, &upstreams, problems);
                }
            }
            if let Some(check) = &rule.promotion {
                let path = format!("{path}.promotion.admittedIn");
                let name = check.admitted_in.as_str();
                one(document, &path, name, Kind::Environment, &environments, problems);
            }
            if let Some(check) = &rule.signatures {
                for (field, list) in [("anyOf", &check.any_of), ("allOf", &check.all_of)] {
                    for (at, name) in list.iter().enumerate() {
                        let path = format!("{path}.signatures.{field}[{at}]");
                        one(document, &path, name.as_str(), Kind::Signer, &signers, problems);
                    }
                }
            }
        }
    }
}

/// Waivers and blocks that name what is not there would be trusted to do something.
fn check_outranking(
    set: &Set,
    environments: &BTreeSet<&str>,
    upstreams: &BTreeSet<&str>,
    problems: &mut Vec<Problem>,
) {
    let mut rules: BTreeSet<String> = BTreeSet::new();
    for (document, spec) in set.artifact_policies() {
        let named = |rule: &str| format!("{}/{rule}", document.name());
        rules.extend(spec.rules.iter().map(|rule| named(rule.name.as_str())));
    }
    for (document, spec) in set.waivers() {
        let path = "spec.scope.environments";
        globs(document, path, &spec.scope.environments, Kind::Environment, environments, problems);
        for (index, rule) in spec.scope.rules.iter().enumerate() {
            let rule = rule.as_str();
            if is_pattern(rule) || rules.contains(rule) {
                continue;
            }
            let path = format!("spec.scope.rules[{index}]");
            let near = nearest(rule, rules.iter().map(String::as_str)).map(str::to_owned);
            let message = format!("no ArtifactPolicy has a rule `{rule}`");
            let problem = Problem::new(document.place_of(&path).clone(), path, message);
            problems.push(problem.with_nearest(near));
        }
    }
    for (document, spec) in set.blocks() {
        let path = "spec.match.upstreams";
        globs(document, path, &spec.r#match.upstreams, Kind::Upstream, upstreams, problems);
    }
}

/// A provider of signed tokens, as far as it can be taken for another.
struct Issuer<'a> {
    document: &'a Document,
    field: &'static str,
    issuer: &'a str,
    audiences: Vec<&'a str>,
    /// Where its keys come from: a file or an address.
    keys: &'a str,
}

/// Two providers that the same token fits are told apart by their keys alone. With keys from one place
/// a token would be good for both, and which cluster it speaks for would be a matter of order.
fn check_issuers(set: &Set, problems: &mut Vec<Problem>) {
    let mut seen: Vec<Issuer> = Vec::new();
    for (document, spec) in set.identity_providers() {
        let found = if let Some(it) = &spec.kubernetes {
            let issuer = it.issuer.as_str();
            let url = it.discovery_url.as_ref().unwrap_or(&it.issuer);
            let keys = it.jwks_file.as_deref().unwrap_or(address(url));
            let audiences = vec![it.audience.as_str()];
            Issuer { document, field: "spec.kubernetes", issuer, audiences, keys }
        } else if let Some(it) = &spec.oidc {
            let issuer = it.issuer.as_str();
            let url = it.discovery_url.as_ref().unwrap_or(&it.issuer);
            let keys = it.jwks_file.as_deref().unwrap_or(address(url));
            let audiences = it.audiences.iter().map(|it| it.as_str()).collect();
            Issuer { document, field: "spec.oidc", issuer, audiences, keys }
        } else {
            continue;
        };
        let same = seen.iter().find(|other| {
            other.issuer == found.issuer
                && other.keys == found.keys
                && other.audiences.iter().any(|audience| found.audiences.contains(audience))
        });
        if let Some(other) = same {
            let message = format!(
                "IdentityProvider `{}` takes the same tokens: the issuer, an audience and the keys are \
                 the same; give one of them another jwksFile, discoveryUrl or audience",
                other.document.name(),
            );
            let path = format!("{}.issuer", found.field);
            problems.push(Problem::new(document.place_of(&path).clone(), path, message));
        }
        seen.push(found);
    }
}

fn address(url: &HttpUrl) -> &str {
    url.as_str().trim_end_matches('/')
}

/// The clusters that providers stand for; none are known where a mapping of claims or a file of users
/// may name any other.
fn clusters(set: &Set) -> BTreeSet<&str> {
    let mut known = BTreeSet::new();
    for (_, spec) in set.identity_providers() {
        let oidc = spec.oidc.iter().filter_map(|it| it.claims.as_ref());
        let certificates = spec.client_certificates.iter().filter_map(|it| it.claims.as_ref());
        let mut mappings = oidc.chain(certificates);
        if spec.local.is_some() || mappings.any(|it| it.attributes.contains_key("cluster")) {
            return BTreeSet::new();
        }
        known.extend(spec.kubernetes.iter().map(|it| it.cluster.as_str()));
        known.extend(spec.cluster_credential.iter().map(|it| it.cluster.as_str()));
        let certificates = spec.client_certificates.iter();
        known.extend(certificates.filter_map(|it| it.cluster.as_ref()).map(|it| it.as_str()));
    }
    known
}

/// Files may be read before the providers of their clusters are there, so only a near miss is told.
fn clusters_known(
    document: &Document,
    path: &str,
    named: &[TextGlob],
    known: &BTreeSet<&str>,
    problems: &mut Vec<Problem>,
) {
    for (index, glob) in named.iter().enumerate() {
        let name = glob.as_str();
        if is_pattern(name) || known.contains(name) {
            continue;
        }
        if let Some(near) = nearest(name, known.iter().copied()) {
            let path = format!("{path}[{index}]");
            let message = format!("no IdentityProvider stands for cluster `{name}`");
            let place = document.place_of(&path).clone();
            let problem = Problem::new(place, path, message);
            problems.push(problem.with_nearest(Some(near.to_owned())));
        }
    }
}

fn globs(
    document: &Document,
    path: &str,
    named: &[TextGlob],
    kind: Kind,
    known: &BTreeSet<&str>,
    problems: &mut Vec<Problem>,
) {
    for (index, glob) in named.iter().enumerate() {
        if !is_pattern(glob.as_str()) {
            one(document, &format!("{path}[{index}]"), glob.as_str(), kind, known, problems);
        }
    }
}

fn one(
    document: &Document,
    path: &str,
    name: &str,
    kind: Kind,
    known: &BTreeSet<&str>,
    problems: &mut Vec<Problem>,
) {
    if known.contains(name) {
        return;
    }
    let near = nearest(name, known.iter().copied()).map(str::to_owned);
    let message = format!("no {kind} is named `{name}`");
    let problem = Problem::new(document.place_of(path).clone(), path, message);
    problems.push(problem.with_nearest(near));
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}
