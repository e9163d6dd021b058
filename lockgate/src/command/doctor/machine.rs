//! The machine the plane runs on: its data directory and the disk below.

use super::finding::{Report, State};
use crate::output::size;
use crate::serve::{DataDir, Holder};
use crate::settings::Settings;
use catalog::{Catalog, Error, SchemaVersion};
use rustix::fs::statvfs;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Space of one kind: bytes, or inodes.
#[derive(Clone, Copy, Debug)]
struct Space {
    total: u64,
    free: u64,
}

/// Looks at the data directory.
pub(super) fn look(settings: &Settings, report: &mut Report) {
    let path = settings.data_dir();
    let shown = path.display();
    match try_write(&path) {
        Ok(true) => report.right("data", format!("{shown} can be written")),
        Ok(false) => {
            report.right("data", format!("{shown} does not exist yet; `lockgate serve` makes it"))
        }
        Err(error) => report.wrong(
            "data",
            format!("{shown} cannot be written: {error}"),
            "give it to the user of the plane, or name another with dataDir",
        ),
    }
    if let Holder::Process(pid) = DataDir::holder(&path) {
        let by = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
        report.right("data", format!("{shown} is in use by {by}"));
    } else {
        catalog(&path.join("catalog.sqlite"), report);
    }
    match statvfs(nearest(&path)) {
        Ok(disk) => {
            let bytes = Space {
                total: disk.f_blocks.saturating_mul(disk.f_frsize),
                free: disk.f_bavail.saturating_mul(disk.f_frsize),
            };
            space(settings, bytes, Space { total: disk.f_files, free: disk.f_favail }, report);
        }
        Err(error) => report.unknown("disk", format!("{shown}: {error}"), "look at the mount"),
    }
}

/// Whether a file can be made there; `false`: the directory is still to be made.
fn try_write(dir: &Path) -> std::io::Result<bool> {
    if !dir.exists() {
        return Ok(false);
    }
    let path = dir.join(format!(".doctor-{}", std::process::id()));
    let written = File::create_new(&path).and_then(|mut file| {
        file.write_all(b"lockgate doctor\n")?;
        file.sync_all()
    });
    // Whatever came of it, nothing is left behind.
    let removed = fs::remove_file(&path);
    written.and(removed).map(|()| true)
}

/// The directory itself, or the first above it that exists.
fn nearest(path: &Path) -> PathBuf {
    let found = path.ancestors().find(|above| above.exists());
    found.filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// Looks at the catalog of a plane that does not run: all of it, so that a broken page is found.
fn catalog(path: &Path, report: &mut Report) {
    if !path.exists() {
        return;
    }
    match Catalog::check_file(path) {
        Ok(version) if version.found < version.known => {
            let SchemaVersion { found, known } = version;
            let text = format!("is sound; the next start migrates it from schema {found} to {known}");
            report.right("catalog", text);
        }
        Ok(version) => report.right("catalog", format!("is sound, schema {}", version.found)),
        Err(error @ Error::Newer { .. }) => {
            let remedy = "docs/guides/upgrade.md has the whole way back";
            report.wrong("catalog", error.to_string(), remedy);
        }
        Err(error @ Error::NotOurs { .. }) => {
            let remedy = "move it away, and put the catalog of this data directory in its place";
            report.wrong("catalog", error.to_string(), remedy);
        }
        Err(error) => report.wrong(
            "catalog",
            format!("{}: {error}", path.display()),
            "start the plane: it puts a broken file aside, begins a fresh one, and makes known again \
             what is hosted in the store; or go back to a backup with `lockgate restore`",
        ),
    }
}

fn space(settings: &Settings, bytes: Space, inodes: Space, report: &mut Report) {
    let high = u64::from(settings.cache.high_watermark.percent());
    let reserve = settings.cache.reserve.bytes();
    let text = format!(
        "{} free of {}, {} % used",
        size(bytes.free),
        size(bytes.total),
        bytes.used_percent()
    );
    let more = "eviction keeps it below cache.highWatermark where the cache fills it; free or add \
        space where others do";
    if bytes.free < reserve {
        let text = format!("{text}: less than cache.reserve ({})", size(reserve));
        report.wrong(
            "disk",
            text,
            "nothing more is kept: free or add space, or lower cache.reserve",
        );
    } else {
        report.push_or_right(bytes.used_percent() >= high, "disk", text, more);
    }
    // Some file systems do not count them.
    if inodes.total > 0 {
        let text = format!("{} inodes free, {} % used", inodes.free, inodes.used_percent());
        report.push_or_right(inodes.used_percent() >= high, "disk", text, more);
    }
}

impl Space {
    /// Rounded up: full is full.
    fn used_percent(self) -> u64 {
        let used = u128::from(self.total.saturating_sub(self.free));
        let percent = (used * 100).div_ceil(u128::from(self.total.max(1)));
        u64::try_from(percent).unwrap_or(100)
    }
}

impl Report {
    fn push_or_right(&mut self, is_tight: bool, check: &'static str, text: String, remedy: &str) {
        if is_tight {
            self.push(State::Warning, check, text, remedy);
        } else {
            self.right(check, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(bytes: (u64, u64), inodes: (u64, u64)) -> Vec<State> {
        let mut report = Report::default();
        let space_of = |(total, free)| Space { total, free };
        space(&Settings::default(), space_of(bytes), space_of(inodes), &mut report);
        report.states()
    }

    #[test]
    fn space_is_judged_by_the_watermarks_and_the_reserve() {
        let gib = 1 << 30;
        assert_eq!(states((100 * gib, 50 * gib), (1000, 500)), [State::Right, State::Right]);
        assert_eq!(states((100 * gib, 10 * gib), (1000, 99)), [State::Warning, State::Warning]);
        assert_eq!(states((100 * gib, 100 << 20), (0, 0)), [State::Wrong]);
    }

    #[test]
    fn a_directory_that_is_a_file_cannot_be_written_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        assert!(try_write(dir.path()).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(!try_write(&dir.path().join("absent")).unwrap());
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(try_write(&file).is_err());
        assert_eq!(nearest(&dir.path().join("a/b")), dir.path());
    }
}
