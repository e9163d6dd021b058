//! A month of decisions: how large its record gets, how fast it is written, verified and counted, and in
//! how much memory. `cargo bench -p lockgate-records --bench month [-- [decisions [repeats in percent]]]`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that fails says so")]

use jiff::Timestamp;
use oci::{Digest, Name};
use policy::{Action, DecisionId, EnvironmentName, PrincipalKind, Purpose};
use records::{Decision, Detail, Instance, Options, Range, Reader, Recorder, RuleSaid, Verdict};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

const DAYS: i64 = 30;
const ARTIFACTS: u64 = 4000;
const RULES: usize = 20;
/// Entries that wait at most: nothing is lost here, and simulated time does not run away.
const WAITING_MAX: u64 = 4096;

/// A sequence of numbers that looks random and is the same each time (SplitMix64, Steele et al. 2014).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// An id as a process would have made it at that time.
fn id(at_ms: i64, numbers: &mut Numbers) -> DecisionId {
    let random = u128::from(numbers.next()) << 64 | u128::from(numbers.next());
    let value = (at_ms as u128) << 80 | 7 << 76 | (random >> 52 & !(0xf << 76)) & ((1 << 80) - 1);
    let digit = |at: u32| b"0123456789abcdefghjkmnpqrstvwxyz"[(value >> (5 * at) & 31) as usize];
    let text: Vec<u8> = (0..26).rev().map(digit).collect();
    DecisionId::parse(std::str::from_utf8(&text).unwrap()).unwrap()
}

/// What was found out of an artifact, and what twenty rules said of it.
fn detail(artifact: u64, verdict: Verdict) -> Arc<Detail> {
    let digest = Digest::sha256(&artifact.to_le_bytes());
    let facts = serde_json::json!({
        "upstream": "docker-hub",
        "manifest": {
            "digest": digest, "kind": "Image", "sizeBytes": 34_567_890 + artifact, "layerCount": 9,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "annotations": { "org.opencontainers.image.revision": digest.hex() },
        },
        "config": { "known": {
            "platform": "linux/amd64", "created": "2026-10-01T08:00:00Z",
            "labels": {
                "org.opencontainers.image.source": format!("https://git.example/team/app{artifact}"),
                "org.opencontainers.image.licenses": "Apache-2.0",
                "maintainer": format!("team{}@corp.example", artifact % 50),
            },
        }},
        "tags": { "known": ["latest", format!("1.{}", artifact % 40), format!("1.{}.2", artifact % 40)] },
        "firstSeen": { "known": "2026-10-02T09:00:00Z" },
        "admissions": { "known": { "staging": { "first": "2026-10-02T09:00:00Z", "last": "2026-11-01T09:00:00Z" } } },
    });
    let said = (0..RULES).map(|rule| {
        let speaks = rule == artifact as usize % RULES;
        let (outcome, effect) = match verdict {
            Verdict::Warn if speaks => ("Refuses", "Warn"),
            Verdict::Deny if speaks => ("Refuses", "Refuse"),
            _ => ("Pass", "None"),
        };
        let (reason, remedy) = match outcome {
            "Pass" => (String::new(), String::new()),
            _ => {
                (format!("image of {} days is too old", 90 + artifact), "build it anew".to_owned())
            }
        };
        RuleSaid {
            policy: format!("policy-{}", rule / 5),
            rule: format!("rule-{rule}"),
            outcome: outcome.to_owned(),
            effect: effect.to_owned(),
            reason,
            remedy,
            ..RuleSaid::default()
        }
    });
    Arc::new(Detail::new(facts, said.collect()))
}

/// What a fleet of forty clusters asks for. Some of it was asked for a moment ago.
struct Fleet {
    numbers: Numbers,
    /// By artifact: what it is decided on.
    details: Vec<Arc<Detail>>,
    recent: Vec<Decision>,
    repeats_percent: u64,
}

