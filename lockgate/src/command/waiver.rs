//! `lockgate waiver`: exceptions, written so that they can be reviewed, and what became of them.

use crate::client::Api;
use crate::command::block_on;
use crate::exit::{Exit, Failure};
use crate::flags::{PlaneFlags, lasting, moment_after};
use crate::output::{self, clean, out, relative, say};
use jiff::Timestamp;
use plane::{DecisionView, WaiverView};
use serde::Deserialize;
use serde_json::json;

/// The name of a document, at most (DNS label).
const NAME_MAX_CHARS: usize = 63;

#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Prints the Waiver that would let pass what a decision refused, ready for a pull request
    #[command(
        after_help = "Example:\n  lockgate waiver request 01jd3v9k2q8m4x7r5t6w0y1z2a --for 14d \\\n    \
            --reason 'fix ships on Monday; SEC-981' --approved-by security@corp.example > waivers/billing.yaml\n\n\
            It is for this artifact alone, by its digest, in the environment it was refused in."
    )]
    Request(Request),
    /// Lists waivers: how often each was used, and when it ends
    #[command(
        after_help = "Examples:\n  lockgate waiver list\n  lockgate waiver list --expiring 14d   exit status 1 if there are any\n  \
            lockgate waiver list --unused"
    )]
    List(List),
}

#[derive(clap::Args, Debug)]
pub(crate) struct Request {
    /// Id of the decision: it stands at the end of the refusal
    id: String,
    /// For how long
    #[arg(long = "for", value_name = "DURATION", default_value = "14d")]
    lasting: String,
    /// Why it is safe, and where that was decided
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Who asks for it [default: who was refused]
    #[arg(long, value_name = "WHO")]
    requested_by: Option<String>,
    /// Who lets it; another one
    #[arg(long, value_name = "WHO")]
    approved_by: Option<String>,
    #[command(flatten)]
    plane: PlaneFlags,
}

#[derive(clap::Args, Debug)]
pub(crate) struct List {
    /// Only those that end within this time, or have ended
    #[arg(long, value_name = "DURATION")]
    expiring: Option<String>,
    /// Only those that let nothing pass since the process started
    #[arg(long)]
    unused: bool,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    plane: PlaneFlags,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<WaiverView>,
}

impl Command {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Request(args) => block_on(request(args)),
            Self::List(args) => block_on(list(args)),
        }
    }
}

async fn request(args: Request) -> Result<Exit, Failure> {
    let expires = moment_after(Timestamp::now(), "--for", lasting("--for", &args.lasting)?)?;
    let view: DecisionView =
        Api::find(&args.plane)?.get(&format!("decisions/{}", args.id), &[]).await?;
    out(&document(&args, &view, expires)?);
    for (flag, is_given) in
        [("--reason", args.reason.is_some()), ("--approved-by", args.approved_by.is_some())]
    {
        if !is_given {
            output::headed("note", output::CYAN, &format!("fill in what {flag} did not say"));
        }
    }
    Ok(Exit::Yes)
}

/// The document. What is not known is left empty, so that it cannot be put in force by mistake.
fn document(args: &Request, view: &DecisionView, expires: Timestamp) -> Result<String, Failure> {
    let refusing =
        view.outcomes.iter().filter(|it| matches!(it.effect.as_str(), "Refuse" | "CannotTell"));
    let rules: Vec<String> = refusing.map(|it| format!("{}/{}", it.policy, it.rule)).collect();
    if rules.is_empty() {
        let (text, hint) = match (view.verdict.as_str(), view.rule.as_str()) {
            ("Deny", "block") => ("a block refused it", "nothing waives a block; ask its owner"),
            ("Deny", _) => (
                "no rule of an ArtifactPolicy refused it",
                "a waiver opens no access: see AccessPolicy",
            ),
            _ => ("it was not refused", "there is nothing to waive"),
        };
        return Err(Failure::no(text).hint(hint));
    }
    if view.outcomes.iter().any(|it| it.is_block) {
        return Err(Failure::no("a block refused it").hint("nothing waives a block; ask its owner"));
    }
    let name = name_in(&view.request)
        .ok_or_else(|| Failure::cannot_tell("the decision names no repository"))?;
    let digest = view.facts["manifest"]["digest"].as_str();
    let mut scope =
        json!({ "rules": rules, "repositories": [name], "environments": [view.environment] });
    if let Some(digest) = digest {
        scope["digests"] = json!([digest]);
    }
    let requested_by = args.requested_by.as_deref().unwrap_or(&view.principal);
    let text = |text: &str| serde_json::Value::from(clean(text)).to_string();
    Ok(format!(
        "# {}\napiVersion: {}\nkind: Waiver\nmetadata: {{ name: {} }}\nspec:\n  scope: {scope}\n  reason: {}\n  \
         requestedBy: {}\n  approvedBy: {}\n  expires: {expires}\n",
        clean(&view.message),
        resources::API_VERSION,
        document_name(&name, &rules),
        text(args.reason.as_deref().unwrap_or_default()),
        text(requested_by),
        text(args.approved_by.as_deref().unwrap_or_default()),
    ))
}

