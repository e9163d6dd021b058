//! One provider.

use crate::certificates::{Authorities, Said};
use crate::claims::{self, Defaults, OneRoot};
use crate::file::Watched;
use crate::jwks::{KeySet, Source};
use crate::jwt::{self, Claims, Expected, Unverified};
use crate::local::{self, Passwords, Users};
use crate::report::Report;
use crate::settings::{ProviderKind, ProviderSettings};
use crate::spiffe::{self, Bundle};
use crate::{IdentifyError, subjects};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use policy::{Identity, PrincipalKind, attribute};
use rustls_pki_types::CertificateDer;
use std::path::Path;
use std::sync::Arc;
use telemetry::Metrics;

/// Short secrets are guessed.
const SECRET_MIN_BYTES: usize = 20;

/// One provider, with what it knows.
pub(super) struct Provider {
    pub(super) settings: ProviderSettings,
    live: Live,
}

enum Live {
    Keys(Source),
    Bundle(Watched<Bundle>),
    Authorities(Watched<Authorities>),
    Users(Watched<Users>, Box<Passwords>),
    Secrets(Watched<Vec<[u8; 32]>>),
}

/// Why a provider does not vouch.
pub(super) enum Failed {
    /// It is not one of theirs, as far as they can tell: another one may speak.
    NotTheirs(IdentifyError),
    /// Their key verified it, and it is wrong.
    Settled(IdentifyError),
}

impl Provider {
    pub(super) fn new(settings: ProviderSettings, metrics: &Option<Arc<Metrics>>) -> Self {
        let report = Report::new(&settings.name, metrics.clone());
        let live = match &settings.kind {
            ProviderKind::Kubernetes { issuer, keys, .. }
            | ProviderKind::Oidc { issuer, keys, .. } => {
                Live::Keys(Source::new(keys, issuer, &report))
            }
            ProviderKind::Spiffe { bundle_file, .. } => {
                Live::Bundle(Watched::new(bundle_file, &report, spiffe::parse))
            }
            ProviderKind::ClientCertificates { ca_file, .. } => {
                Live::Authorities(Watched::new(ca_file, &report, Authorities::parse))
            }
            ProviderKind::Local { users_file } => {
                let users = Watched::new(users_file, &report, local::parse);
                Live::Users(users, Box::new(Passwords::new(&settings.name)))
            }
            ProviderKind::ClusterCredential { secret_file, .. } => {
                Live::Secrets(secrets(secret_file, &report))
            }
        };
        Self { settings, live }
    }

    pub(super) fn cluster(&self) -> Option<String> {
        match &self.settings.kind {
            ProviderKind::Kubernetes { cluster, .. }
            | ProviderKind::ClusterCredential { cluster, .. } => Some(cluster.clone()),
            ProviderKind::ClientCertificates { cluster, .. } => cluster.clone(),
            _ => None,
        }
    }

    pub(super) fn issuer(&self) -> &str {
        match &self.settings.kind {
            ProviderKind::Kubernetes { issuer, .. } | ProviderKind::Oidc { issuer, .. } => issuer,
            ProviderKind::Spiffe { trust_domain, .. } => trust_domain,
            _ => &self.settings.name,
        }
    }

    pub(super) fn vouches_for(&self, wanted: PrincipalKind, cluster: Option<&str>) -> bool {
        let of_cluster = |own: &str| cluster.is_none_or(|wanted| wanted == own);
        match &self.settings.kind {
            ProviderKind::Kubernetes { cluster, .. } => {
                wanted == PrincipalKind::ServiceAccount && of_cluster(cluster)
            }
            ProviderKind::ClusterCredential { cluster, .. } => {
                wanted == PrincipalKind::Node && of_cluster(cluster)
            }
            ProviderKind::Oidc { kind, .. } | ProviderKind::ClientCertificates { kind, .. } => {
                wanted == *kind
            }
            ProviderKind::Spiffe { .. } => wanted == PrincipalKind::Workload,
            ProviderKind::Local { .. } => wanted == PrincipalKind::User,
        }
    }

