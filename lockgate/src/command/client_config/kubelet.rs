//! The kubelet: image credential provider with service account tokens (KEP-4412).

use super::{Printed, Wanted};
use crate::exit::Failure;
use crate::output::clean;
use std::fmt::Write;

/// The audience that tokens for us have, if nothing else is said.
pub(super) const AUDIENCE: &str = "lockgate";

/// The images that it is asked for: those of the planes' hosts, if nothing else is said. The form is the
/// kubelet's: `*` for a label of the host, or a part of one, and never for the whole host.
pub(super) fn match_images(said: Vec<String>, wanted: &Wanted) -> Result<Vec<String>, Failure> {
    if said.is_empty() {
        return Ok(wanted.planes.iter().map(|it| it.authority.clone()).collect());
    }
    for pattern in &said {
        let host = pattern.split('/').next().unwrap_or_default();
        let (labels, port) = host.split_once(':').unwrap_or((host, "0"));
        let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let is_part = |c: char| c.is_ascii_alphanumeric() || "*.-_:/".contains(c);
        let says_something = labels.contains(|c: char| c.is_ascii_alphanumeric());
        let has_labels = labels.split('.').all(|label| !label.is_empty());
        if !(pattern.chars().all(is_part) && is_port && says_something && has_labels) {
            let problem = format!("--match-images {}: no host of images", clean(pattern));
            return Err(Failure::usage(problem).hint(
                "write a host without a scheme, such as plane.example.com:5050, *.plane.example.com or \
                 plane.example.com/team",
            ));
        }
    }
    Ok(said)
}

/// The CredentialProviderConfig, with what goes beside it.
pub(super) fn credential_provider(images: &[String], audience: &str, cluster: &str) -> Printed {
    let images = images.iter().fold(String::new(), |mut list, image| {
        // Writing to a String cannot fail.
        let _ = writeln!(list, "      - \"{image}\"");
        list
    });
    let file = format!(
        "# For the kubelet 1.34 and later (KubeletServiceAccountTokenForCredentialProviders).\n\
         # Tested: by the kubelet's own code of 1.37, with tokens of a real API server.\n\
         #\n\
         # 1. Put this file on every node, such as /etc/kubernetes/credential-providers.yaml, and lockgate as\n\
         #    /etc/kubernetes/credential-providers/lockgate-credential-provider (a copy or a link).\n\
         # 2. Start the kubelet with\n\
         #      --image-credential-provider-config=/etc/kubernetes/credential-providers.yaml\n\
         #      --image-credential-provider-bin-dir=/etc/kubernetes/credential-providers\n\
         # 3. Let nodes ask for tokens of this audience, once per cluster:\n\
         #      apiVersion: rbac.authorization.k8s.io/v1\n\
         #      kind: ClusterRole\n\
         #      metadata: {{ name: lockgate-token-audience }}\n\
         #      rules:\n\
         #        - apiGroups: [\"\"]\n\
         #          resources: [\"{audience}\"]\n\
         #          verbs: [request-serviceaccounts-token-audience]\n\
         #      ---\n\
         #      apiVersion: rbac.authorization.k8s.io/v1\n\
         #      kind: ClusterRoleBinding\n\
         #      metadata: {{ name: lockgate-token-audience }}\n\
         #      roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: lockgate-token-audience }}\n\
         #      subjects: [{{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: \"system:nodes\" }}]\n\
         # 4. Tell the plane about the cluster:\n\
         #      apiVersion: lockgate.dev/v1alpha1\n\
         #      kind: IdentityProvider\n\
         #      metadata: {{ name: {cluster} }}\n\
         #      spec:\n\
         #        kubernetes:\n\
         #          issuer: https://kubernetes.default.svc   # kubectl get --raw /.well-known/openid-configuration\n\
         #          audience: {audience}\n\
         #          cluster: {cluster}\n\
         #          jwksFile: /etc/lockgate/{cluster}.jwks    # kubectl get --raw /openid/v1/jwks\n\
         #\n\
         # Static pods have no service account. If they need images from here, set requireServiceAccount: false and\n\
         # args: [\"--cluster-credential-file=/etc/kubernetes/lockgate.secret\"] below, and write an IdentityProvider\n\
         # with clusterCredential. Add no second provider for them: the kubelet would run it for every pod, and\n\
         # try its credential for each one that is refused with its own.\n\
         apiVersion: kubelet.config.k8s.io/v1\n\
         kind: CredentialProviderConfig\n\
         providers:\n  \
         - name: lockgate-credential-provider\n    \
         matchImages:\n{images}    \
         defaultCacheDuration: \"0s\"\n    \
         apiVersion: credentialprovider.kubelet.k8s.io/v1\n    \
         tokenAttributes:\n      \
         serviceAccountTokenAudience: \"{audience}\"\n      \
         cacheType: Token\n      \
         requireServiceAccount: true\n"
    );
    Printed { file, notes: Vec::new() }
}
