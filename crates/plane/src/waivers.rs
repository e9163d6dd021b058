//! Waivers as operators see them: which are used, which are not, which have ended.

use crate::plane::Plane;
use jiff::Timestamp;
use parking_lot::Mutex;
use policy::{NamePattern, TextPattern, Waiver};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// One waiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaiverView {
    /// Its name.
    pub name: String,
    /// Rules that it lets pass.
    pub rules: Vec<String>,
    /// Vulnerabilities that it overlooks.
    pub vulnerabilities: Vec<String>,
    /// Manifests.
    pub digests: Vec<oci::Digest>,
    /// Names.
    pub repositories: Vec<String>,
    /// Environments; empty: any.
    pub environments: Vec<String>,
    /// Why.
    pub reason: String,
    /// Who asked for it.
    pub requested_by: String,
    /// Who let it.
    pub approved_by: String,
    /// From then on it holds no more.
    pub expires: Timestamp,
    /// Whether that time has come.
    pub has_expired: bool,
    /// Decisions in which it let something pass, since this process started.
    pub uses: u64,
    /// The last of them.
    pub last_used: Option<Timestamp>,
}

/// How often each was used, by name. Only what is waived counts, so it is no part of a usual request.
#[derive(Default)]
pub(crate) struct WaiverUses(Mutex<HashMap<Arc<str>, (u64, Timestamp)>>);

impl WaiverUses {
    /// Notes that a decision used these.
    pub(crate) fn note(&self, names: Vec<Arc<str>>, now: Timestamp) {
        let mut held = self.0.lock();
        for name in names {
            let entry = held.entry(name).or_insert((0, now));
            *entry = (entry.0 + 1, now.max(entry.1));
        }
    }

    /// The uses of one that is in force; those of others are forgotten.
    fn of(&self, waivers: &[Waiver]) -> Vec<Option<(u64, Timestamp)>> {
        let mut held = self.0.lock();
        held.retain(|name, _| waivers.iter().any(|waiver| waiver.name == *name));
        waivers.iter().map(|waiver| held.get(&waiver.name).copied()).collect()
    }
}

impl Plane {
    /// All waivers in force, and those that have expired, by name.
    pub fn waivers(&self) -> Vec<WaiverView> {
        let (view, now) = (self.core.view(), self.core.shelf.clock.now());
        let waivers = view.governance.policies.waivers();
        let uses = self.core.waiver_uses.of(waivers);
        waivers.iter().zip(uses).map(|(waiver, uses)| shown(waiver, uses, now)).collect()
    }
}

fn shown(waiver: &Waiver, uses: Option<(u64, Timestamp)>, now: Timestamp) -> WaiverView {
    let texts = |all: &[TextPattern]| all.iter().map(|it| it.as_str().to_owned()).collect();
    let names = |all: &[NamePattern]| all.iter().map(|it| it.as_str().to_owned()).collect();
    WaiverView {
        name: waiver.name.to_string(),
        rules: texts(&waiver.rules),
        vulnerabilities: waiver.vulnerabilities.iter().map(ToString::to_string).collect(),
        digests: waiver.digests.clone(),
        repositories: names(&waiver.repositories),
        environments: texts(&waiver.environments),
        reason: waiver.reason.to_string(),
        requested_by: waiver.requested_by.to_string(),
        approved_by: waiver.approved_by.to_string(),
        expires: waiver.expires,
        has_expired: now >= waiver.expires,
        uses: uses.map_or(0, |(count, _)| count),
        last_used: uses.map(|(_, at)| at),
    }
}
