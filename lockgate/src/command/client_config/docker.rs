//! Docker's `daemon.json`. JSON has no comments, so all that is to be said goes to standard error.

use super::{Printed, Wanted};
use serde_json::{Map, Value, json};

/// `registry-mirrors` (docker.io only, without a path) and what plain HTTP needs.
pub(super) fn daemon_json(wanted: &Wanted) -> Printed {
    let has_hub = wanted.registries.iter().any(|registry| registry.0 == "docker.io");
    let mut file = Map::new();
    if has_hub {
        let mirrors: Vec<String> = wanted.planes.iter().map(super::PlaneUrl::url).collect();
        file.insert("registry-mirrors".to_owned(), json!(mirrors));
    }
    let plain: Vec<&str> = wanted
        .planes
        .iter()
        .filter(|plane| !plane.is_https)
        .map(|plane| plane.authority.as_str())
        .collect();
    if !plain.is_empty() {
        file.insert("insecure-registries".to_owned(), json!(plain));
    }
    Printed { file: format!("{:#}\n", Value::Object(file)), notes: notes(wanted, has_hub) }
}

fn notes(wanted: &Wanted, has_hub: bool) -> Vec<String> {
    let plane = wanted.first_plane();
    let authority = &plane.authority;
    let mut notes = vec![
        "merge it into /etc/docker/daemon.json, then `systemctl restart docker`; tested with \
         docker engine 20.10"
            .to_owned(),
        format!(
            "the sure way needs no mirror: name images by the plane, as in \
             `docker pull {authority}/docker.io/library/alpine:3`"
        ),
    ];
    if has_hub {
        notes.push(
            "docker asks Docker Hub itself whenever its mirror refuses or fails: close the way to \
             registry-1.docker.io in the firewall if refusals are to hold"
                .to_owned(),
        );
        notes.push(
            "a mirror is asked without the registry's name: give the plane a host name for \
             docker.io alone (as docker.io.plane.example.com) and add it to spec.hosts of the \
             Repository docker.io, else the plane answers 404 and docker goes to Docker Hub"
                .to_owned(),
        );
    }
    if wanted.registries.iter().any(|registry| registry.0 != "docker.io") {
        notes.push(
            "docker knows mirrors of docker.io only: name other images by the plane".to_owned(),
        );
    }
    if let Some(ca_file) = wanted.ca_file.as_ref().filter(|_| plane.is_https) {
        notes.push(format!("trust: cp {ca_file} /etc/docker/certs.d/{authority}/ca.crt"));
    }
    notes
}
