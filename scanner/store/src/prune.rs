//! Which old generations are removed.

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use super::{FOLDER, StateStore, generation, object};

/// Every so many generations it is looked what is old, so that a commit need not list everything.
pub const EVERY: u64 = 100;

/// So many of the newest are kept, whatever their age.
const NEWEST: usize = 1000;

/// For so many days the last one of each day is kept.
const DAYS: i64 = 400;

/// Nothing is removed within this time: a writer that read a generation so long ago still finds the
/// numbers after it taken, and cannot write below the newest.
const GRACE: SignedDuration = SignedDuration::from_hours(48);

/// The numbers to remove of these, given with the time of each and rising.
pub fn select_removable(generations: &[(u64, Timestamp)], now: Timestamp) -> Vec<u64> {
    let old = generations.len().saturating_sub(NEWEST);
    let day = |at: Timestamp| at.as_second().div_euclid(86_400);
    let mut remove = Vec::new();
    for (i, (number, at)) in generations.iter().enumerate().take(old) {
        let in_grace = at.duration_until(now) < GRACE;
        let is_last_of_day = generations.get(i + 1).is_none_or(|(_, next)| day(*next) != day(*at));
        let is_young = day(now) - day(*at) <= DAYS;
        if !(in_grace || is_last_of_day && is_young) {
            remove.push(*number);
        }
    }
    remove
}

impl StateStore {
    /// Removes what is old.
    ///
    /// # Errors
    /// A [`mimawari_base::failure::Failure`]; what was not removed is tried again a hundred generations later.
    pub(super) async fn prune(&self, now: Timestamp) -> Result<()> {
        let found = self.objects.list(FOLDER, None).await?;
        let number =
            |(name, at): (String, _)| Some((generation::parse_generation_number(&name)?, at));
        let mut generations: Vec<_> = found.into_iter().filter_map(number).collect();
        generations.sort_unstable();
        let remove = select_removable(&generations, now);
        for number in &remove {
            self.objects.delete(&object(*number)).await?;
        }
        if !remove.is_empty() {
            tracing::info!(removed = remove.len(), "old generations of the state removed");
        }
        self.sweep_up(now);
        Ok(())
    }

    /// Removes the beginnings of files that a killed process left in a folder.
    fn sweep_up(&self, now: Timestamp) {
        let Some(folder) = self.objects.folder() else { return };
        let Ok(entries) = std::fs::read_dir(folder.join(FOLDER)) else { return };
        for entry in entries.flatten() {
            // As object_store names what it has not finished: NAME#N.
            let name = entry.file_name().to_string_lossy().into_owned();
            let unfinished = name
                .split_once('#')
                .is_some_and(|(name, _)| generation::parse_generation_number(name).is_some());
            let at = entry.metadata().and_then(|m| m.modified()).ok();
            let at = at.and_then(|at| Timestamp::try_from(at).ok());
            if unfinished && at.is_some_and(|at| at.duration_until(now) > GRACE) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_and_one_a_day_are_kept() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        // Every hour for 500 days, the newest one now.
        let hours = 500 * 24;
        let all: Vec<_> =
            (1..=hours).map(|n| (n as u64, now - SignedDuration::from_hours(hours - n))).collect();
        let remove = select_removable(&all, now);
        let kept = all.len() - remove.len();
        // A thousand hours hold the ends of today and the 42 days before; of 401 days, the rest.
        assert_eq!(kept, 1000 + (401 - 43));
        assert!(remove.iter().all(|n| *n <= (hours - 1000) as u64), "one of the newest is removed");
        assert!(remove.contains(&1), "400 days and older");
        // Removing is idempotent, and a young crowd is left alone.
        let left: Vec<_> = all.iter().filter(|(n, _)| !remove.contains(n)).copied().collect();
        assert_eq!(select_removable(&left, now), Vec::<u64>::new());
        let crowd: Vec<_> =
            (1..=5000).map(|n| (n, now - SignedDuration::from_secs(5000 - n as i64))).collect();
        assert_eq!(select_removable(&crowd, now), Vec::<u64>::new());
        // A clock that runs backwards removes nothing.
        assert_eq!(
            select_removable(&crowd, now - SignedDuration::from_hours(9999)),
            Vec::<u64>::new()
        );
        assert_eq!(select_removable(&[], now), Vec::<u64>::new());
    }
}
