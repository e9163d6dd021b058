//! What people write, read as they would: errors are compared with the whole text they see.

use resources::{Kind, Problems, Set, builtin, effective, overlay, read_dir, read_text};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const UPSTREAM: &str = "apiVersion: lockgate.dev/v1alpha1\nkind: Upstream\n\
    metadata: { name: hub }\nspec: { endpoints: [{ url: https://hub.example }] }\n";
const REPOSITORY: &str = "apiVersion: lockgate.dev/v1alpha1\nkind: Repository\n\
    metadata: { name: team }\nspec: { remote: { upstream: hub } }\n";

fn errors(text: &str) -> Vec<String> {
    match read_text("a.yaml", text).and_then(|set| overlay(&builtin(), &set)) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// A document with this kind and spec, both beginning on line 4.
fn with_spec(kind: &str, spec: &str) -> String {
    format!("apiVersion: lockgate.dev/v1alpha1\nkind: {kind}\nmetadata: {{ name: x }}\n{spec}")
}

#[test]
fn every_error_names_file_line_field_and_the_nearest_name() {
    let upstream = |spec: &str| with_spec("Upstream", spec);
    let repository = |spec: &str| with_spec("Repository", spec);
    let access = |spec: &str| with_spec("AccessPolicy", spec);
    for (text, wanted) in [
        (
            repository("spec:\n  remote:\n    upstream: docker.io\n    freshnes: { tagTtl: 5m }\n"),
            "a.yaml:7:5: spec.remote.freshnes: unknown field; did you mean `freshness`?",
        ),
        (
            repository("spec:\n  remote:\n    upstream: docker.io\n    tagTtl: 5m\n"),
            "a.yaml:7:5: spec.remote.tagTtl: unknown field; did you mean `freshness.tagTtl`?",
        ),
        (
            repository("spec: { remote: { upstream: docker.oi } }\n"),
            "a.yaml:4:29: spec.remote.upstream: no Upstream is named `docker.oi`; did you mean \
             `docker.io`?",
        ),
        (
            repository("spec: { remote: { upstream: docker.io, freshness: { tagTtl: 5 } } }\n"),
            "a.yaml:4:61: spec.remote.freshness.tagTtl: expected text, found the number 5; put \
             it in quotes",
        ),
        (
            repository("spec: { remote: { upstream: docker.io, cacheShare: 200gb } }\n"),
            "a.yaml:4:52: spec.remote.cacheShare: \"200gb\" is no size; write one such as 512MiB, \
             200GiB or 1.5TiB",
        ),
        (
            repository("spec: { remote: { upstream: docker.io }, pins: ['a['] }\n"),
            "a.yaml:4:49: spec.pins[0]: not a pattern (unclosed character class; missing ']'); \
             use * within a segment and ** across segments",
        ),
        (
            repository("spec: {}\n"),
            "a.yaml:4:7: spec: exactly one of remote, hosted, virtual is needed",
        ),
        (
            repository("spec: { hosted: {}, remote: { upstream: docker.io } }\n"),
            "a.yaml:4:7: spec: exactly one of remote, hosted, virtual is needed; here are remote \
             and hosted",
        ),
        (
            repository("spec: { remote: { upstream: docker.io, onUpstreamDelete: {} } }\n"),
            "a.yaml:4:58: spec.remote.onUpstreamDelete: exactly one of keepFor, refuse is needed",
        ),
        (
            upstream("spec: { endpoints: [] }\n"),
            "a.yaml:4:20: spec.endpoints: at least one entry is needed",
        ),
        (
            upstream("spec: { endpoints: [{ url: hub.example }] }\n"),
            "a.yaml:4:28: spec.endpoints[0].url: not a URL (relative URL without a base); write \
             one such as https://registry.example",
        ),
        (
            upstream("spec: { endpoints: [{ url: 'http://127.0.0.1:5000' }] }\n"),
            "a.yaml:4:28: spec.endpoints[0].url: a private or loopback address; if that is \
             meant, set spec.boundary.privateAddresses: true",
        ),
        (
            upstream("spec: { endpoints: [{ url: https://a }], profile: Dockerhub }\n"),
            "a.yaml:4:51: spec.profile: \"Dockerhub\" is not one of: DockerHub, Ecr, Gcp, Acr, \
             Generic; did you mean `DockerHub`?",
        ),
        (
            upstream("spec: { endpoints: [{ url: https://a }], credentials: [{ prefix: '' }] }\n"),
            "a.yaml:4:56: spec.credentials[0]: exactly one of basic, bearer, dockerConfig, exec, \
             ecr, gcp, azure is needed",
        ),
        (
            upstream("spec: { endpoints: [{ url: https://a }], limits: { connections: 0 } }\n"),
            "a.yaml:4:65: spec.limits.connections: 0 is not between 1 and 4096",
        ),
        (
            access(
                "spec: { allow: [{ subjects: [{ kind: Group }], actions: [Pull], \
                    repositories: ['**'] }] }\n",
            ),
            "a.yaml:4:38: spec.allow[0].subjects[0].kind: a Group needs its name; for everybody write \
             Authenticated",
        ),
        (
            access(
                "spec: { allow: [{ subjects: [{ kind: Anonymous, networks: [10.0.0.1/8] }], \
                    actions: [Pull], repositories: ['**'], environments: [''] }] }\n",
            ),
            "a.yaml:4:60: spec.allow[0].subjects[0].networks[0]: 10.0.0.1/8 has bits set beyond \
             /8; write the network's own address\n\
             a.yaml:4:130: spec.allow[0].environments[0]: a pattern may not be empty; write one such \
             as shop-*",
        ),
        (
            with_spec("Plane", "spec: { posture: Observe }\n"),
            "a.yaml:3:19: metadata.name: there is one Plane, and it is named `default`",
        ),
        (
            with_spec("Repositroy", "spec: {}\n"),
            "a.yaml:2:7: kind: \"Repositroy\" is not one of: AccessPolicy, ArtifactPolicy, Block, \
             Environment, IdentityProvider, Plane, Repository, Signer, Upstream, Waiver; did you mean `Repository`?",
        ),
        (
            with_spec("TrustRoot", "spec: {}\n"),
            "a.yaml:2:7: kind: TrustRoot is not enforced by this version; remove it or upgrade",
        ),
        (
            with_spec(
                "Waiver",
                "spec: { scope: { rules: [owners] }, reason: r, requestedBy: A, approvedBy: a, \
                    expires: 2027-01-01T00:00:00Z }\n",
            ),
            "a.yaml:4:16: spec.scope: say for what it is waived: digests or repositories\n\
             a.yaml:4:26: spec.scope.rules[0]: write policy/rule; `owners/*` are all rules of a policy\n\
             a.yaml:4:76: spec.approvedBy: nobody approves what they asked for; name another one",
        ),
        (
            with_spec(
                "Waiver",
                "spec: { scope: { rules: [a/b], repositories: ['**'] }, reason: r }\n",
            ),
            "a.yaml:4:7: spec.approvedBy: required field is missing\n\
             a.yaml:4:7: spec.expires: required field is missing\n\
             a.yaml:4:7: spec.requestedBy: required field is missing",
        ),
        (
            with_spec("Block", "spec: { match: {}, reason: r }\n"),
            "a.yaml:4:16: spec.match: a block of everything would stop every cluster: say what is \
             blocked; all of a plane is repositories: [\"**\"]",
        ),
        (
            with_spec("Block", "spec: { match: { digests: [sha256:x] }, reason: r }\n"),
            "a.yaml:4:28: spec.match.digests[0]: not a digest: a sha256 digest has 64 characters of \
             lower-case hex after the colon",
        ),
        (
            with_spec("Block", "spec: { match: { packages: [xz] }, reason: r }\n"),
            "a.yaml:4:18: spec.match.packages: not enforced by this version; remove it or upgrade",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\n".to_owned(),
            "a.yaml:1:13: apiVersion: \"v1\" is not lockgate.dev/v1alpha1",
        ),
        (
            "kind: Upstream\n".to_owned(),
            "a.yaml:1:1: apiVersion: required; write lockgate.dev/v1alpha1",
        ),
        (
            "- a\n".to_owned(),
            "a.yaml:1:1: a document is a map with apiVersion, kind, metadata and spec",
        ),
        (
            format!("{UPSTREAM}---\n{UPSTREAM}"),
            "a.yaml:8:19: metadata.name: Upstream `hub` is already defined at a.yaml:1:1",
        ),
        (
            format!("{UPSTREAM}spec: {{}}\n"),
            "a.yaml:5:1: spec: the field is already set at a.yaml:4:1",
        ),
        (
            UPSTREAM.replace("name: hub", "name: Hub"),
            "a.yaml:3:19: metadata.name: a name is lower-case letters, digits, `-` and `.`, at \
             most 253 of them, and begins and ends with a letter or digit (DNS-1123 subdomain)",
        ),
        (
            format!(
                "{UPSTREAM}---\n{}",
                REPOSITORY.replace("spec: {", "spec: { hosts: [ghcr.io],")
            ),
            "a.yaml:9:17: spec.hosts[0]: the host `ghcr.io` already leads to Repository \
             `ghcr.io`, built in; name this document `ghcr.io` to replace it",
        ),
    ] {
        assert_eq!(errors(&text).join("\n"), wanted, "{text}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let found = errors(&format!(
        "{}---\n{}",
        with_spec(
            "Upstream",
            "spec: { endpoint: [], timeouts: { connect: soon, firstbyte: 1s } }\n"
        ),
        with_spec("Repository", "spec: { remote: { upstream: Docker_Hub } }\n"),
    ));
    assert_eq!(found.len(), 5, "{found:#?}");
}

#[test]
fn the_documents_of_the_design_are_accepted() {
    let text = r#"
apiVersion: lockgate.dev/v1alpha1
kind: Upstream
metadata: { name: docker-hub, labels: { team: platform } }
spec:
  endpoints:
    - url: https://mirror.corp.example
    - url: https://registry-1.docker.io
  credentials:
    - prefix: ""
      basic: { username: puller, passwordFile: /run/secrets/hub }
    - prefix: corp/
      dockerConfig: { file: /run/secrets/config.json }
  tls: { caFile: /etc/lockgate/corp-ca.pem, certFile: client.pem, keyFile: client.key }
  proxy: http://proxy.corp.example:3128
  boundary:
    realms: [https://auth.docker.io]
    redirects: [https://*.cloudflarestorage.com]
    privateAddresses: false
  timeouts: { connect: 2s, firstByte: 5s, stall: 20s }
  limits: { connections: 64, requestsPerSecond: 50 }
---
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: docker.io }
spec:
  path: docker.io
  hosts: [docker.io, hub.corp.example]
  aliases: [proxy/dockerhub]
  remote:
    upstream: docker-hub
    prefix: ""
    freshness: { tagTtl: 5m, staleWhileRevalidate: 1h, staleIfError: forever, absentTtl: 30s }
    onUpstreamDelete: { keepFor: 30d }
    cacheShare: 200GiB
  pins: ["library/*:*-lts"]
---
apiVersion: lockgate.dev/v1alpha1
kind: AccessPolicy
metadata: { name: everyone, uid: 5c0c, resourceVersion: "7", creationTimestamp: null }
spec:
  allow:
    - subjects: [ { kind: Anonymous, networks: [10.0.0.0/8] } ]
      actions: [Pull, List]
      repositories: ["docker.io/**"]
status: { conditions: [] }
---
apiVersion: lockgate.dev/v1alpha1
kind: Plane
metadata: { name: default }
spec: { posture: Enforce }
"#;
    assert_eq!(errors(text), Vec::<String>::new());
    let set = read_text("a.yaml", text).unwrap();
    let (_, hub) = set.upstreams().next().unwrap();
    assert_eq!(hub.timeouts.as_ref().unwrap().stall.as_ref().unwrap().get().as_secs(), 20);
    let (_, repository) = set.repositories().next().unwrap();
    let remote = repository.remote.as_ref().unwrap();
    assert_eq!(remote.cache_share.as_ref().unwrap().bytes(), 200 << 30);
    assert_eq!(remote.freshness.as_ref().unwrap().stale_if_error.as_ref().unwrap().get(), None);
    assert_eq!(set.access_policies().count(), 1);
    assert!(set.plane().is_some());
}

#[test]
fn a_revision_names_the_content_and_nothing_else() {
    let set = |text: &str| read_text("a.yaml", text).unwrap();
    let one = set(&format!("{UPSTREAM}---\n{REPOSITORY}"));
    let other_order = set(&format!("# a comment\n{REPOSITORY}---\n{UPSTREAM}status: {{ a: 1 }}\n"));
    let labelled = set(&format!(
        "{}---\n{REPOSITORY}",
        UPSTREAM.replace("name: hub", "name: hub, labels: {a: b}, generation: 4")
    ));
    assert_eq!(one.revision(), other_order.revision());
    assert_eq!(one.revision(), labelled.revision());
    let changed = set(&format!("{UPSTREAM}---\n{}", REPOSITORY.replace("team", "crew")));
    assert_ne!(one.revision(), changed.revision());
    let absent = set(REPOSITORY);
    let default_written = set(&REPOSITORY.replace("spec: {", "spec: { path: team,"));
    assert_ne!(absent.revision(), default_written.revision(), "defaults are not filled in");
    assert_eq!(
        set(UPSTREAM).canonical_json(),
        r#"[{"apiVersion":"lockgate.dev/v1alpha1","kind":"Upstream","metadata":{"name":"hub"},"spec":{"endpoints":[{"url":"https://hub.example"}]}}]"#
    );
}

#[test]
fn what_is_kept_reads_back_as_the_same_revision() {
    let tricky = with_spec(
        "Upstream",
        "spec:\n  endpoints: [{ url: https://a }]\n  credentials:\n  - prefix: ''\n    \
         basic: { username: 'no', passwordFile: \"a: b # c\\n'\\\"\" }\n  - prefix: a/\n    \
         exec: { command: '~', args: ['1e3', '', ' x ', '- y', '*', '!t', '%', \"\\t\"] }\n",
    );
    for set in [builtin(), read_text("a.yaml", &tricky).unwrap(), Set::default()] {
        let yaml = set.to_yaml();
        let back = read_text("kept.yaml", &yaml).unwrap_or_else(|e| panic!("{e}\n{yaml}"));
        assert_eq!(back.revision(), set.revision(), "{yaml}");
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a file has a parent")).expect("can make directories");
    fs::write(path, text).expect("can write");
}

#[test]
fn a_directory_is_read_recursively_and_in_name_order() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("b/upstream.yml"), UPSTREAM);
    write(&dir.path().join("a/repository.yaml"), REPOSITORY);
    write(&dir.path().join("README.md"), "# not a document");
    write(&dir.path().join(".hidden.yaml"), "garbage: [");
    write(&dir.path().join(".git/x.yaml"), "garbage: [");
    write(&dir.path().join("empty.yaml"), "# nothing\n---\n");
    write(
        &dir.path().join("plane.json"),
        r#"{"apiVersion":"lockgate.dev/v1alpha1","kind":"Plane","metadata":{"name":"default"},"spec":{}}"#,
    );
    let set = effective(Some(dir.path())).unwrap();
    assert!(set.get(Kind::Upstream, "hub").is_some());
    assert!(set.get(Kind::Repository, "docker.io").is_some(), "the built-in ones stay");
    assert!(set.plane().is_some());

    write(&dir.path().join("c.yaml"), REPOSITORY);
    let twice = read_dir(dir.path()).unwrap_err();
    let path = dir.path().display();
    assert_eq!(
        twice.to_string(),
        format!(
            "{path}/c.yaml:3:19: metadata.name: Repository `team` is already defined at \
             {path}/a/repository.yaml:1:1"
        )
    );
}

#[test]
fn a_mounted_config_map_gives_each_document_once() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("..2026_11_24/hub.yaml"), UPSTREAM);
    symlink("..2026_11_24", dir.path().join("..data")).unwrap();
    symlink("..data/hub.yaml", dir.path().join("hub.yaml")).unwrap();
    assert_eq!(read_dir(dir.path()).unwrap().documents().len(), 1);
}