    fn cannot_tell(&self, reason: String) -> IdentifyError {
        IdentifyError::CannotTell { provider: self.settings.name.clone(), reason }
    }

    /// Whether a token could be of this provider, by what it says of itself.
    pub(super) fn may_have_issued(&self, said: &Unverified) -> bool {
        match &self.settings.kind {
            ProviderKind::Kubernetes { issuer, .. } | ProviderKind::Oidc { issuer, .. } => {
                said.issuer.as_deref() == Some(issuer)
            }
            ProviderKind::Spiffe { trust_domain, audience, .. } => {
                let prefix = format!("spiffe://{trust_domain}/");
                audience.is_some()
                    && said.subject.as_deref().is_some_and(|sub| sub.starts_with(&prefix))
            }
            _ => false,
        }
    }

    /// Whether one of a token's audiences is ours here: tells providers of one issuer and one key apart.
    pub(super) fn is_meant(&self, said: &Unverified) -> bool {
        let mut ours = self.audiences().iter();
        ours.any(|ours| said.audiences.iter().any(|theirs| theirs == ours))
    }

    /// What the `aud` of a token for us is.
    fn audiences(&self) -> &[String] {
        match &self.settings.kind {
            ProviderKind::Kubernetes { audience, .. } => std::slice::from_ref(audience),
            ProviderKind::Oidc { audiences, .. } => audiences,
            ProviderKind::Spiffe { audience, .. } => audience.as_slice(),
            _ => &[],
        }
    }

    pub(super) async fn by_token(
        &self,
        token: &str,
        said: &Unverified,
        now: Timestamp,
    ) -> Result<Identity, Failed> {
        let wrong = |reason: &str| Failed::NotTheirs(IdentifyError::wrong(reason));
        self.judge_head(said).map_err(Failed::NotTheirs)?;
        let claims = match self.verified(token, said).await {
            Ok(Some(claims)) => claims,
            Ok(None) => return Err(wrong("no key of its issuer has signed the token")),
            Err(error) => return Err(Failed::NotTheirs(error)),
        };
        let issuer = match &self.settings.kind {
            ProviderKind::Kubernetes { issuer, .. } | ProviderKind::Oidc { issuer, .. } => {
                Some(issuer.as_str())
            }
            // Whoever signs for a trust domain is in its bundle.
            _ => None,
        };
        let skew = SignedDuration::try_from(self.settings.clock_skew).unwrap_or_default();
        let expected = Expected { issuer, audiences: self.audiences(), skew, now };
        let ends = jwt::judge(&claims, &expected).map_err(Failed::Settled)?;
        let identity = self.of_claims(&claims).map_err(Failed::Settled)?;
        Ok(identity.with_expires(Some(ends)))
    }

    /// Judges what the head of a token says: it must be one that this provider takes at all.
    fn judge_head(&self, said: &Unverified) -> Result<(), IdentifyError> {
        let is_svid = matches!(self.settings.kind, ProviderKind::Spiffe { .. });
        let is_taken = self.settings.algorithms.iter().any(|it| it.jwt() == said.algorithm);
        // JWT-SVID §2.1 and §2.2: these algorithms have no place there, and each names its key.
        if !is_taken || (is_svid && said.algorithm == jsonwebtoken::Algorithm::EdDSA) {
            let (algorithm, name) = (said.algorithm, &self.settings.name);
            return Err(IdentifyError::wrong(format!(
                "tokens signed with {algorithm:?} are not taken by identity provider {name}"
            )));
        }
        if is_svid && said.kid.is_none() {
            return Err(IdentifyError::wrong("the JWT-SVID names no key (kid)"));
        }
        let types: &[&str] = if is_svid { &["jwt", "jose"] } else { &["jwt", "at+jwt"] };
        let is_type = |typ: &str| types.iter().any(|it| typ.eq_ignore_ascii_case(it));
        if !said.typ.as_deref().is_none_or(is_type) {
            return Err(IdentifyError::wrong("the token is of another type (typ)"));
        }
        Ok(())
    }

