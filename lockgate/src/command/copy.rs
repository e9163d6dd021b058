//! `lockgate copy`: has the plane copy repositories of another registry into a hosted one, and tells
//! what differs.

use crate::client::Api;
use crate::command::{block_on, prefetch};
use crate::exit::{Exit, Failure};
use crate::flags::PlaneFlags;
use crate::output::{RED, clean, out, paint, say, size};
use plane::{CopyRequest, JobState, JobView, MoveKind, MoveLine, MoveReport};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  lockgate copy --from https://old.example 'apps/**' --to team\n  \
        lockgate copy --from quay.io prometheus/prometheus --to mirrors/quay\n  \
        lockgate copy --from http://127.0.0.1:5001 --names-from names.txt --to team --dry-run\n\n\
        A pattern is matched against the source's list of repositories (_catalog); a name without\n\
        wildcards needs no such list, which Docker Hub, for one, does not have. All tags, platforms,\n\
        signatures and other referrers come along. Run it again as often as you like: what is there is\n\
        not fetched again, nothing is deleted, and a tag that names something else at the destination is\n\
        told and left alone, unless --update moves it.\n\
        Exit status: 0 the destination has all of it, 1 something differs or failed."
)]
pub(crate) struct Args {
    /// Repositories at the source: names, or patterns such as 'apps/**'
    #[arg(value_name = "PATTERN")]
    names: Vec<String>,
    /// Source: the address of a registry, or the name of an Upstream; an Upstream with that address
    /// lends its credentials and its trust
    #[arg(long, value_name = "URL|UPSTREAM")]
    from: String,
    /// Destination: a hosted Repository (its metadata.name), or names below it, such as team/imported
    #[arg(long, value_name = "REPOSITORY")]
    to: String,
    /// File of further names and patterns, one a line, `#` begins a comment; `-` is standard input
    #[arg(long, value_name = "FILE")]
    names_from: Option<PathBuf>,
    /// Moves tags of the destination that name something else
    #[arg(long)]
    update: bool,
    /// Compares and tells, and copies nothing
    #[arg(long)]
    dry_run: bool,
    /// A docker config.json to log in with, on the plane's machine
    #[arg(long, value_name = "FILE")]
    docker_config: Option<PathBuf>,
    /// The user to log in as
    #[arg(long, value_name = "USER", requires = "password_file")]
    username: Option<String>,
    /// The file of that user's password, on the plane's machine
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,
    /// Prints the report as JSON
    #[arg(long)]
    json: bool,
    /// Begins and does not wait for the end; prints the job's id
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    plane: PlaneFlags,
}

impl Args {
    pub(crate) fn run(mut self) -> Result<Exit, Failure> {
        if let Some(from) = &self.names_from {
            let text = prefetch::read_list("--names-from", from)?;
            self.names.extend(prefetch::parse_list(&text));
        }
        if self.names.is_empty() {
            let hint = "name repositories or a pattern such as '**', or a file with --names-from";
            return Err(Failure::usage("there is nothing to copy").hint(hint));
        }
        let request = CopyRequest {
            from: self.from,
            names: self.names,
            to: self.to,
            update: self.update,
            dry_run: self.dry_run,
            docker_config: self.docker_config.as_deref().map(whole),
            username: self.username,
            password_file: self.password_file.as_deref().map(whole),
        };
        block_on(async move {
            let api = Api::find(&self.plane)?;
            // Before the job begins: from then on there is something to stop.
            let interrupt = prefetch::interrupts()?;
            let job: JobView = api.post("copy", Some(&json!(request))).await?;
            if self.no_wait {
                out(&format!("{}\n", clean(&job.id)));
                return Ok(Exit::Yes);
            }
            let job = prefetch::watch(&api, job, interrupt).await?;
            Ok(ended(&job, self.json))
        })
    }
}

/// The plane has another working directory.
fn whole(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn ended(job: &JobView, json: bool) -> Exit {
    let is_even = job.moved.as_ref().is_some_and(|report| report.is_even());
    if let Some(report) = &job.moved {
        if json {
            out(&format!("{}\n", json!(report)));
        } else {
            out(&report.lines.iter().map(line).collect::<String>());
            if report.cut {
                out("… and more: only some are listed\n");
            }
            say(&summary(report, job.done_bytes));
        }
    }
    match job.state {
        JobState::Done if is_even => Exit::Yes,
        JobState::Done | JobState::Failed | JobState::Cancelled => Exit::No,
        JobState::Queued | JobState::Running => Exit::CannotTell,
    }
}

pub(super) fn line(line: &MoveLine) -> String {
    let what = line.what.as_ref().map(|what| format!(":{what}")).unwrap_or_default();
    let subject = clean(&format!("{}{what}", line.name));
    let why = line.why.as_deref().map(clean).unwrap_or_default();
    match (line.kind, line.here, line.there) {
        (MoveKind::Differs, Some(here), Some(there)) => {
            format!("differs  {subject}  here {here}  there {there}\n")
        }
        (MoveKind::Differs, _, _) => format!("differs  {subject}  {why}\n"),
        (MoveKind::Incomplete, _, _) => format!("lacking  {subject}  {why}\n"),
        (MoveKind::Failed, _, _) => format!("{}   {subject}  {why}\n", paint(RED, "failed")),
    }
}

fn summary(report: &MoveReport, bytes: u64) -> String {
    let verb = if report.dry_run { "to copy" } else { "copied" };
    let rows = [
        ("same", report.same),
        (verb, report.moved),
        ("differ", report.differs),
        ("only here", report.only_here),
        ("failed", report.failed),
    ];
    let rows: Vec<String> = rows.iter().map(|(what, count)| format!("{count} {what}")).collect();
    let hint = match report.differs {
        0 => "",
        _ => "; --update moves the tags that differ",
    };
    let (names, size) = (report.names_done, size(bytes));
    format!("tags of {names} names: {}; {size}{hint}", rows.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_with_both_digests() {
        let (here, there) = (oci::Digest::sha256(b"here"), oci::Digest::sha256(b"there"));
        let told = line(&MoveLine {
            kind: MoveKind::Differs,
            name: "apps/web".to_owned(),
            what: Some("1".to_owned()),
            here: Some(here),
            there: Some(there),
            why: None,
        });
        assert_eq!(told, format!("differs  apps/web:1  here {here}  there {there}\n"));
        let report = MoveReport { same: 2, differs: 1, names_done: 3, ..MoveReport::default() };
        let told = summary(&report, 0);
        assert!(told.starts_with("tags of 3 names: 2 same, 0 copied, 1 differ"), "{told}");
        assert!(told.ends_with("--update moves the tags that differ"), "{told}");
    }
}
