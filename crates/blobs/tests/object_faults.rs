//! Object stores that are out of order, slow, gone, or wrong: what is asked of them is tried again
//! within bounds, and what they do not say is never taken for "not there".
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use blobs::{Error, ObjectWaits, Options, Place, ReadHow, Store, Trouble, Verdict};
use bytes::Bytes;
use common::contract::{Bench, open, waits};
use common::objects::{ALWAYS, bench, key, stored, trouble};
use common::{bytes, read, s3, whole};
use futures_util::StreamExt;
use oci::Digest;
use secrecy::ExposeSecret;
use std::time::Duration;
use testkit::{FakeS3, S3Fault};

/// All that an error says, down to its first cause.
fn chain(error: &Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(" {error}"));
        cause = error.source();
    }
    text
}

#[test]
fn a_store_that_is_out_of_order_for_a_moment_is_asked_again() {
    let (bench, server) = bench();
    let digest = stored(&server, &bytes(1000, 1));
    server.fail("HEAD", &digest.hex(), 2, S3Fault::Status(503));
    server.fail("GET", &digest.hex(), 1, S3Fault::Status(500));
    server.fail("PUT", "blobs", 1, S3Fault::Status(503));
    let blob = bench.store.blob(&digest).unwrap().unwrap();
    assert_eq!(blob.read_all(1000).unwrap(), bytes(1000, 1));
    bench.store.put(&Digest::sha256(b"abc"), b"abc").unwrap();
    assert_eq!(server.count("HEAD", &digest.hex()), 3);
}

#[test]
fn a_store_that_stays_out_of_order_is_an_error_and_not_an_absence() {
    let (bench, server) = bench();
    let (absent, digest) = (Digest::sha256(b"absent"), Digest::sha256(b"abc"));
    assert!(bench.store.blob(&absent).unwrap().is_none(), "the bucket has shown that it is there");
    server.fail("HEAD", "", ALWAYS, S3Fault::Status(503));
    server.fail("GET", "list-type", ALWAYS, S3Fault::Status(503));
    let error = bench.store.blob(&absent).unwrap_err();
    assert!(error.may_pass() && !error.is_damage(), "{error}");
    assert_eq!(trouble(bench.store.blob_of_size(&absent, || Some(1))), Trouble::Unwell);
    assert_eq!(trouble(bench.store.check(&absent, |_| true)), Trouble::Unwell);
    assert_eq!(trouble(bench.store.look(&absent, 1)), Trouble::Unwell);
    assert_eq!(trouble(bench.store.put(&digest, b"abc")), Trouble::Unwell);
    assert_eq!(trouble(bench.store.remove(&absent)), Trouble::Unwell);
    let listed: Vec<_> = bench.store.walk().collect();
    assert!(listed.iter().all(Result::is_err) && !listed.is_empty());
    server.heal();
    assert!(bench.store.blob(&absent).unwrap().is_none());
}

#[test]
fn a_store_that_cannot_be_reached_is_an_error() {
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let server = FakeS3::start();
    let Place::S3 { bucket, prefix, region, path_style, access_key_id, secret_access_key, .. } =
        s3(&server)
    else {
        panic!()
    };
    let endpoint = Some(format!("http://{closed}"));
    let place = Place::S3 {
        bucket,
        prefix,
        region,
        endpoint,
        path_style,
        access_key_id,
        secret_access_key,
    };
    let bench = Bench::new(place, None);
    assert_eq!(trouble(bench.store.blob(&Digest::sha256(b"x"))), Trouble::Unreachable);
}

#[test]
fn a_store_that_could_not_be_reached_is_left_alone_for_a_while() {
    let server = FakeS3::start();
    let bench = Bench::new(Place::DataDir, None);
    let digest = stored(&server, &bytes(1000, 16));
    let store = |rest| {
        let _guard = bench.runtime.enter();
        let mut options = Options::new(bench.dir.path());
        options.object_waits = ObjectWaits { rest, ..waits() };
        let store = Store::open(options).unwrap();
        store.set_places(vec![s3(&server)]).unwrap();
        store
    };
    server.fail("HEAD", "", ALWAYS, S3Fault::LoseAnswer);
    let (resting, restless) = (store(Duration::from_hours(1)), store(Duration::ZERO));
    assert_eq!(trouble(resting.blob(&digest)), Trouble::Unreachable);
    assert_eq!(trouble(restless.blob(&digest)), Trouble::Unreachable);
    let asked = server.count("HEAD", "");
    server.heal();
    assert_eq!(trouble(resting.blob(&digest)), Trouble::Unreachable);
    assert_eq!(server.count("HEAD", ""), asked, "nobody asked");
    assert!(restless.blob(&digest).unwrap().is_some());
}

