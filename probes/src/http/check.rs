//! The course of one path: hit, hit again, and no hit where nothing can be.

use std::fmt::Write as _;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::catalogue::format::Answered;
use super::catalogue::{PathPlan, Probe};
use super::gate::{self, Content, Status};
use super::manifest::{Class, Proof};
use super::rule::{self, Hit};
use super::text::printable;
use crate::observation::{Canary, Evidence, Outcome, Severity, Sightings};

/// Most characters of a reason.
const REASON_LIMIT: usize = 256;

/// After a hit, so many answers without it are taken before it counts as seen once: one of several
/// servers behind an address may have it, or the site may have banned the asker.
const MISSES: u32 = 4;

/// An answer.
#[derive(Clone, Copy)]
pub struct Response<'a> {
    /// Status code.
    pub status: u16,
    /// Where a redirect leads.
    pub location: Option<&'a str>,
    /// What was read of the body, after [`decode`](super::decode).
    pub body: &'a [u8],
    /// Whether there is more of the body that was not read.
    pub truncated: bool,
    /// Length of the whole resource, bytes, where the server told it.
    pub total: Option<u64>,
    /// Why what is there of the body may prove a hit, and nothing else.
    pub flaw: Option<BodyFlaw>,
}

/// What is wrong with a body. Bytes that came are judged all the same; that nothing was found in
/// them says nothing about the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFlaw {
    /// It did not come to the end that was announced.
    Incomplete,
    /// Its content coding is not known here, or it is not coded as its head says.
    Unreadable,
}

impl BodyFlaw {
    const fn reason(self) -> &'static str {
        match self {
            Self::Incomplete => "the body did not come to its end",
            Self::Unreadable => "the body has a content coding that cannot be read",
        }
    }
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
    /// For `Error`, `Malformed`, `Skipped` and `CatchAll`, and for `Exposed` without a control.
    pub reason: Option<String>,
    /// What is exposed, in a line; for `Exposed`.
    pub title: Option<String>,
    /// What to do about it; for `Exposed`.
    pub remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    First,
    Repeat,
    Canary(usize),
    Done,
}

/// The course of one path on one target. Four requests at most where all answers agree.
pub struct PathCheck<'a> {
    plan: &'a PathPlan,
    salt: u64,
    key: &'a [u8; 32],
    /// The path of the canary in work.
    canary: String,
    stage: Stage,
    found: Option<Found<'a>>,
    /// Answers to the path itself, with the hit and in all.
    seen: u32,
    asked: u32,
    /// Answers without a hit that are still to be taken before the path counts as without one.
    patience: u32,
    end: Option<(Outcome, Option<String>)>,
}

struct Found<'a> {
    probe: &'a Probe,
    severity: Severity,
    evidence: Evidence,
}

impl<'a> PathCheck<'a> {
    /// Begins. The canaries' names come from the salt, which should be new in each run so that
    /// nobody can prepare for them. The digests in the evidence are keyed so that they tell
    /// nothing to those without the key.
    #[must_use]
    pub const fn new(plan: &'a PathPlan, salt: u64, evidence_key: &'a [u8; 32]) -> Self {
        Self {
            plan,
            salt,
            key: evidence_key,
            canary: String::new(),
            stage: Stage::First,
            found: None,
            seen: 0,
            asked: 0,
            patience: 0,
            end: None,
        }
    }

    /// For a path that had a hit before: so many answers without one, each on a connection of its
    /// own, are taken before it counts as gone. With `misses` answers in a row by chance, one of
    /// two servers is missed once in two to the power of them.
    #[must_use]
    pub const fn expecting(mut self, misses: u32) -> Self {
        self.patience = misses;
        self
    }

    /// Whether the next request is to be made on a new connection: on the former one the same
    /// server would answer again.
    #[must_use]
    pub const fn wants_new_connection(&self) -> bool {
        match self.stage {
            Stage::First => self.asked > 0,
            Stage::Repeat => self.asked > self.seen,
            Stage::Canary(_) | Stage::Done => false,
        }
    }

