//! Hosted and virtual repositories, and the store: what is accepted, and what is told otherwise.

use resources::{builtin, overlay, read_text};

/// A `Repository` on one line with its spec, so that columns are easy to count.
fn repository(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: lockgate.dev/v1alpha1, kind: Repository, metadata: {{name: {name}}},\n\
         spec: {{{spec}}}}}\n"
    )
}

fn plane(spec: &str) -> String {
    format!(
        "{{apiVersion: lockgate.dev/v1alpha1, kind: Plane, metadata: {{name: default}},\n\
         spec: {{{spec}}}}}\n"
    )
}

fn errors(documents: &[String]) -> String {
    let set = read_text("a.yaml", &documents.join("---\n"));
    match set.and_then(|set| overlay(&builtin(), &set)) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn a_hosted_repository_says_what_it_takes_and_keeps() {
    let text = r#"
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: team }
spec:
  path: team
  hosts: [team.corp.example]
  aliases: [old/team]
  pins: ["app/**:stable"]
  hosted:
    immutableTags: ["v*", "{release,rc}-[0-9]*"]
    quota: 500GiB
    retention:
      - { names: ["app/**"], tags: ["pr-*"], keepLast: 50, olderThan: 90d, notPulledFor: 30d }
      - { olderThan: 365d }
    untagged: { keepFor: forever }
    sparseIndexes: false
    maxManifestSize: 4MiB
    redirect: { presign: 10m }
"#;
    let set = read_text("a.yaml", text).unwrap();
    let (_, spec) = set.repositories().next().unwrap();
    let hosted = spec.hosted.as_ref().unwrap();
    assert_eq!(hosted.immutable_tags.len(), 2);
    assert_eq!(hosted.quota.as_ref().unwrap().bytes(), 500 << 30);
    assert_eq!(hosted.retention[0].keep_last, Some(50));
    assert_eq!(hosted.retention[1].older_than.as_ref().unwrap().get().as_secs(), 365 * 86400);
    assert_eq!(hosted.untagged.as_ref().unwrap().keep_for.get(), None);
    assert_eq!(hosted.redirect.as_ref().unwrap().presign.get().as_secs(), 600);
    let kept = read_text("kept.yaml", &set.to_yaml()).unwrap();
    assert_eq!(kept.revision(), set.revision());
    assert_eq!(errors(&[repository("least", "hosted: {}")]), "", "everything has a default");
}

#[test]
fn a_virtual_repository_says_whom_it_asks() {
    let text = r#"
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: all }
spec:
  hosts: [artifacts.corp.example]
  virtual:
    members:
      - { repository: team, claims: ["mycorp/**"] }
      - repository: docker.io
        include: ["library/**"]
        exclude: ["library/old-*"]
        rewrite: { from: "hub/(.*)", to: "$1" }
    pushTo: team
"#;
    let documents = [text.to_owned(), repository("team", "hosted: {}")];
    assert_eq!(errors(&documents), "");
    let set = read_text("a.yaml", text).unwrap();
    let (document, spec) = set.repositories().next().unwrap();
    let union = spec.r#virtual.as_ref().unwrap();
    assert_eq!(union.members[0].claims[0].as_str(), "mycorp/**");
    let rewrite = union.members[1].rewrite.as_ref().unwrap();
    assert_eq!((rewrite.from.as_str(), rewrite.to.as_str()), ("hub/(.*)", "$1"));
    assert_eq!(union.push_to.as_ref().unwrap().as_str(), "team");
    let kept = read_text("kept.yaml", &set.to_yaml()).unwrap();
    assert_eq!(kept.revision(), set.revision());
    // What only the user of an expression can judge is told where it stands.
    let place = document.place_of("spec.virtual.members[1].rewrite.from");
    assert_eq!(place.to_string(), "a.yaml:13:26");
}

