//! `lockgate gc`: has the plane take away what hosted names hold and nothing needs, or tell what
//! that would be.

use crate::client::Api;
use crate::command::{block_on, prefetch};
use crate::exit::{Exit, Failure};
use crate::flags::PlaneFlags;
use crate::output::{RED, clean, out, paint, say, size};
use plane::{GcLine, GcReport, GcRequest, JobState, JobView};
use serde_json::json;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  lockgate gc --dry-run\n  lockgate gc --repository team\n  \
        lockgate gc --names 'team/app/**' --untagged-for 0s --blobs-unused-for 0s\n\n\
        It comes by itself every gc.interval. Tags go by the retention rules of their Repository;\n\
        manifests that no tag, pin, index or subject leads to, untagged.keepFor after their last push\n\
        or pull; blobs that no manifest lists, gc.blobGrace after theirs. Files of what no name holds\n\
        any more go after cache.grace.\n\
        Exit status: 0 done, or told with --dry-run, 1 something failed (the reason is printed).")]
pub(crate) struct Args {
    /// Only tells what would go, and why
    #[arg(long)]
    dry_run: bool,
    /// Only this hosted Repository (its metadata.name)
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
    /// Only names that match, such as 'team/app/**'
    #[arg(long, value_name = "PATTERN")]
    names: Option<String>,
    /// How long manifests that no tag leads to are kept after their last use [default: what their
    /// Repository says]
    #[arg(long, value_name = "DURATION")]
    untagged_for: Option<String>,
    /// How long blobs that no manifest lists are kept after their last use; 0s takes those of pushes
    /// that are under way, too [default: gc.blobGrace]
    #[arg(long, value_name = "DURATION")]
    blobs_unused_for: Option<String>,
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
        let request = GcRequest {
            repository: self.repository,
            names: self.names,
            dry_run: self.dry_run,
            untagged_for: self.untagged_for,
            blobs_unused_for: self.blobs_unused_for,
        };
        let ages = [
            ("--untagged-for", &request.untagged_for),
            ("--blobs-unused-for", &request.blobs_unused_for),
        ];
        for (flag, age) in ages {
            let read = age.as_deref().map(resources::parse_duration).transpose();
            read.map_err(|error| Failure::usage(format!("{flag}: {error}")))?;
        }
        block_on(async move {
            let api = Api::find(&self.plane)?;
            // Before the job begins: from then on there is something to stop.
            let interrupt = prefetch::interrupts()?;
            let job: JobView = api.post("gc", Some(&json!(request))).await?;
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
    if let Some(report) = &job.gc {
        if json {
            out(&format!("{}\n", json!(report)));
        } else {
            out(&lines(report));
            say(&summary(report));
        }
        for problem in &report.problems {
            say(&format!("{} {}", paint(RED, "failed"), clean(problem)));
        }
    }
    match job.state {
        JobState::Done => Exit::Yes,
        JobState::Failed | JobState::Cancelled => Exit::No,
        JobState::Queued | JobState::Running => Exit::CannotTell,
    }
}

/// One line for each thing that goes.
fn lines(report: &GcReport) -> String {
    let mut text: String = report.lines.iter().map(line).collect();
    if report.cut {
        text.push_str("… and more: only some are listed\n");
    }
    text
}

fn line(gone: &GcLine) -> String {
    let what = match &gone.tag {
        Some(tag) => format!("{}:{tag}", gone.name),
        None => format!("{}@{}", gone.name, gone.digest),
    };
    let bytes = if gone.tag.is_some() { String::new() } else { size(gone.size_bytes) };
    clean(&format!("{:8} {bytes:>10}  {what}  {}", gone.kind, gone.why)) + "\n"
}

fn summary(report: &GcReport) -> String {
    let (gone, kept) = (report.gone, report.kept);
    let verb = if report.dry_run { "would go" } else { "gone" };
    let mut text = format!(
        "{verb}: {} tags, {} manifests, {} blobs; {} that no name holds then\n",
        gone.tags,
        gone.manifests,
        gone.blobs,
        size(report.freed_bytes)
    );
    let mut why = Vec::new();
    for (count, words) in [
        (kept.pinned_tags, "tags pinned"),
        (kept.newest_tags, "tags among the newest of a rule"),
        (kept.young_tags, "tags too young for a rule"),
        (kept.used_tags, "tags used lately"),
        (kept.untagged_manifests, "untagged manifests used lately"),
        (kept.unlisted_blobs, "unlisted blobs used lately"),
    ] {
        if count > 0 {
            why.push(format!("{count} {words}"));
        }
    }
    let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join(", ")) };
    text.push_str(&format!(
        "kept: {} tags, {} manifests, {} blobs in {} names{why}",
        kept.tags, kept.manifests, kept.blobs, report.names_done
    ));
    if report.skipped_names > 0 {
        text.push_str(&format!(
            "\n{} names changed again and again meanwhile; the next round looks again",
            report.skipped_names
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use plane::{GcCounts, GcKept};

    #[test]
    fn a_report_says_what_goes_and_why_the_rest_stays() {
        let digest = oci::Digest::sha256(b"");
        let gone = |kind: &str, tag: Option<&str>| GcLine {
            name: oci::Name::parse("team/app").unwrap(),
            kind: kind.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
            size_bytes: 2048,
            why: "no manifest lists it".to_owned(),
        };
        let report = GcReport {
            dry_run: true,
            names_done: 3,
            gone: GcCounts { tags: 1, manifests: 0, blobs: 1 },
            freed_bytes: 2048,
            kept: GcKept { tags: 4, newest_tags: 2, ..GcKept::default() },
            lines: vec![gone("tag", Some("pr-1")), gone("blob", None)],
            cut: true,
            ..GcReport::default()
        };
        let text = lines(&report);
        assert!(text.contains("team/app:pr-1"), "{text}");
        assert!(
            text.contains(&format!("2.0 KiB  team/app@{digest}  no manifest lists it")),
            "{text}"
        );
        assert!(text.ends_with("only some are listed\n"), "{text}");
        let told = summary(&report);
        assert!(told.starts_with("would go: 1 tags, 0 manifests, 1 blobs; 2.0 KiB"), "{told}");
        assert!(told.ends_with("in 3 names (2 tags among the newest of a rule)"), "{told}");
    }
}
