//! What a site has shown of itself, and what its refusals are worth.
//!
//! A refusal, or "not found", counts for a path where the site answers something else to others. One
//! that says the same to every path, `/` among them, may say so to us alone: a filter that knows
//! scanners does just that. Such a site is not covered, whatever it said.

use jiff::Timestamp;
use mimawari_probes::http::PathPlan;
use mimawari_probes::observation::Outcome;

use super::redirect::Origin;

/// How a site answered a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// With content.
    Content,
    /// By sending us to another place, which was not asked.
    Away,
    /// With this status of 400 and above.
    Refused(u16),
}

impl Shown {
    /// How a final answer counts.
    pub(super) const fn by(status: u16) -> Self {
        match status {
            0..=299 => Self::Content,
            300..=399 => Self::Away,
            _ => Self::Refused(status),
        }
    }
}

/// An outcome that waits for what the site shows to others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held<'p> {
    /// The path.
    pub path: &'p PathPlan,
    /// `Absent` or `Protected`.
    pub outcome: Outcome,
    /// When it ended so.
    pub at: Timestamp,
}

/// What a site has shown so far.
#[derive(Debug, Default)]
pub(super) struct Standing<'p> {
    /// The one way in which it has answered, until there is a second.
    only: Option<Shown>,
    /// It answers some paths in another way than others: what it says of one is about that path.
    settled: bool,
    /// Another site that every redirect so far has led to.
    away: Option<Origin>,
    /// `/` was answered with content when the site was begun.
    began_well: bool,
    held: Vec<Held<'p>>,
    /// Refusals and what is missed: kept back until it is sure that we were not banned meanwhile.
    doubted: Vec<Held<'p>>,
}

impl<'p> Standing<'p> {
    /// Notes an answer.
    pub(super) fn note(&mut self, shown: Shown, to: Option<&Origin>) {
        match self.only {
            None => {
                self.only = Some(shown);
                self.away = to.cloned();
            }
            Some(only) if only != shown => self.settled = true,
            Some(_) if self.away.as_ref() != to => self.away = None,
            Some(_) => {}
        }
        self.settled |= shown == Shown::Content;
    }

    /// Notes the answer to `/`, which is the first.
    pub(super) fn note_root(&mut self, shown: Shown, to: Option<&Origin>) {
        self.began_well = shown == Shown::Content;
        self.note(shown, to);
    }

    /// Keeps an outcome back, if it depends on what other paths bring; gives it back if not.
    /// `known`: something was found at this path before.
    pub(super) fn hold(&mut self, held: Held<'p>, known: bool) -> Option<Held<'p>> {
        match held.outcome {
            Outcome::Protected => self.doubted.push(held),
            Outcome::Absent if known => self.doubted.push(held),
            Outcome::Absent if !self.settled => self.held.push(held),
            _ => return Some(held),
        }
        None
    }

    /// What was kept back, once it is known what it is worth.
    pub(super) fn take_settled(&mut self) -> Vec<Held<'p>> {
        if self.settled { std::mem::take(&mut self.held) } else { Vec::new() }
    }

    /// Whether refusals are to be doubted: the site answered well in the beginning, and `/` would
    /// show whether it still does.
    pub(super) fn has_doubts(&self) -> bool {
        self.began_well && !self.doubted.is_empty()
    }

    /// The refusals that were kept back.
    pub(super) fn take_doubted(&mut self) -> Vec<Held<'p>> {
        std::mem::take(&mut self.doubted)
    }

    /// Everything that was kept back to the end.
    pub(super) fn take_rest(&mut self) -> Vec<Held<'p>> {
        let mut rest = std::mem::take(&mut self.held);
        rest.append(&mut self.doubted);
        rest
    }

    /// At the end: how the site answered everything, if it was in one way without content.
    pub(super) fn verdict(&self) -> Option<Blanket<'_>> {
        if self.settled {
            return None;
        }
        match self.only? {
            Shown::Content => None,
            Shown::Away => Some(Blanket::Away(self.away.as_ref())),
            Shown::Refused(status) => Some(Blanket::Refused(status)),
        }
    }
}

/// The one answer that a site gives to every path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blanket<'a> {
    /// It refuses.
    Refused(u16),
    /// It sends everybody away, to one other site or within itself.
    Away(Option<&'a Origin>),
}

impl Blanket<'_> {
    /// Why its paths are not covered.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Refused(status) => {
                format!("the site answered every path with status {status}, `/` among them")
            }
            Self::Away(Some(origin)) => {
                format!("the site sends every path to {}, which was not looked at", origin.shown())
            }
            Self::Away(None) => "the site redirects every path, `/` among them".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_to_everything_says_nothing() {
        let mut standing = Standing::default();
        for _ in 0..3 {
            standing.note(Shown::by(403), None);
        }
        assert_eq!(standing.verdict(), Some(Blanket::Refused(403)));
        standing.note(Shown::by(404), None);
        assert_eq!(standing.verdict(), None, "it tells paths apart");

        let mut standing = Standing::default();
        standing.note(Shown::by(206), None);
        assert_eq!(standing.verdict(), None);

        let to = |host: &str| Origin {
            scheme: mimawari_probes::observation::Scheme::Https,
            host: host.to_owned(),
            port: 443,
        };
        let mut standing = Standing::default();
        standing.note(Shown::Away, Some(&to("a.example")));
        standing.note(Shown::Away, Some(&to("a.example")));
        assert_eq!(standing.verdict(), Some(Blanket::Away(Some(&to("a.example")))));
        standing.note(Shown::Away, Some(&to("b.example")));
        assert_eq!(standing.verdict(), Some(Blanket::Away(None)));
    }
}
