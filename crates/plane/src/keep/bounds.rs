//! How near the store is to its bounds, and what to do about it. Pure.

use super::KeepSettings;
use crate::admin::DiskStatus;

/// The warning of a full disk.
pub(crate) const FULL: &str = "the disk of the store is full: downloads are passed on and not kept";

/// Of a small disk the catalog's reserve is at most this much: a cache must fit beside it.
const RESERVE_MAX_PERCENT: u8 = 10;

/// What is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) settings: KeepSettings,
    /// Bytes kept that are not on their way out.
    pub(super) bytes: u64,
    /// Bytes on their way out.
    pub(super) condemned_bytes: u64,
    /// Of the bytes kept, those that hosted content needs: eviction cannot take them.
    pub(super) held_bytes: u64,
    pub(super) disk: Option<DiskStatus>,
    pub(super) is_full: bool,
}

/// What eviction is to bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Goal {
    /// Bytes to free.
    pub(super) bytes: u64,
    /// Files to free.
    pub(super) files: u64,
}

impl Bounds {
    /// Bytes of the disk that only the catalog may use, of which the disk has room.
    pub(super) fn reserve_bytes(&self) -> u64 {
        reserve_on(self.disk, self.settings.reserve_bytes)
    }

    /// What has to go for the low watermark, once a high one is overrun.
    pub(super) fn goal(&self) -> Option<Goal> {
        let (high, low) = self.watermarks();
        let mut goal = Goal { bytes: 0, files: 0 };
        if let Some(max) = self.settings.max_bytes
            && self.bytes > share(max, high)
        {
            goal.bytes = goal.bytes.max(self.bytes.saturating_sub(share(max, low)));
        }
        if let Some(disk) = self.disk {
            let used = disk.total_bytes.saturating_sub(disk.free_bytes);
            if used > share(disk.total_bytes, high) || self.is_full {
                // What is condemned already will be free without us.
                let over = used.saturating_sub(share(disk.total_bytes, low));
                let least = self.reserve_bytes().saturating_mul(2);
                let short = least.saturating_sub(disk.free_bytes);
                let wanted = if self.is_full { over.max(short) } else { over };
                // Where others fill the disk, the low watermark may be out of reach: then what keeps
                // us out of the reserve is enough, and if that is too, nothing is thrown away in vain.
                let may_go = self.bytes.saturating_sub(self.held_bytes);
                let within_reach = |goal: &u64| *goal <= may_go;
                let wanted = [wanted, short].map(|goal| goal.saturating_sub(self.condemned_bytes));
                let reached = wanted.into_iter().find(within_reach).unwrap_or(0);
                goal.bytes = goal.bytes.max(reached);
            }
            let inodes = disk.total_inodes.saturating_sub(disk.free_inodes);
            if disk.total_inodes > 0 && inodes > share(disk.total_inodes, high) {
                goal.files = inodes.saturating_sub(share(disk.total_inodes, low));
            }
        }
        (goal.bytes > 0 || goal.files > 0).then_some(goal)
    }

    /// Whether space is so short that the grace is not waited for.
    pub(super) fn is_pressing(&self) -> bool {
        let low_on = |disk: DiskStatus| disk.free_bytes < self.reserve_bytes().saturating_mul(2);
        self.is_full || self.disk.is_some_and(low_on)
    }

    /// What an operator should hear before it hurts.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.is_full {
            warnings.push(FULL.to_owned());
        }
        let Some(disk) = self.disk else { return warnings };
        if self.reserve_bytes() < self.settings.reserve_bytes {
            warnings.push(format!(
                "cache.reserve is larger than the disk of the store allows: {} of {} are asked for, \
                 {} are kept",
                resources::format_size(self.settings.reserve_bytes),
                resources::format_size(disk.total_bytes),
                resources::format_size(self.reserve_bytes()),
            ));
        }
        let (high, _) = self.watermarks();
        let used = disk.total_bytes.saturating_sub(disk.free_bytes);
        if !self.is_full && used > share(disk.total_bytes, high.saturating_add(2).min(99)) {
            warnings.push(format!(
                "the disk of the store is nearly full: {} free; eviction cannot keep up or others fill it",
                resources::format_size(disk.free_bytes)
            ));
        }
        let inodes = disk.total_inodes.saturating_sub(disk.free_inodes);
        let inode_mark = share(disk.total_inodes, high.saturating_add(2).min(99));
        if disk.total_inodes > 0 && inodes > inode_mark {
            warnings.push(format!(
                "the disk of the store is nearly out of inodes: {} left",
                disk.free_inodes
            ));
        }
        warnings
    }

    fn watermarks(&self) -> (u8, u8) {
        (self.settings.high_watermark_percent, self.settings.low_watermark_percent)
    }
}

