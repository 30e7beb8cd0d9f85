//! What the second looks of a run came to, all together. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use mimawari_probes::gap::{CoverageGap, Gap, NamedSample};
use mimawari_probes::observation::SecondLook;
use mimawari_targets::PortSet;

/// How many ports or hosts a gap names.
pub(super) const SHOWN: usize = 5;
/// Where a listener that sends nothing is most likely a site that could not be probed.
const SITES: [u16; 4] = [80, 443, 8080, 8443];
/// So many looks prove something about all of them together.
const MANY: u64 = 4;
/// So many looks in a row that nobody accepts, at so many hosts, are no chance: their order is
/// random.
const STREAK: (u64, usize) = (16, 4);
/// How many ports are kept in mind one by one; the others are counted as unconfirmed.
const KEPT: usize = 1 << 18;

/// How one look ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LookedSite {
    pub end: SecondLook,
    /// The connection was accepted and not a byte came.
    pub mute: bool,
    /// Why a connection that was to name the service failed, after one had been accepted.
    pub cut_short: Option<SecondLook>,
}

impl LookedSite {
    /// Whether another look would bring nothing new.
    pub(super) fn is_settled(self) -> bool {
        self.end == SecondLook::Confirmed && self.cut_short.is_none()
    }

    /// What two looks at one port say together. Refused is what refused each time.
    fn and(self, later: Self) -> Self {
        use SecondLook::{Confirmed, Refused};
        let end = match (self.end, later.end) {
            (Confirmed, _) | (_, Confirmed) => Confirmed,
            (Refused, other) => other,
            (other, Refused) => other,
            (_, later) => later,
        };
        let accepted = later.end == Confirmed;
        Self {
            end,
            mute: if accepted { later.mute } else { self.mute },
            // A look that was accepted and named nothing in the end does not become better by one
            // that was not accepted.
            cut_short: if accepted {
                later.cut_short
            } else {
                self.cut_short.or_else(|| (self.end == Confirmed).then_some(later.end))
            },
        }
    }
}

/// Which open ports are probed for web sites.
#[derive(Debug, Clone)]
pub(super) enum SitePorts {
    Open,
    Listed(PortSet),
}

impl SitePorts {
    fn holds(&self, address: &SocketAddr) -> bool {
        match self {
            Self::Open => true,
            Self::Listed(ports) => {
                mimawari_targets::Port::new(address.port()).is_some_and(|p| ports.contains(p))
            }
        }
    }
}

/// The ends of all looks. What is settled and ordinary is counted only.
#[derive(Debug, Default)]
pub(super) struct LookEnds {
    accepted: u64,
    kept: BTreeMap<SocketAddr, LookedSite>,
    /// Looks since the last that was accepted, and their hosts; of the first looks only.
    streak: u64,
    streak_hosts: BTreeSet<IpAddr>,
    streak_is_over: bool,
}

impl LookEnds {
    /// Takes in how a look ended; gives back what all looks at the port say together.
    pub(super) fn note(&mut self, address: SocketAddr, looked: LookedSite) -> LookedSite {
        let before = self.kept.get(&address).copied();
        let together = before.map_or(looked, |b| b.and(looked));
        let accepted = looked.end == SecondLook::Confirmed;
        if accepted && before.is_none_or(|b| b.end != SecondLook::Confirmed) {
            self.accepted += 1;
        }
        if accepted {
            // Also when a later look is accepted: nobody is shut out.
            self.streak = 0;
            self.streak_hosts.clear();
        } else if !self.streak_is_over {
            self.streak += 1;
            if self.streak_hosts.len() < STREAK.1 {
                self.streak_hosts.insert(address.ip());
            }
        }
        if (before.is_some() || !together.is_settled() || together.mute)
            && (before.is_some() || self.kept.len() < KEPT)
        {
            self.kept.insert(address, together);
        }
        together
    }

