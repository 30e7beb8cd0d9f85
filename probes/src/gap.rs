//! What a run did not cover, what makes it doubtful, and what a reader should know of it.
//!
//! An observation says what was seen; a gap says what was not. Whoever finds one names its kind and its
//! numbers. Sentences are made by `mimawari-report` alone, and no code reads them. To add a kind, add a
//! variant to [`Gap`] and a sentence in `report/src/gap_text.rs`; the compiler asks for the second.

use mimawari_targets::PlanShard;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a gap does to the result.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum GapEffect {
    /// The result is incomplete: something makes it doubtful.
    Doubted,
    /// The result is incomplete: something that was planned was not covered.
    NotCovered,
    /// The result is as complete as without it.
    Noted,
}

/// A kind of gap with its numbers. In JSON `kind` names the variant, in `snake_case`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs)] // The fields are the numbers and names of the line above them.
pub enum Gap {
    // Targets and names
    /// A name was resolved to an address of the scope.
    NameResolved { name: String, ip: String },
    /// A name points outside the scope.
    NameOutsideScope { name: String, ip: String },
    /// A name could not be resolved, or only in part.
    NameUnresolved { name: String, reason: String, partly: bool },

    // The life of a run
    /// Full connections were made, and why no SYN packets.
    ConnectMethod { reason: String },
    /// The run was taken up again. `finished` is absent when there was no checkpoint yet.
    Resumed {
        at: String,
        cells: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        finished: Option<u64>,
        in_work: u64,
    },
    /// The run was stopped before its end.
    Stopped,
    /// The deadline was reached before the end.
    DeadlineReached { seconds: f64 },
    /// The sweep ended by an error.
    SweepFailed { reason: String },
    /// Results could not be written.
    WriteFailed { reason: String },
    /// The run has no end: it was killed, or is still going on.
    RunUnfinished,
    /// The run ended by an error.
    RunFailed,
    /// `observations.ndjson` ends in half a line.
    ObservationsCutOff,
    /// Records of kinds that this version does not know.
    RecordsUnknown { records: u64 },
    /// `coverage.bin` ends in half a frame.
    CoverageCutOff,

    // The sweep
    /// Cells that were not probed to the end.
    CellsNotProbed { cells: u64, of: u64 },
    /// The promised recall was not reached.
    RecallNotReached {
        promised: f64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        estimate: Option<f64>,
    },
    /// A canary did not answer.
    CanarySilent { canary: String },
    /// What loss and recall were estimated from.
    EstimateMethod { open_only: bool },
    /// Stretches of the sweep in which almost nothing answered, while the others did: their silence is
    /// not believed.
    StretchesUnanswered { stretches: u64, cells: u64 },
    /// A router changed its Ethernet address during the sweep, and was followed.
    RouterChanged { router: String },
    /// Addresses that left the scope while the run was stopped.
    AddressesLeftScope { named: NamedSample },
    /// No answer was missed among a few: a loss was assumed.
    LossAssumed { answered: u64, loss: f64 },
    /// Nothing answered, so that no recall can be estimated.
    NoEstimate,
    /// Chunks whose recall was not reached with the maximum of attempts.
    ChunksBelowRecall { recall: f64, chunks: u64, attempts: u8 },
    /// Every send failed: the sweep gave up.
    SweepGaveUp,
    /// The sweep was stopped.
    SweepStopped,
    /// Cells without a final state at the end of the sweep.
    CellsLeft { cells: u64 },
    /// Frames that were lost between the kernel and the program.
    FramesLost { frames: u64 },
    /// The rate was lowered to what the path carries.
    PathCapacity { packets_per_second: u32, times: u64 },
    /// Answers became fewer during the sweep.
    AnswersFewer { share_left: f64 },
    /// Losses came in bursts.
    LossInBursts { dispersion: f64 },
    /// There is no route to these ranges.
    NoRoute { ranges: String },
    /// These ranges cannot be reached through their interface or gateway.
    PathUnusable { reason: String, ranges: String },
    /// An interface has no mapped receive ring.
    NoMappedRing { interface: String },
    /// Receiving ended early.
    ReceivingEnded,
    /// Receiving failed for a time.
    ReceivingFailed { interface: String, reason: String },
    /// Sends failed for so long that the sweep was stopped.
    SendingHopeless { interface: String, reason: String, seconds: u64 },
    /// Sends that failed.
    SendsFailed { interface: String, sends: u64, reason: String },
    /// Frames for addresses outside the scope: a defect.
    FramesRefused { frames: u64 },
    /// Packets beyond an allowance of the cloud.
    AllowanceExceeded { interface: String, packets: u64, allowance: String },

