//! What decisions leave behind, as rows and verbs.

use crate::batch::{Batch, Verb};
use crate::read::governance;
use crate::{Catalog, Error};
use jiff::Timestamp;
use oci::{Digest, Name};
use policy::EnvironmentName;

/// An environment was served a digest under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionRow {
    /// Which.
    pub environment: EnvironmentName,
    /// The first time.
    pub first: Timestamp,
    /// The last time, coarse.
    pub last: Timestamp,
}

/// What one environment was served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmittedRow {
    /// The canonical name.
    pub name: Name,
    /// What was served.
    pub digest: Digest,
    /// The first time.
    pub first: Timestamp,
    /// The last time, coarse.
    pub last: Timestamp,
}

impl AdmittedRow {
    /// The cursor for the page after this row.
    pub fn cursor(&self) -> (Name, Digest) {
        (self.name.clone(), self.digest)
    }
}

/// A policy's refusal is softened, because an environment runs the digest already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SofteningRow {
    /// Which environment.
    pub environment: EnvironmentName,
    /// Which `ArtifactPolicy`.
    pub policy: String,
    /// Since when.
    pub since: Timestamp,
}

impl Batch {
    /// Notes that an environment was served a digest. The earliest time that was ever noted is the first,
    /// the latest is the last, in whatever order they come.
    pub fn note_admission(
        &mut self,
        environment: &EnvironmentName,
        name: &Name,
        digest: &Digest,
        at: Timestamp,
    ) {
        let bytes = environment.as_str().len();
        let (environment, name) = (environment.clone(), name.clone());
        self.push(Verb::Admit { environment, name, digest: Box::new(*digest), at }, bytes);
    }

    /// Notes that a policy's refusal is softened from now on. The first time stays.
    pub fn note_softening(
        &mut self,
        environment: &EnvironmentName,
        name: &Name,
        digest: &Digest,
        policy: &str,
        at: Timestamp,
    ) {
        let bytes = environment.as_str().len() + policy.len();
        let (environment, name) = (environment.clone(), name.clone());
        let (digest, policy) = (Box::new(*digest), policy.to_owned());
        self.push(Verb::Soften { environment, name, digest, policy, at }, bytes);
    }

    /// Notes that a principal was permitted a manifest in a setting, or used that. Never goes back.
    pub fn note_lease(
        &mut self,
        principal: &str,
        setting: &EnvironmentName,
        name: &Name,
        digest: &Digest,
        used: Timestamp,
    ) {
        let bytes = principal.len() + setting.as_str().len();
        let (principal, setting, name) = (principal.to_owned(), setting.clone(), name.clone());
        let verb = Verb::Lease { principal, setting, name, digest: Box::new(*digest), used };
        self.push(verb, bytes);
    }

    /// Takes back every lease under a name, whoever has it.
    pub fn drop_leases(&mut self, name: &Name) {
        self.push(Verb::DropLeases { name: name.clone() }, 0);
    }

    /// Forgets leases and admissions not used since, at most `limit` of each, and the softenings that
    /// began before and have no admission any more.
    pub fn forget_unused(
        &mut self,
        leases_before: Timestamp,
        admissions_before: Timestamp,
        limit: u32,
    ) {
        self.push(Verb::ForgetUnused { leases_before, admissions_before, limit }, 0);
    }
}

/// What decisions ask. As the other reads, they block for a short query and fail fast.
impl Catalog {
    /// Which environments were served a digest under a name.
    pub fn admissions(&self, name: &Name, digest: &Digest) -> Result<Vec<AdmissionRow>, Error> {
        self.read(|c| governance::admissions(c, name, digest))
    }

    /// What an environment was served, in order of name and digest, after a row of the page before.
    pub fn admitted_in(
        &self,
        environment: &EnvironmentName,
        after: Option<&(Name, Digest)>,
        limit: u32,
    ) -> Result<Vec<AdmittedRow>, Error> {
        self.read(|c| governance::admitted_in(c, environment, after, limit))
    }

    /// Which refusals of a digest under a name are softened.
    pub fn softenings(&self, name: &Name, digest: &Digest) -> Result<Vec<SofteningRow>, Error> {
        self.read(|c| governance::softenings(c, name, digest))
    }

    /// Which of these digests a principal has a lease on, and when each was used last.
    pub fn leases(
        &self,
        principal: &str,
        setting: &EnvironmentName,
        name: &Name,
        digests: &[Digest],
    ) -> Result<Vec<(Digest, Timestamp)>, Error> {
        self.read(|c| governance::leases(c, principal, setting, name, digests))
    }
}
