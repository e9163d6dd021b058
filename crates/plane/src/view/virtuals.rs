//! A virtual repository: an ordered union of others, and which of them may have a name.

use super::repository::{Wrong, wrong};
use super::rules;
use oci::Name;
use policy::NamePattern;
use regex::Regex;
use resources::Document;
use resources::v1alpha1 as wire;
use std::borrow::Cow;

/// Bytes a compiled rewrite may take.
const REWRITE_MAX_BYTES: usize = 1 << 20;

/// Other repositories, in order.
pub(crate) struct Virtual {
    pub(crate) members: Vec<Member>,
    /// `metadata.name` of the member that takes pushes.
    pub(crate) push_to: Option<String>,
}

/// One of them, and which names it is asked for.
pub(crate) struct Member {
    /// Its `metadata.name`.
    pub(crate) repository: String,
    /// Names below the virtual repository that are asked nowhere else.
    claims: Vec<NamePattern>,
    /// Names below the member that it is asked for; empty: all.
    include: Vec<NamePattern>,
    /// Names below the member that it is never asked for.
    exclude: Vec<NamePattern>,
    rewrite: Option<Rewrite>,
}

/// From a name below the virtual repository to the one below the member.
struct Rewrite {
    from: Regex,
    to: String,
}

impl Member {
    /// Whether the member alone may have this name below the virtual repository.
    pub(crate) fn claims(&self, below: &str) -> bool {
        self.claims.iter().any(|pattern| pattern.matches_text(below))
    }

    /// What a name below the virtual repository is called below the member; `None`: its rewrite
    /// does not speak of it.
    pub(crate) fn rewritten<'n>(&self, below: &'n str) -> Option<Cow<'n, str>> {
        match &self.rewrite {
            Some(rewrite) => rewrite.apply(below).map(Cow::Owned),
            None => Some(Cow::Borrowed(below)),
        }
    }

    /// Whether the member is asked for a name below it.
    pub(crate) fn takes(&self, name: &str) -> bool {
        let fits = |patterns: &[NamePattern]| patterns.iter().any(|it| it.matches_text(name));
        (self.include.is_empty() || fits(&self.include)) && !fits(&self.exclude)
    }
}

impl Rewrite {
    fn apply(&self, below: &str) -> Option<String> {
        let found = self.from.captures(below)?;
        let mut name = String::new();
        found.expand(&self.to, &mut name);
        // What is no name any more, no member has.
        Name::parse(&name).is_ok().then_some(name)
    }
}

/// A group that `to` speaks of and `from` has not: nothing would stand in its place. A name is as long
/// as it can be, or stands in braces; `$$` is a dollar sign (as in `regex::Captures::expand`).
fn missing_group<'t>(from: &Regex, to: &'t str) -> Option<&'t str> {
    let mut rest = to;
    while let Some((_, after)) = rest.split_once('$') {
        rest = match after.strip_prefix('$') {
            Some(rest) => rest,
            None => {
                let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let braced = after.strip_prefix('{').and_then(|it| it.split_once('}'));
                let name = braced.map_or_else(
                    || &after[..after.find(|c| !is_part(c)).unwrap_or(after.len())],
                    |(name, _)| name,
                );
                let is_there = match name.parse::<usize>() {
                    Ok(index) => index < from.captures_len(),
                    Err(_) => from.capture_names().flatten().any(|known| known == name),
                };
                if !is_there {
                    return Some(name);
                }
                after
            }
        };
    }
    None
}

pub(super) fn build(document: &Document, spec: &wire::Virtual) -> Result<Virtual, Wrong> {
    let mut members = Vec::new();
    for (index, member) in spec.members.iter().enumerate() {
        let path = |field: &str| format!("spec.virtual.members[{index}].{field}");
        let rewrite = match &member.rewrite {
            None => None,
            Some(written) => {
                // Anchored: a rewrite speaks of whole names.
                let from = regex::RegexBuilder::new(&format!("^(?:{})$", written.from.as_str()))
                    .size_limit(REWRITE_MAX_BYTES)
                    .build();
                let from = from.map_err(|e| wrong(document, &path("rewrite.from"), e))?;
                if let Some(group) = missing_group(&from, &written.to) {
                    let message = format!(
                        "${group} is no group of `from`; write ${{1}} where a letter, a digit or _ \
                         follows"
                    );
                    return Err(wrong(document, &path("rewrite.to"), message));
                }
                Some(Rewrite { from, to: written.to.clone() })
            }
        };
        members.push(Member {
            repository: member.repository.as_str().to_owned(),
            claims: rules::names(document, &path("claims"), &member.claims)?,
            include: rules::names(document, &path("include"), &member.include)?,
            exclude: rules::names(document, &path("exclude"), &member.exclude)?,
            rewrite,
        });
    }
    let push_to = spec.push_to.as_ref().map(|name| name.as_str().to_owned());
    Ok(Virtual { members, push_to })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewrite_speaks_of_groups_that_are_there() {
        let from = Regex::new("^(?:(?<team>[^/]+)/(.*))$").unwrap();
        for (to, missing) in [
            ("$2", None),
            ("$team/$2", None),
            ("x/${1}y", None),
            ("a$$b", None),
            ("plain", None),
            ("$3", Some("3")),
            ("$1_x", Some("1_x")),
            ("$team$tem", Some("tem")),
            ("$", Some("")),
        ] {
            assert_eq!(missing_group(&from, to), missing, "{to}");
        }
    }
}
