//! Dependency confusion: a virtual repository in which a public upstream is asked for names that are
//! only meant to be hosted here.

use super::finding::Report;
use resources::Set;
use resources::v1alpha1::RepositorySpec;
use std::collections::BTreeMap;

/// Virtual repositories within one another; more are refused when documents are loaded.
const DEPTH_MAX: usize = 16;

type Specs<'s> = BTreeMap<&'s str, &'s RepositorySpec>;

/// Warns of virtual repositories that have a hosted member, a remote one that is asked for anything,
/// and no claim.
pub(super) fn look(set: &Set, report: &mut Report) {
    let specs: Specs = set.repositories().map(|found| (found.0.name(), found.1)).collect();
    for name in specs.keys() {
        if specs[name].r#virtual.is_none() {
            continue;
        }
        let mut below = Below::default();
        below.add(&specs, name, true, DEPTH_MAX);
        if let (Some(hosted), Some(remote), false) = (below.hosted, below.remote, below.has_claims)
        {
            let text = format!(
                "in the virtual Repository {name}, a name that the hosted {hosted} does not have is \
                 asked of the remote {remote}"
            );
            let remedy = "name what you build yourself in `claims` of the hosted member, or what the \
                          remote one is for in its `include`";
            report.warning("claims", text, remedy);
        }
    }
}

/// What a repository leads to.
#[derive(Default)]
struct Below<'s> {
    hosted: Option<&'s str>,
    /// The first that is asked for any name.
    remote: Option<&'s str>,
    has_claims: bool,
}

impl<'s> Below<'s> {
    fn add(&mut self, specs: &Specs<'s>, name: &'s str, is_open: bool, depth: usize) {
        let Some(spec) = specs.get(name).filter(|_| depth > 0) else { return };
        if spec.hosted.is_some() {
            self.hosted = self.hosted.or(Some(name));
        }
        if spec.remote.is_some() && is_open {
            self.remote = self.remote.or(Some(name));
        }
        for member in spec.r#virtual.iter().flat_map(|union| &union.members) {
            self.has_claims |= !member.claims.is_empty();
            let is_open = is_open && member.include.is_empty() && member.rewrite.is_none();
            self.add(specs, member.repository.as_str(), is_open, depth - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::doctor::finding::State;

    fn states(members: &str) -> Vec<State> {
        let head = "apiVersion: lockgate.dev/v1alpha1\nkind: Repository\n";
        let text = format!(
            "{head}metadata: {{ name: team }}\nspec: {{ hosted: {{}} }}\n---\n{head}metadata: {{ name: \
             inner }}\nspec: {{ virtual: {{ members: [{{ repository: quay.io }}] }} }}\n---\n{head}\
             metadata: {{ name: all }}\nspec: {{ virtual: {{ members: [{members}] }} }}\n"
        );
        let set = resources::read_text("test.yaml", &text).unwrap();
        let set = resources::overlay(&resources::builtin(), &set).unwrap();
        let mut report = Report::default();
        look(&set, &mut report);
        report.states()
    }

    #[test]
    fn a_public_upstream_that_may_be_asked_for_private_names_is_told() {
        let warned = [State::Warning];
        assert_eq!(states("{ repository: team }, { repository: docker.io }"), warned);
        assert_eq!(states("{ repository: inner }, { repository: team }"), warned);
        assert_eq!(states("{ repository: team }"), []);
        assert_eq!(states("{ repository: docker.io }, { repository: inner }"), []);
        let claimed = "{ repository: team, claims: [\"mycorp/**\"] }, { repository: docker.io }";
        assert_eq!(states(claimed), []);
        let bounded = "{ repository: team }, { repository: docker.io, include: [\"library/**\"] }";
        assert_eq!(states(bounded), []);
    }
}
