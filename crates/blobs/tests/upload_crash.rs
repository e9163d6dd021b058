//! What a kill or a loss of power may leave of an upload session: one that goes on, or the blob, and
//! never wrong bytes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use blobs::{Error, Options, Store, UploadId, Verdict};
use bytes::Bytes;
use common::{Scratch, bytes, files, scratch};
use oci::Digest;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A session that came to 100 000 bytes of 150 000, as a killed process left it.
fn left() -> (Scratch, Bytes, UploadId) {
    let scratch = scratch();
    let all = bytes(150_000, 1);
    let mut upload = scratch.store.begin_upload("about").unwrap();
    upload.append(&[all.slice(..100_000)]).unwrap();
    let id = upload.id();
    drop(upload);
    (scratch, all, id)
}

fn dir(scratch: &Scratch) -> PathBuf {
    scratch.dir.path().join("uploads")
}

fn data(scratch: &Scratch, id: &UploadId) -> PathBuf {
    dir(scratch).join(format!("{id}.data"))
}

fn about(scratch: &Scratch, id: &UploadId) -> PathBuf {
    dir(scratch).join(format!("{id}.json"))
}

/// There is no such session, and nothing is left of it once sessions were listed.
fn assert_gone(scratch: &Scratch, id: &UploadId) {
    let store = scratch.reopened();
    assert!(store.upload(id).unwrap().is_none());
    assert!(store.uploads().unwrap().is_empty());
    assert!(files(&dir(scratch)).is_empty());
}

#[test]
fn killed_while_it_is_begun_it_never_was() {
    for text in [None, Some(""), Some("{\"about\":\"ab"), Some("7"), Some("{}")] {
        let (scratch, _, id) = left();
        std::fs::remove_file(data(&scratch, &id)).unwrap();
        if let Some(text) = text {
            std::fs::write(about(&scratch, &id), text).unwrap();
        }
        assert_gone(&scratch, &id);
    }
}

#[test]
fn power_lost_before_the_text_beside_it_was_written_it_never_was() {
    let too_long = format!("{{\"about\":\"\"}}{}", " ".repeat(70_000));
    for text in [None, Some(""), Some("\0\0\0\0"), Some(too_long.as_str())] {
        let (scratch, _, id) = left();
        std::fs::remove_file(about(&scratch, &id)).unwrap();
        if let Some(text) = text {
            std::fs::write(about(&scratch, &id), text).unwrap();
        }
        assert_gone(&scratch, &id);
    }
}

#[test]
fn killed_while_it_grows_it_goes_on_from_where_its_file_ends() {
    for end in [0, 1, 60_000, 120_000] {
        let (scratch, all, id) = left();
        let file = OpenOptions::new().write(true).open(data(&scratch, &id)).unwrap();
        file.write_all_at(&all[..end], 0).unwrap();
        file.set_len(end as u64).unwrap();
        let mut upload = scratch.reopened().upload(&id).unwrap().unwrap();
        assert_eq!(upload.len_bytes(), end as u64);
        upload.append(&[all.slice(end..)]).unwrap();
        let blob = upload.commit(&Digest::sha256(&all)).unwrap();
        assert_eq!(blob.read_all(150_000).unwrap(), all);
    }
}

#[test]
fn bytes_that_power_took_are_found_out_by_the_digest() {
    let (scratch, all, id) = left();
    let file = OpenOptions::new().write(true).open(data(&scratch, &id)).unwrap();
    file.write_all_at(&[0; 8192], 40_000).unwrap();
    let store = scratch.reopened();
    let mut upload = store.upload(&id).unwrap().unwrap();
    upload.append(&[all.slice(100_000..)]).unwrap();
    let (session, error) = upload.commit(&Digest::sha256(&all)).unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }), "{error}");
    session.unwrap().discard().unwrap();
    assert!(scratch.blobs().is_empty());
    assert_gone(&scratch, &id);
}

#[test]
fn killed_before_the_rename_it_is_committed_without_a_byte_more() {
    let (scratch, all, id) = left();
    let file = OpenOptions::new().write(true).open(data(&scratch, &id)).unwrap();
    file.write_all_at(&all[100_000..], 100_000).unwrap();
    let upload = scratch.reopened().upload(&id).unwrap().unwrap();
    upload.commit(&Digest::sha256(&all)).unwrap();
    assert_gone(&scratch, &id);
}

#[test]
fn killed_after_the_rename_the_blob_is_there_and_the_session_is_not() {
    let (scratch, all, id) = left();
    let text = std::fs::read(about(&scratch, &id)).unwrap();
    let mut upload = scratch.reopened().upload(&id).unwrap().unwrap();
    upload.append(&[all.slice(100_000..)]).unwrap();
    let digest = Digest::sha256(&all);
    upload.commit(&digest).unwrap();
    std::fs::write(about(&scratch, &id), text).unwrap();
    assert_gone(&scratch, &id);
    assert_eq!(scratch.reopened().check(&digest, |_| true).unwrap(), Verdict::Sound);
}

