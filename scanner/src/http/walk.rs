//! One lane: its targets one after the other, their paths one after the other, over one connection
//! that is made anew whenever the server ends it.

use std::time::Duration;

use jiff::Timestamp;
use mimawari_probes::http::{Catalogue, Failure, PathCheck, Response, decode};
use mimawari_probes::observation::{HttpObservation, Outcome, Scheme};
use mimawari_targets::Endpoint;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::HttpConfig;
use super::connection::{Answer, Connection, Fault, FaultKind};
use super::lanes::Lane;
use super::tls::Rung;

/// How often one request is tried on new connections.
const TRIES: u32 = 3;

/// After so many connections in a row that could not be made, the server counts as gone.
const CONNECT_STRIKES: u32 = 3;

/// After so many paths in a row without an answer in time, or without any answer since the
/// beginning, the target counts as gone.
const SILENT_STRIKES: u32 = 3;

/// After so many paths in a row whose connection was cut. More patient than for silence: a filter
/// in front of a healthy site cuts exactly the requests for files that should not be there.
const CUT_STRIKES: u32 = 12;

/// Pause before another connection is tried, times the number of ends so far.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a path has no answer that its check could judge.
#[derive(Debug, Clone)]
struct Ending {
    outcome: Outcome,
    reason: String,
}

/// The receiver of the observations is gone.
#[derive(Debug)]
pub(super) struct Unheard;

