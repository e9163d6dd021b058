//! `lockgate cache purge`: forgets, and asks first when it could be much.

use super::page;
use crate::client::Api;
use crate::command::block_on;
use crate::exit::{Exit, Failure};
use crate::flags::PlaneFlags;
use crate::output::{can_ask, clean, confirm, out, say, size};
use oci::{Digest, Name, Tag};
use plane::Purged;
use serde_json::{Value, json};

/// A pattern that matches no more than this is purged without a question.
const UNASKED_MAX: usize = 10;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  lockgate cache purge docker.io/library/alpine:3\n  \
        lockgate cache purge --digest sha256:4bcf…\n  \
        lockgate cache purge --pattern 'docker.io/corp/**' --yes\n\n\
        Purging is not refusing: the next request fetches it again.")]
pub(crate) struct Args {
    /// The tag to forget, as `docker.io/library/alpine:3`
    #[arg(required_unless_present_any = ["digest", "pattern"], conflicts_with_all = ["digest", "pattern"])]
    reference: Option<String>,
    /// A digest to forget under every name
    #[arg(long, conflicts_with = "pattern")]
    digest: Option<String>,
    /// Names to forget: `*` within a segment, `**` across segments
    #[arg(long)]
    pattern: Option<String>,
    /// Does not ask, however much a pattern matches
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    plane: PlaneFlags,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let body = self.target()?;
        block_on(async move {
            let api = Api::find(&self.plane)?;
            if let Some(pattern) = &self.pattern
                && !self.yes
                && !is_wanted(&api, pattern).await?
            {
                say("nothing was purged");
                return Ok(Exit::No);
            }
            let purged: Purged = api.post("cache/purge", Some(&body)).await?;
            out(&format!(
                "forgot {} tags and {} contents; removed {} blobs, {}\n",
                purged.tags,
                purged.contents,
                purged.blobs,
                size(purged.bytes)
            ));
            Ok(Exit::Yes)
        })
    }

    fn target(&self) -> Result<Value, Failure> {
        if let Some(digest) = &self.digest {
            return Ok(json!({ "digest": digest_of(digest)? }));
        }
        if let Some(pattern) = &self.pattern {
            return Ok(json!({ "pattern": pattern }));
        }
        let reference = self.reference.as_deref().unwrap_or_default();
        if let Some((_, digest)) = reference.split_once('@') {
            let hint = format!("a digest is purged under every name: --digest {}", clean(digest));
            return Err(Failure::usage(format!("{} is no tag", clean(reference))).hint(hint));
        }
        let wrong = || {
            let what = format!("{} is not NAME:TAG", clean(reference));
            Failure::usage(what).hint("all tags and content of a name are purged by --pattern NAME")
        };
        let (name, tag) = reference.rsplit_once(':').ok_or_else(wrong)?;
        let name = Name::parse(name).map_err(|error| wrong().because(&error))?;
        let tag = Tag::parse(tag).map_err(|error| wrong().because(&error))?;
        Ok(json!({ "tag": { "name": name.as_str(), "tag": tag.as_str() } }))
    }
}

fn digest_of(text: &str) -> Result<Digest, Failure> {
    Digest::parse(text).map_err(|error| Failure::usage("--digest").because(&error))
}

async fn is_wanted(api: &Api, pattern: &str) -> Result<bool, Failure> {
    let page = page(api, None, Some(pattern), None).await?;
    let count = page.items.len();
    let more = if page.continue_after.is_some() { "more than " } else { "" };
    if count <= UNASKED_MAX && more.is_empty() {
        return Ok(true);
    }
    let question = format!("{} matches {more}{count} entries; purge them?", clean(pattern));
    if !can_ask() {
        return Err(Failure::usage(question).hint("say --yes where nobody can be asked"));
    }
    Ok(confirm(&question))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(reference: &str) -> Result<Value, Failure> {
        let plane = PlaneFlags::default();
        let reference = Some(reference.to_owned());
        Args { reference, digest: None, pattern: None, yes: false, plane }.target()
    }

    #[test]
    fn what_is_purged_is_named_as_people_name_it() {
        let tag = target("docker.io/library/alpine:3").unwrap();
        assert_eq!(tag, json!({ "tag": { "name": "docker.io/library/alpine", "tag": "3" } }));
        for wrong in ["docker.io/library/alpine", "a/B:1", "a/b:", ":1", "a/b@sha256:00"] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
    }
}
