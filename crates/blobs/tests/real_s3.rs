//! The contract of places on a real S3 server, which `LOCKGATE_TEST_S3_*` name, and what only such a
//! one shows: that wrong keys are refused and presigned URLs are served.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "says which clause failed")]

mod common;

use blobs::{Error, Place, Trouble};
use common::contract::{Bench, CONTRACT};
use oci::Digest;
use secrecy::ExposeSecret;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn variable(name: &str) -> String {
    let name = format!("LOCKGATE_TEST_S3_{name}");
    std::env::var(&name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// A prefix that no other bench has used, in the bucket that is there.
fn place(bucket: &str, secret: &str) -> Place {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Place::S3 {
        bucket: bucket.into(),
        prefix: format!("test-{}-{number}", now.as_nanos()),
        region: None,
        endpoint: Some(variable("ENDPOINT")),
        path_style: true,
        access_key_id: Some(variable("ACCESS_KEY").into()),
        secret_access_key: Some(secret.into()),
    }
}

fn bench() -> Bench {
    Bench::new(place(&variable("BUCKET"), &variable("SECRET_KEY")), None)
}

#[test]
#[ignore = "needs a real S3 server: tests/store/run.sh"]
fn a_real_object_store_keeps_the_contract() {
    for (name, clause) in CONTRACT {
        println!("{name}");
        let bench = bench();
        clause(&bench);
        let store = bench.reopened();
        for found in store.walk().collect::<Vec<_>>() {
            store.remove(&found.unwrap().0).unwrap();
        }
    }
}

#[test]
#[ignore = "needs a real S3 server: tests/store/run.sh"]
fn wrong_keys_and_a_missing_bucket_are_told() {
    let digest = Digest::sha256(b"abc");
    let secret = variable("SECRET_KEY");
    for (place, expected) in [
        (place(&variable("BUCKET"), "not-the-secret"), Trouble::WrongKeys),
        (place("there-is-no-such-bucket", &secret), Trouble::NoBucket),
    ] {
        let bench = Bench::new(place, None);
        let probe = {
            let _guard = bench.runtime.enter();
            bench.store.open_place(bench.place.clone()).unwrap().probe()
        };
        assert!(told(&probe.unwrap_err(), expected));
        let asked = bench.store.blob(&digest);
        assert!(matches!(asked, Err(Error::Remote { .. })), "{asked:?}");
        assert!(told(&bench.store.put(&digest, b"abc").unwrap_err(), expected));
    }
}

fn told(error: &Error, expected: Trouble) -> bool {
    println!("{error:?}");
    matches!(error, Error::Remote { trouble, .. } if *trouble == expected)
}

#[test]
#[ignore = "needs a real S3 server: tests/store/run.sh"]
fn a_presigned_url_serves_whoever_has_it() {
    let bench = bench();
    let digest = Digest::sha256(b"abc");
    let blob = bench.store.put(&digest, b"abc").unwrap();
    let url = bench.store.presign(&blob, Duration::from_mins(1)).unwrap().unwrap();
    let addr = variable("ENDPOINT").replace("http://", "");
    let path = url.expose_secret().splitn(4, '/').nth(3).unwrap();
    let get = |path: &str| {
        let path = format!("/{path}");
        bench.runtime.block_on(testkit::client::get(addr.as_str(), &path, &[])).unwrap()
    };
    let answer = get(path);
    assert_eq!((answer.status, &answer.body[..]), (200, &b"abc"[..]));
    assert_eq!(get(path.split_once('?').unwrap().0).status, 403, "not without the signature");
}
