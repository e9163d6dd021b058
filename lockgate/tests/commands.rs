//! Commands beside a plane that runs, and beside one that does not.

mod common;

use common::{REPOSITORY, Setup, eventually, repository, text, through};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Stdio;
use testkit::{Fault, Gate, ImageSpec, Match, TestCa};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn config_check_tells_every_mistake_at_once() {
    let setup = Setup::new().await;
    let resources = setup.resources();
    let check = ["config", "check", "--resources", text(&resources)];
    let right = setup.run(&check).await.expect(0);
    assert!(right.stderr.contains("documents are right"), "{right:?}");
    setup.write(
        "one.yaml",
        &repository("one.example.test").replace("upstream: up", "upstream: upp"),
    );
    let told = setup.run(&check).await.expect(1);
    assert!(told.stdout.contains("one.yaml:4:"), "{told:?}");
    assert!(told.stdout.contains("no Upstream is named `upp`; did you mean `up`?"), "{told:?}");
    assert!(!told.stderr.contains("references are judged"), "{told:?}");
    setup.write("two.yaml", &repository("two.example.test").replace("remote", "remot"));
    let file = setup.path("lockgate.yaml");
    std::fs::write(&file, "cahce: {}\n").unwrap();
    let mut words = check.to_vec();
    words.extend(["--config", text(&file)]);
    let told = setup.run(&words).await.expect(1);
    assert!(
        told.stdout.contains("lockgate.yaml:1:1: cahce: unknown field; did you mean `cache`?"),
        "{told:?}"
    );
    assert!(told.stdout.contains("two.yaml:4:"), "{told:?}");
    // The reference in one.yaml is not judged now, and that is said.
    assert!(told.stderr.contains("references are judged when all documents"), "{told:?}");
    assert_eq!(told.stdout.lines().count(), told.stdout.matches(".yaml:").count(), "one line each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn config_print_and_schema_say_what_is_and_what_could_be() {
    let setup = Setup::new().await;
    let mut command = setup.command(&["config", "print", "--set", "cache.grace=1m"]);
    command.env("LOCKGATE_CACHE__MAX_BYTES", "3GiB");
    let printed = common::ran(command).await.expect(0);
    assert!(printed.stdout.contains("# environment LOCKGATE_CACHE__MAX_BYTES"), "{printed:?}");
    assert!(printed.stdout.contains("# --set cache.grace"), "{printed:?}");
    for (what, title) in [("settings", "Settings"), ("Repository", "Repository")] {
        let schema = setup.run(&["config", "schema", what]).await.expect(0);
        let schema: serde_json::Value = serde_json::from_str(&schema.stdout).unwrap();
        assert_eq!(schema["title"], title);
    }
    let all: serde_json::Value =
        serde_json::from_str(&setup.run(&["config", "schema"]).await.expect(0).stdout).unwrap();
    assert!(all["Upstream"]["properties"]["spec"].is_object() && all["settings"].is_object());
    let unknown = setup.run(&["config", "schema", "Repositry"]).await.expect(64);
    assert!(unknown.stderr.contains("did you mean `Repository`?"), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revisions_are_listed_compared_and_brought_back_also_offline() {
    let setup = Setup::new().await;
    setup.registry.image("a", "1", ImageSpec::layers([10]));
    let served = setup.serve().await;
    setup.write("more.yaml", &repository("more.example.test"));
    let more = "/v2/more.example.test/a/manifests/1";
    eventually("the edit applies", async || served.status(more).await == 200).await;
    let listed = setup.ask(&["revision", "list", "--json"]).await.expect(0);
    let rows: Vec<serde_json::Value> =
        listed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2, "{listed:?}");
    assert_eq!((&rows[0]["active"], &rows[1]["active"]), (&true.into(), &false.into()));
    let old = rows[1]["digest"].as_str().unwrap()["sha256:".len()..][..10].to_owned();
    let new = rows[0]["digest"].as_str().unwrap().to_owned();

    let diff = setup.ask(&["revision", "diff", &old]).await.expect(1);
    assert!(
        diff.stdout.lines().any(|line| line.starts_with('+') && line.contains("more.example.test")),
        "{diff:?}"
    );
    assert!(!diff.stdout.contains('\u{1b}'), "no colours in a pipe");
    assert!(
        !diff.stdout.lines().any(|line| line.starts_with('-') && !line.starts_with("---")),
        "{diff:?}"
    );
    setup.ask(&["revision", "diff", &new]).await.expect(0);
    let show = setup.ask(&["revision", "show", &new]).await.expect(0);
    assert!(show.stdout.contains("more.example.test"));
    setup.ask(&["revision", "show", "abc"]).await.expect(64);
    let unknown = setup.ask(&["revision", "show", "000000"]).await.expect(1);
    assert!(unknown.stderr.contains("(request "), "{unknown:?}");

    setup.ask(&["revision", "rollback", &old]).await.expect(0);
    assert_eq!(served.status(more).await, 404);
    let listed = setup.ask(&["revision", "list"]).await.expect(0);
    assert!(listed.stdout.starts_with(&format!("* {}", &old)), "{listed:?}");
    served.stop().await;

    let offline = setup.ask(&["revision", "show", &new]).await.expect(0);
    assert_eq!(offline.stdout, show.stdout);
    setup.ask(&["revision", "diff", &old, &new]).await.expect(1);
    assert_eq!(setup.ask(&["revision", "list"]).await.expect(0).stdout.lines().count(), 2);
    let none = setup.ask(&["revision", "rollback", &old]).await.expect(2);
    assert!(none.stderr.contains("start it with `lockgate serve`"), "{none:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cache_is_listed_counted_pinned_and_purged() {
    let setup = Setup::new().await;
    let image = setup.registry.image("library/alpine", "3", ImageSpec::layers([3000]));
    let served = setup.serve().await;
    for path in [image.tag_path(), image.config_path(), image.layer_path(0)] {
        assert_eq!(served.status(&through(&path)).await, 200);
    }
    let name = format!("{REPOSITORY}/library/alpine");
    let tagged = format!("{name}:3");
    eventually("what was served is listed", async || {
        setup.ask(&["cache", "ls", "--json"]).await.expect(0).stdout.lines().count() == 3
    })
    .await;
    let listed =
        setup.ask(&["cache", "ls", "--pattern", "up.example.test/library/*"]).await.expect(0);
    let manifest = listed.stdout.lines().find(|line| line.starts_with("manifest")).unwrap();
    assert!(manifest.ends_with(&tagged), "{listed:?}");
    assert!(
        setup.ask(&["cache", "ls", "--repository", "quay.io"]).await.expect(0).stdout.is_empty()
    );

    let pinned = setup.ask(&["cache", "pin", &tagged]).await.expect(0);
    assert!(pinned.stderr.contains(&format!("pinned {tagged}\n")), "{pinned:?}");
    let early = format!("{name}:not-yet");
    let pinned = setup.ask(&["cache", "pin", &early]).await.expect(0);
    assert!(pinned.stderr.contains("nothing is held yet"), "{pinned:?}");
    setup.ask(&["cache", "unpin", &early]).await.expect(0);
    assert!(setup.ask(&["cache", "pins"]).await.expect(0).stdout.contains(&tagged));
    let purged = setup.ask(&["cache", "purge", &tagged]).await.expect(0);
    assert!(purged.stderr.contains("the tag is pinned: the pin stays"), "{purged:?}");
    assert_eq!(served.status(&through(&image.tag_path())).await, 200);
    setup.ask(&["cache", "unpin", &tagged]).await.expect(0);
    assert!(setup.ask(&["cache", "pins"]).await.expect(0).stdout.is_empty());
    setup.ask(&["cache", "pin", "no/such"]).await.expect(1);

    let stats = setup.ask(&["cache", "stats", "--json"]).await.expect(0);
    let stats: serde_json::Value = serde_json::from_str(&stats.stdout).unwrap();
    assert_eq!(stats["repositories"][0]["repository"], REPOSITORY, "{stats}");
    assert!(setup.ask(&["cache", "stats"]).await.expect(0).stdout.contains("By repository"));

    let verified = setup.ask(&["cache", "verify"]).await.expect(0);
    assert!(verified.stderr.contains("done the store"), "{verified:?}");
    setup.ask(&["cache", "verify", &tagged]).await.expect(0);
    let absent = format!("sha256:{}", "0".repeat(64));
    let absent = setup.ask(&["cache", "verify", "--digest", &absent]).await.expect(1);
    assert!(absent.stderr.contains("the store does not have it"), "{absent:?}");
    setup.ask(&["cache", "verify", &tagged, "--repository", "x"]).await.expect(64);
    let purged = setup.ask(&["cache", "purge", &tagged]).await.expect(0);
    assert!(purged.stdout.starts_with("forgot 1 tags"), "{purged:?}");
    assert!(!purged.stderr.contains("pinned"), "{purged:?}");
    setup.registry.forget_requests();
    assert_eq!(served.status(&through(&image.tag_path())).await, 200);
    assert!(!setup.registry.requests().is_empty(), "a purged tag is asked for again");
    let digest = &image.layers[0].digest;
    let shown = &digest["sha256:".len()..][..12];
    let purged = setup.ask(&["cache", "purge", "--digest", shown]).await.expect(0);
    assert!(purged.stdout.contains("1 contents"), "{purged:?}");
    let none = setup.ask(&["cache", "purge", "--digest", "0123456789ab"]).await.expect(1);
    assert!(none.stderr.contains("no digest that begins with 0123456789ab"), "{none:?}");
    let wrong = setup.ask(&["cache", "purge", "--digest", "4bcf"]).await.expect(64);
    assert!(wrong.stderr.contains("hint: `lockgate cache ls`"), "{wrong:?}");
    setup.registry.forget_requests();
    let layer = served.get(&through(&image.layer_path(0))).await;
    assert_eq!((layer.status, layer.body.len()), (200, 3000));
    assert!(
        setup.registry.bytes_sent_for(&image.layers[0].digest) > 0,
        "a purged blob is fetched again"
    );
    // A client is served before the note of it is written: what is noted later is purged by nobody.
    eventually("the fetched blob is listed again", async || {
        let listed = setup.ask(&["cache", "ls", "--json"]).await.expect(0).stdout;
        listed.lines().any(|line| line.contains(digest) && line.contains(r#""present":true"#))
    })
    .await;
    setup.ask(&["cache", "purge", "--pattern", "up.example.test/**"]).await.expect(0);
    eventually("nothing is left", async || setup.ask(&["cache", "ls"]).await.stdout.is_empty())
        .await;
    let nothing = setup.ask(&["cache", "purge"]).await.expect(64);
    for way in ["docker.io/library/alpine:3", "--digest", "--pattern"] {
        assert!(nothing.stderr.contains(way), "{way} in {nothing:?}");
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gc_tells_what_would_go_and_takes_it() {
    let setup = Setup::new().await;
    setup.write(
        "hosted.yaml",
        "apiVersion: lockgate.dev/v1alpha1\nkind: Repository\nmetadata: { name: team }\nspec:\n  \
         hosted: { quota: 1MiB }\n---\napiVersion: lockgate.dev/v1alpha1\nkind: AccessPolicy\n\
         metadata: { name: all }\nspec:\n  allow:\n    - subjects: [{ kind: Anonymous }]\n      \
         actions: [\"*\"]\n      repositories: [\"**\"]\n",
    );
    let served = setup.serve().await;
    let digest = oci::Digest::sha256(b"a blob");
    let url = format!("http://{}/v2/team/app/blobs/uploads/?digest={digest}", served.address);
    let pushed = reqwest::Client::new().post(url).body("a blob").send().await.unwrap();
    assert_eq!(pushed.status(), 201);
    let nothing = setup.ask(&["gc"]).await.expect(0);
    assert!(nothing.stderr.contains("gone: 0 tags, 0 manifests, 0 blobs"), "{nothing:?}");
    assert!(nothing.stderr.contains("1 unlisted blobs used lately"), "{nothing:?}");
    let now = ["gc", "--repository", "team", "--names", "team/**", "--blobs-unused-for", "0s"];
    let would = setup.ask(&[&now[..], &["--dry-run"]].concat()).await.expect(0);
    assert!(
        would.stdout.contains(&format!("team/app@{digest}  no manifest lists it")),
        "{would:?}"
    );
    assert!(would.stderr.contains("would go: 0 tags, 0 manifests, 1 blobs; 6 B"), "{would:?}");
    let report = setup.ask(&[&now[..], &["--json"]].concat()).await.expect(0);
    let report: serde_json::Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!((&report["gone"]["blobs"], &report["freedBytes"]), (&1.into(), &6.into()));
    let stats = setup.ask(&["cache", "stats"]).await.expect(0);
    assert!(stats.stdout.contains("0 hosted, 0 B of the 1.0 MiB of its quota"), "{stats:?}");
    let cached = setup.ask(&["gc", "--repository", REPOSITORY]).await.expect(1);
    assert!(cached.stderr.contains("is not hosted"), "{cached:?}");
    setup.ask(&["gc", "--untagged-for", "soon"]).await.expect(64);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_is_not_purged_unasked() {
    let setup = Setup::new().await;
    let served = setup.serve().await;
    for number in 0..12 {
        let image = setup.registry.image(&format!("many/{number}"), "1", ImageSpec::layers([10]));
        assert_eq!(served.status(&through(&image.tag_path())).await, 200);
    }
    let count = async || setup.ask(&["cache", "ls"]).await.expect(0).stdout.lines().count();
    // The head of the table, and a manifest each.
    eventually("all is listed", async || count().await == 13).await;
    let refused =
        setup.ask(&["cache", "purge", "--pattern", "up.example.test/many/*"]).await.expect(64);
    assert!(refused.stderr.contains("say --yes"), "{refused:?}");
    assert_eq!(count().await, 13);
    setup.ask(&["cache", "purge", "--pattern", "up.example.test/many/*", "--yes"]).await.expect(0);
    eventually("all is gone", async || count().await == 0).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefetch_fetches_and_tells_what_it_could_not() {
    let setup = Setup::new().await;
    let image = setup.registry.image("a", "1", ImageSpec::layers([200_000]));
    let served = setup.serve().await;
    let there = format!("{REPOSITORY}/a:1");
    let done = setup.ask(&["prefetch", &there]).await.expect(0);
    assert!(done.stderr.contains(&format!("done {there}  {}", image.digest)), "{done:?}");
    setup.registry.stop().await;
    assert_eq!(served.get(&through(&image.layer_path(0))).await.body.len(), 200_000);
    setup.registry.restart().await;

    let list = setup.path("images");
    let absent = format!("{REPOSITORY}/a:absent");
    std::fs::write(&list, format!("# wanted\n{there}\n{absent}\n")).unwrap();
    let failed = setup.ask(&["prefetch", "--from", text(&list)]).await.expect(1);
    assert!(failed.stderr.contains(&format!("failed {absent}: ")), "{failed:?}");
    assert!(failed.stderr.contains("1 of 2 images"), "{failed:?}");
    // A name from elsewhere fails alone; what is held is told apart.
    std::fs::write(&list, format!("nginx:1.27\n{there}\n")).unwrap();
    let mixed = setup.ask(&["prefetch", "--from", text(&list)]).await.expect(1);
    assert!(mixed.stderr.contains("failed nginx:1.27: "), "{mixed:?}");
    assert!(mixed.stderr.contains("no repository of this plane is named nginx"), "{mixed:?}");
    assert!(mixed.stderr.contains(&format!("done {there}")), "{mixed:?}");
    assert!(mixed.stderr.contains("of it from the cache"), "{mixed:?}");
    assert!(mixed.stderr.contains("1 of 2 images"), "{mixed:?}");
    let begun = setup.ask(&["prefetch", &there, "--no-wait"]).await.expect(0);
    assert_eq!(begun.stdout.lines().count(), 1);
    setup.ask(&["prefetch"]).await.expect(64);
    let tls = format!("https://{}", served.address);
    let wrong = setup.run(&["cache", "ls", "--plane", &tls]).await.expect(2);
    let plain = format!("it answers without TLS: write http://{}", served.address);
    assert!(wrong.stderr.contains(&plain), "{wrong:?}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_prefetch_is_stopped_on_the_plane() {
    let setup = Setup::new().await;
    let image = setup.registry.image("a", "1", ImageSpec::layers([3_000_000]));
    let served = setup.serve().await;
    setup.registry.behave(Match::blobs(), Fault::HoldAt(1_000_000, Gate::new()));
    let data = setup.data();
    let reference = format!("{REPOSITORY}/a:1");
    let mut command = setup.command(&["prefetch", &reference, "--data-dir", text(&data)]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let digest = &image.layers[0].digest;
    setup.registry.eventually("it is under way", |seen| seen.bytes_sent_for(digest) > 0).await;
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let output = child.wait_with_output().await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("stopped {reference}")), "{told}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_config_prints_the_file_alone() {
    let setup = Setup::new().await;
    let words =
        ["client-config", "docker", "--registry", "docker.io", "--plane", "http://plane.test:5050"];
    let docker = setup.run(&words).await.expect(0);
    let json: serde_json::Value = serde_json::from_str(&docker.stdout).unwrap();
    assert_eq!(json["registry-mirrors"][0], "http://plane.test:5050");
    assert!(docker.stderr.contains("Docker Hub"), "{docker:?}");
    setup.run(&["client-config", "containerd", "--plane", "http://x/y"]).await.expect(64);
    setup.run(&["client-config", "rkt"]).await.expect(64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_plane_is_the_way_to_one_is_told() {
    let setup = Setup::new().await;
    for words in [&["cache", "ls"][..], &["revision", "list"], &["prefetch", "a/b:1"]] {
        let failed = setup.ask(words).await.expect(2);
        assert!(failed.stderr.contains("start it with `lockgate serve`"), "{failed:?}");
    }
    let wrong = setup.run(&["cache", "ls", "--plane", "foo"]).await.expect(64);
    assert!(wrong.stderr.contains("write scheme, host and port"), "{wrong:?}");
    let wrong = setup.ask(&["config", "print", "--set", "a", "--set", "b"]).await.expect(64);
    assert!(wrong.stderr.contains("--set a: no value"), "{wrong:?}");
    assert!(wrong.stderr.contains("--set b: no value"), "{wrong:?}");
    // A registry is no plane.
    let url = setup.registry.url();
    setup.run(&["cache", "ls", "--plane", &url]).await.expect(1);
    assert_eq!(setup.run(&["--help"]).await.expect(0).stderr, "");
    let version = setup.run(&["--version"]).await.expect(0);
    assert!(
        version.stdout.starts_with(concat!("lockgate ", env!("CARGO_PKG_VERSION"))),
        "{version:?}"
    );
    setup.run(&["cache"]).await.expect(64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plane_is_asked_by_url_with_an_authority_of_ones_own() {
    let setup = Setup::new().await;
    let ca = TestCa::new();
    let server = ca.server(&["127.0.0.1"]);
    let path = |name: &str| setup.path(name).display().to_string();
    for (name, content) in [
        ("ca.pem", ca.pem()),
        ("cert.pem", server.cert_pem.clone()),
        ("key.pem", server.key_pem.clone()),
        (
            "lockgate.yaml",
            format!(
                "listeners: [{{ tls: {{ certFile: '{}', keyFile: '{}' }} }}]\n",
                path("cert.pem"),
                path("key.pem")
            ),
        ),
    ] {
        std::fs::write(setup.path(name), content).unwrap();
    }
    let served = setup.serve_with(&["--config", &path("lockgate.yaml")]).await;
    let url = format!("https://{}", served.address);
    let stats = ["cache", "stats", "--plane", &url];
    let untrusted = setup.run(&stats).await.expect(2);
    assert!(untrusted.stderr.contains("certificate"), "{untrusted:?}");
    let ca_file = path("ca.pem");
    let stats = [&stats[..], &["--ca-file", &ca_file]].concat();
    let refused = setup.run(&stats).await.expect(1);
    assert!(refused.stderr.contains("(request "), "{refused:?}");
    assert!(
        refused.stderr.contains("hint: over TCP an AccessPolicy must allow Administer"),
        "{refused:?}"
    );
    setup.write(
        "access.yaml",
        "apiVersion: lockgate.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: all }\n\
         spec: { allow: [{ subjects: [{ kind: Anonymous }], actions: [Pull, Administer], repositories: ['**'] }] }\n",
    );
    eventually("who may administer is answered", async || setup.run(&stats).await.code == 0).await;
    let doctor = ["doctor", "--plane", &url, "--ca-file", &ca_file];
    let doctor = setup.run(&doctor).await;
    assert!(doctor.stdout.contains("✓ status line"), "{doctor:?}");
    assert!(doctor.stdout.contains("✓ plane"), "{doctor:?}");
    served.stop().await;
}
