//! `lockgate cache`: what is kept, how much of it, and what shall stay or go.

mod purge;
mod verify;

use crate::client::Api;
use crate::command::block_on;
use crate::exit::{Exit, Failure};
use crate::flags::PlaneFlags;
use crate::output::{clean, out, relative, say, size};
use clap::Subcommand;
use jiff::Timestamp;
use plane::{CacheEntry, CachePage, CacheStats, PinView, RepositoryUsage};
use serde::Deserialize;
use serde_json::json;
use std::fmt::Write;

/// Entries asked for at a time.
const PAGE: &str = "1000";

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Lists what the cache holds, by name and digest
    #[command(after_help = "Examples:\n  lockgate cache ls --repository docker.io\n  \
            lockgate cache ls --pattern 'docker.io/library/**'\n  \
            lockgate cache ls --json | jq -r 'select(.pinned).name'\n\n\
            Digests are shown by their beginning, which `cache purge --digest` takes; --json has them whole.")]
    Ls {
        /// Only names of this Repository (its metadata.name)
        #[arg(long, value_name = "NAME")]
        repository: Option<String>,
        /// Only names that match: `*` within a segment, `**` across segments
        #[arg(long, value_name = "PATTERN")]
        pattern: Option<String>,
        /// One JSON object per line instead of a table
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        plane: PlaneFlags,
    },
    /// Counts what the cache holds, in all and by repository
    #[command(
        after_help = "Examples:\n  lockgate cache stats\n  lockgate cache stats --json | jq .bytes"
    )]
    Stats {
        /// JSON instead of text
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        plane: PlaneFlags,
    },
    /// Keeps eviction away from an image and all it consists of
    #[command(after_help = "Example:\n  lockgate cache pin docker.io/library/postgres:17\n\n\
            A pinned tag is kept wherever it moves. Pins by pattern stand in Repository.spec.pins.")]
    Pin {
        /// The image, as clients write it behind the plane's address
        reference: String,
        #[command(flatten)]
        plane: PlaneFlags,
    },
    /// Takes a pin back
    #[command(after_help = "Example:\n  lockgate cache unpin docker.io/library/postgres:17")]
    Unpin {
        /// The image, as it was pinned
        reference: String,
        #[command(flatten)]
        plane: PlaneFlags,
    },
    /// Lists pins: set by command, and written in resources
    #[command(after_help = "Example:\n  lockgate cache pins")]
    Pins {
        /// One JSON object per line instead of a table
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        plane: PlaneFlags,
    },
    /// Forgets a tag, a digest or names, so that the next request asks the upstream again
    Purge(purge::Args),
    /// Reads what the store has, holds it against its digests, and removes what is damaged
    Verify(verify::Args),
}

impl Command {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Ls { repository, pattern, json, plane } => {
                block_on(list(plane, repository, pattern, json))
            }
            Self::Stats { json, plane } => block_on(stats(plane, json)),
            Self::Pin { reference, plane } => block_on(async move {
                let body = json!({ "reference": reference });
                let api = Api::find(&plane)?;
                let pin: PinView = api.post("pins", Some(&body)).await?;
                let hint = if is_held(&api, &pin).await? {
                    ""
                } else {
                    "; nothing is held yet: it is kept once it is pulled or prefetched"
                };
                say(&format!("pinned {}{hint}", pinned(&pin)));
                Ok(Exit::Yes)
            }),
            Self::Unpin { reference, plane } => block_on(async move {
                Api::find(&plane)?.delete("pins", &[("reference", &reference)]).await?;
                say(&format!("{} is no longer pinned", clean(&reference)));
                Ok(Exit::Yes)
            }),
            Self::Pins { json, plane } => block_on(pins(plane, json)),
            Self::Purge(args) => args.run(),
            Self::Verify(args) => args.run(),
        }
    }
}

/// Asks for one page. An empty filter is none.
async fn page(
    api: &Api,
    repository: Option<&str>,
    pattern: Option<&str>,
    after: Option<&str>,
) -> Result<CachePage, Failure> {
    let all = [("repository", repository), ("pattern", pattern), ("continue", after)];
    let mut query = vec![("limit", PAGE)];
    query.extend(all.into_iter().filter_map(|(name, value)| Some((name, value?))));
    api.get("cache", &query).await
}

/// Goes through entries, page by page, until `is_enough`.
async fn entries(
    api: &Api,
    pattern: Option<&str>,
    mut is_enough: impl FnMut(&CacheEntry) -> bool,
) -> Result<bool, Failure> {
    let mut after: Option<String> = None;
    loop {
        let page = page(api, None, pattern, after.as_deref()).await?;
        if page.items.iter().any(&mut is_enough) {
            return Ok(true);
        }
        // A page that goes nowhere would be asked for ever.
        if page.continue_after.is_none() || page.continue_after == after {
            return Ok(false);
        }
        after = page.continue_after;
    }
}

/// Whether the cache holds what a pin is for.
async fn is_held(api: &Api, pin: &PinView) -> Result<bool, Failure> {
    let is_it = |entry: &CacheEntry| {
        let reference = pin.reference.as_deref().unwrap_or_default();
        let is_named =
            entry.tags.iter().any(|tag| tag == reference) || entry.digest.to_string() == reference;
        is_named && entry.present
    };
    entries(api, Some(&pin.name), is_it).await
}

