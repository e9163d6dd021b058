//! Pushes over the wire: uploads in every form, manifests, mounts and deletes, header by header.

#![allow(clippy::unwrap_used)]

mod common;

use common::plain;
use common::world::{HOSTED, REPOSITORY, World};
use oci::{Algorithm, Digest};
use serde_json::{Value, json};
use testkit::client::{Request, Response};
use testkit::{FakeRegistry, FakeS3};

fn put(path: &str) -> Request {
    Request::new("PUT", path)
}

fn patch(path: &str) -> Request {
    Request::new("PATCH", path)
}

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

#[track_caller]
fn refused(answer: &Response, status: u16, code: &str, why: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let error = &answer.json()["errors"][0];
    assert_eq!(error["code"], code, "{error}");
    assert!(error["message"].as_str().unwrap().contains(why), "{error}");
    assert!(answer.reason.contains(why), "{}", answer.reason);
}

/// That the blob can be had, with all its headers.
async fn assert_there(world: &World, name: &str, digest: &str, bytes: &[u8]) {
    let path = format!("/v2/{name}/blobs/{digest}");
    let head = world.head(&path, &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let answer = world.get(&path, &[]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body == bytes);
    for answer in [head, answer] {
        assert_eq!(answer.header("docker-content-digest"), Some(digest));
        assert_eq!(answer.header("content-length"), Some(bytes.len().to_string().as_str()));
        assert_eq!(answer.header("cache-status"), None);
    }
}

fn assert_made(answer: &Response, name: &str, digest: &str) {
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("location"), Some(format!("/v2/{name}/blobs/{digest}").as_str()));
    assert_eq!(answer.header("docker-content-digest"), Some(digest));
    assert_eq!(answer.header("content-length"), Some("0"));
}

/// That the answer is about this session, which has its bytes up to `last`.
#[track_caller]
fn assert_session(answer: &Response, session: &str, status: u16, last: usize) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("location"), Some(session));
    assert_eq!(answer.header("range"), Some(format!("0-{last}").as_str()));
    assert_eq!(answer.header("docker-upload-uuid"), session.rsplit('/').next());
}

#[tokio::test]
async fn a_blob_in_one_request_or_in_two() {
    let world = World::hosted().await;
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        for bytes in [bytes(300_000), Vec::new()] {
            let digest = Digest::of(algorithm, &bytes).to_string();
            let path = format!("/v2/team/one/blobs/uploads/?digest={digest}");
            let whole = Request::new("POST", &path).body(bytes.clone());
            assert_made(&world.send(whole.clone()).await, "team/one", &digest);
            assert_made(&world.send(whole.chunked()).await, "team/one", &digest);
            assert_there(&world, "team/one", &digest, &bytes).await;

            let session = world.begin_upload("team/two").await;
            assert!(session.starts_with("/v2/team/two/blobs/uploads/"), "{session}");
            // Clients write the colon of a digest in either way.
            let encoded = digest.replace(':', "%3A");
            let last = put(&format!("{session}?digest={encoded}")).body(bytes.clone()).chunked();
            assert_made(&world.send(last).await, "team/two", &digest);
            assert_there(&world, "team/two", &digest, &bytes).await;
        }
    }
}

#[tokio::test]
async fn a_blob_in_chunks_that_must_follow_each_other() {
    let world = World::hosted().await;
    let bytes = bytes(3000);
    let digest = Digest::sha256(&bytes).to_string();
    let session = world.begin_upload("team/app").await;
    let chunk = |method: &str, query: &str, from: usize, to: usize| {
        Request::new(method, &format!("{session}{query}"))
            .header("content-range", &format!("{from}-{}", to - 1))
            .body(bytes[from..to].to_vec())
    };
    let status = async || {
        let head = world.head(&session, &[]).await;
        let get = world.get(&session, &[]).await;
        assert_eq!((head.status, head.header("range")), (204, get.header("range")));
        get
    };
    assert_session(&status().await, &session, 204, 0);

    let early = world.send(chunk("PATCH", "", 1000, 2000)).await;
    refused(&early, 416, "BLOB_UPLOAD_INVALID", "0 bytes are here");
    assert_session(&early, &session, 416, 0);
    assert_session(&world.send(chunk("PATCH", "", 0, 1000)).await, &session, 202, 999);
    let query = format!("?digest={digest}");
    let skipping = world.send(chunk("PUT", &query, 2000, 3000)).await;
    assert_session(&skipping, &session, 416, 999);
    let again = world.send(chunk("PATCH", "", 0, 1000)).await;
    assert_session(&again, &session, 416, 999);
    assert_session(&status().await, &session, 204, 999);
    assert_session(&world.send(chunk("PATCH", "", 1000, 2000)).await, &session, 202, 1999);
    assert_made(&world.send(chunk("PUT", &query, 2000, 3000)).await, "team/app", &digest);
    assert_there(&world, "team/app", &digest, &bytes).await;
    refused(&world.get(&session, &[]).await, 404, "BLOB_UPLOAD_UNKNOWN", "no such upload");
}

