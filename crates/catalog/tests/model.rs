//! Random histories of tags, contents and blobs, held against a model made of maps.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use catalog::{Batch, Catalog, Content, WriteError};
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
        2 => (name.clone(), word).prop_map(|(name, word)| Step::MoveTag(name, word)),
        1 => name.clone().prop_map(Step::TouchTag),
        1 => name.clone().prop_map(Step::TagGone),
        1 => name.clone().prop_map(Step::RemoveTag),
        1 => name.prop_map(Step::DropName),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Present,
    Condemned,
    Going,
}

#[derive(Clone, Debug, Default)]
struct Model {
    /// State and last use.
    blobs: BTreeMap<usize, (State, i64)>,
    /// Whether private, and last use.
    contents: BTreeMap<(usize, usize), (bool, i64)>,
    /// Digest, checked, moved, gone since.
    tags: BTreeMap<usize, (usize, i64, i64, Option<i64>)>,
}

impl Model {
    /// Does what the verb promises; `None` is a conflict.
    fn apply(&mut self, step: Step, now: i64) -> Option<()> {
        match step {
            Step::PutBlob(word) => {
                self.blobs.insert(word, (State::Present, now));
            }
            Step::PutContent(name, word, private) => {
                let was_private = self.contents.get(&(name, word)).is_none_or(|row| row.0);
                self.contents.insert((name, word), (private && was_private, now));
                if let Some((state, used)) = self.blobs.get_mut(&word) {
                    *used = now;
                    if *state == State::Condemned {
                        *state = State::Present;
                    }
                }
            }
            Step::Condemn(word) => {
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
                self.contents.remove(&(name, word));
            }
            Step::Used(name, word) => {
                self.contents.entry((name, word)).and_modify(|row| row.1 = now);
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
                self.contents.retain(|key, _| key.0 != name);
                self.tags.remove(&name);
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
                (row.private_to.is_some(), row.last_used, row.present, condemned)
            });
            let state = model.blobs.get(&word).map(|blob| blob.0);
            let expected = model.contents.get(&(index, word)).map(|(private, used)| {
                let present = matches!(state, Some(State::Present | State::Condemned));
                let condemned = matches!(state, Some(State::Condemned | State::Going));
                (*private, at(*used), present, condemned)
            });
            assert_eq!(row, expected, "content {text} {text_of_word}");
        }
    }
    let kept = |word: &usize| model.blobs.get(word).is_some_and(|b| b.0 == State::Present);
    let victims: Vec<_> = catalog.victims(None, 100).unwrap();
    let mut expected: Vec<_> = (0..WORDS.len())
        .filter(kept)
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
    let expected = model.contents.keys().filter(|(name, word)| *name < 2 && kept(word)).count();
    assert_eq!(of_r.len(), expected);
    for row in of_r {
        let holders = catalog.holders(&row.digest, 9).unwrap().len() as u64;
        assert_eq!(row.others, holders - 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
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
        }
    }
}
