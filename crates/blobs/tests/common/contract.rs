//! What holds of every place, whatever holds its blobs.

use super::{bytes, files, read, whole};
use blobs::{Blob, Copied, Error, ObjectWaits, Options, Place, ReadHow, Store, Verdict};
use bytes::Bytes;
use futures_util::StreamExt;
use oci::range::ByteRange;
use oci::{Algorithm, Digest};
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;

const HOWS: [ReadHow; 2] = [ReadHow::Mapped, ReadHow::Copied];

/// A store whose blobs lie in one place.
pub(crate) struct Bench {
    pub(crate) store: Store,
    pub(crate) place: Place,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) runtime: Runtime,
    /// What the place lies in, if it goes with the bench.
    _held: Option<Box<dyn std::any::Any + Send + Sync>>,
}

/// Waits that let faults show soon.
pub(crate) fn waits() -> ObjectWaits {
    ObjectWaits {
        connect: Duration::from_secs(2),
        small: Duration::from_secs(5),
        stall: Duration::from_millis(500),
        transfer: Duration::from_secs(30),
        backoff: Duration::from_millis(5),
        rest: Duration::ZERO,
    }
}

impl Bench {
    pub(crate) fn new(place: Place, held: Option<Box<dyn std::any::Any + Send + Sync>>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let store = open(&runtime, dir.path(), vec![place.clone()]);
        Self { store, place, dir, runtime, _held: held }
    }

    /// The store as the next process finds it.
    pub(crate) fn reopened(&self) -> Store {
        open(&self.runtime, self.dir.path(), vec![self.place.clone()])
    }

    pub(crate) fn read(&self, blob: &Blob, range: ByteRange, how: ReadHow) -> Vec<u8> {
        self.runtime.block_on(read(blob, range, how)).unwrap()
    }

    pub(crate) fn all(&self, blob: &Blob) -> Vec<u8> {
        self.read(blob, whole(blob), ReadHow::Copied)
    }

    /// Files that are on their way to be blobs.
    pub(crate) fn staged(&self) -> usize {
        files(&self.dir.path().join("fills")).len() + files(&self.dir.path().join("uploads")).len()
    }

    pub(crate) fn part(&self, store: &Store, all: &Bytes) -> blobs::Part {
        let mut part = store.part(&Digest::sha256(all)).unwrap();
        part.append(std::slice::from_ref(all)).unwrap();
        part
    }
}

pub(crate) fn open(runtime: &Runtime, dir: &Path, places: Vec<Place>) -> Store {
    let _guard = runtime.enter();
    let mut options = Options::new(dir);
    options.object_waits = waits();
    let store = Store::open(options).unwrap();
    store.set_places(places).unwrap();
    store
}

pub(crate) type Clause = (&'static str, fn(&Bench));

/// Each is run with a bench of its own.
pub(crate) const CONTRACT: &[Clause] = &[
    ("probed", |bench| bench.store.open_place(bench.place.clone()).unwrap().probe().unwrap()),
    ("put", what_is_put_is_found_by_the_next_process),
    ("wrong", wrong_bytes_leave_nothing),
    ("ranges", every_range_gives_its_bytes),
    ("memory", too_much_for_memory_is_refused),
    ("removed", what_is_removed_is_not_found),
    ("readers", who_reads_is_known),
    ("walk", walk_sees_every_blob),
    ("check", a_check_tells_sound_from_absent),
    ("look", a_look_tells_age_and_bytes),
    ("size", one_of_another_length_is_damaged),
    ("part", a_part_becomes_a_blob),
    ("long part", a_long_part_becomes_a_blob),
    ("wrong part", a_wrong_part_becomes_nothing),
    ("upload", an_upload_becomes_a_blob),
    ("twice", two_uploads_of_one_blob_are_one_blob),
    ("copies", copies_go_there_and_back),
    ("stopped copy", a_copy_that_was_stopped_is_gone_on_with),
    ("race", the_cache_never_keeps_what_was_removed),
];

fn what_is_put_is_found_by_the_next_process(bench: &Bench) {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        for length in [0, 1, 300_000] {
            let bytes = bytes(length, 1);
            let digest = Digest::of(algorithm, &bytes);
            assert!(bench.store.blob(&digest).unwrap().is_none());
            let blob = bench.store.put(&digest, &bytes).unwrap();
            assert_eq!((blob.digest(), blob.size_bytes()), (&digest, length as u64));
            assert!(bench.store.cached(&digest).is_some());
            bench.store.put(&digest, &bytes).unwrap();
            let store = bench.reopened();
            assert!(store.cached(&digest).is_none());
            let blob = store.blob(&digest).unwrap().unwrap();
            assert_eq!(blob.read_all(length).unwrap(), bytes);
            for how in HOWS {
                assert_eq!(bench.read(&blob, whole(&blob), how), bytes);
            }
            assert!(store.cached(&digest).is_some());
        }
    }
}