/// Looks at all targets of a lane.
pub(super) async fn walk(
    lane: Lane,
    config: &HttpConfig,
    catalogue: &Catalogue,
    stop: watch::Receiver<bool>,
    out: &mpsc::Sender<HttpObservation>,
) -> Result<(), Unheard> {
    let plan = catalogue.plan(config.tier);
    let mut walker = Walker {
        lane: &lane,
        config,
        stop,
        connection: None,
        rung: None,
        refused: 0,
        gone: None,
        answered: false,
    };
    for host in &lane.hosts {
        let mut target = Target {
            field: host_field(host.as_deref(), lane.route.endpoint, lane.route.scheme),
            deadline: Instant::now() + config.per_target_time,
            answered: false,
            silent: 0,
            gone: None,
        };
        for path in &plan {
            let mut check = PathCheck::new(path, config.salt, &config.evidence_key);
            let mut ending = None;
            while let Some(next) = check.next_request().map(str::to_owned) {
                match walker.fetch(&next, &mut target).await {
                    Ok(answer) => {
                        let body = decode(&answer.headers, &answer.body);
                        check.response(&Response {
                            status: answer.status,
                            location: answer.location.as_deref(),
                            headers: &answer.headers,
                            body: &body,
                            truncated: answer.truncated,
                        });
                    }
                    Err(end) => {
                        ending = Some(end);
                        break;
                    }
                }
            }
            let no_site = ending.as_ref().is_some_and(|e: &Ending| e.outcome == Outcome::Absent);
            if let Some(Ending { outcome, reason }) = ending {
                let outcome = if no_site { Outcome::Error } else { outcome };
                check.failure(Failure { outcome, reason });
            }
            // Without a next request there is a result; were there none, saying so would still be
            // better than a path without an observation.
            let Some(mut finished) = check.finish().or_else(|| {
                let reason = "the check came to no end".to_owned();
                check.failure(Failure { outcome: Outcome::Error, reason });
                check.finish()
            }) else {
                tracing::error!(path = path.path, "a check ended without a result");
                continue;
            };
            if no_site {
                // To the check every failure is a gap; here the server has said that there is no
                // such site, which answers for all its paths.
                finished.outcome = Outcome::Absent;
            }
            let observation = HttpObservation {
                ip: lane.route.endpoint.ip(),
                port: lane.route.endpoint.port(),
                scheme: lane.route.scheme,
                host: host.clone(),
                path: path.path.clone(),
                check: finished.check,
                outcome: finished.outcome,
                severity: finished.severity,
                at: Timestamp::now(),
                evidence: finished.evidence,
                reason: finished.reason,
                title: None,
                remedy: None,
            };
            out.send(observation).await.map_err(|_| Unheard)?;
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

/// What is known of the target in work.
struct Target {
    field: String,
    deadline: Instant,
    answered: bool,
    /// Paths in a row without an answer.
    silent: u32,
    gone: Option<Ending>,
}

struct Walker<'a> {
    lane: &'a Lane,
    config: &'a HttpConfig,
    stop: watch::Receiver<bool>,
    connection: Option<Connection>,
    /// The way of shaking hands that worked last.
    rung: Option<Rung>,
    /// Connections in a row that could not be made.
    refused: u32,
    /// Why nothing more is asked of this lane.
    gone: Option<Ending>,
    /// Whether any target of this lane ever brought an answer.
    answered: bool,
}

impl Walker<'_> {
    /// One path, with its retries.
    async fn fetch(&mut self, path: &str, target: &mut Target) -> Result<Answer, Ending> {
        if *self.stop.borrow() {
            return Err(stopped());
        }
        if let Some(gone) = self.gone.as_ref().or(target.gone.as_ref()) {
            return Err(gone.clone());
        }
        let time = self.config.per_target_time;
        if Instant::now() >= target.deadline {
            let reason = format!("the time for one target, {time:?}, was used up before");
            return Err(Ending { outcome: Outcome::Skipped, reason });
        }
        let mut stop = self.stop.clone();
        let asked = async {
            // A sender that is gone will never say stop.
            if stop.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let (field, deadline) = (target.field.clone(), target.deadline);
        let tried = tokio::select! {
            biased;
            () = asked => return Err(stopped()),
            tried = timeout_at(deadline, self.persist(path, &field)) => tried,
        };
        let Ok(tried) = tried else {
            let reason = format!("the time for one target, {time:?}, ended during the request");
            return Err(Ending { outcome: Outcome::Error, reason });
        };
        match tried {
            Ok(answer) => {
                (target.answered, target.silent) = (true, 0);
                self.answered = true;
                Ok(answer)
            }
            Err(fault) => Err(self.strike(fault, target)),
        }
    }

    /// Tries until there is an answer, or a fault that trying again would not mend.
    async fn persist(&mut self, path: &str, host: &str) -> Result<Answer, Fault> {
        let timeouts = self.config.timeouts();
        let mut tries = 0;
        loop {
            tries += 1;
            // Taken out while in use: when this future is dropped, so is the connection.
            let mut connection = match self.connection.take().filter(Connection::is_usable) {
                Some(connection) => connection,
                None => match Connection::open(&self.lane.route, &timeouts, self.rung).await {
                    Ok(connection) => {
                        self.refused = 0;
                        self.rung = connection.rung();
                        connection
                    }
                    Err(fault) => {
                        self.refused += 1;
                        self.rung = None;
                        if fault.kind == FaultKind::NoSite
                            || self.refused >= CONNECT_STRIKES
                            || tries >= TRIES
                        {
                            return Err(fault);
                        }
                        sleep(PAUSE * self.refused).await;
                        continue;
                    }
                },
            };
            let used = connection.responses() > 0;
            let fault = match connection.get(path, host, &self.config.user_agent, &timeouts).await {
                Ok(answer) => {
                    self.connection = Some(connection);
                    return Ok(answer);
                }
                Err(fault) => fault,
            };
            let again = match fault.kind {
                FaultKind::Lost => true,
                // On a used connection it may be the tail of the answer before.
                FaultKind::Malformed => used,
                _ => false,
            };
            if !again || tries >= TRIES {
                return Err(fault);
            }
        }
    }

    /// Counts a fault, and gives the target or the lane up when it is one too many.
    fn strike(&mut self, fault: Fault, target: &mut Target) -> Ending {
        let outcome = match fault.kind {
            FaultKind::Malformed => Outcome::Malformed,
            _ => Outcome::Error,
        };
        // Only as the first and last word: from a site that has answered before, it is a fault.
        if fault.kind == FaultKind::NoSite && !self.answered {
            let end = Ending { outcome: Outcome::Absent, reason: fault.reason };
            self.gone = Some(end.clone());
            return end;
        }
        let end = Ending { outcome, reason: fault.reason };
        if self.refused >= CONNECT_STRIKES {
            let reason = format!("{CONNECT_STRIKES} connections in a row failed: {}", end.reason);
            let end = Ending { outcome, reason };
            self.gone = Some(end.clone());
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
            let gone = Ending { outcome, reason };
            // A port that has never answered anybody will not answer the next name either.
            if !self.answered {
                self.gone = Some(gone.clone());
            }
            target.gone = Some(gone);
        }
        end
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
