//! `lockgate policy test`: what it plays, how it tells, and how it ends.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Setup, text};
use serde_json::Value;

const SCENARIO: &str = "
about: nobody deploys latest
resources: |
  apiVersion: lockgate.dev/v1alpha1
  kind: ArtifactPolicy
  metadata: { name: releases }
  spec:
    rules: [{ name: no-latest, tags: { deny: [latest] } }]
artifacts:
  - { id: alpine, name: docker.io/library/alpine, tags: [\"3\", latest] }
cases:
  - { it: refuses the <tag>, pull: \"docker.io/library/alpine:latest\", expect: deny, says: [releases/no-latest] }
  - { it: serves the digest, pull: docker.io/library/alpine@alpine, expect: allow }
";

/// A directory `scenarios` with these files.
async fn setup(files: &[(&str, &str)]) -> Setup {
    let setup = Setup::new().await;
    for (name, text) in files {
        let path = setup.path("scenarios").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    setup
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directories_are_played_whole_and_every_form_says_the_same() {
    let wrong = SCENARIO.replace("expect: allow", "expect: deny");
    let broken = SCENARIO.replace("rules:", "ruels:");
    let files = [
        ("a.yaml", SCENARIO),
        ("deep/er/b.yml", &wrong),
        (".hidden.yaml", &broken),
        ("notes.md", "not a scenario"),
    ];
    let setup = setup(&files).await;
    let (all, good) = (setup.path("scenarios"), setup.path("scenarios/a.yaml"));
    setup.run(&["policy", "test", text(&good)]).await.expect(0);

    let table = setup.run(&["policy", "test", text(&all)]).await.expect(1).stdout;
    assert!(table.contains("b.yml") && table.contains("serves the digest"), "{table}");
    assert!(!table.contains("hidden"), "{table}");
    let json = setup.run(&["policy", "test", text(&all), "-o", "json"]).await.expect(1).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    let as_expected: Vec<bool> = json["files"]
        .as_array()
        .unwrap_or_else(|| panic!("{json}"))
        .iter()
        .flat_map(|it| it["cases"].as_array().unwrap())
        .map(|case| case["differences"].as_array().unwrap().is_empty())
        .collect();
    assert_eq!(as_expected, [true, true, true, false]);
    let junit = setup.run(&["policy", "test", text(&all), "-o", "junit"]).await.expect(1).stdout;
    assert!(junit.contains("refuses the &lt;tag&gt;"), "{junit}");
    assert_eq!((junit.matches("<testcase").count(), junit.matches("<failure").count()), (4, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_played_is_no_verdict() {
    let broken = SCENARIO.replace("rules:", "ruels:");
    let unknown = SCENARIO.replace("alpine@alpine", "alpine@alpin");
    let setup = setup(&[("a.yaml", SCENARIO), ("b.yaml", &broken), ("c.yaml", &unknown)]).await;
    let all = setup.path("scenarios");
    let told = setup.run(&["policy", "test", text(&all)]).await.expect(2).stdout;
    assert!(told.contains("ruels") && told.contains("alpin"), "{told}");
    let junit = setup.run(&["policy", "test", text(&all), "-o", "junit"]).await.expect(2).stdout;
    assert_eq!(junit.matches("<error").count(), 2, "{junit}");
    // A wrong way leads to no test that would pass.
    setup.run(&["policy", "test", "/no/such/place"]).await.expect(64);
    std::fs::create_dir(setup.path("nothing")).unwrap();
    setup.run(&["policy", "test", text(&setup.path("nothing"))]).await.expect(64);
    setup.run(&["policy", "test"]).await.expect(64);
}
