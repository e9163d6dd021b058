//! Files that are read again when they change, and whose last good content is kept.

use crate::report::Report;
use parking_lot::Mutex;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A changed file is noticed within this time.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Larger than any bundle or list of users.
const FILE_MAX_BYTES: u64 = 8 << 20;

type Stamp = (u64, u64, u64, i64, i64);

/// A file of one kind of content.
pub(crate) struct Watched<T> {
    path: PathBuf,
    parse: fn(&[u8]) -> Result<T, String>,
    report: Report,
    state: Mutex<State<T>>,
}

struct State<T> {
    looked: Option<Instant>,
    stamp: Option<Stamp>,
    good: Option<Arc<T>>,
    problem: Option<String>,
}

impl<T> Watched<T> {
    pub(crate) fn new(path: &Path, report: &Report, parse: fn(&[u8]) -> Result<T, String>) -> Self {
        let state = State { looked: None, stamp: None, good: None, problem: None };
        Self { path: path.to_owned(), parse, report: report.clone(), state: Mutex::new(state) }
    }

    /// The content as of now, or the last that was good. Blocks for a small file at most every two
    /// seconds. `misses`: something is not in it that should be: looks now, and what was good before is
    /// no answer.
    pub(crate) fn get(&self, misses: bool) -> Result<Arc<T>, String> {
        let mut state = self.state.lock();
        let is_due = state.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY);
        if is_due || misses {
            state.looked = Some(Instant::now());
            self.look(&mut state);
        }
        match (&state.good, &state.problem) {
            (_, Some(problem)) if misses => Err(problem.clone()),
            (Some(good), _) => Ok(good.clone()),
            (None, Some(problem)) => Err(problem.clone()),
            (None, None) => Err(format!("{} was not read", self.path.display())),
        }
    }

    fn look(&self, state: &mut State<T>) {
        let stamp = stamp(&self.path);
        if stamp.is_some() && stamp == state.stamp {
            return;
        }
        match self.read() {
            Ok(content) => {
                self.report.read();
                (state.good, state.problem, state.stamp) = (Some(Arc::new(content)), None, stamp);
            }
            Err(problem) => {
                let problem = format!("{}: {problem}", self.path.display());
                if state.problem.as_ref() != Some(&problem) {
                    self.report.failed(&problem, state.good.is_some());
                }
                (state.problem, state.stamp) = (Some(problem), stamp);
            }
        }
    }

    fn read(&self) -> Result<T, String> {
        let mut bytes = Vec::new();
        let open = File::open(&self.path).map_err(|error| error.to_string())?;
        open.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > FILE_MAX_BYTES {
            return Err("larger than 8 MiB; is it the right file?".to_owned());
        }
        (self.parse)(&bytes)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let held = std::fs::metadata(path).ok()?;
    let changed = held.ctime().wrapping_mul(1_000_000_000).wrapping_add(held.ctime_nsec());
    let modified = held.mtime().wrapping_mul(1_000_000_000).wrapping_add(held.mtime_nsec());
    Some((held.dev(), held.ino(), held.size(), modified, changed))
}
