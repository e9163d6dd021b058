//! Which names changed since their documents were written, and whether the catalog knows all names.

use crate::refusal::Refusal;
use crate::shelf::Shelf;
use oci::Name;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::Notify;

/// Changed names that are remembered one by one; beyond it all names are looked through.
const DIRTY_MAX: usize = 100_000;
/// When to ask again while the catalog is being rebuilt.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Why nothing is removed by a catalog that cannot tell what is needed.
pub(crate) const NOT_SURE: &str = "what is hosted is not known for certain: the catalog is being \
    rebuilt from the store, or is kept in memory because it could not be opened; ask again later";

/// What is known of names without asking the catalog.
#[derive(Debug, Default)]
pub(crate) struct NameBook {
    state: Mutex<State>,
    /// Something changed, or is missing.
    pub(super) wake: Notify,
    /// Held while a document is made and put: of two, the one that read later is put later.
    pub(super) writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    dirty: HashSet<Name>,
    /// Taken to be written, and not written yet.
    in_hand: HashSet<Name>,
    /// There were more.
    is_cut: bool,
    /// The count of fresh databases with which the catalog was last known to know all names.
    complete_at: Option<u64>,
    /// It was made again in memory: there is another one on disk that may know more.
    is_volatile: bool,
    /// How far making it again is: names done, and of how many.
    progress: Option<(u64, u64)>,
    /// Why it does not go on.
    rebuild_problem: Option<String>,
    /// Why documents are not written.
    write_problem: Option<String>,
}

impl NameBook {
    /// Manifests or tags of a hosted name changed, or may have.
    pub(crate) fn changed(&self, name: &Name) {
        let mut state = self.state.lock();
        if state.dirty.len() < DIRTY_MAX {
            state.dirty.insert(name.clone());
        } else {
            state.is_cut = true;
        }
        drop(state);
        self.wake.notify_one();
    }

    /// The names that changed, and whether there were more. They are in hand until [`Self::done`], so
    /// that a stop in between does not lose them.
    pub(super) fn take(&self) -> (HashSet<Name>, bool) {
        let mut state = self.state.lock();
        let dirty = std::mem::take(&mut state.dirty);
        state.in_hand.extend(dirty.iter().cloned());
        (dirty, std::mem::take(&mut state.is_cut))
    }

    /// A name that was taken is written, or waits again.
    pub(super) fn done(&self, name: &Name) {
        self.state.lock().in_hand.remove(name);
    }

    /// All that is not written: what changed, and what was taken.
    pub(super) fn take_all(&self) -> (HashSet<Name>, bool) {
        let (mut names, is_cut) = self.take();
        names.extend(std::mem::take(&mut self.state.lock().in_hand));
        (names, is_cut)
    }

    pub(super) fn is_clean(&self) -> bool {
        let state = self.state.lock();
        state.dirty.is_empty() && !state.is_cut
    }

    /// The catalog knows all names, as long as this count of fresh databases stands.
    pub(super) fn set_complete(&self, fresh_starts: u64) {
        let mut state = self.state.lock();
        state.complete_at = Some(fresh_starts);
        (state.progress, state.rebuild_problem) = (None, None);
    }

    /// What was made again is a stand-in for a catalog that cannot be opened now.
    pub(super) fn set_volatile(&self) {
        self.state.lock().is_volatile = true;
    }

    pub(super) fn set_progress(&self, done: u64, total: u64) {
        let mut state = self.state.lock();
        (state.progress, state.rebuild_problem) = (Some((done, total)), None);
    }

    pub(super) fn set_rebuild_problem(&self, problem: String) {
        self.state.lock().rebuild_problem = Some(problem);
    }

    pub(super) fn set_write_problem(&self, problem: Option<String>) {
        self.state.lock().write_problem = problem;
    }

    fn complete_at(&self) -> Option<u64> {
        self.state.lock().complete_at
    }
}

impl Shelf {
    /// Whether the catalog is a fresh one that does not know all hosted names of the store yet. What
    /// is not found then may be there all the same. To be asked after the read.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.names.complete_at() != Some(self.catalog.fresh_starts())
    }

    /// Whether the catalog is good enough to tell what nobody needs. One that does not know all names
    /// is not, nor is a stand-in: the real one may know of pushes that no document tells yet.
    pub(crate) fn may_remove(&self) -> bool {
        !self.is_incomplete() && !self.names.state.lock().is_volatile
    }

    /// The answer to whoever asks for what is not found in a catalog that does not know all names.
    pub(crate) fn expect_complete(&self) -> Result<(), Refusal> {
        if !self.is_incomplete() {
            return Ok(());
        }
        self.names.wake.notify_one();
        Err(Refusal::Indeterminate {
            reason:
                "the catalog is being rebuilt from the store; what is hosted here is known again \
                     when that is done"
                    .to_owned(),
            retry_after: Some(RETRY_AFTER),
            is_rate_limit: false,
        })
    }

    /// The answer to whoever would change what is hosted while that could not be kept.
    pub(crate) fn expect_durable(&self) -> Result<(), Refusal> {
        self.expect_complete()?;
        if self.catalog.is_durable() {
            return Ok(());
        }
        Err(Refusal::Indeterminate {
            reason:
                "the catalog could not be opened and is kept in memory: nothing that is pushed now \
                     would outlive the process"
                    .to_owned(),
            retry_after: None,
            is_rate_limit: false,
        })
    }

    /// What an operator should hear of it.
    pub(crate) fn name_warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let is_incomplete = self.is_incomplete();
        let state = self.names.state.lock();
        if is_incomplete {
            let progress = match state.progress {
                Some((done, total)) => format!("{done} of {total} names are done"),
                None => "its names are being looked for".to_owned(),
            };
            let problem = state.rebuild_problem.as_ref();
            let problem =
                problem.map(|it| format!("; it does not go on: {it}")).unwrap_or_default();
            warnings
                .push(format!("the catalog is being rebuilt from the store: {progress}{problem}"));
        }
        if let Some(problem) = &state.write_problem {
            warnings.push(format!(
                "what hosted names hold cannot be written to the store, so that a lost catalog could \
                 not be made again from it: {problem}"
            ));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_remembered_once_and_their_number_is_bounded() {
        let book = NameBook::default();
        for number in 0..DIRTY_MAX + 2 {
            book.changed(&Name::parse(&format!("a/{}", number / 2)).unwrap());
        }
        let (names, is_cut) = book.take();
        assert_eq!((names.len(), is_cut), (DIRTY_MAX / 2 + 1, false));
        names.iter().for_each(|name| book.done(name));
        assert!(book.is_clean());
        for number in 0..=DIRTY_MAX {
            book.changed(&Name::parse(&format!("a/{number}")).unwrap());
        }
        assert!(!book.is_clean());
        let (names, is_cut) = book.take();
        assert_eq!((names.len(), is_cut), (DIRTY_MAX, true));
        // A stop gets what was taken and not written, beside what changed since.
        names.iter().skip(1).for_each(|name| book.done(name));
        book.changed(&Name::parse("b/c").unwrap());
        assert_eq!(book.take_all().0.len(), 2);
        assert!(book.take_all().0.is_empty());
    }
}
