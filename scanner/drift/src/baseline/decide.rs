//! Which rule speaks of a thing: the one place that asks.

use jiff::Timestamp;
use mimawari_targets::Cell;

use super::book::{RuleBook, RuleMatch, get_sort_key};
use super::{BaselineRule, RequiredPool, RuleHead};
use crate::subject::Subject;
use crate::verdict::NearestRule;

/// What a decision needs to know besides the subject.
#[derive(Debug, Clone, Copy)]
pub struct DecisionFacts<'a> {
    /// The check that found a content. Of other subjects it is not asked.
    pub check: &'a str,
    /// From where it is seen.
    pub vantage: &'a str,
    /// The instant.
    pub now: Timestamp,
}

/// What the rules say of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<'a> {
    /// Whether it is forbidden or allowed. `never` wins; among what allows, the rule for the fewest
    /// addresses, then the first by id.
    pub says: RuleMatch<'a>,
    /// The live rule that requires a port to be open, cell by cell; of a pool the one that requires the
    /// most of it.
    pub required: Option<&'a RuleHead>,
}

impl RuleBook {
    /// What the rules say of a subject.
    #[must_use]
    pub fn decide(&self, subject: &Subject, facts: &DecisionFacts<'_>) -> Decision<'_> {
        self.decide_with(subject, facts, |_| ())
    }

    /// As [`Self::decide`], and calls `each` with the number of each rule that speaks of the subject, live
    /// or not, whatever it expects. Rules about contents are numbered behind those about ports.
    pub fn decide_with(
        &self,
        subject: &Subject,
        facts: &DecisionFacts<'_>,
        mut each: impl FnMut(usize),
    ) -> Decision<'_> {
        let mut required: Option<&RuleHead> = None;
        let says = match subject {
            Subject::Port(cell) => self.port(*cell, facts, |i, rule| {
                each(i);
                let must = rule.requires_each_cell() && rule.head.is_live(facts.now);
                if must && required.is_none_or(|r| get_sort_key(&rule.head) < get_sort_key(r)) {
                    required = Some(&rule.head);
                }
            }),
            Subject::Content(place) => {
                let site = Some((place.host.as_deref(), place.path.as_str()));
                self.web(place.cell.ip, facts.check, site, facts, each)
            }
            Subject::Server(cell, fact) => self.web(cell.ip, fact.as_str(), None, facts, each),
            Subject::Host(ip) => self.whole_host(*ip, facts),
            // Its addresses are allowed one by one.
            Subject::Pool(_) => {
                required = self.required_pool(subject, facts).map(|pool| pool.head);
                RuleMatch::None
            }
        };
        Decision { says, required }
    }

    /// What the live rules require of a pool: of several rules the one that requires the most.
    #[must_use]
    pub fn required_pool(
        &self,
        subject: &Subject,
        facts: &DecisionFacts<'_>,
    ) -> Option<RequiredPool<'_>> {
        let pools = self.required(facts.vantage, facts.now).flat_map(|r| r.required_pools());
        let same = pools.filter(|(pool, _)| pool == subject).map(|(_, required)| required);
        same.max_by(|a, b| {
            a.at_least
                .cmp(&b.at_least)
                .then_with(|| get_sort_key(b.head).cmp(&get_sort_key(a.head)))
        })
    }

    /// The live rules that require a cell as one of a pool, and what they require.
    pub fn pools_of<'a>(
        &'a self,
        cell: Cell,
        facts: &DecisionFacts<'a>,
    ) -> impl Iterator<Item = (Subject, RequiredPool<'a>)> {
        let rules = self.required(facts.vantage, facts.now);
        let holds = move |r: &&BaselineRule| r.head.addrs.contains(cell.ip);
        let pools = rules.filter(holds).flat_map(|r| r.required_pools());
        pools.filter(move |(subject, _)| subject.service_port() == Some((cell.proto, cell.port)))
    }

    /// The `max` rules nearest to allowing a subject, best first, and why they do not. A live `never`
    /// rule that holds it comes first. None where no rule is near, for what is allowed, and for a host.
    #[must_use]
    pub fn nearest_to(
        &self,
        subject: &Subject,
        facts: &DecisionFacts<'_>,
        max: usize,
    ) -> Vec<NearestRule> {
        match subject {
            Subject::Port(cell) => self.nearest_rules(*cell, facts, max),
            Subject::Content(place) => {
                let site = Some((place.host.as_deref(), place.path.as_str()));
                self.nearest_contents(place.cell.ip, facts.check, site, facts, max)
            }
            Subject::Server(cell, fact) => {
                self.nearest_contents(cell.ip, fact.as_str(), None, facts, max)
            }
            Subject::Host(_) | Subject::Pool(_) => Vec::new(),
        }
    }
}
