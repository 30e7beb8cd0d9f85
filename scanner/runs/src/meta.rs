//! `run.json`.

use jiff::Timestamp;
use mimawari_engine::SweepSummary;
use mimawari_probes::format::{VersionedFormat, text_number};
use mimawari_probes::gap::CoverageGap;
use mimawari_targets::{AddrSet, CellPlan, PlanError, PlanOrder, PlanShard, PortSet, Scope, hex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Major version of `run.json`.
pub const VERSION: u32 = 1;
/// Minor version: 1 has the seed as text, and `gaps`.
pub const MINOR: u32 = 1;

/// Name of the cell numbering and permutation; a run with another one cannot be read.
pub const ORDER: &str = "feistel-1";

/// `20261123T060000Z-7f3a`
#[must_use]
pub fn run_id(at: Timestamp, tail: u16) -> String {
    format!("{}-{tail:04x}", at.strftime("%Y%m%dT%H%M%SZ"))
}

/// The seed of the probing order, from the plan itself: the shards of one plan run on machines that
/// know nothing of each other, and must agree on who probes what. What has to be new in every run
/// (the cookie's key, the source ports) is drawn elsewhere.
#[must_use]
pub fn compute_order_seed(addrs: &AddrSet, ports: &PortSet) -> u64 {
    let mut hash = Sha256::new();
    for range in addrs.ranges() {
        hash.update(format!("{range}\n"));
    }
    hash.update(ports.to_string());
    hash.finalize().iter().take(8).fold(0, |n, b| n << 8 | u64::from(*b))
}

/// How far a run came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Begun, and not ended in good order: still running, or killed.
    Running,
    /// Ran to its end.
    Complete,
    /// Stopped by a signal.
    Stopped,
    /// Ended by an error; what it saw before is kept.
    Failed,
}

/// `run.json`: everything about a run that is not an observation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunMeta {
    /// Major version of the format, [`VERSION`].
    pub version: u32,
    /// Minor version of the format, [`MINOR`]; absent in version 1.0.
    #[serde(default)]
    pub minor: u32,
    /// The run's id: its start in UTC, then four random hex digits.
    pub run_id: String,
    /// How far it came.
    pub status: RunStatus,
    /// When it began.
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    /// When it ended.
    #[schemars(with = "Option<String>")]
    pub ended_at: Option<Timestamp>,
    /// When it was gone on with, after having been stopped or killed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub resumed_at: Vec<Timestamp>,
    /// Version of the program.
    pub program: String,
    /// From where it was seen.
    pub vantage: String,
    /// The scope it ran under.
    pub scope: ScopeFacts,
    /// The plan.
    pub plan: PlanFacts,
    /// Which part of the plan, `i/n`.
    #[schemars(with = "String")]
    pub shard: PlanShard,
    /// Which part of a plan that is walked over several runs, `k/n`; the shard divides it. Absent
    /// when the run walks the whole plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub part: Option<PlanShard>,
    /// `syn` or `connect`.
    pub method: String,
    /// Packets per second, the ceiling.
    pub rate_asked: u32,
    /// Packets per second while sending, reached.
    pub rate_reached: f64,
    /// The recall that was promised.
    pub recall_promised: f64,
    /// Frames dropped because their destination was not in the scope; anything but 0 is a defect.
    pub frames_refused: u64,
    /// The sweep's own account.
    #[schemars(with = "Option<serde_json::Value>")]
    pub sweep: Option<SweepSummary>,
    /// Known-open endpoints and whether they answered.
    pub canaries: Vec<CanaryFacts>,
    /// The content checks.
    pub http: HttpTotals,
    /// The shards that were merged into this run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<MergedRun>,
    /// What was not covered, what is doubtful, and what a reader should know.
    #[serde(flatten, with = "super::gaps")]
    #[schemars(with = "super::gaps::GapFields")]
    pub gaps: Vec<CoverageGap>,
}

/// A run that is part of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MergedRun {
    /// Its id.
    pub run_id: String,
    /// Its shard, `i/n`.
    #[schemars(with = "String")]
    pub shard: PlanShard,
}

