//! Disks that are full.

use crate::common::*;
use records::{Error, Found, GapWhy, Options, Reader};
use std::time::Duration;

#[test]
fn a_full_disk_loses_nothing_that_still_fits_into_memory() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let recorder = open(data.path(), &options);
    recorder.note(decision(1, hand.now()));
    recorder.flush().unwrap();
    // In the middle of a line.
    recorder.fail_writes_after_bytes(Some(100));
    let later = decision(5, hand.now());
    recorder.note(later.clone());
    let error = recorder.flush().unwrap_err();
    assert!(matches!(error, Error::NotWritten(_)), "{error}");
    let state = recorder.state();
    assert!(state.is_losing && state.waiting == 1, "{state:?}");
    assert!(state.error.unwrap().contains("cannot write"));
    // Who reads meanwhile sees the half line, and is not misled.
    let verified = verify(data.path());
    assert_eq!(verified.broken, None);
    assert_eq!(verified.unfinished_bytes, 100);
    assert_eq!(total(data.path()), 1);

    recorder.fail_writes_after_bytes(None);
    recorder.flush().unwrap();
    let state = recorder.state();
    assert!(!state.is_losing && state.waiting == 0 && state.lost == 0, "{state:?}");
    assert!(matches!(
        Reader::of_data_dir(data.path()).unwrap().find(later.id).unwrap(),
        Found::One(_)
    ));
    assert_eq!(verify(data.path()).gap_count, 0);
    assert_eq!(total(data.path()), 2);
}

#[test]
fn what_does_not_fit_is_a_gap_that_says_why_as_soon_as_writing_works() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let options = Options { queue_entries: 64, ..options };
    let recorder = open(data.path(), &options);
    recorder.fail_writes_after_bytes(Some(0));
    recorder.note(decision(0, hand.now()));
    recorder.flush().unwrap_err();
    let mut noted = 1;
    // Longer and longer, until what waits in memory is as much as may, and the queue is full.
    while recorder.state().lost < 10 {
        let mut it = decision(noted, hand.now());
        it.message = format!("{noted} {}", "x".repeat(2000));
        recorder.note(it);
        noted += 1;
        if noted % 32 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(recorder.state().is_losing);
    recorder.fail_writes_after_bytes(None);
    eventually("it is written again", || recorder.flush().is_ok());
    let state = recorder.state();
    assert!(!state.is_losing && state.error.is_none(), "{state:?}");
    assert_eq!(state.lost + state.noted, u64::from(noted));
    let verified = verify(data.path());
    assert_eq!(verified.broken, None);
    let lost: u64 = verified.gaps.iter().filter_map(|gap| gap.lost).sum();
    assert_eq!(lost, state.lost);
    assert!(verified.gaps.iter().any(|gap| gap.why == GapWhy::DiskFull), "{:?}", verified.gaps);
    assert_eq!(total(data.path()), state.noted);
    let counts = Reader::of_data_dir(data.path()).unwrap();
    let counts = counts.report(None, jiff::Timestamp::MIN, jiff::Timestamp::MAX).unwrap();
    assert_eq!(counts.lost, state.lost);
}

#[test]
fn counts_of_repeats_wait_for_a_full_disk_too() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let recorder = open(data.path(), &options);
    recorder.note(decision(1, hand.now()));
    recorder.flush().unwrap();
    recorder.fail_writes_after_bytes(Some(20));
    for _ in 0..10 {
        recorder.note(decision(1, hand.now()));
    }
    recorder.flush().unwrap_err();
    recorder.fail_writes_after_bytes(None);
    recorder.flush().unwrap();
    // A kill now: the copy has the journal.
    let image = tempfile::tempdir().unwrap();
    copy(data.path(), image.path());
    open(image.path(), &options).close().unwrap();
    assert_eq!(total(image.path()), 11);
    recorder.close().unwrap();
    assert_eq!(total(data.path()), 11);
}

#[test]
fn a_new_segment_that_finds_no_room_waits() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let recorder = open(data.path(), &options);
    recorder.note(decision(1, hand.now()));
    recorder.flush().unwrap();
    recorder.fail_writes_after_bytes(Some(10));
    hand.advance(options.segment_age);
    std::thread::sleep(options.commit_every * 5);
    assert_eq!(files(data.path(), ".jsonl").len(), 1);
    recorder.fail_writes_after_bytes(None);
    eventually("the next segment", || files(data.path(), ".summary.json").len() == 1);
    recorder.note(decision(1, hand.now()));
    recorder.close().unwrap();
    assert_eq!(verify(data.path()).broken, None);
    assert_eq!(total(data.path()), 2);
}

