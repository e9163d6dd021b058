//! `lockgate check --from`: what a cluster runs and what registries served, asked of a plane that runs and
//! of files alone.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{REPOSITORY, Ran, Setup, text};
use serde_json::{Value, json};
use std::process::Stdio;
use testkit::ImageSpec;
use tokio::io::AsyncWriteExt;

const POLICIES: &str = "
apiVersion: lockgate.dev/v1alpha1
kind: AccessPolicy
metadata: { name: teams }
spec:
  allow:
    - { subjects: [{ kind: Authenticated }, { kind: Anonymous }], actions: [Pull], repositories: [up.example.test/open/*, docker.io/**] }
    - { subjects: [{ kind: ServiceAccount, namespace: shop, name: web }], actions: [Pull], repositories: [up.example.test/closed/*] }
---
apiVersion: lockgate.dev/v1alpha1
kind: ArtifactPolicy
metadata: { name: releases }
spec:
  owner: the platform team
  rules:
    - { name: no-latest, tags: { deny: [latest] }, remedy: name a version }
    - { name: amd64, platforms: { allow: [linux/amd64] }, remedy: build it for amd64 }
    - { name: small, size: { max: 1MiB }, remedy: leave something out }
---
apiVersion: lockgate.dev/v1alpha1
kind: ArtifactPolicy
metadata: { name: careful }
spec:
  enforcement: [{ mode: Warn }]
  rules: [{ name: no-edge, tags: { deny: [edge] } }]
";

async fn setup() -> Setup {
    let setup = Setup::new().await;
    setup.write("policies.yaml", POLICIES);
    let of = |arch: &str, size: u64| ImageSpec::layers([size]).platform("linux", arch);
    for tag in ["1", "latest", "edge"] {
        setup.registry.image("open/a", tag, of("amd64", 10));
    }
    setup.registry.image("open/arm", "1", of("arm64", 10));
    setup.registry.image("open/arm-big", "1", of("arm64", 2 << 20));
    setup.registry.image("closed/a", "1", of("amd64", 10));
    setup.registry.image("library/nginx", "1.27", of("amd64", 10));
    setup
}

fn image(name: &str) -> String {
    format!("{REPOSITORY}/{name}")
}

fn file(setup: &Setup, name: &str, content: &str) -> String {
    let path = setup.path(name);
    std::fs::write(&path, content).unwrap();
    text(&path).to_owned()
}

/// The same question to a plane that runs, and to the files alone: the same answer, word for word
/// where nothing is made up anew (ids, times).
async fn both(setup: &Setup, words: &[&str], code: i32) -> Ran {
    let words = [&["check"], words].concat();
    let asked = setup.ask(&words).await.expect(code);
    let resources = setup.resources();
    let alone = setup.run(&[&words[..], &["--resources", text(&resources)]].concat()).await;
    let alone = alone.expect(code);
    if !words.contains(&"json") {
        assert_eq!(
            asked.stdout.lines().map(without_id).collect::<Vec<_>>(),
            alone.stdout.lines().map(without_id).collect::<Vec<_>>()
        );
    }
    alone
}

fn without_id(line: &str) -> &str {
    line.split("lockgate why").next().unwrap()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn pod(name: &str, account: &str, images: &[String]) -> Value {
    let containers: Vec<Value> =
        images.iter().map(|image| json!({ "name": "c", "image": image })).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "shop" },
        "spec": { "serviceAccountName": account, "containers": containers },
    })
}

fn pods(all: &[Value]) -> String {
    serde_json::to_string_pretty(&json!({ "apiVersion": "v1", "items": all, "kind": "List" }))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cluster_runs_is_told_by_what_would_refuse_it() {
    let setup = setup().await;
    let plane = setup.serve().await;
    let [good, closed, latest, arm, big, edge] =
        ["open/a:1", "closed/a:1", "open/a", "open/arm:1", "open/arm-big:1", "open/a:edge"]
            .map(image);
    let lost = image("open/absent:1");
    let running = pods(&[
        pod("web-1", "web", &[good.clone(), closed.clone(), latest.clone()]),
        pod("web-2", "web", &[good.clone(), latest.clone(), arm.clone()]),
        pod("job-1", "job", &[closed.clone(), big.clone(), edge, lost]),
        pod("far", "job", &["ghost.example.test/a/b:1".to_owned(), "nginx:1.27".to_owned()]),
    ]);
    let running = file(&setup, "pods.json", &running);
    let ran = both(&setup, &["--from", &running], 1).await;
    let web = "system:serviceaccount:shop:web";
    let job = "system:serviceaccount:shop:job";
    for told in [
        format!("  releases/no-latest (owner: the platform team): 1 reference, 2 pods\n    what to do: name a version\n    frees: up to 1 reference, 2 pods\n    - {latest}:latest for {web} (2 pods: shop/web-1, shop/web-2)\n"),
        format!("  releases/amd64 (owner: the platform team): 2 references, 2 pods\n    what to do: build it for amd64\n    frees: 1 reference, 1 pod\n    - {arm} for {web} (1 pod: shop/web-2)\n    - {big} for {job} (1 pod: shop/job-1)\n"),
        "  releases/small (owner: the platform team): 1 reference, 1 pod\n    what to do: leave something out\n    frees: nothing alone: other rules are in the way too\n".to_owned(),
        format!("    - {closed} for {job} (1 pod: shop/job-1)\n"),
        "not behind this plane\n  ghost.example.test: 1 reference, 1 pod\n    - ghost.example.test/a/b:1 for".to_owned(),
        "warned\n  careful/no-edge: 1 reference, 1 pod\n".to_owned(),
        "10 references, 4 pods: 3 allowed, 1 warned, 4 refused, 1 cannot tell, 1 not behind this plane\n".to_owned(),
    ] {
        assert!(ran.stdout.contains(&told), "{told}\n in\n{}", ran.stdout);
    }
    assert!(ran.stdout.starts_with("refused\n  releases/"), "{ran:#?}");
    assert!(ran.stderr.contains("pods.json: objects of Kubernetes: 4"), "{ran:?}");

    let told = parsed(&both(&setup, &["--from", &running, "-o", "json"], 1).await.stdout);
    let results = told["results"].as_array().unwrap();
    let of = |reference: &str, who: &str| {
        let is_it = |it: &&Value| it["reference"] == reference && it["who"] == who;
        results.iter().find(is_it).unwrap_or_else(|| panic!("{reference} {who}: {told:#}"))
    };
    assert_eq!(results.len(), 10);
    assert_eq!(of(&closed, web)["verdict"], "Allow");
    assert_eq!(of(&closed, job)["verdict"], "Deny");
    let latest = of(&format!("{latest}:latest"), web);
    assert_eq!((&latest["count"], &latest["podNames"][1]), (&2.into(), &"shop/web-2".into()));
    assert_eq!(of("docker.io/library/nginx:1.27", job)["verdict"], "Allow");
    assert_eq!(of("ghost.example.test/a/b:1", job)["isBehindThisPlane"], false);
    assert_eq!(told["counts"]["refused"]["references"], 4);
    assert_eq!(told["counts"]["notBehindThisPlane"]["pods"], 1);
    let groups = told["groups"].as_array().unwrap();
    let amd64 = groups.iter().find(|it| it["rule"] == "amd64").unwrap();
    assert_eq!(amd64["owner"], "the platform team");
    assert_eq!((&amd64["references"], &amd64["frees"]["references"]), (&2.into(), &1.into()));
    assert_eq!(amd64["freesAtMost"], false);

    let sarif = parsed(&both(&setup, &["--from", &running, "-o", "sarif"], 1).await.stdout);
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let no_latest = results.iter().find(|it| it["ruleId"] == "releases/no-latest").unwrap();
    assert_eq!(
        (&no_latest["occurrenceCount"], &no_latest["properties"]["who"]),
        (&2.into(), &web.into())
    );
    assert!(results.iter().any(|it| it["ruleId"] == "not-behind-this-plane"), "{sarif:#}");
    let junit = both(&setup, &["--from", &running, "-o", "junit"], 1).await.stdout;
    assert!(junit.contains("tests=\"10\" failures=\"4\" errors=\"2\""), "{junit}");
    assert!(
        junit.contains(&format!("<testcase classname=\"{job}\" name=\"{closed}\">")),
        "{junit}"
    );

    // Whoever is named asks, instead of all accounts.
    let asked = both(&setup, &["--from", &running, "--as", "anonymous", "-o", "json"], 1).await;
    let asked = parsed(&asked.stdout);
    let closed_only = |it: &&Value| it["reference"] == closed.as_str();
    let all: Vec<&Value> =
        asked["results"].as_array().unwrap().iter().filter(closed_only).collect();
    assert_eq!((all.len(), &all[0]["verdict"], &all[0]["pods"]), (1, &"Deny".into(), &2.into()));
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_of_all_registries_are_answered() {
    let setup = setup().await;
    let plane = setup.serve().await;
    let logs = [
        (
            "registry",
            "time=\"2026-11-25T09:12:03Z\" level=info msg=\"response completed\" go.version=go1.20.8 http.request.host=\"registry:5000\" http.request.method=GET http.request.uri=\"/v2/@/manifests/1\" http.response.status=200\n172.17.0.1 - - [25/Nov/2026:09:12:03 +0000] \"GET /v2/@/manifests/1 HTTP/1.1\" 200 743 \"\" \"containerd/v2.1.0\"\n",
        ),
        (
            "registry",
            "{\"go.version\":\"go1.22\",\"http.request.host\":\"registry\",\"http.request.method\":\"GET\",\"http.request.uri\":\"/v2/@/manifests/1\",\"http.response.status\":200,\"level\":\"info\",\"msg\":\"response completed\"}\n",
        ),
        (
            "harbor",
            "Nov 25 09:12:03 172.18.0.1 proxy[1482]: 10.0.3.7 - \"GET /v2/@/manifests/1 HTTP/1.1\" 200 1778 \"-\" \"containerd/v2.1.0\" 0.012 0.012 .\n",
        ),
        (
            "artifactory",
            "2026-11-25T09:12:03.402Z|7b4e8a8f|10.0.3.7|u|GET|/api/docker/open/v2/a/manifests/1|200|-1|1778|25|containerd/v2.1.0\n",
        ),
        (
            "containerd",
            "Nov 25 09:12:03 node-1 containerd[812]: time=\"2026-11-25T09:12:03Z\" level=info msg=\"PullImage \\\"up.example.test/@:1\\\"\"\n",
        ),
        (
            "lockgate",
            "{\"timestamp\":\"2026-11-25T09:12:03.000000Z\",\"level\":\"INFO\",\"target\":\"access\",\"request_id\":\"0abc\",\"method\":\"GET\",\"repository\":\"up.example.test/@\",\"reference\":\"1\",\"status\":200,\"duration_us\":12,\"principal\":\"anonymous\"}\n",
        ),
    ];
    for (number, (format, line)) in logs.iter().enumerate() {
        let (good, bad) = (
            line.replace('@', "open/a"),
            line.replace('@', "open/arm").replace("v2/a/", "v2/arm/"),
        );
        for (content, code, totals) in [
            (
                good.repeat(3),
                0,
                "1 reference, 3 requests: 1 allowed, 0 warned, 0 refused, 0 cannot tell, 0 not behind this plane\n",
            ),
            (
                good + &bad + &bad,
                1,
                "2 references, 3 requests: 1 allowed, 0 warned, 1 refused, 0 cannot tell, 0 not behind this plane\n",
            ),
        ] {
            let log = file(&setup, &format!("{number}-{code}.log"), &content);
            for named in [&[][..], &["--format", format]] {
                let words = [&["--from", &log, "--prefix", REPOSITORY], named].concat();
                let ran = both(&setup, &words, code).await;
                assert!(ran.stdout.ends_with(totals), "{format}: {ran:#?}");
            }
        }
    }
    // Without a registry, names of logs mean nothing.
    let log = file(&setup, "bare.log", &logs[2].1.replace('@', "open/a"));
    let ran = setup.ask(&["check", "--from", &log]).await.expect(64);
    assert!(
        ran.stderr.contains("--prefix registry.example makes registry.example/open/a:1"),
        "{ran:?}"
    );
    assert_eq!(ran.stdout, "");
    // In place of a project.
    let words = ["--from", log.as_str(), "--prefix", "open=up.example.test/open"];
    both(&setup, &words, 0).await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_what_is_no_question() {
    let setup = setup().await;
    let plane = setup.serve().await;
    let [good, arm, absent] = ["open/a:1", "open/arm:1", "open/absent:1"].map(image);
    // More than one request takes, from standard input, with those of the command line.
    let many: Vec<String> = (0..250).map(|number| image(&format!("open/none{number}:1"))).collect();
    let list = format!("# all\n{good} 40\n{arm}\n{}\n", many.join("\n"));
    let mut command =
        setup.command(&["check", "--from", "-", &absent, "--data-dir", text(&setup.data())]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(list.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert!(stdout.ends_with("253 references, 40 requests: 1 allowed, 0 warned, 1 refused, 251 cannot tell, 0 not behind this plane\n"), "{stdout}");
    assert!(stdout.contains("    - and 248 more\n"), "{stdout}");

    for (content, code) in [
        (format!("{good}\n"), 0),
        (format!("{good}\nghost.example.test/a:1\n"), 2),
        (format!("{good}\n{absent}\n"), 2),
        (format!("{good}\nno reference\n"), 2),
        (format!("{absent}\n{arm}\n"), 1),
    ] {
        let list = file(&setup, "list", &content);
        both(&setup, &["--from", &list], code).await;
    }
    let empty = file(&setup, "empty", "# nothing\n");
    let zipped = setup.path("zipped");
    std::fs::write(&zipped, b"\x1f\x8b\x08\x00").unwrap();
    let list = file(&setup, "list", &good);
    for (words, told) in [
        (&["--from", &empty][..], "nothing to check"),
        (&["--from", "nowhere"], "cannot be read"),
        (&["--from", text(&zipped)], "gzip -dc"),
        (&["--from", &list, "--env", "prdo"], "prdo"),
        (&["--from", &list, "--as", "somebody"], "names nobody"),
        (&["--from", &list, "--prefix", "https://x"], "cannot stand in front"),
        (&["--format", "list", &good], "--from"),
    ] {
        let ran = setup.ask(&[&["check"], words].concat()).await.expect(64);
        assert!(ran.stderr.contains(told), "{words:?}: {ran:?}");
        assert_eq!(ran.stdout, "", "{words:?}");
    }
    plane.stop().await;
    let gone = setup.ask(&["check", "--from", &list]).await.expect(2);
    assert_eq!(gone.stdout, "");
}
