//! Whatever happens in whatever order: the chain is whole, and counts add up.

use crate::common::*;
use proptest::prelude::*;
use records::{Options, Recorder};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

#[derive(Clone, Debug)]
enum Step {
    /// Note so many of one kind.
    Note(u32, u8),
    Flush,
    /// The window of repeats ends.
    Window,
    /// A day ends.
    Day,
    /// End in order and start again.
    Restart,
    /// Kill, with so much of a line after what was flushed, and start again.
    Kill(usize),
    /// The disk is full after so many bytes, until the next step but one.
    Full(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..12_u32, 1..20_u8).prop_map(|(which, times)| Step::Note(which, times)),
        2 => Just(Step::Flush),
        1 => Just(Step::Window),
        1 => Just(Step::Day),
        1 => Just(Step::Restart),
        2 => (0..900_usize).prop_map(Step::Kill),
        1 => (0..3000_u16).prop_map(Step::Full),
    ];
    proptest::collection::vec(step, 1..40)
}

/// A line that was never flushed, to be found half written.
fn tear(data: &Path, bytes: usize) {
    let path = files(data, ".jsonl").pop().unwrap();
    let text = std::fs::read(&path).unwrap();
    let line = text.split(|c| *c == b'\n').find(|line| line.len() > 200).unwrap_or(b"{");
    let torn = &line[..bytes.min(line.len())];
    OpenOptions::new().append(true).open(&path).unwrap().write_all(torn).unwrap();
}

struct World {
    data: TempDir,
    recorder: Option<Recorder>,
    options: Options,
    hand: Hand,
    noted: u64,
    is_full: bool,
}

impl World {
    fn recorder(&self) -> &Recorder {
        self.recorder.as_ref().unwrap()
    }

    /// All that was noted is on the disk.
    fn flush(&mut self) {
        if self.is_full {
            self.recorder().fail_writes_after_bytes(None);
            self.is_full = false;
        }
        eventually("it is written", || self.recorder().flush().is_ok());
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Note(which, times) => {
                for _ in 0..times {
                    self.recorder().note(decision(which, self.hand.now()));
                }
                self.noted += u64::from(times);
            }
            Step::Flush => self.flush(),
            Step::Window => self.hand.advance(self.options.repeat_window),
            Step::Day => {
                self.hand.advance(self.options.segment_age);
                let _ = self.recorder().flush();
            }
            Step::Restart => {
                self.flush();
                self.recorder().close().unwrap();
                self.recorder = Some(open(self.data.path(), &self.options));
            }
            Step::Kill(bytes) => {
                self.flush();
                // What lies on the disk now, in whatever state segments and their files are.
                let image = TempDir::new().unwrap();
                copy(self.data.path(), image.path());
                self.recorder = None;
                tear(image.path(), bytes);
                self.data = image;
                self.recorder = Some(open(self.data.path(), &self.options));
            }
            Step::Full(bytes) => {
                self.recorder().fail_writes_after_bytes(Some(u64::from(bytes)));
                self.is_full = true;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_notes_rotations_and_crashes_verifies_and_adds_up(steps in steps()) {
        let (options, hand) = options();
        let options = Options {
            segment_bytes: 4000,
            commit_every: Duration::from_millis(2),
            ..options
        };
        let data = TempDir::new().unwrap();
        let recorder = Some(open(data.path(), &options));
        let mut world = World { data, recorder, options, hand, noted: 0, is_full: false };
        for step in steps {
            world.step(step);
        }
        world.flush();
        prop_assert_eq!(world.recorder().state().lost, 0);
        world.recorder().close().unwrap();
        let verified = verify(world.data.path());
        prop_assert_eq!(verified.broken, None);
        prop_assert_eq!(total(world.data.path()), world.noted);
    }

    #[test]
    fn a_record_cut_at_any_byte_goes_on(at in 0.0..1.0_f64) {
        let data = TempDir::new().unwrap();
        let (options, hand) = options();
        let recorder = open(data.path(), &options);
        for which in [1, 2, 3, 2, 7, 7, 7, 8] {
            recorder.note(decision(which, hand.now()));
        }
        recorder.flush().unwrap();
        let image = TempDir::new().unwrap();
        copy(data.path(), image.path());
        drop(recorder);
        let path = files(image.path(), ".jsonl").pop().unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let bytes = file.metadata().unwrap().len();
        file.set_len((bytes as f64 * at) as u64).unwrap();
        let before = verify(image.path());
        let recorder = open(image.path(), &options);
        recorder.note(decision(9, hand.now()));
        recorder.close().unwrap();
        let verified = verify(image.path());
        prop_assert_eq!(verified.broken, None);
        // Every line that was whole is still there.
        prop_assert!(verified.lines > before.lines);
        let counted = total(image.path());
        prop_assert!((1..=9).contains(&counted));
    }

    #[test]
    fn whatever_files_hold_nobody_panics_or_reads_on_without_end(
        which in 0..8_usize,
        at in 0.0..1.0_f64,
        bytes in proptest::collection::vec(any::<u8>(), 1..40),
        is_replaced in any::<bool>(),
    ) {
        let data = TempDir::new().unwrap();
        let (options, hand) = options();
        let options = Options { segment_bytes: 6000, ..options };
        let recorder = open(data.path(), &options);
        for which in [1, 2, 3, 2, 7, 7, 7, 8, 9, 10] {
            recorder.note(decision(which, hand.now()));
            recorder.flush().unwrap();
        }
        let image = TempDir::new().unwrap();
        copy(data.path(), image.path());
        drop(recorder);
        let mut all: Vec<_> =
            std::fs::read_dir(dir(image.path())).unwrap().map(|it| it.unwrap().path()).collect();
        all.sort();
        let path = &all[which % all.len()];
        let mut text = std::fs::read(path).unwrap();
        let at = (text.len() as f64 * at) as usize;
        match is_replaced {
            true => {
                let end = text.len().min(at + bytes.len());
                text.splice(at..end, bytes);
            }
            false => {
                text.splice(at..at, bytes);
            }
        }
        std::fs::write(path, text).unwrap();
        for _ in 0..2 {
            // Good or not, all of it comes to an end.
            let reader = records::Reader::of_data_dir(image.path()).unwrap();
            let _ = reader.verify(&records::Range::default());
            let _ = reader.report(None, jiff::Timestamp::MIN, jiff::Timestamp::MAX);
            let _ = reader.find(policy::DecisionId::generate());
            let _ = reader.revisions();
            let read = reader.decisions(jiff::Timestamp::MIN, jiff::Timestamp::MAX).count();
            prop_assert!(read <= 12, "{}", read);
            let Ok(recorder) = Recorder::open(image.path(), instance(), options.clone()) else {
                return Ok(());
            };
            recorder.note(decision(11, hand.now()));
            prop_assert!(recorder.close().is_ok());
        }
    }
}
