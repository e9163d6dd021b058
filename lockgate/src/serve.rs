//! `lockgate serve`: the composition root. What lives as long as the process is made here, once,
//! and handed on; nothing is global.

mod announce;
mod convert;
mod data_dir;
mod expiry;
mod files;
mod signals;
mod watch;

pub(crate) use data_dir::{DataDir, Holder};
pub(crate) use expiry::is_soon;

use crate::cli::version;
use crate::exit::{Exit, Failure};
use crate::flags::{ResourcesFlags, SettingsFlags, flag};
use crate::settings::{Loaded, Settings};
use catalog::{Catalog, Opened};
use edge::server;
use files::ResourceFiles;
use plane::{ApplyError, Clock, Options, Plane};
use signals::Signals;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use telemetry::{AccessLog, Lines, Metrics, Registry};

/// For parking downloads and closing the catalog, after the drain.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// For the last lines of the log.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  lockgate serve\n  lockgate serve --listen 0.0.0.0:5050 --data-dir /var/lib/lockgate \\\n    \
        --resources /etc/lockgate/resources --config /etc/lockgate/lockgate.yaml\n  \
        LOCKGATE_CACHE__MAX_BYTES=200GiB lockgate serve\n\n\
        Settings: default < --config < environment LOCKGATE_A__B < flag.\n\
        Signals: SIGTERM and SIGINT finish what is being transferred and stop, a second one stops at\n\
        once; SIGHUP reads resources and certificates again (changes are noticed without it)."
)]
pub(crate) struct Args {
    /// Address to listen on; repeatable, the n-th replaces the n-th of the file [default:
    /// 127.0.0.1:5050]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    #[command(flatten)]
    settings: SettingsFlags,
    #[command(flatten)]
    resources: ResourcesFlags,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let mut flags = self.resources.flags();
        for (index, address) in self.listen.iter().enumerate() {
            flags.push(flag("--listen", &format!("listeners.{index}.address"), address));
        }
        let loaded = self.settings.load(flags)?;
        let settings = &loaded.settings;
        raise_open_files();
        let lock = DataDir::lock(&settings.data_dir())?;
        let lines = Lines::to_stderr()
            .map_err(|error| Failure::cannot_tell("the log cannot be written").because(&error))?;
        telemetry::init_logs(convert::format(settings), &settings.log.level, lines.clone())
            .map_err(|error| Failure::no("log.level cannot be used").because(&error))?;
        if let Err(what) = data_dir::keep_private(&settings.data_dir()) {
            tracing::warn!("{what}");
        }
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        if let Some(workers) = settings.workers {
            runtime.worker_threads(usize::try_from(workers).unwrap_or(1));
        }
        let runtime =
            runtime.enable_all().thread_name("lockgate").build().map_err(|error| {
                Failure::cannot_tell("cannot start the runtime").because(&error)
            })?;
        let result = runtime.block_on(Box::pin(serve(&loaded, lines.clone())));
        // What still hangs (an object store that does not answer, say) ends with the process. Taking
        // the runtime away under it would make it panic.
        std::mem::forget(runtime);
        lines.flush(FLUSH_TIMEOUT);
        drop(lock);
        result
    }
}

