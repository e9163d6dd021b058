//! A process that is killed while it sends a blob to an object store, for real: a copy of this test is
//! the one that dies.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use blobs::{Place, Verdict};
use common::contract::open;
use common::{bytes, files, s3};
use oci::Digest;
use std::process::{Command, Stdio};
use std::time::Duration;
use testkit::{FakeS3, S3Fault};
use tokio::runtime::Runtime;

const DIRECTORY: &str = "LOCKGATE_TEST_KILLED_DIRECTORY";
const ENDPOINT: &str = "LOCKGATE_TEST_KILLED_ENDPOINT";

/// Three parts: the second is what the server never answers.
fn content() -> bytes::Bytes {
    bytes(40 << 20, 1)
}

fn at(endpoint: String) -> Place {
    match s3(&FakeS3::start()) {
        Place::S3 {
            bucket, prefix, region, path_style, access_key_id, secret_access_key, ..
        } => {
            let endpoint = Some(endpoint);
            Place::S3 {
                bucket,
                prefix,
                region,
                endpoint,
                path_style,
                access_key_id,
                secret_access_key,
            }
        }
        place => place,
    }
}

/// What the copy does until it dies.
fn send(runtime: &Runtime, directory: &std::path::Path, endpoint: String) {
    let store = open(runtime, directory, vec![at(endpoint)]);
    let all = content();
    let mut part = store.part(&Digest::sha256(&all)).unwrap();
    part.append(std::slice::from_ref(&all)).unwrap();
    part.commit().unwrap();
}

#[test]
fn what_a_killed_process_sent_is_not_sent_again() {
    let runtime = Runtime::new().unwrap();
    if let (Some(directory), Ok(endpoint)) = (std::env::var_os(DIRECTORY), std::env::var(ENDPOINT))
    {
        return send(&runtime, directory.as_ref(), endpoint);
    }
    let (dir, server) = (tempfile::tempdir().unwrap(), FakeS3::start());
    server.fail("PUT", "partNumber=2", usize::MAX, S3Fault::Silence);
    let mut copy = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "what_a_killed_process_sent_is_not_sent_again"])
        .env(DIRECTORY, dir.path())
        .env(ENDPOINT, server.endpoint())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let notes = || {
        let fills = dir.path().join("fills");
        let known = if fills.exists() { files(&fills) } else { Vec::new() };
        let notes = known.into_iter().find(|path| path.extension().is_some_and(|e| e == "sending"));
        notes.map_or(0, |notes| std::fs::read_to_string(notes).unwrap().lines().count())
    };
    // The upload, and the first and the third part of it; the second is there and not answered.
    while notes() < 3 || server.count("PUT", "partNumber=2") == 0 {
        assert!(copy.try_wait().unwrap().is_none(), "it cannot end by itself");
        std::thread::sleep(Duration::from_millis(10));
    }
    copy.kill().unwrap();
    copy.wait().unwrap();
    server.heal();
    assert!(server.objects().is_empty());

    let sent = server.count("PUT", "partNumber");
    let store = open(&runtime, dir.path(), vec![at(server.endpoint())]);
    let digest = Digest::sha256(&content());
    assert!(store.blob(&digest).unwrap().is_none());
    let mut part = store.part(&digest).unwrap();
    part.rehash().unwrap();
    part.commit().unwrap();
    assert_eq!(server.count("PUT", "partNumber"), sent + 1);
    assert_eq!(store.check(&digest, |_| true).unwrap(), Verdict::Sound);
    assert!(server.uploads().is_empty() && files(&dir.path().join("fills")).is_empty());
}