fn wrong_bytes_leave_nothing(bench: &Bench) {
    let digest = Digest::sha256(b"right");
    let error = bench.store.put(&digest, b"wrong").unwrap_err();
    assert!(
        matches!(error, Error::WrongDigest { found, .. } if *found == Digest::sha256(b"wrong"))
    );
    assert!(bench.reopened().blob(&digest).unwrap().is_none());
    assert_eq!(bench.store.walk().count(), 0);
}

fn every_range_gives_its_bytes(bench: &Bench) {
    let length = 9 << 20 | 333;
    let all = bytes(length, 1);
    let digest = Digest::sha256(&all);
    let blob = bench.store.put(&digest, &all).unwrap();
    let end = length as u64;
    let ranges = [
        (0, 0),
        (0, 1),
        (end - 1, end),
        (end - 1, u64::MAX),
        (end, end + 9),
        (7, 5),
        ((512 << 10) - 1, (512 << 10) + 1),
        ((4 << 20) - 1, (4 << 20) + 1),
        (12345, end - 777),
        (0, end),
    ];
    for (start, end) in ranges {
        for how in HOWS {
            let read = bench.read(&blob, ByteRange { start, end }, how);
            let end = (end as usize).min(length);
            let start = (start as usize).min(end);
            assert!(read == all[start..end], "{start}..{end} {how:?}");
        }
    }
}

fn too_much_for_memory_is_refused(bench: &Bench) {
    let digest = Digest::sha256(b"abc");
    let blob = bench.store.put(&digest, b"abc").unwrap();
    let error = blob.read_all(2).unwrap_err();
    assert!(matches!(error, Error::TooLarge { size_bytes: 3, max_bytes: 2, .. }));
}

fn what_is_removed_is_not_found(bench: &Bench) {
    let digest = Digest::sha256(b"abc");
    assert_eq!(bench.store.remove(&digest).unwrap(), None);
    bench.store.put(&digest, b"abc").unwrap();
    assert_eq!(bench.store.remove(&digest).unwrap(), Some(3));
    assert_eq!(bench.store.remove(&digest).unwrap(), None);
    assert!(bench.store.cached(&digest).is_none());
    assert!(bench.store.blob(&digest).unwrap().is_none());
    assert!(bench.reopened().blob(&digest).unwrap().is_none());
}

fn who_reads_is_known(bench: &Bench) {
    let digest = Digest::sha256(b"abc");
    let blob = bench.store.put(&digest, b"abc").unwrap();
    assert!(bench.store.is_read(&digest));
    let mut stream = blob.stream(whole(&blob), ReadHow::Copied);
    drop(blob);
    assert!(bench.store.is_read(&digest), "by the stream");
    assert_eq!(bench.runtime.block_on(stream.next()).unwrap().unwrap(), "abc");
    drop(stream);
    assert!(!bench.store.is_read(&digest));
}

