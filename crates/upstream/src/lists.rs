//! Lists: the repositories of a registry, the tags of one, and what refers to a manifest. Every page,
//! in bounds.

use crate::classify;
use crate::endpoint::Endpoint;
use crate::failover::Tour;
use crate::failure::Failure;
use crate::request::{self, Answer, Ask};
use crate::settings::Class;
use crate::upstream::Shared;
use crate::wire;
use bytes::Bytes;
use http::StatusCode;
use http::header::LINK;
use oci::{Descriptor, Digest, Manifest, MediaType, Name, Tag};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// Tags read of one repository at most; a list cut short would be a lie, so more is a failure.
const TAGS_MAX: usize = 100_000;

/// Repositories read of one registry at most.
const NAMES_MAX: usize = 100_000;

/// Referrers read of one manifest at most.
const REFERRERS_MAX: usize = 10_000;

/// Pages read of one list at most.
const PAGES_MAX: usize = 1000;

/// Bytes read of one list at most, all pages together.
const LIST_BYTES_MAX: usize = 32 << 20;

/// What we ask for per page; registries give less if they like.
const PAGE_QUERY: &str = "n=1000";

#[derive(Deserialize)]
struct WireTags {
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct WireNames {
    repositories: Option<Vec<String>>,
}

/// The pages of one list, in order.
struct Pages<'a> {
    shared: &'a Shared,
    endpoint: &'a Endpoint,
    ask: Ask,
    seen: BTreeSet<String>,
    bytes_left: usize,
    deadline: Instant,
    latency: Option<Duration>,
    is_over: bool,
}

impl<'a> Pages<'a> {
    fn new(shared: &'a Shared, endpoint: &'a Endpoint, ask: Ask) -> Self {
        Self {
            shared,
            endpoint,
            ask,
            seen: BTreeSet::new(),
            bytes_left: LIST_BYTES_MAX,
            deadline: Instant::now() + shared.settings.timeouts.stall * 3,
            latency: None,
            is_over: false,
        }
    }

    fn failure(&self, what: &str) -> Failure {
        let text = format!("{}: {}: {what}", self.endpoint.label(), self.ask.label());
        Failure::indeterminate(text).blameless()
    }

    /// The head of the next page; `None` after the last.
    async fn head(&mut self) -> Result<Option<Answer>, Failure> {
        if self.is_over {
            return Ok(None);
        }
        if self.seen.len() >= PAGES_MAX {
            return Err(self.failure(&format!("the list has more than {PAGES_MAX} pages")));
        }
        if Instant::now() >= self.deadline {
            return Err(self.failure("the list is not at its end in time"));
        }
        if !self.seen.insert(self.ask.query.clone().unwrap_or_default()) {
            return Err(self.failure("the pages of the list go in a circle"));
        }
        let answer = request::exchange(self.shared, self.endpoint, &self.ask).await?;
        self.latency.get_or_insert(answer.latency);
        Ok(Some(answer))
    }

    /// The body of a page, and where the next one is.
    async fn body(&mut self, answer: Answer) -> Result<Bytes, Failure> {
        classify::check_untouched(self.endpoint, &self.ask, &answer)?;
        let next = next_query(&answer);
        let stall = self.shared.settings.timeouts.stall;
        let read = wire::read_whole(answer.response, self.bytes_left, stall).await;
        let body = read.map_err(|text| self.failure(&text))?;
        self.bytes_left -= body.len();
        self.shared.metrics.received(body.len() as u64);
        match next {
            Some(query) => self.ask.query = Some(query),
            None => self.is_over = true,
        }
        Ok(body)
    }

    fn latency(&self) -> Duration {
        self.latency.unwrap_or_default()
    }
}

/// The query of the next page (`Link: <…>; rel="next"`, RFC 8288). Only the query is taken: the
/// path is ours, so that a list cannot lead elsewhere.
fn next_query(answer: &Answer) -> Option<String> {
    let link = answer.headers().get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    // A target has no `<`, while commas may stand in it.
    let link = link.flat_map(|text| text.split('<').skip(1)).find(|text| is_next(text))?;
    let target = link.split_once('>')?.0;
    let query = target.split_once('?')?.1.split('#').next()?;
    let is_plain = query.len() <= 4096 && query.bytes().all(|byte| byte.is_ascii_graphic());
    (is_plain && !query.is_empty()).then(|| query.to_owned())
}

fn is_next(link: &str) -> bool {
    let Some((_, parameters)) = link.split_once('>') else { return false };
    parameters.split(';').any(|one| {
        let one = one.trim().trim_end_matches(',').to_ascii_lowercase();
        one == "rel=next" || one == "rel=\"next\""
    })
}

/// All tags of a repository, from the first endpoint that knows.
pub(crate) async fn tags(
    shared: &Shared,
    repository: &str,
    class: Class,
) -> Result<Vec<Tag>, Failure> {
    let ask = Ask::get(repository, "tags/list".to_owned(), class);
    let ask = Ask { query: Some(PAGE_QUERY.to_owned()), accept: "application/json", ..ask };
    let _slot = shared.slot(class).await?;
    let mut tour = Tour::new(shared, &ask, 0);
    loop {
        let visit = tour.next().await?;
        match tags_at(shared, &visit.endpoint, &ask).await {
            Ok((tags, latency)) => {
                tour.found(visit, latency);
                return Ok(tags);
            }
            Err(failure) => tour.failed(visit, failure)?,
        }
    }
}

