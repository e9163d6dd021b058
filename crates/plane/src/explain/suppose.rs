//! Who is supposed to ask, from the words of a command line.

use super::CheckRequest;
use crate::AdminError;
use crate::view::View;
use policy::{Caller, Identity, Principal, PrincipalKind, Said, attribute};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// The principal and the setting of a question.
pub(super) fn caller(
    view: &View,
    request: &CheckRequest,
    by: &Caller,
) -> Result<Caller, AdminError> {
    let principal = match &request.r#as {
        None => by.principal.clone(),
        Some(text) => {
            let (groups, cluster) = (&request.groups, request.cluster.as_deref());
            principal(view, Supposed { text, groups, cluster, address: None })?
        }
    };
    let environments = &view.governance.environments;
    let purpose = request.purpose.as_deref();
    let said = Said { host: None, environment: None, purpose };
    let settled = environments
        .settle(principal, said)
        .map_err(|denial| AdminError::Invalid(denial.message()))?;
    let Some(environment) = &request.environment else { return Ok(settled) };
    // A question may be about any environment, also a laxer one: nothing is served for it.
    let Some(environment) = environments.named(environment) else {
        let names: Vec<&str> = environments.names().map(policy::EnvironmentName::as_str).collect();
        return Err(AdminError::Invalid(format!(
            "no Environment is named {environment:?}; there are {}",
            names.join(", ")
        )));
    };
    let setting = policy::Setting::new(environment.name.clone(), settled.setting.purpose());
    Ok(Caller::new(settled.principal, setting))
}

/// Somebody, in words.
#[derive(Clone, Copy)]
pub(crate) struct Supposed<'a> {
    /// As in [`CheckRequest::as`].
    pub(crate) text: &'a str,
    pub(crate) groups: &'a [String],
    pub(crate) cluster: Option<&'a str>,
    /// Where they are; `None`: nowhere that anybody would allow.
    pub(crate) address: Option<IpAddr>,
}

/// The principal that is meant.
pub(crate) fn principal(view: &View, who: Supposed<'_>) -> Result<Principal, AdminError> {
    let Supposed { text, groups, cluster, address } = who;
    let is_local = address.is_some_and(|address| address.is_loopback());
    if text == "anonymous" {
        let address = address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        return Ok(Principal::anonymous(address, is_local));
    }
    let identity = if let Some(account) = text.strip_prefix("system:serviceaccount:") {
        let Some((namespace, name)) = account.split_once(':') else { return Err(unknown(text)) };
        let cluster = match cluster {
            Some(cluster) => Some(cluster.to_owned()),
            None => only_cluster(view)?,
        };
        let identity = of(view, PrincipalKind::ServiceAccount, cluster.as_deref(), text)
            .with_attribute(attribute::NAMESPACE, namespace)
            .with_attribute(attribute::SERVICE_ACCOUNT, name);
        in_cluster(identity, cluster.as_deref())
    } else if let Some(cluster) = text.strip_prefix("node:") {
        let name = format!("system:node:{cluster}");
        in_cluster(of(view, PrincipalKind::Node, Some(cluster), &name), Some(cluster))
    } else if let Some(name) = text.strip_prefix("user:") {
        of(view, PrincipalKind::User, None, name)
    } else if let Some(job) = text.strip_prefix("ci:") {
        let (repository, reference) = job.split_once('@').unwrap_or((job, ""));
        let identity = of(view, PrincipalKind::CI, None, job)
            .with_attribute(attribute::REPOSITORY, repository);
        match reference {
            "" => identity,
            reference => identity.with_attribute(attribute::REF, reference),
        }
    } else if text.starts_with("spiffe://") {
        let identity = of(view, PrincipalKind::Workload, None, text);
        in_cluster(identity.with_attribute(attribute::SPIFFE_ID, text), cluster)
    } else {
        return Err(unknown(text));
    };
    let identity = identity.with_groups(groups.to_vec());
    Ok(Principal::identified(Arc::new(identity), address, is_local))
}

fn unknown(text: &str) -> AdminError {
    AdminError::Invalid(format!(
        "{text:?} names nobody; write anonymous, system:serviceaccount:<namespace>:<name>, \
         user:<name>, node:<cluster>, ci:<repository>[@<ref>] or spiffe://…"
    ))
}

fn in_cluster(identity: Identity, cluster: Option<&str>) -> Identity {
    match cluster {
        Some(cluster) => identity.with_attribute(attribute::CLUSTER, cluster),
        None => identity,
    }
}

/// With the provider and the issuer that would vouch, as far as one can be told.
fn of(view: &View, kind: PrincipalKind, cluster: Option<&str>, name: &str) -> Identity {
    match view.providers.who_would_vouch(kind, cluster) {
        Some((provider, issuer)) => Identity::new(kind, &provider, &issuer, name),
        None => Identity::new(kind, "supposed", "supposed", name),
    }
}

/// The cluster, where there is one only.
fn only_cluster(view: &View) -> Result<Option<String>, AdminError> {
    let clusters = view.providers.clusters();
    match clusters.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        several => Err(AdminError::Invalid(format!(
            "say in which cluster (--cluster): {}",
            several.join(", ")
        ))),
    }
}
