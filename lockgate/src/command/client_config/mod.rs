//! `lockgate client-config`: a ready file that makes a container engine pull through the plane, and
//! through nothing else.
//!
//! What every form has in common: no entry names the real registry, because an engine takes every
//! entry for a fallback, and a fallback is a silent way around each refusal (and goes on pulling
//! from the real registry while the plane is down).

mod containerd;
mod containers;
mod docker;
mod kubelet;
mod kubernetes;
#[cfg(test)]
mod tests;

use crate::exit::{Exit, Failure};
use crate::output;
use clap::ValueEnum;
use resources::{HostName, WELL_KNOWN_REGISTRIES, parse_duration};
use std::path::PathBuf;
use url::Url;

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  lockgate client-config containerd --registry docker.io --plane https://plane.example.com \\\n    \
        > /etc/containerd/certs.d/docker.io/hosts.toml\n  \
        lockgate client-config podman > /etc/containers/registries.conf.d/lockgate.conf\n  \
        lockgate client-config docker --plane https://docker.io.plane.example.com\n\n\
        Comments in the file say where it goes, how to apply it, and whether this form was tested."
)]
pub(crate) struct Args {
    /// Which engine the file is for
    #[arg(value_enum)]
    engine: Engine,
    /// Registry whose images are to come through the plane: a host of a Repository, remote, hosted or
    /// virtual; repeatable [default: all well-known ones]
    #[arg(long, value_name = "HOST")]
    registry: Vec<String>,
    /// URL of a plane, as the engine's machine reaches it; repeatable, tried in order
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:5050",
        value_parser = crate::flags::plane_url
    )]
    plane: Vec<Url>,
    /// CA certificate (PEM) that signed the plane's certificate, as a path on the engine's machine
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// How long to try to connect to one plane before the next
    #[arg(long, value_name = "DURATION", default_value = "3s")]
    dial_timeout: String,
    /// kubelet: the audience of service account tokens for the plane
    #[arg(long, value_name = "AUDIENCE", default_value = kubelet::AUDIENCE)]
    audience: String,
    /// kubelet: what the cluster is called in the plane's resources
    #[arg(long, value_name = "NAME", default_value = "my-cluster")]
    cluster: String,
    /// kubelet: images for which it asks, as matchImages has them: a host with * for labels of it, a port,
    /// the beginning of a path; repeatable [default: the hosts of the planes]
    #[arg(long, value_name = "PATTERN")]
    match_images: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// containerd 1.6 and later, with config_path set
    Containerd,
    /// Docker engine
    Docker,
    /// podman, skopeo, buildah
    Podman,
    /// CRI-O
    Crio,
    /// BuildKit
    Buildkit,
    /// k3s
    K3s,
    /// RKE2
    Rke2,
    /// kind
    Kind,
    /// Talos Linux
    Talos,
    /// The kubelet: the credential provider that shows who a pod is
    Kubelet,
}

/// A registry by the host name that stands in image names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Registry(String);

/// A plane as an engine reaches it: scheme, host and port, no path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PlaneUrl {
    is_https: bool,
    /// With the port, if it is not the scheme's.
    authority: String,
}

/// What a form is made from.
#[derive(Clone, Debug)]
struct Wanted {
    registries: Vec<Registry>,
    /// At least one.
    planes: Vec<PlaneUrl>,
    ca_file: Option<String>,
    /// In the notation of Go, which the engines read.
    dial_timeout: String,
}

/// A file, and what cannot stand in it.
#[derive(Debug, Default)]
struct Printed {
    /// Goes to standard output.
    file: String,
    /// Goes to standard error.
    notes: Vec<String>,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let engine = self.engine;
        let (audience, cluster) = (quotable(&self.audience)?, quotable(&self.cluster)?);
        let images = self.match_images.clone();
        if engine != Engine::Kubelet && !images.is_empty() {
            return Err(Failure::usage("--match-images is for the kubelet alone"));
        }
        let wanted = self.wanted()?;
        let printed = match engine {
            Engine::Kubelet => {
                let images = kubelet::match_images(images, &wanted)?;
                kubelet::credential_provider(&images, &audience, &cluster)
            }
            engine => print(engine, &wanted)?,
        };
        for note in printed.notes.iter().chain(&general_notes(&wanted)) {
            output::headed("note", output::CYAN, note);
        }
        output::out(&printed.file);
        Ok(Exit::Yes)
    }

    fn wanted(self) -> Result<Wanted, Failure> {
        let mut registries = Vec::new();
        for name in &self.registry {
            registries.push(registry(name)?);
        }
        if registries.is_empty() {
            registries = WELL_KNOWN_REGISTRIES.map(|name| Registry(name.to_owned())).to_vec();
        }
        let planes = self.plane.iter().map(plane_url).collect::<Result<_, _>>()?;
        let dial_timeout = go_duration(&self.dial_timeout)?;
        let ca_file = match self.ca_file {
            Some(path) if !path.is_absolute() => {
                let hint = "write an absolute path: the engine has another working directory";
                return Err(Failure::usage("--ca-file is relative").hint(hint));
            }
            Some(path) => Some(quotable(&path.to_string_lossy())?),
            None => None,
        };
        Ok(Wanted { registries, planes, ca_file, dial_timeout })
    }
}

