//! `lockgate cache purge`: forgets, and asks first when it could be much.

use super::{entries, page};
use crate::client::Api;
use crate::command::block_on;
use crate::exit::{Exit, Failure};
use crate::flags::PlaneFlags;
use crate::output::{can_ask, clean, confirm, out, say, size};
use oci::{Digest, Name, Tag};
use plane::{CacheEntry, Purged};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A pattern that matches no more than this is purged without a question.
const UNASKED_MAX: usize = 10;
/// Fewer hex digits name nothing in particular.
const BEGINNING_MIN: usize = 6;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  lockgate cache purge docker.io/library/alpine:3\n  \
        lockgate cache purge --digest sha256:4bcf…\n  \
        lockgate cache purge --pattern 'docker.io/corp/**' --yes\n\n\
        Purging is not refusing: the next request fetches it again.")]
pub(crate) struct Args {
    /// The tag to forget, as `docker.io/library/alpine:3`
    #[arg(conflicts_with_all = ["digest", "pattern"])]
    reference: Option<String>,
    /// A digest to forget under every name; the beginning that `cache ls` shows will do
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
        let mut body = self.target()?;
        block_on(async move {
            let api = Api::find(&self.plane)?;
            if let Some(beginning) = self.digest.as_deref().and_then(beginning_of) {
                body = json!({ "digest": whole(&api, beginning).await? });
            }
            if let Some(pattern) = &self.pattern
                && !self.yes
                && !is_wanted(&api, pattern).await?
            {
                say("nothing was purged");
                return Ok(Exit::No);
            }
            let is_pinned = self.is_tag_pinned(&api).await?;
            let purged: Purged = api.post("cache/purge", Some(&body)).await?;
            out(&told(&purged));
            if is_pinned {
                say("the tag is pinned: the pin stays, and keeps what the next request brings");
            }
            Ok(Exit::Yes)
        })
    }

    /// Whether a pin is for the tag that is forgotten. Of blobs the plane tells it itself.
    async fn is_tag_pinned(&self, api: &Api) -> Result<bool, Failure> {
        let named = self.reference.as_deref().and_then(|reference| reference.rsplit_once(':'));
        let Some((name, tag)) = named else { return Ok(false) };
        let is_it =
            |entry: &CacheEntry| entry.pinned && entry.tags.iter().any(|known| known == tag);
        entries(api, Some(name), is_it).await
    }

    fn target(&self) -> Result<Value, Failure> {
        if let Some(digest) = &self.digest {
            let is_beginning = beginning_of(digest).is_some();
            return Ok(if is_beginning {
                Value::Null
            } else {
                json!({ "digest": digest_of(digest)? })
            });
        }
        if let Some(pattern) = &self.pattern {
            return Ok(json!({ "pattern": pattern }));
        }
        let Some(reference) = self.reference.as_deref() else {
            let hint = "name a tag (docker.io/library/alpine:3), a digest (--digest DIGEST) or \
                        names (--pattern 'docker.io/corp/**')";
            return Err(Failure::usage("there is nothing to purge").hint(hint));
        };
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

/// What went, and what holds the rest.
fn told(purged: &Purged) -> String {
    let Purged { tags, contents, blobs, bytes, pinned, in_use, shared, hosted } = *purged;
    let size = size(bytes);
    let mut text =
        format!("forgot {tags} tags and {contents} contents; removed {blobs} blobs, {size}\n");
    let kept = [
        (pinned, "pinned (lockgate cache pins)"),
        (in_use, "being read or downloaded now; purge again later"),
        (shared, "held by other names"),
    ];
    for (count, why) in kept.iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!("kept {count} blobs: {why}\n"));
    }
    if hosted > 0 {
        text.push_str(&format!(
            "kept {hosted} contents: hosted, nobody could fetch them again; delete them as clients do\n"
        ));
    }
    text
}

fn digest_of(text: &str) -> Result<Digest, Failure> {
    let hint = "`lockgate cache ls` shows their beginnings, with --json whole";
    Digest::parse(text).map_err(|error| Failure::usage("--digest").because(&error).hint(hint))
}

/// The hex digits of a text that is the beginning of a digest, and no whole one.
fn beginning_of(text: &str) -> Option<&str> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let is_hex = hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (is_hex && (BEGINNING_MIN..64).contains(&hex.len())).then_some(hex)
}

/// The one digest in the cache that begins so.
async fn whole(api: &Api, beginning: &str) -> Result<Digest, Failure> {
    let mut found = BTreeSet::new();
    entries(api, None, |entry| {
        if entry.digest.hex().starts_with(beginning) {
            found.insert(entry.digest);
        }
        found.len() > 1
    })
    .await?;
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(digest), None) => Ok(digest),
        (Some(_), Some(_)) => {
            let hint = "write more of it; `lockgate cache ls --json` shows whole digests";
            Err(Failure::no(format!("several digests begin with {beginning}")).hint(hint))
        }
        (None, _) => {
            Err(Failure::no(format!("the cache holds no digest that begins with {beginning}")))
        }
    }
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
    fn what_stays_is_told_with_the_reason() {
        let purged = Purged { contents: 1, pinned: 2, ..Purged::default() };
        let text = told(&purged);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("removed 0 blobs") && text.contains("kept 2 blobs: pinned"));
    }

    #[test]
    fn what_is_purged_is_named_as_people_name_it() {
        let tag = target("docker.io/library/alpine:3").unwrap();
        assert_eq!(tag, json!({ "tag": { "name": "docker.io/library/alpine", "tag": "3" } }));
        for wrong in ["docker.io/library/alpine", "a/B:1", "a/b:", ":1", "a/b@sha256:00"] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
        for (text, beginning) in [
            ("4bcff63911fc", Some("4bcff63911fc")),
            ("sha256:4bcff63911fc", Some("4bcff63911fc")),
            ("4bcf", None),
            ("4BCFF63911FC", None),
            ("nothing", None),
        ] {
            assert_eq!(beginning_of(text), beginning, "{text}");
        }
    }
}
