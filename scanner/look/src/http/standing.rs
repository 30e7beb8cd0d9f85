//! What a site has shown of itself, and what its refusals are worth.
//!
//! A refusal, or "not found", counts for a path where the site answers something else to others. One
//! that says the same to every path, `/` among them, may say so to us alone: a filter that knows
//! scanners does just that. Such a site is not covered, whatever it said.

use jiff::Timestamp;
use mimawari_probes::http::PathPlan;
use mimawari_probes::observation::ContentOutcome;

use super::redirect::RedirectOrigin;

/// How a site answered a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShownPage {
    /// With content.
    Content,
    /// By sending us to another place, which was not asked.
    Away,
    /// With this status of 400 and above.
    Refused(u16),
}

impl ShownPage {
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
pub(super) struct HeldOutcome<'p> {
    /// The path.
    pub path: &'p PathPlan,
    /// `Absent` or `Protected`.
    pub outcome: ContentOutcome,
    /// When it ended so.
    pub at: Timestamp,
}

/// What a site has shown so far.
#[derive(Debug, Default)]
pub(super) struct SiteStanding<'p> {
    /// The one way in which it has answered, until there is a second.
    only: Option<ShownPage>,
    /// It answers some paths in another way than others: what it says of one is about that path.
    settled: bool,
    /// Another site that every redirect so far has led to.
    away: Option<RedirectOrigin>,
    /// `/` was answered with content when the site was begun.
    began_well: bool,
    held: Vec<HeldOutcome<'p>>,
    /// Refusals and what is missed: kept back until it is sure that we were not banned meanwhile.
    doubted: Vec<HeldOutcome<'p>>,
}

impl<'p> SiteStanding<'p> {
    /// Notes an answer.
    pub(super) fn note(&mut self, shown: ShownPage, to: Option<&RedirectOrigin>) {
        match self.only {
            None => {
                self.only = Some(shown);
                self.away = to.cloned();
            }
            Some(only) if only != shown => self.settled = true,
            Some(_) if self.away.as_ref() != to => self.away = None,
            Some(_) => {}
        }
        self.settled |= shown == ShownPage::Content;
    }

    /// Notes the answer to `/`, which is the first.
    pub(super) fn note_root(&mut self, shown: ShownPage, to: Option<&RedirectOrigin>) {
        self.began_well = shown == ShownPage::Content;
        self.note(shown, to);
    }

    /// Keeps an outcome back, if it depends on what other paths bring; gives it back if not.
    /// `known`: something was found at this path before.
    pub(super) fn hold(&mut self, held: HeldOutcome<'p>, known: bool) -> Option<HeldOutcome<'p>> {
        match held.outcome {
            ContentOutcome::Protected => self.doubted.push(held),
            ContentOutcome::Absent if known => self.doubted.push(held),
            ContentOutcome::Absent if !self.settled => self.held.push(held),
            _ => return Some(held),
        }
        None
    }

    /// What was kept back, once it is known what it is worth.
    pub(super) fn take_settled(&mut self) -> Vec<HeldOutcome<'p>> {
        if self.settled { std::mem::take(&mut self.held) } else { Vec::new() }
    }

    /// Whether refusals are to be doubted: the site answered well in the beginning, and `/` would
    /// show whether it still does.
    pub(super) fn has_doubts(&self) -> bool {
        self.began_well && !self.doubted.is_empty()
    }

    /// The refusals that were kept back.
    pub(super) fn take_doubted(&mut self) -> Vec<HeldOutcome<'p>> {
        std::mem::take(&mut self.doubted)
    }

    /// Everything that was kept back to the end.
    pub(super) fn take_rest(&mut self) -> Vec<HeldOutcome<'p>> {
        let mut rest = std::mem::take(&mut self.held);
        rest.append(&mut self.doubted);
        rest
    }

    /// At the end: how the site answered everything, if it was in one way without content.
    pub(super) fn verdict(&self) -> Option<BlanketRefusal<'_>> {
        if self.settled {
            return None;
        }
        match self.only? {
            ShownPage::Content => None,
            ShownPage::Away => Some(BlanketRefusal::Away(self.away.as_ref())),
            ShownPage::Refused(status) => Some(BlanketRefusal::Refused(status)),
        }
    }
}

/// The one answer that a site gives to every path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlanketRefusal<'a> {
    /// It refuses.
    Refused(u16),
    /// It sends everybody away, to one other site or within itself.
    Away(Option<&'a RedirectOrigin>),
}

impl BlanketRefusal<'_> {
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
        let mut standing = SiteStanding::default();
        for _ in 0..3 {
            standing.note(ShownPage::by(403), None);
        }
        assert_eq!(standing.verdict(), Some(BlanketRefusal::Refused(403)));
        standing.note(ShownPage::by(404), None);
        assert_eq!(standing.verdict(), None, "it distinguishes paths");

        let mut standing = SiteStanding::default();
        standing.note(ShownPage::by(206), None);
        assert_eq!(standing.verdict(), None);

        let to = |host: &str| RedirectOrigin {
            scheme: mimawari_probes::observation::UrlScheme::Https,
            host: host.to_owned(),
            port: 443,
        };
        let mut standing = SiteStanding::default();
        standing.note(ShownPage::Away, Some(&to("a.example")));
        standing.note(ShownPage::Away, Some(&to("a.example")));
        assert_eq!(standing.verdict(), Some(BlanketRefusal::Away(Some(&to("a.example")))));
        standing.note(ShownPage::Away, Some(&to("b.example")));
        assert_eq!(standing.verdict(), Some(BlanketRefusal::Away(None)));
    }
}