    /// The claims, if one of our keys signed the token. Keys are asked for anew when the one it names is
    /// not among them: a rotated key must not be found out from a failed rollout.
    async fn verified(
        &self,
        token: &str,
        said: &Unverified,
    ) -> Result<Option<Claims>, IdentifyError> {
        let verify = |keys: &KeySet| {
            let candidates = keys.candidates(said.kid.as_deref(), said.algorithm);
            let is_known = !candidates.is_empty();
            (is_known, candidates.into_iter().find_map(|key| key.verify(token, said.algorithm)))
        };
        match &self.live {
            Live::Keys(source) => {
                let keys = source.keys(false).await.map_err(|it| self.cannot_tell(it))?;
                let (is_known, claims) = verify(&keys);
                if is_known || claims.is_some() {
                    return Ok(claims);
                }
                let keys = source.keys(true).await.map_err(|it| self.cannot_tell(it))?;
                Ok(verify(&keys).1)
            }
            Live::Bundle(bundle) => {
                let held = bundle.get(false).map_err(|it| self.cannot_tell(it))?;
                let first = held.keys.as_ref().map(&verify);
                match first {
                    Some((true, claims)) => Ok(claims),
                    _ => {
                        let held = bundle.get(true).map_err(|it| self.cannot_tell(it))?;
                        Ok(held.keys.as_ref().and_then(|keys| verify(keys).1))
                    }
                }
            }
            _ => Ok(None),
        }
    }

    fn of_claims(&self, claims: &Claims) -> Result<Identity, IdentifyError> {
        let name = &self.settings.name;
        match &self.settings.kind {
            ProviderKind::Kubernetes { issuer, cluster, .. } => {
                subjects::service_account(name, issuer, cluster, claims)
            }
            ProviderKind::Oidc { issuer, kind, claims: mapping, .. } => {
                let value = serde_json::Value::Object(claims.clone());
                let root = OneRoot { name: "claims", value: &value };
                let defaults = Defaults::of_claims(*kind, claims);
                claims::identity(*kind, name, issuer, mapping, &root, defaults)
            }
            ProviderKind::Spiffe { trust_domain, .. } => {
                let id = claims.get("sub").and_then(serde_json::Value::as_str).unwrap_or_default();
                spiffe::workload(name, trust_domain, id)
            }
            _ => Err(IdentifyError::wrong("it takes no tokens")),
        }
    }

