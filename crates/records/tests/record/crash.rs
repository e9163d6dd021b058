//! What a kill or a loss of power leaves at any moment, and what the next process makes of it.

use crate::common::*;
use records::{GapWhy, Options, Recorder};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// A record of a few lines as it is in the middle of being written.
fn left(data: &Path) -> (Options, Hand) {
    let (options, hand) = options();
    let recorder = open(data, &options);
    for which in [1, 2, 3, 3, 1, 4] {
        recorder.note(decision(which, hand.now()));
    }
    recorder.flush().unwrap();
    let image = data.join("image");
    copy(&data.join("records"), &image);
    drop(recorder);
    std::fs::remove_dir_all(data.join("records")).unwrap();
    std::fs::rename(image, data.join("records")).unwrap();
    (options, hand)
}

#[test]
fn what_was_flushed_is_there_after_a_kill_and_the_gap_is_told() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = left(data.path());
    assert_eq!(verify(data.path()).broken, None, "before somebody put it right");
    let recorder = open(data.path(), &options);
    recorder.note(decision(9, hand.now()));
    recorder.close().unwrap();
    let verified = verify(data.path());
    assert_eq!((verified.broken, verified.gap_count), (None, 1));
    assert_eq!((verified.gaps[0].why, verified.gaps[0].lost), (GapWhy::Killed, None));
    assert_eq!(total(data.path()), 7, "two of them were only counted");
    // The next start finds all in order.
    open(data.path(), &options).close().unwrap();
    assert_eq!(verify(data.path()).gap_count, 1);
    assert_eq!(total(data.path()), 7);
}

#[test]
fn a_kill_right_after_a_new_segment_is_told_too() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let recorder = open(data.path(), &options);
    recorder.note(decision(1, hand.now()));
    recorder.flush().unwrap();
    hand.advance(options.segment_age);
    eventually("the next segment", || files(data.path(), ".summary.json").len() == 1);
    let image = tempfile::tempdir().unwrap();
    copy(data.path(), image.path());
    open(image.path(), &options).close().unwrap();
    let verified = verify(image.path());
    assert_eq!((verified.broken, verified.gap_count), (None, 1));
}

#[test]
fn counts_that_are_lines_already_are_not_counted_again() {
    let data = tempfile::tempdir().unwrap();
    let (options, _) = left(data.path());
    let journal = dir(data.path()).join("repeats.jsonl");
    let kept = std::fs::read(&journal).unwrap();
    assert!(!kept.is_empty());
    for _ in 0..3 {
        open(data.path(), &options).close().unwrap();
        // As if emptying it had not reached the disk.
        std::fs::write(&journal, &kept).unwrap();
        assert_eq!(total(data.path()), 6);
    }
}

#[test]
fn a_line_that_was_cut_anywhere_is_cut_off_and_told() {
    let data = tempfile::tempdir().unwrap();
    let (options, _) = left(data.path());
    let path = files(data.path(), ".jsonl").pop().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|c| *c == b'\n').unwrap() + 1;
    for end in (last + 1..whole.len()).step_by(37).chain([whole.len() - 1]) {
        let image = tempfile::tempdir().unwrap();
        copy(data.path(), image.path());
        let path = files(image.path(), ".jsonl").pop().unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(end as u64).unwrap();
        open(image.path(), &options).close().unwrap();
        let verified = verify(image.path());
        assert_eq!((verified.broken, verified.gap_count), (None, 1), "{end}");
        assert_eq!(verified.gaps[0].why, GapWhy::Torn);
        let torn = std::fs::read(path.with_extension("torn")).unwrap();
        assert_eq!(torn, &whole[last..end], "it is kept aside");
        assert_eq!(total(image.path()), 5);
    }
}

#[test]
fn holes_and_garbage_at_the_end_are_cut_off() {
    for garbage in [vec![0; 8192], b"garbage\n".to_vec(), vec![b'x'; 2 << 20]] {
        let data = tempfile::tempdir().unwrap();
        let (options, hand) = left(data.path());
        let path = files(data.path(), ".jsonl").pop().unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(&garbage).unwrap();
        let recorder = open(data.path(), &options);
        recorder.note(decision(9, hand.now()));
        recorder.close().unwrap();
        let verified = verify(data.path());
        assert_eq!((verified.broken, verified.gap_count), (None, 1));
        assert_eq!(total(data.path()), 7);
    }
}

#[test]
fn counts_whose_decision_was_cut_off_are_told_as_lost() {
    let data = tempfile::tempdir().unwrap();
    let (options, _) = left(data.path());
    let path = files(data.path(), ".jsonl").pop().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    // A disk that lied: nothing after the second line is there.
    let end: usize = text.lines().take(2).map(|line| line.len() + 1).sum();
    std::fs::write(&path, &text[..end]).unwrap();
    open(data.path(), &options).close().unwrap();
    let verified = verify(data.path());
    assert_eq!(verified.broken, None);
    assert_eq!((verified.gaps[0].why, verified.gaps[0].lost), (GapWhy::Torn, Some(2)));
    assert_eq!(total(data.path()), 0);
}

