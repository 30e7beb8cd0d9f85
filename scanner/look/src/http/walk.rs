//! One worker: hosts of its lane one after the other, their paths one after the other, over one
//! connection that is made anew whenever the server ends it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, LOCATION, RETRY_AFTER, SERVER};
use mimawari_probes::gap::Gap;
use mimawari_probes::http::manifest::Manifest;
use mimawari_probes::http::raw::title;
use mimawari_probes::http::{
    Day, Failure, Names, PathCheck, PathPlan, Response, decode, printable,
};
use mimawari_probes::observation::{HttpObservation, Observation, Outcome, Scheme, WebObservation};
use mimawari_targets::Endpoint;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout_at};

use super::connection::{
    Answer, Asker, BODY_LIMIT, Connection, Fault, FaultKind, Route, Timeouts, get_by_force,
};
use super::turns::{Lane, Ticket, network};
use super::{Shared, Unheard, tempo};

/// How often one request is tried on new connections, or at a server that fails.
const TRIES: u32 = 3;

/// After so many connections in a row that could not be made, the server counts as gone.
const CONNECT_STRIKES: u32 = 3;

/// After so many paths in a row without an answer in time, or without any answer since the
/// beginning, the target counts as gone.
const SILENT_STRIKES: u32 = 3;

/// After so many paths in a row whose connection was cut. More patient than for silence: a filter
/// in front of a healthy site cuts exactly the requests for files that should not be there.
const CUT_STRIKES: u32 = 12;

/// After so many names in a row that never brought an answer, a TLS port is dead for all.
const DEAD_HOSTS: u32 = 3;

/// A site that has failed so often in a row is asked only once for each path: it fails at all.
const FAILING_LIMIT: u32 = 12;

/// After so many paths in a row that were put off, the site counts as closed for now.
const PUT_OFF_LIMIT: u32 = 5;

/// Pause before another connection is tried, times the number of ends so far.
const PAUSE: Duration = Duration::from_millis(100);

/// A site that has been quick so far gets this long at least for an answer, and so many times its
/// slowest answer; what is not there then is asked for once more, last and with all the time.
const HASTE: (Duration, u32) = (Duration::from_secs(3), 20);

/// So many paths that failed among others that did not are tried once more, at the end.
const SECOND_CHANCES: usize = 32;

/// After so many times the usual patience for an answer the address itself may go on with another
/// host.
const LONG_WAIT: u32 = 6;

/// A worker walks so many hosts before others have their turn.
const HOSTS_PER_TURN: usize = 4;

/// Longest text of a site's facts, characters.
const TEXT_LIMIT: usize = 256;

/// Why a path has no answer that its check could judge.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    outcome: Outcome,
    reason: String,
}

/// How long to wait for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// By what the site has shown.
    Hasty,
    /// As configured.
    Full,
}

/// Why waiting came to an end.
enum Cut {
    Stopped,
    TimeUp,
}