#[tokio::test]
async fn a_session_is_cancelled_and_unknown_ones_are() {
    let world = World::hosted().await;
    let session = world.begin_upload("team/app").await;
    world.send(patch(&session).body("abc")).await;
    let cancelled = world.send(Request::new("DELETE", &session)).await;
    assert_eq!((cancelled.status, cancelled.body.len()), (204, 0));
    for method in ["GET", "PATCH", "PUT", "DELETE"] {
        let path = format!("{session}?digest={}", Digest::sha256(b"abc"));
        let answer = world.send(Request::new(method, &path)).await;
        refused(&answer, 404, "BLOB_UPLOAD_UNKNOWN", "no such upload");
    }
    // Under another name it is another's.
    let session = world.begin_upload("team/app").await.replace("team/app", "team/other");
    refused(&world.get(&session, &[]).await, 404, "BLOB_UPLOAD_UNKNOWN", "no such upload");
}

#[tokio::test]
async fn what_is_wrong_with_an_upload_is_said() {
    let world = World::hosted().await;
    let other = Digest::sha256(b"other");
    let path = format!("/v2/team/app/blobs/uploads/?digest={other}");
    let answer = world.send(Request::new("POST", &path).body("abc")).await;
    refused(&answer, 400, "DIGEST_INVALID", &Digest::sha256(b"abc").to_string());
    assert_eq!(world.head(&format!("/v2/team/app/blobs/{other}"), &[]).await.status, 404);

    let session = world.begin_upload("team/app").await;
    let without = world.send(put(&session).body("abc")).await;
    refused(&without, 400, "DIGEST_INVALID", "digest");
    let bad = world.send(put(&format!("{session}?digest=sha256:1")).body("abc")).await;
    refused(&bad, 400, "DIGEST_INVALID", "");
    let twice = patch(&session).header("content-range", "0-2").header("content-range", "0-2");
    let answer = world.send(twice.body("abc")).await;
    refused(&answer, 400, "UNSUPPORTED", "more than one Content-Range");
    assert_eq!(answer.header("connection"), Some("close"));
    let range = world.send(patch(&session).header("content-range", "2-0").body("abc")).await;
    refused(&range, 400, "BLOB_UPLOAD_INVALID", "");
}

/// An image's manifest, and its blobs pushed.
async fn image(world: &World, name: &str, more: Value) -> (Value, String) {
    let config = b"{}";
    world.push_blob(name, config).await;
    let descriptor = json!({
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": Digest::sha256(config).to_string(),
        "size": config.len(),
    });
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": testkit::OCI_MANIFEST, "config": descriptor, "layers": [],
    });
    for (key, value) in more.as_object().unwrap() {
        manifest[key] = value.clone();
    }
    let digest = Digest::sha256(manifest.to_string().as_bytes()).to_string();
    (manifest, digest)
}

fn put_manifest(name: &str, reference: &str, manifest: &Value) -> Request {
    put(&format!("/v2/{name}/manifests/{reference}"))
        .header("content-type", testkit::OCI_MANIFEST)
        .body(manifest.to_string())
        .chunked()
}

