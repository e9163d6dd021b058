//! What commands share that work on a data directory while no plane runs on it.

use crate::exit::Failure;
use crate::flags::SettingsFlags;
use crate::output;
use crate::serve::{DataDir, Holder};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use plane::View;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A data directory that is ours as long as this lives.
pub(super) struct Offline {
    pub(super) data_dir: PathBuf,
    resources_dir: Option<PathBuf>,
    _lock: DataDir,
}

impl Offline {
    /// Takes the data directory that the flags name; `instead` says what to do where a plane has it.
    pub(super) fn take(flags: &SettingsFlags, instead: &str) -> Result<Self, Failure> {
        let settings = flags.load(Vec::new())?.settings;
        let data_dir = settings.data_dir();
        if let Holder::Process(pid) = DataDir::holder(&data_dir) {
            let by =
                pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            let text = format!("the data directory {} is in use by {by}", data_dir.display());
            return Err(Failure::no(text).hint(instead));
        }
        let lock = DataDir::lock(&data_dir)?;
        Ok(Self { data_dir, resources_dir: settings.resources_dir, _lock: lock })
    }

    pub(super) fn catalog_path(&self) -> PathBuf {
        self.data_dir.join("catalog.sqlite")
    }

    /// The blobs, in the places where the plane keeps them. Blocks; inside a tokio runtime.
    pub(super) fn store(&self) -> Result<blobs::Store, Failure> {
        let cannot = || Failure::cannot_tell("the store cannot be opened");
        let store = blobs::Store::open(blobs::Options::new(self.data_dir.clone()))
            .map_err(|error| cannot().because(&error))?;
        let view = self.view()?;
        plane::open_places(&self.data_dir, &store, &view).map_err(|problem| {
            Failure::cannot_tell(format!("a place of the store cannot be opened: {problem}"))
        })?;
        Ok(store)
    }

    /// The resources that were in force last, else what is written in the files: they say where the
    /// store lies.
    fn view(&self) -> Result<View, Failure> {
        let kept = self.data_dir.join("revision.yaml");
        let set = match fs::read_to_string(&kept) {
            Ok(text) => resources::read_text(&kept.display().to_string(), &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                resources::effective(self.resources_dir.as_deref())
            }
            Err(error) => {
                let text = format!("{} cannot be read", kept.display());
                return Err(Failure::cannot_tell(text).because(&error));
            }
        };
        set.and_then(View::check).map_err(|problems| {
            let text = format!("the resources do not say where the store lies\n{problems}");
            Failure::cannot_tell(text)
        })
    }

    /// Renames a file, or directory, of the data directory so that another can take its place: to
    /// `<name>.before-<what>-<time>`. `None`: there was none.
    pub(super) fn put_aside(&self, path: &Path, what: &str) -> Result<Option<PathBuf>, Failure> {
        if fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(None);
        }
        let stamp = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let free = |number: u32| {
            let number = if number > 1 { format!("-{number}") } else { String::new() };
            let aside = with_suffix(path, &format!(".before-{what}-{stamp}{number}"));
            fs::symlink_metadata(&aside).is_err().then_some(aside)
        };
        let aside = (1..100).find_map(free).ok_or_else(|| {
            Failure::cannot_tell(format!("{} cannot be put aside", path.display()))
        })?;
        self.rename(path, &aside)?;
        // What a process that was killed had not put into the catalog yet goes with it.
        for suffix in ["-wal", "-shm"] {
            let beside = with_suffix(path, suffix);
            if beside.exists() {
                self.rename(&beside, &with_suffix(&aside, suffix))?;
            }
        }
        Ok(Some(aside))
    }

    /// Renames, durably.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), Failure> {
        let renamed = fs::rename(from, to).and_then(|()| self.sync());
        renamed.map_err(|error| {
            let text = format!("cannot rename {} to {}", from.display(), to.display());
            Failure::cannot_tell(text).because(&error)
        })
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.data_dir)?.sync_all()
    }
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(suffix);
    text.into()
}

/// Work that blocks, on the pool that stores are used from.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Failure::cannot_tell("a bug ended it").because(&error)))
}

/// A bar on a terminal, nothing elsewhere.
pub(super) fn bar(template: &str) -> ProgressBar {
    let target = if output::is_watched() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
