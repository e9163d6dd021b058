//! `lockgate login`: shows a plane who one is, and keeps what it gives for pulls and for other commands.
//!
//! However one logs in, it ends in the same way: something is shown at the plane's token endpoint, and the
//! refresh token that comes back is kept. The plane alone judges what was shown.

mod browser;
mod callback;
mod ci;
mod code;
mod device;
mod docker;
mod keep;
mod list;
mod oidc;
mod secret;

use crate::client::tokens::{Discovery, Grant, Offer};
use crate::command::block_on;
use crate::exit::{Exit, Failure};
use crate::flags::is_loopback;
use crate::logins::Server;
use callback::Page;
use keep::Shown;
use oidc::Issuer;
use std::path::PathBuf;
use url::Url;

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  lockgate login https://plane.example.com            # in a browser\n  \
        lockgate login --device https://plane.example.com   # with a code, on another device\n  \
        lockgate login --username alice --docker https://plane.example.com\n  \
        lockgate login --username robot --password-stdin https://plane.example.com < token.txt\n  \
        lockgate login --ci --docker https://plane.example.com\n\n\
        What it gets is kept in ~/.config/lockgate/logins.json: for `lockgate` itself (--plane URL),\n\
        and with --docker for docker, podman, skopeo, crane, oras and helm. It lasts twelve hours."
)]
pub(crate) struct Args {
    /// The plane; https, unless http is written or it is this machine [default: --plane]
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// The same, as other commands take it
    #[arg(long, value_name = "URL", env = "LOCKGATE_PLANE")]
    plane: Option<String>,
    /// PEM file of further certificate authorities to trust, for the plane and for the issuer
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Sends credentials without TLS to another machine, where everybody on the way can read them
    #[arg(long)]
    insecure_http: bool,
    /// The IdentityProvider to log in at, where the plane offers several
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Shows a code to type in on another device, for a machine without a browser
    #[arg(long, conflicts_with_all = ["username", "token_stdin", "ci"])]
    device: bool,
    /// Only prints the address to open, and opens no browser
    #[arg(long, conflicts_with = "device")]
    no_browser: bool,
    /// Port of 127.0.0.1 that the browser comes back to, for issuers at which it has to be registered
    /// [default: any that is free]
    #[arg(long, value_name = "PORT", conflicts_with = "device")]
    callback_port: Option<u16>,
    /// Name of a local user; the password is asked for
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Reads the password, or a robot token, from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Reads a token (JWT) of an identity provider from standard input, such as that of a CI job
    #[arg(long, conflicts_with_all = ["username", "ci"])]
    token_stdin: bool,
    /// Takes the token of the CI job this runs in: GitHub Actions, or LOCKGATE_ID_TOKEN (GitLab)
    #[arg(long, conflicts_with = "username")]
    ci: bool,
    /// The audience of the token, for --ci on GitHub [default: the host in URL]
    #[arg(long, value_name = "AUDIENCE", requires = "ci")]
    audience: Option<String>,
    /// Makes docker and others that read its configuration use the login
    #[arg(long)]
    docker: bool,
    /// Lists the logins that are kept; asks nobody
    #[arg(long, conflicts_with_all = ["url", "username", "token_stdin", "ci", "device", "docker"])]
    list: bool,
}

/// The plane and how it is asked.
struct At {
    plane: Url,
    discovery: Discovery,
    ca_file: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        if self.list {
            return list::list();
        }
        block_on(self.login())
    }

    async fn login(self) -> Result<Exit, Failure> {
        let plane = plane_of(self.url.as_deref().or(self.plane.as_deref()))?;
        if plane.scheme() == "http" && !is_loopback(&plane) && !self.insecure_http {
            return Err(Failure::usage(format!("{plane} is not reached by TLS"))
                .hint("write https://, or give --insecure-http if everybody on the way may know the secret"));
        }
        let discovery = Discovery::of(&plane, self.ca_file.as_deref()).await?;
        let at = At { plane, discovery, ca_file: self.ca_file.clone() };
        let server = match self.shown(&at).await? {
            Some(shown) => keep::exchange(&at, shown).await?,
            None => self.by_issuer(&at).await?,
        };
        if self.docker {
            docker::use_for(&server)?;
        }
        Ok(Exit::Yes)
    }

    /// What is shown to the plane, if it is here already.
    async fn shown(&self, at: &At) -> Result<Option<Shown>, Failure> {
        if let Some(username) = &self.username {
            let password = match self.password_stdin {
                true => secret::from_stdin("password")?,
                false => secret::from_terminal(username, &at.plane).await?,
            };
            return Ok(Some(Shown::Password { username: username.clone(), password }));
        }
        if self.token_stdin {
            return Ok(Some(Shown::Token(secret::from_stdin("token")?)));
        }
        if self.ci {
            // Not what the plane says of itself: it could name another service, to get a token for that.
            let host = at.plane.host_str().unwrap_or_default();
            let audience = self.audience.as_deref().unwrap_or(host);
            let token = ci::token(audience, self.ca_file.as_deref()).await?;
            return Ok(Some(Shown::Token(token)));
        }
        Ok(None)
    }

    /// A person's login at an identity provider.
    async fn by_issuer(&self, at: &At) -> Result<Server, Failure> {
        let offer = choose(&at.discovery.login, self.provider.as_deref(), &at.plane)?;
        let issuer = Issuer::of(offer, self.ca_file.as_deref()).await?;
        if self.device {
            let token = device::login(&issuer).await?;
            return keep::exchange(at, Shown::Token(token.into_secret())).await;
        }
        let answered = code::login(&issuer, self.callback_port, !self.no_browser).await?;
        let server = match answered.token {
            Ok(token) => keep::exchange(at, Shown::Token(token.into_secret())).await,
            Err(failure) => Err(failure),
        };
        // The browser tells what the terminal tells.
        let page = match &server {
            Ok(_) => Page::Done,
            Err(failure) => Page::Failed(failure.whole()),
        };
        answered.callback.show(page).await;
        server
    }
}

