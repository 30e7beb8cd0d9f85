//! Who is at the next hop: Ethernet addresses of neighbours, asked for in bulk (RFC 826 for IPv4,
//! RFC 4861 for IPv6). Pure: takes the time, says whom to solicit, keeps what has to wait.
//!
//! What waits for one neighbour does not hold up the others. A neighbour is asked
//! [`TRIES`] times, [`SPACING`] apart; then what waited for it is given back as unreachable, and so
//! is what comes for it within [`ABSENCE`]. Later it is asked once, and more and more rarely.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// How often a neighbour is asked (`MAX_MULTICAST_SOLICIT`, RFC 4861, section 10).
pub const TRIES: u8 = 3;
/// Time between two (`RETRANS_TIMER`, RFC 4861, section 10).
pub const SPACING: Duration = Duration::from_secs(1);
/// For how long an absent neighbour is not asked again, the first time. Then it is asked once, and
/// each further absence lasts four times as long as the one before, up to [`LONGEST_ABSENCE`].
pub const ABSENCE: Duration = Duration::from_secs(30);
/// The longest time between two questions to an absent neighbour.
pub const LONGEST_ABSENCE: Duration = Duration::from_secs(1920);
/// At most this many solicitations a second: each is a broadcast or multicast that interrupts
/// everybody on the link.
pub const RATE: u32 = 5_000;
/// At most this many neighbours are remembered; the rest is asked for again when needed.
const REMEMBERED: usize = 1 << 18;
/// At most this many things wait; see [`Neighbours::is_full`].
const WAITING: usize = 1 << 17;

/// A neighbour: on which link (index of the caller's), which address.
pub type NeighbourKey = (usize, IpAddr);

/// What is known of a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeighbourState {
    /// Its Ethernet address.
    Mac([u8; 6]),
    /// It is being asked; what was handed in waits.
    Waits,
    /// It does not answer.
    Absent,
}

