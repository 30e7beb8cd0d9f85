//! The course of one path: hit, hit again, and no hit where nothing can be.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::catalogue::format::{AnswerSpec, Controls};
use super::catalogue::{ContentProbe, PathPlan};
use super::controls::{ControlRequest, is_in_root, is_same_page};
use super::gate::{self, GateStatus, PageContent};
use super::manifest::{FileClass, FileProof};
use super::rule::{self, RuleHit};
use super::to_printable;
use crate::observation::{CanaryResult, ContentOutcome, HttpEvidence, Severity, Sightings};

/// Most characters of a reason.
const REASON_LIMIT: usize = 256;

/// After a hit, so many answers without it are taken before it counts as seen once: one of several
/// servers behind an address may have it, or the site may have banned the template.
const MISSES: u32 = 4;

/// An answer.
#[derive(Clone, Copy)]
pub struct HttpResponse<'a> {
    /// Status code.
    pub status: u16,
    /// Where a redirect leads.
    pub location: Option<&'a str>,
    /// The header.
    pub fields: &'a dyn HeaderFields,
    /// What was read of the body, after [`decode`](super::decode).
    pub body: &'a [u8],
    /// Whether there is more of the body that was not read.
    pub truncated: bool,
    /// Length of the whole resource, bytes, where the server says it.
    pub total: Option<u64>,
    /// Why what is there of the body may prove a hit, and nothing else.
    pub flaw: Option<BodyFlaw>,
}

/// The header of an answer.
pub trait HeaderFields {
    /// Shows each field, in the order in which they came.
    fn each(&self, see: &mut dyn FnMut(&str, &[u8]));
}

/// No field.
impl HeaderFields for () {
    fn each(&self, _: &mut dyn FnMut(&str, &[u8])) {}
}

