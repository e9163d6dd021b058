//! Forms of what builds on containerd or is set up by a cluster's own file. Not tested by us: they
//! follow the documentation of each.

use super::containerd;
use super::{PlaneUrl, Printed, Wanted};
use std::fmt::Write;

/// Who reads `registries.yaml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Distribution {
    K3s,
    Rke2,
}

/// BuildKit's `buildkitd.toml`.
pub(super) fn buildkit(wanted: &Wanted) -> Printed {
    let mut file = "# /etc/buildkit/buildkitd.toml (rootless: ~/.config/buildkit/buildkitd.toml); or\n\
        #   docker buildx create --use --buildkitd-config FILE\n\
        # Not tested. BuildKit asks the real registry whenever its mirrors fail or refuse, and no\n\
        # setting forbids it: close the way to the registries in the firewall, or name base images\n\
        # by the plane (FROM PLANE/docker.io/library/alpine:3).\n"
        .to_owned();
    for registry in &wanted.registries {
        let mirrors: Vec<String> = wanted
            .planes
            .iter()
            .map(|plane| format!("\"{}/{}\"", plane.authority, registry.0))
            .collect();
        // Writing to a String cannot fail.
        let _ =
            write!(file, "\n[registry.\"{}\"]\n  mirrors = [{}]\n", registry.0, mirrors.join(", "));
    }
    for plane in &wanted.planes {
        let _ = write!(file, "\n[registry.\"{}\"]\n", plane.authority);
        if !plane.is_https {
            file.push_str("  http = true\n");
        } else if let Some(ca_file) = &wanted.ca_file {
            let _ = writeln!(file, "  ca = [\"{ca_file}\"]");
        }
    }
    Printed { file, notes: Vec::new() }
}

/// `registries.yaml` of k3s and RKE2.
pub(super) fn registries_yaml(wanted: &Wanted, distribution: Distribution) -> Printed {
    let (path, service) = match distribution {
        Distribution::K3s => ("/etc/rancher/k3s/registries.yaml", "k3s (agents: k3s-agent)"),
        Distribution::Rke2 => ("/etc/rancher/rke2/registries.yaml", "rke2-server or rke2-agent"),
    };
    let mut file = format!(
        "# {path}, on every node; then restart {service}\n\
         # Not tested. Also start it with --disable-default-registry-endpoint: without that flag the\n\
         # real registry is asked whenever the plane refuses or is down.\n\
         mirrors:\n"
    );
    for registry in &wanted.registries {
        let _ = write!(file, "  \"{}\":\n    endpoint:\n", registry.0);
        for plane in &wanted.planes {
            let _ = writeln!(file, "      - \"{}\"", plane.url());
        }
    }
    if let Some(ca_file) = &wanted.ca_file {
        file.push_str("configs:\n");
        for plane in wanted.planes.iter().filter(|plane| plane.is_https) {
            let _ = write!(
                file,
                "  \"{}\":\n    tls:\n      ca_file: \"{ca_file}\"\n",
                plane.authority
            );
        }
    }
    Printed { file, notes: Vec::new() }
}

/// kind: a patch of containerd's settings, and the files it names.
pub(super) fn kind(wanted: &Wanted) -> Printed {
    let mut file = "# kind-config.yaml, for `kind create cluster --config kind-config.yaml`\n\
        # Not tested. Nodes are containers: 127.0.0.1 is the node itself; name the plane by an\n\
        # address that the kind network reaches, such as the host's on the docker bridge.\n\
        kind: Cluster\n\
        apiVersion: kind.x-k8s.io/v1alpha4\n\
        containerdConfigPatches:\n  \
          - |-\n    \
            [plugins.\"io.containerd.cri.v1.images\".registry]\n      \
              config_path = \"/etc/containerd/certs.d\"\n    \
            [plugins.\"io.containerd.grpc.v1.cri\".registry]\n      \
              config_path = \"/etc/containerd/certs.d\"\n"
        .to_owned();
    file.push_str("# Then, once the cluster is there, run this, without the `# ` in front:\n");
    file.push_str("# for node in $(kind get nodes); do\n");
    for registry in &wanted.registries {
        let name = &registry.0;
        let _ = writeln!(file, "#   docker exec \"$node\" mkdir -p /etc/containerd/certs.d/{name}");
        let _ = writeln!(
            file,
            "#   docker exec -i \"$node\" tee /etc/containerd/certs.d/{name}/hosts.toml <<'END'"
        );
        for line in containerd::body(wanted).lines() {
            let _ = writeln!(file, "{}", format!("# {line}").trim_end());
        }
        file.push_str("# END\n");
    }
    file.push_str("# done\n");
    Printed { file, notes: Vec::new() }
}

/// Talos: a patch of the machine configuration.
pub(super) fn talos(wanted: &Wanted) -> Printed {
    let mut file =
        "# lockgate.patch.yaml, for `talosctl patch machineconfig --patch @lockgate.patch.yaml`\n\
        # Not tested. skipFallback closes the way past the plane (Talos 1.9 and later).\n\
        machine:\n  registries:\n    mirrors:\n"
            .to_owned();
    for registry in &wanted.registries {
        let _ = write!(file, "      {}:\n        endpoints:\n", quoted_key(&registry.0));
        for plane in &wanted.planes {
            let _ = writeln!(file, "          - {}", plane.url());
        }
        file.push_str("        skipFallback: true\n");
    }
    let mut notes = Vec::new();
    if let Some(ca_file) = wanted.ca_file.as_ref().filter(|_| wanted.planes.iter().any(is_https)) {
        notes.push(format!(
            "trust: put the certificate of {ca_file} into a TrustedRootsConfig document of Talos"
        ));
    }
    Printed { file, notes }
}

fn is_https(plane: &PlaneUrl) -> bool {
    plane.is_https
}

/// A key of YAML; a host name with a port needs quotes.
fn quoted_key(name: &str) -> String {
    if name.contains(':') { format!("\"{name}\"") } else { name.to_owned() }
}
