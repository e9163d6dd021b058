//! Where the store lies: `Plane.spec.store`, put in force with the set it stands in.
//!
//! A new place is written to from the next blob on. What lay elsewhere before is still read there,
//! so that a change of place drops no request; `lockgate store migrate` brings it over. Former
//! places are remembered in `places.json` by their documents: paths of secrets, never secrets.

mod offline;
mod spec;

pub use offline::open_places;
pub(crate) use spec::{place_of, url_of};

use crate::plane::Core;
use crate::view::View;
use blobs::{Place, Store};
use parking_lot::Mutex;
use resources::v1alpha1::StoreSpec;
use resources::{Problem, Problems};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Former places, in the data directory.
const FILE: &str = "places.json";
/// Former places that are read; older ones are forgotten.
const PLACES_MAX: usize = 8;
/// How often files of secrets are read again.
const REFRESH: Duration = Duration::from_secs(30);

/// Where blobs were written at one time; `None`: the data directory.
pub(crate) type Written = Option<StoreSpec>;

/// The places that are, and were, in force.
pub(crate) struct Places {
    file: PathBuf,
    /// The one in force first.
    known: Mutex<Vec<Written>>,
    /// What they were when their keys could last be read: a key file that is gone for a moment takes
    /// no place away.
    last: Mutex<Vec<(StoreSpec, Place)>>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    /// Newest first; `null` is the data directory.
    places: Vec<Written>,
}

impl Places {
    /// Opens what the first view and the process before it say. Nothing is asked of an object store:
    /// one that is down holds up no start.
    pub(crate) fn start(data_dir: &std::path::Path, store: &Store, view: &View) -> Self {
        let file = data_dir.join(FILE);
        let known = std::fs::read(&file).ok();
        let known = known.and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        let known = known.map_or_else(Vec::new, |kept| kept.places);
        let places = Self { file, known: Mutex::new(known), last: Mutex::default() };
        let order = places.order(&view.store);
        if let Err(error) = store.set_places(places.opened(&order, &view.store)) {
            tracing::error!(%error, "the store's place cannot be opened; the data directory is used");
        }
        places.remember(order);
        places
    }

    /// Whether a view's place can be written to. Asks it; to be called before the view is in force.
    pub(crate) async fn check(&self, core: &Arc<Core>, view: &View) -> Result<(), Problems> {
        if self.known.lock().first() == Some(&view.store.as_ref().map(|it| it.spec.clone())) {
            return Ok(());
        }
        let Some(wanted) = &view.store else { return Ok(()) };
        let place = wanted.place.clone();
        let probed = core.shelf.blocking(move |shelf| {
            let open = shelf.store.open_place(place)?;
            open.probe()
        });
        let message = match probed.await {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => told(&error),
            None => "looking at it panicked; see the log".to_owned(),
        };
        let problem = Problem::new(
            wanted.at.clone(),
            "spec.store",
            format!("{} cannot be used: {message}", wanted.place),
        );
        Err(problem.into())
    }

    /// From now on blobs are written where the view says, and read there first.
    pub(crate) async fn activate(&self, core: &Arc<Core>, view: &View) {
        let order = self.order(&view.store);
        let places = self.opened(&order, &view.store);
        let set = core.shelf.blocking(move |shelf| shelf.store.set_places(places)).await;
        if let Some(Err(error)) = set {
            tracing::error!(%error, "the store's place cannot be changed; the one before stays");
            return;
        }
        self.remember(order);
    }

    /// The place in force, then those before it, each once; the data directory is always among them.
    fn order(&self, wanted: &Option<StorePlace>) -> Vec<Written> {
        let mut order = vec![wanted.as_ref().map(|it| it.spec.clone())];
        for known in self.known.lock().iter() {
            if order.len() < PLACES_MAX && !order.contains(known) {
                order.push(known.clone());
            }
        }
        if !order.contains(&None) {
            order.push(None);
        }
        order
    }

