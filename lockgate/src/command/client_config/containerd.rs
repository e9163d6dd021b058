//! containerd's `hosts.toml` (docs/hosts.md of containerd).
//!
//! Tried with 1.6.20, 1.7 and 2: `server` alone is rejected by 1.6, which then goes to the real
//! registry; with a `[host]` table of the plane beside it all three ask the plane only, also when
//! it is down, and send `?ns=<registry>`, by which the plane tells registries apart. They take
//! `dial_timeout` in both places, or overlook it.

use super::{PlaneUrl, Printed, Registry, Wanted};
use std::fmt::Write;

/// One file for each registry.
pub(super) fn hosts_toml(wanted: &Wanted) -> Printed {
    let mut file = String::new();
    for registry in &wanted.registries {
        if !file.is_empty() {
            file.push('\n');
        }
        push_head(&mut file, registry);
        file.push_str(&body(wanted));
    }
    let mut notes = Vec::new();
    if wanted.registries.len() > 1 {
        notes.push(
            "these are several files, one for each registry: the comment above each names its \
             path; with one --registry a single file is printed"
                .to_owned(),
        );
    }
    Printed { file, notes }
}

fn push_head(file: &mut String, registry: &Registry) {
    let name = &registry.0;
    // Writing to a String cannot fail.
    let _ = write!(
        file,
        "# {path}/{name}/hosts.toml\n\
         # Pulls images of {name} through Lockgate, and from nowhere else.\n\
         # Tested with containerd 1.6, 1.7 and 2: ctr (--hosts-dir) and the kubelet's call (CRI).\n\
         # The CRI reads it at the next pull if its settings name the directory, once and for all:\n\
         #   containerd 2:        [plugins.\"io.containerd.cri.v1.images\".registry]\n\
         #   containerd 1.6, 1.7: [plugins.\"io.containerd.grpc.v1.cri\".registry]\n\
         #                          config_path = \"{path}\"\n\
         # `server` and the host tables both name the plane: what is named here is what is asked.\n",
        path = "/etc/containerd/certs.d",
    );
}

/// What stands in every `hosts.toml`.
pub(super) fn body(wanted: &Wanted) -> String {
    let mut file = format!("server = \"{}\"\n", wanted.first_plane().url());
    push_rules(&mut file, wanted, wanted.first_plane(), "");
    for plane in &wanted.planes {
        let _ = write!(file, "\n[host.\"{}\"]\n", plane.url());
        push_rules(&mut file, wanted, plane, "  ");
    }
    file
}

fn push_rules(file: &mut String, wanted: &Wanted, plane: &PlaneUrl, indent: &str) {
    let _ = writeln!(file, "{indent}capabilities = [\"pull\", \"resolve\"]");
    if let Some(ca_file) = wanted.ca_file.as_ref().filter(|_| plane.is_https) {
        let _ = writeln!(file, "{indent}ca = \"{ca_file}\"");
    }
    let _ = writeln!(file, "{indent}dial_timeout = \"{}\"", wanted.dial_timeout);
}
