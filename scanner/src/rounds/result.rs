//! `result.json`: the outcome of a round in brief.

use jiff::Timestamp;
use mimawari_drift::verdict::{FindingCounts, Verdict, VerdictCoverage};
use mimawari_probes::format::VersionedFormat;
use mimawari_probes::gap::{Gap, GapEffect};
use mimawari_report::describe_gap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Major version of `result.json`.
pub(super) const VERSION: u32 = 1;
/// Minor version: 1 has `coverage.gaps`.
pub(super) const MINOR: u32 = 1;
pub(super) const RESULT: &str = "result.json";
/// Bytes of it, at most.
pub(super) const LARGEST: u64 = 1 << 20;
/// Sentences about what was not covered; a state machine passes on 256 KB at most.
const SENTENCES: usize = 20;
/// Characters of each.
const SENTENCE: usize = 400;
/// Bytes of the fields of each gap.
const GAP: usize = 2_000;

/// `result.json` of a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RoundResult {
    /// Major version of the format, 1.
    pub version: u32,
    /// Minor version of the format; absent in version 1.0.
    #[serde(default)]
    pub minor: u32,
    /// The round's id.
    pub round: String,
    /// Id of the merged run.
    pub run_id: String,
    /// When it was judged.
    #[schemars(with = "String")]
    pub judged_at: Timestamp,
    /// 0 clean and covered, 1 drift, 3 incomplete without drift in what was covered.
    pub exit: u8,
    /// Whether something planned was not covered, or the run is suspect.
    pub incomplete: bool,
    /// Whether the run is not trusted; then nothing is resolved.
    pub suspect: bool,
    /// The first line of the text report.
    pub headline: String,
    /// Findings by state.
    pub counts: FindingCounts,
    /// What was covered; of the sentences about what was not, the first 20.
    pub coverage: VerdictCoverage,
    /// Number of shards.
    pub shards: u32,
    /// Shards, `i/n`, that were not handed in whole; of some of them a part was saved, and is judged.
    pub missing_shards: Vec<String>,
    /// Those of them that handed in or saved something that is damaged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged_shards: Vec<String>,
    /// Where the page is.
    pub report: String,
    /// Where the verdict is.
    pub verdict: String,
    /// Digest of what was judged, hex: which save of which attempt of each shard.
    pub of: String,
}

/// The coverage, brief enough.
pub(super) fn shorten_coverage(coverage: &VerdictCoverage) -> VerdictCoverage {
    let mut brief = coverage.clone();
    let more = brief.not_covered.len().saturating_sub(SENTENCES);
    brief.not_covered.truncate(SENTENCES);
    brief.not_covered.iter_mut().for_each(shorten);
    // Those that make the result incomplete come first: the others are in the verdict.
    brief.gaps.sort_by_key(|g| g.effect == GapEffect::Noted);
    brief.gaps.truncate(SENTENCES);
    for gap in &mut brief.gaps {
        shorten(&mut gap.text);
        // The names in it may be long: then its kind and its sentence have to do.
        gap.limit_fields(GAP);
    }
    if more > 0 {
        let mut rest = Gap::MoreGaps { gaps: more as u64 }.not_covered();
        rest.text = describe_gap(&rest);
        brief.not_covered.push(rest.text.clone());
        brief.gaps.push(rest);
    }
    brief
}

impl VersionedFormat for RoundResult {
    const MAJOR: u32 = VERSION;

    fn major(&self) -> u32 {
        self.version
    }
}

fn shorten(text: &mut String) {
    if let Some((at, _)) = text.char_indices().nth(SENTENCE) {
        text.truncate(at);
        text.push('…');
    }
}

/// The first line of the text report.
pub(super) fn extract_headline(verdict: &Verdict) -> String {
    let text = mimawari_report::render_text(verdict, false, 4096);
    text.lines().next().unwrap_or_default().to_owned()
}
