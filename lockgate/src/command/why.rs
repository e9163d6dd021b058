//! `lockgate why`: the decision behind an id.

use crate::client::Api;
use crate::command::block_on;
use crate::exit::{Exit, Failure};
use crate::flags::PlaneFlags;
use crate::output::{clean, out, relative};
use jiff::Timestamp;
use plane::DecisionView;

#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  lockgate why 01jd3v9k2q8m4x7r5t6w0y1z2a\n\n\
        The last few thousand decisions of the running process are known: the id is in a refusal, and in\n\
        the header Lockgate-Decision of everything else. What an upstream said is in the error text itself.")]
pub(crate) struct Args {
    /// The id: 26 letters and digits
    id: String,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    plane: PlaneFlags,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        block_on(why(self))
    }
}

async fn why(args: Args) -> Result<Exit, Failure> {
    let is_id = args.id.len() == 26 && args.id.bytes().all(|b| b.is_ascii_alphanumeric());
    if !is_id {
        return Err(Failure::usage(format!("{:?} is no decision id", args.id))
            .hint("it stands at the end of a refusal, after `lockgate why`"));
    }
    let api = Api::find(&args.plane)?;
    let view: DecisionView = api.get(&format!("decisions/{}", args.id), &[]).await?;
    if args.json {
        let text = serde_json::to_string(&view)
            .map_err(|error| Failure::cannot_tell("the answer").because(&error))?;
        out(&format!("{text}\n"));
        return Ok(Exit::Yes);
    }
    out(&told(&view, Timestamp::now()));
    Ok(Exit::Yes)
}

fn told(view: &DecisionView, now: Timestamp) -> String {
    let mut text = format!(
        "{}\n  verdict   {}\n  asked     {}, by {}\n  for       {}, to {}\n  when      {:.0} ({})\n",
        clean(&view.message),
        clean(&view.verdict),
        clean(&view.request),
        clean(&view.principal),
        clean(&view.environment),
        clean(&view.purpose),
        view.at,
        relative(view.at, now),
    );
    if !view.policy.is_empty() {
        text += &format!("  refused   by {}/{}\n", clean(&view.policy), clean(&view.rule));
    }
    text += &format!("  revision  {}\n", view.revision);
    if !view.outcomes.is_empty() {
        text += "  rules\n";
    }
    for it in &view.outcomes {
        let what = match it.effect.as_str() {
            "None" => it.outcome.clone(),
            effect => format!("{} → {effect}", it.outcome),
        };
        text += &format!("    {}/{}  {}", clean(&it.policy), clean(&it.rule), clean(&what));
        if !it.reason.is_empty() {
            text += &format!(": {}", clean(&it.reason));
        }
        if let Some(softened) = &it.softened {
            text += &format!(" ({})", clean(softened));
        }
        text.push('\n');
    }
    if let Some(facts) = view.facts.as_object() {
        text += "  facts\n";
        for (name, value) in facts.iter().filter(|(_, value)| !value.is_null()) {
            text += &format!("    {:<10} {}\n", clean(name), clean(&value.to_string()));
        }
    }
    text
}