#[test]
fn wrong_keys_are_told_as_that_and_never_shown() {
    let server = FakeS3::start();
    for (id, secret) in [("AKIAOTHER", "hush-hush"), (FakeS3::ACCESS_KEY_ID, "hush-hush")] {
        let place = Place::S3 {
            bucket: FakeS3::BUCKET.into(),
            prefix: String::new(),
            region: None,
            endpoint: Some(server.endpoint()),
            path_style: true,
            access_key_id: Some(id.into()),
            secret_access_key: Some(secret.into()),
        };
        let bench = Bench::new(place.clone(), None);
        let probe = {
            let _guard = bench.runtime.enter();
            bench.store.open_place(place).unwrap().probe().unwrap_err()
        };
        let asked = bench.store.blob(&Digest::sha256(b"x")).unwrap_err();
        for error in [probe, asked] {
            assert!(
                matches!(error, Error::Remote { trouble: Trouble::WrongKeys, .. }),
                "{error:?}"
            );
            assert!(error.to_string().contains("does not accept the keys"), "{error}");
            assert!(!chain(&error).contains("hush"), "{}", chain(&error));
        }
    }
}

#[test]
fn a_bucket_that_is_gone_is_no_empty_one() {
    let (bench, server) = bench();
    server.remove_bucket();
    let digest = Digest::sha256(b"abc");
    assert_eq!(trouble(bench.store.blob(&digest)), Trouble::NoBucket);
    assert_eq!(trouble(bench.store.put(&digest, b"abc")), Trouble::NoBucket);
}

#[test]
fn a_place_that_makes_no_sense_is_refused_and_changes_nothing() {
    let (bench, _server) = bench();
    let _guard = bench.runtime.enter();
    let bad = |endpoint: &str, secret: Option<&str>| Place::S3 {
        bucket: "b".into(),
        prefix: String::new(),
        region: None,
        endpoint: Some(endpoint.into()),
        path_style: true,
        access_key_id: Some("id".into()),
        secret_access_key: secret.map(Into::into),
    };
    let before = bench.store.places();
    assert_eq!(before, ["s3://blobs-of-tests/some/prefix"]);
    for place in [bad("127.0.0.1:80", Some("s")), bad("http://127.0.0.1:1", None)] {
        let refused = bench.store.set_places(vec![place, Place::DataDir]);
        assert!(matches!(refused, Err(Error::BadPlace { .. })));
    }
    assert!(matches!(bench.store.set_places(vec![]), Err(Error::BadPlace { .. })));
    assert_eq!(bench.store.places(), before);
}

#[test]
fn a_body_that_breaks_goes_on_where_it_broke() {
    let (bench, server) = bench();
    let all = bytes(6 << 20, 2);
    let digest = stored(&server, &all);
    let blob = bench.store.blob(&digest).unwrap().unwrap();
    for fault in [S3Fault::Cut(100_000), S3Fault::Stall(200_000), S3Fault::LoseAnswer] {
        server.fail("GET", &digest.hex(), 2, fault);
        assert!(bench.all(&blob) == all);
    }
    assert_eq!(bench.store.check(&digest, |_| true).unwrap(), Verdict::Sound);
}

#[test]
fn a_body_that_always_breaks_is_an_error_and_then_the_end() {
    let (bench, server) = bench();
    let digest = stored(&server, &bytes(6 << 20, 3));
    let blob = bench.store.blob(&digest).unwrap().unwrap();
    server.fail("GET", &digest.hex(), ALWAYS, S3Fault::Cut(7));
    bench.runtime.block_on(async {
        let mut stream = blob.stream(whole(&blob), ReadHow::Mapped);
        let error = stream.next().await.unwrap().unwrap_err();
        assert!(error.may_pass() && !error.is_damage(), "{error:?}");
        assert!(stream.next().await.is_none());
    });
    let checked = bench.store.check(&digest, |_| true);
    assert_eq!(trouble(checked), Trouble::Unreachable, "what was not read is not damaged");
    server.heal();
    assert!(bench.store.blob(&digest).unwrap().is_some());
}

