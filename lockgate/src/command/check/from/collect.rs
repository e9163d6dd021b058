//! What is to be asked: each reference once for each who asks for it, with what it stands for.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// References, with who asks for them, that are kept: some tens of megabytes.
const ASKED_MAX: usize = 100_000;
/// Pods of all references together that are kept: some tens of megabytes.
const PODS_MAX: usize = 4_000_000;
/// Names of pods, and digests that run, that are kept for each.
const NAMES_MAX: usize = 5;
/// Characters of a name of a pod: of its namespace 63, of itself 253.
const NAME_CHARS_MAX: usize = 340;

/// How a line tells a pull. One pull can be told by several lines, of one kind each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Witness {
    /// A line of a web server, or a count in a list.
    Line,
    /// The same request once more: a registry writes it in its log and in its access log.
    Structured,
    /// A container runtime began.
    Begun,
    /// It gave up.
    Failed,
    /// It told its caller that the image is there.
    Returned,
    /// It told how long it took.
    Pulled,
}

/// How often each witness spoke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally([u64; 6]);

impl Tally {
    fn add(&mut self, witness: Witness, times: u64) {
        let held = &mut self.0[witness as usize];
        *held = held.saturating_add(times);
    }

    /// Pulls that were answered: as many as the witness tells that saw the most.
    fn pulls(self) -> u64 {
        let [line, structured, begun, failed, returned, pulled] = self.0;
        let ran = begun.saturating_sub(failed).max(returned).max(pulled);
        line.max(structured).max(ran)
    }
}

/// One sight of a reference.
#[derive(Debug)]
pub(super) struct Seen {
    reference: String,
    who: Option<String>,
    what: What,
}

#[derive(Debug)]
enum What {
    Alone,
    Pulls(Witness, u64),
    Pod { number: u32, name: String, running: BTreeSet<String> },
}

impl Seen {
    /// In a list.
    pub(super) fn alone(reference: String) -> Self {
        Self { reference, who: None, what: What::Alone }
    }

    /// In a log, or in a list with counts.
    pub(super) fn pulls(
        reference: String,
        who: Option<String>,
        witness: Witness,
        times: u64,
    ) -> Self {
        Self { reference, who, what: What::Pulls(witness, times) }
    }

    /// In a pod, which runs these digests for it. `number`: tells pods apart.
    pub(super) fn pod(
        reference: String,
        who: &str,
        (number, name): (u32, &str),
        running: BTreeSet<String>,
    ) -> Self {
        let name = name.chars().take(NAME_CHARS_MAX).collect();
        let what = What::Pod { number, name, running };
        Self { reference, who: Some(who.to_owned()), what }
    }
}

/// One thing to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Asked {
    /// As clients write it, whole.
    pub(in super::super) reference: String,
    /// Who asks, where the file tells.
    pub(in super::super) who: Option<Arc<str>>,
    /// Numbers of the pods that have it.
    pub(in super::super) pods: Vec<u32>,
    /// Some of their names.
    pub(in super::super) names: Vec<String>,
    /// Digests that they run, where the reference is a tag.
    pub(in super::super) running: Vec<String>,
    is_listed: bool,
    tally: Tally,
}

impl Asked {
    /// Requests that a log tells, or a list counts.
    pub(in super::super) fn requests(&self) -> u64 {
        self.tally.pulls()
    }

    /// Pods and requests that it stands for; one, where none are told.
    pub(in super::super) fn count(&self) -> u64 {
        (self.pods.len() as u64).saturating_add(self.requests()).max(1)
    }
}

/// All that is to be asked, in the order in which it was seen first.
#[derive(Default)]
pub(in super::super) struct Collected {
    asked: Vec<Asked>,
    index: HashMap<(String, Option<Arc<str>>), usize>,
    /// Sights of references for which there was no room.
    pub(in super::super) left_out: u64,
    /// Pods of all references together.
    pods_kept: usize,
    /// Pods so far.
    pods_seen: u32,
    /// Asks in place of whoever a file names.
    who: Option<Arc<str>>,
    accounts: HashMap<String, Arc<str>>,
}

impl Collected {
    /// `who`: who asks, whatever a file says.
    pub(super) fn new(who: Option<&str>) -> Self {
        Self { who: who.map(Into::into), ..Self::default() }
    }

