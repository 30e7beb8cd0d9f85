//! The course of one path: hit, hit again, and no hit where nothing can be.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::catalogue::format::{Answered, Controls};
use super::catalogue::{PathPlan, Probe};
use super::controls::{Control, is_in_root, is_same_page};
use super::gate::{self, Content, Status};
use super::manifest::{Class, Proof};
use super::printable;
use super::rule::{self, Hit};
use crate::observation::{Canary, Evidence, Outcome, Severity};

/// Most characters of a reason.
const REASON_LIMIT: usize = 256;

/// An answer.
#[derive(Clone, Copy)]
pub struct Response<'a> {
    /// Status code.
    pub status: u16,
    /// Where a redirect leads. Redirects are never followed.
    pub location: Option<&'a str>,
    /// What was read of the body, after [`decode`](super::decode).
    pub body: &'a [u8],
    /// Whether there is more of the body that was not read.
    pub truncated: bool,
    /// Length of the whole resource, bytes, where the server told it.
    pub total: Option<u64>,
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
    /// What is exposed, in a line; for `Exposed`.
    pub title: Option<String>,
    /// What to do about it; for `Exposed`.
    pub remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    First,
    Repeat,
    Control(Control),
    Done,
}

impl Found<'_> {
    /// Whether the hit is the page of which the first control and this one are two.
    fn is_page(&self, path: &str, second: Option<&Content<'_>>) -> bool {
        let (text, served) = match second {
            Some(second) => (&*second.text, second.bytes),
            None => (&self.other[..], &self.other_served[..]),
        };
        // Of the controls whose first has another body alone; of the others this one is both.
        let (first, first_served) = match (self.other.is_empty(), second) {
            (true, _) => (text, served),
            (false, _) => (&self.other[..], &self.other_served[..]),
        };
        is_same_page(path, &self.bodies, first, text)
            || is_same_page(path, &self.served, first_served, served)
    }

    /// Whether an answer has the hit's own body: without the path that was asked for, with it, or
    /// with the hit's path in its place, since the hit's path may stand in the page as such.
    fn has_body(&self, content: &Content<'_>, hit: &str, control: &str) -> bool {
        let is_served = |body: &[u8]| self.served.iter().any(|b| **b == *body);
        self.bodies.iter().any(|b| **b == *content.text)
            || is_served(content.bytes)
            || is_served(&gate::replaced(content.bytes, control.as_bytes(), hit.as_bytes()))
    }
}

/// The course of one path on one target. A hit takes four requests; up to nine where paths that
/// cannot exist have the hit's signature, too.
pub struct PathCheck<'a> {
    plan: &'a PathPlan,
    salt: u64,
    key: &'a [u8; 32],
    /// The path of the control in work.
    control: String,
    stage: Stage,
    found: Option<Found<'a>>,
    end: Option<(Outcome, Option<String>)>,
}

