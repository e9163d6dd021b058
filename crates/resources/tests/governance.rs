//! Identity, environments, access and policies: what is accepted, and what is told otherwise.

use resources::v1alpha1::{IdentityKind, SbomFormat, SubjectKind};
use resources::{Kind, Set, builtin, json_schema, overlay, read_text};
use serde_json::Value;
use std::collections::BTreeSet;

/// A document, its spec on the second line.
fn document(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: lockgate.dev/v1alpha1, kind: {kind}, metadata: {{name: {name}}},\n\
         spec: {{{spec}}}}}\n"
    )
}

fn read(documents: &[String]) -> Result<Set, String> {
    let set = read_text("a.yaml", &documents.join("---\n"));
    set.and_then(|set| overlay(&builtin(), &set)).map_err(|problems| problems.to_string())
}

fn errors(documents: &[String]) -> String {
    read(documents).err().unwrap_or_default()
}

/// That this is what is told, of the value behind the `§`; of the first spec if there is none.
fn assert_told(documents: &[String], wanted: &str) {
    let mut text = documents.join("---\n");
    let at = text.find('§').or_else(|| text.find("spec: {").map(|at| at + 6)).unwrap();
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    text = text.replace('§', "");
    assert_eq!(errors(&[text.clone()]), format!("a.yaml:{line}:{column}: {wanted}"), "{text}");
}

fn provider(spec: &str) -> String {
    document("IdentityProvider", "x", spec)
}

/// A policy with this rule.
fn rule(rule: &str) -> String {
    document("ArtifactPolicy", "x", &format!("rules: [{{name: r, {rule}}}]"))
}

fn access(subject: &str) -> String {
    let rest = "actions: [Pull], repositories: ['**']";
    document("AccessPolicy", "x", &format!("allow: [{{subjects: [{{{subject}}}], {rest}}}]"))
}

