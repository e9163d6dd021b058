//! What documents about identity, access and policies must fulfil beyond their schema.

use super::Wrong;
use crate::v1alpha1::{
    AccessPolicySpec, ArtifactPolicySpec, ClaimMapping, Enforcement, EnvironmentSpec,
    IdentityProviderSpec, PolicyRule, SignerSpec, Subject, SubjectKind,
};
use std::collections::BTreeSet;
use std::time::Duration;

/// The environment where nothing matches.
pub(crate) const DEFAULT_ENVIRONMENT: &str = "default";
/// More would make expired tokens good.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);
/// Of names of attributes, as of labels in Kubernetes.
const ATTRIBUTE_KEY_MAX_BYTES: usize = 63;
/// Of keys of labels and annotations; Kubernetes allows 317 (a prefix, a slash, a name).
const PAIR_KEY_MAX_BYTES: usize = 320;

pub(super) fn check_access(spec: &AccessPolicySpec, wrong: &mut Wrong) {
    for (index, rule) in spec.allow.iter().enumerate() {
        for (at, subject) in rule.subjects.iter().enumerate() {
            check_subject(subject, &format!("spec.allow[{index}].subjects[{at}]"), wrong);
        }
    }
}

/// Each kind has its own fields; one that says nothing about it would be taken for a condition.
fn check_subject(subject: &Subject, path: &str, wrong: &mut Wrong) {
    let own: &[&str] = match subject.kind {
        SubjectKind::Anonymous | SubjectKind::Authenticated => &[],
        SubjectKind::User | SubjectKind::Group => &["name"],
        SubjectKind::ServiceAccount => &["cluster", "namespace", "name"],
        SubjectKind::Node => &["cluster"],
        SubjectKind::Workload => &["spiffeId"],
        SubjectKind::CI => &["issuer", "repository", "ref"],
    };
    let given = [
        ("name", subject.name.is_some()),
        ("cluster", subject.cluster.is_some()),
        ("namespace", subject.namespace.is_some()),
        ("spiffeId", subject.spiffe_id.is_some()),
        ("issuer", subject.issuer.is_some()),
        ("repository", subject.repository.is_some()),
        ("ref", subject.r#ref.is_some()),
    ];
    for (field, is_given) in given {
        if is_given && !own.contains(&field) {
            let has = match own {
                [] => "has only networks".to_owned(),
                own => format!("has {} and networks", own.join(", ")),
            };
            wrong.say(
                &format!("{path}.{field}"),
                format!("a subject of kind {:?} has no {field}; it {has}", subject.kind),
            );
        }
    }
    if subject.kind == SubjectKind::Group && subject.name.is_none() {
        wrong.say(
            &format!("{path}.kind"),
            "a Group needs its name; for everybody write Authenticated",
        );
    }
}

pub(super) fn check_environment(name: &str, spec: &EnvironmentSpec, wrong: &mut Wrong) {
    for (index, subject) in spec.subjects.iter().enumerate() {
        let path = format!("spec.subjects[{index}]");
        if subject.kind == SubjectKind::Anonymous {
            wrong.say(
                &format!("{path}.kind"),
                "only a verified identity settles an environment; for others write networks or \
                 listenerHosts",
            );
        }
        check_subject(subject, &path, wrong);
    }
    match (name == DEFAULT_ENVIRONMENT, spec.strictness) {
        (false, None) => wrong.say("spec", "strictness is required: the higher, the stricter"),
        (true, Some(_)) => wrong.say(
            "spec.strictness",
            "`default` is the environment where nothing matches; its strictness is 0, leave it out",
        ),
        _ => {}
    }
}

pub(super) fn check_provider(spec: &IdentityProviderSpec, wrong: &mut Wrong) {
    let ways = [
        ("kubernetes", spec.kubernetes.is_some()),
        ("oidc", spec.oidc.is_some()),
        ("spiffe", spec.spiffe.is_some()),
        ("clientCertificates", spec.client_certificates.is_some()),
        ("local", spec.local.is_some()),
        ("clusterCredential", spec.cluster_credential.is_some()),
    ];
    one_of(&ways, "spec", wrong);
    let has_tokens = spec.kubernetes.is_some() || spec.oidc.is_some() || spec.spiffe.is_some();
    if !spec.algorithms.is_empty() && !has_tokens {
        wrong.say("spec.algorithms", "only kubernetes, oidc and spiffe have signed tokens");
    }
    if spec.clock_skew.as_ref().is_some_and(|skew| skew.get() > CLOCK_SKEW_MAX) {
        wrong.say("spec.clockSkew", "at most 60s: more would make expired tokens good");
    }
    if let Some(kubernetes) = &spec.kubernetes {
        check_keys(&kubernetes.jwks_file, kubernetes.discovery_url.is_some(), "kubernetes", wrong);
    }
    if let Some(oidc) = &spec.oidc {
        check_keys(&oidc.jwks_file, oidc.discovery_url.is_some(), "oidc", wrong);
        check_claims(&oidc.claims, "oidc", wrong);
    }
    if let Some(certificates) = &spec.client_certificates {
        check_claims(&certificates.claims, "clientCertificates", wrong);
    }
}

/// Keys of attributes: schemas of custom resources cannot bound the keys of maps.
fn check_claims(claims: &Option<ClaimMapping>, way: &str, wrong: &mut Wrong) {
    for key in claims.iter().flat_map(|claims| claims.attributes.keys()) {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if key.len() > ATTRIBUTE_KEY_MAX_BYTES || key.is_empty() || !key.chars().all(is_letter) {
            let shown: String = key.chars().take(64).collect();
            wrong.say(
                &format!("spec.{way}.claims.attributes"),
                format!(
                    "{shown:?} is no name of an attribute: letters, digits, `.`, `_` and `-`, \
                         at most {ATTRIBUTE_KEY_MAX_BYTES} of them"
                ),
            );
        }
    }
}

fn check_keys(file: &Option<String>, has_url: bool, way: &str, wrong: &mut Wrong) {
    if file.is_some() && has_url {
        wrong.say(
            &format!("spec.{way}.discoveryUrl"),
            "with jwksFile nothing is discovered; leave one out",
        );
    }
}

fn one_of(ways: &[(&str, bool)], path: &str, wrong: &mut Wrong) {
    let given: Vec<&str> = ways.iter().filter(|way| way.1).map(|way| way.0).collect();
    if given.len() == 1 {
        return;
    }
    let all: Vec<&str> = ways.iter().map(|way| way.0).collect();
    let here = match given.as_slice() {
        [] => String::new(),
        given => format!("; here are {}", given.join(" and ")),
    };
    wrong.say(path, format!("exactly one of {} is needed{here}", all.join(", ")));
}

pub(super) fn check_signer(spec: &SignerSpec, wrong: &mut Wrong) {
    let ways = [
        ("keyless", spec.keyless.is_some()),
        ("publicKey", spec.public_key.is_some()),
        ("notation", spec.notation.is_some()),
        ("pgp", spec.pgp.is_some()),
    ];
    one_of(&ways, "spec", wrong);
    if let Some(keyless) = &spec.keyless {
        let subject = &keyless.subject;
        let ways = [("exact", subject.exact.is_some()), ("glob", subject.glob.is_some())];
        one_of(&ways, "spec.keyless.subject", wrong);
    }
    if let Some(key) = &spec.public_key {
        let ways =
            [("file", key.file.is_some()), ("pem", key.pem.is_some()), ("kms", key.kms.is_some())];
        one_of(&ways, "spec.publicKey", wrong);
    }
}

pub(super) fn check_policy(spec: &ArtifactPolicySpec, wrong: &mut Wrong) {
    for (index, entry) in spec.enforcement.iter().enumerate() {
        check_enforcement(entry, &format!("spec.enforcement[{index}]"), wrong);
    }
    let mut names = BTreeSet::new();
    for (index, rule) in spec.rules.iter().enumerate() {
        let path = format!("spec.rules[{index}]");
        if !names.insert(rule.name.as_str()) {
            let message = format!("two rules are named `{}`", rule.name);
            wrong.say(&format!("{path}.name"), message);
        }
        check_rule(rule, &path, wrong);
    }
}

fn check_enforcement(entry: &Enforcement, path: &str, wrong: &mut Wrong) {
    if let (Some(from), Some(until)) = (&entry.from, &entry.until)
        && from.get() >= until.get()
    {
        wrong.say(&format!("{path}.until"), "it ends before it begins");
    }
}

fn check_rule(rule: &PolicyRule, path: &str, wrong: &mut Wrong) {
    match rule.checks().as_slice() {
        [_] => {}
        [] => wrong.say(
            path,
            "a rule needs one check: repositories, upstreams, tags, platforms, size, mediaTypes, age, \
             labels, annotations, baseImage, licences, promotion, signatures, provenance, sbom, \
             vulnerabilities, deny or warn",
        ),
        several => wrong.say(
            path,
            format!("a rule has one check; here are {}: make a rule of each", several.join(" and ")),
        ),
    }
    if rule.message.is_some() && rule.deny.is_none() && rule.warn.is_none() {
        let message = "a message goes with deny or warn; other checks have their own";
        wrong.say(&format!("{path}.message"), message);
    }
    let empty = |field: &str| format!("{path}.{field}");
    let needs = "at least one of allow and deny is needed";
    if rule.repositories.as_ref().is_some_and(|it| it.allow.is_empty() && it.deny.is_empty()) {
        wrong.say(&empty("repositories"), needs);
    }
    if rule.upstreams.as_ref().is_some_and(|it| it.allow.is_empty() && it.deny.is_empty()) {
        wrong.say(&empty("upstreams"), needs);
    }
    for (field, check) in [("mediaTypes", &rule.media_types), ("licences", &rule.licences)] {
        if check.as_ref().is_some_and(|it| it.allow.is_empty() && it.deny.is_empty()) {
            wrong.say(&empty(field), needs);
        }
    }
    for (field, check) in [("labels", &rule.labels), ("annotations", &rule.annotations)] {
        if check.as_ref().is_some_and(|it| it.require.is_empty() && it.deny.is_empty()) {
            wrong.say(&empty(field), "at least one of require and deny is needed");
        }
        for (list, pairs) in
            check.iter().flat_map(|it| [("require", &it.require), ("deny", &it.deny)])
        {
            check_pair_keys(pairs.keys(), &format!("{path}.{field}.{list}"), wrong);
        }
    }
    check_tags_and_age(rule, path, wrong);
}

/// Schemas of custom resources cannot bound the keys of maps.
fn check_pair_keys<'a>(keys: impl Iterator<Item = &'a String>, path: &str, wrong: &mut Wrong) {
    for key in keys {
        let is_fit = !key.is_empty() && !key.chars().any(|c| c.is_control() || c == ' ');
        if !is_fit || key.len() > PAIR_KEY_MAX_BYTES {
            let shown: String = key.chars().take(64).collect();
            let message = format!(
                "{shown:?} is no key: no spaces, and at most {PAIR_KEY_MAX_BYTES} characters"
            );
            wrong.say(path, message);
        }
    }
}

