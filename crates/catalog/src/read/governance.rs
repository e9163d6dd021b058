//! What decisions ask: admissions, softenings, leases.

use crate::columns::*;
use crate::governance::{AdmissionRow, AdmittedRow, SofteningRow};
use jiff::Timestamp;
use oci::{Digest, Name};
use policy::EnvironmentName;
use rusqlite::{Connection, Result, params};

pub(crate) const ADMISSIONS: &str = "SELECT environment, first, last FROM admission \
    WHERE name = $1 AND digest = $2 ORDER BY environment LIMIT 256";

pub(crate) const ADMITTED_IN: &str = "SELECT name, digest, first, last FROM admission \
    WHERE environment = $1 AND (name, digest) > ($2, $3) ORDER BY name, digest LIMIT $4";

pub(crate) const SOFTENINGS: &str = "SELECT environment, policy, since FROM softening \
    WHERE name = $1 AND digest = $2 ORDER BY environment, policy LIMIT 1024";

pub(crate) const LEASE: &str = "SELECT used FROM lease \
    WHERE principal = $1 AND setting = $2 AND name = $3 AND digest = $4";

pub(crate) fn admissions(
    connection: &Connection,
    name: &Name,
    digest: &Digest,
) -> Result<Vec<AdmissionRow>> {
    all(connection, ADMISSIONS, params![name.as_str(), digest.to_string()], |row| {
        Ok(AdmissionRow {
            environment: EnvironmentName::new(row.get_ref(0)?.as_str()?),
            first: time(row, 1)?,
            last: time(row, 2)?,
        })
    })
}

pub(crate) fn admitted_in(
    connection: &Connection,
    environment: &EnvironmentName,
    after: Option<&(Name, Digest)>,
    limit: u32,
) -> Result<Vec<AdmittedRow>> {
    // No name is empty, so the empty text comes before all of them.
    let (after_name, after) =
        after.map_or(("", String::new()), |(name, digest)| (name.as_str(), digest.to_string()));
    let params = params![environment.as_str(), after_name, after, limit];
    all(connection, ADMITTED_IN, params, |row| {
        Ok(AdmittedRow {
            name: name(row, 0)?,
            digest: digest(row, 1)?,
            first: time(row, 2)?,
            last: time(row, 3)?,
        })
    })
}

pub(crate) fn softenings(
    connection: &Connection,
    name: &Name,
    digest: &Digest,
) -> Result<Vec<SofteningRow>> {
    all(connection, SOFTENINGS, params![name.as_str(), digest.to_string()], |row| {
        Ok(SofteningRow {
            environment: EnvironmentName::new(row.get_ref(0)?.as_str()?),
            policy: row.get(1)?,
            since: time(row, 2)?,
        })
    })
}

pub(crate) fn leases(
    connection: &Connection,
    principal: &str,
    setting: &EnvironmentName,
    name: &Name,
    digests: &[Digest],
) -> Result<Vec<(Digest, Timestamp)>> {
    let mut held = Vec::new();
    for digest in digests {
        let params = params![principal, setting.as_str(), name.as_str(), digest.to_string()];
        let used = first(connection, LEASE, params, |row| time(row, 0))?;
        held.extend(used.map(|used| (*digest, used)));
    }
    Ok(held)
}
