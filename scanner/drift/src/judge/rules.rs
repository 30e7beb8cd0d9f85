//! What the baseline says of a subject, and whether its rules are still needed. The judge asks the
//! baseline here and nowhere else.

use jiff::Timestamp;
use mimawari_probes::gap::GapEffect;
use mimawari_targets::PortSet;

use super::RunJudge;
use crate::baseline::{
    BaselineRule, DecisionFacts, HttpRule, RequiredPool, RuleExpect, RuleHead, RuleMatch,
};
use crate::state::RuleUse;
use crate::subject::Subject;
use crate::verdict::Finding;

/// A rule that required something and has expired.
pub(super) struct EndedRequirement<'a> {
    pub head: &'a RuleHead,
    /// What it required of a pool.
    pub pool: Option<RequiredPool<'a>>,
}

impl<'a> RunJudge<'a> {
    /// What the rules say of a subject; of a content, `check` is what found it.
    pub(super) fn match_subject(&self, subject: &Subject, check: Option<&str>) -> RuleMatch<'a> {
        let facts = self.decision_facts(check.unwrap_or_default());
        self.baseline.decide(subject, &facts).says
    }

    /// What the rules say of a finding, from where it was seen.
    pub(super) fn match_finding(&self, f: &Finding) -> RuleMatch<'a> {
        let check = f.check.as_deref().unwrap_or_default();
        let facts = DecisionFacts { check, vantage: &f.vantage, now: self.now };
        self.baseline.decide(&f.subject(), &facts).says
    }

    /// As [`Self::match_subject`], of a subject that was seen: every rule that speaks of it is needed.
    pub(super) fn match_seen(
        &mut self,
        subject: &Subject,
        check: Option<&str>,
        at: Timestamp,
    ) -> RuleMatch<'a> {
        let baseline = self.baseline;
        let facts = DecisionFacts {
            check: check.unwrap_or_default(),
            vantage: self.run.vantage,
            now: self.now,
        };
        let seen = &mut self.rule_seen;
        baseline.decide_with(subject, &facts, |i| seen[i] = seen[i].max(Some(at))).says
    }

    fn decision_facts<'c>(&self, check: &'c str) -> DecisionFacts<'c>
    where
        'a: 'c,
    {
        DecisionFacts { check, vantage: self.run.vantage, now: self.now }
    }

    /// Whether a live rule requires a subject, as seen from a vantage point.
    pub(super) fn is_required(&self, subject: &Subject, vantage: &str) -> bool {
        let facts = DecisionFacts { check: "", vantage, now: self.now };
        self.baseline.decide(subject, &facts).required.is_some()
    }

    /// The rule that required a port or so much of a pool, and has expired.
    pub(super) fn expired_requirement(&self, subject: &Subject) -> Option<EndedRequirement<'a>> {
        let (now, vantage) = (self.now, self.run.vantage);
        let expired = |r: &&BaselineRule| {
            r.expect == RuleExpect::Must && !r.head.is_live(now) && r.head.is_for(vantage)
        };
        let mut rules = self.baseline.rules().iter().filter(expired);
        if let Some(cell) = subject.cell() {
            let holds = |r: &&BaselineRule| {
                r.requires_each_cell()
                    && r.head.addrs.contains(cell.ip)
                    && r.ports(cell.proto).contains(cell.port)
            };
            return rules.find(holds).map(|r| EndedRequirement { head: &r.head, pool: None });
        }
        let mut pools = rules.flat_map(BaselineRule::required_pools);
        let (_, pool) = pools.find(|(pool, _)| pool == subject)?;
        Some(EndedRequirement { head: pool.head, pool: Some(pool) })
    }

    /// Finds what the baseline says of each open port, once. Every rule that speaks of one is needed,
    /// also one that another rule outdoes.
    pub(super) fn match_open(&mut self) {
        let baseline = self.baseline;
        let facts = DecisionFacts { check: "", vantage: self.run.vantage, now: self.now };
        let seen = &mut self.rule_seen;
        self.found = self
            .open
            .iter()
            .map(|o| {
                let each = |i: usize| seen[i] = seen[i].max(Some(o.at));
                baseline.decide_with(&Subject::tcp(o.ip, o.port), &facts, each).says
            })
            .collect();
    }

    /// Writes the use of the rules into the state; rules that are gone from the baseline are
    /// forgotten. A run counts against a rule only if it covered all that the rule speaks of.
    pub(super) fn rules_used(&mut self) {
        let whole = self.run.gaps.iter().all(|g| g.effect == GapEffect::Noted)
            && !self.suspect()
            && self.parts() == 1
            && !self.again
            && self.run.turn.as_ref().is_none_or(|t| t.complete);
        let before = std::mem::take(&mut self.next.rules);
        let ports = self.baseline.rules().iter().map(|r| (&r.head, whole && self.covers(r)));
        let web = self.baseline.http_rules().iter().map(|r| (&r.head, whole && self.covers_web(r)));
        let mut after = std::collections::BTreeMap::new();
        for (i, (head, covered)) in ports.chain(web).enumerate() {
            let known = before.get(&head.id).cloned();
            let mut used =
                known.unwrap_or(RuleUse { since: self.now, last_seen: None, unseen_runs: 0 });
            match self.rule_seen.get(i).copied().flatten() {
                Some(at) => {
                    used.last_seen = used.last_seen.max(Some(at));
                    used.unseen_runs = 0;
                }
                None => used.unseen_runs = used.unseen_runs.saturating_add(u32::from(covered)),
            }
            after.insert(head.id.clone(), used);
        }
        self.next.rules = after;
    }

    /// Whether the plan holds every cell of a rule. UDP is not scanned.
    fn covers(&self, r: &BaselineRule) -> bool {
        r.head.is_for(self.run.vantage)
            && r.udp.is_empty()
            && is_within(&r.tcp, self.run.ports)
            && r.head.addrs.subtract(self.run.addresses).is_empty()
    }

    fn covers_web(&self, r: &HttpRule) -> bool {
        let t = &self.run.totals;
        r.head.is_for(self.run.vantage)
            && t.checks_planned > 0
            && t.checks_covered == t.checks_planned
            && r.head.addrs.subtract(self.run.addresses).is_empty()
    }
}

pub(super) fn is_within(inner: &PortSet, outer: &PortSet) -> bool {
    inner.ranges().iter().all(|(a, b)| outer.ranges().iter().any(|(x, y)| x <= a && b <= y))
}