#[test]
fn a_blob_that_has_its_old_name_back_is_not_written_to() {
    let (scratch, all, id) = left();
    let text = std::fs::read(about(&scratch, &id)).unwrap();
    let mut upload = scratch.reopened().upload(&id).unwrap().unwrap();
    upload.append(&[all.slice(100_000..)]).unwrap();
    let digest = Digest::sha256(&all);
    upload.commit(&digest).unwrap();
    std::fs::hard_link(&scratch.blobs()[0], data(&scratch, &id)).unwrap();
    std::fs::write(about(&scratch, &id), text).unwrap();
    let store = scratch.reopened();
    assert!(store.upload(&id).unwrap().is_none());
    assert!(!data(&scratch, &id).exists());
    assert_eq!(store.check(&digest, |_| true).unwrap(), Verdict::Sound);

    // The same for a part.
    let fill = scratch.dir.path().join(format!("fills/sha256-{}.part", digest.hex()));
    std::fs::hard_link(&scratch.blobs()[0], &fill).unwrap();
    let mut part = store.part(&digest).unwrap();
    assert_eq!(part.len_bytes(), 0);
    part.append(&[Bytes::from_static(b"other")]).unwrap();
    part.discard().unwrap();
    assert_eq!(store.check(&digest, |_| true).unwrap(), Verdict::Sound);
}

#[test]
fn a_session_that_shrinks_under_us_is_an_error_not_a_wrong_hash() {
    let (scratch, all, id) = left();
    let mut upload = scratch.reopened().upload(&id).unwrap().unwrap();
    OpenOptions::new().write(true).open(data(&scratch, &id)).unwrap().set_len(10).unwrap();
    assert!(matches!(upload.rehash(), Err(Error::TooShort { offset: 10, .. })));
    let (_, error) = upload.commit(&Digest::sha256(&all)).unwrap_err();
    assert!(matches!(error, Error::TooShort { offset: 10, .. }), "{error}");
}

#[test]
fn bytes_behind_the_end_do_not_get_into_the_blob() {
    let (scratch, all, id) = left();
    let store = scratch.reopened();
    let mut upload = store.upload(&id).unwrap().unwrap();
    // A write that failed half way and could not be cut off again.
    let file = OpenOptions::new().write(true).open(data(&scratch, &id)).unwrap();
    file.write_all_at(&[9; 100_000], 100_000).unwrap();
    upload.append(&[all.slice(100_000..)]).unwrap();
    let blob = upload.commit(&Digest::sha256(&all)).unwrap();
    assert_eq!(blob.read_all(150_000).unwrap(), all);
    assert_eq!(scratch.blobs()[0].metadata().unwrap().len(), 150_000);
}

#[test]
fn what_is_not_ours_is_let_lie() {
    let (scratch, _, id) = left();
    let names = ["notes.txt", "00.data", "00.json", "data", ".json"];
    let upper = format!("{}.data", "A".repeat(32));
    for name in names.iter().copied().chain([upper.as_str()]) {
        std::fs::write(dir(&scratch).join(name), "x").unwrap();
    }
    std::fs::create_dir(dir(&scratch).join("sub")).unwrap();
    let store = scratch.reopened();
    let listed = store.uploads().unwrap();
    assert_eq!((listed.len(), listed[0].id), (1, id));
    assert_eq!(files(&dir(&scratch)).len(), 8);
}

#[test]
fn a_link_is_not_followed() {
    let (scratch, _, id) = left();
    let outside = scratch.dir.path().join("outside");
    std::fs::write(&outside, "precious").unwrap();
    std::fs::remove_file(data(&scratch, &id)).unwrap();
    std::os::unix::fs::symlink(&outside, data(&scratch, &id)).unwrap();
    assert!(matches!(scratch.reopened().upload(&id), Err(Error::Io { .. })));
    assert_eq!(std::fs::read(outside).unwrap(), b"precious");
}

const CHILD_DIR: &str = "LOCKGATE_TEST_UPLOAD_DIR";
const CHILD_LENGTH: usize = 400_000;

/// Pushes and pushes, until it is killed. Does nothing unless the test below runs it.
#[test]
fn child_that_pushes() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let store = Store::open(Options::new(dir)).unwrap();
    for seed in 0.. {
        let all = bytes(CHILD_LENGTH, seed);
        let mut upload = store.begin_upload(&seed.to_string()).unwrap();
        for from in (0..CHILD_LENGTH).step_by(10_000) {
            upload.append(&[all.slice(from..from + 10_000)]).unwrap();
            if from % 100_000 == 0 {
                let id = upload.id();
                upload.park();
                upload = store.upload(&id).unwrap().unwrap();
            }
            // Where the parent may kill it.
            println!("\nstep");
        }
        upload.commit(&Digest::sha256(&all)).unwrap();
    }
}

fn kill_after(dir: &Path, steps: usize) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_pushes", "--nocapture"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let seen = lines.map_while(Result::ok).filter(|line| line == "step").take(steps).count();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(seen, steps, "the child ended by itself");
}

#[test]
fn killed_at_any_moment_it_leaves_sessions_that_go_on_and_right_blobs() {
    let scratch = scratch();
    for steps in [1, 2, 39, 40, 41, 57, 80, 100] {
        kill_after(scratch.dir.path(), steps);
        let store = scratch.reopened();
        for parked in store.uploads().unwrap() {
            let all = bytes(CHILD_LENGTH, parked.about.parse().unwrap());
            let mut upload = store.upload(&parked.id).unwrap().unwrap();
            let here = usize::try_from(upload.len_bytes()).unwrap();
            upload.append(&[all.slice(here..)]).unwrap();
            upload.commit(&Digest::sha256(&all)).unwrap();
        }
        for found in store.walk() {
            let (digest, size_bytes) = found.unwrap();
            assert_eq!(size_bytes, CHILD_LENGTH as u64);
            assert_eq!(store.check(&digest, |_| true).unwrap(), Verdict::Sound);
        }
        assert!(store.walk().count() > 0);
        assert!(files(&dir(&scratch)).is_empty());
    }
}