/// Walks a few hosts of the ticket's lane.
pub(super) async fn walk(shared: &Shared, ticket: &Ticket) -> Result<(), Unheard> {
    let mut worker = Worker {
        shared,
        ticket,
        lane: &ticket.lane,
        connection: None,
        nap: Some(Box::pin(sleep(Duration::ZERO))),
    };
    for _ in 0..HOSTS_PER_TURN {
        match ticket.lane.next_host() {
            Ok(Some(host)) => worker.walk(host).await?,
            Ok(None) => return Ok(()),
            Err(error) => {
                shared
                    .looked
                    .borrow_mut()
                    .add(Gap::VhostListUnusable { reason: error.to_string() });
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The `Host` field (RFC 9112, section 3.2): the port is left out when it is the scheme's own, as
/// browsers do; a few servers find no virtual host otherwise.
fn host_field(host: Option<&str>, endpoint: Endpoint, scheme: Scheme) -> String {
    let port = endpoint.port().get();
    match host {
        Some(host) if port == scheme.default_port() => host.to_owned(),
        Some(host) => format!("{host}:{port}"),
        None if port == scheme.default_port() && endpoint.ip().is_ipv4() => {
            endpoint.ip().to_string()
        }
        None if port == scheme.default_port() => format!("[{}]", endpoint.ip()),
        None => endpoint.socket_addr().to_string(),
    }
}

/// The target in work.
struct Target {
    host: Option<String>,
    route: Route,
    asker: Result<Asker, Fault>,
    deadline: Instant,
    tempo: tempo::Tempo,
    ceiling: tempo::Ceiling,
    answered: bool,
    /// The longest that an answer took.
    slowest: Duration,
    /// The last fault was a timeout that came before its time.
    hurried: bool,
    /// Paths in a row without an answer.
    silent: u32,
    /// Paths in a row that the server put off.
    put_off: u32,
    /// TLS handshakes in a row that failed.
    refused: u32,
    gone: Option<Ending>,
}

impl Target {
    /// Counts paths that were put off to the last, and gives up on a site that does so with all.
    /// With one alone it may be a filter's way to say no.
    fn putting_off(&mut self, status: u16) {
        self.put_off = if matches!(status, 429 | 503) { self.put_off + 1 } else { 0 };
        if self.put_off >= PUT_OFF_LIMIT {
            let reason =
                format!("{PUT_OFF_LIMIT} paths in a row were put off with status {status}");
            self.gone.get_or_insert(Ending { outcome: Outcome::Error, reason });
        }
    }
}

struct Worker<'a> {
    shared: &'a Shared,
    ticket: &'a Ticket,
    lane: &'a Lane,
    connection: Option<Connection>,
    nap: Option<Pin<Box<Sleep>>>,
}

impl Worker<'_> {
    async fn walk(&mut self, host: Option<String>) -> Result<(), Unheard> {
        let (shared, lane) = (self.shared, self.lane);
        let config = &*shared.config;
        shared.looked.borrow_mut().targets += 1;
        let sni = host.clone().filter(|_| lane.scheme == Scheme::Https);
        let field = host_field(host.as_deref(), lane.endpoint, lane.scheme);
        let mut target = Target {
            route: Route { endpoint: lane.endpoint, scheme: lane.scheme, sni },
            asker: Asker::new(&field, &config.user_agent),
            deadline: Instant::now() + config.per_target_time,
            tempo: tempo::Tempo::new(config.longest_pause),
            ceiling: tempo::Ceiling::new(config.rate_per_site),
            answered: false,
            slowest: Duration::ZERO,
            hurried: false,
            silent: 0,
            put_off: 0,
            refused: 0,
            gone: None,
            host,
        };
        // A TLS connection belongs to one name.
        if lane.scheme == Scheme::Https {
            self.connection = None;
        }
        self.facts(&mut target).await?;
        // Names of files never go to another host than the one they came from.
        let manifests: Vec<&Arc<Manifest>> = config
            .manifests
            .iter()
            .filter(|m| m.concerns(target.host.as_deref(), lane.endpoint.ip()))
            .collect();
        let now = (config.now)().to_zoned(jiff::tz::TimeZone::UTC);
        let today = Day { year: now.year(), month: now.month(), day: now.day() };
        let plan = shared.plan.on(Names { host: target.host.as_deref(), today }, &manifests);
        let ceiling = config.paths_per_target.min(plan.len());
        let (asked, beyond) = plan.split_at(ceiling);
        let mut late = Vec::new();
        for path in asked {
            let observation = self.check(path, &mut target, Wait::Hasty).await;
            let mendable = observation.outcome == Outcome::Error
                && target.gone.is_none()
                && Instant::now() < target.deadline;
            if mendable && target.answered && (target.hurried || late.len() < SECOND_CHANCES) {
                late.push(path);
            } else {
                shared.emit(Observation::Http(Box::new(observation))).await?;
            }
        }
        // Slow or unlucky for once, or a tarpit: whoever is given up by now gets no more time.
        for path in late {
            let observation = self.check(path, &mut target, Wait::Full).await;
            shared.emit(Observation::Http(Box::new(observation))).await?;
        }
        if !beyond.is_empty() {
            let reason = format!("over the ceiling of {ceiling} paths for one target");
            target.gone.get_or_insert(Ending { outcome: Outcome::Skipped, reason });
        }
        for path in beyond {
            let observation = self.check(path, &mut target, Wait::Hasty).await;
            shared.emit(Observation::Http(Box::new(observation))).await?;
        }
        let dead = if target.answered { 0 } else { lane.dead_hosts.get() + 1 };
        lane.dead_hosts.set(dead);
        // A port that has never answered anybody will not answer the next name either. Behind TLS
        // it may be the name.
        let bound = if lane.scheme == Scheme::Https { DEAD_HOSTS } else { 1 };
        if dead >= bound
            && !lane.answered.get()
            && let Some(gone) = target.gone.filter(|g| g.outcome != Outcome::Skipped)
        {
            lane.gone.borrow_mut().get_or_insert(gone);
        }
        Ok(())
    }

    /// One path, from its first request to its outcome.
    async fn check(&mut self, path: &PathPlan, target: &mut Target, wait: Wait) -> HttpObservation {
        let config = &*self.shared.config;
        target.hurried = false;
        let mut check = PathCheck::new(path, config.salt, &config.evidence_key);
        let (mut malformed, mut no_site) = (false, false);
        while let Some(next) = check.next_request().map(str::to_owned) {
            match self.fetch(&next, target, wait).await {
                Ok(answer) => {
                    malformed |= answer.malformed;
                    let body = decode(answer.bytes(CONTENT_ENCODING), &answer.body);
                    check.response(&Response {
                        status: answer.status,
                        location: answer.text(LOCATION),
                        body: &body,
                        truncated: answer.truncated,
                        total: answer.total,
                    });
                }
                Err(Ending { outcome, reason }) => {
                    // To the check every failure is a gap; that there is no such site answers for
                    // all its paths.
                    no_site = outcome == Outcome::Absent;
                    let outcome = if no_site { Outcome::Error } else { outcome };
                    check.failure(Failure { outcome, reason });
                }
            }
        }
        let mut finished = check.finish().unwrap_or_else(|| unreachable!("no request is left"));
        if no_site {
            finished.outcome = Outcome::Absent;
        } else if malformed && finished.outcome != Outcome::Exposed {
            // Bytes prove what is there. Of a server that does not speak HTTP properly they prove
            // nothing about what is not.
            finished.outcome = Outcome::Malformed;
            finished.reason = Some("the answer is not valid HTTP/1".to_owned());
        }
        HttpObservation {
            ip: self.lane.endpoint.ip(),
            port: self.lane.endpoint.port(),
            scheme: self.lane.scheme,
            host: target.host.clone(),
            path: path.path.to_string(),
            check: finished.check,
            outcome: finished.outcome,
            severity: finished.severity,
            at: (config.now)(),
            evidence: finished.evidence,
            reason: finished.reason,
            title: finished.title,
            remedy: finished.remedy,
        }
    }

    /// What the site shows of itself.
    async fn facts(&mut self, target: &mut Target) -> Result<(), Unheard> {
        let clean = |b: &[u8]| Some(printable(b, TEXT_LIMIT)).filter(|t| !t.trim().is_empty());
        let page = self.fetch("/", target, Wait::Full).await.ok();
        let tls = self.connection.as_ref().and_then(|c| c.tls().cloned());
        let mut web = WebObservation {
            ip: self.lane.endpoint.ip(),
            port: self.lane.endpoint.port(),
            scheme: self.lane.scheme,
            host: target.host.clone(),
            at: (self.shared.config.now)(),
            status: None,
            server: None,
            title: None,
            location: None,
            favicon_sha256: None,
            tls,
            dns: None,
        };
        if let Some(page) = page {
            let body = decode(page.bytes(CONTENT_ENCODING), &page.body);
            web.status = Some(page.status);
            web.server = page.bytes(SERVER).and_then(clean);
            web.title = title(&body).and_then(clean);
            web.location = page.bytes(LOCATION).and_then(clean);
            let icon = self.fetch("/favicon.ico", target, Wait::Hasty).await.ok();
            web.favicon_sha256 = icon.filter(is_icon).map(|icon| {
                let body = decode(icon.bytes(CONTENT_ENCODING), &icon.body);
                let digest = Sha256::digest(&body[..body.len().min(BODY_LIMIT)]);
                mimawari_targets::hex::encode(&digest)
            });
        }
        self.shared.emit(Observation::Web(Box::new(web))).await
    }

    /// One path, with its retries and pauses.
    async fn fetch(
        &mut self,
        path: &str,
        target: &mut Target,
        wait: Wait,
    ) -> Result<Answer, Ending> {
        let (shared, lane) = (self.shared, self.lane);
        let time = shared.config.per_target_time;
        let mut tries = 0;
        loop {
            if *shared.stop.borrow() {
                return Err(stopped());
            }
            if let Some(gone) = lane.gone.borrow().as_ref().or(target.gone.as_ref()) {
                return Err(gone.clone());
            }
            let now = Instant::now();
            if now >= target.deadline {
                let reason = format!("the time for one target, {time:?}, was used up before");
                return Err(Ending { outcome: Outcome::Skipped, reason });
            }
            let ip = lane.endpoint.ip();
            let by_site = target.tempo.rest_until().max(target.ceiling.take(ip, now));
            let due = by_site
                .max(shared.addresses.borrow_mut().take(ip, now))
                .max(shared.networks.borrow_mut().take(network(ip), now));
            if let Some(due) = due.filter(|due| *due > now) {
                // A site that wants to be left alone says nothing about its neighbours.
                let wait = if by_site == Some(due) { 1 } else { LONG_WAIT };
                let rest = sleep_until(due);
                let rest = self.patiently(target.deadline, wait, rest).await;
                rest.map_err(|cut| ending(&cut, time))?;
            }
            tries += 1;
            match self.ask(path, target, wait).await.map_err(|cut| ending(&cut, time))? {
                Ok(answer) => {
                    (target.answered, target.silent) = (true, 0);
                    lane.answered.set(true);
                    let clock = (shared.config.now)();
                    let retry_after = answer.text(RETRY_AFTER);
                    target.tempo.answered(answer.status, retry_after, Instant::now(), clock);
                    // What fails now and then is asked again; what fails at all is not.
                    let failed = matches!(answer.status, 408 | 425 | 429 | 500..);
                    let again = failed
                        && tries < TRIES
                        && target.tempo.failing() < FAILING_LIMIT
                        && !target.tempo.asks_too_much();
                    if !again {
                        target.putting_off(answer.status);
                        return Ok(answer);
                    }
                }
                Err(fault) => return Err(self.strike(fault, target)),
            }
        }
    }

    async fn ask(
        &mut self,
        path: &str,
        target: &mut Target,
        wait: Wait,
    ) -> Result<Result<Answer, Fault>, Cut> {
        let mut connection = self.connection.take();
        let deadline = target.deadline;
        let (shared, lane) = (self.shared, self.lane);
        let mut timeouts = shared.config.timeouts();
        let full = timeouts;
        if wait == Wait::Hasty && target.answered {
            let bearable = HASTE.0.max(target.slowest.saturating_mul(HASTE.1));
            timeouts.head = timeouts.head.min(bearable);
            timeouts.body = timeouts.body.min(bearable);
        }
        let began = Instant::now();
        // When this future is dropped, the connection stays here and is marked as spent.
        let asked = persist(lane, &mut connection, target, path, &timeouts);
        let asked = self.patiently(deadline, LONG_WAIT, asked).await;
        self.connection = connection;
        match &asked {
            Ok(Ok(_)) => target.slowest = target.slowest.max(began.elapsed()),
            Ok(Err(fault)) => {
                target.hurried = fault.kind == FaultKind::Timeout && timeouts != full;
            }
            Err(_) => {}
        }
        asked
    }

    /// Waits; and makes room for another worker when it takes long: for one of another address
    /// after the usual patience, for one of its own after `wait` times as long.
    async fn patiently<F: Future>(
        &mut self,
        deadline: Instant,
        wait: u32,
        future: F,
    ) -> Result<F::Output, Cut> {
        let shared = self.shared;
        let mut future = pin!(future);
        let mut nap = self.nap.take().unwrap_or_else(|| Box::pin(sleep(Duration::ZERO)));
        nap.as_mut().reset(Instant::now() + shared.config.patience);
        let quick = tokio::select! {
            biased;
            output = &mut future => Some(output),
            () = nap.as_mut() => None,
        };
        self.nap = Some(nap);
        if let Some(output) = quick {
            return Ok(output);
        }
        shared.lend(self.ticket);
        let mut stop = shared.stop.clone();
        let stopped = async {
            // A sender that is gone will never say stop.
            if stop.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let mut stopped = pin!(stopped);
        let mut bounded = pin!(timeout_at(deadline, future));
        let mut parked = false;
        let long = sleep(shared.config.patience * (wait - 1));
        let mut long = pin!(long);
        let output = loop {
            tokio::select! {
                biased;
                () = &mut stopped => break Err(Cut::Stopped),
                output = &mut bounded => break output.map_err(|_| Cut::TimeUp),
                () = &mut long, if !parked => {
                    parked = true;
                    shared.park(self.ticket);
                }
            }
        };
        shared.resume(self.ticket, parked);
        output
    }

    /// Counts a fault, and gives the target or the lane up when it is one too many.
    fn strike(&self, fault: Fault, target: &mut Target) -> Ending {
        let outcome = match fault.kind {
            FaultKind::Malformed => Outcome::Malformed,
            _ => Outcome::Error,
        };
        // Only as the first and last word: from a site that has answered before, it is a fault.
        if fault.kind == FaultKind::NoSite && !target.answered {
            let end = Ending { outcome: Outcome::Absent, reason: fault.reason };
            target.gone = Some(end.clone());
            return end;
        }
        let end = Ending { outcome, reason: fault.reason };
        let in_a_row = |end: Ending| {
            let reason = format!("{CONNECT_STRIKES} connections in a row failed: {}", end.reason);
            Ending { outcome, reason }
        };
        if self.lane.refused.get() >= CONNECT_STRIKES {
            let end = in_a_row(end);
            *self.lane.gone.borrow_mut() = Some(end.clone());
            return end;
        }
        if target.refused >= CONNECT_STRIKES {
            let end = in_a_row(end);
            target.gone = Some(end.clone());
            return end;
        }
        if fault.kind == FaultKind::Request {
            return end;
        }
        target.silent += 1;
        let bound = match fault.kind {
            FaultKind::Malformed | FaultKind::Lost if target.answered => CUT_STRIKES,
            _ => SILENT_STRIKES,
        };
        if target.silent >= bound {
            let reason = format!("{bound} paths in a row had no answer: {}", end.reason);
            target.gone = Some(Ending { outcome, reason });
        }
        end
    }
}

/// Tries until there is an answer, or a fault that trying again would not mend.
async fn persist(
    lane: &Lane,
    connection: &mut Option<Connection>,
    target: &mut Target,
    path: &str,
    timeouts: &Timeouts,
) -> Result<Answer, Fault> {
    let asker = target.asker.as_ref().map_err(Fault::clone)?;
    let mut tries = 0;
    loop {
        tries += 1;
        if !connection.as_ref().is_some_and(Connection::is_usable) {
            *connection = None;
            match Connection::open(&target.route, timeouts, lane.rung.get()).await {
                Ok(new) => {
                    lane.refused.set(0);
                    target.refused = 0;
                    lane.rung.set(new.rung());
                    *connection = Some(new);
                }
                Err(fault) => {
                    lane.rung.set(None);
                    let failed = if fault.kind == FaultKind::Connect {
                        lane.refused.set(lane.refused.get() + 1);
                        lane.refused.get()
                    } else {
                        target.refused += 1;
                        target.refused
                    };
                    if fault.kind == FaultKind::NoSite
                        || failed >= CONNECT_STRIKES
                        || tries >= TRIES
                    {
                        return Err(fault);
                    }
                    sleep(PAUSE * failed).await;
                    continue;
                }
            }
        }
        let Some(open) = connection else { continue };
        let used = open.responses() > 0;
        let fault = match open.get(path, asker, timeouts).await {
            Ok(answer) => return Ok(answer),
            Err(fault) => fault,
        };
        let again = match fault.kind {
            FaultKind::Lost => true,
            FaultKind::Malformed if !used => {
                return get_by_force(&target.route, path, asker, timeouts, lane.rung.get()).await;
            }
            // On a used connection it may be the tail of the answer before.
            FaultKind::Malformed => true,
            _ => false,
        };
        if !again || tries >= TRIES {
            return Err(fault);
        }
    }
}

/// A page instead of an icon is what many sites answer to everything.
fn is_icon(answer: &Answer) -> bool {
    let start = answer.body.trim_ascii_start();
    matches!(answer.status, 200 | 206)
        && !start.is_empty()
        && !start.starts_with(b"<!")
        && !start.starts_with(b"<html")
}

fn ending(cut: &Cut, time: Duration) -> Ending {
    match cut {
        Cut::Stopped => stopped(),
        Cut::TimeUp => {
            let reason = format!("the time for one target, {time:?}, ended during the request");
            Ending { outcome: Outcome::Error, reason }
        }
    }
}

fn stopped() -> Ending {
    Ending { outcome: Outcome::Skipped, reason: "the run was stopped".to_owned() }
}

#[cfg(test)]
mod tests {
    use mimawari_targets::{AddrRange, AddrSet, Port, Scope};

    use super::*;

    #[test]
    fn host_fields() {
        let ranges = ["198.51.100.0/24", "2001:db8::/64"].map(|r| r.parse::<AddrRange>().unwrap());
        let scope = Scope::new(AddrSet::from_ranges(ranges), AddrSet::default(), "test");
        let field = |host: Option<&str>, ip: &str, port: u16, scheme| {
            let at = scope.endpoint(ip.parse().unwrap(), Port::new(port).unwrap()).unwrap();
            host_field(host, at, scheme)
        };
        let (v4, v6, name) = ("198.51.100.7", "2001:db8::7", Some("shop.example.jp"));
        assert_eq!(field(name, v4, 80, Scheme::Http), "shop.example.jp");
        assert_eq!(field(name, v4, 443, Scheme::Https), "shop.example.jp");
        assert_eq!(field(name, v4, 80, Scheme::Https), "shop.example.jp:80");
        assert_eq!(field(name, v6, 8080, Scheme::Http), "shop.example.jp:8080");
        assert_eq!(field(None, v4, 80, Scheme::Http), "198.51.100.7");
        assert_eq!(field(None, v4, 8080, Scheme::Http), "198.51.100.7:8080");
        assert_eq!(field(None, v6, 443, Scheme::Https), "[2001:db8::7]");
        assert_eq!(field(None, v6, 8443, Scheme::Https), "[2001:db8::7]:8443");
    }
}