/// The repository in what a decision was about: `GET docker.io/library/nginx:1.27`, or `… nginx 1.27`.
fn name_in(request: &str) -> Option<String> {
    let asked = request.split(' ').nth(1)?;
    let asked = asked.split('@').next().unwrap_or(asked);
    let name = match (asked.rfind(':'), asked.rfind('/')) {
        (Some(colon), slash) if slash.is_none_or(|slash| slash < colon) => &asked[..colon],
        _ => asked,
    };
    (!name.is_empty()).then(|| name.to_owned())
}

/// A name for it that says what it is about.
fn document_name(name: &str, rules: &[String]) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    let rule = rules.first().and_then(|rule| rule.rsplit('/').next()).unwrap_or_default();
    let text = format!("{last}-{rule}").to_ascii_lowercase();
    let text: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let text: String = text.trim_matches('-').chars().take(NAME_MAX_CHARS).collect();
    text.trim_matches('-').to_owned()
}

async fn list(args: List) -> Result<Exit, Failure> {
    let now = Timestamp::now();
    let until = match &args.expiring {
        Some(text) => Some(moment_after(now, "--expiring", lasting("--expiring", text)?)?),
        None => None,
    };
    let page: Page = Api::find(&args.plane)?.get("waivers", &[]).await?;
    let is_shown = |it: &&WaiverView| {
        until.is_none_or(|until| it.expires <= until) && (!args.unused || it.uses == 0)
    };
    let shown: Vec<&WaiverView> = page.items.iter().filter(is_shown).collect();
    for waiver in &shown {
        match args.json {
            true => out(&format!("{}\n", json!(waiver))),
            false => out(&line(waiver, now)),
        }
    }
    if shown.is_empty() {
        say("no such waiver");
    }
    Ok(if args.expiring.is_some() && !shown.is_empty() { Exit::No } else { Exit::Yes })
}

fn line(waiver: &WaiverView, now: Timestamp) -> String {
    let used = match waiver.last_used {
        Some(at) => format!("used {} times, last {}", waiver.uses, relative(at, now)),
        None => "not used".to_owned(),
    };
    let ends = match waiver.has_expired {
        true => output::paint(output::YELLOW, &format!("ended {}", relative(waiver.expires, now))),
        false => format!("ends {}", relative(waiver.expires, now)),
    };
    let whats: Vec<String> =
        waiver.rules.iter().chain(&waiver.vulnerabilities).map(|it| clean(it)).collect();
    let digests = waiver.digests.iter().map(ToString::to_string);
    let of: Vec<String> = waiver.repositories.iter().map(|it| clean(it)).chain(digests).collect();
    format!(
        "{}  {ends}  {used}\n    {} of {}\n    {}; asked by {}, let by {}\n",
        clean(&waiver.name),
        whats.join(", "),
        of.join(", "),
        clean(&waiver.reason),
        clean(&waiver.requested_by),
        clean(&waiver.approved_by),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_what_was_asked() {
        for (request, name) in [
            ("GET docker.io/library/nginx:1.27", Some("docker.io/library/nginx")),
            ("GET docker.io/library/nginx 1.27", Some("docker.io/library/nginx")),
            ("HEAD a/b@sha256:00", Some("a/b")),
            ("GET localhost:5000/a", Some("localhost:5000/a")),
            ("GET", None),
            ("", None),
        ] {
            assert_eq!(name_in(request).as_deref(), name, "{request}");
        }
    }

    #[test]
    fn documents_have_names_that_may_stand() {
        let rules = vec!["prod-baseline/has-owner".to_owned()];
        assert_eq!(document_name("docker.io/corp/Bill_ing", &rules), "bill-ing-has-owner");
        assert!(document_name(&"x".repeat(300), &rules).len() <= NAME_MAX_CHARS);
    }
}