fn check_tags_and_age(rule: &PolicyRule, path: &str, wrong: &mut Wrong) {
    if let Some(tags) = &rule.tags
        && tags.deny.is_empty()
        && tags.allow.is_empty()
        && tags.semver.is_none()
        && tags.require_digest != Some(true)
    {
        let message = "at least one of deny, allow, semver and requireDigest: true is needed";
        wrong.say(&format!("{path}.tags"), message);
    }
    if let Some(age) = &rule.age
        && age.since_published.is_none()
        && age.since_first_seen.is_none()
    {
        let message = "at least one of sincePublished and sinceFirstSeen is needed";
        wrong.say(&format!("{path}.age"), message);
    }
    check_evidence(rule, path, wrong);
}

fn check_evidence(rule: &PolicyRule, path: &str, wrong: &mut Wrong) {
    if let Some(signatures) = &rule.signatures {
        if signatures.any_of.is_empty() && signatures.all_of.is_empty() {
            let message = "at least one of anyOf and allOf is needed";
            wrong.say(&format!("{path}.signatures"), message);
        }
        let many = signatures.any_of.len();
        if signatures.count.is_some_and(|count| count as usize > many) {
            let message = format!("more than the {many} Signers of anyOf");
            wrong.say(&format!("{path}.signatures.count"), message);
        }
        for (field, list) in [("anyOf", &signatures.any_of), ("allOf", &signatures.all_of)] {
            for (at, name) in list.iter().enumerate() {
                if list[..at].contains(name) {
                    let message = format!("the Signer `{name}` stands here twice");
                    wrong.say(&format!("{path}.signatures.{field}[{at}]"), message);
                }
            }
        }
    }
    if let Some(sbom) = &rule.sbom
        && sbom.required == Some(false)
        && sbom.formats.is_empty()
        && sbom.max_age.is_none()
    {
        let message = "it asks for nothing; write formats or maxAge, or leave required out";
        wrong.say(&format!("{path}.sbom"), message);
    }
    if let Some(max) = rule.vulnerabilities.as_ref().map(|check| &check.max)
        && [max.critical, max.high, max.medium, max.low].iter().all(Option::is_none)
    {
        let message = "at least one of critical, high, medium and low is needed";
        wrong.say(&format!("{path}.vulnerabilities.max"), message);
    }
}
