//! `lockgate import`: pushes an archive of images into hosted repositories.

mod plan;
mod push;

use crate::archive::Archive;
use crate::client::Registry;
use crate::command::export::{BYTES, bar};
use crate::command::{block_on, prefetch};
use crate::exit::{Exit, Failure};
use crate::flags::PlaneFlags;
use crate::output::{out, size, warn};
use oci::{Digest, Name, Reference};
use plan::Plan;
use push::{Push, Report};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;

#[derive(clap::Args, Debug)]
#[command(after_help = "The whole way over an air gap:\n  \
        lockgate export docker.io/library/alpine:3.20 team/app -o images.tar   # here\n  \
        # carry images.tar over\n  \
        lockgate import images.tar --to mirror --dry-run                       # there: what would be done\n  \
        lockgate import images.tar --to mirror                                 # there\n\n\
        Examples:\n  lockgate import images.tar\n  \
        skopeo copy docker://alpine:3 oci-archive:alpine.tar:3 && lockgate import alpine.tar --to team/alpine\n\n\
        An import that was interrupted goes on when it is run again: what is there is skipped.\n\
        Exit status: 0 all is there under the same digests, 1 something was refused or the archive is \
        not what it says, 2 cannot tell.")]
pub(crate) struct Args {
    /// Archive to push: an OCI image layout as a tar archive, of `lockgate export` or another tool
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Put in front of every name, such as mirror for mirror/team/app; for an archive without names,
    /// the whole name [default: the names as exported]
    #[arg(long, value_name = "PREFIX")]
    to: Option<String>,
    /// Reads and checks the whole archive, tells what would be pushed, and pushes nothing
    #[arg(long)]
    dry_run: bool,
    /// Prints the report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    plane: PlaneFlags,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let to = self.to.as_deref().map(|to| Name::parse(to.trim_end_matches('/')));
        let to = to.transpose().map_err(|error| {
            let hint = "write a name such as mirror or team/app";
            Failure::usage("--to is no name").because(&error).hint(hint)
        })?;
        let mut archive = Archive::open(&self.file)?;
        let plan = plan::plan(&mut archive, to.as_ref())?;
        if !plan.sparse.is_empty() {
            warn(&format!(
                "{} indexes list what is not in the archive; their repository needs \
                 `sparseIndexes: true`",
                plan.sparse.len()
            ));
        }
        block_on(async {
            let mut interrupt = prefetch::interrupts()?;
            let stopped = "stopped; run it again to go on";
            tokio::select! {
                done = self.import(&mut archive, &plan) => done,
                _ = interrupt.recv() => Err(Failure::cannot_tell(stopped)),
            }
        })
    }

    async fn import(&self, archive: &mut Archive, plan: &Plan) -> Result<Exit, Failure> {
        let registry = Registry::find(&self.plane).await?;
        if self.dry_run {
            let lacking = self.look(&registry, archive, plan).await?;
            self.tell_plan(plan, lacking);
            return Ok(Exit::Yes);
        }
        let bar = bar(BYTES);
        bar.set_length(bytes_of(archive, plan));
        let mut push = Push::new(&registry, archive, plan, &bar);
        let pushed = push.all().await;
        bar.finish_and_clear();
        let report = push.report;
        pushed?;
        self.tell(plan, &report);
        Ok(if report.refused.is_empty() { Exit::Yes } else { Exit::No })
    }

    /// Checks every blob, and finds what is not there yet.
    async fn look(
        &self,
        registry: &Registry,
        archive: &mut Archive,
        plan: &Plan,
    ) -> Result<Lacking, Failure> {
        let bar = bar(BYTES);
        let blobs: BTreeSet<Digest> =
            plan.names.values().flat_map(|of_name| of_name.blobs.iter().copied()).collect();
        let sizes = blobs.iter().filter_map(|digest| archive.place(digest));
        bar.set_length(sizes.fold(0, |sum, place| sum.saturating_add(place.size_bytes)));
        for digest in &blobs {
            archive.verify(digest, |count| bar.inc(count))?;
            // Between blobs, Ctrl-C is heard.
            tokio::task::yield_now().await;
        }
        bar.finish_and_clear();
        let mut lacking = Lacking::default();
        for (name, of_name) in &plan.names {
            for digest in &of_name.blobs {
                if !registry.has_blob(name, digest).await? {
                    lacking.blobs += 1;
                    lacking.bytes += archive.place(digest).map_or(0, |place| place.size_bytes);
                }
            }
            for digest in &of_name.manifests {
                let reference = Reference::Digest(*digest);
                if registry.known_manifest(name, &reference).await?.is_none() {
                    lacking.manifests += 1;
                }
            }
            for (tag, digest) in &of_name.tags {
                let reference = Reference::Tag(tag.clone());
                match registry.known_manifest(name, &reference).await? {
                    Some(found) if found == *digest => {}
                    Some(found) => lacking.moved.push(json!({
                        "name": name, "tag": tag, "from": found, "to": digest,
                    })),
                    None => lacking.tags += 1,
                }
            }
        }
        Ok(lacking)
    }

    fn tell_plan(&self, plan: &Plan, lacking: Lacking) {
        if self.json {
            let report = json!({
                "dryRun": true,
                "names": plan.names.keys().collect::<Vec<_>>(),
                "blobs": lacking.blobs,
                "bytes": lacking.bytes,
                "manifests": lacking.manifests,
                "tags": lacking.tags,
                "tagsMoved": lacking.moved,
            });
            return out(&format!("{report}\n"));
        }
        for (name, of_name) in &plan.names {
            let tags: Vec<&str> = of_name.tags.keys().map(oci::Tag::as_str).collect();
            out(&format!("{name}: {}\n", tags.join(" ")));
        }
        for moved in &lacking.moved {
            let text = |key: &str| moved[key].as_str().unwrap_or_default().to_owned();
            let (name, tag) = (text("name"), text("tag"));
            out(&format!("{name}:{tag} would move from {} to {}\n", text("from"), text("to")));
        }
        out(&format!(
            "the archive is sound; would push {} blobs ({}), {} manifests, {} tags\n",
            lacking.blobs,
            size(lacking.bytes),
            lacking.manifests,
            lacking.tags + lacking.moved.len(),
        ));
    }

    fn tell(&self, plan: &Plan, report: &Report) {
        let (images, referrers) = counts(plan);
        if self.json {
            let mut value = json!(report);
            (value["images"], value["referrers"]) = (json!(images), json!(referrers));
            value["names"] = json!(plan.names.keys().collect::<Vec<_>>());
            return out(&format!("{value}\n"));
        }
        let roots = images + referrers;
        out(&format!(
            "{images} images and {referrers} referrers: {} blobs and {} manifests pushed ({}), {} \
             blobs mounted, {} blobs and {} manifests were there\n{} of {roots} found there under the \
             digests they have in the archive\n",
            report.blobs_pushed,
            report.manifests_pushed,
            size(report.bytes_sent),
            report.blobs_mounted,
            report.blobs_skipped,
            report.manifests_skipped,
            report.verified,
        ));
    }
}

