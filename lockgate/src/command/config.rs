//! `lockgate config`: is what I wrote right, what is in force, what could I write.

use crate::exit::{Exit, Failure};
use crate::flags::{ResourcesFlags, SettingsFlags};
use crate::{output, serve, settings};
use clap::Subcommand;
use plane::View;
use resources::{Kind, Place, Problem, Problems, nearest};
use serde_json::{Value, json};
use std::path::Path;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Finds all mistakes in settings and resources, by file, line, column and field
    #[command(
        after_help = "Examples:\n  lockgate config check --resources /etc/lockgate/resources\n  \
            lockgate config check --config lockgate.yaml\n\n\
            Exit status: 0 all is right, 1 something is wrong."
    )]
    Check {
        #[command(flatten)]
        settings: SettingsFlags,
        #[command(flatten)]
        resources: ResourcesFlags,
    },
    /// Prints the settings in force, and where each of them was said
    #[command(after_help = "Examples:\n  lockgate config print\n  \
            LOCKGATE_CACHE__MAX_BYTES=200GiB lockgate config print --config lockgate.yaml")]
    Print {
        #[command(flatten)]
        settings: SettingsFlags,
        #[command(flatten)]
        resources: ResourcesFlags,
    },
    /// Prints the JSON Schema of settings or of a kind of resource, for editors
    #[command(
        after_help = "Examples:\n  lockgate config schema settings > lockgate.schema.json\n  \
            lockgate config schema Repository"
    )]
    Schema {
        /// `settings`, a kind of resource such as `Repository`, or `all`
        #[arg(default_value = "all")]
        what: String,
    },
}

impl Command {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Check { settings, resources } => check(&settings, &resources),
            Self::Print { settings, resources } => {
                let loaded = settings.load(resources.flags())?;
                output::out(&settings::print(&loaded.settings, &loaded.written));
                Ok(Exit::Yes)
            }
            Self::Schema { what } => schema(&what),
        }
    }
}

fn check(flags: &SettingsFlags, resources: &ResourcesFlags) -> Result<Exit, Failure> {
    let mut problems = Vec::new();
    let loaded = match settings::load(&flags.sources(resources.flags())?) {
        Ok(loaded) => Some(loaded),
        Err(wrong) => {
            problems.extend(wrong.into_vec());
            None
        }
    };
    for name in loaded.iter().flat_map(|loaded| &loaded.foreign_variables) {
        output::warn(&format!("the environment variable {name} is no option"));
    }
    if let Some(Err(failure)) = loaded.as_ref().map(|loaded| serve::check(&loaded.settings)) {
        problems.push(Problem::new(Place::of("settings"), "", failure.one_line()));
    }
    let in_settings = loaded.as_ref().and_then(|loaded| loaded.settings.resources_dir.clone());
    // Mistakes in settings must not hide those in resources.
    let path = resources.resources.clone().or(in_settings);
    match check_resources(path.as_deref()) {
        Ok(view) if problems.is_empty() => {
            let (documents, revision) = (view.set().documents().len(), view.revision());
            output::say(&format!(
                "settings and {documents} documents are right; revision {revision}"
            ));
            return Ok(Exit::Yes);
        }
        Ok(_) => {}
        Err(wrong) => problems.extend(wrong.into_vec()),
    }
    // A document that cannot be read may be the very one that others name.
    let is_read = path.as_deref().is_none_or(|path| resources::read_dir(path).is_ok());
    // This is the answer, so it goes to standard output, one line each.
    for problem in &problems {
        output::out(&format!("{problem}\n"));
    }
    let count = problems.len();
    output::say(&format!("{count} {}", if count == 1 { "problem" } else { "problems" }));
    if !is_read {
        output::say(
            "fix these, then check again: references are judged when all documents can be read",
        );
    }
    Ok(Exit::No)
}

/// Reads resources and makes of them what a plane would, without one.
pub(crate) fn check_resources(path: Option<&Path>) -> Result<View, Problems> {
    View::check(resources::effective(path)?)
}

fn schema(what: &str) -> Result<Exit, Failure> {
    let schema = match what {
        "settings" => settings::json_schema(),
        "all" => {
            let mut all = json!({ "settings": settings::json_schema() });
            for (kind, schema) in resources::json_schemas() {
                all[kind] = schema;
            }
            all
        }
        kind => match Kind::parse(kind) {
            Some(kind) => resources::json_schema(kind),
            None => return Err(unknown(kind)),
        },
    };
    output::out(&pretty(&schema));
    Ok(Exit::Yes)
}

fn unknown(what: &str) -> Failure {
    let names = || ["settings", "all"].into_iter().chain(Kind::ALL.into_iter().map(Kind::as_str));
    let known = names().collect::<Vec<_>>().join(", ");
    let failure = Failure::usage(format!("there is no schema {what}"));
    match nearest(what, names()) {
        Some(near) => failure.hint(format!("did you mean `{near}`? There are: {known}")),
        None => failure.hint(format!("there are: {known}")),
    }
}

/// JSON for people and programs alike.
pub(crate) fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
