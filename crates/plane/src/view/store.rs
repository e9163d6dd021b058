//! `Plane.spec.store` as the place that blobs are written to.

use crate::places::{StorePlace, place_of};
use resources::{Problem, Set, Spec};

/// The place of a set; `None`: the data directory. `is_start`: a process must start whatever its
/// files say now (design, invariant 14), so that keys which cannot be read are then only told.
pub(super) fn build(set: &Set, is_start: bool, problems: &mut Vec<Problem>) -> Option<StorePlace> {
    let (document, spec) = set.documents().iter().find_map(|document| match &document.spec {
        Spec::Plane(spec) => Some((document, spec.store.as_ref()?)),
        _ => None,
    })?;
    let at = document.place_of("spec.store").clone();
    match place_of(spec) {
        Ok(place) => Some(StorePlace { spec: spec.clone(), place, at }),
        Err(error) if is_start => {
            tracing::error!(
                error,
                "the store's place cannot be used: what is written goes to the data directory"
            );
            None
        }
        Err(error) => {
            problems.push(Problem::new(at, "spec.store", error));
            None
        }
    }
}
