//! The state between runs: immutable, numbered generations, in a folder or on S3.
//!
//! ```text
//! generations/00000000000041.json ◀─ 00000000000042.json ◀─ 00000000000043.json     created, never changed
//! latest                            {"number":43}: a hint where to begin listing
//! ```
//!
//! Generation n + 1 is created on the condition that it is not there, so of two writers that both
//! read generation n one gets a conflict: it reads what the other wrote, judges upon that, and tries
//! again ([`StateStore::settle`]). Nothing is locked, and nothing is lost.
//!
//! **Which generation is the newest** is never taken from the hint. Names have a fixed number of
//! digits, so their order is the order of numbers, and listing what comes after a name lists *all*
//! higher numbers. If that list, begun just before the hinted number, is not empty, then its highest
//! is the highest of all, be the hint right, stale or made up. If it is empty, everything is listed.
//! The hint is written after the generation that it names exists, and the newest generations are
//! never pruned; so a hint above everything that exists means that a generation was lost, which is
//! an error. Both stores list what was written before the listing began (S3 is strongly consistent).

pub mod baseline;
mod generation;
mod history;
mod location;
mod objects;
mod prune;
pub mod published;
mod random;
#[cfg(test)]
mod tests;

pub use generation::{ChainLink, GenerationHeader, GenerationMeta, GenerationOrigin};
pub use history::HistoryEntry;
pub use location::{BucketOptions, LocationError, StoreLocation};
pub use objects::{FetchedObject, ObjectFolder, SeenObjects, WriteOutcome};
pub use random::RandomSource;

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_drift::state::State;
use mimawari_probes::format::{FormatFault, NEWER_HELP, read_document};
use serde::{Deserialize, Serialize};

use generation::BrokenChain;

/// Where `[state] url` points.
pub type StateUrl = StoreLocation;

const FOLDER: &str = "generations";
const HINT: &str = "latest";

/// Written and removed to see whether that can be done.
const PROBE: &str = "write-test";

/// The one file in which the state was kept formerly.
const FORMER: &str = "state.json";

/// How often a judgement is made again upon what another one wrote. Each time somebody got ahead,
/// so that so many failures need as many others who succeed in these moments.
const TRIES: u32 = 30;

/// The generations of one state.
#[derive(Debug, Clone)]
pub struct StateStore {
    objects: ObjectFolder,
}

/// A state as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct StateGeneration {
    /// Its number; 0: nothing is there yet.
    pub number: u64,
    /// SHA-256 of its first line, hex; empty for number 0.
    pub digest: String,
    /// What it says of itself; none for number 0.
    pub header: Option<GenerationHeader>,
    /// The state; empty for number 0, unless a `state.json` of the former form is there.
    pub state: State,
}

/// What became of an attempt to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// This generation was written.
    Done(ChainLink),
    /// Somebody else wrote the generation of this number; nothing was written.
    Conflict(u64),
}

#[derive(Serialize, Deserialize)]
struct LatestHint {
    number: u64,
}

impl StateStore {
    /// Opens a state to write to it.
    ///
    /// # Errors
    /// A [`Failure`] when the place cannot be made or reached.
    pub fn open(url: &StateUrl) -> Result<Self> {
        Ok(Self { objects: ObjectFolder::open(url)? })
    }

