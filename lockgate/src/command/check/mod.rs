//! `lockgate check`: what a pull or a push would be answered, before anybody meets it.
//!
//! A running plane answers, or, with `--resources`, one that lives as long as the question and keeps nothing.

mod formats;
mod from;
mod judge;
mod many;
mod offline;
mod reasons;
mod report;
mod summary;

use crate::command::block_on;
use crate::exit::{Exit, Failure};
use crate::flags::PlaneFlags;
use crate::output::{out, warn};
use clap::ValueEnum;
use formats::Item;
use from::{Asked, FromFlags};
use judge::Judge;
use plane::{CheckReport, CheckRequest};
use report::Report;
use std::path::PathBuf;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  lockgate check docker.io/library/nginx:1.27\n  \
        lockgate check docker.io/library/nginx:latest --env prod --as system:serviceaccount:shop:web\n  \
        lockgate check --resources ./resources --as ci:corp/app@refs/tags/v1 -o sarif ghcr.io/corp/app:v1\n  \
        kubectl get pods -A -o json | lockgate check --resources ./resources --cluster prod-eu --from -\n  \
        lockgate check --from access.log --prefix registry.example --env prod --as node:prod-eu\n\n\
        Exit status: 0 allowed (perhaps with a warning), 1 denied, 2 cannot tell, 64 no question. With --resources no plane\n\
        has to run; manifests are asked of the upstreams, and nothing is kept.")]
pub(crate) struct Args {
    /// What is asked for, as clients write it: name:tag or name@digest
    #[arg(required_unless_present = "from")]
    references: Vec<String>,
    #[command(flatten)]
    files: FromFlags,
    /// Who asks: anonymous, user:NAME, system:serviceaccount:NAMESPACE:NAME, node:CLUSTER,
    /// ci:REPOSITORY or ci:REPOSITORY@REF or a SPIFFE id [default: of pods, their service accounts;
    /// else whoever runs this]
    #[arg(long = "as", value_name = "WHO")]
    who: Option<String>,
    /// A group of theirs; repeatable
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    /// Their cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// The environment [default: what they settle]
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// The purpose [default: by who asks]
    #[arg(long, value_name = "PURPOSE")]
    purpose: Option<String>,
    /// Pull or Push
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Asks no plane: judges by this directory (or file) of resources
    #[arg(long, value_name = "DIR")]
    resources: Option<PathBuf>,
    /// How the answer looks
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    #[command(flatten)]
    plane: PlaneFlags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// The whole decision
    Json,
    /// For code scanning (SARIF 2.1.0)
    Sarif,
    /// For test reports
    Junit,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        if self.files.from.is_empty() {
            return block_on(check(self));
        }
        let mut collected = self.files.collect(self.who.as_deref())?;
        self.references.iter().for_each(|reference| collected.list(reference.clone()));
        let left_out = collected.left_out;
        let asked = collected.into_asked();
        if asked.is_empty() {
            let hint = "see what was read, above; --format says what the files are";
            return Err(Failure::usage("there is nothing to check in the files").hint(hint));
        }
        block_on(check_many(self, asked, left_out))
    }

    fn request(&self) -> CheckRequest {
        CheckRequest {
            references: self.references.clone(),
            r#as: self.who.clone(),
            groups: self.group.clone(),
            cluster: self.cluster.clone(),
            environment: self.env.clone(),
            purpose: self.purpose.clone(),
            action: self.action.clone(),
        }
    }
}

async fn check(args: Args) -> Result<Exit, Failure> {
    let judge = Judge::find(&args.plane, args.resources.as_deref()).await?;
    let answer = judge.ask(&args.request()).await;
    judge.stop().await;
    let report = answer?;
    let exit = exit(&report, args.references.len());
    let items = || report.results.iter().cloned().map(Item::alone).collect::<Vec<_>>();
    out(&match args.output {
        Format::Table => formats::table(&report),
        Format::Json => formats::json(&report)?,
        Format::Sarif => formats::sarif(&items())?,
        Format::Junit => formats::junit(&items()),
    });
    Ok(exit)
}

/// All that files tell.
async fn check_many(args: Args, asked: Vec<Asked>, left_out: u64) -> Result<Exit, Failure> {
    let judge = Judge::find(&args.plane, args.resources.as_deref()).await?;
    let mut report = Report::new(args.output);
    let question = CheckRequest { references: Vec::new(), ..args.request() };
    let asking = many::ask(&judge, &question, asked, &mut report).await;
    let owners = judge.owners(report.revision()).await;
    judge.stop().await;
    asking?;
    let exit = report.end(&owners)?;
    if left_out > 0 {
        warn(&format!(
            "more references than can be checked at once: {left_out} lines were left out"
        ));
    }
    Ok(if left_out > 0 && exit == Exit::Yes { Exit::CannotTell } else { exit })
}

/// The worst of all: a denial before what cannot be told. Only what is known to be a yes is one: a verdict
/// of a newer plane, or an answer that lacks a reference, is not.
fn exit(report: &CheckReport, asked: usize) -> Exit {
    let is_yes = |verdict: &str| matches!(verdict, "Allow" | "Warn");
    if report.results.iter().any(|it| it.verdict == "Deny") {
        Exit::No
    } else if report.results.len() == asked && report.results.iter().all(|it| is_yes(&it.verdict)) {
        Exit::Yes
    } else {
        Exit::CannotTell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_to_everything_is_a_yes() {
        let report = |verdicts: &[&str]| {
            let result = |verdict: &&str| {
                let json = serde_json::json!({
                    "reference": "a/b", "name": "a/b", "verdict": verdict, "message": "",
                });
                serde_json::from_value(json).unwrap()
            };
            CheckReport { results: verdicts.iter().map(result).collect() }
        };
        for (verdicts, asked, expected) in [
            (&["Allow", "Warn"][..], 2, Exit::Yes),
            (&["Allow", "CannotTell"], 2, Exit::CannotTell),
            (&["CannotTell", "Deny"], 2, Exit::No),
            (&["Allow", "Deny"], 2, Exit::No),
            (&["Allow"], 2, Exit::CannotTell),
            (&[], 1, Exit::CannotTell),
            (&["Quarantine"], 1, Exit::CannotTell),
        ] {
            assert_eq!(exit(&report(verdicts), asked), expected, "{verdicts:?}");
        }
    }
}