    /// Whoever shows a robot token; `None`: this provider has none.
    pub(super) fn by_robot_token(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Option<Result<Identity, IdentifyError>> {
        let Live::Users(file, _) = &self.live else { return None };
        Some(match file.get(false) {
            Ok(users) => users.robot(&self.settings.name, token, now),
            Err(problem) => Err(self.cannot_tell(problem)),
        })
    }

    /// Whoever shows a password; `None`: this provider has no users.
    pub(super) async fn by_password(
        &self,
        username: &str,
        password: &str,
    ) -> Option<Result<Identity, IdentifyError>> {
        let Live::Users(file, passwords) = &self.live else { return None };
        let users = match file.get(false) {
            Ok(users) => users,
            Err(problem) => return Some(Err(self.cannot_tell(problem))),
        };
        let checked = passwords.check(username, password, users.password_hash(username)).await;
        let nobody = || IdentifyError::wrong("user name or password is wrong");
        let person = || users.person(&self.settings.name, username).ok_or_else(nobody);
        Some(checked.and_then(|()| person()))
    }

    /// A node that shows its cluster's secret; `None`: it is none of this provider's.
    pub(super) fn by_cluster_secret(
        &self,
        password: &str,
    ) -> Option<Result<Identity, IdentifyError>> {
        let Live::Secrets(file) = &self.live else { return None };
        let ProviderKind::ClusterCredential { cluster, .. } = &self.settings.kind else {
            return None;
        };
        let secrets = match file.get(false) {
            Ok(secrets) => secrets,
            Err(problem) => return Some(Err(self.cannot_tell(problem))),
        };
        let shown = fingerprint(password.as_bytes());
        let is_known = secrets.iter().any(|it| verify_slices_are_equal(it, &shown).is_ok());
        is_known.then(|| {
            let name = format!("system:node:{cluster}");
            let provider = &self.settings.name;
            let node = Identity::new(PrincipalKind::Node, provider, provider, &name);
            Ok(node.with_attribute(attribute::CLUSTER, cluster))
        })
    }

    /// Whoever shows a certificate; `None`: this provider takes none.
    pub(super) fn by_certificate(
        &self,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Option<Result<Identity, IdentifyError>> {
        match &self.live {
            Live::Authorities(file) => Some(self.by_authority(file, chain, now)),
            Live::Bundle(file) => Some(self.by_svid(file, chain, now)),
            _ => None,
        }
    }

    fn by_authority(
        &self,
        file: &Watched<Authorities>,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<Identity, IdentifyError> {
        let authorities = file.get(false).map_err(|it| self.cannot_tell(it))?;
        authorities.vouch(chain, now)?;
        let said = said(chain)?;
        let ProviderKind::ClientCertificates { kind, cluster, claims, .. } = &self.settings.kind
        else {
            return Err(IdentifyError::wrong("it takes no certificates"));
        };
        let root = OneRoot { name: "certificate", value: &said.value };
        let organizations = said.value["organizations"].as_array().into_iter().flatten();
        let mut defaults = Defaults {
            name: said.value["commonName"].as_str().map(str::to_owned),
            groups: organizations.filter_map(|it| it.as_str().map(str::to_owned)).collect(),
            ..Defaults::default()
        };
        if let Some(cluster) = cluster {
            defaults.attributes.insert(attribute::CLUSTER.to_owned(), cluster.clone());
        }
        let name = &self.settings.name;
        let identity = claims::identity(*kind, name, name, claims, &root, defaults)?;
        Ok(identity.with_expires(Some(said.not_after)))
    }

    fn by_svid(
        &self,
        file: &Watched<Bundle>,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<Identity, IdentifyError> {
        let bundle = file.get(false).map_err(|it| self.cannot_tell(it))?;
        let ProviderKind::Spiffe { trust_domain, .. } = &self.settings.kind else {
            return Err(IdentifyError::wrong("it takes no certificates"));
        };
        let nobody = || IdentifyError::wrong("the trust bundle has no X.509 authorities");
        bundle.authorities.as_ref().ok_or_else(nobody)?.vouch(chain, now)?;
        let said = said(chain)?;
        let workload = spiffe::workload(&self.settings.name, trust_domain, spiffe::id_of(&said)?)?;
        Ok(workload.with_expires(Some(said.not_after)))
    }

    /// Whether somebody who was known is still there.
    pub(super) fn still_knows(&self, identity: &Identity) -> Result<(), IdentifyError> {
        if identity.issuer() != self.issuer() {
            return Err(IdentifyError::wrong("the identity provider is another one now"));
        }
        let Live::Users(file, _) = &self.live else { return Ok(()) };
        match file.get(false) {
            Ok(users) if users.still_has(identity) => Ok(()),
            Ok(_) => Err(IdentifyError::wrong("the user or their token is gone")),
            Err(problem) => Err(self.cannot_tell(problem)),
        }
    }
}

fn said(chain: &[CertificateDer<'_>]) -> Result<Said, IdentifyError> {
    let leaf = chain.first().ok_or_else(|| IdentifyError::wrong("there is no certificate"))?;
    Said::read(leaf)
}

fn secrets(path: &Path, report: &Report) -> Watched<Vec<[u8; 32]>> {
    Watched::new(path, report, |bytes| {
        let text = std::str::from_utf8(bytes).map_err(|_| "not text".to_owned())?;
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
        if lines.is_empty() || lines.len() > 16 {
            return Err("1 to 16 lines with a secret each are needed".to_owned());
        }
        if lines.iter().any(|line| line.len() < SECRET_MIN_BYTES) {
            return Err(format!("a secret has at least {SECRET_MIN_BYTES} letters"));
        }
        Ok(lines.into_iter().map(|line| fingerprint(line.as_bytes())).collect())
    })
}

fn fingerprint(bytes: &[u8]) -> [u8; 32] {
    let mut held = [0; 32];
    held.copy_from_slice(digest(&SHA256, bytes).as_ref());
    held
}
