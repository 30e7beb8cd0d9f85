//! Why a cell or a content is judged as it is: what is known of it, the rule that decides, and the
//! rules that nearly would.

use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;
use mimawari_probes::observation::{CellState, UrlScheme};
use mimawari_targets::{AddrSet, Cell, Port, Protocol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::baseline::{Baseline, Decision, DecisionFacts, RuleExpect, RuleHead, RuleMatch};
use crate::id::FindingId;
use crate::impact::RuleRef;
use crate::state::{AllowedPort, State};
use crate::subject::Subject;
use crate::verdict::{Acknowledgement, Finding, FindingState, NearestRule};

/// Version of the format.
pub const VERSION: u32 = 1;
/// Nearest rules that are shown.
pub const MAX_NEAREST: usize = 3;
/// Answers to one question: a name may be served at many addresses.
const MAX_ANSWERS: usize = 20;
/// Other findings that are pointed at.
const MAX_POINTERS: usize = 5;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExplainQuestion {
    /// A cell.
    Cell(Cell),
    /// A content: scheme, host as in the URL without brackets, port, path with its query.
    Url(UrlScheme, String, Port, String),
    /// A finding by its id.
    Finding(String),
}

/// Why a question was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// None of the forms.
    #[error("it is neither IP:PORT, nor a URL, nor the id of a finding")]
    Form,
    /// A URL without a host, or with a port that is none.
    #[error("it is not a URL of http or https")]
    Url,
}

impl FromStr for ExplainQuestion {
    type Err = QuestionError;

    fn from_str(s: &str) -> Result<Self, QuestionError> {
        if s.len() == 16 && s.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(Self::Finding(s.to_ascii_lowercase()));
        }
        for (prefix, scheme) in [("http://", UrlScheme::Http), ("https://", UrlScheme::Https)] {
            if s.get(..prefix.len()).is_some_and(|p| p.eq_ignore_ascii_case(prefix)) {
                return parse_url(scheme, &s[prefix.len()..]).ok_or(QuestionError::Url);
            }
        }
        s.parse().map(Self::Cell).map_err(|_| QuestionError::Form)
    }
}

/// Authority and path of a URL (RFC 3986, section 3.2).
fn parse_url(scheme: UrlScheme, rest: &str) -> Option<ExplainQuestion> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = authority.rsplit_once('@').map_or(authority, |(_, at)| at);
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (ip, port) = v6.split_once(']')?;
            (ip, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        None => Port::new(scheme.default_port())?,
        Some(p) => Port::new(p.parse().ok()?)?,
    };
    let path = path.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    (!host.is_empty()).then(|| ExplainQuestion::Url(scheme, host.to_ascii_lowercase(), port, path))
}

/// Where the thing stands, as a person asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleStanding {
    /// A live rule allows it, and it was never seen.
    AllowedUnseen,
    /// A live rule forbids it, and it was never seen.
    ForbiddenUnseen,
    /// No live rule allows it, and it was never seen.
    NeverSeen,
    /// Its address is not in the scope: nobody looks.
    NotInScope,
    /// As the finding's state says.
    #[serde(untagged)]
    Finding(FindingState),
}

/// An answer to a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RuleExplanation {
    /// Format version, [`VERSION`].
    pub version: u32,
    /// What was asked for.
    pub asked: String,
    /// What it means; empty where nothing is known. A URL may mean several addresses.
    pub answers: Vec<ExplainAnswer>,
    /// What has to be said besides, one sentence each.
    pub notes: Vec<String>,
}

