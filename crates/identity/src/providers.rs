//! All providers of a view: who speaks for a credential, and what they say.

mod build;
mod provider;

use crate::IdentifyError;
use crate::jwt::{self, Unverified};
use crate::local::TOKEN_PREFIX;
use crate::settings::{LoginOffer, ProviderKind, ProviderSettings};
use jiff::Timestamp;
use policy::{Identity, PrincipalKind};
use provider::Provider;
use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use telemetry::Metrics;

/// All providers of a view.
pub struct Providers {
    list: Vec<Arc<Provider>>,
    metrics: Option<Arc<Metrics>>,
}

/// What somebody shows.
#[derive(Clone, Copy)]
pub enum Presented<'a> {
    /// A token.
    Bearer(&'a str),
    /// A name and a password, a robot token, or a token of a provider as the password.
    Basic {
        /// The name.
        username: &'a str,
        /// The secret.
        password: &'a str,
    },
    /// The certificates of a connection, whose key was proven; the client's own first.
    Certificate(&'a [CertificateDer<'a>]),
}

impl std::fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer",
            Self::Basic { .. } => "Basic",
            Self::Certificate(_) => "Certificate",
        })
    }
}

impl Default for Providers {
    fn default() -> Self {
        Self { list: Vec::new(), metrics: None }
    }
}

impl Providers {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether there is one of this name.
    pub fn has(&self, provider: &str) -> bool {
        self.list.iter().any(|it| it.settings.name == provider)
    }

    /// How people can log in by a browser.
    pub fn login_offers(&self) -> Vec<LoginOffer> {
        self.list.iter().filter_map(|it| offer(&it.settings)).collect()
    }

    /// The clusters that providers stand for, each once.
    pub fn clusters(&self) -> Vec<String> {
        let mut all: Vec<String> = self.list.iter().filter_map(|it| it.cluster()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The name and the issuer of the provider that would vouch for such a principal: to ask what would
    /// be said of somebody who is not here.
    pub fn who_would_vouch(
        &self,
        kind: PrincipalKind,
        cluster: Option<&str>,
    ) -> Option<(String, String)> {
        let found = self.list.iter().find(|it| it.vouches_for(kind, cluster))?;
        Some((found.settings.name.clone(), found.issuer().to_owned()))
    }

    /// Who shows this.
    ///
    /// # Errors
    /// When it is wrong or nobody's, or cannot be checked now.
    pub async fn identify(
        &self,
        presented: &Presented<'_>,
        now: Timestamp,
    ) -> Result<Identity, IdentifyError> {
        let identified = match presented {
            Presented::Bearer(token) => self.by_token(token, now).await,
            Presented::Basic { username, password } => self.by_basic(username, password, now).await,
            Presented::Certificate(chain) => self.by_certificate(chain, now),
        };
        self.count(&identified);
        identified
    }

    /// Whether what vouched once still would: a local user may be gone. For tokens that live long.
    ///
    /// # Errors
    /// When it would not, or cannot be checked now.
    pub async fn revalidate(
        &self,
        identity: &Identity,
        _now: Timestamp,
    ) -> Result<(), IdentifyError> {
        match self.list.iter().find(|it| it.settings.name == identity.provider()) {
            Some(provider) => provider.still_knows(identity),
            None => Err(IdentifyError::wrong("the identity provider is gone")),
        }
    }

    /// A token of some issuer. What it says of itself only chooses who is asked; whose key verifies it
    /// speaks, and nobody else.
    async fn by_token(&self, token: &str, now: Timestamp) -> Result<Identity, IdentifyError> {
        let said = Unverified::read(token)?;
        let (mut cannot, mut wrong) = (None, None);
        for provider in self.list.iter().filter(|it| it.may_have_issued(&said)) {
            match provider.by_token(token, &said, now).await {
                Ok(identity) => return Ok(identity),
                // Its key verified it: nobody else has a say.
                Err(provider::Failed::Settled(error)) => return Err(error),
                Err(provider::Failed::NotTheirs(error @ IdentifyError::CannotTell { .. })) => {
                    cannot = cannot.or(Some(error));
                }
                Err(provider::Failed::NotTheirs(error)) => wrong = wrong.or(Some(error)),
            }
        }
        let nobody = || {
            let issuer = said.issuer.as_deref().unwrap_or("nobody");
            let issuer: String = issuer.chars().filter(|c| !c.is_control()).take(120).collect();
            IdentifyError::wrong(format!("no IdentityProvider takes tokens of {issuer}"))
        };
        Err(cannot.or(wrong).unwrap_or_else(nobody))
    }

    async fn by_basic(
        &self,
        username: &str,
        password: &str,
        now: Timestamp,
    ) -> Result<Identity, IdentifyError> {
        if password.starts_with(TOKEN_PREFIX) {
            let mut wrong = None;
            for provider in &self.list {
                match provider.by_robot_token(password, now) {
                    Some(Ok(identity)) => return Ok(identity),
                    Some(Err(error)) => wrong = wrong.or(Some(error)),
                    None => {}
                }
            }
            let nobody = || IdentifyError::wrong("no IdentityProvider has robot tokens");
            return Err(wrong.unwrap_or_else(nobody));
        }
        if jwt::looks_like_one(password) {
            return self.by_token(password, now).await;
        }
        for provider in &self.list {
            if let Some(identity) = provider.by_cluster_secret(password) {
                return identity;
            }
        }
        let mut wrong = None;
        for provider in &self.list {
            match provider.by_password(username, password).await {
                Some(Ok(identity)) => return Ok(identity),
                Some(Err(error)) => wrong = wrong.or(Some(error)),
                None => {}
            }
        }
        Err(wrong.unwrap_or_else(|| IdentifyError::wrong("user name or password is wrong")))
    }

    fn by_certificate(
        &self,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<Identity, IdentifyError> {
        let mut wrong = None;
        for provider in &self.list {
            match provider.by_certificate(chain, now) {
                Some(Ok(identity)) => return Ok(identity),
                Some(Err(error)) => wrong = wrong.or(Some(error)),
                None => {}
            }
        }
        let nobody = || IdentifyError::wrong("no IdentityProvider takes certificates");
        Err(wrong.unwrap_or_else(nobody))
    }

    fn count(&self, identified: &Result<Identity, IdentifyError>) {
        let Some(metrics) = &self.metrics else { return };
        match identified {
            Ok(identity) => metrics.identified(identity.provider(), "accepted"),
            Err(IdentifyError::Wrong { .. }) => metrics.identified("", "refused"),
            Err(IdentifyError::CannotTell { provider, .. }) => {
                metrics.identified(provider, "unavailable");
            }
        }
        for provider in &self.list {
            if let Some(age) = provider.key_age() {
                let seconds = age.map_or(-1.0, |age| age.as_secs_f64());
                metrics.set_key_age(&provider.settings.name, seconds);
            }
        }
    }
}

fn offer(settings: &ProviderSettings) -> Option<LoginOffer> {
    match &settings.kind {
        ProviderKind::Oidc { issuer, login: Some(login), .. } => Some(LoginOffer {
            provider: settings.name.clone(),
            issuer: issuer.clone(),
            client_id: login.client_id.clone(),
            scopes: login.scopes.clone(),
        }),
        _ => None,
    }
}
