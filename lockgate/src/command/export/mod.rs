//! `lockgate export`: images and whatever refers to them, as one file for a site without a network.

mod asked;
mod walk;
mod write;

use crate::client::Registry;
use crate::command::{block_on, prefetch};
use crate::exit::{Exit, Failure};
use crate::flags::PlaneFlags;
use crate::output::{self, clean, out, say, size, warn};
use asked::Asked;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use oci::Platform;
use serde_json::{Value, json};
use std::path::PathBuf;
use walk::{Choice, Problems, Selection};

#[derive(clap::Args, Debug)]
#[command(after_help = "The whole way over an air gap:\n  \
        lockgate export docker.io/library/alpine:3.20 team/app -o images.tar   # here\n  \
        # carry images.tar over\n  \
        lockgate import images.tar --to mirror --dry-run                       # there: what would be done\n  \
        lockgate import images.tar --to mirror                                 # there\n\n\
        Examples:\n  lockgate export --from-file images.txt -o images.tar\n  \
        lockgate export --platform linux/amd64 docker.io/library/postgres:17 -o pg.tar\n  \
        skopeo inspect oci-archive:images.tar:3.20\n\n\
        A name without a tag means all of its tags. Referrers (signatures, SBOMs, attestations) go \
        along.\nExit status: 0 all is in the file, 1 something could not be exported and no file was \
        made, 2 cannot tell.")]
pub(crate) struct Args {
    /// Images, as clients write them behind the plane's address; a name alone means all its tags
    #[arg(value_name = "REFERENCE")]
    references: Vec<String>,
    /// File to write: an OCI image layout as a tar archive
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// File of further references, one a line, `#` begins a comment; `-` is standard input
    #[arg(long, value_name = "LIST")]
    from_file: Option<PathBuf>,
    /// Platforms of multi-platform images, such as linux/arm64; repeatable [default: all]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Vec<String>,
    /// Leaves out what refers to the images: signatures, SBOMs, attestations
    #[arg(long)]
    no_referrers: bool,
    /// Prints the report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    plane: PlaneFlags,
}

impl Args {
    pub(crate) fn run(mut self) -> Result<Exit, Failure> {
        if let Some(path) = &self.from_file {
            self.references.extend(prefetch::references_of("--from-file", path)?);
        }
        if self.references.is_empty() {
            let hint = "name images, or a file of them with --from-file";
            return Err(Failure::usage("there is nothing to export").hint(hint));
        }
        let asked: Vec<Asked> =
            self.references.iter().map(|text| Asked::parse(text)).collect::<Result<_, _>>()?;
        let platforms: Vec<Platform> = self
            .platform
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, _>>()
            .map_err(|error: oci::PlatformError| Failure::usage(error.to_string()))?;
        let choice = Choice { platforms, with_referrers: !self.no_referrers };
        block_on(async {
            let mut interrupt = prefetch::interrupts()?;
            tokio::select! {
                done = self.export(&asked, &choice) => done,
                _ = interrupt.recv() => Err(Failure::cannot_tell("stopped; no file was made")),
            }
        })
    }

    async fn export(&self, asked: &[Asked], choice: &Choice) -> Result<Exit, Failure> {
        let registry = Registry::find(&self.plane).await?;
        let bar = bar("{spinner} {pos} manifests found");
        let known = |count: usize| bar.set_position(count as u64);
        let (selection, problems) = walk::walk(&registry, asked, choice, known).await;
        bar.finish_and_clear();
        if !problems.is_empty() {
            return Ok(self.refuse(problems));
        }
        if selection.roots.len() > oci::Manifest::MAX_DESCRIPTORS {
            let text = format!("{} entries are too many for one archive", selection.roots.len());
            return Err(Failure::no(text).hint("make several"));
        }
        let bar = self::bar(BYTES);
        bar.set_length(selection.bytes());
        let written = write::write(&registry, &selection, &self.output, &bar).await;
        bar.finish_and_clear();
        self.tell(&selection, written?);
        Ok(Exit::Yes)
    }

    /// All that is wrong at once: a list of a hundred images is corrected once.
    fn refuse(&self, problems: Problems) -> Exit {
        let count = problems.len();
        let mut exit = Exit::No;
        for (line, failure) in problems {
            if failure.is_cannot_tell() {
                exit = Exit::CannotTell;
            }
            let reference = self.references.get(line).map_or("", String::as_str);
            say(&format!("{}:", clean(reference)));
            failure.report();
        }
        let all = self.references.len();
        say(&format!("{count} of {all} cannot be exported; no file was made"));
        exit
    }

    fn tell(&self, selection: &Selection, archive_bytes: u64) {
        let images = selection.roots.iter().filter(|root| selection.is_image(root)).count();
        let others = selection.roots.len() - images;
        if !selection.sparse.is_empty() {
            warn(&format!(
                "{} indexes are exported whole, but not all that they list; the repository they are \
                 imported into needs `sparseIndexes: true`",
                selection.sparse.len()
            ));
        }
        if !selection.foreign_layers.is_empty() {
            warn(&format!(
                "{} layers are left out: their owner lets nobody distribute them",
                selection.foreign_layers.len()
            ));
        }
        if self.json {
            let report = report(selection, (images, others), archive_bytes);
            return out(&format!("{report}\n"));
        }
        out(&format!(
            "{}: {images} images and {others} referrers, {} manifests and {} blobs, {}\n",
            self.output.display(),
            selection.manifests.len(),
            selection.blobs.len(),
            size(archive_bytes),
        ));
    }
}

fn report(selection: &Selection, (images, others): (usize, usize), archive_bytes: u64) -> Value {
    let roots: Vec<Value> = selection
        .roots
        .iter()
        .map(|root| {
            let kind = if selection.is_image(root) { "image" } else { "referrer" };
            json!({ "name": root.name, "tag": root.tag, "digest": root.digest, "kind": kind })
        })
        .collect();
    json!({
        "images": images,
        "referrers": others,
        "manifests": selection.manifests.len(),
        "blobs": selection.blobs.len(),
        "contentBytes": selection.bytes(),
        "archiveBytes": archive_bytes,
        "sparseIndexes": selection.sparse,
        "foreignLayers": selection.foreign_layers,
        "roots": roots,
    })
}

/// A bar of bytes: it takes what the rest of the line leaves of it.
pub(super) const BYTES: &str =
    "{wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}";

/// A bar for people; nobody else sees it.
pub(super) fn bar(template: &str) -> ProgressBar {
    let target = match output::is_watched() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(None, target);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
