//! The way back: a backup made while pushes go on, a data directory that lost its catalog, a store
//! that lost some of its blobs.
#![allow(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod common;

use common::{Ran, Served, Setup, eventually, text, through};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use testkit::client::Request;
use testkit::{ImageSpec, sha256};

const HOSTED: &str = "apiVersion: lockgate.dev/v1alpha1\nkind: Repository\n\
    metadata: { name: team }\nspec: { path: team, hosted: {} }\n---\n\
    apiVersion: lockgate.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: all }\n\
    spec: { allow: [{ subjects: [{ kind: Anonymous }], actions: [Pull, Push, List], \
    repositories: ['**'] }] }\n";

async fn setup() -> Setup {
    let setup = Setup::new().await;
    setup.write("team.yaml", HOSTED);
    setup
}

/// Pushes an image of one config and one layer, made from a seed; its manifest's digest.
async fn push(served: &Served, name: &str, tag: &str, seed: &str) -> String {
    let (config, layer) = (format!("{{\"seed\":\"{seed}\"}}"), layer(seed));
    for bytes in [config.clone(), layer.clone()] {
        let digest = sha256(bytes.as_bytes());
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let request = Request::new("POST", &path)
            .header("content-type", "application/octet-stream")
            .body(bytes.into_bytes());
        let answer = request.send(served.address.as_str()).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    let entry = |media_type: &str, bytes: &str| json!({ "mediaType": media_type, "digest": sha256(bytes.as_bytes()), "size": bytes.len() });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": testkit::OCI_MANIFEST,
        "config": entry("application/vnd.oci.image.config.v1+json", &config),
        "layers": [entry("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let digest = sha256(&bytes);
    let request = Request::new("PUT", &format!("/v2/{name}/manifests/{tag}"))
        .header("content-type", testkit::OCI_MANIFEST)
        .body(bytes);
    let answer = request.send(served.address.as_str()).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    digest.to_string()
}

fn layer(seed: &str) -> String {
    format!("the layer of {seed}")
}

/// The digest of what a tag leads to, and that its layer is there.
async fn expect_image(served: &Served, name: &str, tag: &str, seed: &str, digest: &str) {
    let answer = served.get(&format!("/v2/{name}/manifests/{tag}")).await;
    assert_eq!(answer.status, 200, "{name}:{tag}: {}", answer.text());
    assert_eq!(sha256(&answer.body).to_string(), digest, "{name}:{tag}");
    let layer = layer(seed);
    let answer = served.get(&format!("/v2/{name}/blobs/{}", sha256(layer.as_bytes()))).await;
    assert_eq!((answer.status, answer.text()), (200, layer));
}

fn blob_file(setup: &Setup, digest: &str) -> PathBuf {
    let hex = digest.strip_prefix("sha256:").unwrap();
    setup.data().join("blobs/sha256").join(&hex[..2]).join(hex)
}

/// Takes the catalog away, as a disk does.
fn lose_catalog(setup: &Setup) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(setup.data().join(format!("catalog.sqlite{suffix}")));
    }
    assert!(!setup.data().join("catalog.sqlite").exists());
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(ran.stdout.trim()).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_made_while_pushes_go_on_is_the_way_back() {
    let setup = setup().await;
    let cached = setup.registry.image("a", "1", ImageSpec::layers([3_000]));
    let served = setup.serve().await;
    let before = push(&served, "team/app", "before", "before").await;
    assert_eq!(served.status(&through(&cached.tag_path())).await, 200);
    assert_eq!(served.status(&through(&cached.layer_path(0))).await, 200);
    // What is cached is written down behind the answer.
    let layer_digest = cached.layers[0].digest.to_string();
    eventually("the cache knows the layer", async || {
        let listed = setup.ask(&["cache", "ls", "--json"]).await.stdout;
        listed.lines().any(|it| it.contains(&layer_digest) && it.contains("\"present\":true"))
    })
    .await;
    let backup = setup.path("backup");
    let words = ["backup", "--to", text(&backup), "--json"];
    let pushes = async {
        for number in 0..20 {
            push(&served, "team/busy", &format!("n{number}"), &number.to_string()).await;
        }
    };
    let (ran, ()) = tokio::join!(setup.ask(&words), pushes);
    let ran = ran.expect(0);
    let report = json_of(&ran);
    assert_eq!(report["directory"], text(&backup));
    assert!(report["backup"]["heldBlobs"].as_u64().unwrap() >= 3, "{report}");
    assert_eq!((mode(&backup), mode(&backup.join("catalog.sqlite"))), (0o700, 0o600));
    assert!(!setup.path("backup.partial").exists());
    let list = std::fs::read_to_string(backup.join("blobs.tsv")).unwrap();
    assert!(list.contains(&format!("{before}\t")) && list.contains("\theld"), "{list}");
    assert!(backup.join("revision.yaml").exists());
    assert_eq!(std::fs::read_dir(backup.join("resources")).unwrap().count(), 1);
    // A second one does not replace it, and no plane makes one for somebody who asks over the network.
    let again = setup.ask(&words).await.expect(1);
    assert!(again.stderr.contains("never replaces"), "{again:?}");
    let body = serde_json::to_vec(&json!({ "to": setup.path("other") })).unwrap();
    let request = Request::new("POST", "/api/v1/backup")
        .header("content-type", "application/json")
        .body(body);
    assert_eq!(request.send(served.address.as_str()).await.unwrap().status, 403);
    let busy = setup.ask(&["restore", "--from", text(&backup)]).await.expect(1);
    assert!(busy.stderr.contains("stop the plane first"), "{busy:?}");
    served.stop().await;

    lose_catalog(&setup);
    // A blob that can be fetched again, and one that cannot.
    let lost = blob_file(&setup, &layer_digest);
    std::fs::remove_file(lost).unwrap();
    let restored = setup.ask(&["restore", "--from", text(&backup), "--json"]).await.expect(0);
    let report = json_of(&restored);
    assert_eq!((&report["refill"], &report["missing"]), (&json!(1), &json!([])));
    let served = setup.serve().await;
    expect_image(&served, "team/app", "before", "before", &before).await;
    assert_eq!(served.status(&through(&cached.layer_path(0))).await, 200, "fetched again");
    push(&served, "team/app", "after", "after").await;
    served.stop().await;

    // A catalog that holds something is not replaced by accident.
    let refused = setup.ask(&["restore", "--from", text(&backup)]).await.expect(1);
    assert!(refused.stderr.contains("holds something"), "{refused:?}");
    std::fs::remove_file(blob_file(&setup, &before)).unwrap();
    let forced =
        setup.ask(&["restore", "--from", text(&backup), "--force", "--json"]).await.expect(1);
    let report = json_of(&forced);
    assert_eq!(report["missing"], json!([{ "name": "team/app", "digest": before }]));
    // Of the pushes beside the backup, some may have come after its moment too.
    let newer = report["newerNames"].as_array().unwrap();
    assert!(newer.contains(&json!("team/app")), "what was pushed since is told: {newer:?}");
    assert!(forced.stderr.contains(&format!("missing: team/app@{before}")), "{forced:?}");
    let aside = report["putAside"].as_array().unwrap();
    assert!(aside.iter().all(|path| Path::new(path.as_str().unwrap()).exists()), "{aside:?}");
    let served = setup.serve().await;
    let answer = served.get("/v2/team/app/manifests/before").await;
    assert_eq!(answer.status, 503, "lost is not absent: {}", answer.text());
    push(&served, "team/app", "before", "before").await;
    expect_image(&served, "team/app", "before", "before", &before).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_was_damaged_or_cut_short_is_no_way_back() {
    let setup = setup().await;
    let backup = setup.path("backup");
    let words = ["backup", "--to", text(&backup)];
    let nothing = setup.ask(&words).await.expect(1);
    assert!(nothing.stderr.contains("there is no catalog"), "{nothing:?}");
    let served = setup.serve().await;
    let digest = push(&served, "team/app", "1", "one").await;
    served.stop().await;
    // Left by one that was killed; and something of somebody else's.
    let partial = setup.path("backup.partial");
    std::fs::create_dir(&partial).unwrap();
    let in_the_way = setup.ask(&words).await.expect(1);
    assert!(in_the_way.stderr.contains("in the way"), "{in_the_way:?}");
    std::fs::write(partial.join("backup.partial"), "").unwrap();
    // No plane runs: the data directory itself is read.
    setup.ask(&words).await.expect(0);
    assert!(!partial.exists());

    for file in ["catalog.sqlite", "blobs.tsv", "backup.json"] {
        let path = backup.join(file);
        let whole = std::fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        match file {
            "backup.json" => damaged.truncate(whole.len() / 2),
            _ => damaged[whole.len() / 2] ^= 1,
        }
        std::fs::write(&path, damaged).unwrap();
        let ran = setup.ask(&["restore", "--from", text(&backup), "--force"]).await.expect(1);
        assert!(ran.stderr.contains(file), "{file}: {ran:?}");
        std::fs::write(&path, whole).unwrap();
    }
    let served = setup.serve().await;
    expect_image(&served, "team/app", "1", "one", &digest).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalog_is_made_again_from_the_store_after_a_kill() {
    let setup = setup().await;
    let served = setup.serve().await;
    let one = push(&served, "team/app", "1", "one").await;
    let two = push(&served, "team/app", "2", "two").await;
    push(&served, "team/deep/er", "latest", "one").await;
    eventually("the store knows", async || {
        let read = |name: &str| {
            let path = setup.data().join("blobs/names").join(name).join("_index.json");
            std::fs::read_to_string(path).unwrap_or_default()
        };
        read("team/app").contains(&two) && read("team/deep/er").contains(&one)
    })
    .await;
    served.kill().await;
    std::fs::write(setup.data().join("catalog.sqlite"), vec![7; 8192]).unwrap();
    std::fs::remove_file(blob_file(&setup, &sha256(layer("two").as_bytes()).to_string())).unwrap();
    let ran = setup.ask(&["catalog", "rebuild", "--json"]).await.expect(1);
    let report = json_of(&ran);
    assert_eq!((&report["names"], &report["manifests"]), (&json!(2), &json!(3)), "{report}");
    assert_eq!(report["missingTotal"], 1);
    assert_eq!(report["missing"][0]["name"], "team/app");
    assert!(ran.stderr.contains("missing: team/app@"), "{ran:?}");
    let aside = report["putAside"].as_str().unwrap();
    assert_eq!(std::fs::read(aside).unwrap(), vec![7; 8192], "put aside as it was");
    let served = setup.serve().await;
    expect_image(&served, "team/app", "1", "one", &one).await;
    expect_image(&served, "team/deep/er", "latest", "one", &one).await;
    let lost = served.get(&format!("/v2/team/app/blobs/{}", sha256(layer("two").as_bytes()))).await;
    assert_eq!(lost.status, 503, "{}", lost.text());
    let busy = setup.ask(&["catalog", "rebuild"]).await.expect(1);
    assert!(busy.stderr.contains("stop the plane first"), "{busy:?}");
    push(&served, "team/app", "2", "two").await;
    expect_image(&served, "team/app", "2", "two", &two).await;
    served.stop().await;
    setup.ask(&["catalog", "rebuild"]).await.expect(0);
    let served = setup.serve().await;
    expect_image(&served, "team/app", "2", "two", &two).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plane_with_a_fresh_catalog_over_a_full_store_never_says_that_something_is_absent() {
    let setup = setup().await;
    let served = setup.serve().await;
    let digest = push(&served, "team/app", "1", "one").await;
    served.stop().await;
    lose_catalog(&setup);
    // Held up until it was seen: the names cannot be read.
    let (names, aside) = (setup.data().join("blobs/names"), setup.path("aside"));
    std::fs::rename(&names, &aside).unwrap();
    std::fs::write(&names, "").unwrap();
    let served = setup.serve().await;
    for path in ["manifests/1", "manifests/2", "tags/list"] {
        let answer = served.get(&format!("/v2/team/app/{path}")).await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
        assert!(answer.text().contains("being rebuilt") && answer.header("retry-after").is_some());
    }
    let ready = served.get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("the catalog is being rebuilt"), "{}", ready.text());
    std::fs::remove_file(&names).unwrap();
    std::fs::rename(&aside, &names).unwrap();
    eventually("it is known again", async || {
        let status = served.status("/v2/team/app/manifests/1").await;
        assert!(status == 503 || status == 200, "{status}");
        status == 200
    })
    .await;
    expect_image(&served, "team/app", "1", "one", &digest).await;
    // Only when all names are known is it known what is not there.
    eventually("all is known", async || {
        let status = served.status("/v2/team/app/manifests/2").await;
        assert!(status == 503 || status == 404, "{status}");
        status == 404
    })
    .await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_of_a_newer_version_is_refused_with_the_way_back() {
    let setup = setup().await;
    let served = setup.serve().await;
    let digest = push(&served, "team/app", "1", "one").await;
    served.stop().await;
    // The schema's number is in the header of the file (SQLite file format, 1.3: user version).
    let path = setup.data().join("catalog.sqlite");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    std::fs::write(&path, &bytes).unwrap();
    std::fs::write(setup.data().join("catalog.sqlite.before-99"), "the copy").unwrap();
    let data = setup.data();
    let refused = setup.run(&["serve", "--data-dir", text(&data)]).await.expect(1);
    for part in ["has schema 99", "catalog.sqlite.before-99", "mv ", "lockgate catalog rebuild"] {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "left as it is");
    let doctor = setup.ask(&["doctor"]).await.expect(1);
    assert!(
        doctor.stdout.contains("has schema 99") || doctor.stderr.contains("has schema 99"),
        "{doctor:?}"
    );
    // The way back that loses nothing that was pushed.
    setup.ask(&["catalog", "rebuild"]).await.expect(0);
    let served = setup.serve().await;
    expect_image(&served, "team/app", "1", "one", &digest).await;
    served.stop().await;
}