/// What is known of one cell or content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainAnswer {
    /// Address.
    pub ip: IpAddr,
    /// Protocol.
    #[schemars(with = "String")]
    pub proto: Protocol,
    /// Port; absent for a whole host.
    #[schemars(with = "Option<u16>")]
    pub port: Option<Port>,
    /// Virtual host, for content.
    pub host: Option<String>,
    /// Path, for content.
    pub path: Option<String>,
    /// Check, for content.
    pub check: Option<String>,
    /// Where it stands.
    pub standing: RuleStanding,
    /// Why, in a sentence.
    pub why: String,
    /// The finding, if there ever was one.
    pub finding: Option<Finding>,
    /// The rule that decides.
    pub rule: Option<ExplainedRule>,
    /// When it was first seen; of what is required when it was first missed.
    #[schemars(with = "Option<String>")]
    pub first_seen: Option<Timestamp>,
    /// When it was last seen, or missed.
    #[schemars(with = "Option<String>")]
    pub last_seen: Option<Timestamp>,
    /// When its port was last covered.
    pub covered: LastCovered,
    /// Who knows of it.
    pub acknowledged: Option<Acknowledgement>,
    /// The rules that come nearest besides, best first; none for what is allowed.
    pub nearest: Vec<NearestRule>,
    /// What has to be said besides, one sentence each.
    pub notes: Vec<String>,
}

/// The rule that decides, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedRule {
    /// The rule.
    pub rule: RuleRef,
    /// May, must or never; absent for a rule about contents.
    pub expect: Option<RuleExpect>,
    /// Whether it holds now.
    pub live: bool,
    /// The commit that brought its line.
    pub commit: Option<RuleCommit>,
    /// Why the commit is not known, as half a sentence.
    pub commit_unknown: Option<String>,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleCommit {
    /// Its id, hex.
    pub id: String,
    /// Its author's name.
    pub author: String,
    /// When it was written.
    #[schemars(with = "Option<String>")]
    pub at: Option<Timestamp>,
    /// Its first line.
    pub summary: String,
}

/// When a cell was last covered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastCovered {
    /// The start of the run that covered it, to be on the safe side; absent if that is not known.
    #[schemars(with = "Option<String>")]
    pub at: Option<Timestamp>,
    /// What it was then; absent if only its part of the plan is known to have been covered.
    #[schemars(with = "Option<String>")]
    pub state: Option<CellState>,
    /// How that is known, or why it is not, as half a sentence.
    pub how: String,
}

/// What is known.
pub struct KnownFinding<'a> {
    /// The rules.
    pub baseline: &'a Baseline,
    /// The state, after the newest run was judged if there is one.
    pub state: &'a State,
    /// Now.
    pub now: Timestamp,
    /// From where the question is asked, if nothing was seen.
    pub vantage: &'a str,
    /// Whether an address is in the scope.
    pub in_scope: &'a dyn Fn(IpAddr) -> bool,
    /// When a cell was last covered.
    pub covered: &'a dyn Fn(Cell) -> LastCovered,
}

/// One thing, with what is known of it besides.
struct QueriedSubject<'a> {
    subject: Subject,
    check: Option<&'a str>,
    vantage: &'a str,
    /// Whether it is required and missing.
    missing: bool,
}

impl<'a> QueriedSubject<'a> {
    fn of(f: &'a Finding) -> Self {
        Self {
            subject: f.subject(),
            check: f.check.as_deref(),
            vantage: &f.vantage,
            missing: f.kind.is_requirement(),
        }
    }
}

