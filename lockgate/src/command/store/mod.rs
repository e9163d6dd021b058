//! `lockgate store`: where blobs lie, and bringing them elsewhere.

mod place;

use crate::client::Api;
use crate::command::{block_on, prefetch};
use crate::exit::{Exit, Failure};
use crate::flags::{PlaneFlags, SettingsFlags};
use crate::output::{RED, clean, out, paint, say};
use clap::Subcommand;
use plane::{JobState, JobView, MigrateRequest, MigrateTo, PlaceView};
use serde::Deserialize;
use serde_json::json;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Lists the places of the store in order, and whether each can be used now
    #[command(after_help = "Example:\n  lockgate store ls\n\n\
            Blobs are written to the first place and read in all of them, in order. The first is what\n\
            spec.store of Plane says; former ones are read until nothing is left there.\n\
            Exit status: 0 all can be used, 1 one cannot.")]
    Ls {
        /// One JSON object per line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        plane: PlaneFlags,
    },
    /// Copies all blobs to another place, verified, while the plane serves
    Migrate(MigrateArgs),
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
        lockgate store migrate --to s3://artifacts/lockgate --region eu-central-1 \\\n    \
        --access-key-id-file /run/secrets/id --secret-access-key-file /run/secrets/key\n  \
        lockgate store migrate --to file:///mnt/blobs\n  \
        lockgate store migrate --to configured --remove-source\n\n\
        The usual way: write the new place into spec.store of Plane (from then on blobs are written\n\
        there, and still read where they were), then run `--to configured --remove-source`. Or copy\n\
        first, then edit. Nothing has to be restarted. It can be stopped and run again at any time:\n\
        what is there is compared, not sent again. Paths are those of the plane's machine.\n\
        Exit status: 0 all is there, 1 something is not (the reason is printed).")]
pub(crate) struct MigrateArgs {
    /// Place: configured, data-dir, file:///DIR, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or
    /// azure://ACCOUNT/CONTAINER/PREFIX
    #[arg(long, value_name = "PLACE")]
    to: String,
    /// Removes from the other places what is there, once all of it is and blobs are written there
    #[arg(long)]
    remove_source: bool,
    #[command(flatten)]
    place: place::PlaceFlags,
    /// Prints the job as JSON when it ended
    #[arg(long)]
    json: bool,
    /// Begins and does not wait for the end; prints the job's id
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    settings: SettingsFlags,
}

#[derive(Deserialize)]
struct Places {
    items: Vec<PlaceView>,
}

impl Command {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Ls { json, plane } => block_on(list(plane, json)),
            Self::Migrate(args) => args.run(),
        }
    }
}

async fn list(flags: PlaneFlags, json: bool) -> Result<Exit, Failure> {
    let places: Places = Api::find(&flags)?.get("store/places", &[]).await?;
    for place in &places.items {
        if json {
            out(&format!("{}\n", json!(place)));
            continue;
        }
        let role = if place.is_written { "written, read" } else { "read" };
        let state = match &place.problem {
            Some(problem) => paint(RED, &clean(problem)),
            None => "can be used".to_owned(),
        };
        out(&format!("{:14} {}  {state}\n", role, clean(&place.url)));
    }
    let is_well = places.items.iter().all(|place| place.problem.is_none());
    Ok(if is_well { Exit::Yes } else { Exit::No })
}

impl MigrateArgs {
    fn run(self) -> Result<Exit, Failure> {
        let to = self.place.read(&self.to)?;
        let request = MigrateRequest { to, remove_source: self.remove_source };
        let data_dir = self.settings.load(Vec::new())?.settings.data_dir();
        block_on(async move {
            let api = Api::local(&data_dir)?;
            // Before the job begins: from then on there is something to stop.
            let interrupt = prefetch::interrupts()?;
            let job: JobView = api.post("store/migrate", Some(&json!(request))).await?;
            if self.no_wait {
                out(&format!("{}\n", clean(&job.id)));
                return Ok(Exit::Yes);
            }
            let job = prefetch::watch(&api, job, interrupt).await?;
            if self.json {
                out(&format!("{}\n", json!(job)));
            }
            Ok(ended(&job, &request))
        })
    }
}

fn ended(job: &JobView, request: &MigrateRequest) -> Exit {
    match job.state {
        JobState::Done => {
            say(&told(request));
            Exit::Yes
        }
        JobState::Failed | JobState::Cancelled => Exit::No,
        JobState::Queued | JobState::Running => Exit::CannotTell,
    }
}

fn told(request: &MigrateRequest) -> String {
    let next = match (&request.to, request.remove_source) {
        (_, true) => "nothing is left in the other places",
        (MigrateTo::Configured, false) => {
            "run it again with --remove-source to free the other places"
        }
        (_, false) => {
            "to write there, say so in spec.store of Plane; nothing has to be restarted. What is \
             pushed until then is brought over by running this again"
        }
    };
    format!("all blobs are there; {next}")
}
