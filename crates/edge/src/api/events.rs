//! A job as server-sent events (WHATWG HTML, "Server-sent events").

use crate::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Response, header};
use plane::{JobState, JobView};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// Changes closer together than this are told as one.
const SPACING: Duration = Duration::from_millis(200);

/// A comment goes out after this much silence, so that no proxy takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// nginx must not collect events before it hands them on.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What is being watched.
struct Watching {
    job: watch::Receiver<JobView>,
    stopping: CancellationToken,
    told: Option<Instant>,
    ended: bool,
    spacing: Duration,
    heartbeat: Duration,
}

/// One event now and one at every change, until the job ends or the plane stops.
pub(super) fn of_job(
    job: watch::Receiver<JobView>,
    stopping: &CancellationToken,
) -> Response<Body> {
    let watching = Watching::new(job, stopping.clone());
    let events = stream::unfold(watching, |mut watching| async {
        let event = watching.next().await?;
        Some((Ok::<_, Infallible>(event), watching))
    });
    let mut response = Response::new(Body::stream(events, None));
    let held = response.headers_mut();
    held.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    held.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

impl Watching {
    fn new(job: watch::Receiver<JobView>, stopping: CancellationToken) -> Self {
        let (spacing, heartbeat) = (SPACING, HEARTBEAT);
        Self { job, stopping, told: None, ended: false, spacing, heartbeat }
    }

    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if let Some(told) = self.told {
            tokio::select! {
                changed = self.job.changed() => changed.ok()?,
                () = sleep(self.heartbeat) => return Some(Bytes::from_static(b": waiting\n\n")),
                () = self.stopping.cancelled() => return None,
            }
            sleep_until(told + self.spacing).await;
        }
        let event = {
            let view = self.job.borrow_and_update();
            self.ended = has_ended(view.state);
            let text = serde_json::to_string(&*view).unwrap_or_default();
            Bytes::from(format!("data: {text}\n\n"))
        };
        self.told = Some(Instant::now());
        Some(event)
    }
}

fn has_ended(state: JobState) -> bool {
    match state {
        JobState::Queued | JobState::Running => false,
        JobState::Done | JobState::Failed | JobState::Cancelled => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn view(done_bytes: u64, state: JobState) -> JobView {
        JobView {
            id: "j".to_owned(),
            kind: "prefetch".to_owned(),
            state,
            total_bytes: 10,
            done_bytes,
            held_bytes: 0,
            items: Vec::new(),
            gc: None,
            moved: None,
            created: Timestamp::UNIX_EPOCH,
            updated: Timestamp::UNIX_EPOCH,
        }
    }

    fn watching(job: watch::Receiver<JobView>) -> Watching {
        let spacing = Duration::from_millis(1);
        Watching { spacing, ..Watching::new(job, CancellationToken::new()) }
    }

    async fn next(watching: &mut Watching) -> Option<serde_json::Value> {
        let event = watching.next().await?;
        let text = std::str::from_utf8(&event).unwrap();
        let text = text.strip_prefix("data: ").and_then(|text| text.strip_suffix("\n\n"));
        Some(serde_json::from_str(text.unwrap()).unwrap())
    }

    #[tokio::test]
    async fn every_state_is_told_until_the_last() {
        let (sender, job) = watch::channel(view(0, JobState::Queued));
        let mut watching = watching(job);
        assert_eq!(next(&mut watching).await.unwrap()["state"], "Queued");
        sender.send_replace(view(1, JobState::Running));
        sender.send_replace(view(2, JobState::Running));
        assert_eq!(next(&mut watching).await.unwrap()["doneBytes"], 2);
        sender.send_replace(view(10, JobState::Done));
        assert_eq!(next(&mut watching).await.unwrap()["state"], "Done");
        assert!(next(&mut watching).await.is_none());
    }

    #[tokio::test]
    async fn silence_is_filled_and_stopping_ends_it() {
        let (sender, job) = watch::channel(view(0, JobState::Running));
        let mut watching = watching(job);
        assert!(next(&mut watching).await.is_some());
        watching.heartbeat = Duration::from_millis(1);
        assert!(watching.next().await.unwrap().starts_with(b":"));
        watching.heartbeat = HEARTBEAT;
        watching.stopping.cancel();
        assert!(watching.next().await.is_none());
        drop(sender);
    }

    #[tokio::test]
    async fn the_last_word_of_a_job_that_is_forgotten_is_told() {
        let (sender, job) = watch::channel(view(0, JobState::Running));
        let mut watching = watching(job);
        assert!(next(&mut watching).await.is_some());
        sender.send_replace(view(3, JobState::Cancelled));
        drop(sender);
        assert_eq!(next(&mut watching).await.unwrap()["state"], "Cancelled");
        assert!(next(&mut watching).await.is_none());
    }
}