    /// Whether a check is true of this answer to the path itself.
    #[must_use]
    pub fn is_hit(&self, response: &Response<'_>) -> bool {
        self.worst(response).is_some()
    }

    /// The path to ask for next, with GET; nothing when there is a result.
    #[must_use]
    pub fn next_request(&self) -> Option<&str> {
        match self.stage {
            Stage::First | Stage::Repeat => Some(&self.plan.path),
            Stage::Canary(_) => Some(&self.canary),
            Stage::Done => None,
        }
    }

    /// Takes the answer to [`next_request`](Self::next_request).
    pub fn response(&mut self, response: &Response<'_>) {
        match self.stage {
            Stage::First => self.first(response),
            Stage::Repeat => self.again(response),
            Stage::Canary(n) => self.canary(n, response),
            Stage::Done => {}
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
            Stage::Repeat | Stage::Canary(_) if outcome == Outcome::Skipped => {
                self.lost(&failure.reason);
            }
            // Whoever hands out a file and then answers no more has handed it out.
            Stage::Repeat => {
                self.asked += 1;
                self.confirmed();
            }
            Stage::Canary(_) => self.uncontrolled(&failure.reason),
        }
    }

    /// The result, once there is one.
    #[must_use]
    pub fn finish(&self) -> Option<Finished> {
        let (outcome, reason) = self.end.clone()?;
        let probe = self.found.as_ref().map(|f| f.probe).or_else(|| self.plan.probes.first())?;
        let exposed = outcome == Outcome::Exposed;
        Some(Finished {
            check: probe.id().to_owned(),
            outcome,
            severity: self.found.as_ref().map_or_else(|| probe.severity(), |f| f.severity),
            evidence: self.found.as_ref().map(|f| f.evidence.clone()),
            reason,
            title: exposed.then(|| probe.title().to_owned()),
            remedy: exposed.then(|| probe.remedy().to_owned()),
        })
    }

    /// The worst check that is true of an answer to the path itself.
    fn worst(&self, response: &Response<'_>) -> Option<(Severity, &'a Probe, Hit)> {
        let plan = self.plan;
        let probes = &plan.probes;
        let is_content = gate::status(response.status) == Status::Content;
        // Nearly all answers are "not found" with a page: nothing is made for them.
        let carries = !is_content && carries_file(response.body);
        if !is_content && !carries && !probes.iter().any(Probe::looks_at_any_status) {
            return None;
        }
        let content = Content::new(response, &plan.path);
        let hits = probes.iter().filter_map(|probe| {
            let hit = probe.is_true(&content).or_else(|| {
                carries.then(|| probe.is_carried(&content)).flatten()
            })?;
            Some((hit.severity.unwrap_or_else(|| probe.severity()), probe, hit))
        });
        // The worst counts; of equals the first, which is the more particular one.
        hits.reduce(|worst, hit| if hit.0 > worst.0 { hit } else { worst })
    }

    fn first(&mut self, response: &Response<'_>) {
        self.asked += 1;
        if let Some((severity, probe, hit)) = self.worst(response) {
            self.seen += 1;
            self.found = Some(Found {
                probe,
                severity,
                evidence: evidence(hit, probe, response, self.key),
            });
            self.stage = Stage::Repeat;
            return;
        }
        if self.patience > 0 {
            self.patience -= 1;
            return;
        }
        let status = gate::status(response.status);
        match status {
            Status::Content if response.flaw.is_some() => {
                let reason = response.flaw.map(|f| f.reason().to_owned());
                self.finish_as(Outcome::Error, reason);
            }
            Status::Content | Status::Redirect | Status::Other => {
                self.finish_as(Outcome::Absent, None)
            }
            Status::Protected => self.finish_as(Outcome::Protected, None),
            Status::Failed => self.finish_as(Outcome::Error, Some(status_reason(response.status))),
        }
    }