/// A hit in work. It holds what was served, so it has no `Debug`.
struct Found<'a> {
    probe: &'a Probe,
    severity: Severity,
    evidence: Evidence,
    /// The bytes are those of a file that must not be readable: no control can refute that.
    certain: bool,
    /// A check that is true as well, and about every path of the site.
    everywhere: Option<(&'a Probe, Hit)>,
    /// The bodies of both answers, without the requested path.
    bodies: Vec<Vec<u8>>,
    /// The same as they were served.
    served: Vec<Vec<u8>>,
    /// That of a control which has the signature, and another content.
    other: Vec<u8>,
    other_served: Vec<u8>,
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
            control: String::new(),
            stage: Stage::First,
            found: None,
            end: None,
        }
    }

    /// The path to ask for next, with GET; nothing when there is a result.
    #[must_use]
    pub fn next_request(&self) -> Option<&str> {
        match self.stage {
            Stage::First | Stage::Repeat => Some(&self.plan.path),
            Stage::Control(_) => Some(&self.control),
            Stage::Done => None,
        }
    }

    /// Takes the answer to [`next_request`](Self::next_request).
    pub fn response(&mut self, response: &Response<'_>) {
        match self.stage {
            Stage::First => self.first(response),
            Stage::Repeat => self.again(response),
            Stage::Control(control) => self.control(control, response),
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
            Stage::Repeat | Stage::Control(_) => self.lost(outcome, &failure.reason),
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

    fn first(&mut self, response: &Response<'_>) {
        let status = gate::status(response.status);
        let probes = &self.plan.probes;
        // Nearly all answers are "not found": nothing is made for them.
        if status == Status::Content || probes.iter().any(Probe::looks_at_any_status) {
            let content = Content::new(response, &self.plan.path);
            let hits = probes.iter().filter_map(|probe| Some((probe, probe.is_true(&content)?)));
            let (everywhere, hits): (Vec<_>, Vec<_>) =
                hits.partition(|(probe, _)| probe.controls() == Controls::Everywhere);
            // The worst counts; of equals the first, which is the more particular one.
            let worst = hits
                .into_iter()
                .reduce(|worst, hit| if severity(&hit) > severity(&worst) { hit } else { worst });
            if let Some((probe, hit)) = worst {
                self.found = Some(Found {
                    probe,
                    severity: hit.severity.unwrap_or_else(|| probe.severity()),
                    certain: hit.certain,
                    evidence: evidence(hit, probe, response, self.key),
                    everywhere: everywhere.into_iter().next(),
                    bodies: vec![content.text.into_owned()],
                    served: vec![content.bytes.to_owned()],
                    other: Vec::new(),
                    other_served: Vec::new(),
                });
                self.stage = Stage::Repeat;
                return;
            }
        }
        match status {
            Status::Content | Status::Redirect | Status::Other => {
                self.finish_as(Outcome::Absent, None)
            }
            Status::Protected => self.finish_as(Outcome::Protected, None),
            Status::Failed => self.finish_as(Outcome::Error, Some(status_reason(response.status))),
        }
    }

    fn again(&mut self, response: &Response<'_>) {
        let content = Content::new(response, &self.plan.path);
        if self.is_true_again(&content) {
            let Some(found) = &mut self.found else { return };
            found.evidence.repeated = true;
            found.bodies.push(content.text.into_owned());
            found.served.push(content.bytes.to_owned());
            if found.probe.controls() == Controls::None {
                self.finish_as(Outcome::Exposed, None);
            } else {
                self.ask(Control::Stem(0));
            }
        } else if gate::status(response.status) == Status::Failed {
            self.lost(Outcome::Error, &status_reason(response.status));
        } else {
            let reason =
                format!("true of the first answer, not of the second (status {})", response.status);
            self.finish_as(Outcome::Unstable, Some(reason));
        }
    }

    fn control(&mut self, control: Control, response: &Response<'_>) {
        let content = Content::new(response, &self.control);
        let has_signature = match control {
            Control::Bare | Control::Deep => self.is_everywhere(&content),
            _ => self.is_true_again(&content),
        };
        // "Later" is no answer. "Internal error" is one: some sites say so to every unknown path.
        if !has_signature && gate::is_postponed(response.status) {
            return self.lost(Outcome::Error, &status_reason(response.status));
        }
        let Some(found) = &mut self.found else { return };
        if found.certain {
            // Asked for the report alone: no answer can refute the bytes of a known file.
            if !has_signature {
                let path = std::mem::take(&mut self.control);
                found.evidence.canaries.push(Canary { path, status: response.status });
            }
            return match control {
                Control::Stem(_) => self.ask(Control::Folder(0)),
                _ => self.finish_as(Outcome::Exposed, None),
            };
        }
        let strict = found.probe.controls() == Controls::Signature;
        let has_body = has_signature && found.has_body(&content, &self.plan.path, &self.control);
        let same = match control {
            Control::Stem(0) | Control::Folder(0) => has_signature && strict || has_body,
            // The second of two controls shows what varies, unless it has not the signature.
            Control::Stem(_) | Control::Folder(_) => {
                found.is_page(&self.plan.path, has_signature.then_some(&content))
            }
            _ => has_signature && (has_body || found.is_page(&self.plan.path, Some(&content))),
        };
        // The hit's own bytes below a folder that cannot exist, and no page for every name: the
        // site strips folders, and the file is real.
        let alias = same && control == Control::Folder(0) && !strict && is_in_root(&self.plan.path);
        if !same {
            let path = std::mem::take(&mut self.control);
            found.evidence.canaries.push(Canary { path, status: response.status });
        }
        match control {
            Control::Stem(_) if same && found.everywhere.is_some() => self.ask(Control::Bare),
            Control::Bare if same => self.ask(Control::Deep),
            Control::Deep if same => self.be_everywhere(),
            Control::Bare | Control::Deep => self.refute(),
            Control::Folder(0) if alias => self.ask(Control::Longer),
            _ if same => self.refute(),
            // The same signature, and another body: a second control shows what varies.
            Control::Stem(0) | Control::Folder(0) if has_signature => {
                found.other_served = content.bytes.to_owned();
                found.other = content.text.into_owned();
                self.ask(match control {
                    Control::Stem(_) => Control::Stem(1),
                    _ => Control::Folder(1),
                });
            }
            Control::Stem(_) => self.ask(Control::Folder(0)),
            Control::Longer => self.ask(Control::Extended),
            Control::Folder(_) | Control::Extended => self.finish_as(Outcome::Exposed, None),
        }
    }

    fn ask(&mut self, control: Control) {
        self.control = control.path(&self.plan.path, self.salt);
        self.stage = Stage::Control(control);
    }

    fn is_true_again(&self, content: &Content<'_>) -> bool {
        self.found.as_ref().is_some_and(|f| f.probe.is_true(content).is_some())
    }

    fn is_everywhere(&self, content: &Content<'_>) -> bool {
        let everywhere = self.found.as_ref().and_then(|f| f.everywhere.as_ref());
        everywhere.is_some_and(|(probe, _)| probe.is_true(content).is_some())
    }

    fn refute(&mut self) {
        let reason = "a path that cannot exist has the same content".to_owned();
        self.finish_as(Outcome::CatchAll, Some(reason));
    }

    /// Every path has the content, and that is the finding.
    fn be_everywhere(&mut self) {
        let Some(found) = &mut self.found else { return };
        let Some((probe, hit)) = found.everywhere.take() else { return };
        found.severity = hit.severity.unwrap_or_else(|| probe.severity());
        found.probe = probe;
        found.evidence.label = hit.label;
        found.evidence.signature = Some(probe.signature().to_owned());
        found.evidence.canaries.clear();
        self.finish_as(Outcome::Exposed, None);
    }

    /// A hit whose proof could not be brought to its end is none.
    fn lost(&mut self, outcome: Outcome, reason: &str) {
        let what = match self.stage {
            Stage::Control(_) => "no canary answer",
            _ => "no second answer",
        };
        let certain = self.found.as_ref().is_some_and(|f| f.certain);
        if certain && matches!(self.stage, Stage::Control(_)) {
            return self.finish_as(Outcome::Exposed, None);
        }
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

    fn controls(&self) -> Controls {
        match self {
            Self::Check(check) => check.controls,
            Self::File(_) => Controls::Page,
        }
    }

    fn is_true(&self, content: &Content<'_>) -> Option<Hit> {
        match self {
            Self::Check(check) => rule::evaluate(check, content),
            Self::File(file) => {
                if content.status != Status::Content {
                    return None;
                }
                let proof = file.proven(content.bytes, content.truncated)?;
                let label = match proof {
                    Proof::SameBytes => format!("{}, same bytes", file.what),
                    Proof::Lines(n) => format!("{}, {n} lines of it", file.what),
                };
                let certain = proof == Proof::SameBytes;
                Some(Hit { label: Some(label), certain, ..Hit::default() })
            }
        }
    }

    fn signature(&self) -> &str {
        match self {
            Self::Check(check) => &check.signature,
            Self::File(_) => "the bytes of the file that lies in the document root",
        }
    }
}

fn severity((probe, hit): &(&Probe, Hit)) -> Severity {
    hit.severity.unwrap_or_else(|| probe.severity())
}

fn status_reason(status: u16) -> String {
    format!("the server answered with status {status}")
}

/// The keyed digest of a body, 32 hexadecimal digits: tells nothing to those without the key, and
/// the owner which file it was.
#[must_use]
pub fn digest(key: &[u8; 32], body: &[u8]) -> String {
    let digest = Sha256::new().chain_update(key).chain_update(body).finalize();
    mimawari_targets::hex::encode(&digest[..16])
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
        canaries: Vec::new(),
    }
}
