//! Writing and finding again.

use crate::common::*;
use policy::DecisionId;
use records::{Entry, Error, Event, Found, Happened, Instance, Options, Reader, Recorder, Verdict};
use std::sync::Arc;
use std::time::Duration;

fn find(data: &std::path::Path, id: DecisionId) -> Found {
    Reader::of_data_dir(data).unwrap().find(id).unwrap()
}

#[test]
fn a_decision_is_found_by_its_id_with_all_that_was_noted() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let recorder = open(data.path(), &options);
    let mut noted = decision(3, hand.now());
    noted.waivers = vec!["w".into()];
    noted.break_glass = Some("night".into());
    noted.enforced = false;
    recorder.note(decision(1, hand.now()));
    recorder.note(noted.clone());
    recorder.flush().unwrap();
    // While it is being written.
    let Found::One(found) = find(data.path(), noted.id) else { panic!("it is not found") };
    let (found, seq) = (&found.decision, found.seq);
    assert!(seq > 2);
    assert_eq!((found.id, found.at, found.verdict), (noted.id, noted.at, Verdict::Deny));
    assert_eq!((&found.principal, found.principal_kind), (&noted.principal, noted.principal_kind));
    assert_eq!((&found.environment, found.purpose), (&noted.environment, noted.purpose));
    assert_eq!((&found.cluster, found.action), (&noted.cluster, noted.action));
    assert_eq!((&found.name, &found.reference), (&noted.name, &noted.reference));
    assert_eq!((found.digest, found.revision), (noted.digest, noted.revision));
    assert_eq!((&found.policy, &found.rule), (&noted.policy, &noted.rule));
    assert_eq!((&found.message, found.enforced), (&noted.message, false));
    assert_eq!((&found.waivers, &found.break_glass), (&noted.waivers, &noted.break_glass));
    let (one, two) = (found.detail.as_ref().unwrap(), noted.detail.as_ref().unwrap());
    assert_eq!((one.facts(), one.outcomes()), (two.facts(), two.outcomes()));
    assert!(matches!(find(data.path(), DecisionId::generate()), Found::None));
}

#[test]
fn what_is_the_same_is_written_once_and_counted() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let recorder = open(data.path(), &options);
    let all: Vec<_> = (0..50).map(|_| decision(3, hand.now())).collect();
    let detail = all[0].detail.clone();
    for it in &all {
        // Half of them share the detail, half have one of their own that says the same.
        let mut it = it.clone();
        if it.id.made_at_unix_ms() % 2 == 0 {
            it.detail = detail.clone();
        }
        recorder.note(it);
    }
    recorder.note(decision(2, hand.now()));
    recorder.flush().unwrap();
    hand.advance(options.repeat_window);
    eventually("the window ends", || total(data.path()) == 51);
    let text = std::fs::read_to_string(&files(data.path(), ".jsonl")[0]).unwrap();
    assert_eq!(text.matches("\"kind\":\"Decision\"").count(), 2);
    assert_eq!(text.matches("\"kind\":\"Repeat\"").count(), 1);
    assert_eq!(text.matches("\"kind\":\"Facts\"").count(), 1, "both have the same");
    assert_eq!(text.matches("\"kind\":\"Outcomes\"").count(), 2);
    // The first, the second and the last are found, and of refusals those between that have room.
    for at in [0, 1, 2, 20, 49] {
        let Found::One(found) = find(data.path(), all[at].id) else { panic!("number {at}") };
        assert_eq!(found.repeats.is_some(), at > 0);
        assert_eq!(found.times(), if at > 0 { 49 } else { 1 });
    }
    let Found::OneOf(found) = find(data.path(), all[45].id) else { panic!("the last but few") };
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].repeats.as_ref().unwrap().of, all[0].id);
    recorder.close().unwrap();
    assert_eq!(verify(data.path()).broken, None);
}

#[test]
fn another_message_is_no_repeat_but_another_id_in_it_is() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let recorder = open(data.path(), &options);
    for reason in ["no", "no", "not today"] {
        let mut it = decision(3, hand.now());
        it.message = it.message.replace(": no;", &format!(": {reason};"));
        recorder.note(it);
    }
    recorder.close().unwrap();
    let text = std::fs::read_to_string(&files(data.path(), ".jsonl")[0]).unwrap();
    assert_eq!(text.matches("\"kind\":\"Decision\"").count(), 2);
    assert_eq!(total(data.path()), 3);
}

