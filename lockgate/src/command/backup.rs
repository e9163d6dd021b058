//! `lockgate backup`: writes a backup, through the plane that runs, or of a data directory on which
//! none does.

use super::offline::{Offline, bar, blocking};
use crate::client::Api;
use crate::command::{block_on, prefetch};
use crate::exit::{Exit, Failure};
use crate::flags::SettingsFlags;
use crate::output::{out, say, size};
use crate::serve::{DataDir, Holder};
use catalog::Catalog;
use jiff::Timestamp;
use plane::{BackupError, BackupSummary, JobState, JobView, check_backup, write_backup};
use serde_json::json;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  lockgate backup --to /var/backups/lockgate-2026-01-31\n  \
        lockgate backup --to /mnt/backup/$(date +%F) && rsync -a /var/lib/lockgate/blobs/ /mnt/blobs/\n\n\
        The directory holds the catalog as of one moment, every set of resources, keys, and a list of\n\
        the blobs; not the blobs: copy the store after it (rsync, a snapshot, versions of a bucket).\n\
        It is made while the plane serves, on the plane's own machine. `lockgate restore` goes back\n\
        to it.\n\
        Exit status: 0 it is made and was read back, 1 it is not made (the reason is printed).")]
pub(crate) struct Args {
    /// Directory to make; there must be none yet
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Prints what was made as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsFlags,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let to = std::path::absolute(&self.to)
            .map_err(|error| Failure::usage("--to names no directory").because(&error))?;
        let data_dir = self.settings.load(Vec::new())?.settings.data_dir();
        block_on(async move {
            let summary = match DataDir::holder(&data_dir) {
                Holder::Process(_) => of_plane(&data_dir, &to).await?,
                Holder::Free => Some(of_directory(&self.settings, &to).await?),
            };
            let Some(summary) = summary else { return Ok(Exit::No) };
            if self.json {
                out(&format!("{}\n", json!({ "directory": to, "backup": summary })));
            }
            say(&told(&to, &summary));
            Ok(Exit::Yes)
        })
    }
}

/// `None`: it failed, and was told.
async fn of_plane(data_dir: &Path, to: &Path) -> Result<Option<BackupSummary>, Failure> {
    let api = Api::local(data_dir)?;
    // Before the job begins: from then on there is something to stop.
    let interrupt = prefetch::interrupts()?;
    let job: JobView = api.post("backup", Some(&json!({ "to": to }))).await?;
    let job = prefetch::watch(&api, job, interrupt).await?;
    if job.state != JobState::Done {
        return Ok(None);
    }
    let to = to.to_owned();
    blocking(move || check_backup(&to).map_err(|error| failed(&error))).await.map(Some)
}

async fn of_directory(flags: &SettingsFlags, to: &Path) -> Result<BackupSummary, Failure> {
    let offline = Offline::take(flags, "try again: a plane started just now")?;
    let to = to.to_owned();
    blocking(move || {
        let path = offline.catalog_path();
        if !path.is_file() {
            let text = format!("there is no catalog at {}", path.display());
            return Err(Failure::no(text).hint("name the data directory with --data-dir"));
        }
        let (catalog, _) = Catalog::open(&path)
            .map_err(|error| Failure::no("the catalog cannot be opened").because(&error))?;
        let bar = bar("{wide_bar} {binary_bytes} of {binary_total_bytes} of the catalog");
        let tell = |done: u64, total: u64| {
            if total > 0 {
                bar.set_length(total);
                bar.set_position(done);
            }
            ControlFlow::Continue(())
        };
        let made = write_backup(&catalog, &offline.data_dir, &to, Timestamp::now(), tell);
        bar.finish_and_clear();
        made.and_then(|_| check_backup(&to)).map_err(|error| failed(&error))
    })
    .await
}

pub(super) fn failed(error: &BackupError) -> Failure {
    Failure::no("the backup cannot be used").because(error)
}

fn told(to: &Path, summary: &BackupSummary) -> String {
    let files: u64 = summary.files.values().map(|file| file.size_bytes).sum();
    format!(
        "{}: {} files, {}; the store has {} blobs ({}), {} of them hosted ({}): copy it too",
        to.display(),
        summary.files.len(),
        size(files),
        summary.blobs,
        size(summary.bytes),
        summary.held_blobs,
        size(summary.held_bytes),
    )
}