    // The second look
    /// Open ports that were not confirmed since the run was stopped.
    ConfirmationStopped { ports: u64 },
    /// Open ports of hosts that answer on most ports: not confirmed one by one. Noted where the host
    /// accepts connections on ports that nobody planned, too; elsewhere not covered.
    ConfirmationLeftOut { ports: u64, hosts: u64, named: NamedSample },
    /// No open port accepted a second connection.
    SecondLooksFailed { ports: u64 },
    /// From some moment on no open port accepted a second connection.
    SecondLooksShutOut { ports: u64, confirmed: u64 },
    /// Open ports to which this machine could not make a second connection.
    SecondLooksOwnError { ports: u64, named: NamedSample },
    /// Open ports that did not answer when they were to be looked at for web sites.
    SitesUnanswered { ports: u64, named: NamedSample },
    /// Web ports that accepted a connection and sent nothing.
    WebPortsMute { ports: u64, named: NamedSample },
    /// Hosts that looked odd and were asked on random ports.
    OddHosts { asked: u64, accepting: u64, left_out: u64, named: NamedSample },

    // Content
    /// Content checks are switched off.
    ContentChecksOff,
    /// Content checks without a usable answer.
    ChecksUnanswered { checks: u64, of: u64, named: NamedSample },
    /// Virtual hosts without an open web port.
    VhostsWithoutPort { hosts: u64, named: NamedSample },
    /// Rows of the list of virtual hosts that were not asked for, though their address is planned.
    VhostsNotAsked { hosts: u64, reason: VhostIdle, named: NamedSample },
    /// Rows of the list of virtual hosts that cannot be used.
    VhostRowsSkipped { rows: u64, named: NamedSample },
    /// Default sites that send every path to a site that no list names.
    SitesMoved { sites: u64, named: NamedSample },
    /// The list of virtual hosts cannot be read.
    VhostListUnusable { reason: String },
    /// Files that were not readable when the manifest of a site was made.
    ManifestUnreadable { site: String, files: u64 },
    /// Nothing was asked by the manifest of a site.
    ManifestNotAsked { site: String, reason: ManifestIdle },
    /// Names that DNS resolves to addresses outside the scope only.
    NamesElsewhere { hosts: u64, named: NamedSample },
    /// Names without an address.
    NamesNowhere { hosts: u64, named: NamedSample },
    /// Names of which DNS said nothing.
    NamesUnanswered { hosts: u64 },
    /// The DNS cross-check ended early.
    NamesGivenUp,

    // Import
    /// The run was imported.
    Imported { file: String, method: String },
    /// Ports that were not imported.
    PortsLeftOut { ports: u64, reason: LeftOutReason, named: NamedSample },
    /// Open ports that rest on a single answer.
    SingleAnswers { ports: u64, of: u64 },
    /// Cells that an imported file does not cover. `scanner`: one that lists answers and nothing else.
    ImportNotCovered {
        cells: u64,
        of: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scanner: Option<String>,
    },
    /// An imported file is not that of a whole scan.
    ImportCutOff {
        end: ImportEnd,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Entries of other protocols than TCP.
    OtherProtocols { entries: u64 },
    /// Groups of ports without their numbers (nmap before 7.92).
    PortsWithoutNumbers { groups: u64 },
    /// Ports whose state the other scanner could not tell.
    PortsUnclear { ports: u64 },
    /// Hosts that the other scanner gave up.
    HostsGivenUp { hosts: u64 },
    /// Answers that were neither SYN-ACK nor RST.
    AnswersUnclear { answers: u64 },
    /// The file does not say which answers were SYN-ACK.
    AnswersUnclassified,

    // Shards and rounds
    /// A shard is missing.
    ShardMissing { missing: PlanShard, cells: u64 },
    /// A shard did not come to its end.
    ShardUnfinished { unfinished: PlanShard },
    /// A shard handed in or saved something that is damaged.
    ShardDamaged { reason: String },
    /// The shards used different methods.
    MethodsDiffer,
    /// Shards that are not judged here.
    ShardsNotJudged { shards: Vec<PlanShard> },
    /// More gaps than are listed here.
    MoreGaps { gaps: u64 },

    // The judgement
    /// Nothing answered at all.
    NothingAnswered,
    /// Canaries did not answer.
    CanariesSilent { silent: u32, of: u32 },
    /// Too many of the known-open cells are gone at once.
    GoneAtOnce { gone: u64, of: u64 },
    /// Parts of the plan were not covered lately enough.
    PartsStale {
        stale: u64,
        of: u64,
        never: u64,
        max_age_seconds: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        oldest_seconds: Option<u64>,
    },
    /// The plan was not run before: the ages of its parts start anew.
    PlanNew,
    /// Required cells that this run did not cover.
    RequiredNotCovered { cells: u64 },
    /// Too little of a required pool is known to be open, and too much of it is not known.
    PoolUndecided { rule: String, port: u16, at_least: u64, open: u64, unknown: u64, of: u64 },
    /// Sites that the inventory has no room for.
    SitesForgotten { room: u64, forgotten: u64 },
    /// Which publication of the baseline the run was judged by.
    BaselinePublication {
        sequence: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<String>,
    },

    /// A kind that this version does not know, or a sentence of a version that had no kinds.
    #[serde(skip)]
    Other(OtherGap),
}

/// The first few of many.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedSample {
    /// These.
    pub first: Vec<String>,
    /// Whether there are more.
    pub more: bool,
}

