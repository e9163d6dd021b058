//! `lockgate cache verify`: has the plane read what it keeps and hold it against its digests.

use crate::client::Api;
use crate::command::{block_on, prefetch};
use crate::exit::{Exit, Failure};
use crate::flags::PlaneFlags;
use crate::output::{clean, out, say, size};
use oci::Digest;
use plane::{JobState, JobView};
use serde_json::{Value, json};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  lockgate cache verify\n  \
        lockgate cache verify docker.io/library/alpine:3\n  \
        lockgate cache verify --digest sha256:4bcf…\n  \
        lockgate cache verify --repository docker.io\n\n\
        Damaged blobs are removed; the next request fetches them again.\n\
        Exit status: 0 all is sound, 1 something was damaged or could not be read.")]
pub(crate) struct Args {
    /// An image, as clients write it behind the plane's address: its manifests and all they list
    /// [default: everything in the store]
    #[arg(value_name = "REF", conflicts_with_all = ["digest", "repository"])]
    reference: Option<String>,
    /// One blob or manifest
    #[arg(long, conflicts_with = "repository")]
    digest: Option<String>,
    /// All that names of one Repository hold (its metadata.name)
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
    /// Begins and does not wait for the end; prints the job's id
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    plane: PlaneFlags,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let body = self.target()?;
        block_on(async move {
            let api = Api::find(&self.plane)?;
            // Before the job begins: from then on there is something to stop.
            let interrupt = prefetch::interrupts()?;
            let job: JobView = api.post("cache/verify", Some(&body)).await?;
            if self.no_wait {
                out(&format!("{}\n", clean(&job.id)));
                return Ok(Exit::Yes);
            }
            let job = prefetch::watch(&api, job, interrupt).await?;
            say(&format!("read {}", size(job.done_bytes)));
            Ok(match job.state {
                JobState::Done => Exit::Yes,
                JobState::Failed | JobState::Cancelled => Exit::No,
                JobState::Queued | JobState::Running => Exit::CannotTell,
            })
        })
    }

    fn target(&self) -> Result<Value, Failure> {
        if let Some(digest) = &self.digest {
            let digest = Digest::parse(digest);
            let digest = digest.map_err(|error| Failure::usage("--digest").because(&error))?;
            return Ok(json!({ "digest": digest }));
        }
        Ok(match (&self.reference, &self.repository) {
            (Some(reference), _) => json!({ "reference": reference }),
            (None, Some(repository)) => json!({ "repository": repository }),
            (None, None) => json!({}),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_named_or_everything() {
        let args = |digest: Option<&str>, repository: Option<&str>| Args {
            reference: None,
            digest: digest.map(str::to_owned),
            repository: repository.map(str::to_owned),
            no_wait: false,
            plane: PlaneFlags::default(),
        };
        assert_eq!(args(None, None).target().unwrap(), json!({}));
        let repository = args(None, Some("docker.io")).target().unwrap();
        assert_eq!(repository, json!({ "repository": "docker.io" }));
        assert!(args(Some("sha256:1"), None).target().is_err());
    }
}
