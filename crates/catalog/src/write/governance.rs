//! What decisions leave behind. None of it expects anything: the latest use counts, and the earliest
//! admission, whichever was written first.

use super::Failure;
use crate::columns::{execute, micros};
use jiff::Timestamp;
use oci::{Digest, Name};
use policy::EnvironmentName;
use rusqlite::{Connection, params};

const ADMIT: &str = "INSERT INTO admission (name, digest, environment, first, last) \
    VALUES ($1, $2, $3, $4, $4) ON CONFLICT (name, digest, environment) DO UPDATE SET \
    first = CASE WHEN excluded.first < admission.first THEN excluded.first \
        ELSE admission.first END, \
    last = CASE WHEN excluded.last > admission.last THEN excluded.last ELSE admission.last END";

pub(super) fn admit(
    c: &Connection,
    environment: &EnvironmentName,
    name: &Name,
    digest: &Digest,
    at: Timestamp,
) -> Result<(), Failure> {
    let params = params![name.as_str(), digest.to_string(), environment.as_str(), micros(at)];
    execute(c, ADMIT, params)?;
    Ok(())
}

const SOFTEN: &str = "INSERT INTO softening (name, digest, environment, policy, since) \
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name, digest, environment, policy) DO NOTHING";

pub(super) fn soften(
    c: &Connection,
    environment: &EnvironmentName,
    name: &Name,
    digest: &Digest,
    policy: &str,
    at: Timestamp,
) -> Result<(), Failure> {
    let (digest, environment) = (digest.to_string(), environment.as_str());
    execute(c, SOFTEN, params![name.as_str(), digest, environment, policy, micros(at)])?;
    Ok(())
}

const LEASE: &str = "INSERT INTO lease (principal, setting, name, digest, used) \
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name, digest, principal, setting) DO UPDATE SET \
    used = CASE WHEN excluded.used > lease.used THEN excluded.used ELSE lease.used END";

pub(super) fn lease(
    c: &Connection,
    principal: &str,
    setting: &EnvironmentName,
    name: &Name,
    digest: &Digest,
    used: Timestamp,
) -> Result<(), Failure> {
    let (setting, digest) = (setting.as_str(), digest.to_string());
    execute(c, LEASE, params![principal, setting, name.as_str(), digest, micros(used)])?;
    Ok(())
}

/// Each takes a time and a limit: leases, admissions, and softenings without an admission.
pub(crate) const FORGET: [&str; 3] = [
    "DELETE FROM lease WHERE (name, digest, principal, setting) IN \
     (SELECT name, digest, principal, setting FROM lease WHERE used < $1 ORDER BY used LIMIT $2)",
    "DELETE FROM admission WHERE (name, digest, environment) IN \
     (SELECT name, digest, environment FROM admission WHERE last < $1 ORDER BY last LIMIT $2)",
    "DELETE FROM softening WHERE (name, digest, environment, policy) IN \
     (SELECT name, digest, environment, policy FROM softening s WHERE since < $1 \
     AND NOT EXISTS (SELECT 1 FROM admission a WHERE a.name = s.name \
     AND a.digest = s.digest AND a.environment = s.environment) ORDER BY since LIMIT $2)",
];

/// What was not used since, with what hangs on it. At most `limit` rows of each, the oldest first.
pub(super) fn forget(
    c: &Connection,
    leases_before: Timestamp,
    admissions_before: Timestamp,
    limit: u32,
) -> Result<(), Failure> {
    let times = [leases_before, admissions_before, admissions_before];
    for (sql, before) in FORGET.into_iter().zip(times) {
        execute(c, sql, params![micros(before), limit])?;
    }
    Ok(())
}

pub(crate) const DROP_LEASES: &str = "DELETE FROM lease WHERE name = $1";

pub(super) fn drop_leases(c: &Connection, name: &Name) -> Result<(), Failure> {
    execute(c, DROP_LEASES, params![name.as_str()])?;
    Ok(())
}
