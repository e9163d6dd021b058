//! Reports: by environment, by policy, by rule.

use crate::common::*;
use jiff::Timestamp;
use records::{Detail, Group, Options, Reader, RuleSaid, Tally, Verdict};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn report(data: &Path, policy: Option<&str>) -> records::Counts {
    report_between(data, policy, Timestamp::MIN, Timestamp::MAX)
}

fn report_between(
    data: &Path,
    policy: Option<&str>,
    from: Timestamp,
    to: Timestamp,
) -> records::Counts {
    Reader::of_data_dir(data).unwrap().report(policy, from, to).unwrap()
}

fn group(policy: &str, rule: &str, environment: &str) -> Group {
    Group { policy: policy.into(), rule: rule.into(), environment: environment.into() }
}

#[test]
fn each_kind_of_decision_is_counted_in_its_place() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let recorder = open(data.path(), &options);
    let rule = |name: &str, outcome: &str, effect: &str, waiver: Option<&str>| RuleSaid {
        rule: name.to_owned(),
        waiver: waiver.map(str::to_owned),
        ..said(outcome, effect)
    };
    let mut number = 0;
    let mut note =
        |verdict: Verdict, said: Vec<RuleSaid>, change: &dyn Fn(&mut records::Decision)| {
            number += 2;
            let mut it = decision(number, hand.now());
            (it.verdict, it.policy, it.rule) = (verdict, "".into(), "".into());
            it.detail = Some(Arc::new(Detail::new(serde_json::json!({ "n": number }), said)));
            change(&mut it);
            recorder.note(it);
        };
    let pass = || rule("a", "Pass", "None", None);
    let refuses = || rule("a", "Refuses", "Refuse", None);
    note(Verdict::Allow, vec![pass()], &|_| {});
    note(Verdict::Warn, vec![pass(), rule("b", "Refuses", "Warn", None)], &|_| {});
    note(Verdict::Deny, vec![refuses()], &|it| (it.policy, it.rule) = ("p".into(), "a".into()));
    note(Verdict::Deny, vec![refuses()], &|it| it.enforced = false);
    note(Verdict::CannotTell, vec![rule("b", "Unknown", "CannotTell", None)], &|_| {});
    note(Verdict::Allow, vec![rule("a", "Refuses", "None", Some("w"))], &|it| {
        it.waivers = vec!["w".into()];
    });
    note(Verdict::Allow, vec![refuses()], &|it| it.break_glass = Some("night".into()));
    // A refusal by access: no rule was evaluated.
    note(Verdict::Deny, vec![], &|it| (it.policy, it.rule) = ("access".into(), "access".into()));
    recorder.close().unwrap();

    let counts = report(data.path(), None);
    let whole = Tally {
        decisions: 8,
        allowed: 3,
        warned: 1,
        refused: 2,
        cannot_tell: 1,
        observed: 1,
        unknown: 1,
        waived: 1,
        overridden: 1,
    };
    assert_eq!(counts.total(), whole);
    assert_eq!(counts.groups[&group("", "", "prod")], whole);
    let p = counts.groups[&group("p", "", "prod")];
    assert_eq!((p.decisions, p.allowed, p.warned, p.refused), (7, 3, 1, 1));
    assert_eq!((p.observed, p.cannot_tell, p.waived, p.overridden), (1, 1, 1, 1));
    let a = counts.groups[&group("p", "a", "prod")];
    assert_eq!((a.decisions, a.allowed, a.warned, a.refused, a.observed), (6, 4, 0, 1, 1));
    let b = counts.groups[&group("p", "b", "prod")];
    assert_eq!((b.decisions, b.warned, b.cannot_tell, b.unknown), (2, 1, 1, 1));
    let access = counts.groups[&group("access", "access", "prod")];
    assert_eq!((access.decisions, access.refused), (1, 1));
    let of_p = report(data.path(), Some("p"));
    assert_eq!(of_p.groups.len(), 3);
    assert_eq!(of_p.groups[&group("p", "", "prod")], p);
    assert_eq!(of_p.total(), Tally::default());
}

#[test]
fn summaries_and_lines_say_the_same_and_edges_are_exact() {
    let data = tempfile::tempdir().unwrap();
    let (options, hand) = options();
    let options = Options { segment_bytes: 8000, ..options };
    let recorder = open(data.path(), &options);
    let mut at = Vec::new();
    for which in 0..60 {
        hand.advance(Duration::from_secs(7));
        let now = hand.now();
        at.push(now);
        // Some repeat what was a moment ago.
        recorder.note(decision(which % 40 / 2, now));
        recorder.flush().unwrap();
    }
    recorder.close().unwrap();
    drop(recorder);
    let recorder = open(data.path(), &options);
    eventually("all is compressed", || files(data.path(), ".jsonl").len() == 1);
    recorder.close().unwrap();
    assert!(files(data.path(), ".summary.json").len() >= 3);
    let all = report(data.path(), None);
    assert_eq!(all.total().decisions, 60);
    for (from, to) in [(0, 60), (0, 1), (1, 2), (5, 37), (30, 31), (59, 60), (13, 58)] {
        let end = at.get(to).copied().unwrap_or(Timestamp::MAX);
        let counts = report_between(data.path(), None, at[from], end);
        let reader = Reader::of_data_dir(data.path()).unwrap();
        let read: u64 = reader.decisions(at[from], end).map(|it| it.unwrap().times()).sum();
        assert_eq!(counts.total().decisions, read, "{from} {to}");
        // A repeat counts when its first was.
        let distance = read.abs_diff((to - from) as u64);
        assert!(distance <= 20, "{from} {to}: {read}");
    }
    // Two halves are the whole.
    let mut first = report_between(data.path(), None, Timestamp::MIN, at[23]).total();
    let second = report_between(data.path(), None, at[23], Timestamp::MAX).total();
    first.decisions += second.decisions;
    assert_eq!(first.decisions, 60);
    let text = serde_json::to_string(&all).unwrap();
    assert_eq!(serde_json::from_str::<records::Counts>(&text).unwrap(), all);
}
