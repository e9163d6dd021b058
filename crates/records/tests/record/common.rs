//! What the tests of the record share.
#![allow(dead_code, reason = "each test uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use jiff::Timestamp;
use oci::{Digest, Name};
use policy::{Action, DecisionId, EnvironmentName, PrincipalKind, Purpose};
use records::{Decision, Detail, Instance, Options, Range, Reader, Recorder, RuleSaid, Verdict};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A clock that is moved by hand.
#[derive(Clone)]
pub(crate) struct Hand(Arc<AtomicI64>);

impl Hand {
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

/// Options with a clock of one's own, and commits only when they are asked for.
pub(crate) fn options() -> (Options, Hand) {
    let hand = Hand(Arc::new(AtomicI64::new(Timestamp::now().as_millisecond())));
    let of_clock = hand.clone();
    let options = Options {
        commit_every: Duration::from_millis(20),
        clock: Arc::new(move || of_clock.now()),
        version: "test".to_owned(),
        ..Options::default()
    };
    (options, hand)
}

pub(crate) fn instance() -> Instance {
    Instance::parse("one").unwrap()
}

pub(crate) fn open(data: &Path, options: &Options) -> Recorder {
    Recorder::open(data, instance(), options.clone()).unwrap()
}

pub(crate) fn dir(data: &Path) -> PathBuf {
    data.join("records/one")
}

/// What rule `r` of policy `p` came to.
pub(crate) fn said(outcome: &str, effect: &str) -> RuleSaid {
    RuleSaid {
        policy: "p".to_owned(),
        rule: "r".to_owned(),
        outcome: outcome.to_owned(),
        effect: effect.to_owned(),
        ..RuleSaid::default()
    }
}

/// A decision of the `which`th kind: those of one kind repeat each other.
pub(crate) fn decision(which: u32, at: Timestamp) -> Decision {
    let id = DecisionId::generate();
    let verdict = match which % 4 {
        0 | 1 => Verdict::Allow,
        2 => Verdict::Warn,
        _ => Verdict::Deny,
    };
    let (outcome, effect) = match verdict {
        Verdict::Allow => ("Pass", "None"),
        Verdict::Warn => ("Refuses", "Warn"),
        _ => ("Refuses", "Refuse"),
    };
    let is_refused = verdict.refuses();
    let facts = serde_json::json!({ "tags": { "known": [format!("{}", which / 2)] } });
    Decision {
        id,
        at,
        principal_kind: PrincipalKind::ServiceAccount,
        principal: format!("ServiceAccount:k8s:system:serviceaccount:team:{}", which % 3).into(),
        environment: EnvironmentName::new(if which.is_multiple_of(2) { "prod" } else { "dev" }),
        purpose: Purpose::Deploy,
        cluster: Some("eu-1".into()),
        action: Action::Pull,
        name: Some(Name::parse(&format!("docker.io/library/app{which}")).unwrap()),
        reference: "latest".into(),
        digest: Some(Digest::sha256(which.to_string().as_bytes())),
        verdict,
        policy: if is_refused { "p".into() } else { "".into() },
        rule: if is_refused { "r".into() } else { "".into() },
        message: match is_refused {
            true => format!("denied by p/r: no; ask; lockgate why {id}"),
            false => String::new(),
        },
        revision: Digest::sha256(b"revision"),
        enforced: true,
        waivers: vec![],
        break_glass: None,
        detail: Some(Arc::new(Detail::new(facts, vec![said(outcome, effect)]))),
    }
}

pub(crate) fn verify(data: &Path) -> records::Verified {
    verify_with(data, &Range::default())
}

pub(crate) fn verify_with(data: &Path, range: &Range) -> records::Verified {
    let report = Reader::of_data_dir(data).unwrap().verify(range).unwrap();
    report.instances.into_iter().find(|it| it.instance == instance()).unwrap()
}

/// All decisions that the record of a data directory stands for.
pub(crate) fn total(data: &Path) -> u64 {
    let reader = Reader::of_data_dir(data).unwrap();
    let counts = reader.report(None, Timestamp::MIN, Timestamp::MAX).unwrap();
    let by_lines: u64 = reader
        .decisions(Timestamp::MIN, Timestamp::MAX)
        .map(|record| record.unwrap().times())
        .sum();
    assert_eq!(counts.total().decisions, by_lines);
    by_lines
}

/// Copies a directory as it is at one moment: what a crash would leave. Made again while files come and
/// go.
pub(crate) fn copy(from: &Path, to: &Path) {
    let list = |dir: &Path| {
        let mut all: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all
    };
    std::fs::create_dir_all(to).unwrap();
    loop {
        let before = list(from);
        let mut is_whole = true;
        for path in &before {
            let target = to.join(path.file_name().unwrap());
            if path.is_dir() {
                copy(path, &target);
            } else {
                is_whole &= std::fs::copy(path, &target).is_ok();
            }
        }
        if is_whole && list(from) == before {
            return;
        }
        for path in list(to).iter().filter(|path| path.is_file()) {
            std::fs::remove_file(path).unwrap();
        }
    }
}

/// The files of the record whose names end so, in order.
pub(crate) fn files(data: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir(data))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.ends_with(ending) && name.starts_with('0')
        })
        .collect();
    files.sort();
    files
}

/// Waits until something is so; work in other threads has no other sign.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("never: {what}");
}