async fn list(
    flags: PlaneFlags,
    repository: Option<String>,
    pattern: Option<String>,
    json: bool,
) -> Result<Exit, Failure> {
    let api = Api::find(&flags)?;
    let now = Timestamp::now();
    let mut after: Option<String> = None;
    let mut is_first = true;
    loop {
        let page = page(&api, repository.as_deref(), pattern.as_deref(), after.as_deref()).await?;
        if is_first && page.items.is_empty() {
            say("the cache holds nothing of that kind");
        } else if is_first && !json {
            out(&format!(
                "{:8} {:>10} {:>9} {:9} {:12} NAME\n",
                "KIND", "SIZE", "USED", "", "DIGEST"
            ));
        }
        for entry in &page.items {
            out(&if json { format!("{}\n", json!(entry)) } else { row(entry, now) });
        }
        is_first = false;
        // A page that goes nowhere would be asked for ever.
        if page.continue_after.is_none() || page.continue_after == after {
            return Ok(Exit::Yes);
        }
        after = page.continue_after;
    }
}

fn row(entry: &CacheEntry, now: Timestamp) -> String {
    let size = entry.size_bytes.map_or_else(|| "?".to_owned(), size);
    let used = entry.last_used.map_or_else(|| "never".to_owned(), |time| relative(time, now));
    let mark = match (entry.present, entry.pinned) {
        (false, _) => "not here",
        (true, true) => "pinned",
        (true, false) => "",
    };
    let digest: String = entry.digest.hex().chars().take(12).collect();
    let mut line =
        format!("{:8} {size:>10} {used:>9} {mark:9} {digest} {}", entry.kind, entry.name);
    if !entry.tags.is_empty() {
        line.push(':');
        line.push_str(&entry.tags.join(","));
    }
    if let Some(scope) = &entry.private_to {
        // Writing to a String cannot fail.
        let _ = write!(line, "  (private to credential {scope})");
    }
    format!("{}\n", clean(&line))
}

async fn stats(flags: PlaneFlags, json: bool) -> Result<Exit, Failure> {
    let stats: CacheStats = Api::find(&flags)?.get("cache/stats", &[]).await?;
    out(&if json { format!("{}\n", json!(stats)) } else { counted(&stats) });
    Ok(Exit::Yes)
}

fn counted(stats: &CacheStats) -> String {
    let mut text = format!("{:>10}  in {} blobs and manifests", size(stats.bytes), stats.blobs);
    if let Some(max) = stats.max_bytes {
        text.push_str(&format!(", of at most {}", size(max)));
    }
    text.push_str(&format!(
        "\n{:>10}  in {} downloads that wait to be resumed\n",
        size(stats.parts_bytes),
        stats.parts
    ));
    if let Some(disk) = stats.disk {
        let (free, total) = (size(disk.free_bytes), size(disk.total_bytes));
        text.push_str(&format!("{free:>10}  free on the disk of {total}"));
        if disk.total_inodes > 0 {
            let percent = u128::from(disk.free_inodes) * 100 / u128::from(disk.total_inodes);
            text.push_str(&format!(", {percent} % of its inodes"));
        }
        text.push('\n');
    }
    if !stats.repositories.is_empty() {
        text.push_str("\nBy repository; what several hold counts for each:\n");
    }
    for usage in &stats.repositories {
        let share = usage.share_bytes.map(|share| format!(", of at most {}", size(share)));
        let share = share.unwrap_or_default();
        let name = clean(&usage.repository);
        text.push_str(&format!(
            "{:>10}  {name} ({} items{share}{})\n",
            size(usage.bytes),
            usage.blobs,
            hosted(usage)
        ));
    }
    text
}

/// What of it was pushed, and how full that makes it.
fn hosted(usage: &RepositoryUsage) -> String {
    match (usage.hosted_blobs, usage.quota_bytes) {
        (0, None) => String::new(),
        (blobs, quota) => {
            let of = quota.map(|quota| format!(" of the {} of its quota", size(quota)));
            format!("; {blobs} hosted, {}{}", size(usage.hosted_bytes), of.unwrap_or_default())
        }
    }
}

#[derive(Deserialize)]
struct Pins {
    items: Vec<PinView>,
}

async fn pins(flags: PlaneFlags, json: bool) -> Result<Exit, Failure> {
    let pins: Pins = Api::find(&flags)?.get("pins", &[]).await?;
    for pin in &pins.items {
        let origin = match (&pin.repository, pin.since) {
            (Some(repository), _) => format!("by Repository {repository}"),
            (None, Some(since)) => format!("since {since:.0}"),
            (None, None) => String::new(),
        };
        let line = format!("{}  {origin}", pinned(pin));
        out(&if json { format!("{}\n", json!(pin)) } else { format!("{}\n", clean(&line)) });
    }
    if pins.items.is_empty() {
        say("nothing is pinned");
    }
    Ok(Exit::Yes)
}

fn pinned(pin: &PinView) -> String {
    match &pin.reference {
        Some(digest) if digest.contains(':') => clean(&format!("{}@{digest}", pin.name)),
        Some(tag) => clean(&format!("{}:{tag}", pin.name)),
        None => clean(&pin.name),
    }
}
