//! `lockgate why`: the refusal behind an id.

use crate::client::Api;
use crate::command::block_on;
use crate::exit::{Exit, Failure};
use crate::flags::PlaneFlags;
use crate::output::{clean, out, relative};
use jiff::Timestamp;
use plane::DecisionView;

#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  lockgate why 01jd3v9k2q8m4x7r5t6w0y1z2a\n\n\
        The last few thousand refusals of the running process are known. Refusals of policies are \
        told; what an upstream said is in the error text itself.")]
pub(crate) struct Args {
    /// The id at the end of the refusal: 26 letters and digits
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
    let when = relative(view.at, Timestamp::now());
    out(&format!(
        "{}\n  asked     {}, by {}\n  when      {:.0} ({when})\n  refused   by {}/{}\n  revision  {}\n",
        clean(&view.message),
        clean(&view.request),
        clean(&view.principal),
        view.at,
        clean(&view.policy),
        clean(&view.rule),
        view.revision,
    ));
    Ok(Exit::Yes)
}
