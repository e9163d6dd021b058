//! What a name has by pulls becomes hosted: nothing evicts it from then on.

use super::settle::{Change, Unsettled, settle};
use crate::plane::Core;
use crate::refusal::Refusal;
use catalog::Batch;
use oci::{Digest, Name};
use std::sync::Arc;

/// Makes content of a name hosted, all of it or none. Who may do that was decided before. To be run
/// to its end.
pub(crate) async fn adopt(
    core: &Arc<Core>,
    name: &Name,
    digests: Vec<Digest>,
) -> Result<(), Refusal> {
    let at = core.shelf.clock.now();
    let mut batch = Batch::new();
    digests.iter().for_each(|digest| batch.adopt(name, digest, at));
    let change = Change { batch, name: name.clone(), tags: Vec::new(), digests, hold: None };
    match settle(core, change).await {
        Ok(()) => Ok(()),
        Err(Unsettled::Refused(refusal)) => Err(refusal),
        Err(Unsettled::Conflict) => {
            let text = format!("part of it was taken away from {name} meanwhile; try again");
            Err(Refusal::Conflict(text))
        }
    }
}
