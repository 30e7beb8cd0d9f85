//! What a round covers: fixed once, for all of its tasks.

use anyhow::Result;
use jiff::Timestamp;
use mimawari_base::failure::{ExitStatus, Failure};
use mimawari_probes::format::{FormatFault, NEWER_HELP, VersionedFormat, read_document};
use mimawari_probes::gap::{CoverageGap, GapEffect};
use mimawari_probes::http::to_printable;
use mimawari_runs::meta::{ORDER, PlanFacts, ScopeFacts, compute_order_seed};
use mimawari_store::{FetchedObject, WriteOutcome};
use mimawari_targets::list::TargetList;
use mimawari_targets::{CellPlan, PlanOrder, PlanShard, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{RoundStore, to_json};
use crate::cli::round::{RoundArgs, RoundPlanArgs};
use crate::config::rounds::check_shards;
use crate::config::{Config, MAX_PARTS, check_rate, check_recall, read_targets};
use crate::context::Context;
use crate::output::print;
use crate::scan;

/// Major version of `plan.json` and `shards.json`.
const VERSION: u32 = 1;
/// Minor version of `plan.json`: 1 has the seed as text, and `gaps`.
const MINOR: u32 = 1;
pub(super) const PLAN: &str = "plan.json";
const SHARDS: &str = "shards.json";
/// A million single addresses are 40 MB of text.
const LARGEST: u64 = 64 << 20;
/// Longest claim, characters.
const LONGEST_CLAIM: usize = 512;

/// `plan.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundPlan {
    /// Major version of the format, 1.
    pub version: u32,
    /// Minor version of the format; absent in version 1.0.
    #[serde(default)]
    pub minor: u32,
    /// The round's id.
    pub round: String,
    /// Who planned it.
    pub claim: String,
    /// When.
    pub planned_at: Timestamp,
    /// Version of the program.
    pub program: String,
    /// From where it is seen.
    pub vantage: String,
    /// Digest of the scope it was narrowed to, hex.
    pub scope: String,
    /// The cells.
    pub plan: PlanFacts,
    /// Which part of the plan has its turn, `k/n`; absent when it is walked whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<PlanShard>,
    /// Number of shards.
    pub shards: u32,
    /// Packets per second of each task.
    pub rate: u32,
    /// Whether each task finds its rate by itself, below that.
    pub rate_auto: bool,
    /// The promised recall.
    pub recall: f64,
    /// Tier of the content checks.
    pub tier: u8,
    /// What was asked for and is not scanned, and what a reader should know.
    #[serde(flatten, with = "mimawari_runs::gaps")]
    pub gaps: Vec<CoverageGap>,
}

impl VersionedFormat for RoundPlan {
    const MAJOR: u32 = VERSION;

    fn major(&self) -> u32 {
        self.version
    }
}

/// A plan with the digest of its text, which distinguishes it from any other of the same name.
#[derive(Debug, Clone)]
pub(crate) struct PlannedRound {
    pub plan: RoundPlan,
    pub digest: String,
}

#[derive(Serialize)]
struct ShardNames {
    version: u32,
    round: String,
    claim: String,
    cells: u64,
    shards: Vec<String>,
}

/// `mimawari round plan`
pub(super) async fn run_plan_command(
    args: &RoundPlanArgs,
    context: &Context,
) -> Result<ExitStatus> {
    let mut round = RoundStore::open(&args.which, None)?;
    let shards = match args.shards.as_deref().filter(|s| !s.is_empty()) {
        None => round.rounds.shards,
        Some(text) => {
            let number = text.parse::<i64>().map_err(|_| format!("`{}`", text.escape_debug()));
            let number = number.map_err(|shown| format!("{shown} is no number"));
            number.and_then(check_shards).map_err(|e| Failure::new(format!("--shards: {e}")))?
        }
    };
    let planned = plan(&mut round, &args.asking, shards, context).await?;
    let p = &planned.plan;
    let tasks = if p.shards == 1 { "1 task".to_owned() } else { format!("{} tasks", p.shards) };
    let mut out = format!("round {}: {} cells for {tasks}", round.id, p.cells());
    if let Some(part) = p.part {
        out.push_str(&format!(", part {part}"));
    }
    out.push('\n');
    for gap in p.gaps.iter().filter(|g| g.effect != GapEffect::Noted) {
        out.push_str(&format!("not covered: {}\n", mimawari_report::describe_gap(gap)));
    }
    out.push_str(&round.shown(PLAN));
    out.push('\n');
    print(&out)?;
    Ok(ExitStatus::Clean)
}