impl NamedSample {
    /// The first `most` of these.
    pub fn take<T: ToString>(all: impl IntoIterator<Item = T>, most: usize) -> Self {
        let mut all = all.into_iter();
        let first = all.by_ref().take(most).map(|t| t.to_string()).collect();
        Self { first, more: all.next().is_some() }
    }
}

/// Why a row of the list of virtual hosts was not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VhostIdle {
    /// Its port is not one of the plan.
    PortNotPlanned,
    /// Its port speaks the other scheme.
    OtherScheme,
}

/// Why nothing was asked by a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManifestIdle {
    /// No list of virtual hosts names the site.
    NotListed,
    /// None of its addresses has an open web port.
    NoOpenPort,
}

/// Why ports were not imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOutReason {
    /// They are outside the scope.
    OutsideScope,
    /// Their addresses or ports are not of the plan.
    NotPlanned,
}

/// How an imported file ends too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportEnd {
    /// nmap's XML without `<finished>`.
    NoFinished,
    /// The scanner ended by an error.
    ScanError,
    /// masscan's list without its last line.
    NoEndLine,
    /// JSON without its end.
    JsonOpen,
    /// Half a line.
    HalfLine,
}

/// A gap that this version has no kind for: its sentence and fields are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct OtherGap {
    /// The kind; empty for a sentence of a version that had no kinds.
    pub kind: String,
    /// The fields of the kind.
    pub fields: Map<String, Value>,
}

/// One gap of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "GapRecord", into = "GapRecord")]
#[schemars(with = "GapRecord")]
pub struct CoverageGap {
    /// What it does to the result.
    pub effect: GapEffect,
    /// The shard that has it, when it is not of the whole run.
    pub shard: Option<PlanShard>,
    /// What it is.
    pub gap: Gap,
    /// Its sentence, as `mimawari-report` made it; empty before that.
    pub text: String,
}

impl Gap {
    /// Makes the result doubtful.
    #[must_use]
    pub const fn doubted(self) -> CoverageGap {
        self.with(GapEffect::Doubted)
    }

    /// Something that was planned was not covered.
    #[must_use]
    pub const fn not_covered(self) -> CoverageGap {
        self.with(GapEffect::NotCovered)
    }

    /// Worth to know, and no reason to call the result incomplete.
    #[must_use]
    pub const fn noted(self) -> CoverageGap {
        self.with(GapEffect::Noted)
    }

    /// With this effect.
    #[must_use]
    pub const fn with(self, effect: GapEffect) -> CoverageGap {
        CoverageGap { effect, shard: None, gap: self, text: String::new() }
    }
}

impl CoverageGap {
    /// A sentence of a version that had no kinds.
    #[must_use]
    pub fn from_sentence(effect: GapEffect, text: String) -> Self {
        let other = OtherGap { kind: String::new(), fields: Map::new() };
        Self { effect, shard: None, gap: Gap::Other(other), text }
    }

    /// Changes every text in it, such as to take out what acts on a screen.
    pub fn map_text(&mut self, change: impl Fn(&str) -> String) {
        fn walk(value: &mut Value, change: &impl Fn(&str) -> String) {
            match value {
                Value::String(text) => *text = change(text),
                Value::Array(all) => all.iter_mut().for_each(|v| walk(v, change)),
                Value::Object(all) => {
                    let changed = std::mem::take(all).into_iter().map(|(key, mut value)| {
                        walk(&mut value, change);
                        (change(&key), value)
                    });
                    *all = changed.collect();
                }
                _ => {}
            }
        }
        let mut record = GapRecord::from(self.clone());
        (record.kind, record.text) = (change(&record.kind), change(&record.text));
        let mut fields = Value::Object(record.fields);
        walk(&mut fields, &change);
        record.fields = match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        *self = record.into();
    }

    /// Drops the fields of its kind when they are longer than so many bytes of JSON.
    pub fn limit_fields(&mut self, bytes: usize) {
        let record = GapRecord::from(self.clone());
        let length = serde_json::to_string(&record.fields).map_or(usize::MAX, |text| text.len());
        if length > bytes {
            self.gap = Gap::Other(OtherGap { kind: record.kind, fields: Map::new() });
        }
    }