#[test]
fn a_disk_that_stays_full_until_the_end_is_told_by_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let recorder = open(data.path(), &options);
    recorder.note(decision(1, hand.now()));
    recorder.flush().unwrap();
    recorder.fail_writes_after_bytes(Some(0));
    recorder.note(decision(2, hand.now()));
    recorder.close().unwrap_err();
    drop(recorder);
    hand.advance(Duration::from_secs(5));
    open(data.path(), &options).close().unwrap();
    let verified = verify(data.path());
    assert_eq!((verified.broken, verified.gap_count), (None, 1));
    assert_eq!(verified.gaps[0].why, GapWhy::Killed);
    assert_eq!(verified.gaps[0].to.as_millisecond() - verified.gaps[0].from.as_millisecond(), 5000);
    assert_eq!(total(data.path()), 1);
}

#[test]
fn what_the_disk_could_not_keep_is_written_again() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let options = Options { queue_entries: 16, ..options };
    let recorder = open(data.path(), &options);
    recorder.fail_syncs(true);
    recorder.note(decision(1, hand.now()));
    recorder.flush().unwrap_err();
    assert!(recorder.state().is_losing);
    let mut noted = 1;
    while recorder.state().lost == 0 {
        let mut it = decision(noted, hand.now());
        it.message = format!("{noted} {}", "x".repeat(2000));
        recorder.note(it);
        noted += 1;
    }
    recorder.fail_syncs(false);
    eventually("it is written again", || recorder.flush().is_ok());
    recorder.close().unwrap();
    let state = recorder.state();
    let verified = verify(data.path());
    assert_eq!(verified.broken, None);
    assert_eq!(
        (verified.gaps[0].why, verified.gaps[0].lost),
        (GapWhy::WriteError, Some(state.lost))
    );
    assert_eq!(total(data.path()), state.noted);
}

#[test]
fn a_record_that_somebody_removes_goes_on_and_does_not_hide_it() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let recorder = open(data.path(), &options);
    recorder.note(decision(1, hand.now()));
    recorder.flush().unwrap();
    let from = recorder.state().anchor.seq;
    std::fs::remove_dir_all(dir(data.path())).unwrap();
    // Nothing can be written there for a while.
    std::fs::write(dir(data.path()), "").unwrap();
    eventually("that is seen", || recorder.is_losing());
    recorder.note(decision(5, hand.now()));
    recorder.flush().unwrap_err();
    std::fs::remove_file(dir(data.path())).unwrap();
    eventually("it goes on", || recorder.flush().is_ok());
    eventually("it counts", || {
        recorder.flush().unwrap();
        recorder.note(decision(2, hand.now()));
        dir(data.path()).join("repeats.jsonl").exists()
    });
    let later = decision(3, hand.now());
    recorder.note(later.clone());
    recorder.close().unwrap();
    let reader = Reader::of_data_dir(data.path()).unwrap();
    assert!(matches!(reader.find(later.id).unwrap(), Found::One(_)));
    let broken = verify(data.path()).broken.unwrap();
    assert!(matches!(broken.what, records::Broken::Missing(1, to) if to >= from), "{broken}");
}

#[test]
fn a_disk_that_is_full_at_the_start_keeps_nobody_from_starting() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let recorder = open(data.path(), &options);
    for _ in 0..5 {
        recorder.note(decision(1, hand.now()));
    }
    recorder.flush().unwrap();
    let image = tempfile::tempdir().unwrap();
    copy(data.path(), image.path());
    // Killed, with counts in the journal alone; and again while it cannot write.
    let full = Options { fail_writes_after_bytes: Some(30), ..options.clone() };
    for _ in 0..2 {
        let recorder = open(image.path(), &full);
        assert!(recorder.is_losing() && recorder.state().error.is_some());
        recorder.close().unwrap_err();
        assert_eq!(verify(image.path()).broken, None);
    }
    let recorder = open(image.path(), &full);
    recorder.note(decision(2, hand.now()));
    recorder.flush().unwrap_err();
    recorder.fail_writes_after_bytes(None);
    recorder.flush().unwrap();
    assert!(!recorder.is_losing());
    assert_eq!(total(image.path()), 6);
    recorder.close().unwrap();
    assert_eq!(verify(image.path()).broken, None);
}
