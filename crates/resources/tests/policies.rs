//! Artifact policies, and what names other documents: what is told of mistakes.

mod told;

use told::{assert_told, document, errors};

/// A policy with this rule.
fn rule(rule: &str) -> String {
    document("ArtifactPolicy", "x", &format!("rules: [{{name: r, {rule}}}]"))
}

#[test]
fn a_check_asks_for_something() {
    for (text, wanted) in [
        (
            "size: {max: 1B}, message: §a",
            "spec.rules[0].message: a message goes with deny or warn; other checks have their own",
        ),
        (
            "repositories: §{}",
            "spec.rules[0].repositories: at least one of allow and deny is needed",
        ),
        ("upstreams: §{}", "spec.rules[0].upstreams: at least one of allow and deny is needed"),
        ("mediaTypes: §{}", "spec.rules[0].mediaTypes: at least one of allow and deny is needed"),
        ("licences: §{}", "spec.rules[0].licences: at least one of allow and deny is needed"),
        ("labels: §{}", "spec.rules[0].labels: at least one of require and deny is needed"),
        (
            "annotations: §{}",
            "spec.rules[0].annotations: at least one of require and deny is needed",
        ),
        (
            "labels: {deny: §{'a b': c}}",
            "spec.rules[0].labels.deny: \"a b\" is no key: no spaces, and at most 320 characters",
        ),
        (
            "tags: §{requireDigest: false}",
            "spec.rules[0].tags: at least one of deny, allow, semver and requireDigest: true is \
             needed",
        ),
        (
            "age: §{except: [a]}",
            "spec.rules[0].age: at least one of sincePublished and sinceFirstSeen is needed",
        ),
        (
            "platforms: {allow: [§linux]}",
            "spec.rules[0].platforms.allow[0]: not a platform; write \
          os/architecture, such as linux/amd64, linux/arm/v7 or linux/*",
        ),
        ("signatures: §{}", "spec.rules[0].signatures: at least one of anyOf and allOf is needed"),
        (
            "sbom: §{required: false}",
            "spec.rules[0].sbom: it asks for nothing; write formats or \
          maxAge, or leave required out",
        ),
        (
            "sbom: {formats: [§CyclonDX]}",
            "spec.rules[0].sbom.formats[0]: \"CyclonDX\" is not one \
          of: SPDX, CycloneDX; did you mean `CycloneDX`?",
        ),
        (
            "vulnerabilities: {max: §{}}",
            "spec.rules[0].vulnerabilities.max: at least one of \
          critical, high, medium and low is needed",
        ),
        ("deny: §' '", "spec.rules[0].deny: an expression may not be empty"),
        ("§wran: 'true'", "spec.rules[0].wran: unknown field; did you mean `warn`?"),
    ] {
        assert_told(&[rule(text)], wanted);
    }
}

#[test]
fn a_rule_has_one_check() {
    for (text, wanted) in [
        (
            "onUnknown: Deny",
            "spec.rules[0]: a rule needs one check: repositories, upstreams, tags, platforms, \
             size, mediaTypes, age, labels, annotations, baseImage, licences, promotion, signatures, \
             provenance, sbom, vulnerabilities, deny or warn",
        ),
        (
            "size: {max: 1B}, warn: 'true'",
            "spec.rules[0]: a rule has one check; here are size and warn: make a rule of each",
        ),
    ] {
        let spec = format!("rules: [§{{name: r, {text}}}]");
        assert_told(&[document("ArtifactPolicy", "x", &spec)], wanted);
    }
}

#[test]
fn texts_of_rules_are_bounded() {
    for (field, most) in [("remedy", 120), ("message", 2048), ("deny", 4096)] {
        let check = if field == "deny" { "" } else { "deny: a, " };
        let text = |length| rule(&format!("{check}{field}: {}", "a".repeat(length)));
        assert_eq!(errors(&[text(most)]), "", "{field}");
        let found = errors(&[text(most + 1)]);
        let wanted = format!("spec.rules[0].{field}: at most {most} characters are allowed");
        assert!(found.ends_with(&wanted), "{found}");
    }
}