impl KnownFinding<'_> {
    /// Answers a question. Nothing is looked up anywhere else.
    #[must_use]
    pub fn explain(&self, asked: &str, question: &ExplainQuestion) -> RuleExplanation {
        let mut notes = Vec::new();
        let answers = match question {
            ExplainQuestion::Cell(cell) => vec![self.cell(*cell)],
            ExplainQuestion::Finding(id) => self.finding(id).into_iter().collect(),
            ExplainQuestion::Url(_, host, port, path) => self.url(host, *port, path, &mut notes),
        };
        RuleExplanation { version: VERSION, asked: asked.to_owned(), answers, notes }
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.state.findings.values().map(|t| &t.finding)
    }

    fn cell(&self, cell: Cell) -> ExplainAnswer {
        let here: Vec<&Finding> = self.findings().filter(|f| f.ip == cell.ip).collect();
        let of_cell =
            |f: &&Finding| f.cell() == Some(cell) && (f.kind.is_port() || f.kind.is_requirement());
        // Drift speaks before what is settled, and the newer before the older.
        let known = here.iter().copied().filter(of_cell);
        let known = known.max_by_key(|f| (f.state.is_drift(), f.last_seen));
        let subject = Subject::Port(cell);
        let allowed = self.state.allowed.values().find(|a| a.subject == subject);
        let asked = known.map_or_else(|| self.asked(subject, None), QueriedSubject::of);
        let asked_from = asked.vantage;
        let mut answer = self.answer(&asked, known, allowed);
        let facts = DecisionFacts { check: "", vantage: asked_from, now: self.now };
        for (pool, required) in self.baseline.pools_of(cell, &facts) {
            answer.notes.push(format!(
                "The rule `{}` requires {}/{} to be open on at least {} of {} addresses: {}.",
                required.head.id,
                cell.proto,
                cell.port,
                required.at_least,
                required.head.addrs.len(),
                format_pool_ranges(&required.head.addrs),
            ));
            let id = pool.id(asked_from);
            if let Some(t) = self.state.findings.get(id.as_str()) {
                let state = t.finding.state.as_str();
                answer.notes.push(format!("Its finding is {id}: {state}."));
            }
        }
        let others = here.iter().filter(|f| {
            known.is_none_or(|t| t.id != f.id)
                && f.state != FindingState::Resolved
                && f.pool.is_none()
                && f.port.is_none_or(|port| port == cell.port)
        });
        for f in others.take(MAX_POINTERS) {
            answer.notes.push(format!(
                "See also the finding {}: {}, {}.",
                f.id,
                f.kind.as_str(),
                f.state.as_str()
            ));
        }
        answer
    }

    fn finding(&self, id: &str) -> Option<ExplainAnswer> {
        let allowed = id.parse().ok().and_then(|id: FindingId| self.state.allowed.get(&id));
        match self.state.findings.get(id) {
            Some(t) => {
                Some(self.answer(&QueriedSubject::of(&t.finding), Some(&t.finding), allowed))
            }
            None => allowed
                .map(|a| self.answer(&self.asked(a.subject.clone(), a.check()), None, Some(a))),
        }
    }

    fn url(
        &self,
        host: &str,
        port: Port,
        path: &str,
        notes: &mut Vec<String>,
    ) -> Vec<ExplainAnswer> {
        let ip: Option<IpAddr> = host.parse().ok();
        let is_host = |at: IpAddr, name: Option<&str>| match (ip, name) {
            (Some(ip), None) => at == ip,
            (_, Some(name)) => name.eq_ignore_ascii_case(host),
            (None, None) => false,
        };
        let mut ids: Vec<&str> = Vec::new();
        let mut other_paths: Vec<&str> = Vec::new();
        let mut ips: Vec<IpAddr> = ip.into_iter().collect();
        let findings = self.state.findings.iter().filter_map(|(id, t)| {
            let f = &t.finding;
            Some((id.as_str(), f.ip, f.port?, f.host.as_deref(), f.path.as_deref()?))
        });
        let allowed = self.state.allowed.iter().filter_map(|(id, a)| {
            let s = &a.subject;
            Some((id.as_str(), s.ip(), s.port()?, s.host(), s.path()?))
        });
        for (id, at, p, name, of) in findings.chain(allowed) {
            if !is_host(at, name) {
                continue;
            }
            if p == port && of == path {
                ids.push(id);
                continue;
            }
            if p == port {
                ips.push(at);
            }
            if other_paths.len() < MAX_POINTERS && !other_paths.contains(&of) {
                other_paths.push(of);
            }
        }
        ids.sort_unstable();
        ids.dedup();
        let mut answers: Vec<ExplainAnswer> =
            ids.iter().take(MAX_ANSWERS).filter_map(|id| self.finding(id)).collect();
        if answers.is_empty() {
            let sites = self.state.sites.iter().map(|s| &s.key);
            let sites = sites.filter(|k| k.port == port && is_host(k.ip, k.host.as_deref()));
            ips.extend(sites.map(|k| k.ip));
            ips.sort_unstable();
            ips.dedup();
            for ip in ips.into_iter().take(MAX_ANSWERS) {
                let host = Some(host).filter(|h| h.parse::<IpAddr>().is_err());
                let subject = Subject::content(Cell::tcp(ip, port), host, path);
                answers.push(self.answer(&self.asked(subject, None), None, None));
            }
            if answers.is_empty() {
                notes.push(format!(
                    "Nothing is known of {host}: no finding, no allowed content and no site of the inventory \
                     has that name at port {port}, and no name is looked up. Ask for the address, as IP:PORT."
                ));
            }
            if !other_paths.is_empty() {
                notes.push(format!("Other paths are known of it: {}.", other_paths.join(", ")));
            }
        }
        if ids.len() > MAX_ANSWERS {
            notes.push(format!("{} more addresses are left out.", ids.len() - MAX_ANSWERS));
        }
        answers
    }

    /// As seen from where the newest run looked.
    fn asked<'a>(&'a self, subject: Subject, check: Option<&'a str>) -> QueriedSubject<'a> {
        QueriedSubject { subject, check, vantage: self.vantage, missing: false }
    }

    fn answer(
        &self,
        a: &QueriedSubject<'_>,
        f: Option<&Finding>,
        allowed: Option<&AllowedPort>,
    ) -> ExplainAnswer {
        let s = &a.subject;
        let facts =
            DecisionFacts { check: a.check.unwrap_or_default(), vantage: a.vantage, now: self.now };
        let decision = self.baseline.decide(s, &facts);
        let found = decision.says;
        let mut notes = Vec::new();
        let drift = f.filter(|f| f.state.is_drift());
        let (standing, mut why) = match (drift.or(f), allowed) {
            (Some(f), _) if f.state.is_drift() => (RuleStanding::Finding(f.state), f.why.clone()),
            (_, Some(a)) => {
                let why = match found {
                    RuleMatch::Allowed(h) => {
                        format!("the rule `{}` at {} allows it", h.id, h.place)
                    }
                    _ => format!("the rule `{}` allowed it when it was last judged", a.rule),
                };
                (RuleStanding::Finding(FindingState::Allowed), why)
            }
            (Some(f), None) => (RuleStanding::Finding(f.state), f.why.clone()),
            (None, None) => match found {
                _ if !(self.in_scope)(s.ip()) => (
                    RuleStanding::NotInScope,
                    "its address is not in the scope, so that nobody looks at it".to_owned(),
                ),
                RuleMatch::Allowed(h) => (
                    RuleStanding::AllowedUnseen,
                    format!("the rule `{}` at {} allows it, and it was never seen", h.id, h.place),
                ),
                RuleMatch::Forbidden(h) => (
                    RuleStanding::ForbiddenUnseen,
                    format!("the rule `{}` at {} forbids it, and it was never seen", h.id, h.place),
                ),
                RuleMatch::Expired(h) => (
                    RuleStanding::NeverSeen,
                    format!(
                        "the rule `{}` at {} has expired, and it was never seen",
                        h.id, h.place
                    ),
                ),
                RuleMatch::None => {
                    (RuleStanding::NeverSeen, "no rule allows it, and it was never seen".to_owned())
                }
            },
        };
        if why.is_empty() {
            why = "nothing more was written down".to_owned();
        }
        if let (Some(f), RuleMatch::Allowed(h)) = (drift, found)
            && !f.kind.is_requirement()
        {
            notes.push(format!(
                "The baseline allows it now, by `{}`: the next run that is judged will say so.",
                h.id
            ));
        }
        let rule = self.deciding(a, &decision);
        let decides = rule.as_ref().map(|r| r.rule.id.clone());
        let gone = allowed.map(|a| &*a.rule).or(f.and_then(|f| f.allowed_by.as_deref()));
        if let Some(id) = gone.filter(|id| !id.is_empty() && !self.baseline.has(id)) {
            notes.push(format!("The rule `{id}`, which allowed it, is no longer in the baseline."));
        }
        let mut nearest = match a.missing {
            true => Vec::new(),
            false => self.baseline.nearest_to(s, &facts, MAX_NEAREST),
        };
        nearest.retain(|n| Some(&n.id) != decides.as_ref());
        let covered = match s.cell() {
            Some(cell) if !cell.proto.is_scanned() => LastCovered {
                how: "never: runs look at TCP alone".to_owned(),
                ..LastCovered::default()
            },
            Some(cell) => (self.covered)(cell),
            None => LastCovered {
                how: "not known: it is a whole host or a pool, and no single port".to_owned(),
                ..LastCovered::default()
            },
        };
        let first_seen = [f.map(|f| f.first_seen), allowed.map(|a| a.first_seen)];
        ExplainAnswer {
            ip: s.ip(),
            proto: s.proto(),
            port: s.port(),
            host: s.host().map(str::to_owned),
            path: s.path().map(str::to_owned),
            check: s.check().or(a.check).map(str::to_owned),
            standing,
            why,
            rule,
            first_seen: first_seen.into_iter().flatten().min(),
            last_seen: f.map(|f| f.last_seen).max(allowed.map(|a| a.last_seen)),
            covered,
            acknowledged: f
                .and_then(|f| f.acknowledged.as_ref().or(self.state.acknowledged.get(&f.id)))
                .filter(|a| self.now < a.until)
                .cloned(),
            nearest,
            finding: f.cloned(),
            notes,
        }
    }

    fn deciding(&self, a: &QueriedSubject<'_>, decision: &Decision<'_>) -> Option<ExplainedRule> {
        let head: &RuleHead = match (a.missing, decision.says) {
            (true, _) => decision.required?,
            (false, RuleMatch::Allowed(h) | RuleMatch::Forbidden(h) | RuleMatch::Expired(h)) => h,
            (false, RuleMatch::None) => return None,
        };
        let expect = self.baseline.rules().iter().find(|r| r.head.id == head.id);
        Some(ExplainedRule {
            rule: RuleRef::of(head),
            expect: expect.map(|r| r.expect),
            live: head.is_live(self.now),
            commit: None,
            commit_unknown: None,
        })
    }
}

