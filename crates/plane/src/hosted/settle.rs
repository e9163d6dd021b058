//! A change of a hosted name becomes durable, and memory follows: the one place where that order is
//! kept.
//!
//! Memory answers for hosted names without a look at the catalog, so what it says of them must be
//! taken back whenever the catalog changed, whatever became of the client meanwhile.

use crate::holds::Hold;
use crate::plane::Core;
use crate::refusal::Refusal;
use catalog::{Batch, WriteError};
use oci::{Digest, Name, Tag};
use std::sync::Arc;
use std::time::Duration;

/// What is written, and what memory may say of it.
pub(super) struct Change {
    pub(super) batch: Batch,
    pub(super) name: Name,
    pub(super) tags: Vec<Tag>,
    pub(super) digests: Vec<Digest>,
    /// Keeps the bytes of what comes in from being removed before the row says that they are needed.
    pub(super) hold: Option<Arc<Hold>>,
}

/// Why a change is not durable.
pub(super) enum Unsettled {
    /// The catalog is not as it was when the change was judged: look again.
    Conflict,
    Refused(Refusal),
}

/// Writes a change and waits until it is durable, but not for ever. The write goes on behind a wait
/// that was given up.
pub(super) async fn settle(core: &Arc<Core>, change: Change) -> Result<(), Unsettled> {
    let Change { batch, name, tags, digests, hold } = change;
    core.shelf.expect_durable().map_err(Unsettled::Refused)?;
    let mut ticket = core.shelf.catalog.submit(batch);
    match tokio::time::timeout(core.uploads.patience(), &mut ticket).await {
        Ok(written) => {
            core.shelf.withdraw(&name, &tags, &digests);
            drop(hold);
            written.map_err(|error| match error {
                WriteError::Conflict => Unsettled::Conflict,
                error => Unsettled::Refused(cannot_write(&error)),
            })
        }
        Err(_) => {
            let core = core.clone();
            tokio::spawn(async move {
                let _ = ticket.await;
                core.shelf.withdraw(&name, &tags, &digests);
                drop(hold);
            });
            Err(Unsettled::Refused(cannot_write(&"it takes no writes")))
        }
    }
}

fn cannot_write(why: &dyn std::fmt::Display) -> Refusal {
    Refusal::Indeterminate {
        reason: format!("the catalog cannot be written now, so this does not count yet: {why}"),
        retry_after: Some(Duration::from_secs(10)),
        is_rate_limit: false,
    }
}
