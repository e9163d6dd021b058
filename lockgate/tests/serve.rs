//! `lockgate serve`: starts with nothing, serves, refuses a second one, reads edits, stops cleanly.

mod common;

use common::{REPOSITORY, Served, Setup, eventually, repository, text, through};
use rustix::process::Signal;
use testkit::{Fault, Gate, ImageSpec, Match, client};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_with_no_file_and_says_where_what_and_how_to_try() {
    let setup = Setup::new().await;
    let data = setup.data();
    let empty = setup.path("empty");
    std::fs::create_dir(&empty).unwrap();
    // An empty directory is the same as none, and cannot find a file of this machine's.
    let mut command =
        setup.command(&["serve", "--listen", "127.0.0.1:0", "--data-dir", text(&data)]);
    command.env("LOCKGATE_RESOURCES_DIR", &empty);
    let served = Served::start(command).await;
    let log = served.log();
    for expected in [
        format!("listens on  http://{}\n", served.address),
        format!("data in     {}\n", data.display()),
        format!("docker pull {}/docker.io/library/alpine:3\n", served.address),
        format!("crictl pull {}/docker.io/library/alpine:3\n", served.address),
        format!("docker://{}/docker.io/library/alpine:3\n", served.address),
        "    docker.io/…  (also index.docker.io, registry-1.docker.io)\n".to_owned(),
    ] {
        assert!(log.contains(&expected), "{expected:?} in {log}");
    }
    for name in resources::WELL_KNOWN_REGISTRIES {
        assert!(log.contains(&format!("    {name}/…")), "{name} in {log}");
    }
    assert_eq!(served.status("/v2/").await, 200);
    assert_eq!(served.status("/readyz").await, 200);
    assert_eq!(setup.registry.requests().len(), 0, "nothing is fetched at the start");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_belongs_to_one_process() {
    let setup = Setup::new().await;
    let served = setup.serve().await;
    let second = setup.ask(&["serve", "--listen", "127.0.0.1:0"]).await.expect(1);
    assert!(second.stderr.contains(&format!("in use by process {}", served.pid)), "{second:?}");
    assert!(second.stderr.contains("hint: "), "{second:?}");
    // The lock dies with the process, however it ends.
    served.kill().await;
    setup.serve().await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_in_use_is_told() {
    let setup = Setup::new().await;
    let taken = setup.registry.host();
    let failed = setup.ask(&["serve", "--listen", &taken]).await.expect(1);
    assert!(failed.stderr.contains(&format!("cannot listen on {taken}")), "{failed:?}");
    let failed = setup.ask(&["serve", "--listen", "localhost"]).await.expect(1);
    assert!(failed.stderr.contains("--listen: listeners[0].address: not an address"), "{failed:?}");
    setup.run(&["serve", "--lisen", "x"]).await.expect(64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_through_and_serves_from_the_cache_over_a_restart() {
    let setup = Setup::new().await;
    let image = setup.registry.image("library/alpine", "3", ImageSpec::layers([3000, 500_000]));
    let served = setup.serve().await;
    let manifest = served.get(&through(&image.tag_path())).await;
    assert_eq!((manifest.status, manifest.body.clone()), (200, image.manifest.clone()));
    for index in 0..2 {
        let layer = served.get(&through(&image.layer_path(index))).await;
        let digest = testkit::sha256(&layer.body);
        assert_eq!((layer.status, digest.as_str()), (200, image.layers[index].digest.as_str()));
    }
    served.stop().await;
    setup.registry.forget_requests();
    setup.registry.stop().await;
    let served = setup.serve().await;
    assert_eq!(served.get(&through(&image.tag_path())).await.body, image.manifest);
    assert_eq!(served.get(&through(&image.layer_path(1))).await.body.len(), 500_000);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_applies_at_once_and_a_bad_one_changes_nothing() {
    let setup = Setup::new().await;
    setup.registry.image("a", "1", ImageSpec::layers([10]));
    let served = setup.serve().await;
    let manifest = |repository: &str| format!("/v2/{repository}/a/manifests/1");
    assert_eq!(served.status(&manifest("more.example.test")).await, 404);
    setup.write("more.yaml", &repository("more.example.test"));
    eventually("the edit applies", async || {
        served.status(&manifest("more.example.test")).await == 200
    })
    .await;

    setup.write("bad.yaml", &repository("bad.example.test").replace("upstream", "upsteam"));
    eventually("the log says why", async || {
        let log = served.log();
        log.contains("bad.yaml:4:") && log.contains("upsteam") && log.contains("did you mean")
    })
    .await;
    assert_eq!(served.status(&manifest("more.example.test")).await, 200, "the last good set stays");
    assert_eq!(served.status(&manifest("bad.example.test")).await, 404);
    let ready = served.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("bad.yaml"), "{}", ready.text());
    served.stop().await;

    // A start on bad files, and on none at all, begins with the last good set.
    let served = setup.serve().await;
    assert_eq!(served.status(&manifest("more.example.test")).await, 200);
    assert!(served.get("/readyz").await.text().contains("bad.yaml"));
    served.stop().await;
    std::fs::rename(setup.resources(), setup.path("away")).unwrap();
    let served = setup.serve().await;
    assert_eq!(served.status(&manifest("more.example.test")).await, 200);
    // And when they come back, they apply.
    std::fs::remove_file(setup.path("away/bad.yaml")).unwrap();
    std::fs::remove_file(setup.path("away/more.yaml")).unwrap();
    std::fs::rename(setup.path("away"), setup.resources()).unwrap();
    served.signal(Signal::HUP);
    eventually("files that come back apply", async || {
        served.status(&manifest("more.example.test")).await == 404
    })
    .await;
    assert_eq!(served.status(&manifest(REPOSITORY)).await, 200);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_files_and_no_former_set_are_refused_with_every_mistake() {
    let setup = Setup::new().await;
    setup.write(
        "bad.yaml",
        "apiVersion: lockgate.dev/v1alpha1\nkind: Repositry\nmetadata: { name: x }\nspec: {}\n",
    );
    setup.write("worse.yaml", "kind: [\n");
    let data = setup.data();
    let resources = setup.resources();
    let words = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        text(&data),
        "--resources",
        text(&resources),
    ];
    let failed = setup.run(&words).await.expect(1);
    assert!(failed.stderr.contains("bad.yaml:2:7: kind: \"Repositry\""), "{failed:?}");
    assert!(failed.stderr.contains("did you mean `Repository`?"), "{failed:?}");
    assert!(failed.stderr.contains("worse.yaml:"), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_catalog_is_put_aside_and_told() {
    let setup = Setup::new().await;
    setup.serve().await.stop().await;
    std::fs::write(setup.path("data/catalog.sqlite"), vec![7; 8192]).unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(setup.path(&format!("data/catalog.sqlite{suffix}")));
    }
    let served = setup.serve().await;
    assert!(served.log().contains("the catalog was broken"), "{}", served.log());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_finishes_what_is_being_transferred() {
    let setup = Setup::new().await;
    let image = setup.registry.image("a", "1", ImageSpec::layers([3_000_000]));
    let mut served = setup.serve().await;
    assert_eq!(served.status(&through(&image.tag_path())).await, 200);
    let gate = Gate::new();
    setup.registry.behave(Match::blobs(), Fault::HoldAt(1_000_000, gate.clone()));
    let address = served.address.parse().unwrap();
    let pull = tokio::spawn(client::get_owned(address, through(&image.layer_path(0)), vec![]));
    let digest = &image.layers[0].digest;
    setup
        .registry
        .eventually("the transfer is under way", |seen| seen.bytes_sent_for(digest) > 0)
        .await;
    served.signal(Signal::TERM);
    let at = served.address.clone();
    eventually("nobody new is let in", async || {
        client::get(at.as_str(), "/readyz", &[]).await.is_ok_and(|answer| answer.status == 503)
            || client::get(at.as_str(), "/readyz", &[]).await.is_err()
    })
    .await;
    gate.open();
    let answer = pull.await.unwrap().unwrap();
    assert!(answer.clean_end());
    assert_eq!(&testkit::sha256(&answer.body), digest);
    assert_eq!(served.ended().await.code(), Some(0), "{}", served.log());
    assert!(!setup.path("data/lockgate.sock").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once() {
    let setup = Setup::new().await;
    let image = setup.registry.image("a", "1", ImageSpec::layers([3_000_000]));
    let mut served = setup.serve_with(&["--set", "server.drainTimeout=1h"]).await;
    assert_eq!(served.status(&through(&image.tag_path())).await, 200);
    setup.registry.behave(Match::blobs(), Fault::HoldAt(1_000_000, Gate::new()));
    let address = served.address.parse().unwrap();
    let pull = tokio::spawn(client::get_owned(address, through(&image.layer_path(0)), vec![]));
    let digest = &image.layers[0].digest;
    setup
        .registry
        .eventually("the transfer is under way", |seen| seen.bytes_sent_for(digest) > 0)
        .await;
    served.signal(Signal::INT);
    eventually("the first signal is heard", async || served.log().contains("stopping: transfers"))
        .await;
    served.signal(Signal::INT);
    assert_eq!(served.ended().await.code(), Some(1), "{}", served.log());
    pull.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plane_that_serves_nobody_says_so_and_keeps_its_data_to_itself() {
    use std::os::unix::fs::PermissionsExt;
    let setup = Setup::new().await;
    std::fs::create_dir(setup.data()).unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(setup.data(), open).unwrap();
    // The test's own listener on loopback comes first.
    let open_to_all = ["--listen", "0.0.0.0:0"];
    let served = setup.serve_with(&open_to_all).await;
    // The log is written by a thread of its own.
    eventually("it is told", async || {
        served.log().contains("nobody but clients of the loopback listener may pull")
    })
    .await;
    let mode =
        |name: &str| std::fs::metadata(setup.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("data"), 0o700);
    eventually("the revision is kept", async || setup.path("data/revision.yaml").exists()).await;
    assert_eq!(mode("data/revision.yaml"), 0o600);
    served.stop().await;
    setup.write(
        "access.yaml",
        "apiVersion: lockgate.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: some }\n\
         spec: { allow: [{ subjects: [{ kind: Anonymous }], actions: [Pull], \
         repositories: ['up.example.test/**'] }] }\n",
    );
    let served = setup.serve_with(&open_to_all).await;
    let log = served.log();
    assert!(!log.contains("nobody but"), "{log}");
    let command =
        format!("docker pull {}/{REPOSITORY}/NAME:TAG", served.address.split(',').next().unwrap());
    assert!(log.contains(&command), "{command} in {log}");
    served.stop().await;
}