async fn tags_at(
    shared: &Shared,
    endpoint: &Endpoint,
    ask: &Ask,
) -> Result<(Vec<Tag>, Duration), Failure> {
    let mut pages = Pages::new(shared, endpoint, ask.clone());
    let mut tags = Vec::new();
    while let Some(answer) = pages.head().await? {
        if answer.status() != StatusCode::OK {
            return Err(classify::failure(&shared.settings, endpoint, ask, answer).await);
        }
        let body = pages.body(answer).await?;
        let wire: WireTags = serde_json::from_slice(&body)
            .map_err(|_| pages.failure("what it sends is no list of tags"))?;
        // A tag outside the grammar cannot be asked for, so it is not there for anyone.
        tags.extend(wire.tags.unwrap_or_default().iter().filter_map(|tag| Tag::parse(tag).ok()));
        if tags.len() > TAGS_MAX {
            return Err(pages.failure(&format!("there are more than {TAGS_MAX} tags")));
        }
    }
    Ok((tags, pages.latency()))
}

/// All repositories of the registry, from the first endpoint that knows.
pub(crate) async fn names(shared: &Shared, class: Class) -> Result<Vec<Name>, Failure> {
    let ask = Ask::of_registry("_catalog", class);
    let ask = Ask { query: Some(PAGE_QUERY.to_owned()), accept: "application/json", ..ask };
    let _slot = shared.slot(class).await?;
    let mut tour = Tour::new(shared, &ask, 0);
    loop {
        let visit = tour.next().await?;
        match names_at(shared, &visit.endpoint, &ask).await {
            Ok((names, latency)) => {
                tour.found(visit, latency);
                return Ok(names);
            }
            Err(failure) => tour.failed(visit, failure)?,
        }
    }
}

async fn names_at(
    shared: &Shared,
    endpoint: &Endpoint,
    ask: &Ask,
) -> Result<(Vec<Name>, Duration), Failure> {
    let mut pages = Pages::new(shared, endpoint, ask.clone());
    let mut names = Vec::new();
    while let Some(answer) = pages.head().await? {
        if answer.status() != StatusCode::OK {
            return Err(classify::failure(&shared.settings, endpoint, ask, answer).await);
        }
        let body = pages.body(answer).await?;
        let wire: WireNames = serde_json::from_slice(&body)
            .map_err(|_| pages.failure("what it sends is no list of repositories"))?;
        let texts = wire.repositories.unwrap_or_default();
        names.extend(texts.iter().filter_map(|text| Name::parse(text).ok()));
        if names.len() > NAMES_MAX {
            return Err(pages.failure(&format!("there are more than {NAMES_MAX} repositories")));
        }
    }
    Ok((names, pages.latency()))
}

/// Everything that refers to `subject`, from the first endpoint that knows.
pub(crate) async fn referrers(
    shared: &Shared,
    repository: &str,
    subject: &Digest,
    class: Class,
) -> Result<Vec<Descriptor>, Failure> {
    let ask = Ask::get(repository, format!("referrers/{subject}"), class);
    let accept = "application/vnd.oci.image.index.v1+json";
    let ask = Ask { accept, is_optional: true, ..ask };
    let _slot = shared.slot(class).await?;
    let mut tour = Tour::new(shared, &ask, 0);
    loop {
        let visit = tour.next().await?;
        match referrers_at(shared, &visit.endpoint, &ask).await {
            Ok((referrers, latency)) => {
                tour.found(visit, latency);
                return Ok(referrers);
            }
            Err(failure) => tour.failed(visit, failure)?,
        }
    }
}

async fn referrers_at(
    shared: &Shared,
    endpoint: &Endpoint,
    ask: &Ask,
) -> Result<(Vec<Descriptor>, Duration), Failure> {
    let mut pages = Pages::new(shared, endpoint, ask.clone());
    let mut referrers = Vec::new();
    while let Some(answer) = pages.head().await? {
        let status = answer.status();
        if classify::is_unsupported(status) || status.is_redirection() {
            return Ok((Vec::new(), pages.latency()));
        }
        if status != StatusCode::OK {
            return Err(classify::failure(&shared.settings, endpoint, ask, answer).await);
        }
        let body = pages.body(answer).await?;
        let page = Manifest::parse(&body, Some(&MediaType::OCI_INDEX))
            .map_err(|_| pages.failure("what it sends is no list of referrers"))?;
        referrers.extend(page.manifests);
        if referrers.len() > REFERRERS_MAX {
            return Err(pages.failure(&format!("there are more than {REFERRERS_MAX} referrers")));
        }
    }
    Ok((referrers, pages.latency()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_next_link_in_the_forms_there_are() {
        for text in [
            "/v2/a/tags/list?last=b&n=2>; rel=\"next\"",
            "https://r/v2/a/tags/list?last=b>;rel=next",
            "/x?y>; title=\"t\"; REL=\"NEXT\"",
        ] {
            assert!(is_next(text), "{text}");
        }
        for text in ["", "/x>; rel=\"prev\"", "rel=\"next\"", "/x?rel=next>"] {
            assert!(!is_next(text), "{text}");
        }
    }
}
