//! Which virtual hosts' names still point at us, by DNS.
//!
//! A cross-check and nothing more: whatever an answer says, no packet goes to an address because
//! of it. A name that points elsewhere is still asked for at the address that the list names.

mod summary;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use mimawari_probes::observation::DnsPointing;
use mimawari_targets::Scope;
use mimawari_targets::dns::{self, AddressFamily, NameResolver};
use mimawari_targets::list::HostName;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use summary::DnsSummary;

/// How many answers are remembered.
const REMEMBERED: usize = 65_536;

/// How many addresses are remembered in all those answers.
const REMEMBERED_ADDRESSES: usize = 262_144;

/// How many (name, address) pairs may wait for questions that are under way.
const WAITING: usize = 4096;

/// So many questions in a row without an answer, under so many domains, are a resolver that does
/// not work, if there was no answer before.
const SILENT: usize = 20;
const SILENT_DOMAINS: usize = 3;

/// So long without an answer, and it does not work any more. Longer than one look-up may take:
/// many names under one dead domain may follow each other.
const PATIENCE: Duration = Duration::from_secs(120);

/// Says of every (name, address) that comes in where the name points. Names are A-labels in lower
/// case, addresses lie in the scope.
///
/// A name is asked for once for both families, however many addresses it comes with, as long as it
/// is among the last 65,536 answers or under way. At most `at_once` names are under way, and never
/// more than [`dns::NAMES_AT_ONCE`]; each ends within 30 s. The check ends with the last name, when
/// nobody receives any more, or when the resolver does not work: then `names` is closed, what is
/// under way is reported as unknown, and the rest is not reported.
pub async fn check_names<R: NameResolver + ?Sized>(
    mut names: mpsc::Receiver<(String, IpAddr)>,
    resolver: &R,
    scope: &Scope,
    at_once: usize,
    out: mpsc::Sender<(String, IpAddr, DnsPointing)>,
) -> DnsSummary {
    let at_once = at_once.clamp(1, dns::NAMES_AT_ONCE);
    let mut summary = DnsSummary::default();
    let mut known = NameCache::default();
    let mut asking = FuturesUnordered::new();
    let mut waiting: HashMap<String, Vec<(u64, IpAddr)>> = HashMap::new();
    let mut patience = RetryLimit::begin(Instant::now());
    let (mut number, mut waiters, mut more) = (0u64, 0usize, true);
    while more || !asking.is_empty() {
        tokio::select! {
            () = out.closed() => return summary,
            next = names.recv(), if more && asking.len() < at_once && waiters < WAITING => {
                let Some((name, ip)) = next else {
                    more = false;
                    continue;
                };
                number += 1;
                let pointing = match known.get(&name) {
                    Some(answer) => answer.pointing(ip),
                    None => {
                        if let Some(list) = waiting.get_mut(&name) {
                            (waiters, ()) = (waiters + 1, list.push((number, ip)));
                            continue;
                        }
                        if let Ok(host) = HostName::with_underscores(&name) {
                            summary.asked += 1;
                            waiters += 1;
                            waiting.insert(name.clone(), vec![(number, ip)]);
                            asking.push(ask(name, host, resolver, scope));
                            continue;
                        }
                        // Nothing that DNS could be asked for.
                        DnsPointing::Unknown
                    }
                };
                summary.add(number, &name, pointing);
                if out.send((name, ip, pointing)).await.is_err() {
                    return summary;
                }
            }
            Some((name, answer)) = asking.next(), if !asking.is_empty() => {
                for (number, ip) in waiting.remove(&name).unwrap_or_default() {
                    waiters -= 1;
                    let pointing = answer.pointing(ip);
                    summary.add(number, &name, pointing);
                    if out.send((name.clone(), ip, pointing)).await.is_err() {
                        return summary;
                    }
                }
                if patience.is_over(&name, answer.is_usable(), Instant::now()) {
                    summary.gave_up = true;
                    break;
                }
                known.put(name, answer);
            }
        }
    }
    names.close();
    for (name, list) in waiting {
        for (number, ip) in list {
            summary.add(number, &name, DnsPointing::Unknown);
            if out.send((name.clone(), ip, DnsPointing::Unknown)).await.is_err() {
                return summary;
            }
        }
    }
    summary
}

/// What DNS says of a name, as far as it is of use here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct DnsAnswer {
    /// Its addresses in the scope.
    inside: Box<[IpAddr]>,
    /// Whether it has others.
    outside: bool,
    /// Whether the question for A, and for AAAA, failed.
    failed: [bool; 2],
}

impl DnsAnswer {
    /// A family that failed could hold the address; what an answer does not exclude is unknown.
    fn pointing(&self, ip: IpAddr) -> DnsPointing {
        if self.inside.contains(&ip) {
            return DnsPointing::Here;
        }
        match self.failed {
            [v4, v6] if (ip.is_ipv4() && v4) || (ip.is_ipv6() && v6) => DnsPointing::Unknown,
            _ if !self.inside.is_empty() => DnsPointing::Ours,
            [false, false] if self.outside => DnsPointing::Elsewhere,
            [false, false] => DnsPointing::Nowhere,
            _ => DnsPointing::Unknown,
        }
    }

    /// Whether the resolver said anything.
    fn is_usable(&self) -> bool {
        self.failed != [true, true]
    }
}

