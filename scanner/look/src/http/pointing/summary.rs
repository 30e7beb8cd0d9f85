//! What the cross-check came to, and how a run reports it.

use std::collections::BTreeMap;

use mimawari_probes::gap::{Gap, NamedSample};
use mimawari_probes::observation::DnsPointing;

/// How many names a note gives.
const SHOWN: usize = 5;

/// What the cross-check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DnsSummary {
    /// How many questions about names were asked, each for both families.
    pub asked: u64,
    /// How many (name, address) pairs were reported as [`DnsPointing::Here`].
    pub here: u64,
    /// [`DnsPointing::Ours`].
    pub ours: u64,
    /// [`DnsPointing::Elsewhere`].
    pub elsewhere: u64,
    /// [`DnsPointing::Nowhere`].
    pub nowhere: u64,
    /// [`DnsPointing::Unknown`].
    pub unknown: u64,
    /// Whether the check ended early, since the resolver did not answer.
    pub gave_up: bool,
    first_elsewhere: FirstNames,
    first_nowhere: FirstNames,
}

impl DnsSummary {
    /// The first five names of the list that point elsewhere.
    pub fn first_elsewhere(&self) -> impl Iterator<Item = &str> {
        self.first_elsewhere.names()
    }

    /// The first five names of the list that do not exist or have no address.
    pub fn first_nowhere(&self) -> impl Iterator<Item = &str> {
        self.first_nowhere.names()
    }

    /// What the run notes of it; nothing when every name points at us.
    #[must_use]
    pub fn gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        if self.elsewhere > 0 {
            let named = self.first_elsewhere.sample();
            gaps.push(Gap::NamesElsewhere { hosts: self.elsewhere, named });
        }
        if self.nowhere > 0 {
            gaps.push(Gap::NamesNowhere {
                hosts: self.nowhere,
                named: self.first_nowhere.sample(),
            });
        }
        if self.unknown > 0 {
            gaps.push(Gap::NamesUnanswered { hosts: self.unknown });
        }
        if self.gave_up {
            gaps.push(Gap::NamesGivenUp);
        }
        gaps
    }

    pub(super) fn add(&mut self, number: u64, name: &str, pointing: DnsPointing) {
        match pointing {
            DnsPointing::Here => self.here += 1,
            DnsPointing::Ours => self.ours += 1,
            DnsPointing::Elsewhere => {
                self.elsewhere += 1;
                self.first_elsewhere.add(number, name);
            }
            DnsPointing::Nowhere => {
                self.nowhere += 1;
                self.first_nowhere.add(number, name);
            }
            DnsPointing::Unknown => self.unknown += 1,
        }
    }
}

/// The first names in the order of the list, whatever the order of the answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct FirstNames {
    /// By their numbers.
    names: BTreeMap<u64, String>,
    /// Whether there are others.
    more: bool,
}

impl FirstNames {
    fn add(&mut self, number: u64, name: &str) {
        let known = self.names.iter().find(|(_, n)| *n == name).map(|(k, _)| *k);
        match known {
            Some(earlier) if earlier <= number => return,
            Some(later) => drop(self.names.remove(&later)),
            None => {}
        }
        if self.names.len() == SHOWN {
            self.more = true;
            if self.names.last_key_value().is_some_and(|(last, _)| *last < number) {
                return;
            }
            self.names.pop_last();
        }
        self.names.insert(number, name.to_owned());
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.names.values().map(String::as_str)
    }

    fn sample(&self) -> NamedSample {
        NamedSample { first: self.names().map(str::to_owned).collect(), more: self.more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_names_of_the_list_are_kept_in_its_order() {
        let mut first = FirstNames::default();
        for (number, name) in
            [(9, "i"), (3, "c"), (8, "h"), (5, "c"), (1, "i"), (7, "g"), (2, "b"), (6, "f")]
        {
            first.add(number, name);
        }
        assert!(first.names().eq(["i", "b", "c", "f", "g"]));
        assert!(first.more);
        let mut first = FirstNames::default();
        for number in 1..100 {
            first.add(number, ["a", "b", "c", "d", "e"][number as usize % 5]);
        }
        assert!(!first.more, "the same five again are no others");
    }
}