#[derive(Debug)]
enum NeighbourEntry<T> {
    Known([u8; 6]),
    Asked { tries: u8, waiting: Vec<T>, last_known: Option<[u8; 6]>, absences: u8 },
    Absent { since: Duration, absences: u8 },
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum NeighbourStep<T> {
    /// Send a solicitation.
    Solicit(NeighbourKey),
    /// The neighbour does not answer, and these waited for it.
    Unreachable(NeighbourKey, Vec<T>),
    /// It does not answer, and what the kernel knew last of it is used.
    Fallback(NeighbourKey, [u8; 6], Vec<T>),
}

/// The table. `T` is what waits.
#[derive(Debug)]
pub struct NeighbourTable<T> {
    entries: HashMap<NeighbourKey, NeighbourEntry<T>>,
    /// Asked for the first time, not yet solicited.
    fresh: VecDeque<NeighbourKey>,
    /// Solicited, in the order in which their time runs out.
    due: VecDeque<(Duration, NeighbourKey)>,
    waiting: usize,
    /// When the next solicitation may leave.
    next: Duration,
    gap: Duration,
}

impl<T> NeighbourTable<T> {
    /// A table that knows nobody and solicits at most `rate` times a second.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self {
            entries: HashMap::new(),
            fresh: VecDeque::new(),
            due: VecDeque::new(),
            waiting: 0,
            next: Duration::ZERO,
            gap: Duration::from_secs(1) / rate.max(1),
        }
    }

    /// Takes over an address from elsewhere, such as the kernel's table.
    pub fn insert(&mut self, key: NeighbourKey, mac: [u8; 6]) {
        self.entries.insert(key, NeighbourEntry::Known(mac));
    }

    /// Has a neighbour asked for; `last_known` is used if it does not answer.
    pub fn ask(&mut self, key: NeighbourKey, last_known: Option<[u8; 6]>) {
        if !self.entries.contains_key(&key) {
            self.begin(key, last_known, Vec::new(), 0);
        }
    }

    /// What is known without asking.
    #[must_use]
    pub fn known(&self, key: NeighbourKey) -> Option<[u8; 6]> {
        match self.entries.get(&key) {
            Some(NeighbourEntry::Known(mac)) => Some(*mac),
            _ => None,
        }
    }

    /// Looks for a neighbour. On [`NeighbourState::Waits`] `item` is kept until the neighbour answers or has
    /// proved absent.
    pub fn find(&mut self, now: Duration, key: NeighbourKey, item: T) -> NeighbourState {
        let absences = match self.entries.get_mut(&key) {
            Some(NeighbourEntry::Known(mac)) => return NeighbourState::Mac(*mac),
            Some(NeighbourEntry::Asked { waiting, .. }) => {
                waiting.push(item);
                self.waiting += 1;
                return NeighbourState::Waits;
            }
            Some(NeighbourEntry::Absent { since, absences }) => {
                let lasts = ABSENCE * 4u32.pow(u32::from(*absences).saturating_sub(1).min(4));
                if now < *since + lasts.min(LONGEST_ABSENCE) {
                    return NeighbourState::Absent;
                }
                *absences
            }
            None => 0,
        };
        self.waiting += 1;
        self.begin(key, None, vec![item], absences);
        NeighbourState::Waits
    }

    fn begin(
        &mut self,
        key: NeighbourKey,
        last_known: Option<[u8; 6]>,
        waiting: Vec<T>,
        absences: u8,
    ) {
        if self.entries.len() >= REMEMBERED {
            self.entries.retain(|_, e| matches!(e, NeighbourEntry::Asked { .. }));
        }
        self.entries.insert(key, NeighbourEntry::Asked { tries: 0, waiting, last_known, absences });
        self.fresh.push_back(key);
    }

    /// Takes an answer in; gives back what waited for it. Answers that nobody asked for are not
    /// believed, nor is a second, different one.
    pub fn learn(&mut self, key: NeighbourKey, mac: [u8; 6]) -> Vec<T> {
        // A group address is no neighbour's own (RFC 4861, section 7.1.2, and IEEE 802).
        if mac[0] & 1 == 1 || mac == [0; 6] {
            return Vec::new();
        }
        match self.entries.get_mut(&key) {
            Some(NeighbourEntry::Asked { waiting, .. }) => {
                let waiting = std::mem::take(waiting);
                self.waiting -= waiting.len();
                self.entries.insert(key, NeighbourEntry::Known(mac));
                waiting
            }
            _ => Vec::new(),
        }
    }

    /// What is to be done at `now`; call again until `None`.
    pub fn poll(&mut self, now: Duration) -> Option<NeighbourStep<T>> {
        while let Some((at, key)) = self.due.front().copied() {
            let Some(NeighbourEntry::Asked { tries, waiting, last_known, absences }) =
                self.entries.get_mut(&key)
            else {
                self.due.pop_front();
                continue;
            };
            if now < at {
                break;
            }
            if *tries < TRIES {
                if now < self.next {
                    return None;
                }
                *tries += 1;
                self.due.pop_front();
                return Some(self.solicit(now, key));
            }
            self.due.pop_front();
            let waiting = std::mem::take(waiting);
            self.waiting -= waiting.len();
            if let Some(mac) = *last_known {
                self.entries.insert(key, NeighbourEntry::Known(mac));
                return Some(NeighbourStep::Fallback(key, mac, waiting));
            }
            let absences = absences.saturating_add(1);
            self.entries.insert(key, NeighbourEntry::Absent { since: now, absences });
            return Some(NeighbourStep::Unreachable(key, waiting));
        }
        while now >= self.next
            && let Some(key) = self.fresh.pop_front()
        {
            if let Some(NeighbourEntry::Asked { tries, absences, .. }) = self.entries.get_mut(&key)
            {
                // Whoever did not answer three times is asked once from then on.
                *tries = if *absences > 0 { TRIES } else { 1 };
                return Some(self.solicit(now, key));
            }
        }
        None
    }

    fn solicit(&mut self, now: Duration, key: NeighbourKey) -> NeighbourStep<T> {
        // Up to 10 ms worth may go out at once after a pause.
        let earliest = now.saturating_sub(Duration::from_millis(10));
        self.next = self.next.max(earliest) + self.gap;
        self.due.push_back((now + SPACING, key));
        NeighbourStep::Solicit(key)
    }

    /// When to call [`poll`](Self::poll) next; `None` when nobody is being asked.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let fresh = (!self.fresh.is_empty()).then_some(self.next);
        // A retry that is due waits for its turn as well.
        let due = self.due.front().map(|(at, _)| (*at).max(self.next));
        match (fresh, due) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Whether so much waits that nothing more should be handed in. It drains by itself: nobody is
    /// asked for longer than `TRIES × SPACING`.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.waiting >= WAITING
    }

    /// Whether anybody is being asked.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        !self.fresh.is_empty()
            || self
                .due
                .iter()
                .any(|(_, k)| matches!(self.entries.get(k), Some(NeighbourEntry::Asked { .. })))
    }

    /// How much waits.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Takes back the solicitation that [`poll`](Self::poll) has just told to send, because it could
    /// not be sent. Gives back what waited; the neighbour is asked anew when it is next needed.
    pub fn withdraw(&mut self, key: NeighbourKey) -> Vec<T> {
        if self.due.back().is_some_and(|(_, k)| *k == key) {
            self.due.pop_back();
        }
        match self.entries.remove(&key) {
            Some(NeighbourEntry::Asked { waiting, .. }) => {
                self.waiting -= waiting.len();
                waiting
            }
            Some(other) => {
                self.entries.insert(key, other);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Gives back all that waits, and forgets who was being asked.
    pub fn give_up(&mut self) -> Vec<T> {
        let mut out = Vec::new();
        self.entries.retain(|_, e| match e {
            NeighbourEntry::Asked { waiting, .. } => {
                out.append(waiting);
                false
            }
            _ => true,
        });
        self.fresh.clear();
        self.due.clear();
        self.waiting = 0;
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn key(n: u8) -> NeighbourKey {
        (0, IpAddr::from([198, 18, 0, n]))
    }

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Lets the time go on from event to event until nothing is left to do.
    fn run(
        table: &mut NeighbourTable<u32>,
        until: Duration,
    ) -> Vec<(Duration, NeighbourStep<u32>)> {
        let mut out = Vec::new();
        let mut now = Duration::ZERO;
        while now <= until {
            while let Some(step) = table.poll(now) {
                out.push((now, step));
            }
            match table.poll_timeout() {
                Some(at) => {
                    assert!(at > now, "poll_timeout {at:?} at {now:?} would spin");
                    now = at;
                }
                None => break,
            }
        }
        out
    }

    #[test]
    fn who_answers_gets_what_waited() {
        let mut t = NeighbourTable::new(1000);
        assert_eq!(t.find(ms(0), key(1), 10), NeighbourState::Waits);
        assert_eq!(t.find(ms(0), key(1), 11), NeighbourState::Waits);
        assert_eq!(t.poll(ms(0)), Some(NeighbourStep::Solicit(key(1))));
        assert_eq!(t.poll(ms(500)), None);
        assert_eq!(t.learn(key(1), MAC), [10, 11]);
        assert_eq!(t.find(ms(501), key(1), 12), NeighbourState::Mac(MAC));
        assert_eq!(t.waiting(), 0);
        // A second answer, and one that nobody asked for, change nothing.
        assert!(t.learn(key(1), [2, 0, 0, 0, 0, 9]).is_empty());
        assert!(t.learn(key(2), MAC).is_empty());
        assert_eq!(t.known(key(1)), Some(MAC));
        assert_eq!(t.known(key(2)), None);
        assert_eq!(t.poll(ms(5000)), None);
        assert_eq!(t.poll_timeout(), None);
    }

    #[test]
    fn group_addresses_are_not_believed() {
        let mut t = NeighbourTable::new(1000);
        t.find(ms(0), key(1), 10);
        assert!(t.learn(key(1), [0xff; 6]).is_empty());
        assert!(t.learn(key(1), [0; 6]).is_empty());
        assert_eq!(t.learn(key(1), MAC), [10]);
    }

    #[test]
    fn who_never_answers_is_absent_after_three_tries() {
        let mut t = NeighbourTable::new(1000);
        t.find(ms(0), key(1), 10);
        let steps = run(&mut t, ms(60_000));
        assert_eq!(
            steps,
            [
                (ms(0), NeighbourStep::Solicit(key(1))),
                (ms(1000), NeighbourStep::Solicit(key(1))),
                (ms(2000), NeighbourStep::Solicit(key(1))),
                (ms(3000), NeighbourStep::Unreachable(key(1), vec![10])),
            ]
        );
        assert_eq!(t.find(ms(3001), key(1), 11), NeighbourState::Absent);
        assert_eq!(t.find(ms(33_001), key(1), 12), NeighbourState::Waits);
        assert_eq!(t.poll(ms(33_001)), Some(NeighbourStep::Solicit(key(1))));
        // From now on one question is enough, and they become rare.
        assert_eq!(t.poll(ms(34_001)), Some(NeighbourStep::Unreachable(key(1), vec![12])));
        assert_eq!(t.find(ms(34_001 + 119_000), key(1), 13), NeighbourState::Absent);
        assert_eq!(t.find(ms(34_001 + 121_000), key(1), 14), NeighbourState::Waits);
    }

    #[test]
    fn what_the_kernel_knew_last_is_used_when_nobody_answers() {
        let mut t: NeighbourTable<u32> = NeighbourTable::new(1000);
        t.ask(key(1), Some(MAC));
        assert!(t.is_asking());
        let steps = run(&mut t, ms(60_000));
        assert_eq!(steps.last(), Some(&(ms(3000), NeighbourStep::Fallback(key(1), MAC, vec![]))));
        assert!(!t.is_asking());
        assert_eq!(t.known(key(1)), Some(MAC));
    }

    #[test]
    fn solicitations_keep_to_their_rate_and_all_get_theirs() {
        let mut t = NeighbourTable::new(100);
        for n in 0..200 {
            t.find(ms(0), key(n), u32::from(n));
        }
        let steps = run(&mut t, ms(60_000));
        let times: Vec<Duration> = steps
            .iter()
            .filter_map(|(at, s)| matches!(s, NeighbourStep::Solicit(_)).then_some(*at))
            .collect();
        assert_eq!(times.len(), 200 * usize::from(TRIES));
        for pair in times.windows(102) {
            assert!(pair[101] - pair[0] >= ms(990), "more than 100 in a second");
        }
        let lost: usize = steps
            .iter()
            .map(|(_, s)| if let NeighbourStep::Unreachable(_, w) = s { w.len() } else { 0 })
            .sum();
        assert_eq!(lost, 200);
        assert_eq!(t.waiting(), 0);
    }

    #[test]
    fn a_solicitation_that_was_not_sent_proves_nothing() {
        let mut t = NeighbourTable::new(1000);
        t.find(ms(0), key(1), 10);
        assert_eq!(t.poll(ms(0)), Some(NeighbourStep::Solicit(key(1))));
        assert_eq!(t.withdraw(key(1)), [10]);
        assert_eq!(t.waiting(), 0);
        assert!(!t.is_asking());
        assert_eq!(t.poll_timeout(), None);
        // Later it is asked from the beginning.
        assert_eq!(t.find(ms(500), key(1), 11), NeighbourState::Waits);
        let steps = run(&mut t, ms(60_000));
        assert_eq!(steps.len(), 4);
        t.insert(key(2), MAC);
        assert!(t.withdraw(key(2)).is_empty());
        assert_eq!(t.known(key(2)), Some(MAC));
    }

    #[test]
    fn giving_up_gives_everything_back() {
        let mut t = NeighbourTable::new(1000);
        t.insert(key(9), MAC);
        for n in 0..5 {
            t.find(ms(0), key(n), u32::from(n));
        }
        t.poll(ms(0));
        let mut back = t.give_up();
        back.sort_unstable();
        assert_eq!(back, [0, 1, 2, 3, 4]);
        assert_eq!(t.poll_timeout(), None);
        assert_eq!(t.known(key(9)), Some(MAC));
    }

    #[test]
    fn memory_is_bounded() {
        let mut t: NeighbourTable<()> = NeighbourTable::new(1_000_000);
        for n in 0..(REMEMBERED as u32 + 10) {
            t.insert((0, IpAddr::from(n.to_be_bytes())), MAC);
        }
        t.find(ms(0), (0, IpAddr::from([255; 4])), ());
        assert!(t.entries.len() < 10);
        for n in 0..WAITING {
            assert!(!t.is_full(), "{n}");
            t.find(ms(0), (0, IpAddr::from([255; 4])), ());
            if t.is_full() {
                break;
            }
        }
        assert!(t.is_full());
    }
}
