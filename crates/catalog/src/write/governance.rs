//! What decisions leave behind. None of it expects anything: the latest use counts, and the first
//! admission stays.

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
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (principal, setting, name, digest) DO UPDATE SET \
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

/// What was not used since: leases, admissions with what hangs on them. At most `limit` rows of each.
pub(super) fn forget(
    c: &Connection,
    leases_before: Timestamp,
    admissions_before: Timestamp,
    limit: u32,
) -> Result<(), Failure> {
    for (sql, before) in [
        (
            "DELETE FROM lease WHERE (principal, setting, name, digest) IN \
             (SELECT principal, setting, name, digest FROM lease WHERE used < $1 LIMIT $2)",
            leases_before,
        ),
        (
            "DELETE FROM admission WHERE (name, digest, environment) IN \
             (SELECT name, digest, environment FROM admission WHERE last < $1 LIMIT $2)",
            admissions_before,
        ),
        (
            "DELETE FROM softening WHERE (name, digest, environment, policy) IN \
             (SELECT name, digest, environment, policy FROM softening s WHERE since < $1 \
             AND NOT EXISTS (SELECT 1 FROM admission a WHERE a.name = s.name \
             AND a.digest = s.digest AND a.environment = s.environment) LIMIT $2)",
            admissions_before,
        ),
    ] {
        execute(c, sql, params![micros(before), limit])?;
    }
    Ok(())
}
