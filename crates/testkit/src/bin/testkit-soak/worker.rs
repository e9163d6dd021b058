//! One client that pushes, moves, deletes and pulls, and knows at every moment what must be there.

use crate::chance::Chance;
use crate::model::{Blob, Content, Evidence, Image, LAYER_POOL, Model, Slot};
use crate::registry::{Registry, Unknown, Way};
use std::collections::BTreeMap;
use std::time::Instant;

/// Pushes of one image until it is given up: each may meet a kill, or a collection between a blob
/// and its manifest.
const PUSHES_MAX: usize = 20;
const REMEMBERED_IMAGES: usize = 40;

/// A worker, and the part of the model that is its own: nobody else moves its tags.
pub(crate) struct Worker {
    id: usize,
    registry: Registry,
    chance: Chance,
    count: u64,
    /// Images it pushed once, by name; some are pushed again.
    past: Vec<(String, Image)>,
    pub(crate) model: Model,
    /// How often each thing was done.
    pub(crate) done: BTreeMap<&'static str, u64>,
}

impl Worker {
    pub(crate) fn new(id: usize, tags: usize, registry: Registry, seed: u64) -> Self {
        let mut model = Model::default();
        for name in &registry.names {
            for tag in 0..tags {
                let tag = format!("w{id}-t{tag}");
                model.slots.push(Slot { name: name.clone(), tag, image: None, or: None });
            }
        }
        let chance = Chance::new(seed ^ (id as u64).wrapping_mul(0x5851_f42d_4c95_7f2d));
        let done = BTreeMap::new();
        Self { id, registry, chance, count: 0, past: Vec::new(), model, done }
    }

    /// Works until the deadline; an error is something lost, wrong or refused.
    pub(crate) async fn run(&mut self, until: Instant) -> Result<(), String> {
        while Instant::now() < until {
            let slot = self.chance.below(self.model.slots.len());
            match self.chance.below(100) {
                0..24 => self.push(slot, false).await?,
                24..34 => self.push(slot, true).await?,
                34..40 => self.push_again(slot).await?,
                40..50 => self.retag(slot).await?,
                50..58 => self.delete_tag(slot).await?,
                58..64 => self.delete_digest(slot).await?,
                64..72 => self.attach(slot, false).await?,
                72..76 => self.attach(slot, true).await?,
                76..79 => self.leave_behind(slot).await?,
                _ => self.pull(slot).await?,
            }
        }
        Ok(())
    }