const EVERY_FIELD: &str = r#"
{ apiVersion: lockgate.dev/v1alpha1, kind: IdentityProvider, metadata: { name: prod-eu }, spec: {
  kubernetes: { issuer: https://kubernetes.default.svc, audience: lockgate, cluster: prod-eu,
    discoveryUrl: https://api.prod-eu.example:6443, caFile: /etc/lockgate/prod-eu.pem },
  algorithms: [RS256, ES256, EdDSA], clockSkew: 60s } }
---
{ apiVersion: lockgate.dev/v1alpha1, kind: IdentityProvider, metadata: { name: prod-us }, spec: {
  kubernetes: { issuer: https://kubernetes.default.svc, audience: lockgate, cluster: prod-us,
    jwksFile: /etc/lockgate/prod-us.jwks } } }
---
{ apiVersion: lockgate.dev/v1alpha1, kind: IdentityProvider, metadata: { name: people }, spec: {
  oidc: { issuer: https://login.example, audiences: [lockgate, registry], kind: CI,
    claims: { name: claims.sub, groups: claims.groups, attributes: { a.b_c-d: claims.x } },
    login: { clientId: lockgate, scopes: [email, groups] } } } }
---
{ apiVersion: lockgate.dev/v1alpha1, kind: IdentityProvider, metadata: { name: mesh }, spec: {
  spiffe: { trustDomain: prod.example, bundleFile: /etc/lockgate/bundle.json, audience: lockgate } } }
---
{ apiVersion: lockgate.dev/v1alpha1, kind: IdentityProvider, metadata: { name: nodes }, spec: {
  clientCertificates: { caFile: ca.pem, kind: Node, cluster: prod-eu,
    claims: { name: certificate.commonName } } } }
---
{ apiVersion: lockgate.dev/v1alpha1, kind: IdentityProvider, metadata: { name: local }, spec: {
  local: { usersFile: users.yaml } } }
---
{ apiVersion: lockgate.dev/v1alpha1, kind: IdentityProvider, metadata: { name: old-nodes }, spec: {
  clusterCredential: { cluster: prod-us, secretFile: /run/secrets/prod-us } } }
---
{ apiVersion: lockgate.dev/v1alpha1, kind: Environment, metadata: { name: default }, spec: {} }
---
{ apiVersion: lockgate.dev/v1alpha1, kind: Environment, metadata: { name: prod }, spec: {
  strictness: 1000, networks: [10.1.0.0/16], listenerHosts: ["prod.*"], subjects: [
    { kind: Authenticated, networks: [10.0.0.0/8] }, { kind: User }, { kind: User, name: "a*" },
    { kind: Group, name: team }, { kind: Node, cluster: prod-eu }, { kind: Workload, spiffeId: "spiffe://**" },
    { kind: ServiceAccount, cluster: prod-eu, namespace: "shop-*", name: web },
    { kind: CI, issuer: "https://**", repository: "corp/*", ref: "refs/tags/v*" } ] } }
---
{ apiVersion: lockgate.dev/v1alpha1, kind: AccessPolicy, metadata: { name: all }, spec: { allow: [
  { subjects: [{ kind: Anonymous }], actions: ["*"], repositories: ["**"],
    environments: [default, prod, "stag*"] } ] } }
---
{ apiVersion: lockgate.dev/v1alpha1, kind: Signer, metadata: { name: ci }, spec: {
  keyless: { issuer: https://a.example, subject: { glob: "https://**" }, trustRoot: public } } }
---
{ apiVersion: lockgate.dev/v1alpha1, kind: Signer, metadata: { name: key }, spec: { publicKey: { file: a.pem } } }
---
{ apiVersion: lockgate.dev/v1alpha1, kind: Signer, metadata: { name: notary }, spec: {
  notation: { trustStore: ca.pem, identities: ["x509.subject: CN=a"] } } }
---
{ apiVersion: lockgate.dev/v1alpha1, kind: Signer, metadata: { name: gnupg }, spec: { pgp: { file: a.asc } } }
---
{ apiVersion: lockgate.dev/v1alpha1, kind: ArtifactPolicy, metadata: { name: everything }, spec: {
  match: { environments: [prod, "*"], clusters: [prod-eu, "canary-*"], actions: [Pull, Push],
    purposes: [Deploy, Build, Develop, Scan, Replicate], repositories: ["docker.io/**"],
    artifacts: [Image, Index, HelmChart, Bundle, File, Evidence, Other] },
  enforcement: [ { environments: [prod], clusters: [prod-eu], mode: Enforce },
    { mode: Warn, from: 2026-12-01T00:00:00Z, until: 2026-12-02T00:00:00+01:00 }, { mode: Audit } ],
  onUnknown: Warn, alreadyAdmitted: { mode: Audit, for: 14d }, hide: true, owner: platform team,
  rules: [
    { name: repositories, repositories: { allow: ["docker.io/**"], deny: ["docker.io/evil/*"] } },
    { name: upstreams, upstreams: { allow: [docker.io, "*.io"], deny: [ghcr.io] } },
    { name: tags, tags: { deny: [latest], allow: ["v*"], semver: ">=1.2, <2", requireDigest: true } },
    { name: platforms, platforms: { allow: [linux/amd64, "linux/*"] } },
    { name: size, size: { max: 2GiB }, onUnknown: Allow, remedy: ask the platform team },
    { name: media-types, mediaTypes: { allow: ["application/**"], deny: ["*wasm*"] } },
    { name: age, age: { sincePublished: 72h, sinceFirstSeen: 1d, except: ["docker.io/corp/**"] } },
    { name: labels, labels: { require: { org.example/owner: "?*" }, deny: { debug: "true" } } },
    { name: annotations, annotations: { require: { a: "*" }, deny: { b: "*" } } },
    { name: base, baseImage: { allow: ["docker.io/library/*"] } },
    { name: licences, licences: { allow: ["MIT"], deny: ["AGPL-*"] } },
    { name: promotion, promotion: { admittedIn: default, for: 24h } },
    { name: signatures, signatures: { anyOf: [ci, key], allOf: [notary, gnupg], count: 2, scope: Each } },
    { name: provenance, provenance: { builders: ["https://**"], sources: ["https://**"], scope: Index } },
    { name: sbom, sbom: { required: true, formats: [SPDX, CycloneDX], maxAge: 30d } },
    { name: vulnerabilities, vulnerabilities: { max: { critical: 0, high: 1, medium: 2, low: 3 },
      fixableOnly: true, grace: { critical: 72h, high: 7d, medium: 30d, low: 90d }, maxAdvisoryAge: 48h } },
    { name: deny, deny: artifact.layerCount > 100, message: "'too many'" },
    { name: warn, warn: artifact.sizeBytes > 100 } ] } }
"#;

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
