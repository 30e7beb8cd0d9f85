//! The course of one path: hit, hit again, and no hit where nothing can be.

use std::fmt::Write as _;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::catalogue::{Check, PathPlan};
use super::gate::{self, Content, Status};
use super::matcher::Hit;
use super::text::printable;
use crate::observation::{Evidence, Outcome, Severity};

/// Most characters of a reason.
const REASON_LIMIT: usize = 256;

/// An answer.
#[derive(Clone, Copy)]
pub struct Response<'a> {
    /// Status code.
    pub status: u16,
    /// Where a redirect leads. Redirects are never followed.
    pub location: Option<&'a str>,
    /// Header fields. No check depends on one.
    pub headers: &'a [(String, Vec<u8>)],
    /// What was read of the body, after [`decode`](super::decode).
    pub body: &'a [u8],
    /// Whether there is more of the body that was not read.
    pub truncated: bool,
}

/// There was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `Error`, `Malformed` or `Skipped`; anything else counts as `Error`.
    pub outcome: Outcome,
    /// Why.
    pub reason: String,
}

/// How a path ended. Holds nothing of the content but what [`Evidence`] has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finished {
    /// The check's id; without a hit, that of the path's first check.
    pub check: String,
    /// How it ended.
    pub outcome: Outcome,
    /// As the content has it, or else the check's.
    pub severity: Severity,
    /// Of the first hit.
    pub evidence: Option<Evidence>,
    /// For `Error`, `Malformed`, `Skipped`, `Unstable` and `CatchAll`.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    First,
    Repeat,
    Canary(usize),
    Done,
}

/// The course of one path on one target. At most four requests.
pub struct PathCheck<'a> {
    plan: &'a PathPlan<'a>,
    key: [u8; 32],
    canaries: [String; 2],
    stage: Stage,
    hit: Option<Found<'a>>,
    end: Option<(Outcome, Option<String>)>,
}

struct Found<'a> {
    check: &'a Check,
    severity: Severity,
    evidence: Evidence,
}

impl<'a> PathCheck<'a> {
    /// Begins. The canaries' names come from the salt, which should be new in each run so that
    /// nobody can prepare for them. The digests in the evidence are keyed so that they tell
    /// nothing to those without the key.
    #[must_use]
    pub fn new(plan: &'a PathPlan<'a>, salt: u64, evidence_key: &[u8; 32]) -> Self {
        Self {
            plan,
            key: *evidence_key,
            canaries: canaries(&plan.path, salt),
            stage: Stage::First,
            hit: None,
            end: None,
        }
    }

    /// The path to ask for next, with GET; nothing when there is a result.
    #[must_use]
    pub fn next_request(&self) -> Option<&str> {
        match self.stage {
            Stage::First | Stage::Repeat => Some(&self.plan.path),
            Stage::Canary(n) => self.canaries.get(n).map(String::as_str),
            Stage::Done => None,
        }
    }

    /// Takes the answer to [`next_request`](Self::next_request).
    pub fn response(&mut self, response: &Response<'_>) {
        let Some(path) = self.next_request() else {
            return;
        };
        let status = gate::status(response.status);
        let content = (status == Status::Content)
            .then(|| Content::new(response.body, path, response.truncated));
        match (self.stage, status) {
            (Stage::First, Status::Content) => self.first(response, content.as_ref()),
            (Stage::First, Status::Protected) => self.finish_as(Outcome::Protected, None),
            (Stage::First, Status::Other) => self.finish_as(Outcome::Absent, None),
            (Stage::First, Status::Failed) => {
                self.finish_as(Outcome::Error, Some(status_reason(response.status)));
            }
            (Stage::Repeat | Stage::Canary(_), Status::Failed) => {
                self.lost(Outcome::Error, &status_reason(response.status));
            }
            (Stage::Repeat, _) => {
                if self.matches_again(content.as_ref()) {
                    self.stage = Stage::Canary(0);
                } else {
                    let reason = format!(
                        "true of the first answer, not of the second (status {})",
                        response.status
                    );
                    self.finish_as(Outcome::Unstable, Some(reason));
                }
            }
            (Stage::Canary(n), _) => {
                if self.matches_again(content.as_ref()) {
                    let reason = "a path that cannot exist has the same content".to_owned();
                    self.finish_as(Outcome::CatchAll, Some(reason));
                } else if n + 1 < self.canaries.len() {
                    self.stage = Stage::Canary(n + 1);
                } else {
                    self.finish_as(Outcome::Exposed, None);
                }
            }
            (Stage::Done, _) => {}
        }
    }

