//! Kubernetes service accounts: what their tokens say (Kubernetes, "Bound service account tokens").

use crate::IdentifyError;
use crate::jwt::Claims;
use policy::{Identity, PrincipalKind, attribute};
use serde::Deserialize;

#[derive(Deserialize)]
struct Bound {
    namespace: String,
    serviceaccount: Named,
    #[serde(default)]
    pod: Option<Named>,
    #[serde(default)]
    node: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// The service account that a verified token of a cluster stands for.
pub(crate) fn service_account(
    provider: &str,
    issuer: &str,
    cluster: &str,
    claims: &Claims,
) -> Result<Identity, IdentifyError> {
    let wrong = || IdentifyError::wrong("the token is no service account's");
    let bound = claims.get("kubernetes.io").cloned().ok_or_else(wrong)?;
    let bound: Bound = serde_json::from_value(bound).map_err(|_| wrong())?;
    let name = format!("system:serviceaccount:{}:{}", bound.namespace, bound.serviceaccount.name);
    if claims.get("sub").and_then(serde_json::Value::as_str) != Some(name.as_str()) {
        return Err(IdentifyError::wrong("the token's subject is not the account it is bound to"));
    }
    let mut identity = Identity::new(PrincipalKind::ServiceAccount, provider, issuer, &name)
        .with_attribute(attribute::CLUSTER, cluster)
        .with_attribute(attribute::NAMESPACE, &bound.namespace)
        .with_attribute(attribute::SERVICE_ACCOUNT, &bound.serviceaccount.name)
        // As the API server itself has it, so that policies may say the same in both places.
        .with_groups(vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{}", bound.namespace),
        ]);
    if let Some(pod) = bound.pod {
        identity = identity.with_attribute("pod", &pod.name);
    }
    if let Some(node) = bound.node {
        identity = identity.with_attribute("node", &node.name);
    }
    Ok(identity)
}
