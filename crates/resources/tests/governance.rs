//! Identity, environments and access: what is accepted, and what is told otherwise.

mod told;

use resources::v1alpha1::{IdentityKind, SbomFormat, SubjectKind};
use resources::{Kind, json_schema, read_text};
use serde_json::Value;
use std::collections::BTreeSet;
use told::{assert_told, document, errors, read};

fn provider(spec: &str) -> String {
    document("IdentityProvider", "x", spec)
}

fn access(subject: &str) -> String {
    let rest = "actions: [Pull], repositories: ['**']";
    document("AccessPolicy", "x", &format!("allow: [{{subjects: [{{{subject}}}], {rest}}}]"))
}

const EVERY_FIELD: &str = include_str!("fixtures/every_field.yaml");

#[test]
fn every_field_of_every_kind_is_read_and_kept() {
    let set = read(&[EVERY_FIELD.to_owned()]).unwrap_or_else(|error| panic!("{error}"));
    let counts = [
        set.identity_providers().count(),
        set.environments().count(),
        set.access_policies().count(),
        set.artifact_policies().count(),
        set.signers().count(),
    ];
    assert_eq!(counts, [7, 2, 1, 1, 4]);
    let provider = |name| set.identity_providers().find(|(it, _)| it.name() == name).unwrap().1;
    assert_eq!(provider("prod-eu").clock_skew.as_ref().unwrap().get().as_secs(), 60);
    assert_eq!(
        provider("nodes").client_certificates.as_ref().unwrap().kind,
        Some(IdentityKind::Node)
    );
    let (_, default) = set.environments().find(|(it, _)| it.name() == "default").unwrap();
    assert_eq!(default.strictness, None);
    let (_, prod) = set.environments().find(|(it, _)| it.name() == "prod").unwrap();
    assert_eq!(prod.subjects.last().unwrap().kind, SubjectKind::CI);
    let (_, policy) = set.artifact_policies().next().unwrap();
    assert_eq!(policy.rules.len(), 18);
    for rule in &policy.rules {
        assert_eq!(rule.checks().len(), 1, "{}", rule.name);
    }
    let until = policy.enforcement[1].until.as_ref().unwrap().get();
    assert_eq!(until.to_string(), "2026-12-01T23:00:00Z");
    let sbom = policy.rules[14].sbom.as_ref().unwrap();
    assert_eq!(sbom.formats, [SbomFormat::SPDX, SbomFormat::CycloneDX]);
    assert_eq!(sbom.max_age.as_ref().unwrap().get().as_secs(), 30 * 86_400);

    let kept = read_text("kept.yaml", &set.to_yaml()).unwrap();
    assert_eq!(kept.revision(), set.revision());
}

/// The names of all fields below a schema.
fn fields(schema: &Value, found: &mut BTreeSet<String>) {
    let properties = schema["properties"].as_object().into_iter().flatten();
    found.extend(properties.map(|(name, _)| name.clone()));
    match schema {
        Value::Object(map) => map.values().for_each(|inner| fields(inner, found)),
        Value::Array(items) => items.iter().for_each(|inner| fields(inner, found)),
        _ => {}
    }
}

#[test]
fn no_field_was_forgotten_above() {
    let mut names = BTreeSet::new();
    for kind in [
        Kind::IdentityProvider,
        Kind::Environment,
        Kind::AccessPolicy,
        Kind::ArtifactPolicy,
        Kind::Signer,
    ] {
        let schema = json_schema(kind);
        fields(&schema["properties"]["spec"], &mut names);
        for (name, definition) in schema["$defs"].as_object().unwrap() {
            if name != "Metadata" {
                fields(definition, &mut names);
            }
        }
    }
    assert!(names.contains("maxAdvisoryAge") && names.contains("trustDomain"), "{names:?}");
    // Of these only one can stand there at a time.
    let alternatives = ["exact", "kms", "pem"];
    let is_written = |name: &&String| EVERY_FIELD.contains(&format!("{name}: "));
    let missing: Vec<_> = names.iter().filter(|name| !is_written(name)).collect();
    assert_eq!(missing, alternatives);
}

