//! `lockgate adopt`: has the plane make hosted what its cache holds of a remote repository.

use crate::client::Api;
use crate::command::{block_on, copy, prefetch};
use crate::exit::{Exit, Failure};
use crate::flags::PlaneFlags;
use crate::output::{clean, out, say};
use plane::{AdoptRequest, JobState, JobView, MoveReport};
use serde_json::json;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  lockgate adopt 'quay.io/**' --dry-run\n  \
        lockgate adopt 'quay.io/**' > quay.yaml\n  \
        lockgate adopt 'docker.io/library/**' --into mirrors --offline\n\n\
        In place, it prints the Repository document to put in force instead of the one there is, with\n\
        `hosted` in the place of `remote`: then every pull works on with the upstream gone. Missing\n\
        platforms, layers and signatures are fetched first, as far as the upstream still answers; an\n\
        image that lacks something is told and not adopted.\n\
        Exit status: 0 all is adopted, 1 something lacks parts or failed.")]
pub(crate) struct Args {
    /// Names as the cache has them, such as 'docker.io/library/**'
    #[arg(value_name = "PATTERN")]
    names: String,
    /// Puts it into a hosted Repository, or below a name of it, instead of leaving it where it is
    #[arg(long, value_name = "REPOSITORY")]
    into: Option<String>,
    /// Asks no upstream for what is missing
    #[arg(long)]
    offline: bool,
    /// Tells what would be adopted, and changes nothing
    #[arg(long)]
    dry_run: bool,
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
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let request = AdoptRequest {
            names: self.names,
            into: self.into,
            offline: self.offline,
            dry_run: self.dry_run,
        };
        block_on(async move {
            let api = Api::find(&self.plane)?;
            // Before the job begins: from then on there is something to stop.
            let interrupt = prefetch::interrupts()?;
            let job: JobView = api.post("adopt", Some(&json!(request))).await?;
            if self.no_wait {
                out(&format!("{}\n", clean(&job.id)));
                return Ok(Exit::Yes);
            }
            let job = prefetch::watch(&api, job, interrupt).await?;
            Ok(ended(&job, self.json))
        })
    }
}

fn ended(job: &JobView, json: bool) -> Exit {
    let is_even = job.moved.as_ref().is_some_and(|report| report.is_even());
    if let Some(report) = &job.moved {
        if json {
            out(&format!("{}\n", json!(report)));
        } else {
            report.lines.iter().for_each(|line| say(copy::line(line).trim_end()));
            report.notes.iter().for_each(|note| say(&clean(note)));
            say(&summary(report));
            if let Some(documents) = &report.documents {
                say("to put in force in the place of the document there is:");
                out(documents);
            }
        }
    }
    match job.state {
        JobState::Done if is_even => Exit::Yes,
        JobState::Done | JobState::Failed | JobState::Cancelled => Exit::No,
        JobState::Queued | JobState::Running => Exit::CannotTell,
    }
}

fn summary(report: &MoveReport) -> String {
    let verb = if report.dry_run { "to adopt" } else { "adopted" };
    format!(
        "images of {} names: {} {verb}, {} hosted before, {} lack parts, {} failed",
        report.names_done, report.moved, report.same, report.incomplete, report.failed
    )
}