    fn again(&mut self, response: &Response<'_>) {
        self.asked += 1;
        if self.is_true_again(response, &self.plan.path) {
            self.seen += 1;
            self.confirmed();
        } else if self.found.as_ref().is_some_and(|f| f.severity == Severity::Info) {
            // That something exists is shown by every answer or by none.
            let reason =
                format!("true of the first answer, not of the second (status {})", response.status);
            self.finish_as(Outcome::Unstable, Some(reason));
        } else if self.asked - self.seen >= MISSES {
            self.confirmed();
        }
    }

    /// All that can be had of the path itself is there: the controls are next.
    fn confirmed(&mut self) {
        let (seen, asked) = (self.seen, self.asked);
        let Some(found) = &mut self.found else { return };
        found.evidence.repeated = seen > 1;
        found.evidence.sightings = (seen < asked).then_some(Sightings { seen, asked });
        if found.probe.wants_canaries() {
            self.next_canary(0);
        } else {
            self.finish_as(Outcome::Exposed, None);
        }
    }

    fn canary(&mut self, n: usize, response: &Response<'_>) {
        if self.is_true_again(response, &self.canary) {
            let reason = "a path that cannot exist has the same content".to_owned();
            return self.finish_as(Outcome::CatchAll, Some(reason));
        }
        // "Later" is no answer. "Internal error" is one: some sites say so to every unknown path.
        if gate::is_postponed(response.status) {
            return self.uncontrolled(&status_reason(response.status));
        }
        let path = std::mem::take(&mut self.canary);
        if let Some(found) = &mut self.found {
            found.evidence.canaries.push(Canary { path, status: response.status });
        }
        if n == 0 { self.next_canary(1) } else { self.finish_as(Outcome::Exposed, None) }
    }

    fn next_canary(&mut self, n: usize) {
        self.canary = canary(&self.plan.path, self.salt, n);
        self.stage = Stage::Canary(n);
    }

    fn is_true_again(&self, response: &Response<'_>, path: &str) -> bool {
        self.found.as_ref().is_some_and(|f| {
            let content = Content::new(response, path);
            f.probe.is_true(&content).is_some() || f.probe.is_carried(&content).is_some()
        })
    }

    /// Stopped before the proof came to its end.
    fn lost(&mut self, reason: &str) {
        let what = match self.stage {
            Stage::Canary(_) => "no canary answer",
            _ => "no second answer",
        };
        self.finish_as(Outcome::Skipped, Some(format!("{what}: {reason}")));
    }

    /// No control could be asked: what was seen was seen, and is less certain. Inventory is not worth
    /// that: its signatures rest on the controls.
    fn uncontrolled(&mut self, reason: &str) {
        if self.found.as_ref().is_none_or(|f| f.severity == Severity::Info) {
            return self.finish_as(Outcome::Error, Some(format!("no canary answer: {reason}")));
        }
        self.finish_as(Outcome::Exposed, Some(format!("not compared with a control: {reason}")));
    }

    fn finish_as(&mut self, outcome: Outcome, reason: Option<String>) {
        self.stage = Stage::Done;
        let reason = reason.map(|r| printable(r.as_bytes(), REASON_LIMIT));
        self.end = Some((outcome, reason));
    }
}

