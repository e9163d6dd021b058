//! Signals: how the process is told to stop, or to read its files again.

use crate::exit::Failure;
use std::time::Duration;
use telemetry::Lines;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Listens from the moment it is made.
pub(super) struct Signals {
    stopping: CancellationToken,
}

impl Signals {
    /// The first SIGTERM or SIGINT begins the drain; the second ends the process at once.
    pub(super) fn listen(lines: Lines) -> Result<Self, Failure> {
        let mut terminate = listen_to(SignalKind::terminate())?;
        let mut interrupt = listen_to(SignalKind::interrupt())?;
        let stopping = CancellationToken::new();
        let begin = stopping.clone();
        tokio::spawn(async move {
            let name = next(&mut terminate, &mut interrupt).await;
            tracing::info!(signal = name, "stopping: transfers in flight are finished first");
            begin.cancel();
            let name = next(&mut terminate, &mut interrupt).await;
            tracing::warn!(signal = name, "stopping at once");
            lines.flush(Duration::from_millis(500));
            // The store and the catalog stand a process that dies at any moment.
            std::process::exit(1);
        });
        Ok(Self { stopping })
    }

    /// Cancelled when the drain is to begin.
    pub(super) fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// SIGHUP.
    pub(super) fn hangups(&self) -> Result<Signal, Failure> {
        listen_to(SignalKind::hangup())
    }
}

fn listen_to(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::cannot_tell("cannot listen to signals").because(&error))
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