#[test]
fn a_provider_is_of_one_kind_with_fields_that_fit() {
    let kubernetes = "kubernetes: {issuer: https://a, audience: b, cluster: c";
    for (spec, wanted) in [
        (
            String::new(),
            "spec: exactly one of kubernetes, oidc, spiffe, clientCertificates, local, \
             clusterCredential is needed",
        ),
        (
            "local: {usersFile: a}, spiffe: {trustDomain: a, bundleFile: b}".to_owned(),
            "spec: exactly one of kubernetes, oidc, spiffe, clientCertificates, local, \
             clusterCredential is needed; here are spiffe and local",
        ),
        (
            "local: {usersFile: a}, algorithms: §[RS256]".to_owned(),
            "spec.algorithms: only kubernetes, oidc and spiffe have signed tokens",
        ),
        (
            format!("{kubernetes}}}, clockSkew: §61s"),
            "spec.clockSkew: at most 60s: more would make expired tokens good",
        ),
        (
            format!("{kubernetes}}}, algorithms: [§HS256]"),
            "spec.algorithms[0]: \"HS256\" is not one of: RS256, RS384, RS512, PS256, \
             PS384, PS512, ES256, ES384, EdDSA; did you mean `RS256`?",
        ),
        (
            format!("{kubernetes}, jwksFile: d, discoveryUrl: §https://e}}"),
            "spec.kubernetes.discoveryUrl: with jwksFile nothing is discovered; leave one \
             out",
        ),
        (
            "oidc: {issuer: https://a, audiences: §[]}".to_owned(),
            "spec.oidc.audiences: at least one entry is needed",
        ),
        (
            "oidc: {issuer: https://a, audiences: [b], kind: §Workload}".to_owned(),
            "spec.oidc.kind: \"Workload\" is not one of: User, Node, CI",
        ),
        (
            "clientCertificates: {caFile: a, claims: {attributes: §{'a b': c}}}".to_owned(),
            "spec.clientCertificates.claims.attributes: \"a b\" is no name of an \
             attribute: letters, digits, `.`, `_` and `-`, at most 63 of them",
        ),
        (
            "clusterCredential: {cluster: §Prod, secretFile: a}".to_owned(),
            "spec.clusterCredential.cluster: a name is lower-case letters, digits, `-` \
             and `.`, at most 253 of them, and begins and ends with a letter or digit (DNS-1123 \
             subdomain)",
        ),
    ] {
        assert_told(&[provider(&spec)], wanted);
    }
}

#[test]
fn two_providers_of_one_issuer_and_audience_have_keys_of_their_own() {
    let kubernetes = |name: &str, rest: &str| {
        let spec = format!("kubernetes: {{issuer: https://k, cluster: {name}, {rest}}}");
        document("IdentityProvider", name, &spec)
    };
    for (one, other) in [
        ("audience: a, jwksFile: a.jwks", "audience: a, jwksFile: b.jwks"),
        ("audience: a, discoveryUrl: https://a", "audience: a, discoveryUrl: https://b"),
        ("audience: a, discoveryUrl: https://a", "audience: a"),
        ("audience: a, jwksFile: a.jwks", "audience: a"),
        ("audience: a", "audience: b"),
    ] {
        assert_eq!(errors(&[kubernetes("x", one), kubernetes("y", other)]), "", "{one} | {other}");
    }
    let wanted = "spec.kubernetes.issuer: IdentityProvider `x` takes the same tokens: the \
        issuer, an audience and the keys are the same; give one of them another jwksFile, discoveryUrl \
        or audience";
    for (one, other) in [
        ("audience: a", "audience: a"),
        ("audience: a, jwksFile: a.jwks", "audience: a, jwksFile: a.jwks"),
        ("audience: a, discoveryUrl: https://k/", "audience: a"),
    ] {
        let second = kubernetes("y", other).replace("https://k,", "§https://k,");
        assert_told(&[kubernetes("x", one), second], wanted);
    }
    let oidc = "oidc: {issuer: §https://k, audiences: [b, a]}";
    assert_told(
        &[kubernetes("x", "audience: a"), document("IdentityProvider", "y", oidc)],
        &wanted.replace("spec.kubernetes", "spec.oidc"),
    );
}

