//! What `kubectl get … -o json` prints: pods and whatever makes pods.
//!
//! A cluster's list is larger than memory should be, so each object goes when it is read. What an
//! object is, its shape tells: lists of the API server leave `kind` out of their items.

use super::collect::{Collected, Seen};
use super::reference;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read};
use std::rc::Rc;

/// Bytes of one object. The API server takes no larger ones than a few MiB.
const OBJECT_BYTES_MAX: usize = 16 << 20;

/// Reads all objects. Returns how many there were.
pub(super) fn read(reader: impl Read, collected: &mut Collected) -> Result<u64, serde_json::Error> {
    let budget = Rc::new(Cell::new(OBJECT_BYTES_MAX));
    let reader = Bounded { reader, budget: budget.clone() };
    let mut json = serde_json::Deserializer::from_reader(reader);
    let mut objects = 0;
    loop {
        let mut walk = Walk { collected, budget: &budget, objects: &mut objects };
        Top(&mut walk).deserialize(&mut json)?;
        // `jq -c '.items[]'` prints one object after the other.
        if json.end().is_ok() {
            return Ok(objects);
        }
    }
}

/// Fails when one object is too long.
struct Bounded<R> {
    reader: R,
    budget: Rc<Cell<usize>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(into)?;
        let left = self.budget.get().checked_sub(read);
        let too_long = || io::Error::other("an object is longer than 16 MiB");
        self.budget.set(left.ok_or_else(too_long)?);
        Ok(read)
    }
}

struct Walk<'a> {
    collected: &'a mut Collected,
    budget: &'a Cell<usize>,
    objects: &'a mut u64,
}

impl Walk<'_> {
    fn take(&mut self, object: &Object) {
        self.budget.set(OBJECT_BYTES_MAX);
        *self.objects += 1;
        object.tell(self.collected);
    }
}

/// A list, or a single object, or an array of objects.
struct Top<'w, 'a>(&'w mut Walk<'a>);

impl<'de> DeserializeSeed<'de> for Top<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Top<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("objects of Kubernetes, as kubectl get -o json prints them")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(object) = items.next_element::<Object>()? {
            self.0.take(&object);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let (mut alone, mut is_list) = (Object::default(), false);
        while let Some(key) = fields.next_key::<String>()? {
            match key.as_str() {
                "items" => {
                    is_list = true;
                    fields.next_value_seed(Items(&mut *self.0))?;
                }
                "kind" => alone.kind = fields.next_value()?,
                "metadata" => alone.metadata = fields.next_value()?,
                "spec" => alone.spec = fields.next_value()?,
                "status" => alone.status = fields.next_value()?,
                _ => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        if !is_list {
            self.0.take(&alone);
        }
        Ok(())
    }
}

struct Items<'w, 'a>(&'w mut Walk<'a>);

impl<'de> DeserializeSeed<'de> for Items<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(Top(self.0))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    kind: Option<String>,
    metadata: Option<Metadata>,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
}

/// Of a pod, or of what makes pods: its template, or its template of jobs.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    service_account_name: Option<String>,
    containers: Option<Vec<Container>>,
    init_containers: Option<Vec<Container>>,
    ephemeral_containers: Option<Vec<Container>>,
    volumes: Option<Vec<Volume>>,
    template: Option<Template>,
    job_template: Option<Template>,
}

#[derive(Deserialize)]
struct Template {
    #[serde(default)]
    spec: Option<Box<Spec>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Container {
    name: Option<String>,
    image: Option<String>,
}

#[derive(Deserialize)]
struct Volume {
    #[serde(default)]
    image: Option<ImageVolume>,
}

#[derive(Deserialize)]
struct ImageVolume {
    #[serde(default)]
    reference: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    container_statuses: Option<Vec<ContainerStatus>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
    ephemeral_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerStatus {
    name: Option<String>,
    #[serde(rename = "imageID")]
    image_id: Option<String>,
}

impl Object {
    fn tell(&self, collected: &mut Collected) {
        let Some(spec) = self.spec.as_ref() else { return };
        let of =
            |template: &Option<Template>| template.as_ref().is_some_and(|it| it.spec.is_some());
        let is_pod = !of(&spec.template) && !of(&spec.job_template);
        let spec = spec.of_pods();
        let metadata = self.metadata.as_ref();
        let text = |field: Option<&String>| field.cloned().filter(|it| !it.is_empty());
        let namespace = text(metadata.and_then(|it| it.namespace.as_ref()));
        let namespace = namespace.unwrap_or_else(|| "default".to_owned());
        let name = text(metadata.and_then(|it| it.name.as_ref())).unwrap_or_default();
        let account = text(spec.service_account_name.as_ref());
        let account = account.unwrap_or_else(|| "default".to_owned());
        let who = format!("system:serviceaccount:{namespace}:{account}");
        let name = match (is_pod, &self.kind) {
            (false, Some(kind)) => format!("{namespace}/{}/{name}", kind.to_ascii_lowercase()),
            _ => format!("{namespace}/{name}"),
        };
        // A pod that has an image twice is one pod.
        let mut images: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (container, image) in spec.images() {
            let runs = container.and_then(|container| self.runs(container));
            let entry = images.entry(reference::whole(image)).or_default();
            entry.extend(runs.filter(|_| !image.contains('@')));
        }
        let number = collected.next_pod();
        for (image, running) in images {
            collected.add(Seen::pod(image, &who, (number, &name), running));
        }
    }

    /// The digest of what a container runs, where its status tells one that names content.
    fn runs(&self, container: &str) -> Option<String> {
        let status = self.status.as_ref()?;
        let all = [
            &status.container_statuses,
            &status.init_container_statuses,
            &status.ephemeral_container_statuses,
        ];
        let mut all = all.into_iter().flatten().flatten();
        let id = all.find(|it| it.name.as_deref() == Some(container))?.image_id.as_deref()?;
        // `sha256:…` alone is the id of a config (docker), not of a manifest.
        let (_, digest) = id.rsplit_once('@')?;
        oci::Digest::parse(digest).ok().map(|digest| digest.to_string())
    }
}

impl Spec {
    /// The part that speaks of containers: templates of templates are two deep at most.
    fn of_pods(&self) -> &Self {
        let one = self.inner().unwrap_or(self);
        one.inner().unwrap_or(one)
    }

    fn inner(&self) -> Option<&Self> {
        [&self.job_template, &self.template].into_iter().flatten().find_map(|it| it.spec.as_deref())
    }

    /// Names of containers with their images, and images that are volumes.
    fn images(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        let all = [&self.containers, &self.init_containers, &self.ephemeral_containers];
        let containers = all.into_iter().flatten().flatten();
        let of_containers =
            containers.filter_map(|it| Some((it.name.as_deref(), it.image.as_deref()?)));
        let volumes = self.volumes.iter().flatten();
        let of_volumes =
            volumes.filter_map(|it| Some((None, it.image.as_ref()?.reference.as_deref()?)));
        of_containers.chain(of_volumes).filter(|(_, image)| !image.is_empty())
    }
}

#[cfg(test)]
#[path = "pods_tests.rs"]
mod tests;