    fn did(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    fn unique(&mut self) -> String {
        self.count += 1;
        format!("w{}-{}", self.id, self.count)
    }

    fn new_image(&mut self) -> Image {
        let layers: Vec<u64> =
            (0..self.chance.below(4)).map(|_| self.chance.below(LAYER_POOL) as u64).collect();
        Image::of_layers(&self.unique(), &layers)
    }

    async fn push(&mut self, slot: usize, index: bool) -> Result<(), String> {
        let image = match index {
            true => Image::index(vec![self.new_image(), self.new_image()]),
            false => self.new_image(),
        };
        self.did(if index { "index pushed" } else { "image pushed" });
        let name = self.model.slots[slot].name.clone();
        self.past.push((name, image.clone()));
        if self.past.len() > REMEMBERED_IMAGES {
            self.past.remove(0);
        }
        self.push_as(slot, image).await
    }

    /// An image that was deleted, or is being collected just now, comes back.
    async fn push_again(&mut self, slot: usize) -> Result<(), String> {
        let name = &self.model.slots[slot].name;
        let mine: Vec<Image> = self
            .past
            .iter()
            .filter(|(held, _)| held == name)
            .map(|(_, image)| image.clone())
            .collect();
        let Some(image) = self.chance.pick(&mine).cloned() else { return Ok(()) };
        self.did("image pushed again");
        self.push_as(slot, image).await
    }

    async fn push_as(&mut self, slot: usize, image: Image) -> Result<(), String> {
        let (name, tag) = (self.model.slots[slot].name.clone(), self.model.slots[slot].tag.clone());
        self.model.sends(&name, &image);
        for _ in 0..PUSHES_MAX {
            if !self.bring(&name, &image).await? {
                continue;
            }
            self.model.slots[slot].or = Some(Some(image.clone()));
            match self.registry.put_manifest(&name, &tag, &image).await {
                Ok(answer) if answer.status == 201 => {
                    self.settle(slot, Some(image));
                    return Ok(());
                }
                // A collection came between a blob and its manifest.
                Ok(answer)
                    if answer.status == 400 && answer.text().contains("MANIFEST_BLOB_UNKNOWN") =>
                {
                    self.did("push met a collection");
                    let held = self.model.slots[slot].image.clone();
                    self.settle(slot, held);
                }
                Ok(answer) => return Err(refused("push", &name, &tag, &answer)),
                Err(why) => {
                    self.did("answer missing");
                    if self.find_out(slot, &why).await? {
                        return Ok(());
                    }
                }
            }
        }
        Err(format!("{name}:{tag} could not be pushed in {PUSHES_MAX} tries"))
    }

    /// Brings what an image names; false if some of it is not known to be there.
    async fn bring(&mut self, name: &str, image: &Image) -> Result<bool, String> {
        for blob in &image.blobs {
            if !self.bring_blob(name, blob).await? {
                return Ok(false);
            }
        }
        for child in &image.children {
            if !Box::pin(self.bring(name, child)).await? {
                return Ok(false);
            }
            match self.registry.put_manifest(name, &child.digest, child).await {
                Ok(answer) if answer.status == 201 => {}
                Ok(answer)
                    if answer.status == 400 && answer.text().contains("MANIFEST_BLOB_UNKNOWN") =>
                {
                    self.did("push met a collection");
                    return Ok(false);
                }
                Ok(answer) => return Err(refused("push", name, &child.digest, &answer)),
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    async fn bring_blob(&mut self, name: &str, blob: &Blob) -> Result<bool, String> {
        if self.registry.has_blob(name, &blob.digest).await? {
            return Ok(true);
        }
        let way = match self.chance.below(4) {
            0 => Way::PostOnly,
            1 => Way::PostPut,
            2 => Way::Chunked,
            _ => Way::MountElse(self.chance.below(64)),
        };
        match self.registry.put_blob(name, blob, way).await {
            Ok(answer) if answer.status == 201 => Ok(true),
            // The session was lost with the process, or its last bytes were.
            Ok(answer) if matches!(answer.status, 404 | 416) => Ok(false),
            Ok(answer) => Err(refused(&format!("{way:?} of a blob"), name, &blob.digest, &answer)),
            Err(_) => Ok(false),
        }
    }

    async fn retag(&mut self, slot: usize) -> Result<(), String> {
        let name = self.model.slots[slot].name.clone();
        let others: Vec<Image> = self
            .model
            .slots
            .iter()
            .filter(|held| held.name == name)
            .filter_map(|held| held.image.clone())
            .collect();
        let Some(image) = self.chance.pick(&others).cloned() else { return Ok(()) };
        self.did("tag moved");
        self.push_as(slot, image).await
    }

    async fn delete_tag(&mut self, slot: usize) -> Result<(), String> {
        let held = self.model.slots[slot].clone();
        if held.image.is_none() {
            return Ok(());
        }
        self.did("tag deleted");
        self.model.slots[slot].or = Some(None);
        match self.registry.delete_manifest(&held.name, &held.tag).await {
            Ok(answer) if answer.status == 202 => self.settle(slot, None),
            Ok(answer) => return Err(refused("delete", &held.name, &held.tag, &answer)),
            Err(why) => drop(self.find_out(slot, &why).await?),
        }
        Ok(())
    }

    /// Deletes a manifest, with all its tags.
    async fn delete_digest(&mut self, slot: usize) -> Result<(), String> {
        let Slot { name, image: Some(image), .. } = self.model.slots[slot].clone() else {
            return Ok(());
        };
        self.did("manifest deleted");
        let named: Vec<usize> = (0..self.model.slots.len())
            .filter(|at| {
                let held = &self.model.slots[*at];
                held.name == name
                    && held.image.as_ref().is_some_and(|one| one.digest == image.digest)
            })
            .collect();
        named.iter().for_each(|at| self.model.slots[*at].or = Some(None));
        match self.registry.delete_manifest(&name, &image.digest).await {
            Ok(answer) if answer.status == 202 => {
                named.iter().for_each(|at| self.settle(*at, None));
            }
            Ok(answer) => return Err(refused("delete", &name, &image.digest, &answer)),
            Err(why) => {
                for at in named {
                    self.find_out(at, &why).await?;
                }
            }
        }
        Ok(())
    }

    /// Attaches a note to what a tag names: by `subject`, or by a tag that is called after it.
    async fn attach(&mut self, slot: usize, by_tag: bool) -> Result<(), String> {
        let Slot { name, image: Some(subject), .. } = self.model.slots[slot].clone() else {
            return Ok(());
        };
        self.did(if by_tag { "signature tagged" } else { "note attached" });
        let unique = self.unique();
        let note = Image::note(&unique, (!by_tag).then_some(&subject));
        let tag = by_tag.then(|| format!("{}.sig", subject.digest.replace(':', "-")));
        self.model.sends(&name, &note);
        if let Some(tag) = &tag {
            // The tag moves: what it named before need not be there any more.
            let same = |held: &&mut Evidence| held.name == name && held.tag.as_ref() == Some(tag);
            self.model.evidence.iter_mut().filter(same).for_each(|held| held.certain = false);
        }
        let reference = tag.clone().unwrap_or_else(|| note.digest.clone());
        let certain = self.bring(&name, &note).await?
            && match self.registry.put_manifest(&name, &reference, &note).await {
                Ok(answer) if answer.status == 201 => true,
                Ok(answer) if answer.text().contains("MANIFEST_BLOB_UNKNOWN") => false,
                Ok(answer) => return Err(refused("attach", &name, &reference, &answer)),
                Err(_) => false,
            };
        let evidence = Evidence { name, subject: subject.digest, image: note, tag, certain };
        self.model.evidence.push(evidence);
        Ok(())
    }

    /// A blob that nothing will name, or an upload that never ends.
    async fn leave_behind(&mut self, slot: usize) -> Result<(), String> {
        let name = self.model.slots[slot].name.clone();
        let blob = Blob::new(Content::Text(self.unique().repeat(2000)));
        if self.chance.below(2) == 0 {
            self.did("upload left open");
            let _ = self.registry.abandon(&name, &blob).await;
            return Ok(());
        }
        self.did("blob left alone");
        self.model.blobs.insert((name.clone(), blob.digest.clone()));
        self.bring_blob(&name, &blob).await.map(drop)
    }

    /// Everything below a tag, byte for byte.
    async fn pull(&mut self, slot: usize) -> Result<(), String> {
        let Slot { name, tag, image, .. } = self.model.slots[slot].clone();
        self.did("pulled");
        let answer = self.registry.manifest(&name, &tag).await?;
        let Some(image) = image else {
            return match answer.status {
                404 => Ok(()),
                status => Err(format!("{name}:{tag} was deleted and answers {status}")),
            };
        };
        if answer.status != 200 || answer.body != image.body.as_bytes() {
            let (status, digest) = (answer.status, &image.digest);
            return Err(format!("{name}:{tag} must name {digest}: {status} {}", answer.text()));
        }
        self.registry.whole(&name, &image).await?;
        let listed = self.registry.referrers(&name, &image.digest).await?;
        for held in self
            .model
            .evidence
            .iter()
            .filter(|held| held.certain && held.name == name && held.subject == image.digest)
        {
            if held.tag.is_none() && !listed.contains(&held.image.digest) {
                return Err(format!(
                    "referrer {} of {name}@{} is not listed",
                    held.image.digest, image.digest
                ));
            }
            self.registry.whole(&name, &held.image).await?;
        }
        Ok(())
    }

    /// After an answer that did not come: which of the two does the tag name? True: the new one.
    async fn find_out(&mut self, slot: usize, why: &Unknown) -> Result<bool, String> {
        let Slot { name, tag, image: old, or } = self.model.slots[slot].clone();
        let new = or.flatten();
        let answer = self.registry.manifest(&name, &tag).await?;
        let names = |image: &Option<Image>| match image {
            Some(image) => answer.status == 200 && answer.body == image.body.as_bytes(),
            None => answer.status == 404,
        };
        let (is_new, is_old) = (names(&new), names(&old));
        match (is_new, is_old) {
            (true, _) => self.settle(slot, new),
            (false, true) => self.settle(slot, old),
            _ => {
                let (status, text, why) = (answer.status, answer.text(), &why.0);
                return Err(format!(
                    "{name}:{tag} is neither old nor new after `{why}`: {status} {text}"
                ));
            }
        }
        Ok(is_new)
    }

    fn settle(&mut self, slot: usize, image: Option<Image>) {
        self.model.slots[slot].image = image;
        self.model.slots[slot].or = None;
        self.model.settle();
    }
}

fn refused(what: &str, name: &str, reference: &str, answer: &testkit::client::Response) -> String {
    format!("{what} {name} {reference}: {} {} {}", answer.status, answer.reason, answer.text())
}
