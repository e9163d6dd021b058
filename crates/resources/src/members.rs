//! The members of virtual repositories, judged with all documents at hand.
//!
//! A member that does not exist, or a circle, would only be met by a request. So both are refused
//! when documents are loaded, and a circle is told by the way round it.

use crate::document::Document;
use crate::nearest::nearest;
use crate::set::Set;
use crate::v1alpha1::{RepositorySpec, Virtual};
use crate::{Problem, kind::Kind};
use std::collections::BTreeMap;

/// Virtual repositories within one another: bounds what a single request can be spread over, and
/// the recursion here.
const MAX_LEVELS: usize = 16;

type Repositories<'a> = BTreeMap<&'a str, (&'a Document, &'a RepositorySpec)>;

/// Adds what is wrong with the members of virtual repositories.
pub(crate) fn check(set: &Set, problems: &mut Vec<Problem>) {
    let repositories: Repositories =
        set.repositories().map(|found| (found.0.name(), found)).collect();
    for (document, spec) in repositories.values() {
        if let Some(union) = &spec.r#virtual {
            check_names(document, union, &repositories, problems);
            check_push_to(document, union, &repositories, problems);
        }
    }
    let mut walk = Walk { repositories, levels: BTreeMap::new(), path: Vec::new(), problems };
    let names: Vec<&str> = walk.repositories.keys().copied().collect();
    for name in names {
        walk.levels_of(name);
    }
}

fn problem(document: &Document, path: &str, message: String) -> Problem {
    Problem::new(document.place_of(path).clone(), path, message)
}

fn check_names(
    document: &Document,
    union: &Virtual,
    repositories: &Repositories,
    problems: &mut Vec<Problem>,
) {
    for (index, member) in union.members.iter().enumerate() {
        let name = member.repository.as_str();
        if !repositories.contains_key(name) {
            let near = nearest(name, repositories.keys().copied()).map(str::to_owned);
            let message = format!("no {} is named `{name}`", Kind::Repository);
            let path = format!("spec.virtual.members[{index}].repository");
            problems.push(problem(document, &path, message).with_nearest(near));
        }
    }
}

/// That it is a member was judged with the document alone.
fn check_push_to(
    document: &Document,
    union: &Virtual,
    repositories: &Repositories,
    problems: &mut Vec<Problem>,
) {
    let Some(name) = &union.push_to else { return };
    let Some((_, target)) = repositories.get(name.as_str()) else { return };
    let message = match (&target.remote, &target.r#virtual) {
        (Some(_), _) => format!("`{name}` is remote and takes no pushes; name a hosted member"),
        (_, Some(inner)) if inner.push_to.is_none() => {
            format!("`{name}` is virtual and has no pushTo of its own")
        }
        _ => return,
    };
    problems.push(problem(document, "spec.virtual.pushTo", message));
}

/// Depth first, each repository once.
struct Walk<'a, 'p> {
    repositories: Repositories<'a>,
    /// How many levels of virtual repositories each one has, itself included; of those done.
    levels: BTreeMap<&'a str, usize>,
    /// The way to where we are.
    path: Vec<&'a str>,
    problems: &'p mut Vec<Problem>,
}

impl<'a> Walk<'a, '_> {
    fn levels_of(&mut self, name: &'a str) -> usize {
        if let Some(levels) = self.levels.get(name) {
            return *levels;
        }
        let Some((document, spec)) = self.repositories.get(name).copied() else { return 0 };
        let Some(union) = &spec.r#virtual else { return 0 };
        self.path.push(name);
        let mut levels = 0;
        // Deeper ways than allowed are not followed; that they are too deep is told below.
        let may_go_on = self.path.len() <= MAX_LEVELS;
        for (index, member) in union.members.iter().enumerate() {
            let member = member.repository.as_str();
            match self.path.iter().position(|on_the_way| *on_the_way == member) {
                Some(start) => {
                    let way = [&self.path[start..], &[member]].concat().join(" → ");
                    let path = format!("spec.virtual.members[{index}].repository");
                    let message = format!("the members lead in a circle: {way}");
                    self.problems.push(problem(document, &path, message));
                }
                None if may_go_on => levels = levels.max(self.levels_of(member)),
                None => {}
            }
        }
        self.path.pop();
        levels += 1;
        if !may_go_on || levels > MAX_LEVELS {
            let message = format!(
                "at most {MAX_LEVELS} levels of virtual repositories may stand within one another"
            );
            self.problems.push(problem(document, "spec.virtual", message));
            // Told once is enough for those above.
            levels = 0;
        }
        self.levels.insert(name, levels);
        levels
    }
}