/// Plans the round, or finds that this claim has planned it before.
pub(super) async fn plan(
    round: &mut RoundStore,
    asking: &RoundArgs,
    shards: u32,
    context: &Context,
) -> Result<PlannedRound> {
    let claim = ask(&mut round.config, asking, shards)?;
    let planned = match read(round).await? {
        Some(there) => there,
        None => create(round, &claim, shards, context).await?,
    };
    if planned.plan.claim != claim {
        let p = &planned.plan;
        return Err(Failure::new(format!(
            "the round {} was planned at {:.0} by another claim, {}",
            round.id,
            p.planned_at,
            to_printable(p.claim.as_bytes(), 120)
        ))
        .help("nothing was changed; give this round another id, or repeat the command that planned it")
        .into());
    }
    // Also when it was planned before: whoever did may have been killed before this.
    let names = ShardNames {
        version: VERSION,
        round: round.id.to_string(),
        claim,
        cells: planned.plan.cells(),
        shards: (1..=planned.plan.shards).map(|i| format!("{i}/{}", planned.plan.shards)).collect(),
    };
    round.objects.overwrite(&round.name(SHARDS), serde_json::to_vec(&names)?.into()).await?;
    Ok(planned)
}

/// Lays what is asked for over the configuration; returns the claim.
fn ask(config: &mut Config, asking: &RoundArgs, shards: u32) -> Result<String> {
    let mut hash = Sha256::new();
    let mut word = |name: &str, text: &str| hash.update(format!("{name} {}\n{text}\n", text.len()));
    let given = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
    let targets: Vec<String> = asking.targets.iter().filter(|t| !t.is_empty()).cloned().collect();
    for target in &targets {
        word("target", target);
    }
    if !targets.is_empty() {
        config.scan.targets = Some(read_targets(&targets)?);
    }
    for (name, text) in [
        ("ports", &asking.ports),
        ("rate", &asking.rate),
        ("recall", &asking.recall),
        ("tier", &asking.tier),
    ] {
        word(name, given(text).as_deref().unwrap_or_default());
    }
    let number = |name: &str, text: &str| {
        text.parse::<f64>()
            .map_err(|_| Failure::new(format!("--{name}: `{}` is no number", text.escape_debug())))
    };
    let recall = given(&asking.recall).map(|t| number("recall", &t)).transpose()?;
    config.tune(&asking.tuning(recall))?;
    if let Some(text) = given(&asking.tier) {
        config.http.tier = text.parse().ok().filter(|t| (1..=3).contains(t)).ok_or_else(|| {
            Failure::new(format!("--tier: `{}` is no tier", text.escape_debug()))
                .help("write 1, 2 or 3")
        })?;
    }
    config.scan.shard = PlanShard::WHOLE;
    word("shards", &shards.to_string());
    word("scope", &ScopeFacts::of(&config.scope).digest);
    let claim = match given(&asking.claim) {
        None => return Ok(format!("asked-{}", hex::encode(&hash.finalize()[..8]))),
        Some(claim) => claim,
    };
    if claim.chars().count() > LONGEST_CLAIM || claim.chars().any(char::is_control) {
        return Err(Failure::new("the claim is too long, or holds control characters")
            .help(format!("use {LONGEST_CLAIM} printable characters at most"))
            .into());
    }
    Ok(claim)
}

