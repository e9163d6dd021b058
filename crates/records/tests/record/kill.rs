//! A real process, killed while it writes; and two at once.

use crate::common::*;
use records::{Instance, Options, Range, Reader, Recorder};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Where a child finds its data directory: it is this test, run again.
const CHILD: &str = "RECORD_TEST_CHILD";

/// Not a test: what the child does. It notes without end, and tells how many were flushed.
#[test]
fn child() {
    let Ok(child) = std::env::var(CHILD) else { return };
    let (data, name) = child.split_once('|').unwrap();
    let options = Options {
        segment_bytes: 60_000,
        commit_every: Duration::from_millis(5),
        repeat_window: Duration::from_millis(50),
        ..Options::default()
    };
    let instance = Instance::parse(name).unwrap();
    let recorder = Recorder::open(data.as_ref(), instance, options).unwrap();
    for number in 1..=200_000_u32 {
        // Three of four are repeats.
        let which = if number % 4 == 0 { number } else { number % 8 };
        recorder.note(decision(which, jiff::Timestamp::now()));
        if number % 100 == 0 {
            recorder.flush().unwrap();
            println!("flushed {number}");
        }
    }
}

fn run(data: &std::path::Path, name: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{}|{name}", data.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until the child has told of so many, kills it, and gives how many it told of in all.
fn kill_after(mut child: Child, told: u64) -> u64 {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut last = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if output.read_line(&mut line).unwrap() == 0 {
            break;
        }
        if let Some((_, number)) = line.trim().rsplit_once("flushed ") {
            last = number.parse().unwrap();
        }
        if last >= told {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(last >= told, "the child ended by itself");
    last
}

#[test]
fn a_process_killed_between_writes_loses_nothing_that_was_flushed() {
    let data = tempfile::tempdir().unwrap();
    let mut flushed = 0;
    for round in 0..4 {
        flushed += kill_after(run(data.path(), "one"), 300 + 150 * round);
        let verified = verify(data.path());
        assert_eq!(verified.broken, None, "before the next start");
    }
    let (options, _) = options();
    open(data.path(), &options).close().unwrap();
    let verified = verify(data.path());
    assert_eq!((verified.broken, verified.gap_count), (None, 4));
    let total = total(data.path());
    assert!(total >= flushed, "{total} of {flushed}");
    // No more than those that were under way.
    assert!(total <= flushed + 4 * 200, "{total} of {flushed}");
}

#[test]
fn two_processes_write_beside_each_other_and_are_read_together() {
    let data = tempfile::tempdir().unwrap();
    let (one, two) = (run(data.path(), "one"), run(data.path(), "two"));
    let first = std::thread::spawn(move || kill_after(one, 1000));
    let reader = || Reader::of_data_dir(data.path()).unwrap();
    // While both write, whatever is read is good.
    while !first.is_finished() {
        let report = reader().verify(&Range::default()).unwrap();
        assert!(report.is_good(), "{report:?}");
    }
    let flushed = first.join().unwrap() + kill_after(two, 1000);
    let report = reader().verify(&Range::default()).unwrap();
    assert!(report.is_good());
    assert_eq!(report.instances.len(), 2);
    for name in ["one", "two"] {
        let instance = Instance::parse(name).unwrap();
        Recorder::open(data.path(), instance, Options::default()).unwrap().close().unwrap();
    }
    assert!(total(data.path()) >= flushed);
}
