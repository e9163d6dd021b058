//! `registries.conf` of podman, skopeo, buildah and CRI-O (containers-registries.conf(5)).
//!
//! `location` rewrites the name, so that the plane is the registry. A `[[registry.mirror]]` would
//! be tried first only, and what it refuses would be fetched from the real registry.

use super::{Printed, Wanted};
use crate::exit::Failure;
use std::fmt::Write;

/// For podman, skopeo and buildah.
pub(super) fn podman(wanted: &Wanted) -> Result<Printed, Failure> {
    let head = "# /etc/containers/registries.conf.d/lockgate.conf, or ~/.config/containers/registries.conf\n\
        # Pulls images of these registries through Lockgate, and from nowhere else.\n\
        # Tested with podman 4.3 and skopeo 1.9. It applies to the next pull.\n";
    registries_conf(wanted, head)
}

/// For CRI-O.
pub(super) fn crio(wanted: &Wanted) -> Result<Printed, Failure> {
    let head = "# /etc/containers/registries.conf.d/lockgate.conf\n\
        # Pulls images of these registries through Lockgate, and from nowhere else.\n\
        # The format was tested with podman and skopeo, which read it with the same library; CRI-O\n\
        # itself was not tested. Apply it with `systemctl reload crio`.\n\
        # OpenShift writes this file itself: use ImageTagMirrorSet and ImageDigestMirrorSet with\n\
        # mirrorSourcePolicy: NeverContactSource there.\n";
    registries_conf(wanted, head)
}

fn registries_conf(wanted: &Wanted, head: &str) -> Result<Printed, Failure> {
    let plane = wanted.first_plane();
    let mut notes = Vec::new();
    if wanted.planes.len() > 1 {
        let hint = "a second place would have to be a mirror, and then the real registry is asked \
            as well: put the planes behind one name (DNS or a load balancer)";
        return Err(Failure::usage("this form names one plane only").hint(hint));
    }
    let mut file = head.to_owned();
    // Writing to a String cannot fail.
    if let Some(ca_file) = wanted.ca_file.as_ref().filter(|_| plane.is_https) {
        let authority = &plane.authority;
        let _ = writeln!(file, "# Trust: cp {ca_file} /etc/containers/certs.d/{authority}/ca.crt");
    }
    if wanted.registries.iter().any(|registry| registry.0 == "docker.io") {
        notes.push("short names (`alpine`) are docker.io's only where unqualified-search-registries says so".to_owned());
    }
    for registry in &wanted.registries {
        let name = &registry.0;
        let _ = write!(
            file,
            "\n[[registry]]\nprefix = \"{name}\"\nlocation = \"{}/{name}\"\n",
            plane.authority
        );
        if !plane.is_https {
            file.push_str("insecure = true\n");
        }
    }
    Ok(Printed { file, notes })
}