fn choose<'a>(
    offers: &'a [Offer],
    wanted: Option<&str>,
    plane: &Url,
) -> Result<&'a Offer, Failure> {
    let names: Vec<&str> = offers.iter().map(|offer| offer.provider.as_str()).collect();
    let names = crate::output::clean(&names.join(", "));
    match (offers, wanted) {
        ([], _) => Err(Failure::no(format!("{plane} offers no login in a browser")).hint(
            "with a password or a robot token: --username NAME; with a token of an identity provider: \
             --token-stdin or --ci. An IdentityProvider with oidc.login makes the offer",
        )),
        (offers, Some(wanted)) => {
            offers.iter().find(|offer| offer.provider == wanted).ok_or_else(|| {
                Failure::usage(format!("{plane} offers no login at {:?}", crate::output::clean(wanted)))
                    .hint(format!("it offers: {names}"))
            })
        }
        ([only], None) => Ok(only),
        (_, None) => Err(Failure::usage(format!("{plane} offers several logins: {names}"))
            .hint("choose one with --provider NAME")),
    }
}

/// The plane as it was written: a URL, or host and port alone, which are asked by TLS unless they are this
/// machine.
pub(crate) fn plane_of(text: Option<&str>) -> Result<Url, Failure> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| {
        Failure::usage("which plane?").hint("write its URL, or set LOCKGATE_PLANE")
    })?;
    let url = match text.contains("://") {
        true => crate::flags::plane_url(text),
        false => crate::flags::plane_url(&format!("https://{text}")).and_then(|url| {
            match is_loopback(&url) {
                true => crate::flags::plane_url(&format!("http://{text}")),
                false => Ok(url),
            }
        }),
    };
    let url = url
        .map_err(|error| Failure::usage(format!("{:?} is {error}", crate::output::clean(text))))?;
    let has_more = url.path() != "/" || url.query().is_some() || !url.username().is_empty();
    if has_more || url.password().is_some() {
        return Err(Failure::usage("the URL of a plane has no path, no query and no user")
            .hint("write scheme, host and port, such as https://plane.example.com"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_is_asked_by_tls_unless_it_is_this_machine() {
        for (text, url) in [
            ("plane.example", "https://plane.example/"),
            ("plane.example:5050", "https://plane.example:5050/"),
            ("http://plane.example", "http://plane.example/"),
            ("127.0.0.1:5050", "http://127.0.0.1:5050/"),
            ("localhost:5050", "http://localhost:5050/"),
            ("https://localhost:5050", "https://localhost:5050/"),
            ("[::1]:5050", "http://[::1]:5050/"),
        ] {
            assert_eq!(plane_of(Some(text)).unwrap().as_str(), url);
        }
        for wrong in ["", "ftp://x", "https://u:p@x", "https://x/team", "https://x/?a", "a b"] {
            assert!(plane_of(Some(wrong)).is_err(), "{wrong}");
        }
        assert!(plane_of(None).is_err());
        assert!(!is_loopback(&"http://localhost.example".parse().unwrap()));
        assert!(!is_loopback(&"http://10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn one_of_several_offers_is_chosen_by_its_name() {
        let offer = |provider: &str| Offer {
            provider: provider.to_owned(),
            issuer: "https://issuer.example".to_owned(),
            client_id: "id".to_owned(),
            scopes: Vec::new(),
        };
        let plane: Url = "https://plane.example".parse().unwrap();
        let (none, one, two) = ([], [offer("a")], [offer("a"), offer("b")]);
        let chosen = |offers, wanted| choose(offers, wanted, &plane).map(|it| it.provider.clone());
        assert_eq!(chosen(&one, None).unwrap(), "a");
        assert_eq!(chosen(&two, Some("b")).unwrap(), "b");
        assert!(chosen(&two, None).unwrap_err().one_line().contains("a, b"));
        assert!(chosen(&two, Some("c")).is_err());
        assert!(chosen(&none, None).unwrap_err().whole().contains("--username"));
    }
}