#[test]
fn a_policy_has_no_rule_twice_and_no_time_backwards() {
    let policy = |spec: &str| document("ArtifactPolicy", "x", spec);
    let one = "{name: a, size: {max: 1B}}";
    let twice = format!("rules: [{one}, {{name: §a, size: {{max: 2B}}}}]");
    assert_told(&[policy(&twice)], "spec.rules[1].name: two rules are named `a`");
    assert_told(&[policy("rules: §[]")], "spec.rules: at least one entry is needed");
    let (from, until) = ("from: 2026-12-01T00:00:00Z", "until: §2026-12-01T01:00:00+01:00");
    let backwards = format!("enforcement: [{{mode: Audit, {from}, {until}}}], rules: [{one}]");
    assert_told(&[policy(&backwards)], "spec.enforcement[0].until: it ends before it begins");
    let hardened = format!("alreadyAdmitted: {{mode: §Enforce, for: 1d}}, rules: [{one}]");
    let wanted = "spec.alreadyAdmitted.mode: \"Enforce\" is not one of: Warn, Audit";
    assert_told(&[policy(&hardened)], wanted);
}

#[test]
fn what_is_named_exists() {
    let prod = document("Environment", "prod", "strictness: 1");
    let signer = document("Signer", "ci-release", "pgp: {file: a}");
    let one = "rules: [{name: a, size: {max: 1B}}]";
    let policy = |spec: &str| document("ArtifactPolicy", "x", &format!("{spec}, {one}"));
    let granted = "allow: [{subjects: [{kind: Anonymous}], actions: [Pull], repositories: ['**'], \
        environments: [prod, default, 'q*', §pord]}]";
    for (text, wanted) in [
        (
            document("AccessPolicy", "x", granted),
            "spec.allow[0].environments[3]: no Environment is named `pord`; did you mean `prod`?",
        ),
        (
            policy("match: {environments: [§stage, default]}"),
            "spec.match.environments[0]: no Environment is named `stage`",
        ),
        (
            policy("enforcement: [{environments: [§prd], mode: Warn}]"),
            "spec.enforcement[0].environments[0]: no Environment is named `prd`; did you mean \
             `prod`?",
        ),
        (
            rule("upstreams: {allow: ['*.io', §docker.oi]}"),
            "spec.rules[0].upstreams.allow[1]: no Upstream is named `docker.oi`; did you mean \
             `docker.io`?",
        ),
        (
            rule("upstreams: {deny: [§nowhere.example.com]}"),
            "spec.rules[0].upstreams.deny[0]: no Upstream is named `nowhere.example.com`",
        ),
        (
            rule("promotion: {admittedIn: §prodd}"),
            "spec.rules[0].promotion.admittedIn: no Environment is named `prodd`; did you mean \
             `prod`?",
        ),
        (
            rule("signatures: {anyOf: [ci-release], allOf: [§ci-relaese]}"),
            "spec.rules[0].signatures.allOf[0]: no Signer is named `ci-relaese`; did you mean \
             `ci-release`?",
        ),
        (
            rule("signatures: {anyOf: [ci-release], count: §2}"),
            "spec.rules[0].signatures.count: more than the 1 Signers of anyOf",
        ),
        (
            rule("signatures: {anyOf: [ci-release, §ci-release], count: 2}"),
            "spec.rules[0].signatures.anyOf[1]: the Signer `ci-release` stands here twice",
        ),
    ] {
        assert_told(&[text, prod.clone(), signer.clone()], wanted);
    }
    assert_eq!(errors(&[rule("promotion: {admittedIn: default}")]), "", "default always exists");
}

#[test]
fn a_cluster_that_nearly_is_one_is_told_where_all_are_known() {
    let cluster =
        document("IdentityProvider", "a", "clusterCredential: {cluster: prod-eu1, secretFile: s}");
    let one = "rules: [{name: a, size: {max: 1B}}]";
    let policy = |name: &str| {
        document("ArtifactPolicy", "x", &format!("match: {{clusters: [{name}]}}, {one}"))
    };
    assert_told(
        &[policy("§prod-eu2"), cluster.clone()],
        "spec.match.clusters[0]: no IdentityProvider stands for cluster `prod-eu2`; did you mean \
         `prod-eu1`?",
    );
    assert_eq!(errors(&[policy("prod-eu1"), cluster.clone()]), "");
    assert_eq!(errors(&[policy("'prod-*'"), cluster.clone()]), "");
    assert_eq!(errors(&[policy("elsewhere"), cluster.clone()]), "", "its provider may come later");
    for open in [
        "local: {usersFile: a}",
        "oidc: {issuer: https://a, audiences: [a], claims: {attributes: {cluster: claims.c}}}",
    ] {
        let open = document("IdentityProvider", "b", open);
        assert_eq!(errors(&[policy("prod-eu2"), cluster.clone(), open]), "", "it may name any");
    }
}