/// Settles the plan and writes it, unless another is there by now: then that one.
async fn create(
    round: &RoundStore,
    claim: &str,
    shards: u32,
    context: &Context,
) -> Result<PlannedRound> {
    let config = &round.config;
    let prepared = scan::prepare(config).await?;
    prepared.log_refused();
    let walk = &prepared.walk;
    let plan = RoundPlan {
        version: VERSION,
        minor: MINOR,
        round: round.id.to_string(),
        claim: claim.to_owned(),
        planned_at: (context.now)(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        vantage: config.vantage.clone(),
        scope: ScopeFacts::of(&config.scope).digest,
        plan: PlanFacts::of(walk.plan()),
        part: Some(walk.part()).filter(|p| *p != PlanShard::WHOLE),
        shards,
        rate: config.scan.rate,
        rate_auto: config.scan.rate_auto,
        recall: config.scan.recall,
        tier: config.http.tier,
        gaps: prepared.gaps.clone(),
    };
    let text = to_json(&plan)?;
    let digest = hex::encode(&Sha256::digest(&text));
    match round.objects.create(&round.name(PLAN), text).await? {
        WriteOutcome::Done => Ok(PlannedRound { plan, digest }),
        // Somebody else, or we ourselves by a request whose answer was lost.
        WriteOutcome::Conflict => must_read(round).await,
    }
}

/// The plan of a round that must have one.
pub(super) async fn must_read(round: &RoundStore) -> Result<PlannedRound> {
    read(round).await?.ok_or_else(|| {
        Failure::new(format!("the round {} is not planned: no {}", round.id, round.shown(PLAN)))
            .help("plan it first with `mimawari round plan`, with this very id and configuration")
            .into()
    })
}

/// The plan of a round, if it has one.
pub(super) async fn read(round: &RoundStore) -> Result<Option<PlannedRound>> {
    let refused = |fault: FormatFault| {
        let failure = Failure::new(format!("{} {fault}", round.shown(PLAN)));
        failure.help(if fault.is_newer() {
            NEWER_HELP
        } else {
            "begin a round of another id; nothing of this one is scanned"
        })
    };
    let wrong = |why: String| refused(FormatFault::Damaged(why));
    let bytes = match round.objects.get_within(&round.name(PLAN), LARGEST).await? {
        FetchedObject::Absent => return Ok(None),
        FetchedObject::TooLarge(n) => return Err(wrong(format!("it has {n} bytes")).into()),
        FetchedObject::Is(bytes) => bytes,
    };
    let plan: RoundPlan = read_document(&bytes).map_err(refused)?;
    plan.check(round.id.as_str()).map_err(wrong)?;
    Ok(Some(PlannedRound { plan, digest: hex::encode(&Sha256::digest(&bytes)) }))
}

impl RoundPlan {
    /// Cells of all shards.
    #[must_use]
    pub fn cells(&self) -> u64 {
        self.walk(PlanShard::WHOLE).map_or(0, |w| w.len())
    }

    /// A shard's walk, to number its cells. It proves nothing about the scope.
    pub(super) fn walk(&self, shard: PlanShard) -> Option<PlanOrder> {
        let plan = self.plan.to_plan().ok()?;
        Some(plan.walk_part(self.part.unwrap_or(PlanShard::WHOLE), shard))
    }

    /// Checks what needs no configuration.
    pub(super) fn check(&self, round: &str) -> Result<(), String> {
        if self.version != VERSION || self.plan.order != ORDER {
            let order = to_printable(self.plan.order.as_bytes(), 40);
            return Err(format!("version {} ({order}) is not known", self.version));
        }
        if self.round != round {
            return Err("it is of another round".to_owned());
        }
        check_shards(i64::from(self.shards))?;
        check_rate(i64::from(self.rate))?;
        check_recall(self.recall)?;
        if self.part.is_some_and(|p| p.count() > MAX_PARTS) {
            return Err("it has too many parts".to_owned());
        }
        if !(1..=3).contains(&self.tier) {
            return Err(format!("tier {} is not known", self.tier));
        }
        let plan = self.plan.to_plan().map_err(|e| e.to_string())?;
        if plan.cells() != self.plan.cells {
            return Err("its number of cells is wrong".to_owned());
        }
        Ok(())
    }

    /// Holds the plan against the scope of this task's own configuration, and makes that scan one
    /// shard of it. Whatever the plan says, no address is scanned that the scope does not allow.
    ///
    /// # Errors
    /// A [`Failure`] when it was planned under another scope or vantage, or by another numbering.
    pub fn apply(&self, config: &mut Config, shard: PlanShard) -> Result<()> {
        let refused = |why: &str| {
            Failure::new(format!("the round {} was planned {why}; nothing is sent or judged", self.round)).help(
                "plan a new round, or give this task the configuration that the round was planned with",
            )
        };
        if self.scope != ScopeFacts::of(&config.scope).digest {
            return Err(refused("under another scope").into());
        }
        let addresses = &self.plan.addresses;
        let scoped = config.scope.narrow(addresses).ok().filter(|s| s.addrs() == addresses);
        let Some(scoped) = scoped else {
            return Err(refused("for addresses outside the scope").into());
        };
        if self.vantage != config.vantage {
            return Err(refused("from another vantage").into());
        }
        let ports = &self.plan.ports;
        let plan = CellPlan::new(scoped, ports.clone(), self.plan.seed);
        let same = plan.is_ok_and(|p| PlanFacts::of(&p) == self.plan);
        if !same || compute_order_seed(addresses, ports) != self.plan.seed {
            return Err(refused("by a version that numbers cells otherwise").into());
        }
        let scan = &mut config.scan;
        scan.targets = Some(TargetList::from(addresses.clone()));
        scan.ports = ports.clone();
        scan.shard = shard;
        // Whose turn it is was decided by the plan.
        scan.rotate = None;
        scan.part = Some(self.part.unwrap_or(PlanShard::WHOLE));
        (scan.rate, scan.rate_auto) = (self.rate, self.rate_auto);
        scan.recall = self.recall;
        config.http.tier = self.tier;
        divide_ceilings(config, self.shards);
        Ok(())
    }
}

/// What a host or a network bears is divided among the tasks that may ask it at once. A site is one
/// shard's alone. No ceiling stays none.
pub(super) fn divide_ceilings(config: &mut Config, tasks: u32) {
    for ceiling in [
        &mut config.scan.rate_per_host,
        &mut config.scan.rate_per_network,
        &mut config.http.rate_per_address,
        &mut config.http.rate_per_network,
    ] {
        *ceiling = if *ceiling == 0 { 0 } else { (*ceiling / tasks.max(1)).max(1) };
    }
}