impl Fleet {
    fn new(repeats_percent: u64) -> Self {
        let details = (0..ARTIFACTS).map(|it| detail(it, verdict(it))).collect();
        Self { numbers: Numbers(1), details, recent: Vec::new(), repeats_percent }
    }

    fn next(&mut self, at_ms: i64) -> Decision {
        let at = Timestamp::from_millisecond(at_ms).unwrap();
        let id = id(at_ms, &mut self.numbers);
        if !self.recent.is_empty() && self.numbers.below(100) < self.repeats_percent {
            let which = self.numbers.below(self.recent.len() as u64) as usize;
            let mut it = self.recent[which].clone();
            it.message = it.message.replace(&it.id.to_string(), &id.to_string());
            return Decision { id, at, ..it };
        }
        let made = self.make(id, at);
        match self.recent.len() {
            64.. => {
                let which = self.numbers.below(64) as usize;
                self.recent[which] = made.clone();
            }
            _ => self.recent.push(made.clone()),
        }
        made
    }

    fn make(&mut self, id: DecisionId, at: Timestamp) -> Decision {
        let numbers = &mut self.numbers;
        // Few are asked for often: the lesser of two draws, squared.
        let draw = numbers.below(ARTIFACTS) * numbers.below(ARTIFACTS) / ARTIFACTS;
        let (artifact, cluster, team) = (draw, numbers.below(40), numbers.below(50));
        let verdict = verdict(artifact);
        let (policy, rule) = match verdict {
            Verdict::Deny => {
                let rule = artifact as usize % RULES;
                (format!("policy-{}", rule / 5), format!("rule-{rule}"))
            }
            _ => Default::default(),
        };
        let message = match verdict {
            Verdict::Deny => format!(
                "denied by {policy}/{rule}: image of {} days is too old; build it anew; lockgate why {id}",
                90 + artifact
            ),
            _ => String::new(),
        };
        Decision {
            id,
            at,
            principal_kind: PrincipalKind::ServiceAccount,
            principal: format!(
                "ServiceAccount:cluster-{cluster}:system:serviceaccount:team{team}:default"
            )
            .into(),
            environment: EnvironmentName::new(["prod", "staging", "dev"][cluster as usize % 3]),
            purpose: Purpose::Deploy,
            cluster: Some(format!("cluster-{cluster}").into()),
            action: Action::Pull,
            name: Some(Name::parse(&format!("docker.io/team{team}/app{artifact}")).unwrap()),
            reference: format!("1.{}", artifact % 40).into(),
            digest: Some(Digest::sha256(&artifact.to_le_bytes())),
            verdict,
            policy: policy.into(),
            rule: rule.into(),
            message,
            revision: Digest::sha256(&(at.as_second() / 86_400 / 3).to_le_bytes()),
            enforced: true,
            waivers: vec![],
            break_glass: None,
            detail: Some(self.details[artifact as usize].clone()),
        }
    }
}

fn verdict(artifact: u64) -> Verdict {
    match artifact % 50 {
        0 => Verdict::Deny,
        1 | 2 => Verdict::Warn,
        _ => Verdict::Allow,
    }
}

/// Highest resident size since the last call, in megabytes.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let peak: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    // Resets it (proc(5), clear_refs).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    peak / 1024
}

fn size(dir: &Path, ending: &str) -> (u64, u64) {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let sizes: Vec<u64> = entries
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(ending))
        .map(|entry| entry.metadata().unwrap().len())
        .collect();
    (sizes.len() as u64, sizes.iter().sum())
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let result = work();
    let taken = begun.elapsed();
    println!("{what}: {:.2} s, peak {} MB resident", taken.as_secs_f64(), peak_mb());
    (result, taken)
}