async fn ask<R: NameResolver + ?Sized>(
    name: String,
    host: HostName,
    resolver: &R,
    scope: &Scope,
) -> (String, DnsAnswer) {
    let (v4, v6) = futures_util::join!(
        dns::lookup(resolver, &host, AddressFamily::V4),
        dns::lookup(resolver, &host, AddressFamily::V6)
    );
    let (mut inside, mut answer) = (Vec::new(), DnsAnswer::default());
    for (family, found) in [v4, v6].into_iter().enumerate() {
        match found {
            Ok(addresses) => {
                for ip in addresses {
                    if scope.allows(ip) { inside.push(ip) } else { answer.outside = true }
                }
            }
            // Some name servers say so of one family alone (RFC 4074, section 4.2), so it is taken
            // to hold for this one.
            Err(dns::ResolveError::NoSuchName) => {}
            Err(_) => answer.failed[family] = true,
        }
    }
    answer.inside = inside.into();
    (name, answer)
}

/// The last answers, in two generations: when the younger is full, the older is forgotten. What is
/// asked for again becomes young again.
#[derive(Debug, Default)]
struct NameCache {
    young: HashMap<String, DnsAnswer>,
    old: HashMap<String, DnsAnswer>,
    /// Addresses in `young`.
    addresses: usize,
}

impl NameCache {
    fn get(&mut self, name: &str) -> Option<&DnsAnswer> {
        if let Some((name, answer)) = self.old.remove_entry(name) {
            self.put(name, answer);
        }
        self.young.get(name)
    }

    fn put(&mut self, name: String, answer: DnsAnswer) {
        if self.young.len() >= REMEMBERED / 2
            || self.addresses + answer.inside.len() > REMEMBERED_ADDRESSES / 2
        {
            self.old = std::mem::take(&mut self.young);
            self.addresses = 0;
        }
        self.addresses += answer.inside.len();
        self.young.insert(name, answer);
    }
}

/// Decides when a resolver does not work.
#[derive(Debug)]
struct RetryLimit {
    last_answer: Instant,
    answered: bool,
    silent: usize,
    /// Domains of the silent ones, while they are few.
    domains: HashSet<String>,
}

impl RetryLimit {
    fn begin(now: Instant) -> Self {
        Self { last_answer: now, answered: false, silent: 0, domains: HashSet::new() }
    }

    fn is_over(&mut self, name: &str, usable: bool, now: Instant) -> bool {
        if usable {
            *self = Self { answered: true, ..Self::begin(now) };
            return false;
        }
        self.silent += 1;
        if self.domains.len() < SILENT_DOMAINS {
            // The last two labels, or the place of nothing shorter.
            let start = name.rmatch_indices('.').nth(1).map_or(0, |(at, _)| at + 1);
            self.domains.insert(name[start..].to_owned());
        }
        self.silent >= SILENT
            && (now - self.last_answer >= PATIENCE
                || (!self.answered && self.domains.len() >= SILENT_DOMAINS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_an_answer_does_not_exclude_is_unknown() {
        use DnsPointing::{Elsewhere, Here, Nowhere, Ours, Unknown};
        let (a4, b4, a6) = (ip("198.51.100.1"), ip("198.51.100.2"), ip("2001:db8::1"));
        // Inside, outside, failed A, failed AAAA; what it says of a4 and of a6.
        type Case<'a> = (&'a [IpAddr], bool, bool, bool, DnsPointing, DnsPointing);
        let cases: &[Case<'_>] = &[
            (&[a4], false, false, false, Here, Ours),
            (&[a4, a6], true, false, false, Here, Here),
            (&[b4], true, false, false, Ours, Ours),
            (&[b4], false, false, true, Ours, Unknown),
            (&[a6], false, true, false, Unknown, Here),
            (&[], true, false, false, Elsewhere, Elsewhere),
            (&[], true, false, true, Unknown, Unknown),
            (&[], false, false, false, Nowhere, Nowhere),
            (&[], false, true, false, Unknown, Unknown),
            (&[], false, true, true, Unknown, Unknown),
        ];
        for (inside, outside, v4, v6, of_4, of_6) in cases {
            let answer =
                DnsAnswer { inside: (*inside).into(), outside: *outside, failed: [*v4, *v6] };
            assert_eq!((answer.pointing(a4), answer.pointing(a6)), (*of_4, *of_6), "{answer:?}");
        }
    }

    #[test]
    fn memory_is_bounded_and_keeps_what_is_asked_for() {
        let mut memory = NameCache::default();
        for i in 0..200_000 {
            memory.put(format!("n{i}.example"), DnsAnswer::default());
            assert!(memory.get("n0.example").is_some());
            assert!(memory.young.len() + memory.old.len() <= REMEMBERED);
        }
        assert!(memory.get("n1.example").is_none());
        assert!(memory.get("n199999.example").is_some());
        let large =
            DnsAnswer { inside: vec![ip("198.51.100.1"); 512].into(), ..DnsAnswer::default() };
        for i in 0..2000 {
            memory.put(format!("l{i}.example"), large.clone());
        }
        let all = memory.young.values().chain(memory.old.values());
        let addresses: usize = all.map(|a| a.inside.len()).sum();
        assert!((200_000..=REMEMBERED_ADDRESSES).contains(&addresses), "{addresses}");
    }

    #[test]
    fn a_dead_domain_is_no_dead_resolver() {
        let start = Instant::now();
        let dead = |names: &[&str], answered: bool, after: u64| {
            let mut patience = RetryLimit::begin(start);
            if answered {
                patience.is_over("good.example", true, start);
            }
            let later = start + Duration::from_secs(after);
            (1..=1000).find(|i| patience.is_over(names[i % names.len()], false, later))
        };
        let three = ["a.one.example", "a.two.example", "three.example"];
        assert_eq!(dead(&three, false, 9), Some(20));
        assert_eq!(dead(&["a.one.example", "b.one.example", "one.example"], false, 9), None);
        assert_eq!(dead(&three, true, 9), None);
        assert_eq!(dead(&three, true, 120), Some(20));
        assert_eq!(dead(&["a.one.example"], false, 120), Some(20));
    }
}