/// The reserve that a disk has room for.
pub(super) fn reserve_on(disk: Option<DiskStatus>, wanted_bytes: u64) -> u64 {
    let most = disk.map_or(u64::MAX, |disk| share(disk.total_bytes, RESERVE_MAX_PERCENT));
    wanted_bytes.min(most)
}

/// Percent of a whole, rounded down.
fn share(whole: u64, percent: u8) -> u64 {
    let share = u128::from(whole) * u128::from(percent) / 100;
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(bytes: u64, max_bytes: Option<u64>, used: u64, free_inodes: u64) -> Bounds {
        let settings = KeepSettings { max_bytes, reserve_bytes: 10, ..KeepSettings::default() };
        let disk = DiskStatus {
            total_bytes: 1000,
            free_bytes: 1000 - used,
            total_inodes: 100,
            free_inodes,
        };
        let (condemned_bytes, held_bytes) = (0, 0);
        Bounds { settings, bytes, condemned_bytes, held_bytes, disk: Some(disk), is_full: false }
    }

    #[test]
    fn eviction_begins_at_the_high_watermark_and_aims_at_the_low_one() {
        let goal = |bytes, files| Some(Goal { bytes, files });
        assert_eq!(bounds(90, Some(100), 0, 100).goal(), None);
        assert_eq!(bounds(91, Some(100), 0, 100).goal(), goal(6, 0));
        assert_eq!(bounds(0, None, 900, 100).goal(), None);
        assert_eq!(bounds(600, None, 901, 100).goal(), goal(51, 0));
        assert_eq!(bounds(0, None, 0, 9).goal(), goal(0, 6));
        let condemned = Bounds { condemned_bytes: 51, ..bounds(600, None, 901, 100) };
        assert_eq!(condemned.goal(), None);
    }

    #[test]
    fn nothing_is_thrown_away_for_a_goal_out_of_reach() {
        let goal = |bytes| Some(Goal { bytes, files: 0 });
        // Others fill it: 145 over the low watermark, of which we have 100.
        assert_eq!(bounds(100, None, 995, 100).goal(), goal(15), "twice the reserve is in reach");
        assert_eq!(bounds(10, None, 995, 100).goal(), None);
        let held = Bounds { held_bytes: 500, ..bounds(550, None, 995, 100) };
        assert_eq!(held.goal(), goal(15), "hosted content fills it; so much of the cache may go");
        let held = Bounds { held_bytes: 500, ..bounds(510, None, 995, 100) };
        assert_eq!(held.goal(), None);
        let full = Bounds { is_full: true, ..bounds(10, None, 995, 100) };
        assert_eq!(full.goal(), None);
        assert!(full.is_pressing());
    }

    #[test]
    fn a_reserve_leaves_room_on_a_small_disk() {
        let mut small = bounds(500, None, 500, 100);
        small.settings.reserve_bytes = 900;
        assert_eq!(small.reserve_bytes(), 100);
        assert_eq!(small.goal(), None);
        assert!(!small.is_pressing());
        assert!(small.warnings()[0].starts_with("cache.reserve is larger"), "{small:?}");
        let full = Bounds { is_full: true, ..small };
        assert_eq!(full.goal(), None, "200 are wanted free, and 500 are");
        assert_eq!(full.warnings().len(), 2);
    }

    #[test]
    fn a_full_disk_is_pressing_and_said() {
        let near = bounds(0, None, 985, 100);
        assert!(near.is_pressing());
        assert_eq!(near.warnings().len(), 1);
        let full = Bounds { is_full: true, bytes: 900, ..near };
        assert!(full.warnings()[0].contains("is full"));
        assert!(full.goal().is_some());
        assert!(!bounds(0, None, 500, 50).is_pressing());
        assert!(bounds(0, None, 500, 2).warnings()[0].contains("inodes"));
    }
}