#[test]
fn a_subject_has_the_fields_of_its_kind() {
    for (subject, wanted) in [
        (
            "kind: Anonymous, name: §a",
            "spec.allow[0].subjects[0].name: a subject of kind Anonymous has no name; it has only \
             networks",
        ),
        (
            "kind: Authenticated, cluster: §a",
            "spec.allow[0].subjects[0].cluster: a subject of kind Authenticated has no cluster; \
             it has only networks",
        ),
        (
            "kind: User, namespace: §a",
            "spec.allow[0].subjects[0].namespace: a subject of kind User has no namespace; it has \
             name and networks",
        ),
        (
            "kind: ServiceAccount, spiffeId: §a",
            "spec.allow[0].subjects[0].spiffeId: a subject of kind ServiceAccount has no \
             spiffeId; it has cluster, namespace, name and networks",
        ),
        (
            "kind: Node, issuer: §a",
            "spec.allow[0].subjects[0].issuer: a subject of kind Node has no issuer; it has \
             cluster and networks",
        ),
        (
            "kind: Workload, repository: §a",
            "spec.allow[0].subjects[0].repository: a subject of kind Workload has no repository; \
             it has spiffeId and networks",
        ),
        (
            "kind: Group, name: a, ref: §b",
            "spec.allow[0].subjects[0].ref: a subject of kind Group has no ref; it has name and \
             networks",
        ),
        (
            "kind: CI, name: §a",
            "spec.allow[0].subjects[0].name: a subject of kind CI has no name; it has issuer, \
             repository, ref and networks",
        ),
        (
            "kind: §Group",
            "spec.allow[0].subjects[0].kind: a Group needs its name; for everybody write \
             Authenticated",
        ),
        (
            "kind: §Loopback",
            "spec.allow[0].subjects[0].kind: \"Loopback\" is not one of: Anonymous, Authenticated, \
             User, Group, ServiceAccount, Node, Workload, CI",
        ),
    ] {
        assert_told(&[access(subject)], wanted);
    }
}

#[test]
fn an_environment_is_settled_by_identities_and_has_a_strictness() {
    for (name, spec, wanted) in [
        ("prod", "", "spec: strictness is required: the higher, the stricter"),
        ("prod", "strictness: §0", "spec.strictness: 0 is not between 1 and 1000"),
        ("prod", "strictness: §1001", "spec.strictness: 1001 is not between 1 and 1000"),
        (
            "default",
            "strictness: §1",
            "spec.strictness: `default` is the environment where nothing matches; its strictness \
             is 0, leave it out",
        ),
        (
            "prod",
            "strictness: 1, subjects: [{kind: §Anonymous}]",
            "spec.subjects[0].kind: only a verified identity settles an environment; for others \
             write networks or listenerHosts",
        ),
        (
            "prod",
            "strictness: 1, subjects: [{kind: Node, name: §a}]",
            "spec.subjects[0].name: a subject of kind Node has no name; it has cluster and networks",
        ),
        (
            "prod",
            "strictness: 1, networks: [§10.0.0.1/8]",
            "spec.networks[0]: 10.0.0.1/8 has bits set beyond /8; write the network's own address",
        ),
    ] {
        assert_told(&[document("Environment", name, spec)], wanted);
    }
}

#[test]
fn a_signer_is_of_one_kind() {
    for (spec, wanted) in [
        ("", "spec: exactly one of keyless, publicKey, notation, pgp is needed"),
        (
            "pgp: {file: a}, publicKey: {file: b}",
            "spec: exactly one of keyless, publicKey, notation, pgp is needed; here are publicKey \
             and pgp",
        ),
        (
            "publicKey: §{file: b, kms: c}",
            "spec.publicKey: exactly one of file, pem, kms is needed; here are file and kms",
        ),
        (
            "keyless: {issuer: https://a, subject: §{}}",
            "spec.keyless.subject: exactly one of exact, glob is needed",
        ),
    ] {
        assert_told(&[document("Signer", "x", spec)], wanted);
    }
}