    /// Takes that there was no answer to [`next_request`](Self::next_request).
    pub fn failure(&mut self, failure: Failure) {
        let outcome = match failure.outcome {
            Outcome::Malformed => Outcome::Malformed,
            Outcome::Skipped => Outcome::Skipped,
            _ => Outcome::Error,
        };
        match self.stage {
            Stage::Done => {}
            Stage::First => self.finish_as(outcome, Some(failure.reason)),
            Stage::Repeat | Stage::Canary(_) => self.lost(outcome, &failure.reason),
        }
    }

    /// The result, once there is one.
    #[must_use]
    pub fn finish(&self) -> Option<Finished> {
        let (outcome, reason) = self.end.clone()?;
        let (check, severity, evidence) = match &self.hit {
            Some(hit) => (hit.check.id, hit.severity, Some(hit.evidence.clone())),
            None => {
                let first = self.plan.checks.first();
                let severity = first.map_or(Severity::Info, |c| c.severity);
                (first.map_or("", |c| c.id), severity, None)
            }
        };
        Some(Finished { check: check.to_owned(), outcome, severity, evidence, reason })
    }

    fn first(&mut self, response: &Response<'_>, content: Option<&Content<'_>>) {
        let found = content.and_then(|content| {
            let mut checks = self.plan.checks.iter();
            checks.find_map(|check| Some((*check, (check.matcher)(content)?)))
        });
        let Some((check, hit)) = found else {
            return self.finish_as(Outcome::Absent, None);
        };
        self.hit = Some(Found {
            check,
            severity: hit.severity.unwrap_or(check.severity),
            evidence: evidence(&hit, response, &self.key),
        });
        self.stage = Stage::Repeat;
    }

    fn matches_again(&self, content: Option<&Content<'_>>) -> bool {
        let (Some(hit), Some(content)) = (&self.hit, content) else {
            return false;
        };
        (hit.check.matcher)(content).is_some()
    }

    /// A hit whose proof could not be brought to its end is none.
    fn lost(&mut self, outcome: Outcome, reason: &str) {
        let what = match self.stage {
            Stage::Canary(_) => "no canary answer",
            _ => "no second answer",
        };
        let outcome = match outcome {
            Outcome::Skipped => Outcome::Skipped,
            _ => Outcome::Error,
        };
        self.finish_as(outcome, Some(format!("{what}: {reason}")));
    }

    fn finish_as(&mut self, outcome: Outcome, reason: Option<String>) {
        self.stage = Stage::Done;
        let reason = reason.map(|r| printable(r.as_bytes(), REASON_LIMIT));
        self.end = Some((outcome, reason));
    }
}

fn status_reason(status: u16) -> String {
    format!("the server answered with status {status}")
}

fn evidence(hit: &Hit, response: &Response<'_>, key: &[u8; 32]) -> Evidence {
    let digest = Sha256::new().chain_update(key).chain_update(response.body).finalize();
    let mut hex = String::with_capacity(32);
    for byte in &digest[..16] {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Evidence {
        status: response.status,
        line: hit.line,
        length: response.body.len() as u64,
        digest: hex,
        masked: hit.masked.as_deref().map(|start| {
            let mut masked = printable(start, 4);
            masked.push('…');
            masked
        }),
        label: hit.label.map(str::to_owned),
        ..Evidence::default()
    }
}

/// Two paths that cannot exist: one with another stem in the same folder, which meets rules by
/// ending, and one with the same name in another folder, which meets rules by name.
fn canaries(path: &str, salt: u64) -> [String; 2] {
    let word = |n: u8| -> String {
        let digest = Sha256::new()
            .chain_update(salt.to_be_bytes())
            .chain_update([n])
            .chain_update(path)
            .finalize();
        digest[..12].iter().map(|b| char::from(b'a' + b % 26)).collect()
    };
    let (path, query) = match path.find('?') {
        Some(at) => path.split_at(at),
        None => (path, ""),
    };
    if let Some(folder) = path.strip_suffix('/') {
        let (parent, name) = folder.rsplit_once('/').unwrap_or(("", folder));
        return [format!("{parent}/{}/{query}", word(0)), format!("/{}/{name}/{query}", word(1))];
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    // A name that begins with a dot keeps it: some rules are about just that.
    let stem = if name.starts_with('.') {
        format!(".{}{name}", word(0))
    } else {
        let ending = name.find('.').map_or("", |dot| &name[dot..]);
        format!("{}{ending}", word(0))
    };
    [format!("{folder}/{stem}{query}"), format!("/{}/{name}{query}", word(1))]
}
