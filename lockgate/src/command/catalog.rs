//! `lockgate catalog`: the catalog, made again from the store alone.

use super::offline::{Offline, bar, blocking, with_suffix};
use crate::command::block_on;
use crate::exit::{Exit, Failure};
use crate::flags::SettingsFlags;
use crate::output::{clean, out, say, warn};
use catalog::{Batch, Catalog};
use clap::Subcommand;
use jiff::Timestamp;
use plane::{RebuildError, RebuildReport, rebuild, take_in_cached};
use serde::Serialize;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For writing what waits.
const CLOSE_TIME: Duration = Duration::from_secs(60);
/// Sets of resources that are carried over from the old catalog.
const REVISIONS_MAX: u32 = 10_000;
/// Lines that are printed of what is missing; `--json` has more of it.
const LINES_MAX: usize = 50;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Makes the catalog again from what lies in the store; the old one is put aside
    #[command(
        after_help = "Examples:\n  lockgate catalog rebuild\n  lockgate catalog rebuild --data-dir /var/lib/lockgate --json\n\n\
        For a plane that does not run. Names, tags and manifests of hosted repositories come from the\n\
        store; pins and the history of resources from the old catalog, if it can be read. What was\n\
        cached is counted, and claimed again as it is asked for. A plane that finds no catalog, or a\n\
        broken one, does the same by itself at its start.\n\
        Exit status: 0 all is there, 1 something is missing or cannot be read (it is listed)."
    )]
    Rebuild {
        /// Prints the report as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        settings: SettingsFlags,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    #[serde(flatten)]
    rebuilt: RebuildReport,
    /// Blobs of the store that no hosted name claims.
    cached: u64,
    /// Where the old catalog is now.
    put_aside: Option<PathBuf>,
}

impl Command {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let Self::Rebuild { json, settings } = self;
        block_on(async move {
            let report = blocking(move || make_again(&settings)).await?;
            if json {
                let text = serde_json::to_string(&report).unwrap_or_default();
                out(&format!("{text}\n"));
            }
            tell(&report);
            let rebuilt = &report.rebuilt;
            let is_whole = rebuilt.missing_total == 0 && rebuilt.unreadable.is_empty();
            Ok(if is_whole { Exit::Yes } else { Exit::No })
        })
    }
}

fn make_again(flags: &SettingsFlags) -> Result<Report, Failure> {
    let hint = "stop the plane first; one whose catalog is lost rebuilds it by itself";
    let offline = Offline::take(flags, hint)?;
    let store = offline.store()?;
    let path = offline.catalog_path();
    // Made beside the old one, which keeps its place until the new one is whole.
    let new = with_suffix(&path, ".rebuilding");
    remove_with_log(&new)?;
    let cannot = |error: &catalog::Error| {
        Failure::cannot_tell("the new catalog cannot be made").because(error)
    };
    let (catalog, _) = Catalog::open(&new).map_err(|error| cannot(&error))?;
    carry_over(&path, &catalog);
    let names = bar("{wide_bar} {pos} of {len} names {msg}");
    let now = Timestamp::now();
    let rebuilt = rebuild(&store, &catalog, now, |report| {
        names.set_length(report.names_total);
        names.set_position(report.names);
        names.set_message(format!("({} manifests)", report.manifests));
        ControlFlow::Continue(())
    });
    names.finish_and_clear();
    let rebuilt = rebuilt.map_err(|error| failed(&error))?;
    let blobs = bar("{spinner} counting what is cached: {pos} blobs looked at");
    let cached = take_in_cached(&store, &catalog, now, |looked| blobs.set_position(looked));
    blobs.finish_and_clear();
    let cached = cached.map_err(|error| failed(&error))?;
    if !catalog.close(CLOSE_TIME) {
        return Err(Failure::cannot_tell("the new catalog could not be written to its end"));
    }
    let put_aside = offline.put_aside(&path, "rebuild")?;
    offline.rename(&new, &path)?;
    remove_with_log(&new)?;
    Ok(Report { rebuilt, cached, put_aside })
}

fn failed(error: &RebuildError) -> Failure {
    Failure::cannot_tell("the catalog cannot be rebuilt now; the old one is as it was")
        .because(error)
}

/// What no store knows: pins, and the sets of resources that were in force.
fn carry_over(old: &Path, new: &Catalog) {
    if !old.exists() {
        return;
    }
    let carried = Catalog::check_file(old).and_then(|_| {
        let (old, _) = Catalog::open(old)?;
        let mut batch = Batch::new();
        for pin in old.pins()? {
            batch.pin(&pin.name, &pin.reference, pin.at);
        }
        let mut carried = is_written(new, batch);
        // The oldest first: the last one that is written was in force last.
        for row in old.revisions(REVISIONS_MAX)?.into_iter().rev() {
            let Some(text) = old.revision_text(&row.digest)? else { continue };
            let (documents, at) = (row.documents, row.last_activated);
            let mut batch = Batch::new();
            batch.put_revision(&row.digest, &text, &row.source, documents, at);
            carried &= is_written(new, batch);
        }
        old.close(CLOSE_TIME);
        Ok(carried)
    });
    let carried = carried.unwrap_or_else(|error| {
        warn(&format!("the old catalog cannot be read: {error}"));
        false
    });
    if !carried {
        warn("pins by command and the history of resources are not carried over");
    }
}

fn is_written(catalog: &Catalog, batch: Batch) -> bool {
    matches!(catalog.submit(batch).wait_for(CLOSE_TIME), Some(Ok(())))
}

/// Removes a database that was not finished.
fn remove_with_log(path: &Path) -> Result<(), Failure> {
    for suffix in ["", "-wal", "-shm"] {
        let path = with_suffix(path, suffix);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            let text = format!("cannot remove {}", path.display());
            return Err(Failure::cannot_tell(text).because(&error));
        }
    }
    Ok(())
}

fn tell(report: &Report) {
    let RebuildReport { names, manifests, tags, missing_total, missing, unreadable, .. } =
        &report.rebuilt;
    if let Some(path) = &report.put_aside {
        say(&format!("put aside: {}", path.display()));
    }
    say(&format!(
        "{names} names, {manifests} manifests, {tags} tags; {} blobs that no hosted name claims",
        report.cached
    ));
    for missing in missing.iter().take(LINES_MAX) {
        say(&format!("missing: {}@{}", clean(missing.name.as_str()), missing.digest));
    }
    for name in unreadable.iter().take(LINES_MAX) {
        say(&format!("unreadable: {}: {}", clean(name.name.as_str()), clean(&name.problem)));
    }
    if *missing_total > 0 {
        warn(&format!(
            "hosted content that is not in the store: {missing_total}; put it back, or push it again"
        ));
    }
    if !unreadable.is_empty() {
        warn(
            "what the names that cannot be read held is not known; their documents are as they were",
        );
    }
}
