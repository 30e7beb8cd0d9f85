//! A thousand weeks of receivers that fail at random and of runs that are killed at any instant: nothing
//! is lost, nothing comes twice but where an answer was lost, and the order is kept. No socket and no
//! clock: a week takes milliseconds.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use mimawari_drift::outbox::{MOST_PENDING, Outbox, PendingNotice};
use mimawari_drift::verdict::{ChangeKind, Finding, FindingChange, FindingState, Verdict};
use mimawari_notify::client::SendError;
use mimawari_notify::ledger::{DeliveryLog, QueueRecord, SeenRecord};
use mimawari_notify::notifier::DeliverySemantics;
use mimawari_notify::queue::{DeliveryQueue, NoticeSender, PoliteWait, deliver_queue};
use mimawari_report::notify::NoticeDelay;
use serde_json::json;

/// `MIMAWARI_WEEKS` gives another number.
const WEEKS: u64 = 1_000;
const FINDINGS: usize = 4;

/// Numbers that look random (splitmix64).
struct Dice(u64);

impl Dice {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.draw() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What a receiver does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    Fine,
    /// Not taken, and it says so: 5xx, TLS, no connection.
    Down,
    /// Not taken, and nothing is said.
    Silent,
    /// Taken, and the answer is lost.
    LostAnswer,
    /// 429 and a wait.
    Limited(Duration),
}

impl Weather {
    fn draw(dice: &mut Dice) -> Self {
        match dice.below(12) {
            0..=3 => Self::Fine,
            4 | 5 => Self::Down,
            6 => Self::Silent,
            7 | 8 => Self::LostAnswer,
            9 => Self::Limited(Duration::from_secs(60 + dice.below(600))),
            10 => Self::Limited(Duration::from_secs(3600 * (1 + dice.below(30)))),
            // The time of a clock that is years ahead, and one that has gone by.
            _ => Self::Limited(Duration::from_secs(if dice.one_in(2) { 1 << 40 } else { 0 })),
        }
    }
}

/// A receiver and what is on record of it, and the fuel of the process that runs.
struct World {
    inner: Mutex<WorldState>,
}

struct WorldState {
    now: Timestamp,
    weather: Weather,
    record: Option<QueueRecord>,
    /// Steps until the process is killed; `None`: it is not.
    fuel: Option<u32>,
    /// Parts that the receiver took, in order, with the change of each.
    taken: Vec<(String, Vec<(String, ChangeKind)>)>,
    /// Copies that came although it was on record that they had arrived.
    needless: Vec<String>,
}

impl World {
    /// One step of a process: `true` if it takes effect, and then perhaps the process is killed.
    async fn step<T>(&self, effect: impl FnOnce(&mut WorldState) -> T) -> T {
        let (done, killed) = {
            let mut w = self.inner.lock().expect("it");
            let killed = match &mut w.fuel {
                Some(0) => Some(false),
                Some(1) => {
                    w.fuel = Some(0);
                    Some(true)
                }
                Some(n) => {
                    *n -= 1;
                    None
                }
                None => None,
            };
            // A process that is killed before the step does nothing; one that is killed after it never
            // learns what became of it.
            let done = (killed != Some(false)).then(|| effect(&mut w));
            (done, killed.is_some())
        };
        match done {
            Some(done) if !killed => done,
            _ => std::future::pending().await,
        }
    }
}

impl DeliveryLog for World {
    async fn read(&self, _receiver: &str) -> io::Result<(QueueRecord, SeenRecord)> {
        self.step(|w| Ok((w.record.clone().unwrap_or_default(), SeenRecord::default()))).await
    }

    async fn replace(
        &self,
        _receiver: &str,
        record: &QueueRecord,
        _seen: SeenRecord,
    ) -> io::Result<Option<SeenRecord>> {
        let record = record.clone();
        self.step(|w| {
            w.record = Some(record);
            Ok(Some(SeenRecord::default()))
        })
        .await
    }

    async fn keep_refused(&self, _: &str, _: &str, _: Vec<u8>) -> io::Result<()> {
        panic!("nothing is refused here")
    }
}

/// Sends the parts of a notice: one for all of it, or one for each change.
struct PartSender<'a> {
    world: &'a World,
    semantics: DeliverySemantics,
}

