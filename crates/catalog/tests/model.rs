//! Random histories of tags, contents and blobs, held against a model made of maps.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use catalog::{Batch, Catalog, Content, HostedUse, PushedBlob, WriteError};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use support::*;

const NAMES: [&str; 3] = ["r/a", "r/b", "s/a"];
const WORDS: [&str; 4] = ["d0", "d1", "d2", "d3"];

#[derive(Clone, Copy, Debug)]
enum Step {
    PutBlob(usize),
    PutContent(usize, usize, bool),
    Condemn(usize),
    Uncondemn(usize),
    BeginRemoval(usize),
    BlobGone(usize),
    BlobLost(usize),
    DropContent(usize, usize),
    Used(usize, usize),
    MoveTag(usize, usize),
    TouchTag(usize),
    TagGone(usize),
    RemoveTag(usize),
    DropName(usize),
    PushBlob(usize, usize, bool),
    DeleteBlob(usize, usize),
    DeleteTag(usize),
    Adopt(usize, usize),
    Disown(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (name, word) = (0..NAMES.len(), 0..WORDS.len());
    prop_oneof![
        3 => word.clone().prop_map(Step::PutBlob),
        3 => (name.clone(), word.clone(), any::<bool>())
            .prop_map(|(name, word, private)| Step::PutContent(name, word, private)),
        3 => word.clone().prop_map(Step::Condemn),
        1 => word.clone().prop_map(Step::Uncondemn),
        2 => word.clone().prop_map(Step::BeginRemoval),
        2 => word.clone().prop_map(Step::BlobGone),
        1 => word.clone().prop_map(Step::BlobLost),
        1 => (name.clone(), word.clone()).prop_map(|(name, word)| Step::DropContent(name, word)),
        2 => (name.clone(), word.clone()).prop_map(|(name, word)| Step::Used(name, word)),
        2 => (name.clone(), word.clone()).prop_map(|(name, word)| Step::MoveTag(name, word)),
        1 => name.clone().prop_map(Step::TouchTag),
        1 => name.clone().prop_map(Step::TagGone),
        1 => name.clone().prop_map(Step::RemoveTag),
        1 => name.clone().prop_map(Step::DropName),
        4 => (name.clone(), word.clone(), any::<bool>())
            .prop_map(|(name, word, tight)| Step::PushBlob(name, word, tight)),
        2 => (name.clone(), word.clone()).prop_map(|(name, word)| Step::DeleteBlob(name, word)),
        1 => name.clone().prop_map(Step::DeleteTag),
        2 => (name.clone(), word.clone()).prop_map(|(name, word)| Step::Adopt(name, word)),
        1 => (name, word).prop_map(|(name, word)| Step::Disown(name, word)),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Present,
    Condemned,
    Going,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Row {
    private: bool,
    used: i64,
    hosted: bool,
}

/// What every blob weighs, and what a repository may hold where a push has a tight quota.
const SIZE: u64 = 10;
const TIGHT: u64 = 25;

#[derive(Clone, Debug, Default)]
struct Model {
    /// State and last use.
    blobs: BTreeMap<usize, (State, i64)>,
    contents: BTreeMap<(usize, usize), Row>,
    /// Digest, checked, moved, gone since.
    tags: BTreeMap<usize, (usize, i64, i64, Option<i64>)>,
}

impl Model {
    /// The first two names are of one repository.
    fn hosted_rows(&self, is_first: bool) -> u64 {
        let rows = self.contents.iter().filter(|((name, _), _)| (*name < 2) == is_first);
        rows.filter(|(_, row)| row.hosted).count() as u64
    }

    fn is_held(&self, word: usize) -> bool {
        self.contents.iter().any(|((_, of), row)| *of == word && row.hosted)
    }

    fn put_content(&mut self, name: usize, word: usize, private: bool, hosted: bool, now: i64) {
        let before = self.contents.get(&(name, word)).copied();
        let row = Row {
            private: private && before.is_none_or(|row| row.private),
            used: now,
            hosted: hosted || before.is_some_and(|row| row.hosted),
        };
        self.contents.insert((name, word), row);
        if let Some((state, used)) = self.blobs.get_mut(&word) {
            *used = now;
            if *state == State::Condemned {
                *state = State::Present;
            }
        }
    }

    /// Does what the verb promises; `None` is a conflict.
    fn apply(&mut self, step: Step, now: i64) -> Option<()> {
        match step {
            Step::PutBlob(word) => {
                self.blobs.insert(word, (State::Present, now));
            }
            Step::PutContent(name, word, private) => {
                self.put_content(name, word, private, false, now);
            }
            Step::Condemn(word) => {
                if self.is_held(word) {
                    return None;
                }
                let blob = self.blobs.get_mut(&word).filter(|blob| blob.0 == State::Present)?;
                blob.0 = State::Condemned;
            }
            Step::Uncondemn(word) => {
                let blob = self.blobs.get_mut(&word).filter(|blob| blob.0 != State::Going)?;
                blob.0 = State::Present;
            }
            Step::BeginRemoval(word) => {
                let blob = self.blobs.get_mut(&word).filter(|blob| blob.0 != State::Present)?;
                blob.0 = State::Going;
            }
            Step::BlobGone(word) => {
                self.blobs.get(&word).filter(|blob| blob.0 != State::Present)?;
                self.blobs.remove(&word);
            }
            Step::BlobLost(word) => {
                self.blobs.remove(&word);
            }
            Step::DropContent(name, word) => {
                if self.contents.get(&(name, word)).is_some_and(|row| row.hosted) {
                    return None;
                }
                self.contents.remove(&(name, word));
            }
            Step::Used(name, word) => {
                self.contents.entry((name, word)).and_modify(|row| row.used = now);
                self.blobs.entry(word).and_modify(|blob| blob.1 = now);
            }
            Step::MoveTag(name, word) => {
                let moved = match self.tags.get(&name) {
                    Some(row) if row.0 == word => row.2,
                    _ => now,
                };
                self.tags.insert(name, (word, now, moved, None));
            }
            Step::TouchTag(name) => {
                self.tags.entry(name).and_modify(|row| (row.1, row.3) = (now, None));
            }
            Step::TagGone(name) => {
                self.tags.entry(name).and_modify(|row| {
                    (row.1, row.3) = (now, row.3.or(Some(now)));
                });
            }
            Step::RemoveTag(name) => {
                self.tags.remove(&name);
            }
            Step::DropName(name) => {
                if self.contents.iter().any(|(key, row)| key.0 == name && row.hosted) {
                    return None;
                }
                self.contents.retain(|key, _| key.0 != name);
                self.tags.remove(&name);
            }
            Step::PushBlob(name, word, tight) => {
                let before = self.hosted_rows(name < 2);
                self.blobs.insert(word, (State::Present, now));
                self.put_content(name, word, false, true, now);
                let rows = self.hosted_rows(name < 2);
                if tight && rows > before && rows * SIZE > TIGHT {
                    return None;
                }
            }
            Step::DeleteBlob(name, word) => {
                self.contents.remove(&(name, word))?;
                if !self.contents.keys().any(|(_, other)| *other == word)
                    && let Some(blob) = self.blobs.get_mut(&word)
                    && blob.0 == State::Present
                {
                    blob.0 = State::Condemned;
                }
            }
            Step::DeleteTag(name) => {
                self.tags.remove(&name)?;
            }
            Step::Adopt(name, word) => {
                let blob = self.blobs.get_mut(&word).filter(|blob| blob.0 != State::Going)?;
                let row = self.contents.get_mut(&(name, word))?;
                blob.0 = State::Present;
                if !row.hosted {
                    (row.hosted, row.used) = (true, row.used.max(now));
                }
            }
            Step::Disown(name, word) => {
                self.contents.entry((name, word)).and_modify(|row| row.hosted = false);
            }
        }
        Some(())
    }
}

fn fill(batch: &mut Batch, step: Step, now: i64) {
    let tag = tag("t");
    let (n, d) = (|index: usize| name(NAMES[index]), |index: usize| digest(WORDS[index]));
    match step {
        Step::PutBlob(word) => batch.put_blob(&d(word), 10, false, at(now)),
        Step::PutContent(name, word, private) => {
            let private_to = private.then(|| "scope".to_owned());
            batch.put_content(&n(name), &d(word), Content { private_to, ..blob(now) });
        }
        Step::Condemn(word) => batch.condemn(&d(word), at(now)),
        Step::Uncondemn(word) => batch.uncondemn(&d(word)),
        Step::BeginRemoval(word) => batch.begin_removal(&d(word)),
        Step::BlobGone(word) => batch.blob_gone(&d(word)),
        Step::BlobLost(word) => batch.blob_lost(&d(word)),
        Step::DropContent(name, word) => batch.drop_content(&n(name), &d(word)),
        Step::Used(name, word) => batch.used(&[(n(name), d(word))], at(now)),
        Step::MoveTag(name, word) => batch.move_tag(&n(name), &tag, &d(word), at(now)),
        Step::TouchTag(name) => batch.touch_tag(&n(name), &tag, at(now)),
        Step::TagGone(name) => batch.tag_gone(&n(name), &tag, at(now)),
        Step::RemoveTag(name) => batch.remove_tag(&n(name), &tag),
        Step::DropName(name) => batch.drop_name(&n(name)),
        Step::PushBlob(name, word, tight) => batch.push_blob(&PushedBlob {
            name: n(name),
            digest: d(word),
            size_bytes: SIZE,
            media_type: None,
            quota_bytes: tight.then_some(TIGHT),
            at: at(now),
        }),
        Step::DeleteBlob(name, word) => batch.delete_blob(&n(name), &d(word), at(now)),
        Step::DeleteTag(name) => batch.delete_tag(&n(name), &tag),
        Step::Adopt(name, word) => batch.adopt(&n(name), &d(word), at(now)),
        Step::Disown(name, word) => batch.disown(&n(name), &d(word)),
    }
}

fn compare(catalog: &Catalog, model: &Model) {
    for (index, text) in NAMES.iter().enumerate() {
        let row = catalog
            .tag(&name(text), &tag("t"))
            .unwrap()
            .map(|row| (row.digest, row.checked_at, row.moved_at, row.gone_since));
        let expected = model.tags.get(&index).map(|(word, checked, moved, gone)| {
            (digest(WORDS[*word]), at(*checked), at(*moved), gone.map(at))
        });
        assert_eq!(row, expected, "tag of {text}");
        for (word, text_of_word) in WORDS.iter().enumerate() {
            let row = catalog.content(&name(text), &digest(text_of_word)).unwrap().map(|row| {
                let condemned = row.condemned_at.is_some();
                (row.private_to.is_some(), row.last_used, row.present, condemned, row.is_hosted)
            });
            let state = model.blobs.get(&word).map(|blob| blob.0);
            let expected = model.contents.get(&(index, word)).map(|row| {
                let present = matches!(state, Some(State::Present | State::Condemned));
                let condemned = matches!(state, Some(State::Condemned | State::Going));
                (row.private, at(row.used), present, condemned, row.hosted)
            });
            assert_eq!(row, expected, "content {text} {text_of_word}");
        }
    }
    let kept = |word: &usize| model.blobs.get(word).is_some_and(|b| b.0 == State::Present);
    let victims: Vec<_> = catalog.victims(None, 100).unwrap();
    let mut expected: Vec<_> = (0..WORDS.len())
        .filter(|word| kept(word) && !model.is_held(*word))
        .map(|word| (at(model.blobs[&word].1), digest(WORDS[word])))
        .collect();
    expected.sort_by_key(|(used, digest)| (*used, digest.to_string()));
    let seen: Vec<_> = victims.iter().map(|v| (v.last_used, v.digest)).collect();
    assert_eq!(seen, expected);
    let condemned: BTreeSet<_> = catalog.condemned(at(1 << 20), 100).unwrap().into_iter().collect();
    let expected: BTreeSet<_> = (0..WORDS.len())
        .filter(|word| model.blobs.get(word).is_some_and(|b| b.0 != State::Present))
        .map(|word| digest(WORDS[word]))
        .collect();
    assert_eq!(condemned, expected);
    let of_r = catalog.victims_of("r", None, 100).unwrap();
    let of_first = model.contents.iter().filter(|((name, word), _)| *name < 2 && kept(word));
    let expected = of_first.filter(|(_, row)| !row.hosted).count();
    assert_eq!(of_r.len(), expected);
    for row in of_r {
        let holders = catalog.holders(&row.digest, 9).unwrap().len() as u64;
        assert_eq!(row.others, holders - 1);
    }
}

/// What only hosted content has: sums, holds, losses; and the rows of names.
fn compare_hosted(catalog: &Catalog, model: &Model) {
    for (repository, is_first) in [("r", true), ("s", false)] {
        let rows = model.hosted_rows(is_first);
        let expected = HostedUse { rows, bytes: rows * SIZE };
        assert_eq!(catalog.hosted_use(repository).unwrap(), expected, "{repository}");
    }
    let held = |word: usize| {
        let rows = catalog.blob_rows(None, 100).unwrap();
        rows.into_iter().find(|row| row.digest == digest(WORDS[word])).map(|row| row.is_held)
    };
    let is_lost = |word: usize| {
        !matches!(model.blobs.get(&word), Some((State::Present | State::Condemned, _)))
    };
    for (word, text) in WORDS.iter().enumerate() {
        let expected = model.blobs.contains_key(&word).then(|| model.is_held(word));
        assert_eq!(held(word), expected, "{text}");
        let rows = model.contents.iter().filter(|((_, of), row)| *of == word && row.hosted);
        let holders: Vec<_> = rows.map(|((name_of, _), _)| name(NAMES[*name_of])).collect();
        assert_eq!(catalog.hosted_holders(&digest(text), 9).unwrap(), holders);
    }
    let lost: BTreeSet<_> = catalog.lost(None, 100).unwrap().into_iter().collect();
    let rows = model.contents.iter().filter(|((_, word), row)| row.hosted && is_lost(*word));
    let expected = rows.map(|((of, word), _)| (name(NAMES[*of]), digest(WORDS[*word])));
    assert_eq!(lost, expected.collect());

    let is_there = |of: &usize| {
        model.tags.contains_key(of) || model.contents.keys().any(|(name, _)| name == of)
    };
    let expected: Vec<_> = (0..NAMES.len()).filter(is_there).map(|of| name(NAMES[of])).collect();
    assert_eq!(catalog.names(None, 100).unwrap(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]
    #[test]
    fn the_catalog_does_what_the_model_does(
        history in proptest::collection::vec(proptest::collection::vec(step(), 1..4), 1..24)
    ) {
        let catalog = Catalog::in_memory().unwrap();
        let mut model = Model::default();
        let mut now = 0;
        for steps in history {
            let mut batch = Batch::new();
            let mut after = model.clone();
            let mut conflict = false;
            for step in steps {
                now += 1;
                fill(&mut batch, step, now);
                conflict = conflict || after.apply(step, now).is_none();
            }
            let outcome = catalog.submit(batch).wait();
            if conflict {
                prop_assert_eq!(outcome, Err(WriteError::Conflict));
            } else {
                prop_assert_eq!(outcome, Ok(()));
                model = after;
            }
            compare(&catalog, &model);
            compare_hosted(&catalog, &model);
        }
    }
}
