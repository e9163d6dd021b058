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
#[derive(Default)]
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
            Presented::Bearer(token) => self.by_bearer(token, now).await,
            Presented::Basic { username, password } => self.by_basic(username, password, now).await,
            Presented::Certificate(chain) => self.by_certificate(chain, now),
        };
        self.count(&identified);
        identified.map_err(|refused| refused.error)
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

    async fn by_bearer(&self, token: &str, now: Timestamp) -> Result<Identity, Refused> {
        if token.starts_with(TOKEN_PREFIX) {
            return self.by_robot_token(token, now);
        }
        self.by_token(token, now).await
    }

    /// A token of some issuer. What it says of itself only chooses who is asked; whose key verifies it
    /// speaks, and nobody else.
    async fn by_token(&self, token: &str, now: Timestamp) -> Result<Identity, Refused> {
        let said = Unverified::read(token).map_err(Refused::by_nobody)?;
        let mut refusals = Refusals::default();
        for provider in self.candidates(&said) {
            match provider.by_token(token, &said, now).await {
                Ok(identity) => return Ok(identity),
                // Its key verified it: nobody else has a say.
                Err(provider::Failed::Settled(error)) => return Err(Refused::by(provider, error)),
                Err(provider::Failed::NotTheirs(error)) => refusals.add(provider, error),
            }
        }
        Err(refusals.last_word(|| {
            let issuer = said.issuer.as_deref().unwrap_or("nobody");
            let issuer: String = issuer.chars().filter(|c| !c.is_control()).take(120).collect();
            format!("no IdentityProvider takes tokens of {issuer}")
        }))
    }

    /// Who may have issued a token. Of several providers of one issuer, those whose audience it names,
    /// if there are any: they may have the same keys.
    fn candidates(&self, said: &Unverified) -> Vec<&Arc<Provider>> {
        let mut all: Vec<_> = self.list.iter().filter(|it| it.may_have_issued(said)).collect();
        if all.iter().any(|it| it.is_meant(said)) {
            all.retain(|it| it.is_meant(said));
        }
        all
    }

    fn by_robot_token(&self, token: &str, now: Timestamp) -> Result<Identity, Refused> {
        let mut refusals = Refusals::default();
        for provider in &self.list {
            match provider.by_robot_token(token, now) {
                Some(Ok(identity)) => return Ok(identity),
                Some(Err(error)) => refusals.add(provider, error),
                None => {}
            }
        }
        Err(refusals.last_word(|| "no IdentityProvider has robot tokens".to_owned()))
    }

    async fn by_basic(
        &self,
        username: &str,
        password: &str,
        now: Timestamp,
    ) -> Result<Identity, Refused> {
        if password.starts_with(TOKEN_PREFIX) {
            return self.by_robot_token(password, now);
        }
        if jwt::looks_like_one(password) {
            return self.by_token(password, now).await;
        }
        let mut refusals = Refusals::default();
        for provider in &self.list {
            match provider.by_cluster_secret(password) {
                Some(Ok(identity)) => return Ok(identity),
                Some(Err(error)) => refusals.add(provider, error),
                None => {}
            }
        }
        for provider in &self.list {
            match provider.by_password(username, password).await {
                Some(Ok(identity)) => return Ok(identity),
                Some(Err(error)) => refusals.add(provider, error),
                None => {}
            }
        }
        Err(refusals.last_word(|| "user name or password is wrong".to_owned()))
    }

    fn by_certificate(
        &self,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<Identity, Refused> {
        let mut refusals = Refusals::default();
        for provider in &self.list {
            match provider.by_certificate(chain, now) {
                Some(Ok(identity)) => return Ok(identity),
                Some(Err(error)) => refusals.add(provider, error),
                None => {}
            }
        }
        Err(refusals.last_word(|| "no IdentityProvider takes certificates".to_owned()))
    }

    fn count(&self, identified: &Result<Identity, Refused>) {
        let Some(metrics) = &self.metrics else { return };
        match identified {
            Ok(identity) => metrics.identified(identity.provider(), "accepted"),
            Err(Refused { provider, error: IdentifyError::Wrong { .. } }) => {
                metrics.identified(provider, "refused");
            }
            Err(Refused { error: IdentifyError::CannotTell { provider, .. }, .. }) => {
                metrics.identified(provider, "unavailable");
            }
        }
    }
}

/// Who refused, and why.
struct Refused {
    /// Empty: nobody in particular.
    provider: String,
    error: IdentifyError,
}

impl Refused {
    fn by(provider: &Provider, error: IdentifyError) -> Self {
        Self { provider: provider.settings.name.clone(), error }
    }

    fn by_nobody(error: IdentifyError) -> Self {
        Self { provider: String::new(), error }
    }
}

/// What was said by those who did not vouch.
#[derive(Default)]
struct Refusals {
    wrong: Option<Refused>,
    cannot: Option<Refused>,
}

impl Refusals {
    fn add(&mut self, provider: &Provider, error: IdentifyError) {
        let place = match error {
            IdentifyError::Wrong { .. } => &mut self.wrong,
            IdentifyError::CannotTell { .. } => &mut self.cannot,
        };
        place.get_or_insert_with(|| Refused::by(provider, error));
    }

    /// One who cannot tell may be the one who would have vouched: that comes before a no.
    fn last_word(self, nobody: impl FnOnce() -> String) -> Refused {
        let nobody = || Refused::by_nobody(IdentifyError::wrong(nobody()));
        self.cannot.or(self.wrong).unwrap_or_else(nobody)
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
