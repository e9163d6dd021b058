//! `lockgate freeze`: the document by which an upstream gives what it gave before, and nothing new.

use crate::exit::{Exit, Failure};
use crate::output::{clean, out, say};
use jiff::Timestamp;
use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  lockgate freeze docker-hub --since 2026-11-24T18:00:00Z --into /etc/lockgate/resources\n  \
        lockgate freeze docker-hub --reason 'account of a maintainer was taken over' | kubectl apply -f -\n\n\
        It binds the next request of every process that reads the directory. To end it, remove the file."
)]
pub(crate) struct Args {
    /// The Upstream, by its name
    upstream: String,
    /// Nothing that was seen for the first time at this moment or later is let in [default: now]
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Why; whoever meets it reads this
    #[arg(long, value_name = "TEXT", default_value = "its upstream is frozen")]
    reason: String,
    /// Who is to be asked
    #[arg(long, value_name = "WHO")]
    owner: Option<String>,
    /// Writes it into a directory of resources, in place of printing it
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let text = self.document()?;
        let Some(directory) = &self.into else {
            out(&text);
            return Ok(Exit::Yes);
        };
        let path = directory.join(format!("freeze-{}.yaml", self.upstream));
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o644).open(&path);
        let written = file.and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| {
            Failure::no(format!("{} cannot be written", path.display())).because(&error)
        })?;
        say(&format!(
            "{} is frozen by {}; remove the file to end it",
            self.upstream,
            path.display()
        ));
        Ok(Exit::Yes)
    }

    /// The document, which is right by itself.
    fn document(&self) -> Result<String, Failure> {
        let since = self.since.unwrap_or_else(Timestamp::now);
        let since = Timestamp::from_second(since.as_second()).unwrap_or(since);
        let quoted = |text: &str| Value::from(clean(text)).to_string();
        let owner = self.owner.as_ref().map(|owner| format!("  owner: {}\n", quoted(owner)));
        let text = format!(
            "apiVersion: {}\nkind: Block\nmetadata: {{ name: {} }}\nspec:\n  match: {{ upstreams: [{}], \
             firstSeenSince: {since} }}\n  reason: {}\n{}",
            resources::API_VERSION,
            quoted(&format!("freeze-{}", self.upstream)),
            quoted(&self.upstream),
            quoted(&self.reason),
            owner.unwrap_or_default(),
        );
        match resources::read_text("freeze", &text) {
            Ok(_) => Ok(text),
            Err(problems) => Err(Failure::usage(problems.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(upstream: &str) -> Args {
        let since = "2026-11-24T18:00:00Z".parse().ok();
        let (upstream, reason) = (upstream.to_owned(), "taken \"over\"".to_owned());
        Args { upstream, since, reason, owner: Some("security".to_owned()), into: None }
    }

    #[test]
    fn the_document_can_be_read() {
        let text = args("docker-hub").document().unwrap();
        let set = resources::read_text("x", &text).unwrap();
        let (document, spec) = set.blocks().next().unwrap();
        assert_eq!(document.name(), "freeze-docker-hub");
        assert_eq!(spec.reason.as_str(), "taken \"over\"");
        assert_eq!(spec.r#match.upstreams[0].as_str(), "docker-hub");
    }

    #[test]
    fn what_is_no_name_is_told() {
        assert!(args("Docker Hub").document().is_err());
        assert!(args("a/../b").document().is_err());
    }
}