#[test]
fn what_a_repository_cannot_be_is_told() {
    let one = |spec: &str| errors(&[repository("x", spec)]);
    for (spec, wanted) in [
        (
            "hosted: {immutableTags: ['app:v*']}",
            "a.yaml:2:33: spec.hosted.immutableTags[0]: a pattern of tags has no name, digest or \
             space; write one such as pr-*",
        ),
        (
            "hosted: {immutabletags: []}",
            "a.yaml:2:17: spec.hosted.immutabletags: unknown field; did you mean `immutableTags`?",
        ),
        (
            "hosted: {retention: [{tags: ['pr-*']}]}",
            "a.yaml:2:29: spec.hosted.retention[0]: at least one of keepLast, olderThan, \
             notPulledFor is needed; without any, the rule would remove every tag it covers",
        ),
        (
            "hosted: {retention: [{keepLast: 0}]}",
            "a.yaml:2:40: spec.hosted.retention[0].keepLast: 0 is not between 1 and 1000000",
        ),
        (
            "hosted: {untagged: {}}",
            "a.yaml:2:27: spec.hosted.untagged.keepFor: required field is missing",
        ),
        (
            "hosted: {maxManifestSize: 1GiB}",
            "a.yaml:2:34: spec.hosted.maxManifestSize: 1GiB is not between 64KiB and 64MiB",
        ),
        (
            "hosted: {redirect: {presign: 30s}}",
            "a.yaml:2:37: spec.hosted.redirect.presign: 30s is not between 1m and 1h",
        ),
        (
            "remote: {upstream: docker.io, redirect: {presign: 1d}}",
            "a.yaml:2:58: spec.remote.redirect.presign: 1d is not between 1m and 1h",
        ),
        (
            "virtual: {members: []}",
            "a.yaml:2:27: spec.virtual.members: at least one entry is needed",
        ),
        (
            "virtual: {members: [{repository: docker.io}]}, pins: ['a']",
            "a.yaml:2:61: spec.pins: a virtual repository holds nothing; pin it in its members",
        ),
        (
            "virtual: {members: [{repository: docker.io}], pushTo: dockre.io}",
            "a.yaml:2:62: spec.virtual.pushTo: `dockre.io` is not among the members: what is \
             pushed there could not be pulled here; did you mean `docker.io`?",
        ),
        (
            "virtual: {members: [{repository: docker.io, rewrite: {from: '', to: a}}]}",
            "a.yaml:2:68: spec.virtual.members[0].rewrite.from: an expression may not be empty; \
             write one such as hub/(.*)",
        ),
        (
            "hosted: {claims: ['a/**']}",
            "a.yaml:2:17: spec.hosted.claims: unknown field; known here: immutableTags, \
             maxManifestSize, quota, redirect, retention, sparseIndexes, untagged",
        ),
    ] {
        assert_eq!(one(spec), wanted, "{spec}");
    }
    let long = format!(
        "virtual: {{members: [{{repository: a, rewrite: {{from: {}, to: b}}}}]}}",
        "a".repeat(257)
    );
    assert!(one(&long).contains("rewrite.from: at most 256 characters are allowed"));
}

#[test]
fn members_must_be_there_and_take_what_is_pushed() {
    let virtual_of = |spec: &str| repository("all", &format!("virtual: {{{spec}}}"));
    let team = repository("team", "hosted: {}");
    let inner = repository("inner", "virtual: {members: [{repository: team}]}");
    for (spec, wanted) in [
        (
            "members: [{repository: temm}]",
            "a.yaml:2:41: spec.virtual.members[0].repository: no Repository is named `temm`; did \
             you mean `team`?",
        ),
        (
            "members: [{repository: docker.io}], pushTo: docker.io",
            "a.yaml:2:62: spec.virtual.pushTo: `docker.io` is remote and takes no pushes; name a \
             hosted member",
        ),
        (
            "members: [{repository: inner}], pushTo: inner",
            "a.yaml:2:58: spec.virtual.pushTo: `inner` is virtual and has no pushTo of its own",
        ),
        (
            "members: [{repository: team}, {repository: team}], pushTo: team",
            "a.yaml:2:77: spec.virtual.pushTo: `team` is a member twice; pushes need one way to it",
        ),
        ("members: [{repository: team}, {repository: inner}], pushTo: team", ""),
    ] {
        assert_eq!(errors(&[virtual_of(spec), team.clone(), inner.clone()]), wanted, "{spec}");
    }
    let takes = repository("inner", "virtual: {members: [{repository: team}], pushTo: team}");
    let all = virtual_of("members: [{repository: inner}], pushTo: inner");
    assert_eq!(errors(&[all, team, takes]), "");
}

