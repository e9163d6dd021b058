//! `lockgate doctor`: looks at everything that goes wrong in practice, and says what to do.

mod certificates;
mod claims;
mod finding;
mod machine;
mod reason;
mod running;
mod upstreams;

use crate::client::Api;
use crate::command::block_on;
use crate::command::config::check_resources;
use crate::exit::{Exit, Failure};
use crate::flags::{ResourcesFlags, SettingsFlags, plane_url};
use crate::output;
use crate::serve::{DataDir, Holder};
use crate::settings::{self, Loaded, Settings};
use finding::Report;
use jiff::Timestamp;
use plane::{Status, View};
use serde_json::json;
use std::collections::HashSet;
use std::path::PathBuf;
use url::Url;

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  lockgate doctor                                  this machine and its plane\n  \
        lockgate doctor --plane https://plane.example.com   a plane as its clients reach it\n  \
        lockgate doctor --json | jq -r '.[] | select(.state == \"Wrong\").text'\n\n\
        Exit status: 0 all is well, 1 something is wrong, 2 something could not be told."
)]
pub(crate) struct Args {
    /// URL of a plane, as its clients reach it; repeatable [default: the plane of the data directory]
    #[arg(long, value_name = "URL", env = "LOCKGATE_PLANE", value_parser = plane_url)]
    plane: Vec<Url>,
    /// PEM file of further certificate authorities to trust for --plane
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A JSON array of findings instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsFlags,
    #[command(flatten)]
    resources: ResourcesFlags,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        block_on(async move {
            let mut report = Report::default();
            self.examine(&mut report).await?;
            let text =
                if self.json { format!("{:#}\n", json!(report.findings())) } else { report.text() };
            output::out(&text);
            Ok(report.exit())
        })
    }

    /// Whether this machine is asked about, and not only planes elsewhere.
    fn is_local(&self) -> bool {
        let flags = &self.settings;
        self.plane.is_empty()
            || flags.config.is_some()
            || flags.data_dir.is_some()
            || !flags.set.is_empty()
            || self.resources.resources.is_some()
    }

    async fn examine(&self, report: &mut Report) -> Result<(), Failure> {
        let is_local = self.is_local();
        let loaded = if is_local { self.settings(report)? } else { None };
        let settings = loaded.as_ref().map(|loaded| &loaded.settings);
        let plane = self.reach(settings, report).await;
        let running = match &plane {
            Some((api, status)) => running::view(api, status, report).await,
            None => None,
        };
        let written =
            if is_local { self.resources(settings, plane.is_some(), report) } else { None };
        // What is in force counts, whatever the files say now.
        let judged = running.as_ref().or(written.as_ref());
        if let Some(view) = judged {
            claims::look(view.set(), report);
        }
        if let Some(settings) = settings {
            machine::look(settings, report);
            certificates::of_listeners(settings, Timestamp::now(), report);
        }
        // The files of a plane elsewhere are not here.
        let here = if self.plane.is_empty() { judged } else { written.as_ref() };
        if let Some(view) = here {
            certificates::of_upstreams(view, Timestamp::now(), report);
        }
        match (&plane, judged) {
            (Some((api, _)), view) => upstreams::by_plane(api, view, report).await,
            (None, Some(view)) => upstreams::by_ourselves(view, report).await,
            (None, None) => {}
        }
        for url in self.public_urls(loaded.as_ref(), plane.is_some(), report) {
            reason::look(&url, self.ca_file.as_deref(), report).await;
        }
        Ok(())
    }

    fn settings(&self, report: &mut Report) -> Result<Option<Loaded>, Failure> {
        let sources = self.settings.sources(self.resources.flags())?;
        let source = match &self.settings.config {
            Some(path) => path.display().to_string(),
            None => "no file, defaults".to_owned(),
        };
        match settings::load(&sources) {
            Ok(loaded) => {
                report.right("settings", source);
                for name in &loaded.foreign_variables {
                    let text = format!("the environment variable {name} is no option");
                    report.warning(
                        "settings",
                        text,
                        "take it away, or ask `lockgate config print`",
                    );
                }
                Ok(Some(loaded))
            }
            Err(problems) => {
                for problem in problems.iter() {
                    report.wrong(
                        "settings",
                        problem.to_string(),
                        "correct it; `lockgate config schema settings` describes every option",
                    );
                }
                Ok(None)
            }
        }
    }

    /// The resources that were named, or the built-in ones where no plane has others in force.
    fn resources(
        &self,
        settings: Option<&Settings>,
        is_running: bool,
        report: &mut Report,
    ) -> Option<View> {
        let in_settings = settings.and_then(|settings| settings.resources_dir.clone());
        let path = self.resources.resources.clone().or(in_settings);
        if path.is_none() && is_running {
            return None;
        }
        match check_resources(path.as_deref()) {
            Ok(view) => {
                let count = view.set().documents().len();
                let source =
                    path.map_or_else(|| "built-in".to_owned(), |path| path.display().to_string());
                report.right("resources", format!("{count} documents, {source}"));
                Some(view)
            }
            Err(problems) => {
                for problem in problems.iter() {
                    report.wrong(
                        "resources",
                        problem.to_string(),
                        "correct it; a running plane keeps the last good set meanwhile",
                    );
                }
                None
            }
        }
    }

    /// The plane that can be asked, if one answers.
    async fn reach(
        &self,
        settings: Option<&Settings>,
        report: &mut Report,
    ) -> Option<(Api, Status)> {
        let api = match (self.plane.first(), settings) {
            (Some(url), _) => Api::at(url, self.ca_file.as_deref()),
            (None, settings) => {
                // Mistakes in settings do not hide a plane whose place was named.
                let named = self.settings.data_dir.clone();
                let data_dir = settings.map(Settings::data_dir).or(named)?;
                if !crate::client::has_socket(&data_dir) {
                    match DataDir::holder(&data_dir) {
                        Holder::Free => report.right("plane", "none runs on this data directory".to_owned()),
                        Holder::Process(_) => report.unknown(
                            "plane",
                            "the data directory is in use, and nobody answers on its socket".to_owned(),
                            "does the plane just start, or did somebody remove lockgate.sock? Start it again",
                        ),
                    }
                    return None;
                }
                Api::local(&data_dir)
            }
        };
        let remedy = "over TCP the API needs an AccessPolicy that allows Administer; is it the right address?";
        let api = match api {
            Ok(api) => api,
            Err(failure) => {
                report.unknown("plane", failure.one_line(), remedy);
                return None;
            }
        };
        match api.get::<Status>("status", &[]).await {
            Ok(status) => {
                of_status(&status, api.name(), report);
                Some((api, status))
            }
            Err(failure) => {
                report.unknown("plane", failure.one_line(), remedy);
                None
            }
        }
    }

    /// Where clients reach the plane, as far as somebody said it.
    fn public_urls(
        &self,
        loaded: Option<&Loaded>,
        is_running: bool,
        report: &mut Report,
    ) -> Vec<Url> {
        let mut urls = self.plane.clone();
        let is_told = self.settings.config.is_some()
            || loaded.is_some_and(|loaded| loaded.written.entry("listeners").is_some());
        let listeners = match loaded {
            Some(loaded) if is_told => loaded.settings.listeners.as_slice(),
            _ => &[],
        };
        // The defaults are a guess: `--listen` is not known here.
        if is_running && !is_told && self.plane.is_empty() {
            report.warning(
                "status line",
                "no settings given: listeners of the running plane are not judged".to_owned(),
                "name its settings with --config, or its address with --plane",
            );
        }
        for listener in listeners {
            urls.extend(listener.public_urls.iter().filter_map(|url| url.as_str().parse().ok()));
            // Without a URL of its own, what stands in no client's way: the address itself.
            let address = listener.address.as_str();
            let has_own = !listener.public_urls.is_empty() || listener.tls.is_some();
            if is_running && !has_own && self.plane.is_empty() && !address.ends_with(":0") {
                let address = address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]");
                urls.extend(format!("http://{address}").parse::<Url>().ok());
            }
        }
        let mut seen = HashSet::new();
        urls.retain(|url| seen.insert(url.clone()));
        urls
    }
}

fn of_status(status: &Status, name: &str, report: &mut Report) {
    let state = if status.ready { "ready" } else { "not ready: it starts or stops" };
    let revision = &status.revision;
    let short = crate::command::revision::short(&revision.digest);
    report.right("plane", format!("{name} is {state}; revision {short} from {}", revision.source));
    if let Some(problem) = &status.catalog.problem {
        report.wrong(
            "catalog",
            problem.clone(),
            "what is hot is served without it; look at its file and disk",
        );
    } else if status.catalog.gaps > 0 {
        let text = format!("{} notes were lost since the start", status.catalog.gaps);
        report.warning(
            "catalog",
            text,
            "the disk is too slow or was full; what they said is learnt again",
        );
    } else {
        report.right("catalog", "takes writes".to_owned());
    }
    // The upstreams are asked below, and the catalog was judged above.
    let is_ours = |warning: &&String| {
        !warning.starts_with("upstream ") && !warning.starts_with("the catalog")
    };
    for warning in status.warnings.iter().filter(is_ours) {
        report.warning("plane", warning.clone(), "see the log of the plane");
    }
}