/// Fields as `Name: value`.
impl HeaderFields for Vec<String> {
    fn each(&self, see: &mut dyn FnMut(&str, &[u8])) {
        for (name, value) in self.iter().filter_map(|f| f.split_once(':')) {
            see(name.trim(), value.trim().as_bytes());
        }
    }
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
pub struct CheckFailure {
    /// `Error`, `Malformed` or `Skipped`; anything else counts as `Error`.
    pub outcome: ContentOutcome,
    /// Why.
    pub reason: String,
}

/// How a path ended. Holds nothing of the content but what [`HttpEvidence`] has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FinishedCheck {
    /// The check's id; without a hit, that of the path's first check.
    pub check: String,
    /// How it ended.
    pub outcome: ContentOutcome,
    /// As the content has it, or else the check's.
    pub severity: Severity,
    /// Of the first hit.
    pub evidence: Option<HttpEvidence>,
    /// For `Error`, `Malformed`, `Skipped`, `Unstable` and `CatchAll`.
    pub reason: Option<String>,
    /// What is exposed, in a line; for `Exposed`.
    pub title: Option<String>,
    /// What to do about it; for `Exposed`.
    pub remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CheckStage {
    First,
    Repeat,
    Control(ControlRequest),
    Done,
}

impl ContentHit<'_> {
    /// Whether the hit is the page of which the first control and this one are two.
    fn is_page(&self, path: &str, second: Option<&PageContent<'_>>) -> bool {
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
    fn has_body(&self, content: &PageContent<'_>, hit: &str, control: &str) -> bool {
        let is_served = |body: &[u8]| self.served.iter().any(|b| **b == *body);
        self.bodies.iter().any(|b| **b == *content.text)
            || is_served(content.bytes)
            || is_served(&gate::replace_all(content.bytes, control.as_bytes(), hit.as_bytes()))
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
    stage: CheckStage,
    found: Option<ContentHit<'a>>,
    /// Answers to the path itself, with the hit and in all.
    seen: u32,
    asked: u32,
    /// Answers without a hit that are still to be taken before the path counts as without one.
    patience: u32,
    end: Option<(ContentOutcome, Option<String>)>,
}

/// A check, and how it is true of an answer.
type ProvenHit<'a> = (&'a ContentProbe, RuleHit);

/// A hit in work. It holds what was served, so it has no `Debug`.
struct ContentHit<'a> {
    probe: &'a ContentProbe,
    severity: Severity,
    evidence: HttpEvidence,
    /// The bytes are those of a file that must not be readable: no control can refute that.
    certain: bool,
    /// A check that is true as well, and about every path of the site.
    everywhere: Option<(&'a ContentProbe, RuleHit)>,
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
    /// nobody can prepare for them. The digests in the evidence are keyed so that they mean
    /// nothing to those without the key.
    #[must_use]
    pub const fn new(plan: &'a PathPlan, salt: u64, evidence_key: &'a [u8; 32]) -> Self {
        Self {
            plan,
            salt,
            key: evidence_key,
            control: String::new(),
            stage: CheckStage::First,
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
            CheckStage::First => self.asked > 0,
            CheckStage::Repeat => self.asked > self.seen,
            CheckStage::Control(_) | CheckStage::Done => false,
        }
    }

    /// Whether a check is true of this answer to the path itself.
    #[must_use]
    pub fn is_hit(&self, response: &HttpResponse<'_>) -> bool {
        self.hits(&PageContent::new(response, &self.plan.path), response).1.is_some()
    }

    /// The path to ask for next, with GET; nothing when there is a result.
    #[must_use]
    pub fn next_request(&self) -> Option<&str> {
        match self.stage {
            CheckStage::First | CheckStage::Repeat => Some(&self.plan.path),
            CheckStage::Control(_) => Some(&self.control),
            CheckStage::Done => None,
        }
    }

    /// Takes the answer to [`next_request`](Self::next_request).
    pub fn response(&mut self, response: &HttpResponse<'_>) {
        match self.stage {
            CheckStage::First => self.first(response),
            CheckStage::Repeat => self.again(response),
            CheckStage::Control(control) => self.control(control, response),
            CheckStage::Done => {}
        }
    }

    /// Takes that there was no answer to [`next_request`](Self::next_request).
    pub fn failure(&mut self, failure: CheckFailure) {
        let outcome = match failure.outcome {
            ContentOutcome::Malformed => ContentOutcome::Malformed,
            ContentOutcome::Skipped => ContentOutcome::Skipped,
            _ => ContentOutcome::Error,
        };
        match self.stage {
            CheckStage::Done => {}
            CheckStage::First => self.finish_as(outcome, Some(failure.reason)),
            CheckStage::Repeat | CheckStage::Control(_) if outcome == ContentOutcome::Skipped => {
                self.lost(&failure.reason);
            }
            // Whoever hands out a file and then answers no more has handed it out.
            CheckStage::Repeat => {
                self.asked += 1;
                self.confirmed();
            }
            CheckStage::Control(_) => self.uncontrolled(&failure.reason),
        }
    }

    /// The result, once there is one.
    #[must_use]
    pub fn finish(&self) -> Option<FinishedCheck> {
        let (outcome, reason) = self.end.clone()?;
        let probe = self.found.as_ref().map(|f| f.probe).or_else(|| self.plan.probes.first())?;
        let exposed = outcome == ContentOutcome::Exposed;
        Some(FinishedCheck {
            check: probe.id().to_owned(),
            outcome,
            severity: self.found.as_ref().map_or_else(|| probe.severity(), |f| f.severity),
            evidence: self.found.as_ref().map(|f| f.evidence.clone()),
            reason,
            title: exposed.then(|| probe.title().to_owned()),
            remedy: exposed.then(|| probe.remedy().to_owned()),
        })
    }

    /// What is true of an answer to the path itself: the first check about every path of the site,
    /// and the worst of the others.
    fn hits(
        &self,
        content: &PageContent<'_>,
        response: &HttpResponse<'_>,
    ) -> (Option<ProvenHit<'a>>, Option<ProvenHit<'a>>) {
        let plan = self.plan;
        // Nearly all answers are "not found" with a page: nothing is made for them.
        let is_content = content.status == GateStatus::Content;
        let carries = !is_content && carries_file(response.body);
        if !is_content && !carries && !plan.probes.iter().any(ContentProbe::looks_at_any_status) {
            return (None, None);
        }
        let hits = plan.probes.iter().filter_map(|probe| {
            let carried = || carries.then(|| probe.is_carried(content)).flatten();
            Some((probe, probe.is_true(content).or_else(carried)?))
        });
        let (everywhere, hits): (Vec<_>, Vec<_>) =
            hits.partition(|(probe, _)| probe.controls() == Controls::Everywhere);
        // The worst counts; of equals the first, which is the more particular one.
        let worst = hits.into_iter().reduce(|worst, hit| {
            if select_severity(&hit) > select_severity(&worst) { hit } else { worst }
        });
        (everywhere.into_iter().next(), worst)
    }

    fn first(&mut self, response: &HttpResponse<'_>) {
        self.asked += 1;
        let status = gate::classify_status(response.status);
        let may_hit = status == GateStatus::Content
            || carries_file(response.body)
            || self.plan.probes.iter().any(ContentProbe::looks_at_any_status);
        if may_hit {
            let content = PageContent::new(response, &self.plan.path);
            if let (everywhere, Some((probe, hit))) = self.hits(&content, response) {
                self.seen += 1;
                self.found = Some(ContentHit {
                    probe,
                    severity: hit.severity.unwrap_or_else(|| probe.severity()),
                    certain: hit.certain,
                    evidence: build_evidence(hit, probe, response, self.key),
                    everywhere,
                    served: vec![content.bytes.to_owned()],
                    bodies: vec![content.text.into_owned()],
                    other: Vec::new(),
                    other_served: Vec::new(),
                });
                self.stage = CheckStage::Repeat;
                return;
            }
        }
        if self.patience > 0 {
            self.patience -= 1;
            return;
        }
        match status {
            GateStatus::Content if response.flaw.is_some() => {
                let reason = response.flaw.map(|f| f.reason().to_owned());
                self.finish_as(ContentOutcome::Error, reason);
            }
            GateStatus::Content | GateStatus::Redirect | GateStatus::Other => {
                self.finish_as(ContentOutcome::Absent, None)
            }
            GateStatus::Protected => self.finish_as(ContentOutcome::Protected, None),
            GateStatus::Failed => {
                self.finish_as(ContentOutcome::Error, Some(describe_status(response.status)))
            }
        }
    }

    fn again(&mut self, response: &HttpResponse<'_>) {
        self.asked += 1;
        let content = PageContent::new(response, &self.plan.path);
        if self.is_true_again(&content) {
            self.seen += 1;
            if let Some(found) = &mut self.found {
                found.served.push(content.bytes.to_owned());
                found.bodies.push(content.text.into_owned());
            }
            self.confirmed();
        } else if self.found.as_ref().is_some_and(|f| f.severity == Severity::Info) {
            // That something exists is shown by every answer or by none.
            let reason =
                format!("true of the first answer, not of the second (status {})", response.status);
            self.finish_as(ContentOutcome::Unstable, Some(reason));
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
        if found.probe.controls() == Controls::None {
            self.finish_as(ContentOutcome::Exposed, None);
        } else {
            self.ask(ControlRequest::Stem(0));
        }
    }

    fn control(&mut self, control: ControlRequest, response: &HttpResponse<'_>) {
        let content = PageContent::new(response, &self.control);
        let has_signature = match control {
            ControlRequest::Bare | ControlRequest::Deep => self.is_everywhere(&content),
            _ => self.is_true_again(&content),
        };
        // "Later" is no answer. "Internal error" is one: some sites say so to every unknown path.
        if !has_signature && gate::is_postponed(response.status) {
            // A hit that was itself put off shows nothing that this answer does not: the site says it to
            // everything.
            if self.found.as_ref().is_some_and(|f| gate::is_postponed(f.evidence.status)) {
                return self.lost(&describe_status(response.status));
            }
            return self.uncontrolled(&describe_status(response.status));
        }
        let Some(found) = &mut self.found else { return };
        if found.certain {
            // Asked for the report alone: no answer can refute the bytes of a known file.
            if !has_signature {
                let path = std::mem::take(&mut self.control);
                found.evidence.canaries.push(CanaryResult { path, status: response.status });
            }
            return match control {
                ControlRequest::Stem(_) => self.ask(ControlRequest::Folder(0)),
                _ => self.finish_as(ContentOutcome::Exposed, None),
            };
        }
        let strict = found.probe.controls() == Controls::Signature;
        let has_body = has_signature && found.has_body(&content, &self.plan.path, &self.control);
        let same = match control {
            ControlRequest::Stem(0) | ControlRequest::Folder(0) => {
                has_signature && strict || has_body
            }
            ControlRequest::Root => has_body,
            // The second of two controls shows what varies, unless it has not the signature.
            ControlRequest::Stem(_) | ControlRequest::Folder(_) => {
                found.is_page(&self.plan.path, has_signature.then_some(&content))
            }
            _ => has_signature && (has_body || found.is_page(&self.plan.path, Some(&content))),
        };
        // The hit's own bytes below a folder that cannot exist, and no page for every name: the
        // site strips folders, and the file is real.
        let alias = same && control == ControlRequest::Folder(0) && !strict;
        if !same {
            let path = std::mem::take(&mut self.control);
            found.evidence.canaries.push(CanaryResult { path, status: response.status });
        }
        match control {
            ControlRequest::Stem(_) if same && found.everywhere.is_some() => {
                self.ask(ControlRequest::Bare)
            }
            ControlRequest::Bare if same => self.ask(ControlRequest::Deep),
            ControlRequest::Deep if same => self.be_everywhere(),
            ControlRequest::Bare | ControlRequest::Deep => self.refute(),
            ControlRequest::Folder(0) if alias && is_in_root(&self.plan.path) => {
                self.ask(ControlRequest::Longer)
            }
            // A site with an answer for every name may have one for this name in every folder.
            ControlRequest::Folder(0) if alias && has_content(&found.evidence.canaries) => {
                self.refute()
            }
            ControlRequest::Folder(0) if alias => self.ask(ControlRequest::Root),
            // The file lies in the root, and the folder is one of many that do not matter.
            ControlRequest::Root if same => self.refute(),
            ControlRequest::Root => self.ask(ControlRequest::Longer),
            _ if same => self.refute(),
            // The same signature, and another body: a second control shows what varies.
            ControlRequest::Stem(0) | ControlRequest::Folder(0) if has_signature => {
                found.other_served = content.bytes.to_owned();
                found.other = content.text.into_owned();
                self.ask(match control {
                    ControlRequest::Stem(_) => ControlRequest::Stem(1),
                    _ => ControlRequest::Folder(1),
                });
            }
            ControlRequest::Stem(_) => self.ask(ControlRequest::Folder(0)),
            ControlRequest::Longer => self.ask(ControlRequest::Extended),
            ControlRequest::Folder(_) | ControlRequest::Extended => {
                self.finish_as(ContentOutcome::Exposed, None)
            }
        }
    }

    fn ask(&mut self, control: ControlRequest) {
        self.control = control.path(&self.plan.path, self.salt);
        self.stage = CheckStage::Control(control);
    }

    fn is_true_again(&self, content: &PageContent<'_>) -> bool {
        self.found.as_ref().is_some_and(|f| {
            f.probe.is_true(content).is_some() || f.probe.is_carried(content).is_some()
        })
    }

    /// Whether the bytes are those of a known file, which no control can refute.
    fn is_certain(&self) -> bool {
        self.found.as_ref().is_some_and(|f| f.certain)
    }

    fn is_everywhere(&self, content: &PageContent<'_>) -> bool {
        let everywhere = self.found.as_ref().and_then(|f| f.everywhere.as_ref());
        everywhere.is_some_and(|(probe, _)| probe.is_true(content).is_some())
    }

    fn refute(&mut self) {
        let reason = "a path that cannot exist has the same content".to_owned();
        self.finish_as(ContentOutcome::CatchAll, Some(reason));
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
        self.finish_as(ContentOutcome::Exposed, None);
    }

    /// Stopped before the proof came to its end.
    fn lost(&mut self, reason: &str) {
        let what = match self.stage {
            CheckStage::Control(_) => "no canary answer",
            _ => "no second answer",
        };
        if self.is_certain() && matches!(self.stage, CheckStage::Control(_)) {
            return self.finish_as(ContentOutcome::Exposed, None);
        }
        self.finish_as(ContentOutcome::Skipped, Some(format!("{what}: {reason}")));
    }

    /// No control could be asked: what was seen was seen, and is less certain. Inventory is not worth
    /// that: its signatures rest on the controls.
    fn uncontrolled(&mut self, reason: &str) {
        if self.is_certain() {
            return self.finish_as(ContentOutcome::Exposed, None);
        }
        if self.found.as_ref().is_none_or(|f| f.severity == Severity::Info) {
            return self
                .finish_as(ContentOutcome::Error, Some(format!("no canary answer: {reason}")));
        }
        self.finish_as(
            ContentOutcome::Exposed,
            Some(format!("not compared with a control: {reason}")),
        );
    }

    fn finish_as(&mut self, outcome: ContentOutcome, reason: Option<String>) {
        self.stage = CheckStage::Done;
        let reason = reason.map(|r| to_printable(r.as_bytes(), REASON_LIMIT));
        self.end = Some((outcome, reason));
    }
}

impl ContentProbe {
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
                FileClass::Execute => "Source code of this site is handed out instead of being run",
                _ => "A file of this site that must not be readable is handed out",
            },
        }
    }

    fn remedy(&self) -> &str {
        match self {
            Self::Check(check) => &check.remedy,
            Self::File(file) => match file.class {
                FileClass::Execute => {
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
        matches!(self, Self::Check(check) if check.status != AnswerSpec::Content)
    }

    fn controls(&self) -> Controls {
        match self {
            Self::Check(check) => check.controls,
            Self::File(_) => Controls::Page,
        }
    }

    fn is_true(&self, content: &PageContent<'_>) -> Option<RuleHit> {
        match self {
            Self::Check(check) => rule::evaluate(check, content),
            Self::File(file) => {
                if content.status != GateStatus::Content {
                    return None;
                }
                let proof = file.proven(content.bytes, content.truncated)?;
                let label = match proof {
                    FileProof::SameBytes => format!("{}, same bytes", file.what),
                    FileProof::Lines(n) => format!("{}, {n} lines of it", file.what),
                };
                let certain = proof == FileProof::SameBytes;
                Some(RuleHit { label: Some(label), certain, ..RuleHit::default() })
            }
        }
    }

    /// Whether it is true of the body whatever the status: bytes prove what is handed out, and a
    /// status does not take them back. Only where controls are made, and for what is more than
    /// inventory: that something exists is shown by a status alone.
    fn is_carried(&self, content: &PageContent<'_>) -> Option<RuleHit> {
        if content.status == GateStatus::Content
            || self.controls() == Controls::None
            || self.severity() == Severity::Info
            || matches!(self, Self::Check(check) if check.status != AnswerSpec::Content)
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

fn select_severity((probe, hit): &(&ContentProbe, RuleHit)) -> Severity {
    hit.severity.unwrap_or_else(|| probe.severity())
}

/// Whether any control brought content.
fn has_content(controls: &[CanaryResult]) -> bool {
    controls.iter().any(|control| gate::classify_status(control.status) == GateStatus::Content)
}

/// Whether an answer that is no content by its status may carry a file: a page of the site's own
/// does not.
fn carries_file(body: &[u8]) -> bool {
    !body.trim_ascii_start().is_empty() && !gate::is_html(body)
}

fn describe_status(status: u16) -> String {
    format!("the server answered with status {status}")
}

/// The keyed digest of a body, 32 hexadecimal digits: means nothing to those without the key, and
/// shows the owner which file it was.
#[must_use]
pub fn hash_with_key(key: &[u8; 32], body: &[u8]) -> String {
    let digest = Sha256::new().chain_update(key).chain_update(body).finalize();
    mimawari_targets::hex::encode(&digest[..16])
}

fn build_evidence(
    hit: RuleHit,
    probe: &ContentProbe,
    response: &HttpResponse<'_>,
    key: &[u8; 32],
) -> HttpEvidence {
    HttpEvidence {
        status: response.status,
        line: hit.line,
        length: response.body.len() as u64,
        digest: hash_with_key(key, response.body),
        masked: hit.masked.as_deref().map(|start| {
            let mut masked = to_printable(start, 4);
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