#[test]
fn a_circle_is_told_by_the_way_round_it() {
    let over = |name: &str, members: &[&str]| {
        let members: Vec<String> =
            members.iter().map(|member| format!("{{repository: {member}}}")).collect();
        repository(name, &format!("virtual: {{members: [{}]}}", members.join(", ")))
    };
    assert_eq!(
        errors(&[over("a", &["docker.io", "a"])]),
        "a.yaml:2:66: spec.virtual.members[1].repository: the members lead in a circle: a → a"
    );
    assert_eq!(
        errors(&[over("a", &["b"]), over("b", &["c"]), over("c", &["docker.io", "a"])]),
        "a.yaml:8:66: spec.virtual.members[1].repository: the members lead in a circle: \
         a → b → c → a"
    );
    // One that leads into the circle is not on it.
    assert_eq!(
        errors(&[over("a", &["b"]), over("b", &["c"]), over("c", &["b"])]),
        "a.yaml:8:41: spec.virtual.members[0].repository: the members lead in a circle: b → c → b"
    );
    // The same member by two ways is no circle.
    let hosted = repository("team", "hosted: {}");
    let diamond =
        [over("a", &["b", "c"]), over("b", &["team"]), over("c", &["team", "b"]), hosted.clone()];
    assert_eq!(errors(&diamond), "");

    let chain = |levels: usize| {
        let name = |level: usize| format!("v{level:04}");
        let mut documents: Vec<String> =
            (1..levels).map(|level| over(&name(level), &[&name(level + 1)])).collect();
        documents.push(over(&name(levels), &["team"]));
        documents.push(hosted.clone());
        errors(&documents)
    };
    assert_eq!(chain(16), "");
    assert!(chain(17).contains("at most 16 levels"), "{}", chain(17));
    assert!(chain(500).contains("at most 16 levels"));

    // Each level asks all of the next by two ways: 2 to the power of the levels.
    let doubling = |levels: usize| {
        let name = |level: usize| format!("v{level}");
        let mut documents: Vec<String> = (1..levels)
            .map(|level| over(&name(level), &[&name(level + 1), &name(level + 1)]))
            .collect();
        documents.push(over(&name(levels), &["team", "team"]));
        documents.push(hosted.clone());
        errors(&documents)
    };
    assert_eq!(doubling(6), "");
    let told = doubling(9);
    assert!(told.contains("it leads to 128 remote and hosted repositories"), "{told}");
    assert_eq!(told.lines().count(), 1, "told once: {told}");
}

#[test]
fn the_store_is_one_of_four_and_its_secrets_are_files() {
    for spec in [
        "file: {directory: /mnt/blobs}",
        "s3: {bucket: b, prefix: lockgate, region: us-east-1, endpoint: 'http://127.0.0.1:8333', \
         accessKeyIdFile: f, secretAccessKeyFile: f, pathStyle: true}",
        "s3: {bucket: b}",
        "gcs: {bucket: b, prefix: p/q, credentialsFile: f, endpoint: 'https://gcs.example'}",
        "azure: {account: a, container: c, prefix: p, accessKeyFile: f, \
         endpoint: 'https://azure.example'}",
    ] {
        assert_eq!(errors(&[plane(&format!("store: {{{spec}}}"))]), "", "{spec}");
    }
    for (spec, wanted) in [
        ("", "a.yaml:2:15: spec.store: exactly one of file, s3, gcs, azure is needed"),
        (
            "file: {directory: /b}, s3: {bucket: b}",
            "a.yaml:2:15: spec.store: exactly one of file, s3, gcs, azure is needed",
        ),
        (
            "file: {directory: blobs}",
            "a.yaml:2:34: spec.store.file.directory: write an absolute path: the blobs must not \
             depend on where the process was started",
        ),
        (
            "s3: {bucket: b, accessKeyIdFile: f}",
            "a.yaml:2:20: spec.store.s3: accessKeyIdFile needs secretAccessKeyFile beside it",
        ),
        (
            "s3: {bucket: b, secretAccessKeyFile: f}",
            "a.yaml:2:20: spec.store.s3: secretAccessKeyFile needs accessKeyIdFile beside it",
        ),
        (
            "s3: {bucket: b, prefix: /a/}",
            "a.yaml:2:40: spec.store.s3.prefix: not a prefix of keys; write letters, digits, . _ \
             and -, with / in between, such as lockgate/blobs",
        ),
        (
            "s3: {bucket: b, secretAccessKey: hunter2}",
            "a.yaml:2:32: spec.store.s3.secretAccessKey: unknown field; did you mean \
             `secretAccessKeyFile`?",
        ),
    ] {
        assert_eq!(errors(&[plane(&format!("store: {{{spec}}}"))]), wanted, "{spec}");
    }
}