    pub(super) fn add(&mut self, seen: Seen) {
        let who = match (&self.who, seen.who) {
            (Some(who), _) => Some(who.clone()),
            (None, None) => None,
            (None, Some(who)) => Some(self.account(who)),
        };
        let key = (seen.reference, who);
        let at = match self.index.get(&key) {
            Some(at) => *at,
            None if self.asked.len() == ASKED_MAX => {
                self.left_out += 1;
                return;
            }
            None => {
                let (reference, who) = key.clone();
                self.asked.push(Asked {
                    reference,
                    who,
                    pods: Vec::new(),
                    names: Vec::new(),
                    running: Vec::new(),
                    is_listed: false,
                    tally: Tally::default(),
                });
                self.index.insert(key, self.asked.len() - 1);
                self.asked.len() - 1
            }
        };
        let asked = &mut self.asked[at];
        match seen.what {
            What::Alone => asked.is_listed = true,
            What::Pulls(witness, times) => asked.tally.add(witness, times),
            What::Pod { number, name, running } => {
                if self.pods_kept == PODS_MAX {
                    self.left_out += 1;
                    return;
                }
                self.pods_kept += 1;
                asked.pods.push(number);
                if asked.names.len() < NAMES_MAX {
                    asked.names.push(name);
                }
                for digest in running {
                    if asked.running.len() < NAMES_MAX && !asked.running.contains(&digest) {
                        asked.running.push(digest);
                    }
                }
            }
        }
    }

    /// A number for the next pod.
    pub(super) fn next_pod(&mut self) -> u32 {
        self.pods_seen = self.pods_seen.saturating_add(1);
        self.pods_seen
    }

    /// One text for each account, however many pods it has.
    fn account(&mut self, who: String) -> Arc<str> {
        if self.accounts.len() > ASKED_MAX {
            return who.into();
        }
        self.accounts.entry(who).or_insert_with_key(|who| who.as_str().into()).clone()
    }

    /// A reference as it was written on the command line.
    pub(in super::super) fn list(&mut self, reference: String) {
        self.add(Seen::alone(reference));
    }

    /// What was pulled, listed or runs. What was only tried, and never answered, is left out.
    pub(in super::super) fn into_asked(self) -> Vec<Asked> {
        let mut asked = self.asked;
        asked.retain(|it| it.is_listed || !it.pods.is_empty() || it.requests() > 0);
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_that_is_told_twice_is_one() {
        let mut collected = Collected::new(None);
        let mut add = |name: &str, witness, times| {
            collected.add(Seen::pulls(name.to_owned(), None, witness, times));
        };
        add("twice", Witness::Line, 3);
        add("twice", Witness::Structured, 2);
        add("runtime", Witness::Begun, 4);
        add("runtime", Witness::Failed, 1);
        add("runtime", Witness::Returned, 2);
        add("runtime", Witness::Pulled, 3);
        add("tried", Witness::Begun, 2);
        add("tried", Witness::Failed, 2);
        collected.add(Seen::alone("listed".to_owned()));
        let asked = collected.into_asked();
        let told: Vec<(&str, u64, u64)> =
            asked.iter().map(|it| (it.reference.as_str(), it.requests(), it.count())).collect();
        assert_eq!(told, [("twice", 3, 3), ("runtime", 3, 3), ("listed", 0, 1)]);
    }

    #[test]
    fn memory_is_bounded_and_what_has_no_room_is_counted() {
        let mut collected = Collected::new(None);
        for number in 0..ASKED_MAX + 3 {
            collected.add(Seen::alone(number.to_string()));
        }
        collected.add(Seen::alone("7".to_owned()));
        assert_eq!(collected.left_out, 3);
        for number in 0..100 {
            let running = BTreeSet::from([format!("sha256:{number}")]);
            let name = number.to_string();
            collected.add(Seen::pod("7".to_owned(), "x", (number, &name), running));
        }
        assert_eq!(collected.into_asked().len(), ASKED_MAX);
        let mut collected = Collected::new(Some("user:ann"));
        for number in 0..100 {
            let running = BTreeSet::from([format!("sha256:{number}")]);
            let name = number.to_string();
            collected.add(Seen::pod("a".to_owned(), "x", (number, &name), running));
        }
        let asked = collected.into_asked();
        assert_eq!((asked.len(), asked[0].pods.len(), asked[0].names.len()), (1, 100, NAMES_MAX));
        assert_eq!(asked[0].running.len(), NAMES_MAX);
        assert_eq!(asked[0].who.as_deref(), Some("user:ann"));
    }
}