fn write(
    data: &Path,
    instance: &Instance,
    count: u64,
    repeats: u64,
    begin_ms: i64,
) -> Vec<DecisionId> {
    let clock = Arc::new(AtomicI64::new(begin_ms));
    let of_clock = clock.clone();
    let now = move || Timestamp::from_millisecond(of_clock.load(Ordering::Relaxed)).unwrap();
    let options = Options { clock: Arc::new(now), version: "bench".into(), ..Options::default() };
    let recorder = Recorder::open(data, instance.clone(), options).unwrap();
    let mut fleet = Fleet::new(repeats);
    let (mut samples, mut noted, mut done) = (Vec::new(), 0, 0);
    let whole_ms = DAYS * 86_400_000;
    let mut at_note = Vec::new();
    for number in 0..count {
        let at_ms = begin_ms + (number as i128 * i128::from(whole_ms) / i128::from(count)) as i64;
        let decision = fleet.next(at_ms);
        if number % (count / 100).max(1) == 0 {
            samples.push(decision.id);
        }
        clock.store(at_ms, Ordering::Relaxed);
        while noted - done >= WAITING_MAX {
            let state = recorder.state();
            done = state.noted - state.waiting;
            if noted - done >= WAITING_MAX {
                recorder.flush().unwrap();
            }
        }
        let begun = (number % 1000 == 0).then(Instant::now);
        recorder.note(decision);
        at_note.extend(begun.map(|begun| begun.elapsed()));
        noted += 1;
    }
    recorder.flush().unwrap();
    at_note.sort_unstable();
    let middle = at_note[at_note.len() / 2].as_nanos();
    println!("noting one takes {middle} ns (median of every thousandth)");
    let dir = data.join("records").join(instance.as_str());
    while size(&dir, ".jsonl").0 > 2 {
        std::thread::sleep(Duration::from_millis(20));
    }
    recorder.close().unwrap();
    assert_eq!(recorder.state().lost, 0);
    samples
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|it| it.parse().ok());
    let count: u64 = arguments.next().unwrap_or(10_000_000);
    let repeats: u64 = arguments.next().unwrap_or(30);
    let data = tempfile::tempdir().unwrap();
    let instance = Instance::parse("bench").unwrap();
    let dir = data.path().join("records/bench");
    let begin_ms = 1_793_491_200_000;
    let day = |number: i64| Timestamp::from_millisecond(begin_ms + number * 86_400_000).unwrap();
    println!("{count} decisions in {DAYS} days, {repeats} % of them repeats of one of the last 64");

    let (samples, taken) = timed("write, sync and compress", || {
        write(data.path(), &instance, count, repeats, begin_ms)
    });
    println!("  {:.0} decisions a second", count as f64 / taken.as_secs_f64());
    let (segments, packed) = size(&dir, ".jsonl.zst");
    let (_, summaries) = size(&dir, ".summary.json");
    let (_, plain) = size(&dir, ".jsonl");
    println!(
        "  {segments} compressed segments of {} MB, {plain} bytes plain, summaries {} KB; {:.1} bytes a decision",
        packed >> 20,
        summaries >> 10,
        (packed + plain + summaries) as f64 / count as f64
    );

    let reader = Reader::of_data_dir(data.path()).unwrap();
    let (report, _) = timed("verify all", || reader.verify(&Range::default()).unwrap());
    assert!(report.is_good(), "{report:?}");
    println!("  {} lines", report.instances[0].lines);

    let (counts, _) =
        timed("report of the month", || reader.report(None, day(0), day(DAYS)).unwrap());
    assert_eq!(counts.total().decisions, count);
    let total = counts.total();
    println!("  {} allowed, {} warned, {} refused", total.allowed, total.warned, total.refused);
    let half = Duration::from_secs(43_200);
    timed("report of one policy, from noon to noon", || {
        reader.report(Some("policy-1"), day(1) + half, day(DAYS - 2) + half).unwrap()
    });
    timed("find 100 decisions by id", || {
        for id in &samples {
            assert!(!matches!(reader.find(*id).unwrap(), records::Found::None));
        }
    });
    let (read, _) = timed("read one day's decisions", || {
        reader.decisions(day(7), day(8)).map(|it| it.unwrap().times()).sum::<u64>()
    });
    println!("  {read} decisions");
}
