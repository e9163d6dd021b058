//! Flags that several commands share: which settings, and which plane.

use crate::exit::Failure;
use crate::settings::{self, Loaded, Sources};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use url::{Host, Url};

/// Where settings come from.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct SettingsFlags {
    /// Settings file (YAML); see `lockgate config print` for every option
    #[arg(long, value_name = "FILE", env = "LOCKGATE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Directory of blobs, catalog and command socket [default: the platform's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Sets one option, as `cache.maxBytes=200GiB`; repeatable
    #[arg(long, value_name = "OPTION=VALUE")]
    pub(crate) set: Vec<String>,
}

/// Where resources come from.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ResourcesFlags {
    /// Directory (or file) of resources [default: the option resourcesDir; else only built-in ones]
    #[arg(long, value_name = "DIR")]
    pub(crate) resources: Option<PathBuf>,
}

/// Which plane is asked.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PlaneFlags {
    /// URL of the plane; LOCKGATE_TOKEN is sent as bearer token, else the login of `lockgate login` is
    /// used [default: the socket in the data directory]
    #[arg(long, value_name = "URL", env = "LOCKGATE_PLANE", value_parser = plane_url)]
    pub(crate) plane: Option<Url>,
    /// PEM file of further certificate authorities to trust for --plane
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: SettingsFlags,
}

impl SettingsFlags {
    /// The layers these flags, `more` flags and the environment make.
    pub(crate) fn sources(&self, more: Vec<Flag>) -> Result<Sources, Failure> {
        let (mut flags, mut wrong) = (Vec::new(), Vec::new());
        for set in &self.set {
            let Some((option, value)) = set.split_once('=') else {
                wrong.push(format!("--set {set}: no value"));
                continue;
            };
            flags.push((format!("--set {option}"), option.to_owned(), value.to_owned()));
        }
        if !wrong.is_empty() {
            let hint = "write it as OPTION=VALUE, such as cache.maxBytes=200GiB";
            return Err(Failure::usage(wrong.join("\n")).hint(hint));
        }
        if let Some(dir) = &self.data_dir {
            flags.push(flag("--data-dir", "dataDir", dir.to_string_lossy()));
        }
        flags.extend(more);
        // Variables that are not UTF-8 cannot be options of ours.
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Ok(Sources { file: self.config.clone(), variables, flags })
    }

    /// Reads the settings, or says everything that is wrong with them.
    pub(crate) fn load(&self, more: Vec<Flag>) -> Result<Loaded, Failure> {
        let sources = self.sources(more)?;
        settings::load(&sources).map_err(|problems| {
            Failure::no(problems.to_string())
                .hint("`lockgate config schema settings` describes every option")
        })
    }
}

impl ResourcesFlags {
    /// As a flag over the settings.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        let path = self.resources.iter();
        path.map(|path| flag("--resources", "resourcesDir", path.to_string_lossy())).collect()
    }
}

impl PlaneFlags {
    /// The token for a plane that is asked over TCP.
    pub(crate) fn token() -> Option<SecretString> {
        let token = std::env::var("LOCKGATE_TOKEN").ok()?;
        (!token.is_empty()).then(|| token.into())
    }
}

/// How long something is to last, as a flag says.
pub(crate) fn lasting(flag: &str, text: &str) -> Result<Duration, Failure> {
    resources::parse_duration(text).map_err(|error| Failure::usage(format!("{flag}: {error}")))
}

/// The moment so long after another one, to the second.
pub(crate) fn moment_after(
    now: Timestamp,
    flag: &str,
    lasting: Duration,
) -> Result<Timestamp, Failure> {
    let too_long =
        |error: &jiff::Error| Failure::usage(format!("{flag} is too long")).because(error);
    let lasting = SignedDuration::try_from(lasting).map_err(|error| too_long(&error))?;
    let end = now.checked_add(lasting).map_err(|error| too_long(&error))?;
    Ok(Timestamp::from_second(end.as_second()).unwrap_or(end))
}

/// The URL of a plane, or why it is none and how to write it.
pub(crate) fn plane_url(text: &str) -> Result<Url, String> {
    let url = text.parse::<Url>().ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
    url.ok_or_else(|| {
        "not the URL of a plane; write scheme, host and port, such as \
         https://plane.example.com:5050"
            .to_owned()
    })
}

/// Whether a URL leads to this machine, so that nobody is on the way.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

/// The flag as written, the option's path, the value.
pub(crate) type Flag = (String, String, String);

/// One flag over the settings.
pub(crate) fn flag(name: &str, option: &str, value: impl Into<String>) -> Flag {
    (name.to_owned(), option.to_owned(), value.into())
}