async fn serve(loaded: &Loaded, lines: Lines) -> Result<Exit, Failure> {
    let settings = &loaded.settings;
    let data_dir = settings.data_dir();
    for name in &loaded.foreign_variables {
        tracing::warn!(%name, "an environment variable begins like ours but is no option");
    }
    let signals = Signals::listen(lines.clone())?;
    let hangups = signals.hangups()?;
    let metrics = Metrics::new(Registry::default(), version(), Some(lines.clone()));
    let bound =
        server::bind(&convert::listeners(settings)?, convert::limits(settings), metrics.clone())
            .await
            .map_err(|error| Failure::no("cannot listen").because(&error))?;
    let (listening, certificates) = (bound.listeners(), bound.certificates());

    let store = blobs::Store::open(blobs::Options::new(data_dir.clone()))
        .map_err(|error| Failure::no("the store cannot be opened").because(&error))?;
    let access_log = AccessLog::new(convert::format(settings), lines);
    let options = Options {
        store,
        catalog: open_catalog(&data_dir)?,
        metrics: metrics.clone(),
        access_log: settings.log.access.then_some(access_log),
        keep: convert::keep(settings),
        fills: convert::fills(settings),
        gc: convert::gc(settings),
        pushes: plane::PushSettings::default(),
        clock: Clock::system(),
        keys_dir: settings.tokens.keys_dir.clone(),
        data_dir,
    };
    let files = ResourceFiles::new(settings.resources_dir.clone());
    let fingerprint = files.fingerprint();
    let read = files.read().await;
    let seen = read.is_ok().then_some(fingerprint);
    let plane =
        Plane::start(options, read, &files.source()).await.map_err(|error| cannot_start(&error))?;

    announce::announce(settings, &listening, &plane.view());
    let watch = watch::Watch { files, plane: plane.clone(), certificates, seen };
    let watcher = tokio::spawn(watch.run(hangups));
    let expiry = tokio::spawn(expiry::show(plane.clone(), metrics.clone()));
    let stopping = signals.stopping();
    let handler = edge::service(plane.clone(), metrics, stopping.clone());
    let drained = server::serve(bound, handler, stopping.cancelled_owned()).await;
    watcher.abort();
    expiry.abort();
    Ok(stop(&plane, drained).await)
}

/// Finds in settings what only the parts they are for can tell. `lockgate config check` asks.
pub(crate) fn check(settings: &Settings) -> Result<(), Failure> {
    convert::listeners(settings).map(drop)
}

/// Ends what is not a connection.
async fn stop(plane: &Arc<Plane>, drained: server::Drained) -> Exit {
    let (finished, cut) = (drained.finished, drained.cut);
    if plane.stop(STOP_TIMEOUT).await {
        tracing::info!(finished, cut, "stopped");
    } else {
        tracing::warn!(finished, cut, "stopped before all was written; it will be fetched again");
    }
    Exit::Yes
}

/// A plane without its catalog is better than none: what the store holds can be served.
fn open_catalog(data_dir: &Path) -> Result<Catalog, Failure> {
    let path = data_dir.join("catalog.sqlite");
    match Catalog::open(&path) {
        Ok((catalog, Opened::Recovered { moved_to })) => {
            tracing::error!(
                moved_to = %moved_to.display(),
                "the catalog was broken; it was put aside and a fresh one begun: what is hosted is \
                 made known again from the store, what was cached is found as it is asked for"
            );
            Ok(catalog)
        }
        Ok((catalog, Opened::Fresh | Opened::Existing)) => Ok(catalog),
        // Served from memory, it would take pushes that no later start knows of.
        Err(error @ (catalog::Error::Newer { .. } | catalog::Error::NotOurs { .. })) => {
            let hint = "nothing was changed; docs/guides/upgrade.md has the whole way back";
            Err(Failure::no("the catalog is not for this Lockgate").because(&error).hint(hint))
        }
        Err(error) => {
            tracing::error!(
                cause = Failure::cannot_tell("open").because(&error).one_line(),
                "the catalog cannot be opened: this process remembers what it learns only while it \
                 runs, and takes no pushes; repair the file and start again"
            );
            Catalog::in_memory()
                .map_err(|error| Failure::no("no catalog can be opened").because(&error))
        }
    }
}

fn cannot_start(error: &ApplyError) -> Failure {
    Failure::no(format!("the resources are wrong, and no former set is known\n{error}"))
        .hint("`lockgate config check` tells when they are right")
}

/// Each transfer needs two descriptors; the soft limit of many systems is 1024.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without it fewer connections fit; the limit in force is the system's to report.
    let _ = setrlimit(Resource::Nofile, limit);
}
