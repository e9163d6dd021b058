//! `Waiver` and `Block` documents: what outranks rules.

use super::access;
use oci::Digest;
use policy::{Block, NamePattern, TagPattern, Waiver};
use resources::v1alpha1::{BlockSpec, WaiverSpec};
use resources::{DigestText, Document, Glob, Problem, Set, WireTime};

/// All waivers, those that have expired too: whoever lists them wants to see those.
pub(super) fn waivers(set: &Set, problems: &mut Vec<Problem>) -> Vec<Waiver> {
    let convert = |(document, spec)| waiver(document, spec).map_err(|why| told(document, why));
    let all = set.waivers().map(convert);
    kept(all, problems)
}

/// All blocks.
pub(super) fn blocks(set: &Set, problems: &mut Vec<Problem>) -> Vec<Block> {
    let convert = |(document, spec)| block(document, spec).map_err(|why| told(document, why));
    let all = set.blocks().map(convert);
    kept(all, problems)
}

fn kept<T>(all: impl Iterator<Item = Result<T, Problem>>, problems: &mut Vec<Problem>) -> Vec<T> {
    all.filter_map(|one| one.map_err(|problem| problems.push(problem)).ok()).collect()
}

fn told(document: &Document, why: String) -> Problem {
    Problem::new(document.place_of("spec").clone(), "spec", why)
}

fn waiver(document: &Document, spec: &WaiverSpec) -> Result<Waiver, String> {
    let scope = &spec.scope;
    Ok(Waiver {
        name: document.name().into(),
        digests: digests(&scope.digests)?,
        repositories: names(&scope.repositories)?,
        rules: access::texts(&scope.rules)?,
        vulnerabilities: scope.vulnerabilities.iter().map(|it| it.as_str().into()).collect(),
        environments: access::texts(&scope.environments)?,
        expires: spec.expires.get(),
        reason: spec.reason.as_str().into(),
        requested_by: spec.requested_by.as_str().into(),
        approved_by: spec.approved_by.as_str().into(),
    })
}

fn block(document: &Document, spec: &BlockSpec) -> Result<Block, String> {
    let matches = &spec.r#match;
    let tags = matches.tags.iter().map(|it| TagPattern::parse(it.as_str()));
    Ok(Block {
        name: document.name().into(),
        digests: digests(&matches.digests)?,
        repositories: names(&matches.repositories)?,
        tags: tags.collect::<Result<_, _>>().map_err(|error| error.to_string())?,
        upstreams: access::texts(&matches.upstreams)?,
        first_seen_since: matches.first_seen_since.as_ref().map(WireTime::get),
        reason: spec.reason.as_str().into(),
        owner: spec.owner.as_ref().map(|it| it.as_str().into()),
    })
}

fn digests(texts: &[DigestText]) -> Result<Vec<Digest>, String> {
    let parsed = texts.iter().map(|it| Digest::parse(it.as_str()));
    parsed.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

fn names(globs: &[Glob]) -> Result<Vec<NamePattern>, String> {
    let parsed = globs.iter().map(|it| NamePattern::parse(it.as_str()));
    parsed.collect::<Result<_, _>>().map_err(|error| error.to_string())
}