impl RunMeta {
    /// A run that has begun, and of which nothing is known but what it is of.
    #[must_use]
    pub fn blank(scope: &Scope, plan: &CellPlan, shard: PlanShard) -> Self {
        Self {
            version: VERSION,
            minor: MINOR,
            run_id: format!("run-{}", shard.index()),
            status: RunStatus::Running,
            started_at: Timestamp::UNIX_EPOCH,
            ended_at: None,
            resumed_at: Vec::new(),
            program: String::new(),
            vantage: "default".to_owned(),
            scope: ScopeFacts::of(scope),
            plan: PlanFacts::of(plan),
            shard,
            part: None,
            method: "syn".to_owned(),
            rate_asked: 1,
            rate_reached: 0.0,
            recall_promised: 0.9999,
            frames_refused: 0,
            sweep: None,
            canaries: Vec::new(),
            http: HttpTotals::default(),
            merged: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// Whether the run came to its end, left no gap, and its canaries answered.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.status == RunStatus::Complete
            && crate::gaps::is_complete(&self.gaps)
            && self.canaries.iter().all(|c| c.answered)
    }

    /// What tells the cells behind the run's steps from those of every other plan, part and shard.
    /// `coverage.bin` holds it, so that it is never read by another plan than it was written by.
    #[must_use]
    pub fn cells_digest(&self) -> [u8; 32] {
        let PlanFacts { addresses, ports, seed, order, .. } = &self.plan;
        let mut hash = Sha256::new();
        for range in addresses.ranges() {
            hash.update(format!("{range}\n"));
        }
        let part = self.part.unwrap_or(PlanShard::WHOLE);
        hash.update(format!("{ports}\n{seed}\n{order}\n{part}\n{}", self.shard));
        hash.finalize().into()
    }

    /// Whether a program that rounds numbers above 2^53 has written the seed anew. Version 1.0 had the
    /// seed as a number, and no digest in `coverage.bin` that would show it; but every seed that it wrote
    /// was that of the addresses and ports.
    #[must_use]
    pub fn seed_is_rounded(&self) -> bool {
        let PlanFacts { addresses, ports, seed, .. } = &self.plan;
        *seed > 1 << 53 && *seed != compute_order_seed(addresses, ports)
    }

    /// The run's walk again, to look cells up in the coverage.
    ///
    /// # Errors
    /// [`PlanError`] when the facts do not make a plan.
    pub fn walk(&self) -> Result<PlanOrder, PlanError> {
        let part = self.part.unwrap_or(PlanShard::WHOLE);
        Ok(self.plan.to_plan()?.walk_part(part, self.shard))
    }
}

impl VersionedFormat for RunMeta {
    const MAJOR: u32 = VERSION;

    fn major(&self) -> u32 {
        self.version
    }
}

/// The scope as the run had it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScopeFacts {
    /// Allowed ranges.
    #[schemars(with = "Vec<String>")]
    pub allow: AddrSet,
    /// Denied ranges.
    #[schemars(with = "Vec<String>")]
    pub deny: AddrSet,
    /// On whose word.
    pub authorised_by: String,
    /// SHA-256 over the above, hex.
    pub digest: String,
}

impl ScopeFacts {
    /// The facts of a scope.
    #[must_use]
    pub fn of(scope: &Scope) -> Self {
        let mut hash = Sha256::new();
        for (label, set) in [("allow", scope.allow()), ("deny", scope.deny())] {
            for range in set.ranges() {
                hash.update(format!("{label} {range}\n"));
            }
        }
        hash.update(format!("authorised_by {}\n", scope.authorised_by()));
        Self {
            allow: scope.allow().clone(),
            deny: scope.deny().clone(),
            authorised_by: scope.authorised_by().to_owned(),
            digest: hex::encode(&hash.finalize()),
        }
    }

    /// The scope again.
    #[must_use]
    pub fn to_scope(&self) -> Scope {
        Scope::new(self.allow.clone(), self.deny.clone(), self.authorised_by.clone())
    }
}

/// The plan, enough to number its cells again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanFacts {
    /// The addresses, deny list already taken out.
    #[schemars(with = "Vec<String>")]
    pub addresses: AddrSet,
    /// The ports.
    #[schemars(with = "String")]
    pub ports: PortSet,
    /// Seed of the order, as text, since it may be above 2^53; up to version 1.0 a number.
    #[serde(with = "text_number")]
    #[schemars(with = "String")]
    pub seed: u64,
    /// Name of the numbering, [`ORDER`].
    pub order: String,
    /// Cells of the whole plan.
    pub cells: u64,
}

impl PlanFacts {
    /// The facts of a plan.
    #[must_use]
    pub fn of(plan: &CellPlan) -> Self {
        Self {
            addresses: plan.addrs().addrs().clone(),
            ports: plan.ports().clone(),
            seed: plan.seed(),
            order: ORDER.to_owned(),
            cells: plan.cells(),
        }
    }

    /// What tells this plan, walked in `parts` runs from `vantage`, from every other.
    #[must_use]
    pub fn digest(&self, parts: u32, vantage: &str) -> String {
        let mut hash = Sha256::new();
        for range in self.addresses.ranges() {
            hash.update(format!("{range}\n"));
        }
        let Self { ports, seed, order, .. } = self;
        hash.update(format!("{ports}\n{seed}\n{order}\n{parts}\n{vantage}"));
        hex::encode(&hash.finalize()[..16])
    }

    /// The walk of one shard of the whole plan again.
    ///
    /// # Errors
    /// [`PlanError`] when the facts do not make a plan.
    pub fn walk(&self, shard: PlanShard) -> Result<PlanOrder, PlanError> {
        Ok(self.to_plan()?.walk(shard))
    }

    /// The plan again.
    ///
    /// # Errors
    /// [`PlanError`] when the facts do not make a plan.
    pub fn to_plan(&self) -> Result<CellPlan, PlanError> {
        // The plan was proven against the scope when it was made; here it only numbers cells.
        let scope = Scope::new(self.addresses.clone(), AddrSet::default(), "");
        CellPlan::new(scope.whole(), self.ports.clone(), self.seed)
    }
}

/// A known-open endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CanaryFacts {
    /// `address:port`.
    pub endpoint: String,
    /// Whether it was seen open.
    pub answered: bool,
}

/// The content checks of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HttpTotals {
    /// Cost tier.
    pub tier: u8,
    /// Web endpoints looked at, virtual hosts counted each.
    pub targets: u64,
    /// (target, path) pairs planned.
    pub checks_planned: u64,
    /// Pairs that ended in an outcome that can be believed.
    pub checks_covered: u64,
}
