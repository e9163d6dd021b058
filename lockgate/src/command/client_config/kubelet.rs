//! The kubelet: image credential provider with service account tokens (KEP-4412).

use super::{Printed, Wanted};

/// The audience that tokens for us have, if nothing else is said.
pub(super) const AUDIENCE: &str = "lockgate";

/// The CredentialProviderConfig, with what goes beside it.
pub(super) fn credential_provider(wanted: &Wanted, audience: &str, cluster: &str) -> Printed {
    let hosts: Vec<String> = wanted.planes.iter().map(|it| it.authority.clone()).collect();
    let images: Vec<String> = hosts.iter().map(|host| format!("      - \"{host}\"\n")).collect();
    let images = images.concat();
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