    /// The same as a gap of this shard, unless it is of one already.
    #[must_use]
    pub fn of_shard(mut self, shard: PlanShard) -> Self {
        self.shard.get_or_insert(shard);
        self
    }
}

/// Gaps as JSON has them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct GapRecord {
    /// The kind. A reader may meet kinds that it does not know.
    kind: String,
    /// `doubted`, `not_covered` or `noted`. The first two make the result incomplete.
    effect: String,
    /// The shard that has it, `i/n`, when it is not of the whole run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    shard: Option<PlanShard>,
    /// The sentence for people. No program should read it.
    #[serde(default)]
    text: String,
    /// The numbers and names of the kind.
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// The kind of a sentence without one.
const SENTENCE: &str = "sentence";

impl From<CoverageGap> for GapRecord {
    fn from(g: CoverageGap) -> Self {
        let (kind, fields) = match g.gap {
            Gap::Other(OtherGap { kind, fields }) => (kind, fields),
            known => {
                // A variant is a map with its kind; a serialiser of maps has nothing to fail on.
                let value = serde_json::to_value(known).unwrap_or_default();
                let mut fields = match value {
                    Value::Object(fields) => fields,
                    _ => Map::new(),
                };
                let kind = fields.remove("kind");
                let kind = kind.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
                (kind, fields)
            }
        };
        let kind = if kind.is_empty() { SENTENCE.to_owned() } else { kind };
        let effect = match g.effect {
            GapEffect::Doubted => "doubted",
            GapEffect::NotCovered => "not_covered",
            GapEffect::Noted => "noted",
        };
        Self { kind, effect: effect.to_owned(), shard: g.shard, text: g.text, fields }
    }
}

impl From<GapRecord> for CoverageGap {
    fn from(r: GapRecord) -> Self {
        let effect = match r.effect.as_str() {
            "noted" => GapEffect::Noted,
            "not_covered" => GapEffect::NotCovered,
            // One that is not known must not make a result look better than it is.
            _ => GapEffect::Doubted,
        };
        let mut value = r.fields.clone();
        value.insert("kind".to_owned(), Value::String(r.kind.clone()));
        match serde_json::from_value(Value::Object(value)) {
            Ok(gap) => Self { effect, shard: r.shard, gap, text: r.text },
            Err(_) => {
                let kind = if r.kind == SENTENCE { String::new() } else { r.kind };
                let gap = Gap::Other(OtherGap { kind, fields: r.fields });
                Self { effect, shard: r.shard, gap, text: r.text }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_the_same_after_json_and_says_its_kind() {
        let shard = PlanShard::new(2, 3).unwrap();
        for gap in [
            Gap::Stopped.not_covered(),
            Gap::CellsNotProbed { cells: 7, of: 10 }.not_covered().of_shard(shard),
            Gap::RecallNotReached { promised: 0.9999, estimate: None }.not_covered(),
            Gap::ShardMissing { missing: shard, cells: 1 << 40 }.not_covered(),
            Gap::ManifestNotAsked { site: "a.example".to_owned(), reason: ManifestIdle::NotListed }
                .noted(),
            CoverageGap::from_sentence(GapEffect::Noted, "As it was.".to_owned()),
        ] {
            let text = serde_json::to_string(&gap).unwrap();
            assert_eq!(serde_json::from_str::<CoverageGap>(&text).unwrap(), gap, "{text}");
        }
        let text = serde_json::to_value(Gap::CellsNotProbed { cells: 7, of: 10 }.not_covered());
        assert_eq!(
            text.unwrap(),
            serde_json::json!({"kind": "cells_not_probed", "effect": "not_covered", "text": "",
                               "cells": 7, "of": 10})
        );
    }

    #[test]
    fn a_kind_of_a_newer_version_is_kept_with_its_sentence_and_never_called_complete() {
        let newer = r#"{"kind":"moon_phase","effect":"eclipsed","text":"It was dark.","age":4}"#;
        let gap: CoverageGap = serde_json::from_str(newer).unwrap();
        assert_eq!((gap.effect, gap.text.as_str()), (GapEffect::Doubted, "It was dark."));
        let again = serde_json::to_value(&gap).unwrap();
        assert_eq!((&again["kind"], &again["age"]), (&"moon_phase".into(), &4.into()));
        // A known kind with another shape is no error either.
        let odd = r#"{"kind":"cells_not_probed","effect":"not_covered","cells":"many"}"#;
        let gap: CoverageGap = serde_json::from_str(odd).unwrap();
        assert!(matches!(gap.gap, Gap::Other(_)));
        // More fields than this version knows.
        let more = r#"{"kind":"stopped","effect":"not_covered","by":"SIGTERM"}"#;
        let gap: CoverageGap = serde_json::from_str(more).unwrap();
        assert_eq!(gap.gap, Gap::Stopped);
    }
}