fn walk_sees_every_blob(bench: &Bench) {
    let mut expected = Vec::new();
    for n in 0..40u8 {
        let bytes = vec![n; usize::from(n)];
        let algorithm = if n % 3 == 0 { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let digest = Digest::of(algorithm, &bytes);
        bench.store.put(&digest, &bytes).unwrap();
        expected.push((digest, u64::from(n)));
    }
    let mut found: Vec<_> = bench.store.walk().map(Result::unwrap).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

fn a_check_tells_sound_from_absent(bench: &Bench) {
    let bytes = bytes(5 << 20, 4);
    let digest = Digest::sha256(&bytes);
    let absent = bench.store.check(&digest, |_| true);
    assert!(matches!(absent, Err(Error::Absent { .. })));
    bench.store.put(&digest, &bytes).unwrap();
    let mut seen = 0;
    let count = |bytes| {
        assert!(bytes <= 256 << 10);
        seen += bytes;
        true
    };
    assert_eq!(bench.store.check(&digest, count).unwrap(), Verdict::Sound);
    assert_eq!(seen, 5 << 20);
    assert_eq!(bench.store.check(&digest, |_| false).unwrap(), Verdict::Stopped);
    assert!(bench.store.blob(&digest).unwrap().is_some());
}

fn a_look_tells_age_and_bytes(bench: &Bench) {
    let digest = Digest::sha256(b"abc");
    assert!(bench.store.look(&digest, 10).unwrap().is_none());
    bench.store.put(&digest, b"abc").unwrap();
    assert_eq!(bench.store.look(&digest, 3).unwrap().unwrap().bytes.unwrap(), "abc");
    let looked = bench.store.look(&digest, 2).unwrap().unwrap();
    assert!(looked.bytes.is_none() && looked.modified > std::time::UNIX_EPOCH);
}

fn one_of_another_length_is_damaged(bench: &Bench) {
    let digest = Digest::sha256(b"abc");
    bench.store.put(&digest, b"abc").unwrap();
    let store = bench.reopened();
    assert!(store.blob_of_size(&digest, || Some(3)).unwrap().is_some());
    let store = bench.reopened();
    let error = store.blob_of_size(&digest, || Some(4)).unwrap_err();
    assert!(matches!(error, Error::WrongSize { found_bytes: 3, wanted_bytes: 4, .. }), "{error}");
    let unasked = || panic!("there is nothing to open");
    assert!(store.blob_of_size(&digest, unasked).unwrap().is_none());
}

fn a_part_becomes_a_blob(bench: &Bench) {
    for length in [0, 1, 700_001] {
        let all = bytes(length, 1);
        let part = bench.part(&bench.store, &all);
        let digest = *part.digest();
        assert!(bench.store.blob(&digest).unwrap().is_none(), "not before it is committed");
        let blob = part.commit().unwrap();
        assert_eq!(blob.read_all(1 << 20).unwrap(), all);
        assert!(bench.store.cached(&digest).is_some());
        assert_eq!(bench.staged(), 0);
        assert_eq!(bench.reopened().check(&digest, |_| true).unwrap(), Verdict::Sound);
    }
}

fn a_long_part_becomes_a_blob(bench: &Bench) {
    let all = bytes((36 << 20) + 5, 2);
    let digest = Digest::sha256(&all);
    let part = bench.part(&bench.store, &all);
    drop(part);
    let store = bench.reopened();
    let mut part = store.part(&digest).unwrap();
    part.rehash().unwrap();
    let blob = part.commit().unwrap();
    assert!(bench.all(&blob) == all);
    assert_eq!(bench.staged(), 0);
    assert_eq!(bench.reopened().check(&digest, |_| true).unwrap(), Verdict::Sound);
}

fn a_wrong_part_becomes_nothing(bench: &Bench) {
    let digest = Digest::sha256(b"right");
    let mut part = bench.store.part(&digest).unwrap();
    part.append(&[Bytes::from_static(b"wrong")]).unwrap();
    assert!(matches!(part.commit(), Err(Error::WrongDigest { .. })));
    assert!(bench.reopened().blob(&digest).unwrap().is_none());
    bench.store.remove_part(&digest).unwrap();
    assert_eq!(bench.staged(), 0);
}

fn an_upload_becomes_a_blob(bench: &Bench) {
    let all = bytes((20 << 20) + 7, 3);
    let digest = Digest::of(Algorithm::Sha512, &all);
    let mut upload = bench.store.begin_upload("mine").unwrap();
    upload.append(&[all.slice(..9 << 20)]).unwrap();
    let id = upload.id();
    upload.park();
    let store = bench.reopened();
    let mut upload = store.upload(&id).unwrap().unwrap();
    assert_eq!(upload.about(), "mine");
    upload.append(&[all.slice(9 << 20..)]).unwrap();
    let wrong = upload.commit(&Digest::sha256(b"another"));
    let (Some(upload), Error::WrongDigest { .. }) = wrong.unwrap_err() else { panic!() };
    let blob = upload.commit(&digest).map_err(|(_, error)| error).unwrap();
    assert!(bench.all(&blob) == all);
    assert_eq!(bench.staged(), 0);
    assert!(store.upload(&id).unwrap().is_none());
}

fn two_uploads_of_one_blob_are_one_blob(bench: &Bench) {
    let all = bytes((17 << 20) + 1, 4);
    let digest = Digest::sha256(&all);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut upload = bench.store.begin_upload("").unwrap();
                upload.append(std::slice::from_ref(&all)).unwrap();
                let blob = upload.commit(&digest).map_err(|(_, error)| error).unwrap();
                assert!(bench.all(&blob) == all);
            });
        }
    });
    assert_eq!(bench.staged(), 0);
    assert_eq!(bench.store.walk().count(), 1);
}