#[test]
fn a_segment_without_a_beginning_is_put_aside() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let options = Options { segment_bytes: 1, ..options };
    let recorder = open(data.path(), &options);
    recorder.note(decision(1, hand.now()));
    recorder.close().unwrap();
    let newest = files(data.path(), ".jsonl").pop().unwrap();
    std::fs::write(&newest, "{\"seq\"").unwrap();
    let recorder = open(data.path(), &options);
    recorder.note(decision(2, hand.now()));
    recorder.close().unwrap();
    let verified = verify(data.path());
    assert_eq!(verified.broken, None);
    assert!(verified.gaps.iter().any(|gap| gap.why == GapWhy::Torn));
    assert_eq!(total(data.path()), 2);
}

#[test]
fn a_record_of_another_instance_or_of_a_later_version_is_left_alone() {
    for (from, to) in
        [("\"instance\":\"one\"", "\"instance\":\"two\""), ("\"schema\":1", "\"schema\":2")]
    {
        let data = tempfile::tempdir().unwrap();
        let (options, _) = left(data.path());
        let path = files(data.path(), ".jsonl").pop().unwrap();
        let text = std::fs::read_to_string(&path).unwrap().replacen(from, to, 1);
        std::fs::write(&path, &text).unwrap();
        let error = Recorder::open(data.path(), instance(), options).unwrap_err();
        assert!(matches!(error, records::Error::Damaged { line: 1, .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}

/// Makes a record with full segments, all of them compressed.
fn two_segments(data: &Path) -> Options {
    let (options, hand) = options();
    let options = Options { segment_bytes: 3000, ..options };
    let recorder = open(data, &options);
    for which in 0..8 {
        recorder.note(decision(which, hand.now()));
        recorder.flush().unwrap();
    }
    recorder.close().unwrap();
    drop(recorder);
    let recorder = open(data, &options);
    eventually("what is full is compressed", || files(data, ".jsonl").len() == 1);
    recorder.close().unwrap();
    options
}

fn unpack(packed: &Path) -> Vec<u8> {
    zstd::decode_all(File::open(packed).unwrap()).unwrap()
}

#[test]
fn a_crash_between_any_steps_of_compressing_leaves_one_truth() {
    let data = tempfile::tempdir().unwrap();
    let options = two_segments(data.path());
    let packed = files(data.path(), ".jsonl.zst").remove(0);
    let name = packed.file_name().unwrap().to_string_lossy().into_owned();
    let stem = name.strip_suffix(".jsonl.zst").unwrap().to_owned();
    let plain = format!("{stem}.jsonl");
    let summary = format!("{stem}.summary.json");
    let text = unpack(&packed);
    let expected = verify(data.path());
    // Each step: what it leaves of the compressed file and the summary, the plain one still there.
    type Step<'a> = (&'a str, Box<dyn Fn(&Path) + 'a>);
    let steps: [Step<'_>; 4] = [
        (
            "the temp file is half written",
            Box::new(|dir: &Path| {
                std::fs::remove_file(dir.join(&summary)).unwrap();
                std::fs::rename(dir.join(&name), dir.join(format!(".tmp-{name}"))).unwrap();
            }),
        ),
        (
            "it is compressed",
            Box::new(|dir: &Path| {
                std::fs::remove_file(dir.join(&summary)).unwrap();
            }),
        ),
        (
            "it is compressed wrongly",
            Box::new(|dir: &Path| {
                std::fs::write(dir.join(&name), "").unwrap();
            }),
        ),
        ("the summary is there", Box::new(|_: &Path| {})),
    ];
    for (what, leave) in steps {
        let image = tempfile::tempdir().unwrap();
        copy(data.path(), image.path());
        let dir = dir(image.path());
        std::fs::write(dir.join(&plain), &text).unwrap();
        leave(&dir);
        let before = verify(image.path());
        assert_eq!((before.broken, before.lines), (None, expected.lines), "{what}");
        assert_eq!(total(image.path()), 8, "{what}");
        let recorder = Recorder::open(image.path(), instance(), options.clone()).unwrap();
        eventually("it is compressed", || !dir.join(&plain).exists());
        recorder.close().unwrap();
        assert_eq!(verify(image.path()).broken, None, "{what}");
        assert_eq!(unpack(&dir.join(&name)), text, "{what}");
        assert_eq!(total(image.path()), 8, "{what}");
        let temps = std::fs::read_dir(&dir).unwrap();
        let temps = temps
            .filter(|it| it.as_ref().unwrap().file_name().to_string_lossy().starts_with(".tmp-"));
        assert_eq!(temps.count(), 0, "{what}");
    }
}

#[test]
fn a_damaged_full_segment_is_not_compressed_and_stops_nothing() {
    let data = tempfile::tempdir().unwrap();
    let options = two_segments(data.path());
    let packed = files(data.path(), ".jsonl.zst").remove(0);
    let plain = packed.with_extension("");
    let mut text = unpack(&packed);
    let middle = text.len() / 2;
    text[middle] ^= 1;
    std::fs::write(&plain, text).unwrap();
    let recorder = open(data.path(), &options);
    for which in 10..20 {
        recorder.note(decision(which, jiff::Timestamp::now()));
        recorder.flush().unwrap();
    }
    eventually("all others are compressed", || files(data.path(), ".jsonl").len() == 2);
    recorder.close().unwrap();
    assert!(plain.exists());
    let broken = verify(data.path()).broken.unwrap();
    assert!(broken.to_string().contains(", line "), "{broken}");
}