#[tokio::test]
async fn a_manifest_by_tag_and_by_digest() {
    let world = World::hosted().await;
    let name = "team/app";
    let (manifest, digest) = image(&world, name, json!({})).await;
    let by_tag = world.send(put_manifest(name, "1.0", &manifest)).await;
    assert_eq!(by_tag.status, 201, "{}", by_tag.text());
    assert_eq!(by_tag.header("location"), Some("/v2/team/app/manifests/1.0"));
    assert_eq!(by_tag.header("docker-content-digest"), Some(digest.as_str()));
    assert_eq!((by_tag.header("oci-subject"), by_tag.header("oci-tag")), (None, None));
    let got = world.get("/v2/team/app/manifests/1.0", &[]).await;
    assert_eq!((got.status, got.text()), (200, manifest.to_string()));
    assert_eq!(got.header("content-type"), Some(testkit::OCI_MANIFEST));

    let subject = json!({"subject": {
        "mediaType": testkit::OCI_MANIFEST, "digest": digest, "size": manifest.to_string().len(),
    }});
    let (referrer, its_digest) = image(&world, name, subject).await;
    let reference = format!("{its_digest}?tag=a&tag=b");
    let made = world.send(put_manifest(name, &reference, &referrer)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let location = format!("/v2/team/app/manifests/{its_digest}");
    assert_eq!(made.header("location"), Some(location.as_str()));
    assert_eq!(made.header("oci-subject"), Some(digest.as_str()));
    let tags: Vec<&str> = made
        .headers
        .iter()
        .filter(|(name, _)| name == "oci-tag")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(tags, ["a", "b"]);
    for tag in ["a", "b"] {
        let head = world.head(&format!("/v2/team/app/manifests/{tag}"), &[]).await;
        assert_eq!(head.header("docker-content-digest"), Some(its_digest.as_str()));
    }
    let referrers = world.get(&format!("/v2/team/app/referrers/{digest}"), &[]).await;
    assert_eq!(referrers.json()["manifests"][0]["digest"], its_digest);
}

#[tokio::test]
async fn what_is_wrong_with_a_manifest_is_said() {
    let world = World::hosted().await;
    let name = "team/app";
    let (manifest, _) = image(&world, name, json!({})).await;
    let other = Digest::sha256(b"other").to_string();
    let answer = world.send(put_manifest(name, &other, &manifest)).await;
    refused(&answer, 400, "DIGEST_INVALID", "");
    let missing = json!({"layers": [{"mediaType": "a/b", "digest": other, "size": 5}]});
    let (lacking, _) = image(&world, name, missing).await;
    let answer = world.send(put_manifest(name, "1", &lacking)).await;
    refused(&answer, 400, "MANIFEST_BLOB_UNKNOWN", &other);
    let large = put("/v2/team/app/manifests/1")
        .header("content-type", testkit::OCI_MANIFEST)
        .body(vec![b' '; 5 << 20]);
    refused(&world.send(large.clone()).await, 413, "SIZE_INVALID", "manifest");
    refused(&world.send(large.chunked()).await, 413, "SIZE_INVALID", "manifest");

    let (other, _) = image(&world, name, json!({"annotations": {"a": "b"}})).await;
    assert_eq!(world.send(put_manifest(name, "v1", &manifest)).await.status, 201);
    let moved = world.send(put_manifest(name, "v1", &other)).await;
    refused(&moved, 403, "DENIED", "v1");
}

#[tokio::test]
async fn what_is_deleted_is_gone_at_once() {
    let world = World::hosted().await;
    let name = "team/app";
    let (manifest, digest) = image(&world, name, json!({})).await;
    assert_eq!(world.send(put_manifest(name, "1", &manifest)).await.status, 201);
    let blob = Digest::sha256(b"{}").to_string();
    let delete = async |path: &str| {
        world.send(Request::new("DELETE", &format!("/v2/team/app/{path}"))).await
    };
    let held = delete(&format!("blobs/{blob}")).await;
    refused(&held, 409, "DENIED", &digest);
    for path in ["manifests/1", &format!("manifests/{digest}"), &format!("blobs/{blob}")] {
        let answer = delete(path).await;
        assert_eq!((answer.status, answer.body.len()), (202, 0), "{path}: {}", answer.text());
        assert_eq!(world.head(&format!("/v2/team/app/{path}"), &[]).await.status, 404, "{path}");
        assert_eq!(delete(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_blob_is_mounted_or_a_session_begins() {
    let world = World::hosted().await;
    let digest = world.push_blob("team/source", b"abc").await;
    let mount = async |query: &str| {
        let path = format!("/v2/team/copy/blobs/uploads/?{query}");
        world.send(Request::new("POST", &path)).await
    };
    assert_made(&mount(&format!("mount={digest}&from=team/source")).await, "team/copy", &digest);
    assert_there(&world, "team/copy", &digest, b"abc").await;
    let missing = Digest::sha256(b"missing");
    let answer = mount(&format!("mount={missing}&from=team/source")).await;
    let session = answer.header("location").unwrap().to_owned();
    assert_session(&answer, &session, 202, 0);
    let whole = put(&format!("{session}?digest={missing}")).body("missing");
    assert_made(&world.send(whole).await, "team/copy", &missing.to_string());
}

#[tokio::test]
async fn what_came_by_a_namespace_goes_on_by_it() {
    let world = World::hosted().await;
    let path = "/v2/app/blobs/uploads/?ns=team.example";
    let begun = world.send(Request::new("POST", path)).await;
    assert_eq!(begun.header("oci-namespace"), Some("team.example"));
    let session = begun.header("location").unwrap();
    assert!(session.ends_with("?ns=team.example"), "{session}");
    let digest = Digest::sha256(b"abc");
    let made = world.send(put(&format!("{session}&digest={digest}")).body("abc")).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let location = made.header("location").unwrap();
    assert_eq!(location, format!("/v2/app/blobs/{digest}?ns=team.example"));
    assert_eq!(world.get(location, &[]).await.text(), "abc");
    assert_there(&world, "team/app", &digest.to_string(), b"abc").await;
}

#[tokio::test]
async fn a_remote_repository_takes_nothing() {
    let world = World::hosted().await;
    let digest = Digest::sha256(b"x");
    for (method, path) in [
        ("POST", "blobs/uploads/"),
        ("PUT", "manifests/1"),
        ("DELETE", "manifests/1"),
        ("DELETE", &format!("blobs/{digest}")),
        ("PATCH", "blobs/uploads/00000000000000000000000000000abc"),
    ] {
        let path = format!("/v2/{REPOSITORY}/app/{path}");
        let answer = world.send(Request::new(method, &path).body("{}")).await;
        refused(&answer, 405, "UNSUPPORTED", "remote repository");
        assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    }
}

#[tokio::test]
async fn a_blob_of_an_object_store_is_had_there() {
    let bucket = FakeS3::start();
    let keys = tempfile::tempdir().unwrap();
    let key = |name: &str, value: &str| {
        let path = keys.path().join(name);
        std::fs::write(&path, value).unwrap();
        path.display().to_string()
    };
    let (id, secret) = (key("id", FakeS3::ACCESS_KEY_ID), key("secret", FakeS3::SECRET_ACCESS_KEY));
    let store = format!(
        "
---
apiVersion: lockgate.dev/v1alpha1
kind: Plane
metadata: {{ name: default }}
spec:
  store:
    s3: {{ bucket: {}, region: {}, endpoint: '{}', accessKeyIdFile: '{id}', secretAccessKeyFile: '{secret}' }}
",
        FakeS3::BUCKET,
        FakeS3::REGION,
        bucket.endpoint()
    );
    let documents = HOSTED.replace("hosted: {", "hosted: { redirect: { presign: 1m },") + &store;
    let world = World::with(FakeRegistry::builder(), plain(), &documents).await;
    let digest = world.push_blob("team/app", b"abc").await;
    let path = format!("/v2/team/app/blobs/{digest}");
    let answer = world.get(&path, &[]).await;
    assert_eq!((answer.status, answer.body.len()), (307, 0), "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
    let url = answer.header("location").unwrap();
    assert!(url.starts_with(&bucket.endpoint()), "{url}");
    let there = reqwest::get(url).await.unwrap();
    assert_eq!((there.status().as_u16(), &there.bytes().await.unwrap()[..]), (200, &b"abc"[..]));
    // HEAD is answered here: clients want to know the size.
    let head = world.head(&path, &[]).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("3")));
}
