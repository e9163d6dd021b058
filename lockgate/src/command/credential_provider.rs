//! `lockgate credential-provider`: the kubelet's image credential provider (KEP-2133, KEP-4412).
//!
//! The kubelet hands over the service account token of the pod that needs an image, and gets it back as
//! the password for our host. Nothing is asked of anybody, and nothing is kept: the token is what the plane
//! checks.

use crate::exit::{Exit, Failure};
use crate::output;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use std::io::Read;
use std::path::PathBuf;

const API_VERSION: &str = "credentialprovider.kubelet.k8s.io/v1";
/// A request is an image and a token.
const REQUEST_MAX_BYTES: u64 = 1 << 20;

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  ln -s /usr/local/bin/lockgate /etc/kubernetes/credential-providers/lockgate-credential-provider\n  \
        lockgate client-config kubelet --plane https://plane.example.com > /etc/kubernetes/credential-providers.yaml\n\n\
        The kubelet runs it: it reads a CredentialProviderRequest from standard input and writes the\n\
        response. Called by the name lockgate-credential-provider it needs no subcommand."
)]
pub(crate) struct Args {
    /// File with the credential of this node's cluster, for images of pods without a service account
    /// token (static pods)
    #[arg(long, value_name = "FILE")]
    cluster_credential_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    api_version: String,
    kind: String,
    image: String,
    #[serde(default)]
    service_account_token: String,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        self.answered().map_err(Failure::in_one_line)
    }

    fn answered(self) -> Result<Exit, Failure> {
        let mut text = String::new();
        let read = std::io::stdin().take(REQUEST_MAX_BYTES).read_to_string(&mut text);
        read.map_err(|error| Failure::no("the request cannot be read").because(&error))?;
        let request: Request = serde_json::from_str(&text).map_err(|error| {
            Failure::no("standard input is no CredentialProviderRequest").because(&error)
        })?;
        output::out(&format!("{}\n", self.answer(&request)?));
        Ok(Exit::Yes)
    }

    fn answer(&self, request: &Request) -> Result<serde_json::Value, Failure> {
        if request.api_version != API_VERSION || request.kind != "CredentialProviderRequest" {
            let what =
                format!("{} {}", output::clean(&request.api_version), output::clean(&request.kind));
            return Err(Failure::no(format!("{what} is not answered")).hint(format!(
                "set apiVersion: {API_VERSION} in the kubelet's CredentialProviderConfig"
            )));
        }
        let host = host_of(&request.image).ok_or_else(|| {
            Failure::no(format!("{} names no registry", output::clean(&request.image)))
        })?;
        let (username, password) = self.credential(request)?;
        Ok(json!({
            "apiVersion": API_VERSION,
            "kind": "CredentialProviderResponse",
            // The token speaks for the pod's account at every name of this host; the kubelet keeps
            // answers apart by account itself (cacheType: Token).
            "cacheKeyType": "Registry",
            "cacheDuration": "0s",
            "auth": { host: { "username": username, "password": password.expose_secret() } },
        }))
    }

    fn credential(&self, request: &Request) -> Result<(&'static str, SecretString), Failure> {
        if !request.service_account_token.is_empty() {
            return Ok(("k8s", request.service_account_token.clone().into()));
        }
        let Some(path) = &self.cluster_credential_file else {
            return Err(Failure::no("the kubelet sent no service account token").hint(
                "set tokenAttributes.serviceAccountTokenAudience in its CredentialProviderConfig \
                 (`lockgate client-config kubelet` prints one), or give --cluster-credential-file",
            ));
        };
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::no(format!("{} cannot be read", path.display())).because(&error)
        })?;
        match text.lines().map(str::trim).find(|line| !line.is_empty()) {
            Some(secret) => Ok(("node", secret.to_owned().into())),
            None => Err(Failure::no(format!("{} is empty", path.display()))),
        }
    }
}

/// The registry of an image, with its port. An image without one is of Docker Hub.
fn host_of(image: &str) -> Option<&str> {
    let first = image.split('/').next().filter(|first| !first.is_empty())?;
    let is_host = image.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    Some(if is_host { first } else { "docker.io" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(image: &str, token: &str) -> Request {
        Request {
            api_version: API_VERSION.to_owned(),
            kind: "CredentialProviderRequest".to_owned(),
            image: image.to_owned(),
            service_account_token: token.to_owned(),
        }
    }

    #[test]
    fn the_pods_token_is_the_password_for_our_host() {
        let args = Args { cluster_credential_file: None };
        let answer = args.answer(&request("plane.example:5050/docker.io/a:1", "tok")).unwrap();
        assert_eq!(answer["auth"]["plane.example:5050"]["password"], "tok");
        assert_eq!(answer["kind"], "CredentialProviderResponse");
        assert_eq!(answer["cacheDuration"], "0s");
        assert_eq!(answer["cacheKeyType"], "Registry");
        assert!(args.answer(&request("plane.example/a", "")).is_err());
        let mut old = request("plane.example/a", "tok");
        old.api_version = "credentialprovider.kubelet.k8s.io/v1alpha1".to_owned();
        assert!(args.answer(&old).is_err());
    }

    #[test]
    fn images_without_a_registry_are_of_docker_hub() {
        for (image, host) in [
            ("nginx", "docker.io"),
            ("library/nginx:1", "docker.io"),
            ("localhost/a", "localhost"),
            ("a.b/c@sha256:0", "a.b"),
        ] {
            assert_eq!(host_of(image), Some(host));
        }
    }
}
