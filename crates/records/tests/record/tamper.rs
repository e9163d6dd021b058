//! Somebody changed the record. Each change is found, and its place told.

use crate::common::*;
use records::{Anchor, Break, Broken, Options, Range, Recorder};
use std::path::{Path, PathBuf};

/// A record with compressed segments and one that is plain, ended in order.
fn written(data: &Path) -> Recorder {
    let (options, hand) = options();
    let options = Options { segment_bytes: 6000, ..options };
    let recorder = open(data, &options);
    for which in 0..24 {
        recorder.note(decision(which, hand.now()));
        recorder.flush().unwrap();
    }
    recorder.close().unwrap();
    let recorder = open(data, &options);
    eventually("all that is full is compressed", || files(data, ".jsonl").len() == 1);
    recorder.note(decision(100, hand.now()));
    recorder.note(decision(101, hand.now()));
    recorder.close().unwrap();
    assert!(files(data, ".jsonl.zst").len() >= 3);
    assert_eq!(files(data, ".jsonl").len(), 1);
    let verified = verify(data);
    assert_eq!((verified.broken, verified.gap_count), (None, 0));
    recorder
}

fn lines(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    let bytes = match path.extension().unwrap() == "zst" {
        true => zstd::decode_all(&bytes[..]).unwrap(),
        false => bytes,
    };
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

fn put(path: &Path, lines: &[String]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let bytes = match path.extension().unwrap() == "zst" {
        true => zstd::encode_all(text.as_bytes(), 3).unwrap(),
        false => text.into_bytes(),
    };
    std::fs::write(path, bytes).unwrap();
}

/// A compressed segment in the middle, and the plain one.
fn targets(data: &Path) -> [PathBuf; 2] {
    [files(data, ".jsonl.zst").remove(1), files(data, ".jsonl").remove(0)]
}

fn stem(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().split('.').next().unwrap().to_owned()
}

fn seq(line: &str) -> u64 {
    serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap()
}

/// Changes the lines of a segment, and gives what is found.
fn changed(data: &Path, which: usize, change: impl Fn(&mut Vec<String>)) -> (String, Break) {
    let image = tempfile::tempdir().unwrap();
    copy(data, image.path());
    let path = targets(image.path())[which].clone();
    let mut all = lines(&path);
    change(&mut all);
    put(&path, &all);
    let broken = verify(image.path()).broken.expect("the change is found");
    assert!(!broken.to_string().is_empty());
    (stem(&path), broken)
}

#[test]
fn every_changed_line_is_found_at_its_place() {
    let data = tempfile::tempdir().unwrap();
    written(data.path());
    for which in [0, 1] {
        let all = lines(&targets(data.path())[which]);
        for (at, line) in all.iter().enumerate().skip(1) {
            for (from, to) in [("\"at\":\"2", "\"at\":\"3"), ("\",\"hash\"", " \",\"hash\"")] {
                if !line.contains(from) {
                    continue;
                }
                let (segment, broken) =
                    changed(data.path(), which, |all| all[at] = all[at].replacen(from, to, 1));
                assert_eq!(broken.segment, segment);
                assert_eq!((broken.line, broken.seq), (at as u64 + 1, seq(line)));
                assert!(matches!(broken.what, Broken::Line(_)), "{broken}");
            }
        }
    }
}

#[test]
fn a_verdict_that_was_changed_with_the_right_hash_breaks_the_next_line() {
    let data = tempfile::tempdir().unwrap();
    written(data.path());
    let all = lines(&targets(data.path())[0]);
    let at = all.iter().position(|line| line.contains("\"verdict\":\"Deny\"")).unwrap();
    let (_, broken) = changed(data.path(), 0, |all| {
        let previous: serde_json::Value = serde_json::from_str(&all[at - 1]).unwrap();
        let line = all[at].replace("\"verdict\":\"Deny\"", "\"verdict\":\"Allow\"");
        let body = line.split(",\"hash\":").next().unwrap();
        let previous = previous["hash"].as_str().unwrap();
        let hash = oci::Digest::sha256(format!("{previous}{body}").as_bytes()).hex();
        all[at] = format!("{body},\"hash\":\"{hash}\"}}");
    });
    assert_eq!(broken.line, at as u64 + 2);
    assert!(matches!(broken.what, Broken::Line(_)), "{broken}");
}

#[test]
fn lines_that_are_removed_swapped_or_doubled_are_found() {
    let data = tempfile::tempdir().unwrap();
    written(data.path());
    for which in [0, 1] {
        let all = lines(&targets(data.path())[which]);
        let at = 2;
        let expected = seq(&all[at]);
        let (_, broken) = changed(data.path(), which, |all| {
            all.remove(at);
        });
        assert_eq!((broken.line, broken.seq), (3, expected));
        let (_, broken) = changed(data.path(), which, |all| all.swap(at, at + 1));
        assert_eq!((broken.line, broken.seq), (3, expected));
        let (_, broken) = changed(data.path(), which, |all| all.insert(at, all[at - 1].clone()));
        assert_eq!((broken.line, broken.seq), (3, expected));
        let (_, broken) = changed(data.path(), which, |all| {
            all.remove(0);
        });
        assert_eq!(broken.line, 1);
    }
}

#[test]
fn the_end_of_a_full_segment_that_was_cut_off_is_found_by_its_summary() {
    let data = tempfile::tempdir().unwrap();
    written(data.path());
    let (segment, broken) = changed(data.path(), 0, |all| {
        all.pop();
    });
    assert_eq!(broken.segment, segment);
    assert!(matches!(broken.what, Broken::Summary(_)), "{broken}");
}

#[test]
fn the_end_of_the_record_that_was_cut_off_is_found_by_an_anchor() {
    let data = tempfile::tempdir().unwrap();
    let recorder = written(data.path());
    let anchor = recorder.state().anchor;
    let anchored = Range { anchors: vec![anchor.clone()], ..Range::default() };
    let verified = verify_with(data.path(), &anchored);
    assert_eq!((verified.broken, verified.anchors_matched), (None, 1));
    let path = targets(data.path())[1].clone();
    let mut all = lines(&path);
    all.pop();
    put(&path, &all);
    assert_eq!(verify(data.path()).broken, None, "the rest is good");
    let broken = verify_with(data.path(), &anchored).broken.unwrap();
    assert_eq!((broken.seq, broken.what), (anchor.seq, Broken::Truncated));
    std::fs::remove_file(&path).unwrap();
    let broken = verify_with(data.path(), &anchored).broken.unwrap();
    assert_eq!((broken.seq, broken.what), (anchor.seq, Broken::Truncated));
    // A record that was written anew is another one.
    std::fs::remove_dir_all(dir(data.path())).unwrap();
    written(data.path());
    let broken = verify_with(data.path(), &anchored).broken.unwrap();
    assert_eq!((broken.seq, broken.what), (anchor.seq, Broken::Anchor));
}

#[test]
fn an_anchor_of_another_instance_or_one_in_the_middle_is_understood() {
    let data = tempfile::tempdir().unwrap();
    written(data.path());
    let line = lines(&targets(data.path())[0]).remove(3);
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let (seq, hash) = (line["seq"].as_u64().unwrap(), line["hash"].as_str().unwrap());
    let hash = records::Hash::parse(hash).unwrap();
    let good = Anchor { instance: instance(), seq, hash };
    let elsewhere = records::Instance::parse("two").unwrap();
    let other = Anchor { instance: elsewhere, seq: 1 << 40, hash };
    let range = Range { anchors: vec![other, good.clone(), good.clone()], ..Range::default() };
    let verified = verify_with(data.path(), &range);
    assert_eq!((verified.broken, verified.anchors_matched), (None, 2));
    let bad = Anchor { seq: seq + 1, ..good };
    let broken = verify_with(data.path(), &Range { anchors: vec![bad], ..Range::default() }).broken;
    assert_eq!(broken.unwrap().what, Broken::Anchor);
}

#[test]
fn segments_that_are_missing_swapped_or_of_another_instance_are_found() {
    let data = tempfile::tempdir().unwrap();
    written(data.path());
    let packed = files(data.path(), ".jsonl.zst");
    let from = seq(&lines(&packed[1])[0]);
    let to = seq(lines(&packed[1]).last().unwrap());
    std::fs::remove_file(&packed[1]).unwrap();
    let broken = verify(data.path()).broken.unwrap();
    assert_eq!((broken.what, broken.seq), (Broken::Missing(from, to), from));

    let data = tempfile::tempdir().unwrap();
    written(data.path());
    let first = files(data.path(), ".jsonl.zst").remove(0);
    std::fs::remove_file(&first).unwrap();
    let broken = verify(data.path()).broken.unwrap();
    assert!(matches!(broken.what, Broken::Missing(1, _)), "the oldest too: {broken}");

    let data = tempfile::tempdir().unwrap();
    written(data.path());
    let packed = files(data.path(), ".jsonl.zst");
    std::fs::copy(&packed[1], &packed[2]).unwrap();
    let broken = verify(data.path()).broken.unwrap();
    assert_eq!((broken.what, broken.line), (Broken::Beginning, 1));

    let data = tempfile::tempdir().unwrap();
    written(data.path());
    let other = data.path().join("records/two");
    std::fs::rename(dir(data.path()), &other).unwrap();
    let reader = records::Reader::of_instances(&[other]).unwrap();
    let report = reader.verify(&Range::default()).unwrap();
    assert!(!report.is_good());
    let broken = report.instances[0].broken.clone().unwrap();
    assert_eq!(broken.what, Broken::Instance("one".to_owned()));
}

#[test]
fn a_summary_that_says_something_else_is_found() {
    let data = tempfile::tempdir().unwrap();
    written(data.path());
    let packed = files(data.path(), ".jsonl.zst").remove(1);
    let summary = files(data.path(), ".summary.json").remove(1);
    let good = std::fs::read_to_string(&summary).unwrap();
    for (from, to) in [
        ("\"refused\":2", "\"refused\":1"),
        ("\"environment\":\"prod\"", "\"environment\":\"test\""),
        ("\"gaps\":0", "\"gaps\":1"),
        ("\"firstSeq\":", "\"firstSeq\":1"),
        ("\"lastSeq\":", "\"lastSeq\":1"),
        ("sha256:", "sha256:0"),
    ] {
        assert!(good.contains(from), "{from}: {good}");
        std::fs::write(&summary, good.replacen(from, to, 1)).unwrap();
        let broken = verify(data.path()).broken.unwrap();
        assert_eq!(broken.segment, stem(&packed), "{from}");
    }
    std::fs::remove_file(&summary).unwrap();
    assert_eq!(verify(data.path()).broken.unwrap().what, Broken::Summary("is missing"));
}

#[test]
fn a_compressed_file_that_was_damaged_is_found() {
    let data = tempfile::tempdir().unwrap();
    written(data.path());
    let packed = files(data.path(), ".jsonl.zst").remove(1);
    let good = std::fs::read(&packed).unwrap();
    for at in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        std::fs::write(&packed, bad).unwrap();
        assert_eq!(verify(data.path()).broken.expect("damage").segment, stem(&packed));
    }
    std::fs::write(&packed, &good[..good.len() / 2]).unwrap();
    assert_eq!(verify(data.path()).broken.unwrap().segment, stem(&packed));
}