/// The first addresses of a pool.
fn format_pool_ranges(addrs: &AddrSet) -> String {
    const SHOWN: usize = 3;
    let mut shown: Vec<String> = addrs.ranges().take(SHOWN).map(|r| r.to_string()).collect();
    let more = addrs.ranges().count().saturating_sub(SHOWN);
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_told_by_their_form() {
        let port = |n| Port::new(n).unwrap();
        let url = |s, h: &str, p, path: &str| {
            Ok(ExplainQuestion::Url(s, h.to_owned(), port(p), path.to_owned()))
        };
        let cell = |text: &str| Ok(ExplainQuestion::Cell(text.parse().unwrap()));
        for (text, question) in [
            ("192.0.2.1:22", cell("192.0.2.1:22")),
            ("[2001:db8::1]:53/udp", cell("[2001:db8::1]:53/udp")),
            ("192.0.2.1:80/tcp", cell("192.0.2.1:80")),
            ("00fF00ff00ff00ff", Ok(ExplainQuestion::Finding("00ff00ff00ff00ff".to_owned()))),
            ("https://Shop.example.jp", url(UrlScheme::Https, "shop.example.jp", 443, "/")),
            ("HTTP://a:81/x?y#z", url(UrlScheme::Http, "a", 81, "/x?y")),
            ("http://u@[2001:db8::1]:8080/", url(UrlScheme::Http, "2001:db8::1", 8080, "/")),
            ("http://[2001:db8::1]", url(UrlScheme::Http, "2001:db8::1", 80, "/")),
            ("http://a?q", url(UrlScheme::Http, "a", 80, "/?q")),
            ("192.0.2.1", Err(QuestionError::Form)),
            ("192.0.2.1:0", Err(QuestionError::Form)),
            ("192.0.2.1:22/sctp", Err(QuestionError::Form)),
            ("host:22", Err(QuestionError::Form)),
            ("", Err(QuestionError::Form)),
            ("http://", Err(QuestionError::Url)),
            ("http://a:0/", Err(QuestionError::Url)),
            ("http://[::1/", Err(QuestionError::Url)),
        ] {
            assert_eq!(text.parse::<ExplainQuestion>(), question, "{text}");
        }
    }
}
