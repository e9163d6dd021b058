//! Many who ask the same at the same time share one answer.
//!
//! The work is a task of its own: whoever hangs up leaves it to the others. What it gives is
//! handed to all and then forgotten; remembering is somebody else's business.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use tokio::sync::watch;

/// Flights under way, by what they are for.
pub(crate) struct Flights<K, V>(Arc<Mutex<HashMap<K, watch::Receiver<Option<V>>>>>);

impl<K, V> Clone for Flights<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Takes the flight off the map, also when its task panics.
struct Landing<K: Eq + Hash, V> {
    flights: Flights<K, V>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.flights.0.lock().remove(&self.key);
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(HashMap::new())))
    }

    /// The answer of the flight for `key`, which `work` begins if there is none yet. `None`: the
    /// work panicked. The flag tells whether another's flight was joined.
    pub(crate) async fn join<F>(&self, key: K, work: impl FnOnce() -> F) -> (Option<V>, bool)
    where
        F: Future<Output = V> + Send + 'static,
    {
        let (mut receiver, joined) = self.board(key, work);
        let landed = receiver.wait_for(Option::is_some).await;
        (landed.ok().and_then(|answer| answer.clone()), joined)
    }

    /// Begins the work without waiting for it, unless it is under way.
    pub(crate) fn launch<F>(&self, key: K, work: impl FnOnce() -> F)
    where
        F: Future<Output = V> + Send + 'static,
    {
        self.board(key, work);
    }

    fn board<F>(&self, key: K, work: impl FnOnce() -> F) -> (watch::Receiver<Option<V>>, bool)
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut flights = self.0.lock();
        if let Some(receiver) = flights.get(&key) {
            return (receiver.clone(), true);
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(key.clone(), receiver.clone());
        let landing = Landing { flights: self.clone(), key };
        let work = work();
        tokio::spawn(async move {
            let answer = work.await;
            // Off the map first: who comes later asks anew, who holds a receiver gets this.
            drop(landing);
            let _ = sender.send(Some(answer));
        });
        (receiver, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    #[tokio::test]
    async fn all_share_one_answer_and_the_next_one_asks_anew() {
        let flights: Flights<u8, usize> = Flights::new();
        let (runs, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let work = || {
            let (runs, gate) = (runs.clone(), gate.clone());
            async move {
                gate.notified().await;
                runs.fetch_add(1, Ordering::SeqCst) + 1
            }
        };
        let first = flights.join(1, work);
        let second = flights.join(1, work);
        let opener = async { gate.notify_one() };
        let (first, second, ()) = tokio::join!(first, second, opener);
        assert_eq!((first, second), ((Some(1), false), (Some(1), true)));
        gate.notify_one();
        assert_eq!(flights.join(1, work).await, (Some(2), false));
    }

    #[tokio::test]
    async fn a_panic_and_a_leaver_leave_nothing_behind() {
        let flights: Flights<u8, usize> = Flights::new();
        let answer = flights.join(1, || async { panic!("on purpose") }).await;
        assert_eq!(answer, (None, false));
        let gate = Arc::new(Notify::new());
        let held = gate.clone();
        let leaver = tokio::time::timeout(
            std::time::Duration::from_millis(1),
            flights.join(1, || async move {
                held.notified().await;
                7
            }),
        );
        assert!(leaver.await.is_err());
        gate.notify_one();
        let (answer, joined) = flights.join(1, || async { 8 }).await;
        assert!(answer == Some(7) && joined || answer == Some(8) && !joined);
    }
}