#[test]
fn segments_end_by_size_and_by_age_and_are_compressed() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let options = Options { segment_bytes: 20_000, ..options };
    let recorder = open(data.path(), &options);
    let mut ids = Vec::new();
    for which in 0..100 {
        let it = decision(which, hand.now());
        ids.push(it.id);
        recorder.note(it);
        recorder.flush().unwrap();
    }
    hand.advance(options.segment_age);
    recorder.note(decision(1000, hand.now()));
    recorder.flush().unwrap();
    recorder.close().unwrap();
    let state = recorder.state();
    drop(recorder);
    let recorder = open(data.path(), &options);
    eventually("all but the newest are compressed", || files(data.path(), ".jsonl").len() == 1);
    recorder.close().unwrap();
    let packed = files(data.path(), ".jsonl.zst").len();
    assert!(packed >= 3, "{packed}");
    assert_eq!(files(data.path(), ".summary.json").len(), packed);
    let verified = verify(data.path());
    assert_eq!((verified.broken, verified.gap_count), (None, 0));
    assert_eq!(verified.segments, packed as u64 + 1);
    assert!(verified.last.unwrap().seq > state.anchor.seq);
    assert_eq!(total(data.path()), 101);
    for id in ids {
        assert!(matches!(find(data.path(), id), Found::One(_)));
    }
}

#[test]
fn all_that_is_full_is_compressed_also_when_it_comes_fast() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let options = Options { segment_bytes: 1, ..options };
    let recorder = open(data.path(), &options);
    for which in 0..40 {
        recorder.note(decision(which, hand.now()));
        recorder.flush().unwrap();
    }
    eventually("all but the newest are compressed", || files(data.path(), ".jsonl").len() == 1);
    recorder.close().unwrap();
    assert_eq!(verify(data.path()).broken, None);
}

#[test]
fn an_idle_record_makes_no_segments() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let recorder = open(data.path(), &options);
    hand.advance(options.segment_age);
    // The first one had its start in it.
    eventually("it is compressed", || files(data.path(), ".summary.json").len() == 1);
    for _ in 0..3 {
        hand.advance(options.segment_age);
        std::thread::sleep(options.commit_every * 2);
    }
    recorder.close().unwrap();
    assert_eq!(files(data.path(), ".jsonl").len(), 1);
    assert_eq!(files(data.path(), ".jsonl.zst").len(), 1);
}

#[test]
fn a_restart_in_order_leaves_no_gap() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    for which in 0..4 {
        let recorder = open(data.path(), &options);
        recorder.note(decision(which, hand.now()));
        recorder.close().unwrap();
    }
    let verified = verify(data.path());
    assert_eq!((verified.broken, verified.gap_count), (None, 0));
    assert_eq!(total(data.path()), 4);
    let reader = Reader::of_data_dir(data.path()).unwrap();
    assert_eq!(reader.revisions().unwrap().len(), 1);
}

#[test]
fn events_are_lines_of_their_own() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let recorder = open(data.path(), &options);
    let revision = oci::Digest::sha256(b"x");
    let what = Happened::Revision { revision, by: "commit 1a2b by me".into() };
    recorder.note(Event { at: hand.now(), what });
    let detail = serde_json::json!({ "environment": "prod", "until": "2026-11-25T12:00:00Z" });
    let what = Happened::Mark { what: "BreakGlassBegins".into(), detail };
    recorder.note(Entry::from(Event { at: hand.now(), what }));
    recorder.close().unwrap();
    let text = std::fs::read_to_string(&files(data.path(), ".jsonl")[0]).unwrap();
    assert!(
        text.contains("\"what\":\"BreakGlassBegins\",\"detail\":{\"environment\":\"prod\""),
        "{text}"
    );
    assert!(text.contains("\"by\":\"commit 1a2b by me\""), "{text}");
    let kinds: Vec<_> = text.lines().map(|line| line.split('"').nth(9).unwrap()).collect();
    assert_eq!(kinds, ["Segment", "Start", "Revision", "Mark", "Stop"]);
    assert_eq!(verify(data.path()).broken, None);
}