fn copies_go_there_and_back(bench: &Bench) {
    let elsewhere = tempfile::tempdir().unwrap();
    let files = Place::File { directory: elsewhere.path().join("blobs") };
    let mut digests = Vec::new();
    let places = |places: &[&Place]| {
        let _guard = bench.runtime.enter();
        bench.store.set_places(places.iter().map(|place| (*place).clone()).collect()).unwrap();
    };
    places(&[&files]);
    for length in [0, 5, (33 << 20) + 1] {
        let all = bytes(length, 5);
        let digest = Digest::sha256(&all);
        bench.part(&bench.store, &all).commit().unwrap();
        digests.push((digest, all));
    }
    let _guard = bench.runtime.enter();
    let there = bench.store.open_place(bench.place.clone()).unwrap();
    for (digest, _) in &digests {
        assert_eq!(bench.store.copy_to(digest, &there, |_| true).unwrap(), Copied::Done);
        assert_eq!(bench.store.copy_to(digest, &there, |_| true).unwrap(), Copied::AlreadyThere);
    }
    let absent = bench.store.copy_to(&Digest::sha256(b"absent"), &there, |_| true);
    assert!(matches!(absent, Err(Error::Absent { .. })));
    places(&[&bench.place]);
    std::fs::remove_dir_all(elsewhere.path().join("blobs")).unwrap();
    let back = bench.store.open_place(files.clone()).unwrap();
    for (digest, all) in &digests {
        assert!(bench.all(&bench.store.blob(digest).unwrap().unwrap()) == *all);
        assert_eq!(bench.store.copy_to(digest, &back, |_| true).unwrap(), Copied::Done);
        assert_eq!(bench.store.copy_to(digest, &back, |_| true).unwrap(), Copied::AlreadyThere);
    }
    places(&[&files]);
    for (digest, all) in &digests {
        assert!(bench.all(&bench.store.blob(digest).unwrap().unwrap()) == *all);
    }
}

fn a_copy_that_was_stopped_is_gone_on_with(bench: &Bench) {
    let all = bytes(40 << 20, 6);
    let digest = Digest::sha256(&all);
    let elsewhere = tempfile::tempdir().unwrap();
    let _guard = bench.runtime.enter();
    let files = Place::File { directory: elsewhere.path().join("blobs") };
    bench.store.set_places(vec![files]).unwrap();
    bench.part(&bench.store, &all).commit().unwrap();
    let there = bench.store.open_place(bench.place.clone()).unwrap();
    let mut seen = 0;
    let until = |bytes| {
        seen += bytes;
        seen < 38 << 20
    };
    assert_eq!(bench.store.copy_to(&digest, &there, until).unwrap(), Copied::Stopped);
    assert!(bench.reopened().blob(&digest).unwrap().is_none());
    assert_eq!(bench.store.copy_to(&digest, &there, |_| true).unwrap(), Copied::Done);
    assert_eq!(bench.reopened().check(&digest, |_| true).unwrap(), Verdict::Sound);
    assert_eq!(bench.staged(), 0);
}

fn the_cache_never_keeps_what_was_removed(bench: &Bench) {
    let digest = Digest::sha256(b"abc");
    let start = std::sync::Barrier::new(3);
    for _ in 0..30 {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                // May be removed before it is confirmed.
                let put = bench.store.put(&digest, b"abc");
                assert!(matches!(put, Ok(_) | Err(Error::Absent { .. })), "{put:?}");
            });
            scope.spawn(|| {
                start.wait();
                bench.store.blob(&digest).unwrap();
            });
            scope.spawn(|| {
                start.wait();
                bench.store.remove(&digest).unwrap();
            });
        });
        let is_there = bench.reopened().blob(&digest).unwrap().is_some();
        assert!(is_there || bench.store.cached(&digest).is_none());
    }
}