#[test]
fn odd_files_are_told_and_never_waited_for() {
    let problems = |make: &dyn Fn(&Path)| -> Result<Set, Problems> {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        read_dir(dir.path())
    };
    for (make, wanted) in [
        (&(|dir: &Path| symlink(".", dir.join("loop")).unwrap()) as &dyn Fn(&Path), "leads back"),
        (&|dir: &Path| symlink("gone", dir.join("a.yaml")).unwrap(), "cannot be read"),
        (
            &|dir: &Path| fs::write(dir.join("a.yaml"), [0xff, 0xfe, 0x00, 0xd8]).unwrap(),
            "not UTF-8",
        ),
        (
            &|dir: &Path| fs::write(dir.join("a.yaml"), vec![b'#'; (4 << 20) + 1]).unwrap(),
            "larger than 4MiB",
        ),
        (
            &|dir: &Path| {
                let socket = std::os::unix::net::UnixListener::bind(dir.join("a.yaml")).unwrap();
                drop(socket);
            },
            "not a regular file",
        ),
        (
            &|dir: &Path| {
                let deep = (0..40).fold(dir.to_path_buf(), |path, _| path.join("d"));
                write(&deep.join("a.yaml"), UPSTREAM);
            },
            "directories deep",
        ),
    ] {
        let error = problems(make).unwrap_err().to_string();
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
    assert!(read_dir(Path::new("/nonexistent/lockgate")).is_err());
}

#[test]
fn tenants_are_refused_and_the_planes_own_namespace_is_not() {
    let own = UPSTREAM.replace("name: hub", "name: hub, namespace: lockgate");
    let other = REPOSITORY.replace("name: team", "name: team, namespace: shop");
    assert_eq!(errors(&format!("{own}---\n{REPOSITORY}")), Vec::<String>::new());
    let found = errors(&format!("{own}---\n{other}"));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("metadata.namespace: another namespace than"), "{found:?}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(apiVersion: lockgate.dev/v1alpha1\n)?(kind: (Upstream|Repository|Plane)\n)?(metadata: \\{name: [a-z.]{1,4}\\}\n)?(spec: [ -~]{0,40}\n)?(---\n)?\\PC{0,20}") {
        let _ = read_text("a.yaml", &text);
    }
}
