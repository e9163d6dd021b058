//! Where revisions are read: from the plane that runs, else from the data directory of one that
//! does not.

use crate::client::{Api, has_socket};
use crate::exit::Failure;
use crate::flags::PlaneFlags;
use crate::serve::DataDir;
use catalog::Catalog;
use oci::Digest;
use plane::RevisionView;
use serde::Deserialize;

/// The most that a list shows; older ones are found by their digest.
const LIST_MAX: u32 = 1000;

/// A plane, or what a plane left behind.
pub(super) enum Source {
    /// It runs.
    Plane(Api),
    /// It does not; nobody else starts one while we read.
    Offline { catalog: Catalog, _lock: DataDir },
}

#[derive(Deserialize)]
struct Revisions {
    items: Vec<RevisionView>,
}

impl Source {
    /// The plane the flags name, else its data directory.
    pub(super) async fn find(flags: &PlaneFlags) -> Result<Self, Failure> {
        if flags.plane.is_some() {
            return Api::find(flags).map(Self::Plane);
        }
        let data_dir = flags.settings.load(Vec::new())?.settings.data_dir();
        let file = data_dir.join("catalog.sqlite");
        if has_socket(&data_dir) || !file.exists() {
            // Where neither is, asking gives the error that says what to do.
            let api = Api::local(&data_dir)?;
            let probe: Result<Revisions, Failure> = api.get("revisions", &[("limit", "1")]).await;
            match probe {
                Err(failure) if failure.is_cannot_tell() && file.exists() => {}
                Err(failure) => return Err(failure),
                Ok(_) => return Ok(Self::Plane(api)),
            }
        }
        // The lock makes sure that opening, which may bring the catalog up to date, hurts no plane.
        let lock = DataDir::lock(&data_dir)?;
        let (catalog, _) = Catalog::open(&file).map_err(|error| {
            Failure::cannot_tell("no plane runs, and its catalog cannot be read").because(&error)
        })?;
        Ok(Self::Offline { catalog, _lock: lock })
    }

    /// What was in force, the last one first.
    pub(super) async fn revisions(&self) -> Result<Vec<RevisionView>, Failure> {
        match self {
            Self::Plane(api) => {
                let limit = LIST_MAX.to_string();
                let page: Revisions = api.get("revisions", &[("limit", &limit)]).await?;
                Ok(page.items)
            }
            Self::Offline { catalog, .. } => {
                let rows = catalog.revisions(LIST_MAX).map_err(|error| unreadable(&error))?;
                let view = |row: catalog::RevisionRow| RevisionView {
                    digest: row.digest,
                    source: row.source,
                    documents: row.documents,
                    first_activated: row.first_activated,
                    last_activated: row.last_activated,
                    active: false,
                };
                Ok(rows.into_iter().map(view).collect())
            }
        }
    }

    /// The documents of one, as YAML.
    pub(super) async fn text(&self, revision: &str) -> Result<String, Failure> {
        check(revision)?;
        match self {
            Self::Plane(api) => api.text(&format!("revisions/{revision}")).await,
            Self::Offline { catalog, .. } => {
                let digest = self.resolve(revision).await?;
                let text = catalog.revision_text(&digest).map_err(|error| unreadable(&error))?;
                text.ok_or_else(|| unknown(revision))
            }
        }
    }

    async fn resolve(&self, revision: &str) -> Result<Digest, Failure> {
        let wanted = revision.strip_prefix("sha256:").unwrap_or(revision);
        let revisions = self.revisions().await?;
        let mut found = revisions.iter().filter(|row| row.digest.hex().starts_with(wanted));
        match (found.next(), found.next()) {
            (Some(row), None) => Ok(row.digest),
            (Some(_), Some(_)) => {
                Err(Failure::no(format!("several revisions begin with {revision}")))
            }
            (None, _) => Err(unknown(revision)),
        }
    }
}

/// A digest or the beginning of one; it becomes part of a path.
pub(super) fn check(revision: &str) -> Result<(), Failure> {
    let hex = revision.strip_prefix("sha256:").unwrap_or(revision);
    if (6..=64).contains(&hex.len()) && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    let hint =
        "write its digest, or at least 6 hex digits of it; `lockgate revision list` shows them";
    Err(Failure::usage(format!("{revision:?} names no revision")).hint(hint))
}

fn unknown(revision: &str) -> Failure {
    Failure::no(format!("no revision begins with {revision}"))
        .hint("`lockgate revision list` shows those that were in force")
}

fn unreadable(error: &catalog::Error) -> Failure {
    Failure::cannot_tell("the catalog cannot be read").because(error)
}
