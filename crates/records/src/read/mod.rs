//! Reading: over the records of one or many instances, also while they are being written.

mod decisions;
mod events;
mod find;
mod lines;
mod record;
mod report;
mod verify;

pub use decisions::Decisions;
pub use events::EventRecord;
pub use find::Found;
pub(crate) use lines::{Lines, Walk, Wrong, beginning};
pub use record::{Record, Repeats};
pub use verify::{Break, Broken, GapSeen, Report, Verified};

use crate::layout::{self, RECORDS, Segment};
use crate::{Anchor, Error, Instance, summary};
use jiff::Timestamp;
use oci::Digest;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Reads records. Holds nothing open; what it is asked it reads then.
#[derive(Clone, Debug)]
pub struct Reader {
    instances: Vec<(Instance, PathBuf)>,
}

impl Reader {
    /// Over all instances below a data directory. Blocks.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be listed.
    pub fn of_data_dir(data: &Path) -> Result<Self, Error> {
        let records = data.join(RECORDS);
        let mut instances: Vec<_> = layout::names(&records)?
            .into_iter()
            .filter_map(|name| Instance::parse(&name).ok())
            .map(|instance| (instance.clone(), layout::instance_dir(data, &instance)))
            .filter(|(_, dir)| dir.is_dir())
            .collect();
        instances.sort();
        Ok(Self { instances })
    }

    /// Over these directories, each that of an instance and named after it.
    ///
    /// # Errors
    /// [`Error::BadInstance`] if the name of one is no instance id.
    pub fn of_instances(dirs: &[PathBuf]) -> Result<Self, Error> {
        let named = |dir: &PathBuf| {
            let name = dir.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            Ok((Instance::parse(&name)?, dir.clone()))
        };
        Ok(Self { instances: dirs.iter().map(named).collect::<Result<_, Error>>()? })
    }

    /// Whose records it reads.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.iter().map(|(instance, _)| instance)
    }

    /// The segments of an instance that were not removed because of their age.
    fn segments(dir: &Path) -> Result<Vec<Segment>, Error> {
        let removed = summary::read_anchor(dir)?.map_or(0, |it| it.removed_through);
        let mut segments = layout::segments(dir)?;
        segments.retain(|segment| segment.first_seq > removed);
        Ok(segments)
    }

    /// The revisions that recorded decisions cite: their texts must be kept. Blocks; reads the
    /// summaries, and the segments that have none yet.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Damaged`].
    pub fn revisions(&self) -> Result<BTreeSet<Digest>, Error> {
        let mut revisions = BTreeSet::new();
        for (_, dir) in &self.instances {
            for segment in Self::segments(dir)? {
                match summary_of(&segment)? {
                    Some(summary) => revisions.extend(summary.revisions),
                    None => revisions.extend(report::count(&segment, crate::tally::ALWAYS)?.1),
                }
            }
        }
        Ok(revisions)
    }
}

/// The summary of a segment, if it holds: while the plain file is there, that is the truth.
fn summary_of(segment: &Segment) -> Result<Option<summary::Summary>, Error> {
    match segment.is_plain {
        true => Ok(None),
        false => summary::Summary::read(segment),
    }
}

/// Which part of the records, by time. Whole segments are looked at.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// From when on; none: from the oldest.
    pub from: Option<Timestamp>,
    /// Until when, not included; none: to the newest.
    pub to: Option<Timestamp>,
    /// Lines whose hashes are known from elsewhere.
    pub anchors: Vec<Anchor>,
}

/// The segments that may have lines of a time: by their names, and the one before the first, since
/// its end is not in its name.
fn within(segments: &[Segment], from: Timestamp, to: Timestamp) -> std::ops::Range<usize> {
    let (from, to) = (from.as_millisecond(), to.as_millisecond());
    let start = segments.partition_point(|it| it.begun_unix_ms <= from).saturating_sub(1);
    let end = segments.partition_point(|it| it.begun_unix_ms <= to);
    start..end.max(start)
}
