//! The places of a data directory on which no plane runs, for commands that work on its store.

use super::{FILE, Kept, Places, place_of, told};
use crate::view::View;
use blobs::{Place, Store};
use parking_lot::Mutex;
use std::path::Path;

/// Opens the places that a plane would read on this data directory: the one that the resources say,
/// and the former ones. Unlike a plane, it leaves none out: what is not found is judged by it. Blocks;
/// nothing is asked of an object store. To be called inside a tokio runtime.
///
/// # Errors
/// Why one of them cannot be opened, in words.
pub fn open_places(data_dir: &Path, store: &Store, view: &View) -> Result<(), String> {
    let file = data_dir.join(FILE);
    let known = match std::fs::read(&file) {
        Ok(bytes) => {
            serde_json::from_slice::<Kept>(&bytes)
                .map_err(|error| format!("{}: {error}", file.display()))?
                .places
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    let places = Places { file, known: Mutex::new(known), last: Mutex::default() };
    let order = places.order(&view.store);
    let place = |written: &super::Written| match written {
        None => Ok(Place::DataDir),
        Some(spec) => place_of(spec),
    };
    let places = order.iter().map(place).collect::<Result<Vec<_>, String>>()?;
    store.set_places(places).map_err(|error| told(&error))
}
