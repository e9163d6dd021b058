//! Removing what is too old.

use crate::common::*;
use records::{Broken, Found, Options, Range, Reader};
use std::path::Path;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// Ten days with a segment each. Gives the ids, day by day.
fn ten_days(data: &Path, options: &Options, hand: &Hand) -> Vec<policy::DecisionId> {
    let recorder = open(data, options);
    let mut ids = Vec::new();
    for day in 0..10 {
        let it = decision(day, hand.now());
        ids.push(it.id);
        recorder.note(it);
        recorder.flush().unwrap();
        hand.advance(DAY);
        eventually("the day ends", || files(data, ".summary.json").len() > day as usize);
    }
    recorder.close().unwrap();
    ids
}

#[test]
fn old_segments_go_and_the_chain_stays_whole() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let ids = ten_days(data.path(), &options, &hand);
    assert_eq!(total(data.path()), 10);
    let before = verify(data.path());
    let options = Options { retain: Some(5 * DAY + Duration::from_secs(60)), ..options };
    open(data.path(), &options).close().unwrap();
    let verified = verify(data.path());
    assert_eq!(verified.broken, None);
    assert!(verified.removed_through > 5);
    assert_eq!(files(data.path(), ".summary.json").len(), 5, "five days and what is being written");
    assert_eq!(total(data.path()), 5);
    let reader = Reader::of_data_dir(data.path()).unwrap();
    assert!(matches!(reader.find(ids[0]).unwrap(), Found::None));
    assert!(matches!(reader.find(ids[9]).unwrap(), Found::One(_)));
    // An anchor from before is still good.
    let anchors = vec![before.last.unwrap()];
    let verified = verify_with(data.path(), &Range { anchors, ..Range::default() });
    assert_eq!((verified.broken, verified.anchors_matched), (None, 1));
    // It goes on, and later the rest goes.
    hand.advance(3 * DAY);
    let recorder = open(data.path(), &options);
    recorder.note(decision(1, hand.now()));
    recorder.close().unwrap();
    open(data.path(), &options).close().unwrap();
    let again = verify(data.path());
    assert_eq!(again.broken, None);
    assert!(again.removed_through > verified.removed_through);
}

#[test]
fn a_crash_while_removing_leaves_one_truth() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    ten_days(data.path(), &options, &hand);
    let image = tempfile::tempdir().unwrap();
    copy(data.path(), image.path());
    let options = Options { retain: Some(5 * DAY + Duration::from_secs(60)), ..options };
    open(data.path(), &options).close().unwrap();
    // The anchor was written, and some of what it stands for is still there.
    for old in [".jsonl.zst", ".summary.json"] {
        let left = &files(image.path(), old)[3..5];
        for path in left {
            let name = path.file_name().unwrap();
            std::fs::copy(path, dir(data.path()).join(name)).unwrap();
        }
    }
    assert_eq!(files(data.path(), ".summary.json").len(), 7);
    assert_eq!(verify(data.path()).broken, None);
    assert_eq!(total(data.path()), 5);
    open(data.path(), &options).close().unwrap();
    assert_eq!(files(data.path(), ".summary.json").len(), 5, "the next start removes them");
    assert_eq!(verify(data.path()).broken, None);
}

#[test]
fn who_removes_segments_and_says_they_were_old_is_found() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    ten_days(data.path(), &options, &hand);
    let summaries = files(data.path(), ".summary.json");
    let summary = std::fs::read_to_string(&summaries[2]).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let anchor = serde_json::json!({
        "removedThrough": summary["lastSeq"], "lastHash": summary["lastHash"],
    });
    std::fs::write(dir(data.path()).join("anchor.json"), anchor.to_string()).unwrap();
    for path in files(data.path(), ".jsonl.zst").iter().take(3).chain(summaries.iter().take(3)) {
        std::fs::remove_file(path).unwrap();
    }
    assert_eq!(verify(data.path()).broken.unwrap().what, Broken::Removed);
}

#[test]
fn how_long_is_kept_can_be_changed() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    ten_days(data.path(), &options, &hand);
    let recorder = open(data.path(), &options);
    recorder.set_retain(Some(DAY * 2));
    recorder.note(decision(1, hand.now()));
    recorder.flush().unwrap();
    hand.advance(DAY);
    eventually("old ones go", || files(data.path(), ".summary.json").len() < 5);
    recorder.close().unwrap();
    assert_eq!(verify(data.path()).broken, None);
}

#[test]
fn a_range_looks_at_its_segments_alone() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let from = hand.now();
    ten_days(data.path(), &options, &hand);
    let range =
        Range { from: Some(from + DAY * 4 + DAY / 2), to: Some(from + DAY * 6), anchors: vec![] };
    let verified = verify_with(data.path(), &range);
    assert_eq!(verified.broken, None);
    assert!((2..=4).contains(&verified.segments), "{}", verified.segments);
    // What is wrong elsewhere does not matter to it.
    let packed = files(data.path(), ".jsonl.zst");
    std::fs::write(&packed[0], "").unwrap();
    std::fs::write(packed.last().unwrap(), "").unwrap();
    assert_eq!(verify_with(data.path(), &range).broken, None);
    assert!(verify(data.path()).broken.is_some());
    std::fs::write(&packed[5], "").unwrap();
    assert!(verify_with(data.path(), &range).broken.is_some());
}
