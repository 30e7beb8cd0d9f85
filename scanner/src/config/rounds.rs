//! `[rounds]`: where a round of one or many tasks is kept.

use std::path::Path;
use std::time::Duration;

use mimawari_base::duration;
use mimawari_store::StoreLocation;

use super::{CheckConfig, file};

/// Tasks of one round, at most: what an array job of AWS Batch can have.
pub const MAX_SHARDS: u32 = 10_000;
/// How often a shard is saved, where the file says nothing.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// Longest time between two saves: more would be lost by a task that is killed.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Where rounds are kept, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundsConfig {
    /// The folder or the bucket.
    pub url: StoreLocation,
    /// Into how many shards a round is divided, 1 to [`MAX_SHARDS`].
    pub shards: u32,
    /// How often a shard in work is saved.
    pub save_every: Duration,
}

/// A number of shards, if it is one.
///
/// # Errors
/// A sentence without a full stop.
pub fn check_shards(shards: i64) -> Result<u32, String> {
    u32::try_from(shards)
        .ok()
        .filter(|n| (1..=MAX_SHARDS).contains(n))
        .ok_or_else(|| format!("{shards} shards are out of range; use 1 to {MAX_SHARDS}"))
}

impl CheckConfig<'_> {
    pub(super) fn rounds(&mut self, r: &file::RoundsSection, base: &Path) -> Option<RoundsConfig> {
        let reach = (r.region.as_deref(), r.endpoint.as_deref());
        let url = self.location(Some(&r.url), "", reach, base);
        let shards = r.shards.as_ref().map_or(1, |n| {
            check_shards(*n.get_ref()).unwrap_or_else(|e| {
                self.error(n.span(), e, "write a number of tasks, such as `shards = 4`");
                1
            })
        });
        let save_every = r.save_every.as_ref().map_or(SAVE_EVERY, |t| {
            let parsed = duration::parse(t.get_ref()).and_then(|d| {
                let said = || format!("`{}` between two saves is too long", t.get_ref());
                if d <= LONGEST { Ok(d) } else { Err(said()) }
            });
            parsed.unwrap_or_else(|e| {
                self.error(t.span(), e, "write 1s to 1h, such as `save_every = \"60s\"`");
                SAVE_EVERY
            })
        });
        Some(RoundsConfig { url: url?, shards, save_every })
    }
}