    fn remember(&self, order: Vec<Written>) {
        let mut known = self.known.lock();
        if *known == order {
            return;
        }
        known.clone_from(&order);
        drop(known);
        let bytes = serde_json::to_vec_pretty(&Kept { places: order }).unwrap_or_default();
        if let Err(error) = crate::revisions::write_whole(&self.file, &bytes) {
            tracing::error!(%error, "{FILE} cannot be written: a restart would not read the former places");
        }
    }

    /// Reads files of secrets again, now and then, until the plane stops.
    pub(crate) async fn refresh(core: Arc<Core>, stop: CancellationToken) {
        loop {
            let pause = tokio::time::sleep(REFRESH);
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
            let refreshed = core.clone();
            let set = core.shelf.blocking(move |shelf| {
                let view = refreshed.view();
                let order = refreshed.places.order(&view.store);
                // The same place with the same keys is kept open as it is.
                let places = refreshed.places.opened(&order, &None);
                shelf.store.set_places(places).map_err(|error| error.to_string())
            });
            if let Some(Err(error)) = set.await {
                tracing::warn!(error, "the places of the store cannot be opened again; they stay");
            }
        }
    }

    /// A place with its keys as they are now, or as they were when they could last be read.
    fn place(&self, spec: &StoreSpec) -> Result<Place, String> {
        let read = place_of(spec);
        let mut last = self.last.lock();
        let held = last.iter_mut().find(|(known, _)| known == spec);
        match (read, held) {
            (Ok(place), Some(held)) => {
                held.1 = place.clone();
                Ok(place)
            }
            (Ok(place), None) => {
                last.push((spec.clone(), place.clone()));
                // Room for those that are read; one that is forgotten is read from its files.
                let more = last.len().saturating_sub(2 * PLACES_MAX);
                last.drain(..more);
                Ok(place)
            }
            (Err(error), Some(held)) => {
                tracing::warn!(place = %held.1, error, "keys cannot be read again; the old ones stay");
                Ok(held.1.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Places ready to be opened. A former one whose keys could never be read is left out, loudly.
    fn opened(&self, order: &[Written], now: &Option<StorePlace>) -> Vec<Place> {
        let place = |written: &Written| match (written, now) {
            (None, _) => Some(Place::DataDir),
            (Some(spec), Some(now)) if now.spec == *spec => Some(now.place.clone()),
            (Some(spec), _) => match self.place(spec) {
                Ok(place) => Some(place),
                Err(error) => {
                    let place = url_of(spec);
                    tracing::error!(place, error, "a former place of the store cannot be read");
                    None
                }
            },
        };
        order.iter().filter_map(place).collect()
    }
}

/// A place of the store, as operators see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlaceView {
    /// Its URL, without secrets.
    pub url: String,
    /// Whether blobs are written there; they are read in all places, in order.
    pub is_written: bool,
    /// Why it cannot be used now, if it cannot: it was asked just now.
    pub problem: Option<String>,
}

/// The places in order, each asked whether it can be used.
pub(crate) async fn views(core: &Arc<Core>) -> Vec<PlaceView> {
    let view = core.view();
    let order = core.places.order(&view.store);
    let core = core.clone();
    let shelf = core.shelf.clone();
    let looked = shelf.blocking(move |shelf| {
        let look = |(index, written): (usize, &Written)| {
            let place = written.as_ref().map_or(Ok(Place::DataDir), |spec| core.places.place(spec));
            let url = match (&place, written) {
                (Ok(place), _) => place.to_string(),
                (Err(_), spec) => spec.as_ref().map(url_of).unwrap_or_default(),
            };
            let probed = place.and_then(|place| {
                let open = shelf.store.open_place(place).map_err(|error| told(&error))?;
                open.probe().map_err(|error| told(&error))
            });
            PlaceView { url, is_written: index == 0, problem: probed.err() }
        };
        order.iter().enumerate().map(look).collect()
    });
    looked.await.unwrap_or_default()
}

/// A view's place.
#[derive(Clone, Debug)]
pub(crate) struct StorePlace {
    pub(crate) spec: StoreSpec,
    pub(crate) place: Place,
    /// Where it is written.
    pub(crate) at: resources::Place,
}

/// An error with its causes, on one line.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}