fn print(engine: Engine, wanted: &Wanted) -> Result<Printed, Failure> {
    match engine {
        Engine::Containerd => Ok(containerd::hosts_toml(wanted)),
        Engine::Docker => Ok(docker::daemon_json(wanted)),
        Engine::Podman => containers::podman(wanted),
        Engine::Crio => containers::crio(wanted),
        Engine::Buildkit => Ok(kubernetes::buildkit(wanted)),
        Engine::K3s => Ok(kubernetes::registries_yaml(wanted, kubernetes::Distribution::K3s)),
        Engine::Rke2 => Ok(kubernetes::registries_yaml(wanted, kubernetes::Distribution::Rke2)),
        Engine::Kind => Ok(kubernetes::kind(wanted)),
        Engine::Talos => Ok(kubernetes::talos(wanted)),
        Engine::Kubelet => {
            let images = kubelet::match_images(Vec::new(), wanted)?;
            Ok(kubelet::credential_provider(&images, kubelet::AUDIENCE, "my-cluster"))
        }
    }
}

/// True of every engine.
fn general_notes(wanted: &Wanted) -> Vec<String> {
    let mut notes = Vec::new();
    if wanted.planes.iter().any(|plane| {
        plane.authority.starts_with("127.") || plane.authority.starts_with("localhost")
    }) {
        notes.push(
            "this plane is reached by a loopback address: only from its own machine; name one \
             that the engine's machine reaches with --plane"
                .to_owned(),
        );
    }
    notes
}

fn registry(name: &str) -> Result<Registry, Failure> {
    HostName::try_from(name.to_owned())
        .map(|host| Registry(host.as_str().to_owned()))
        .map_err(|error| {
            Failure::usage(format!("--registry {}: {error}", output::clean(name)))
                .hint("write it as it stands in image names, such as docker.io or registry.example.com:5000")
        })
}

fn plane_url(url: &Url) -> Result<PlaneUrl, Failure> {
    let wrong = || {
        Failure::usage(format!("--plane {url}"))
            .hint("write scheme, host and port, such as https://plane.example.com:5050")
    };
    let has_more = url.path() != "/" || url.query().is_some() || !url.username().is_empty();
    if has_more || !matches!(url.scheme(), "http" | "https") {
        return Err(wrong());
    }
    let host = url.host_str().ok_or_else(wrong)?;
    let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    Ok(PlaneUrl { is_https: url.scheme() == "https", authority })
}

/// A duration that Go reads (it knows no days): a file it rejects would send containerd to the real
/// registry.
fn go_duration(text: &str) -> Result<String, Failure> {
    let wrong =
        |what: &str| Failure::usage(format!("--dial-timeout {}: {what}", output::clean(text)));
    let duration = parse_duration(text).map_err(|error| wrong(&error))?;
    match (duration.as_secs(), duration.subsec_millis()) {
        (0, 0) => Err(wrong("zero would try no plane at all")),
        (seconds, 0) => Ok(format!("{seconds}s")),
        _ => Ok(format!("{}ms", duration.as_millis())),
    }
}

/// A text that needs no escaping in TOML, YAML or JSON.
fn quotable(text: &str) -> Result<String, Failure> {
    if text.chars().any(|c| c.is_control() || matches!(c, '"' | '\\')) {
        return Err(Failure::usage(format!("{:?} cannot be written into a file safely", text)));
    }
    Ok(text.to_owned())
}

impl PlaneUrl {
    /// `https://plane.example.com`.
    fn url(&self) -> String {
        format!("{}://{}", if self.is_https { "https" } else { "http" }, self.authority)
    }
}

impl Wanted {
    /// The one that is tried first.
    fn first_plane(&self) -> &PlaneUrl {
        &self.planes[0]
    }
}