/// What is not there yet.
#[derive(Default)]
struct Lacking {
    blobs: usize,
    bytes: u64,
    manifests: usize,
    tags: usize,
    /// Tags that are there and name something else.
    moved: Vec<Value>,
}

/// Entries of the archive's index: images, and what refers to them or is kept under a tag of
/// evidence.
fn counts(plan: &Plan) -> (u64, u64) {
    let (mut images, mut referrers) = (0, 0);
    for of_name in plan.names.values() {
        let tagged: BTreeSet<&Digest> = of_name.tags.values().collect();
        for (tag, digest) in &of_name.tags {
            let is_evidence = tag.evidence_of().is_some() || plan.refers(digest);
            *(if is_evidence { &mut referrers } else { &mut images }) += 1;
        }
        for digest in of_name.roots.iter().filter(|root| !tagged.contains(root)) {
            *(if plan.refers(digest) { &mut referrers } else { &mut images }) += 1;
        }
    }
    (images, referrers)
}

/// Bytes of all blobs, once for each name.
fn bytes_of(archive: &Archive, plan: &Plan) -> u64 {
    let blobs = plan.names.values().flat_map(|of_name| &of_name.blobs);
    let sizes = blobs.filter_map(|digest| archive.place(digest)).map(|place| place.size_bytes);
    sizes.fold(0, u64::saturating_add)
}