    /// Opens a state to read it; a folder that is not there is not made.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn look(url: &StateUrl) -> Result<Self> {
        Ok(Self { objects: ObjectFolder::look(url)? })
    }

    /// A state over objects of one's own, for tests.
    #[must_use]
    pub const fn over(objects: ObjectFolder) -> Self {
        Self { objects }
    }

    /// The newest generation; number 0 only if there has never been one.
    ///
    /// # Errors
    /// A [`Failure`] with a remedy when a generation is missing, damaged or out of the chain, or
    /// cannot be read. Never an empty state.
    pub async fn latest(&self) -> Result<StateGeneration> {
        let Some(number) = self.newest().await? else {
            let state = self.former().await?.unwrap_or_default();
            return Ok(StateGeneration { number: 0, digest: String::new(), header: None, state });
        };
        let newest = self.load(number).await?;
        if let Some(header) = &newest.header {
            self.check_chain(header).await?;
        }
        Ok(newest)
    }

    /// Whether a state can be read and written here: what would be found only when an hour's work is
    /// to be saved.
    ///
    /// # Errors
    /// As [`StateStore::latest`]; a [`Failure`] when nothing can be written.
    pub async fn check(&self) -> Result<()> {
        match self.latest().await?.number {
            0 => {
                self.objects.overwrite(PROBE, Bytes::new()).await?;
                self.objects.delete(PROBE).await
            }
            // The hint may go back for a moment by this, which is as good.
            number => self.hint_at(number).await,
        }
    }

    /// The generation of this number, whole; its place in the chain is not looked at.
    ///
    /// # Errors
    /// A [`Failure`] when it is missing, damaged, or cannot be read.
    pub async fn load(&self, number: u64) -> Result<StateGeneration> {
        let Some((text, _)) = self.objects.get(&object(number)).await? else {
            return Err(self.lost(number).into());
        };
        let (header, state) =
            generation::decode(number, &text).map_err(|e| self.damaged(number, e))?;
        let digest = generation::hash_beginning(&text);
        Ok(StateGeneration { number, digest, header: Some(header), state })
    }

    /// Whether the generation before is there and is the one that this one was made from.
    async fn check_chain(&self, header: &GenerationHeader) -> Result<()> {
        let Some(parent) = &header.parent else {
            return match header.number {
                1 => Ok(()),
                n => Err(self.unchained(n, "it names no generation before it").into()),
            };
        };
        let skips = parent.number.checked_add(1) != Some(header.number);
        if parent.number >= header.number
            || skips && !matches!(header.origin, GenerationOrigin::RolledBack(_))
        {
            let text = format!("it says that it comes after generation {}", parent.number);
            return Err(self.unchained(header.number, &text).into());
        }
        match self.beginning(parent.number).await? {
            None => Err(self.lost(parent.number).into()),
            Some(text) if generation::hash_beginning(&text) == parent.digest => Ok(()),
            Some(_) => {
                let text = format!("generation {} is not the one it was made from", parent.number);
                Err(self.unchained(header.number, &text).into())
            }
        }
    }

    async fn beginning(&self, number: u64) -> Result<Option<Bytes>> {
        self.objects.beginning(&object(number), generation::HEADER_LIMIT).await
    }

    /// The highest number that exists.
    async fn newest(&self) -> Result<Option<u64>> {
        let hint = self.hint().await?;
        let (highest, hint) = self.highest(hint).await?;
        match (highest, hint) {
            (Some(highest), Some(hint)) if highest < hint => Err(self.lost(hint).into()),
            (None, Some(_)) => Err(self.all_lost().into()),
            (highest, _) => Ok(highest),
        }
    }

    /// The highest number that exists, and the hint.
    async fn highest(&self, hint: Option<u64>) -> Result<(Option<u64>, Option<u64>)> {
        if let Some(after) = hint.and_then(|h| h.checked_sub(1)).filter(|a| *a > 0)
            && let Some(highest) = self.numbers(Some(after)).await?.last()
        {
            return Ok((Some(*highest), hint));
        }
        Ok((self.numbers(None).await?.last().copied(), hint))
    }

    /// The numbers that exist, above `after`, rising.
    async fn numbers(&self, after: Option<u64>) -> Result<Vec<u64>> {
        let after = after.map(generation::format_generation_name);
        let found = self.objects.list(FOLDER, after.as_deref()).await?;
        let mut numbers: Vec<u64> = found
            .iter()
            .filter_map(|(name, _)| generation::parse_generation_number(name))
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The hinted number; `None` if there is no hint, or none that can be understood.
    async fn hint(&self) -> Result<Option<u64>> {
        let Some(text) = self.objects.beginning(HINT, 1024).await? else { return Ok(None) };
        let hint: Option<LatestHint> = serde_json::from_slice(&text).ok();
        let number = hint.map(|h| h.number).filter(|n| (1..generation::MAX_NUMBER).contains(n));
        if number.is_none() {
            tracing::warn!(
                "{} holds no number, and is left aside; the next run writes it anew",
                self.objects.shown(HINT)
            );
        }
        Ok(number)
    }

    /// The state of the former form, if there is one.
    async fn former(&self) -> Result<Option<State>> {
        let Some((text, _)) = self.objects.get(FORMER).await? else { return Ok(None) };
        let state: Result<State, FormatFault> = read_document(&text);
        state.map(Some).map_err(|fault| {
            let text =
                format!("the state {} {}", self.objects.shown(FORMER), generation::format_fault(&fault));
            let help = if fault.is_newer() {
                NEWER_HELP
            } else {
                "restore it from a backup; move it away only if you accept that every finding is new again"
            };
            Failure::new(text).help(help).into()
        })
    }

    /// Writes the state that follows on `parent`, unless somebody else did.
    ///
    /// # Errors
    /// A [`Failure`] when it cannot be written; what was there before is then unchanged.
    pub async fn commit(
        &self,
        parent: &StateGeneration,
        state: &State,
        meta: &GenerationMeta,
        random: &mut RandomSource,
    ) -> Result<CommitOutcome> {
        let mut link = Some(ChainLink { number: parent.number, digest: parent.digest.clone() });
        if parent.number == 0 {
            link = None;
            // The former state is kept, here as generation 1 and where it is.
            if self.former().await?.is_some() {
                let meta = GenerationMeta {
                    origin: GenerationOrigin::TakenOver,
                    run: None,
                    ..meta.clone()
                };
                match self.write(1, None, &parent.state, &meta, random).await? {
                    CommitOutcome::Done(first) => link = Some(first),
                    conflict => return Ok(conflict),
                }
            }
        }
        let number = link.as_ref().map_or(0, |l| l.number) + 1;
        let done = self.write(number, link, state, meta, random).await?;
        if let CommitOutcome::Done(link) = &done {
            self.after(link.number, meta.at).await;
        }
        Ok(done)
    }

    async fn write(
        &self,
        number: u64,
        parent: Option<ChainLink>,
        state: &State,
        meta: &GenerationMeta,
        random: &mut RandomSource,
    ) -> Result<CommitOutcome> {
        if number > generation::MAX_NUMBER {
            return Err(Failure::new(format!("there is no generation after {}", number - 1))
                .help("no run counts so far: look who wrote it; begin a new state at another `url`")
                .into());
        }
        let writer = format!("{:016x}{:016x}", random.draw_one(), random.draw_one());
        let (text, digest) = generation::encode(number, parent, state, meta, writer)
            .map_err(|e| Failure::new(format!("the state cannot be written: {e}")))?;
        let created = self.objects.create(&object(number), text.into()).await;
        if matches!(created, Ok(WriteOutcome::Done)) {
            return Ok(CommitOutcome::Done(ChainLink { number, digest }));
        }
        // An answer may be lost after the object was made; what is there is then our own.
        match (self.beginning(number).await, created) {
            (Ok(Some(text)), _) if generation::hash_beginning(&text) == digest => {
                Ok(CommitOutcome::Done(ChainLink { number, digest }))
            }
            (_, Err(e)) => Err(e),
            (there, Ok(_)) => there.map(|_| CommitOutcome::Conflict(number)),
        }
    }

    async fn hint_at(&self, number: u64) -> Result<()> {
        self.objects.overwrite(HINT, serde_json::to_vec(&LatestHint { number })?.into()).await
    }

    /// What may follow a commit and may fail: the hint, and the pruning.
    async fn after(&self, number: u64, now: Timestamp) {
        if let Err(e) = self.hint_at(number).await {
            tracing::warn!(
                "the state is saved, its hint is not: {}",
                mimawari_base::failure::render_line(&e)
            );
        }
        if number.is_multiple_of(prune::EVERY)
            && let Err(e) = self.prune(now).await
        {
            tracing::warn!(
                "old generations are not removed: {}",
                mimawari_base::failure::render_line(&e)
            );
        }
    }

    /// Judges and commits, again upon the newest generation for as long as others get ahead.
    ///
    /// `attempt` makes the result and the new state, and writes what must be there before
    /// the state is: what it wrote for an attempt that did not get through it writes again.
    ///
    /// # Errors
    /// Whatever `attempt` says; a [`Failure`] when the state cannot be read or written.
    pub async fn settle<T>(
        &self,
        random: &mut RandomSource,
        mut attempt: impl FnMut(&StateGeneration) -> Result<(T, State, GenerationMeta)>,
    ) -> Result<(T, ChainLink)> {
        for tries in 0..TRIES {
            let parent = self.latest().await?;
            let (result, state, meta) = attempt(&parent)?;
            match self.commit(&parent, &state, &meta, random).await? {
                CommitOutcome::Done(link) => {
                    tracing::info!(generation = link.number, "state saved");
                    return Ok((result, link));
                }
                CommitOutcome::Conflict(number) => {
                    tracing::info!(
                        generation = number,
                        "another run saved the state first; judging again upon what it saved"
                    );
                    let most = 10u64 << tries.min(6);
                    let wait = random.draw_one() % (most + 1);
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                }
            }
        }
        Err(Failure::new(format!(
            "others saved the state {} {TRIES} times while this run tried to",
            self.objects.shown("")
        ))
        .help("the run is kept: judge it with `mimawari judge --run DIR --save-state` when there is less going on")
        .into())
    }

    /// Brings generation `to` back, as a new generation; nothing is deleted.
    ///
    /// # Errors
    /// A [`Failure`] when it cannot be read, or somebody else writes at the same time.
    pub async fn rollback(
        &self,
        to: u64,
        at: Timestamp,
        random: &mut RandomSource,
    ) -> Result<ChainLink> {
        let wanted = self.load(to).await?;
        let (highest, hint) = self.highest(self.hint().await?).await?;
        let Some(highest) = highest else { return Err(self.all_lost().into()) };
        // Whatever is wrong with the newest one, it stays, and what follows names it as it is.
        let text = self.beginning(highest).await?.unwrap_or_default();
        let parent = ChainLink { number: highest, digest: generation::hash_beginning(&text) };
        // A number that was in use once is not used again.
        let number = highest.max(hint.unwrap_or(0)) + 1;
        let run = wanted.state.last_run.clone();
        let meta = GenerationMeta { at, run, origin: GenerationOrigin::RolledBack(to), by: None };
        match self.write(number, Some(parent), &wanted.state, &meta, random).await? {
            CommitOutcome::Done(link) => {
                self.after(number, at).await;
                Ok(link)
            }
            CommitOutcome::Conflict(n) => Err(Failure::new(format!(
                "another run saved generation {n} in this moment; nothing was brought back"
            ))
            .help("see `mimawari state history`, and do it again if it is still wanted")
            .into()),
        }
    }

    fn damaged(&self, number: u64, e: BrokenChain) -> Failure {
        let file = self.objects.shown(&object(number));
        if let BrokenChain::Newer(fault) = e {
            return Failure::new(format!("generation {number} of the state ({file}) {fault}"))
                .help(NEWER_HELP);
        }
        let failure = Failure::new(format!("generation {number} of the state is damaged ({file})"));
        failure.source(e).help(format!("{MEND} with N from `mimawari state history`"))
    }

    fn lost(&self, number: u64) -> Failure {
        let file = self.objects.shown(&object(number));
        Failure::new(format!("generation {number} of the state is missing ({file})"))
            .help(format!("{MEND} with N from `mimawari state history`"))
    }

    fn all_lost(&self) -> Failure {
        let (hint, place) = (self.objects.shown(HINT), self.objects.shown(FOLDER));
        Failure::new(format!("there is no generation of the state in {place}, and {hint} says that there were"))
            .help(format!("it is never taken for empty; restore them from a backup or their former versions; remove {hint} only if you accept that every finding is new again"))
    }

    fn unchained(&self, number: u64, why: &str) -> Failure {
        let file = self.objects.shown(&object(number));
        Failure::new(format!(
            "generation {number} of the state is out of the chain: {why} ({file})"
        ))
        .help(format!("{MEND} with N from `mimawari state history`"))
    }
}

const MEND: &str = "it is never taken for empty; restore the object from a backup or its former version, or go on \
     from an earlier state with `mimawari state rollback --to N`,";

fn object(number: u64) -> String {
    format!("{FOLDER}/{}", generation::format_generation_name(number))
}
