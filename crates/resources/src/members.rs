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

/// Remote and hosted repositories that a virtual one leads to, by every way: each may be asked by one
/// request.
const MAX_LEAVES: usize = 64;

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
    let mut walk = Walk { repositories, sizes: BTreeMap::new(), path: Vec::new(), problems };
    let names: Vec<&str> = walk.repositories.keys().copied().collect();
    for name in names {
        walk.size_of(name);
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

/// What is below a repository.
#[derive(Clone, Copy)]
struct Size {
    /// Virtual repositories within one another, itself included.
    levels: usize,
    /// Remote and hosted ones it leads to, by every way.
    leaves: usize,
}

impl Size {
    const LEAF: Self = Self { levels: 0, leaves: 1 };
    /// Of what cannot be followed, or is told already.
    const NONE: Self = Self { levels: 0, leaves: 0 };
}

/// Depth first, each repository once.
struct Walk<'a, 'p> {
    repositories: Repositories<'a>,
    /// Of those done.
    sizes: BTreeMap<&'a str, Size>,
    /// The way to where we are.
    path: Vec<&'a str>,
    problems: &'p mut Vec<Problem>,
}

impl<'a> Walk<'a, '_> {
    fn size_of(&mut self, name: &'a str) -> Size {
        if let Some(size) = self.sizes.get(name) {
            return *size;
        }
        let Some((document, spec)) = self.repositories.get(name).copied() else {
            return Size::NONE;
        };
        let Some(union) = &spec.r#virtual else { return Size::LEAF };
        self.path.push(name);
        // Deeper ways than allowed are not followed; that they are too deep is told below.
        let may_go_on = self.path.len() <= MAX_LEVELS;
        let mut size = Size::NONE;
        for (index, member) in union.members.iter().enumerate() {
            let member = member.repository.as_str();
            match self.path.iter().position(|on_the_way| *on_the_way == member) {
                Some(start) => {
                    let way = [&self.path[start..], &[member]].concat().join(" → ");
                    let path = format!("spec.virtual.members[{index}].repository");
                    let message = format!("the members lead in a circle: {way}");
                    self.problems.push(problem(document, &path, message));
                }
                None if may_go_on => {
                    let below = self.size_of(member);
                    size.levels = size.levels.max(below.levels);
                    size.leaves = size.leaves.saturating_add(below.leaves);
                }
                None => {}
            }
        }
        self.path.pop();
        size.levels += 1;
        let message = if !may_go_on || size.levels > MAX_LEVELS {
            Some(format!(
                "at most {MAX_LEVELS} levels of virtual repositories may stand within one another"
            ))
        } else if size.leaves > MAX_LEAVES {
            Some(format!(
                "it leads to {} remote and hosted repositories, those of virtual members counted; \
                 at most {MAX_LEAVES} may be asked for one name",
                size.leaves
            ))
        } else {
            None
        };
        if let Some(message) = message {
            self.problems.push(problem(document, "spec.virtual", message));
            // Told once is enough for those above.
            size = Size::NONE;
        }
        self.sizes.insert(name, size);
        size
    }
}
