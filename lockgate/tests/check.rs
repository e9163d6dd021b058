//! `lockgate check`: verdicts, forms and exit statuses, of a plane that runs and of files alone.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{REPOSITORY, Ran, Setup, text};
use serde_json::Value;
use testkit::{Fault, ImageSpec, Match};

const POLICIES: &str = "
apiVersion: lockgate.dev/v1alpha1
kind: Environment
metadata: { name: prod }
spec: { strictness: 100 }
---
apiVersion: lockgate.dev/v1alpha1
kind: AccessPolicy
metadata: { name: teams }
spec:
  allow:
    - { subjects: [{ kind: Authenticated }, { kind: Anonymous }], actions: [Pull], repositories: [up.example.test/open/*] }
    - subjects:
        - { kind: User, name: ann }
        - { kind: Group, name: ops }
        - { kind: ServiceAccount, namespace: shop, cluster: east }
        - { kind: Node, cluster: east }
        - { kind: CI, repository: corp/app, ref: refs/tags/* }
        - { kind: Workload, spiffeId: spiffe://corp.test/web }
      actions: [Pull]
      repositories: [up.example.test/closed/*]
---
apiVersion: lockgate.dev/v1alpha1
kind: ArtifactPolicy
metadata: { name: releases }
spec:
  match: { environments: [prod] }
  rules:
    - { name: no-latest, tags: { deny: [latest] }, remedy: name a version }
    - { name: amd64, platforms: { allow: [linux/amd64] } }
---
apiVersion: lockgate.dev/v1alpha1
kind: ArtifactPolicy
metadata: { name: careful }
spec:
  match: { environments: [prod] }
  enforcement: [{ mode: Warn }]
  rules: [{ name: no-edge, tags: { deny: [edge] } }]
";

async fn setup() -> Setup {
    let setup = Setup::new().await;
    setup.write("policies.yaml", POLICIES);
    let plain = || ImageSpec::layers([10]).platform("linux", "amd64");
    for tag in ["1", "latest", "edge"] {
        setup.registry.image("open/a", tag, plain());
    }
    setup.registry.image("open/arm", "1", ImageSpec::layers([10]).platform("linux", "arm64"));
    setup.registry.image("closed/a", "1", plain());
    setup
}

fn image(name: &str) -> String {
    format!("{REPOSITORY}/{name}")
}

/// The same question to a plane that runs, and to the files alone.
async fn both(setup: &Setup, words: &[&str], code: i32) -> [Ran; 2] {
    let words = [&["check"], words].concat();
    let asked = setup.ask(&words).await.expect(code);
    let resources = setup.resources();
    let alone = setup.run(&[&words[..], &["--resources", text(&resources)]].concat()).await;
    [asked, alone.expect(code)]
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verdict_is_the_same_in_every_form_and_in_both_ways() {
    let setup = setup().await;
    let plane = setup.serve().await;
    let cases = [
        ("open/a:1", 0, "Allow", ""),
        ("open/a:edge", 0, "Warn", "careful/no-edge"),
        ("open/a:latest", 1, "Deny", "releases/no-latest"),
        ("open/arm:1", 1, "Deny", "releases/amd64"),
        ("open/absent:1", 2, "CannotTell", ""),
    ];
    for (name, code, verdict, rule) in cases {
        let reference = image(name);
        let asking = [reference.as_str(), "--env", "prod", "--as", "anonymous"];
        for ran in both(&setup, &asking, code).await {
            assert!(ran.stdout.starts_with(&format!("{verdict:<10}  {reference}\n")), "{ran:?}");
            assert!(ran.stdout.contains(rule), "{ran:?}");
        }
        for ran in both(&setup, &[&asking[..], &["-o", "json"]].concat(), code).await {
            let result = json(&ran.stdout)["results"][0].clone();
            assert_eq!(
                (&result["reference"], &result["verdict"]),
                (&reference.as_str().into(), &verdict.into())
            );
            assert!(
                result["digest"].is_string() || verdict == "CannotTell" || name.ends_with("latest"),
                "{result}"
            );
        }
        for ran in both(&setup, &[&asking[..], &["-o", "sarif"]].concat(), code).await {
            let sarif = json(&ran.stdout);
            assert_eq!(
                (&sarif["version"], sarif["runs"].as_array().unwrap().len()),
                (&"2.1.0".into(), 1)
            );
            let levels: Vec<&Value> = sarif["runs"][0]["results"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| &it["level"])
                .collect();
            let expected = match verdict {
                "Allow" => vec![],
                "Warn" => vec!["warning"],
                _ => vec!["error"],
            };
            assert_eq!(levels, expected, "{sarif}");
        }
        for ran in both(&setup, &[&asking[..], &["-o", "junit"]].concat(), code).await {
            assert!(ran.stdout.starts_with("<?xml version=\"1.0\""), "{ran:?}");
            let (failures, errors) = ((verdict == "Deny") as u8, (verdict == "CannotTell") as u8);
            let counted = format!("tests=\"1\" failures=\"{failures}\" errors=\"{errors}\"");
            assert!(ran.stdout.contains(&counted), "{ran:?}");
            assert!(ran.stdout.ends_with("</testsuite>\n"), "{ran:?}");
        }
    }
    // Of several, the worst is the answer: a denial before what nobody can tell.
    for (names, code) in [
        (&["open/a:1", "open/a:edge"][..], 0),
        (&["open/a:1", "open/absent:1"], 2),
        (&["open/absent:1", "open/a:latest", "open/a:1"], 1),
    ] {
        let references: Vec<String> = names.iter().map(|name| image(name)).collect();
        let mut words: Vec<&str> = references.iter().map(String::as_str).collect();
        words.extend(["--env", "prod", "--as", "anonymous", "-o", "json"]);
        for ran in both(&setup, &words, code).await {
            assert_eq!(json(&ran.stdout)["results"].as_array().unwrap().len(), names.len());
        }
    }
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_may_be_asked_about() {
    let setup = setup().await;
    let plane = setup.serve().await;
    let reference = image("closed/a:1");
    for (who, code) in [
        (&["--as", "anonymous"][..], 1),
        (&["--as", "user:ann"], 0),
        (&["--as", "user:bob"], 1),
        (&["--as", "user:bob", "--group", "dev", "--group", "ops"], 0),
        (&["--as", "system:serviceaccount:shop:web", "--cluster", "east"], 0),
        (&["--as", "system:serviceaccount:shop:web", "--cluster", "west"], 1),
        (&["--as", "system:serviceaccount:payments:web", "--cluster", "east"], 1),
        (&["--as", "node:east"], 0),
        (&["--as", "node:west"], 1),
        (&["--as", "ci:corp/app@refs/tags/v1"], 0),
        (&["--as", "ci:corp/app@refs/heads/main"], 1),
        (&["--as", "ci:corp/other@refs/tags/v1"], 1),
        (&["--as", "spiffe://corp.test/web"], 0),
        (&["--as", "spiffe://corp.test/db"], 1),
    ] {
        both(&setup, &[&[reference.as_str()], who].concat(), code).await;
    }
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_that_make_no_sense_are_told() {
    let setup = setup().await;
    let plane = setup.serve().await;
    let good = image("open/a:1");
    for (more, told) in [
        (&["--as", "somebody"][..], "names nobody"),
        (&["--as", "system:serviceaccount:shop"], "names nobody"),
        (&["--env", "prdo", "--as", "anonymous"], "prdo"),
        (&["--action", "Eat"], "neither Pull nor Push"),
    ] {
        for ran in both(&setup, &[&[good.as_str()], more].concat(), 64).await {
            assert!(ran.stderr.contains(told), "{more:?}: {ran:?}");
            assert_eq!(ran.stdout, "");
        }
    }
    setup.ask(&["check"]).await.expect(64);
    setup.ask(&["check", &good, "-o", "yaml"]).await.expect(64);
    // One bad reference among good ones: it alone cannot be told.
    for bad in [image("open/a@sha256:12"), image("Open/A:1"), image("open/a:-"), "///".to_owned()] {
        for ran in both(&setup, &[good.as_str(), bad.as_str(), "-o", "json"], 2).await {
            let results = json(&ran.stdout)["results"].clone();
            assert_eq!(
                (&results[0]["verdict"], &results[1]["verdict"]),
                (&"Allow".into(), &"CannotTell".into())
            );
        }
    }
    // Files that cannot be read give no verdict.
    setup.write("wrong.yaml", "kind: Nothing\n");
    let resources = setup.resources();
    let wrong = setup.run(&["check", &good, "--resources", text(&resources)]).await.expect(2);
    assert!(wrong.stderr.contains("wrong.yaml:1:"), "{wrong:?}");
    // Who may not ask gets no verdict, and it is none that looks like one.
    let url = format!("http://{}", plane.address);
    let stranger = ["check", &good, "--plane", &url, "--as", "user:ann"];
    let stranger = setup.run(&stranger).await.expect(2);
    assert!(stranger.stdout.is_empty() && stranger.stderr.contains("Administer"), "{stranger:?}");
    plane.stop().await;
    let gone = setup.ask(&["check", &good]).await.expect(2);
    assert_eq!(gone.stdout, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_what_its_platforms_are() {
    let setup = setup().await;
    setup.registry.index("open/some", "1", &[("linux", "amd64"), ("linux", "arm64")]);
    setup.registry.index("open/none", "1", &[("linux", "s390x"), ("linux", "arm64")]);
    let plane = setup.serve().await;
    let verdict = async |name: &str, code: i32| {
        let reference = image(name);
        let words = [reference.as_str(), "--env", "prod", "--as", "anonymous", "-o", "json"];
        let [asked, alone] = both(&setup, &words, code).await;
        let results = [asked, alone].map(|ran| json(&ran.stdout)["results"][0].clone());
        assert_eq!(results[0]["verdict"], results[1]["verdict"]);
        (results[1]["verdict"].as_str().unwrap().to_owned(), results[1].clone())
    };
    let (told, result) = verdict("open/some:1", 0).await;
    assert_eq!(
        (told.as_str(), &result["children"][1]["platform"]),
        ("Warn", &"linux/arm64".into())
    );
    assert_eq!(result["children"][1]["verdict"], "Deny");
    assert_eq!(verdict("open/none:1", 1).await.0, "Deny");

    // A platform that nobody can tell about: neither a yes nor a no.
    let other = setup.registry.index("open/lost", "1", &[("linux", "amd64"), ("linux", "riscv64")]);
    let lost = Match::path(&other.images[1].digest_path());
    setup.registry.behave(lost, Fault::status(500));
    let (told, result) = verdict("open/lost:1", 2).await;
    assert_eq!(told, "CannotTell", "{result}");
    assert!(
        result["message"].as_str().unwrap().starts_with("1 of 2 platforms cannot be told: "),
        "{result}"
    );
    plane.stop().await;
}