#[test]
fn bits_that_flip_on_the_way_are_no_damage_and_those_that_lie_there_are() {
    let (bench, server) = bench();
    let all = bytes(300_000, 4);
    let digest = stored(&server, &all);
    server.fail("GET", &digest.hex(), 1, S3Fault::Flip);
    assert_eq!(bench.store.check(&digest, |_| true).unwrap(), Verdict::Sound);
    let mut rotten = all.to_vec();
    rotten[7] ^= 1;
    server.set(&key(&digest), rotten);
    assert_eq!(bench.store.check(&digest, |_| true).unwrap(), Verdict::Damaged);
    assert!(bench.store.blob(&digest).unwrap().is_none());
    assert!(server.objects().is_empty());
}

#[test]
fn bytes_that_whoever_read_them_found_wrong_are_removed() {
    let (bench, server) = bench();
    let all = bytes(3000, 18);
    let digest = stored(&server, &all);
    let mut rotten = all.to_vec();
    rotten[7] ^= 1;
    server.set(&key(&digest), rotten);
    let blob = bench.store.blob(&digest).unwrap().unwrap();
    assert!(blob.read_all(3000).unwrap() != all, "who reads all of it can tell");
    assert!(bench.store.remove_damaged(&blob).unwrap());
    assert!(bench.store.blob(&digest).unwrap().is_none());
    assert_eq!(bench.store.put(&digest, &all).unwrap().read_all(3000).unwrap(), all);
}

#[test]
fn an_object_that_changed_its_length_under_its_readers_is_damaged() {
    let (bench, server) = bench();
    let all = bytes(300_000, 5);
    let digest = stored(&server, &all);
    let blob = bench.store.blob(&digest).unwrap().unwrap();
    assert!(!bench.store.remove_damaged(&blob).unwrap(), "it is as it was");
    server.set(&key(&digest), &b"short"[..]);
    let error = bench.runtime.block_on(read(&blob, whole(&blob), ReadHow::Copied)).unwrap_err();
    assert!(error.is_damage(), "{error}");
    assert!(bench.store.remove_damaged(&blob).unwrap());
    assert!(bench.store.blob(&digest).unwrap().is_none());
}

#[test]
fn an_object_that_somebody_else_deleted_is_lost() {
    let (bench, server) = bench();
    let digest = stored(&server, &bytes(300_000, 17));
    let blob = bench.store.blob(&digest).unwrap().unwrap();
    server.remove(&key(&digest));
    let error = bench.runtime.block_on(read(&blob, whole(&blob), ReadHow::Copied)).unwrap_err();
    assert!(matches!(error, Error::Absent { .. }) && error.is_damage(), "{error}");
    assert!(bench.store.remove_damaged(&blob).unwrap());
    assert!(bench.store.cached(&digest).is_none());
    assert!(bench.store.blob(&digest).unwrap().is_none());
}

#[test]
fn only_what_is_surely_absent_is_looked_for_in_the_next_place() {
    let (bench, server) = bench();
    let (here, there) = (bytes(1000, 12), bytes(2000, 13));
    let digest = stored(&server, &there);
    let dir = tempfile::tempdir().unwrap();
    let files = Place::File { directory: dir.path().join("blobs") };
    let store = open(&bench.runtime, bench.dir.path(), vec![files.clone(), bench.place.clone()]);
    assert_eq!(store.put(&Digest::sha256(&here), &here).unwrap().size_bytes(), 1000);
    assert_eq!(store.blob(&digest).unwrap().unwrap().read_all(2000).unwrap(), there);
    assert_eq!(server.objects().len(), 1, "it is written to the first");
    assert_eq!(store.walk().count(), 2);

    let store = open(&bench.runtime, bench.dir.path(), vec![bench.place.clone(), files]);
    assert!(store.blob(&Digest::sha256(&here)).unwrap().is_some(), "absent in the bucket");
    let store = bench_places(&bench, &store);
    server.fail("HEAD", "", ALWAYS, S3Fault::Status(503));
    assert_eq!(trouble(store.blob(&Digest::sha256(&here))), Trouble::Unwell);
    server.heal();
    assert_eq!(store.remove(&digest).unwrap(), Some(2000));
    assert_eq!(store.remove(&Digest::sha256(&here)).unwrap(), Some(1000));
    assert_eq!(store.walk().count(), 0);
}