impl Probe {
    /// The check's id.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Check(check) => &check.id,
            Self::File(_) => "manifest",
        }
    }

    /// How bad a hit is, unless the content says otherwise.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Check(check) => check.severity,
            Self::File(file) => file.severity,
        }
    }

    fn title(&self) -> &str {
        match self {
            Self::Check(check) => &check.title,
            Self::File(file) => match file.class {
                Class::Execute => "Source code of this site is handed out instead of being run",
                _ => "A file of this site that must not be readable is handed out",
            },
        }
    }

    fn remedy(&self) -> &str {
        match self {
            Self::Check(check) => &check.remedy,
            Self::File(file) => match file.class {
                Class::Execute => {
                    "Restore the handler for this kind of file at once, then change every \
                     credential in the site's scripts."
                }
                _ => {
                    "Move the file out of the document root or deny it in the server, then change \
                     every credential in it."
                }
            },
        }
    }

    fn looks_at_any_status(&self) -> bool {
        matches!(self, Self::Check(check) if check.status != Answered::Content)
    }

    fn wants_canaries(&self) -> bool {
        match self {
            Self::Check(check) => check.canary,
            Self::File(_) => true,
        }
    }

    fn is_true(&self, content: &Content<'_>) -> Option<Hit> {
        match self {
            Self::Check(check) => rule::evaluate(check, content),
            Self::File(file) => {
                if content.status != Status::Content {
                    return None;
                }
                let label = match file.proven(content.bytes, content.truncated)? {
                    Proof::SameBytes => format!("{}, same bytes", file.what),
                    Proof::Lines(n) => format!("{}, {n} lines of it", file.what),
                };
                Some(Hit { label: Some(label), ..Hit::default() })
            }
        }
    }

    /// Whether it is true of the body whatever the status: bytes prove what is handed out, and a
    /// status does not take them back. Only where controls are made, and for what is more than
    /// inventory: that something exists is shown by a status alone.
    fn is_carried(&self, content: &Content<'_>) -> Option<Hit> {
        if content.status == Status::Content
            || !self.wants_canaries()
            || self.severity() == Severity::Info
            || matches!(self, Self::Check(check) if check.status != Answered::Content)
        {
            return None;
        }
        let hit = self.is_true(&content.as_if_content())?;
        (hit.severity != Some(Severity::Info)).then_some(hit)
    }

    fn signature(&self) -> &str {
        match self {
            Self::Check(check) => &check.signature,
            Self::File(_) => "the bytes of the file that lies in the document root",
        }
    }
}

/// Whether an answer that is no content by its status may carry a file: a page of the site's own
/// does not.
fn carries_file(body: &[u8]) -> bool {
    !body.trim_ascii_start().is_empty() && !gate::is_html(body)
}

fn status_reason(status: u16) -> String {
    format!("the server answered with status {status}")
}

/// The keyed digest of a body, 32 hexadecimal digits: tells nothing to those without the key, and
/// the owner which file it was.
#[must_use]
pub fn digest(key: &[u8; 32], body: &[u8]) -> String {
    let digest = Sha256::new().chain_update(key).chain_update(body).finalize();
    let mut hex = String::with_capacity(32);
    for byte in &digest[..16] {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

fn evidence(hit: Hit, probe: &Probe, response: &Response<'_>, key: &[u8; 32]) -> Evidence {
    Evidence {
        status: response.status,
        line: hit.line,
        length: response.body.len() as u64,
        digest: digest(key, response.body),
        masked: hit.masked.as_deref().map(|start| {
            let mut masked = printable(start, 4);
            masked.push('…');
            masked
        }),
        label: hit.label,
        signature: Some(probe.signature().to_owned()),
        repeated: false,
        sightings: None,
        canaries: Vec::new(),
    }
}

/// A path that cannot exist: the first has another stem in the same folder, which meets rules by
/// ending, the second the same name in another folder, which meets rules by name.
fn canary(path: &str, salt: u64, n: usize) -> String {
    let digest = Sha256::new()
        .chain_update(salt.to_be_bytes())
        .chain_update([u8::from(n > 0)])
        .chain_update(path)
        .finalize();
    let word: String = digest[..12].iter().map(|b| char::from(b'a' + b % 26)).collect();
    let (path, query) = match path.find('?') {
        Some(at) => path.split_at(at),
        None => (path, ""),
    };
    if let Some(folder) = path.strip_suffix('/') {
        let (parent, name) = folder.rsplit_once('/').unwrap_or(("", folder));
        return match n {
            0 => format!("{parent}/{word}/{query}"),
            _ => format!("/{word}/{name}/{query}"),
        };
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if n > 0 {
        return format!("/{word}/{name}{query}");
    }
    // A name that begins with a dot keeps it: some rules are about just that.
    if name.starts_with('.') {
        return format!("{folder}/.{word}{name}{query}");
    }
    let ending = name.find('.').map_or("", |dot| &name[dot..]);
    format!("{folder}/{word}{ending}{query}")
}
