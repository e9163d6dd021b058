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

/// What is shown on a terminal: the bar takes what the rest of the line leaves of it.
const BAR: &str = "{wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec} {msg}";
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
            self.references.extend(references_of("--from", from)?);
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
        let interrupt = interrupts()?;
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

/// The references in a file, or on standard input; `flag` named it.
pub(super) fn references_of(flag: &str, path: &Path) -> Result<Vec<String>, Failure> {
    Ok(parse_list(&read_list(flag, path)?).collect())
}

pub(super) fn read_list(flag: &str, path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(LIST_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(LIST_BYTES_MAX).read_to_string(&mut text))
    };
    let wrong = || format!("{flag} {} cannot be read", path.display());
    read.map_err(|error| Failure::usage(wrong()).because(&error))?;
    if text.len() as u64 == LIST_BYTES_MAX {
        return Err(Failure::usage(wrong()).hint("it is larger than 4 MiB"));
    }
    Ok(text)
}

pub(super) fn parse_list(text: &str) -> impl Iterator<Item = String> {
    text.lines()
        .map(|line| line.split_once('#').map_or(line, |(before, _)| before).trim())
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
}

/// Ctrl-C, as something to wait for.
pub(super) fn interrupts() -> Result<Signal, Failure> {
    signal(SignalKind::interrupt())
        .map_err(|error| Failure::cannot_tell("cannot listen to signals").because(&error))
}

/// Follows the job to its end. Ctrl-C asks the plane to stop it, a second one leaves at once.
pub(super) async fn watch(
    api: &Api,
    mut job: JobView,
    mut interrupt: Signal,
) -> Result<JobView, Failure> {
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
        Self::on(target)
    }

    fn on(target: ProgressDrawTarget) -> Self {
        // Without a length until one is known: a bar of nothing is drawn full.
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style);
        }
        Self { bar, told: HashSet::new() }
    }

    fn show(&mut self, job: &JobView) {
        for (index, item) in job.items.iter().enumerate() {
            let has_ended = !matches!(item.state, JobState::Queued | JobState::Running);
            // What a collection did, its report says.
            let is_told = (job.gc.is_none() && job.moved.is_none()) || item.problem.is_some();
            if has_ended && is_told && self.told.insert(index) {
                self.bar.suspend(|| say(&line(item)));
            }
        }
        let total = job.total_bytes.max(job.done_bytes);
        if total > 0 {
            self.bar.set_length(total);
        }
        self.bar.set_position(job.done_bytes);
        if job.kind == "prefetch" {
            self.bar.set_message(format!("({} of {} images)", done(job), job.items.len()));
        }
        if let Some(moved) = &job.moved {
            let name = moved.name.as_deref().map(|name| format!(", {}", clean(name)));
            let (done, total) = (moved.names_done, moved.names_total);
            let text = format!("({done} of {total} names{})", name.unwrap_or_default());
            self.bar.set_message(text);
        }
        if let Some(gc) = &job.gc {
            self.bar.set_style(names_style());
            self.bar.set_length(gc.names_total.max(gc.names_done));
            self.bar.set_position(gc.names_done);
        }
    }

    fn note(&self, text: &str) {
        self.bar.suspend(|| say(text));
    }
}

/// The bar of work that counts names, not bytes.
fn names_style() -> ProgressStyle {
    ProgressStyle::with_template("{wide_bar} {pos} of {len} names")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
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

/// Images that are there.
fn done(job: &JobView) -> usize {
    job.items.iter().filter(|item| item.state == JobState::Done).count()
}

fn summary(job: &JobView) -> String {
    let mut text =
        format!("{} of {} images, {}", done(job), job.items.len(), output::size(job.done_bytes));
    if job.held_bytes > 0 {
        text.push_str(&format!(", {} of it from the cache", output::size(job.held_bytes)));
    }
    text
}

fn ended(job: &JobView) -> Exit {
    say(&summary(job));
    match job.state {
        JobState::Done => Exit::Yes,
        JobState::Failed | JobState::Cancelled => Exit::No,
        JobState::Queued | JobState::Running => Exit::CannotTell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::TermLike;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[test]
    fn a_list_of_images_may_have_comments_and_blanks() {
        let text = "a/b:1\n\n# no\n  c/d:2  # yes\n#\n";
        assert_eq!(parse_list(text).collect::<Vec<_>>(), ["a/b:1", "c/d:2"]);
    }

    fn job(states: &[JobState], bytes: (u64, u64, u64)) -> JobView {
        let item = |state: &JobState| Reported {
            reference: "a/b:1".to_owned(),
            digest: None,
            state: *state,
            problem: None,
        };
        JobView {
            id: "j".to_owned(),
            kind: "prefetch".to_owned(),
            state: JobState::Running,
            total_bytes: bytes.0,
            done_bytes: bytes.1,
            held_bytes: bytes.2,
            items: states.iter().map(item).collect(),
            gc: None,
            moved: None,
            created: jiff::Timestamp::UNIX_EPOCH,
            updated: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_failed_is_not_counted_as_done_and_what_was_held_is_told() {
        let states = [JobState::Done, JobState::Failed, JobState::Running];
        let told = summary(&job(&states, (4096, 3072, 1024)));
        assert_eq!(told, "1 of 3 images, 3.0 KiB, 1.0 KiB of it from the cache");
        assert_eq!(summary(&job(&states, (4096, 3072, 0))), "1 of 3 images, 3.0 KiB");
    }

    /// A terminal of 80 columns that remembers what was written.
    #[derive(Clone, Debug, Default)]
    struct Terminal(Arc<Mutex<Vec<String>>>);

    impl Terminal {
        fn last_line(&self) -> String {
            let written = self.0.lock().unwrap();
            let mut lines = written.iter().rev();
            lines.find(|line| line.contains("images)")).cloned().unwrap_or_default()
        }

        fn write(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push(text.to_owned());
            Ok(())
        }
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.write(text)
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_bar_starts_empty_and_fits_a_terminal() {
        let terminal = Terminal::default();
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let mut display = Display::on(target);
        display.show(&job(&[JobState::Running; 100], (0, 0, 0)));
        display.bar.tick();
        let drawn = terminal.last_line();
        assert!(!drawn.contains('█'), "{drawn}");
        display.show(&job(&[JobState::Running; 9999], (1023 << 20, 1000 << 20, 0)));
        display.bar.tick();
        let drawn = terminal.last_line();
        assert!(drawn.contains('█') && drawn.contains("(0 of 9999 images)"), "{drawn}");
        assert!(drawn.chars().count() <= 80, "{drawn}");
    }
}
