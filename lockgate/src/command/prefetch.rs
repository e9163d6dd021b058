//! `lockgate prefetch`: has the plane fetch images before anybody asks, and watches it.

use crate::client::Api;
use crate::command::block_on;
use crate::exit::{Exit, Failure};
use crate::flags::PlaneFlags;
use crate::output::{self, GREEN, RED, clean, out, paint, say};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use plane::{JobState, JobView, Reported};
use serde_json::json;
use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The largest list of references.
const LIST_BYTES_MAX: u64 = 4 << 20;

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  lockgate prefetch docker.io/library/alpine:3 quay.io/prometheus/prometheus:v3.0.0\n  \
        lockgate prefetch --platform linux/amd64 --platform linux/arm64 docker.io/library/postgres:17\n  \
        kubectl get pods -A -o jsonpath='{range .items[*].spec.containers[*]}{.image}{\"\\n\"}{end}' |\n    \
        sort -u | lockgate prefetch --from -\n\n\
        Exit status: 0 all is there, 1 something could not be fetched (the reason is printed)."
)]
pub(crate) struct Args {
    /// Images, as clients write them behind the plane's address
    #[arg(value_name = "REF")]
    references: Vec<String>,
    /// Platforms to fetch of a multi-platform image, such as linux/arm64; repeatable [default: the
    /// plane's own]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Vec<String>,
    /// File of images, one a line, `#` begins a comment; `-` is standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Begins and does not wait for the end; prints the job's id
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    plane: PlaneFlags,
}

impl Args {
    pub(crate) fn run(mut self) -> Result<Exit, Failure> {
        if let Some(from) = &self.from {
            let text = read_list(from)?;
            self.references.extend(parse_list(&text));
        }
        if self.references.is_empty() {
            let hint = "name images, or a file of them with --from";
            return Err(Failure::usage("there is nothing to fetch").hint(hint));
        }
        block_on(self.fetch())
    }

    async fn fetch(self) -> Result<Exit, Failure> {
        let api = Api::find(&self.plane)?;
        // Before the job begins: from then on there is something to stop.
        let interrupt = signal(SignalKind::interrupt())
            .map_err(|error| Failure::cannot_tell("cannot listen to signals").because(&error))?;
        let body = json!({ "references": self.references, "platforms": self.platform });
        let job: JobView = api.post("prefetch", Some(&body)).await?;
        if self.no_wait {
            out(&format!("{}\n", clean(&job.id)));
            return Ok(Exit::Yes);
        }
        let job = watch(&api, job, interrupt).await?;
        Ok(ended(&job))
    }
}

fn read_list(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(LIST_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(LIST_BYTES_MAX).read_to_string(&mut text))
    };
    let wrong = || format!("--from {} cannot be read", path.display());
    read.map_err(|error| Failure::usage(wrong()).because(&error))?;
    if text.len() as u64 == LIST_BYTES_MAX {
        return Err(Failure::usage(wrong()).hint("it is larger than 4 MiB"));
    }
    Ok(text)
}

fn parse_list(text: &str) -> impl Iterator<Item = String> {
    text.lines()
        .map(|line| line.split_once('#').map_or(line, |(before, _)| before).trim())
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
}

/// Follows the job to its end. Ctrl-C asks the plane to stop it, a second one leaves at once.
async fn watch(api: &Api, mut job: JobView, mut interrupt: Signal) -> Result<JobView, Failure> {
    let path = format!("jobs/{}", job.id);
    let mut events = api.events(&format!("{path}/events")).await?;
    let mut display = Display::new();
    let mut interrupts = 0;
    loop {
        display.show(&job);
        tokio::select! {
            event = events.next::<JobView>() => match event? {
                Some(next) => job = next,
                None => break,
            },
            _ = interrupt.recv() => {
                interrupts += 1;
                if interrupts > 1 {
                    return Err(Failure::cannot_tell(format!("left; the job is {}", job.id)));
                }
                display.note("stopping; press Ctrl-C again to leave at once");
                api.delete(&path, &[]).await?;
            }
        }
    }
    if matches!(job.state, JobState::Queued | JobState::Running) {
        // The stream ended before the job did: the plane is stopping, or was replaced.
        job = api.get(&path, &[]).await?;
    }
    display.show(&job);
    display.bar.finish_and_clear();
    Ok(job)
}

/// A bar for people, a line for each image for logs.
struct Display {
    bar: ProgressBar,
    told: HashSet<usize>,
}

impl Display {
    fn new() -> Self {
        let target = if output::is_watched() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style = "{bar:32} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec} {msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self { bar, told: HashSet::new() }
    }

    fn show(&mut self, job: &JobView) {
        for (index, item) in job.items.iter().enumerate() {
            let has_ended = !matches!(item.state, JobState::Queued | JobState::Running);
            if has_ended && self.told.insert(index) {
                self.bar.suspend(|| say(&line(item)));
            }
        }
        self.bar.set_length(job.total_bytes.max(job.done_bytes));
        self.bar.set_position(job.done_bytes);
        self.bar.set_message(format!("({} of {} images)", self.told.len(), job.items.len()));
    }

    fn note(&self, text: &str) {
        self.bar.suspend(|| say(text));
    }
}

fn line(item: &Reported) -> String {
    let name = clean(&item.reference);
    match (item.state, &item.problem) {
        (JobState::Done, _) => {
            let digest = item.digest.map(|digest| format!("  {digest}")).unwrap_or_default();
            format!("{} {name}{digest}", paint(GREEN, "done"))
        }
        (JobState::Cancelled, _) => format!("stopped {name}"),
        (_, Some(problem)) => format!("{} {name}: {}", paint(RED, "failed"), clean(problem)),
        (_, None) => format!("{} {name}", paint(RED, "failed")),
    }
}

fn ended(job: &JobView) -> Exit {
    let done = job.items.iter().filter(|item| item.state == JobState::Done).count();
    say(&format!("{done} of {} images, {}", job.items.len(), output::size(job.done_bytes)));
    match job.state {
        JobState::Done => Exit::Yes,
        JobState::Failed | JobState::Cancelled => Exit::No,
        JobState::Queued | JobState::Running => Exit::CannotTell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_images_may_have_comments_and_blanks() {
        let text = "a/b:1\n\n# no\n  c/d:2  # yes\n#\n";
        assert_eq!(parse_list(text).collect::<Vec<_>>(), ["a/b:1", "c/d:2"]);
    }
}
