//! `lockgate revision`: what was in force, how it differs, and the way back.

mod diff;
mod source;

use crate::client::Api;
use crate::command::block_on;
use crate::exit::{Exit, Failure};
use crate::flags::PlaneFlags;
use crate::output::{self, GREEN};
use clap::Subcommand;
use jiff::Timestamp;
use oci::Digest;
use plane::RevisionView;
use serde_json::json;
use source::Source;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Lists sets of resources that were in force, the last one first
    #[command(after_help = "Examples:\n  lockgate revision list\n  lockgate revision list --json")]
    List {
        /// One JSON object per line instead of a table
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        plane: PlaneFlags,
    },
    /// Compares two sets of resources; exit status 1 when they differ
    #[command(
        after_help = "Examples:\n  lockgate revision diff 3f9ac1                what changed since 3f9ac1\n  \
            lockgate revision diff 3f9ac1 77b0d2         from one to the other"
    )]
    Diff {
        /// The older revision: its digest, or at least 6 hex digits of it
        old: String,
        /// The newer revision [default: the one in force]
        new: Option<String>,
        #[command(flatten)]
        plane: PlaneFlags,
    },
    /// Prints the documents of a set as YAML
    #[command(after_help = "Example:\n  lockgate revision show 3f9ac1 > resources/all.yaml")]
    Show {
        /// The revision: its digest, or at least 6 hex digits of it
        revision: String,
        #[command(flatten)]
        plane: PlaneFlags,
    },
    /// Puts a former set in force again, until the files say something new
    #[command(after_help = "Example:\n  lockgate revision rollback 3f9ac1\n\n\
            Then repair the files: the next change of them, and the next start, read them again.")]
    Rollback {
        /// The revision: its digest, or at least 6 hex digits of it
        revision: String,
        #[command(flatten)]
        plane: PlaneFlags,
    },
}

impl Command {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::List { json, plane } => block_on(list(plane, json)),
            Self::Diff { old, new, plane } => block_on(compare(plane, old, new)),
            Self::Show { revision, plane } => block_on(async move {
                let text = Source::find(&plane).await?.text(&revision).await?;
                output::out(&text);
                Ok(Exit::Yes)
            }),
            Self::Rollback { revision, plane } => block_on(rollback(plane, revision)),
        }
    }
}

async fn list(flags: PlaneFlags, json: bool) -> Result<Exit, Failure> {
    let revisions = Source::find(&flags).await?.revisions().await?;
    let now = Timestamp::now();
    for revision in &revisions {
        if json {
            output::out(&format!("{}\n", json!(revision)));
        } else {
            output::out(&line(revision, now));
        }
    }
    if revisions.is_empty() {
        output::say("no set of resources was in force yet");
    }
    Ok(Exit::Yes)
}

fn line(revision: &RevisionView, now: Timestamp) -> String {
    let mark = if revision.active { output::paint(GREEN, "*") } else { " ".to_owned() };
    format!(
        "{mark} {}  {:>8}  {:>3} documents  {}\n",
        short(&revision.digest),
        output::relative(revision.last_activated, now),
        revision.documents,
        output::clean(&revision.source),
    )
}

/// Enough of a digest to name it.
pub(crate) fn short(digest: &Digest) -> String {
    digest.hex().chars().take(12).collect()
}

async fn compare(flags: PlaneFlags, old: String, new: Option<String>) -> Result<Exit, Failure> {
    let source = Source::find(&flags).await?;
    let new = match new {
        Some(new) => new,
        None => {
            let revisions = source.revisions().await?;
            let active = revisions.iter().find(|revision| revision.active).or(revisions.first());
            let none = || Failure::no("no set of resources was in force yet");
            active.ok_or_else(none)?.digest.to_string()
        }
    };
    let (before, after) = (source.text(&old).await?, source.text(&new).await?);
    let text = diff::unified(&before, &after, &old, &new);
    if text.is_empty() {
        return Ok(Exit::Yes);
    }
    output::out(&diff::coloured(&text));
    Ok(Exit::No)
}

async fn rollback(flags: PlaneFlags, revision: String) -> Result<Exit, Failure> {
    source::check(&revision)?;
    let api = Api::find(&flags)?;
    let path = format!("revisions/{revision}/rollback");
    let applied: serde_json::Value = api.post(&path, None).await?;
    let digest = applied["digest"].as_str().unwrap_or(&revision);
    output::say(&format!("{digest} is in force until the files say something new"));
    Ok(Exit::Yes)
}