/// The same places, with nothing open.
fn bench_places(bench: &Bench, store: &Store) -> Store {
    let directory = store.places()[1].strip_prefix("file://").unwrap().into();
    open(&bench.runtime, bench.dir.path(), vec![bench.place.clone(), Place::File { directory }])
}

#[test]
fn of_two_copies_the_right_one_serves() {
    let (bench, server) = bench();
    let all = bytes(5000, 14);
    let digest = Digest::sha256(&all);
    let place = || vec![bench.place.clone(), Place::DataDir];
    let _guard = bench.runtime.enter();
    bench.store.set_places(vec![Place::DataDir]).unwrap();
    bench.store.put(&digest, &all).unwrap();
    server.set(&key(&digest), &b"short"[..]);
    let store = open(&bench.runtime, bench.dir.path(), place());
    let blob = store.blob_of_size(&digest, || Some(5000)).unwrap().unwrap();
    assert_eq!(blob.read_all(5000).unwrap(), all);
    assert!(server.objects().is_empty(), "the wrong one is gone");
    let mut rotten = all.to_vec();
    rotten[0] ^= 1;
    server.set(&key(&digest), rotten);
    assert_eq!(store.check(&digest, |_| true).unwrap(), Verdict::Sound);
    assert!(server.objects().is_empty());
}

#[test]
fn streams_go_on_while_the_places_change() {
    let (bench, server) = bench();
    let all = bytes(12 << 20, 15);
    let digest = stored(&server, &all);
    let dir = tempfile::tempdir().unwrap();
    let files = Place::File { directory: dir.path().join("blobs") };
    let blob = bench.store.blob(&digest).unwrap().unwrap();
    let mut stream = blob.stream(whole(&blob), ReadHow::Mapped);
    let mut got = bench.runtime.block_on(stream.next()).unwrap().unwrap().to_vec();
    let change = |places: Vec<Place>| {
        let _guard = bench.runtime.enter();
        bench.store.set_places(places).unwrap();
    };
    change(vec![files.clone()]);
    assert!(bench.store.cached(&digest).is_none(), "it is not looked for there any more");
    assert!(bench.store.blob(&digest).unwrap().is_none());
    bench.part(&bench.store, &all).commit().unwrap();
    let blob = bench.store.cached(&digest).unwrap();
    let mut second = blob.stream(whole(&blob), ReadHow::Mapped);
    change(vec![bench.place.clone()]);
    let mut both = [&mut stream, &mut second].map(|stream| {
        bench.runtime.block_on(async {
            let mut rest = Vec::new();
            while let Some(bytes) = stream.next().await {
                rest.extend_from_slice(&bytes.unwrap());
            }
            rest
        })
    });
    got.append(&mut both[0]);
    assert!(got == all && both[1] == all);
    change(vec![bench.place.clone(), files]);
    assert_eq!(bench.store.places().len(), 2);
}

#[test]
fn a_presigned_url_serves_whoever_has_it_for_a_while() {
    let (bench, server) = bench();
    let digest = stored(&server, &Bytes::from_static(b"abc"));
    let blob = bench.store.blob(&digest).unwrap().unwrap();
    let url = bench.store.presign(&blob, Duration::from_mins(10)).unwrap().unwrap();
    let url = url.expose_secret();
    assert!(url.contains("X-Amz-Expires=600"), "{url}");
    let path = url.strip_prefix(&server.endpoint()).unwrap();
    let addr = server.endpoint().replace("http://", "");
    let get = |path: &str| {
        bench.runtime.block_on(testkit::client::get(addr.as_str(), path, &[])).unwrap()
    };
    let answer = get(path);
    assert_eq!((answer.status, &answer.body[..]), (200, &b"abc"[..]));
    assert_eq!(get(path.split_once('?').unwrap().0).status, 403);
    assert_eq!(get(&path.replace("Expires=600", "Expires=601")).status, 403);
    let _guard = bench.runtime.enter();
    bench.store.set_places(vec![Place::DataDir]).unwrap();
    assert!(bench.store.presign(&blob, waits().small).unwrap().is_none(), "it is no place now");
    let local = bench.store.put(&digest, b"abc").unwrap();
    assert!(bench.store.presign(&local, waits().small).unwrap().is_none());
}