impl NoticeSender for PartSender<'_> {
    async fn send(
        &self,
        notice: &PendingNotice,
        _delay: Option<&NoticeDelay>,
        arrived: &mut Vec<String>,
    ) -> Result<(), SendError> {
        let changes: Vec<(String, ChangeKind)> =
            notice.changes.iter().map(|c| (c.key.clone(), c.what)).collect();
        let parts: Vec<(String, Vec<(String, ChangeKind)>)> = if self.semantics.merges {
            vec![(notice.event.clone(), changes)]
        } else {
            changes.into_iter().map(|c| (c.0.clone(), vec![c])).collect()
        };
        for part in parts {
            if arrived.contains(&part.0) {
                continue;
            }
            let id = part.0.clone();
            let event = &notice.event;
            let sent = self.world.step(|w| {
                let weather = w.weather;
                if matches!(weather, Weather::Fine | Weather::LostAnswer) {
                    let noted = w.record.as_ref().is_some_and(|r| {
                        r.is_delivered(event)
                            || r.sending.contains(event) && r.arrived.contains(&part.0)
                    });
                    if noted {
                        w.needless.push(part.0.clone());
                    }
                    w.taken.push(part);
                }
                match weather {
                    Weather::Fine => Ok(()),
                    Weather::Down => Err(SendError::certain("503")),
                    Weather::Silent | Weather::LostAnswer => Err(SendError::in_doubt("no answer")),
                    Weather::Limited(wait) => {
                        Err(SendError { retry_after: Some(wait), ..SendError::certain("429") })
                    }
                }
            });
            sent.await?;
            arrived.push(id);
        }
        Ok(())
    }

    fn letter(&self, _: &PendingNotice, _: &SendError) -> Vec<u8> {
        Vec::new()
    }
}

struct NoWait;

impl PoliteWait for NoWait {
    async fn wait(&self, _: u32) -> bool {
        false
    }
}

fn blank() -> Verdict {
    serde_json::from_value(json!({
        "version": 1, "run_id": "r", "judged_at": "2026-08-01T01:01:12Z", "exit": 1,
        "incomplete": false, "incomplete_because": [], "suspect": false,
        "coverage": {"cells_planned": 1, "cells_covered": 1, "open": 1, "closed": 0,
            "prohibited": 0, "silent": 0, "not_probed": 0, "recall_estimate": null,
            "recall_interval": null, "recall_promised": 0.9999, "checks_planned": 0,
            "checks_covered": 0, "not_covered": []},
        "counts": {"open": 0, "unverified": 0, "resolving": 0, "resolved": 0, "allowed": 0,
            "missing": 0, "out_of_scope": 0, "unconfirmed": 0, "new": 0},
        "run": {"started_at": null, "ended_at": null, "method": "syn", "targets": [], "ports": "1",
            "addresses": 1, "authorised_by": "T", "scope_digest": "", "vantage": "outside",
            "rate_asked": 1, "rate_reached": 1.0, "packets_sent": 1, "send_failures": 0,
            "receive_drops": 0, "canaries_answered": 0, "canaries_total": 0, "notes": []},
        "baseline_digest": "", "findings": [],
    }))
    .expect("a verdict")
}

fn findings() -> Vec<Finding> {
    let one = |n: usize| {
        serde_json::from_value(json!({
            "id": format!("{n:016x}"), "kind": "unexpected-open", "vantage": "outside",
            "proto": "tcp", "ip": "198.51.100.1", "port": 1 + n, "host": null, "path": null,
            "check": null, "state": "open", "cause": "unmatched", "severity": "high",
            "first_seen": "2026-07-20T01:00:00Z", "last_seen": "2026-08-01T01:00:41Z",
            "new": true, "reopened": 0, "flapping": false, "owner": null, "allowed_by": null,
            "why": "", "service": null, "evidence": null,
        }))
        .expect("a finding")
    };
    (0..FINDINGS).map(one).collect()
}

/// The state between runs.
#[derive(Clone)]
struct Generation {
    outbox: Outbox,
    /// How often something was said of each finding, and whether that was that it is there.
    said: [(u32, bool); FINDINGS],
}

/// Everything that was written down to be said.
type Written = Vec<(String, ChangeKind)>;

/// One judgement: what differs from what was said, written down in one generation.
fn judge(
    next: &mut Generation,
    open: [bool; FINDINGS],
    run: u32,
    now: Timestamp,
    (v, all): (&Verdict, &[Finding]),
) -> Written {
    let mut changes = Vec::new();
    for (i, finding) in all.iter().enumerate() {
        let (count, there) = &mut next.said[i];
        if *there == open[i] {
            continue;
        }
        *there = open[i];
        *count += 1;
        let (what, state) = match (open[i], *count) {
            (true, 1) => (ChangeKind::Opened, FindingState::Open),
            (true, _) => (ChangeKind::Reopened, FindingState::Open),
            (false, _) => (ChangeKind::Resolved, FindingState::Resolved),
        };
        let key = format!("{}.{count}", finding.id);
        let finding = Finding { state, ..finding.clone() };
        changes.push((FindingChange { key, finding: finding.id.clone(), what }, finding));
    }
    let written: Written = changes.iter().map(|(c, _)| (c.key.clone(), c.what)).collect();
    if !written.is_empty() {
        let notice =
            PendingNotice::new(format!("run-{run}"), now, v, changes.iter().map(|(c, f)| (c, f)));
        next.outbox.push("x", notice);
    }
    written
}