#[test]
fn events_are_read_again_also_from_compressed_segments() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let recorder = open(data.path(), &options);
    let mut noted = Vec::new();
    for day in 0..3 {
        let detail = serde_json::json!({ "day": day });
        let what = Happened::Mark { what: "Freeze".into(), detail };
        let event = Event { at: hand.now(), what };
        recorder.note(event.clone());
        recorder.note(decision(day, hand.now()));
        noted.push(event);
        recorder.flush().unwrap();
        hand.advance(options.segment_age);
        eventually("the day ends", || files(data.path(), ".summary.json").len() > day as usize);
    }
    let revision = oci::Digest::sha256(b"y");
    let what = Happened::Revision { revision, by: "a commit".into() };
    noted.push(Event { at: hand.now(), what });
    recorder.note(noted[3].clone());
    recorder.flush().unwrap();
    let reader = Reader::of_data_dir(data.path()).unwrap();
    let read = |from, to| -> Vec<Event> {
        let found = reader.events(from, to).unwrap();
        found.into_iter().map(|it| it.event).collect()
    };
    assert_eq!(read(jiff::Timestamp::MIN, jiff::Timestamp::MAX), noted);
    assert_eq!(read(noted[1].at, noted[3].at), noted[1..3]);
    recorder.close().unwrap();
    assert_eq!(verify(data.path()).broken, None);
}

#[test]
fn one_process_writes_a_record_and_others_write_theirs() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let one = open(data.path(), &options);
    let second = Recorder::open(data.path(), instance(), options.clone());
    assert!(matches!(second, Err(Error::InUse(_))), "{second:?}");
    let other = Instance::parse("two").unwrap();
    let two = Recorder::open(data.path(), other, options.clone()).unwrap();
    let (first, second) = (decision(1, hand.now()), decision(1, hand.now()));
    one.note(first.clone());
    two.note(second.clone());
    one.flush().unwrap();
    two.flush().unwrap();
    let reader = Reader::of_data_dir(data.path()).unwrap();
    assert_eq!(reader.instances().count(), 2);
    for (id, name) in [(first.id, "one"), (second.id, "two")] {
        let Found::One(found) = reader.find(id).unwrap() else { panic!("{name}") };
        assert_eq!(found.instance.as_str(), name);
    }
    assert_eq!(total(data.path()), 2);
    let alone = Reader::of_instances(&[data.path().join("records/two")]).unwrap();
    assert!(matches!(alone.find(first.id).unwrap(), Found::None));
}

#[test]
fn what_comes_faster_than_it_can_be_written_is_a_gap_with_its_number() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let options = Options { queue_entries: 4, ..options };
    let recorder = Arc::new(open(data.path(), &options));
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let (recorder, hand) = (recorder.clone(), hand.clone());
            std::thread::spawn(move || {
                for which in 0..500 {
                    recorder.note(decision(thread * 1000 + which, hand.now()));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    recorder.flush().unwrap();
    let state = recorder.state();
    assert!(!state.is_losing, "all losses are told: {state:?}");
    assert_eq!(state.noted + state.lost, 2000);
    assert_eq!(state.waiting, 0);
    assert_eq!(total(data.path()), state.noted);
    let verified = verify(data.path());
    let lost: u64 = verified.gaps.iter().filter_map(|gap| gap.lost).sum();
    assert_eq!(lost, state.lost);
    recorder.close().unwrap();
    recorder.note(decision(1, hand.now()));
    assert_eq!(recorder.state().lost, lost + 1);
    assert!(matches!(recorder.flush(), Ok(()) | Err(Error::Closed)));
}

#[test]
fn long_texts_are_cut() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let recorder = open(data.path(), &options);
    let mut long = decision(1, hand.now());
    long.message = "é".repeat(10_000);
    let what =
        Happened::Mark { what: "é".repeat(10_000).into(), detail: "x".repeat(1 << 20).into() };
    recorder.note(Event { at: hand.now(), what });
    let waiver = || Arc::<str>::from("w");
    long.waivers = std::iter::repeat_with(waiver).take(1000).collect();
    recorder.note(long.clone());
    recorder.close().unwrap();
    let Found::One(found) = find(data.path(), long.id) else { panic!("it is not found") };
    assert_eq!(found.decision.message.len(), 2048);
    assert_eq!(found.decision.waivers.len(), 64);
    let text = std::fs::read_to_string(&files(data.path(), ".jsonl")[0]).unwrap();
    assert!(text.contains("\"detail\":{\"leftOut\":") && text.len() < 50_000);
    assert_eq!(verify(data.path()).broken, None);
}

#[test]
fn the_clock_may_be_set_back() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let recorder = open(data.path(), &options);
    hand.advance(Duration::from_secs(30));
    recorder.note(decision(1, hand.now()));
    recorder.note(decision(1, hand.now()));
    recorder.flush().unwrap();
    let (earlier, _) = crate::common::options();
    recorder.close().unwrap();
    let recorder = open(data.path(), &earlier);
    recorder.close().unwrap();
    assert_eq!(verify(data.path()).broken, None);
    assert_eq!(total(data.path()), 2);
}
