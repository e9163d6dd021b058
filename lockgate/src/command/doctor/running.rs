//! What the plane that runs has in force. Its files may say something else by now, and whoever asks
//! need not know where they are.

use super::finding::Report;
use crate::client::Api;
use crate::exit::Failure;
use plane::{Status, View};

/// The resources in force, from the plane itself.
pub(super) async fn view(api: &Api, status: &Status, report: &mut Report) -> Option<View> {
    let digest = &status.revision.digest;
    let text = match api.text(&format!("revisions/{digest}")).await {
        Ok(text) => text,
        Err(failure) => {
            told(&failure, report);
            return None;
        }
    };
    let name = format!("revision {}", crate::command::revision::short(digest));
    let view = resources::read_text(&name, &text).and_then(View::check);
    match view {
        Ok(view) => {
            let count = view.set().documents().len();
            let source = &status.revision.source;
            report.right("resources", format!("{count} documents in force, from {source}"));
            Some(view)
        }
        // The plane read its files when they were good.
        Err(problems) => {
            for problem in problems.iter() {
                report.wrong(
                    "resources",
                    problem.to_string(),
                    "correct it: the plane serves with what it read before, and would not start so",
                );
            }
            None
        }
    }
}

fn told(failure: &Failure, report: &mut Report) {
    report.unknown(
        "resources",
        format!("the plane does not tell what is in force: {}", failure.one_line()),
        "ask again; see the log of the plane",
    );
}