/// A week of hourly runs, and a healthy day after it.
fn week(seed: u64, semantics: DeliverySemantics, parts: (&Verdict, &[Finding])) {
    let mut dice = Dice(seed);
    let start: Timestamp = "2026-08-01T00:00:00Z".parse().expect("a time");
    let world = World {
        inner: Mutex::new(WorldState {
            now: start,
            weather: Weather::Fine,
            record: None,
            fuel: None,
            taken: Vec::new(),
            needless: Vec::new(),
        }),
    };
    let mut state = Generation { outbox: Outbox::default(), said: [(0, false); FINDINGS] };
    let mut open = [false; FINDINGS];
    let (mut written, mut overflowed) = (Written::new(), false);
    let mut weather_for = 0;
    let hours = 7 * 24;
    for run in 0..hours + 26 {
        let healthy = run >= hours;
        let mut now = start + SignedDuration::from_hours(i64::from(run));
        // A run that is repeated some seconds after it was killed, or one that is late.
        now += SignedDuration::from_secs(dice.below(900) as i64);
        if weather_for == 0 {
            weather_for = 1 + if dice.one_in(20) { dice.below(60) } else { dice.below(6) };
            world.inner.lock().expect("it").weather = Weather::draw(&mut dice);
        }
        weather_for -= 1;
        {
            let mut w = world.inner.lock().expect("it");
            w.now = now;
            if healthy {
                w.weather = Weather::Fine;
            }
            w.fuel = (!healthy && dice.one_in(3)).then(|| dice.below(12) as u32);
        }
        for there in &mut open {
            if !healthy && dice.one_in(4) {
                *there = !*there;
            }
        }
        let mut next = state.clone();
        {
            let w = world.inner.lock().expect("it");
            let delivered = |event: &str| w.record.as_ref().is_some_and(|r| r.is_delivered(event));
            next.outbox.remove_delivered(|_, event| delivered(event));
        }
        let said = judge(&mut next, open, run, now, parts);
        // The save is one step, too: a run that is killed before it has written nothing down.
        let saved = world.step(|_| ()).now_or_never().is_some();
        let killed_after = !saved && dice.one_in(2);
        if saved || killed_after {
            overflowed |= next.outbox.pending("x").iter().any(|n| !n.merged.is_empty());
            assert!(next.outbox.pending("x").len() <= MOST_PENDING);
            written.extend(said);
            state = next;
        }
        if !saved {
            continue;
        }
        let (fresh, holder) = ([format!("run-{run}")], format!("p{run}"));
        let queue = DeliveryQueue {
            receiver: "x",
            semantics,
            notices: state.outbox.pending("x"),
            fresh: &fresh,
            holder: &holder,
        };
        let sender = PartSender { world: &world, semantics };
        let clock = || world.inner.lock().expect("it").now;
        // A process that is killed is polled no more.
        drop(deliver_queue(queue, &world, &sender, &NoWait, clock).now_or_never());
    }
    let w = world.inner.into_inner().expect("it");
    let what = format!("week {seed}, {semantics:?}");
    assert!(w.needless.is_empty(), "{what}: came again after it was noted: {:?}", w.needless);
    check(&what, &w.taken, &written, semantics, overflowed);
}

fn check(
    what: &str,
    taken: &[(String, Vec<(String, ChangeKind)>)],
    written: &Written,
    semantics: DeliverySemantics,
    overflowed: bool,
) {
    // A copy of a part is what a lost answer forces; a receiver that knows ids drops it.
    let mut seen = BTreeSet::new();
    let mut copies = 0;
    let mut arrived: Vec<&(String, ChangeKind)> = Vec::new();
    for (id, changes) in taken {
        if seen.insert(id) {
            arrived.extend(changes);
        } else {
            copies += 1;
        }
    }
    let _ = copies;
    if !semantics.merges && !overflowed {
        assert_eq!(arrived, written.iter().collect::<Vec<_>>(), "{what}");
    }
    // Whatever was merged: where each finding stands is known, and no end came without a beginning.
    let finding = |key: &str| key.split('.').next().unwrap_or_default().to_owned();
    let mut last = BTreeMap::new();
    for (key, kind) in written {
        last.insert(finding(key), (key, *kind));
    }
    let mut known: BTreeMap<String, (&String, ChangeKind)> = BTreeMap::new();
    for (key, kind) in arrived {
        let before = known.insert(finding(key), (key, *kind));
        if !kind.is_alarm() {
            assert!(before.is_some_and(|(_, k)| k.is_alarm()), "{what}: {key} ended unannounced");
        }
    }
    let alarm = |m: &BTreeMap<String, (&String, ChangeKind)>| -> BTreeMap<String, (String, bool)> {
        m.iter().map(|(f, (key, k))| (f.clone(), ((*key).clone(), k.is_alarm()))).collect()
    };
    assert_eq!(alarm(&known), alarm(&last), "{what}");
}

#[test]
fn a_thousand_weeks_lose_nothing_and_double_nothing() {
    let (v, all) = (blank(), findings());
    let semantics = |knows_ids, merges| DeliverySemantics {
        knows_ids,
        merges,
        is_figure: false,
        when_in_doubt: "",
    };
    let weeks = std::env::var("MIMAWARI_WEEKS").ok().and_then(|w| w.parse().ok());
    for seed in 0..weeks.unwrap_or(WEEKS) {
        let kinds = [semantics(true, false), semantics(false, true), semantics(false, false)];
        week(seed, kinds[(seed % 3) as usize], (&v, &all));
    }
}