    /// A port was not asked, because the run was stopped.
    pub(super) fn note_not_made(&mut self, address: SocketAddr) {
        let looked = LookedSite { end: SecondLook::NotMade, mute: false, cut_short: None };
        if self.kept.len() < KEPT {
            self.kept.insert(address, looked);
        }
    }

    /// From now on ports are asked again.
    pub(super) fn first_looks_are_over(&mut self) {
        self.streak_is_over = true;
    }

    /// Everything that was not settled at the first look, or said nothing.
    pub(super) fn all(&self) -> impl Iterator<Item = (&SocketAddr, &LookedSite)> {
        self.kept.iter()
    }

    /// What is not covered. `skipped`: ports about which something else is said.
    pub(super) fn gaps(
        &self,
        sites: Option<&SitePorts>,
        skipped: impl Fn(&SocketAddr) -> bool,
    ) -> Vec<CoverageGap> {
        let mut gaps = Vec::new();
        let asked = self.kept.values().filter(|l| l.end != SecondLook::NotMade);
        let failed = asked.filter(|l| l.end != SecondLook::Confirmed).count() as u64;
        if self.accepted == 0 && failed >= MANY {
            gaps.push(Gap::SecondLooksFailed { ports: failed });
        } else if self.streak >= STREAK.0 && self.streak_hosts.len() >= STREAK.1 {
            let (ports, confirmed) = (self.streak, self.accepted);
            gaps.push(Gap::SecondLooksShutOut { ports, confirmed });
        }
        let of = |keep: &dyn Fn(&LookedSite) -> bool| -> Vec<&SocketAddr> {
            self.kept.iter().filter(|(_, l)| keep(l)).map(|(a, _)| a).collect()
        };
        let own = |l: &LookedSite| {
            l.end == SecondLook::OwnError || l.cut_short == Some(SecondLook::OwnError)
        };
        let ours = of(&own);
        if !ours.is_empty() {
            let named = NamedSample::take(&ours, SHOWN);
            gaps.push(Gap::SecondLooksOwnError { ports: ours.len() as u64, named });
        }
        if let Some(sites) = sites {
            let may_be_site = |a: &&SocketAddr| sites.holds(a) && !skipped(a);
            let unanswered = of(&|l| {
                !own(l)
                    && (l.end.is_unconfirmed() && l.end != SecondLook::NotMade
                        || l.cut_short.is_some_and(SecondLook::is_unconfirmed))
            });
            let unanswered: Vec<_> = unanswered.into_iter().filter(may_be_site).collect();
            if !unanswered.is_empty() {
                let named = NamedSample::take(&unanswered, SHOWN);
                gaps.push(Gap::SitesUnanswered { ports: unanswered.len() as u64, named });
            }
            let mute = of(&|l| l.mute && l.cut_short.is_none()).into_iter();
            let mute: Vec<_> =
                mute.filter(|a| SITES.contains(&a.port())).filter(may_be_site).collect();
            if !mute.is_empty() {
                let named = NamedSample::take(&mute, SHOWN);
                gaps.push(Gap::WebPortsMute { ports: mute.len() as u64, named });
            }
        }
        gaps.into_iter().map(Gap::not_covered).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ended(end: SecondLook) -> LookedSite {
        LookedSite { end, mute: false, cut_short: None }
    }

    fn at(host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], port))
    }

    fn gaps(ends: &LookEnds) -> Vec<Gap> {
        ends.gaps(Some(&SitePorts::Open), |_| false).into_iter().map(|g| g.gap).collect()
    }

    #[test]
    fn what_is_confirmed_leaves_no_gap() {
        let mut ends = LookEnds::default();
        for host in 0..100 {
            ends.note(at(host, 22), ended(SecondLook::Confirmed));
        }
        assert!(gaps(&ends).is_empty());
        assert_eq!(ends.all().count(), 0);
    }

    #[test]
    fn no_success_of_many_makes_a_run_incomplete_whatever_the_reason() {
        for end in [SecondLook::TimedOut, SecondLook::Refused, SecondLook::Unreachable] {
            let mut ends = LookEnds::default();
            for host in 0..4 {
                ends.note(at(host, 22), ended(end));
            }
            assert_eq!(gaps(&ends)[0], Gap::SecondLooksFailed { ports: 4 }, "{end:?}");
            ends.note(at(9, 22), ended(SecondLook::Confirmed));
            let failed = |g: &Gap| matches!(g, Gap::SecondLooksFailed { .. });
            assert!(!gaps(&ends).iter().any(failed), "{end:?}");
        }
    }

    #[test]
    fn a_ban_in_the_middle_is_seen() {
        let mut ends = LookEnds::default();
        for host in 0..30 {
            ends.note(at(host, 22), ended(SecondLook::Confirmed));
        }
        for host in 30..60 {
            ends.note(at(host, 22), ended(SecondLook::TimedOut));
        }
        ends.first_looks_are_over();
        assert_eq!(gaps(&ends)[0], Gap::SecondLooksShutOut { ports: 30, confirmed: 30 });
        // One that is accepted later shows that nobody is shut out.
        ends.note(at(31, 22), ended(SecondLook::Confirmed));
        let shut_out = |g: &Gap| matches!(g, Gap::SecondLooksShutOut { .. });
        assert!(!gaps(&ends).iter().any(shut_out), "{:?}", gaps(&ends));
    }

    #[test]
    fn our_own_errors_are_named_and_a_later_success_heals_them() {
        let mut ends = LookEnds::default();
        ends.note(at(1, 22), ended(SecondLook::Confirmed));
        ends.note(at(2, 80), ended(SecondLook::OwnError));
        let cut =
            LookedSite { cut_short: Some(SecondLook::OwnError), ..ended(SecondLook::Confirmed) };
        ends.note(at(3, 80), cut);
        assert_eq!(gaps(&ends).len(), 1);
        assert!(matches!(gaps(&ends)[0], Gap::SecondLooksOwnError { ports: 2, .. }));
        for host in [2, 3] {
            ends.note(at(host, 80), ended(SecondLook::Confirmed));
        }
        assert!(gaps(&ends).is_empty());
    }

    #[test]
    fn refused_is_what_refused_each_time() {
        let mut ends = LookEnds::default();
        let refused = ended(SecondLook::Refused);
        assert_eq!(ends.note(at(1, 22), refused).end, SecondLook::Refused);
        assert_eq!(ends.note(at(1, 22), refused).end, SecondLook::Refused);
        assert_eq!(ends.note(at(1, 22), ended(SecondLook::TimedOut)).end, SecondLook::TimedOut);
        assert_eq!(ends.note(at(1, 22), refused).end, SecondLook::TimedOut);
        assert_eq!(ends.note(at(1, 22), ended(SecondLook::Confirmed)).end, SecondLook::Confirmed);
        assert_eq!(ends.note(at(1, 22), refused).end, SecondLook::Confirmed);
    }

    #[test]
    fn a_port_that_may_be_a_site_is_a_gap_unless_it_is_not_looked_at() {
        let mut ends = LookEnds::default();
        ends.note(at(1, 22), ended(SecondLook::Confirmed));
        ends.note(at(2, 80), ended(SecondLook::TimedOut));
        ends.note(at(3, 443), LookedSite { mute: true, ..ended(SecondLook::Confirmed) });
        ends.note(at(3, 9000), LookedSite { mute: true, ..ended(SecondLook::Confirmed) });
        assert_eq!(gaps(&ends).len(), 2, "{:?}", gaps(&ends));
        assert!(ends.gaps(None, |_| false).is_empty());
        assert!(ends.gaps(Some(&SitePorts::Open), |_| true).is_empty());
        let listed = SitePorts::Listed("443".parse().unwrap());
        assert_eq!(ends.gaps(Some(&listed), |_| false).len(), 1);
    }
}
