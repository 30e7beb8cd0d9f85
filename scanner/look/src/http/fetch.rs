//! One request of a worker: its retries and pauses, and when a site counts as gone.

use std::pin::pin;
use std::time::Duration;

use http::header::RETRY_AFTER;
use mimawari_probes::observation::{ContentOutcome, UrlScheme};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::connection::{FaultKind, HttpAnswer, HttpTimeouts, ResponseError, get_by_force};
use super::link::{HttpDialect, HttpLink};
use super::target::{SiteEnding, SiteTarget};
use super::tls::TlsFallback;
use super::turns::{EndpointQueue, to_network_address};
use super::walk::SiteWorker;

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

/// A site that has failed so often in a row is asked only once for each path: it fails at all.
const FAILING_LIMIT: u32 = 12;

/// Pause before another connection is tried, times the number of ends so far.
const PAUSE: Duration = Duration::from_millis(100);

/// A site that has been quick so far gets this long at least for an answer, and so many times its
/// slowest answer; what is not there then is asked for once more, last and with all the time.
const HASTE: (Duration, u32) = (Duration::from_secs(3), 20);

/// After so many times the usual patience for an answer the address itself may go on with another
/// host.
const LONG_WAIT: u32 = 6;

/// How long to wait for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FetchWait {
    /// By what the site has shown.
    Hasty,
    /// As configured.
    Full,
}

/// Why waiting came to an end.
enum FetchCut {
    Stopped,
    TimeUp,
}

impl SiteWorker<'_> {
    /// One path, with its retries and pauses.
    pub(super) async fn fetch(
        &mut self,
        path: &str,
        target: &mut SiteTarget,
        wait: FetchWait,
    ) -> Result<HttpAnswer, SiteEnding> {
        let (shared, lane) = (self.shared, self.lane);
        let time = shared.config.per_target_time;
        let mut tries = 0;
        loop {
            if *shared.stop.borrow() {
                return Err(build_stopped_ending());
            }
            if let Some(gone) = lane.gone.borrow().as_ref().or(target.gone.as_ref()) {
                return Err(gone.clone());
            }
            let now = Instant::now();
            if now >= target.deadline {
                let reason = format!("the time for one target, {time:?}, was used up before");
                return Err(SiteEnding { outcome: ContentOutcome::Skipped, reason });
            }
            let ip = lane.endpoint.ip();
            let by_site = target.tempo.rest_until().max(target.ceiling.take(ip, now));
            // What the whole run may send a second takes nothing of the time of one site.
            let pause = target.route.uplink.reserve_request(ip);
            target.deadline += pause;
            let by_run = (!pause.is_zero()).then(|| now + pause);
            let due = by_site
                .max(by_run)
                .max(shared.addresses.borrow_mut().take(ip, now))
                .max(shared.networks.borrow_mut().take(to_network_address(ip), now));
            if let Some(due) = due.filter(|due| *due > now) {
                // A site that wants to be left alone says nothing about its neighbours.
                let wait = if by_site == Some(due) { 1 } else { LONG_WAIT };
                let rest = sleep_until(due);
                let rest = self.patiently(target.deadline, wait, rest).await;
                rest.map_err(|cut| build_cut_ending(&cut, time))?;
            }
            tries += 1;
            match self
                .ask(path, target, wait, false)
                .await
                .map_err(|cut| build_cut_ending(&cut, time))?
            {
                Ok(answer) => {
                    target.answered = true;
                    lane.answered.set(true);
                    let answer = if target.doubts_range(answer.status) {
                        // Rare, and large: in a box, so that no other request carries it along.
                        let asked = Box::pin(self.without_range(answer, path, target, wait)).await;
                        asked.map_err(|cut| build_cut_ending(&cut, time))?
                    } else {
                        answer
                    };
                    self.count_cut(&answer, target);
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

    /// Asks once more without a `Range`, where the answer may be about that alone. A server that
    /// answers better then is asked so from there on.
    async fn without_range(
        &mut self,
        answer: HttpAnswer,
        path: &str,
        target: &mut SiteTarget,
        wait: FetchWait,
    ) -> Result<HttpAnswer, FetchCut> {
        let Ok(whole) = self.ask(path, target, wait, true).await? else {
            return Ok(answer);
        };
        let better = target.asked_without_range(answer.status, whole.status);
        Ok(if better { whole } else { answer })
    }

    /// A body that does not end is half a silence: a site whose answers are all so is given up in
    /// the end.
    fn count_cut(&self, answer: &HttpAnswer, target: &mut SiteTarget) {
        let Some(fault) = &answer.cut_short else {
            target.silent = 0;
            return;
        };
        target.silent += 1;
        if target.silent >= CUT_STRIKES {
            let reason = format!("{CUT_STRIKES} bodies in a row had no end: {}", fault.reason);
            target.gone.get_or_insert(SiteEnding { outcome: ContentOutcome::Error, reason });
        }
    }

    async fn ask(
        &mut self,
        path: &str,
        target: &mut SiteTarget,
        wait: FetchWait,
        whole: bool,
    ) -> Result<Result<HttpAnswer, ResponseError>, FetchCut> {
        let mut connection = self.connection.take();
        let deadline = target.deadline;
        let (shared, lane) = (self.shared, self.lane);
        let mut timeouts = shared.config.timeouts();
        let full = timeouts;
        if wait == FetchWait::Hasty && target.answered {
            let enough = HASTE.0.max(target.slowest.saturating_mul(HASTE.1));
            timeouts.head = timeouts.head.min(enough);
            timeouts.body = timeouts.body.min(enough);
        } else if target.brief {
            timeouts.head = timeouts.head.min(HASTE.0);
        }
        let began = Instant::now();
        shared.config.progress.count_request();
        // When this future is dropped, the connection stays here and is marked as spent.
        let asked = {
            let asking = pin!(persist(lane, &mut connection, target, path, &timeouts, whole));
            self.patiently(deadline, LONG_WAIT, asking).await
        };
        self.connection = connection;
        let in_haste = timeouts != full;
        match &asked {
            Ok(Ok(answer)) => match &answer.cut_short {
                None => target.slowest = target.slowest.max(began.elapsed()),
                Some(fault) => {
                    target.hurried = fault.kind == FaultKind::Timeout && in_haste;
                }
            },
            Ok(Err(fault)) => {
                target.late = fault.is_late();
                target.hurried = fault.kind == FaultKind::Timeout && in_haste;
            }
            Err(_) => target.late = true,
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
    ) -> Result<F::Output, FetchCut> {
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
                () = &mut stopped => break Err(FetchCut::Stopped),
                output = &mut bounded => break output.map_err(|_| FetchCut::TimeUp),
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
    fn strike(&self, fault: ResponseError, target: &mut SiteTarget) -> SiteEnding {
        let outcome = match fault.kind {
            FaultKind::Malformed => ContentOutcome::Malformed,
            _ => ContentOutcome::Error,
        };
        // Only as the first and last word: from a site that has answered before, it is a fault.
        if fault.kind == FaultKind::NoSite && !target.answered {
            let end = SiteEnding { outcome: ContentOutcome::Absent, reason: fault.reason };
            target.gone = Some(end.clone());
            return end;
        }
        let end = SiteEnding { outcome, reason: fault.reason };
        let in_a_row = |end: SiteEnding| {
            let reason = format!("{CONNECT_STRIKES} connections in a row failed: {}", end.reason);
            SiteEnding { outcome, reason }
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
            _ if target.brief => 1,
            _ => SILENT_STRIKES,
        };
        if target.silent >= bound {
            let reason = format!("{bound} paths in a row had no answer: {}", end.reason);
            target.gone = Some(SiteEnding { outcome, reason });
        }
        end
    }
}

/// Tries until there is an answer, or a fault that another try would not fix.
async fn persist(
    lane: &EndpointQueue,
    connection: &mut Option<HttpLink>,
    target: &mut SiteTarget,
    path: &str,
    timeouts: &HttpTimeouts,
    whole: bool,
) -> Result<HttpAnswer, ResponseError> {
    let without_range;
    let mut template = target.template.as_ref().map_err(ResponseError::clone)?;
    if whole {
        without_range = template.without_range();
        template = &without_range;
    }
    let most = if target.brief { 1 } else { TRIES };
    let mut best: Option<HttpAnswer> = None;
    let mut tries = 0;
    loop {
        tries += 1;
        if !connection.as_ref().is_some_and(HttpLink::is_usable) {
            *connection = None;
            let (fallback, dialect) = (lane.fallback.get(), lane.dialect.get());
            // What is rare and large is in boxes: every request would carry it along otherwise.
            let opened = Box::pin(HttpLink::open(&target.route, timeouts, fallback, dialect));
            match opened.await {
                Ok(new) => {
                    lane.refused.set(0);
                    target.refused = 0;
                    lane.fallback.set(new.fallback());
                    *connection = Some(new);
                }
                Err(fault) => {
                    lane.fallback.set(None);
                    let failed = if fault.kind == FaultKind::Connect {
                        lane.refused.set(lane.refused.get() + 1);
                        lane.refused.get()
                    } else {
                        target.refused += 1;
                        target.refused
                    };
                    if fault.kind == FaultKind::NoSite || failed >= CONNECT_STRIKES || tries >= most
                    {
                        return best.ok_or(fault);
                    }
                    sleep(PAUSE * failed).await;
                    continue;
                }
            }
        }
        let Some(open) = connection else { continue };
        let used = open.responses() > 0;
        let fault = match open.get(path, template, timeouts).await {
            // Cut off for once, or always: another answer may be whole.
            Ok(mut answer)
                if answer.cut_short.as_ref().is_some_and(|f| f.kind != FaultKind::Timeout) =>
            {
                if best.as_ref().is_some_and(|b| b.body.len() > answer.body.len()) {
                    answer = best.take().unwrap_or(answer);
                }
                if tries >= most {
                    return Ok(answer);
                }
                best = Some(answer);
                continue;
            }
            Ok(answer) => return Ok(answer),
            Err(fault) => fault,
        };
        let again = match fault.kind {
            FaultKind::Lost => true,
            FaultKind::Malformed if !used => {
                let fallback = lane.fallback.get();
                let forced = get_by_force(&target.route, path, template, timeouts, fallback);
                let fault = match Box::pin(forced).await {
                    Ok(answer) => return Ok(answer),
                    Err(fault) => fault,
                };
                let second = retry_over_http2(lane, connection, target, path, template, timeouts);
                return Box::pin(second).await.or(best).ok_or(fault);
            }
            // On a used connection it may be the tail of the answer before.
            FaultKind::Malformed => true,
            _ => false,
        };
        if !again || tries >= most {
            if fault.kind == FaultKind::Lost && best.is_none() {
                let second = retry_over_http2(lane, connection, target, path, template, timeouts);
                best = Box::pin(second).await;
            }
            return best.ok_or(fault);
        }
    }
}

fn build_cut_ending(cut: &FetchCut, time: Duration) -> SiteEnding {
    match cut {
        FetchCut::Stopped => build_stopped_ending(),
        FetchCut::TimeUp => {
            let reason = format!("the time for one target, {time:?}, ended during the request");
            SiteEnding { outcome: ContentOutcome::Error, reason }
        }
    }
}

fn build_stopped_ending() -> SiteEnding {
    SiteEnding { outcome: ContentOutcome::Skipped, reason: "the run was stopped".to_owned() }
}

/// Whether a port that HTTP/1 got nothing from speaks HTTP/2; tried once for each port.
async fn retry_over_http2(
    lane: &EndpointQueue,
    connection: &mut Option<HttpLink>,
    target: &SiteTarget,
    path: &str,
    template: &super::connection::RequestTemplate,
    timeouts: &HttpTimeouts,
) -> Option<HttpAnswer> {
    if lane.answered.get() || lane.dialect.get() != HttpDialect::First {
        return None;
    }
    lane.dialect.set(HttpDialect::FirstForSure);
    // By prior knowledge, and then by ALPN, which some servers demand.
    let mut fallbacks = vec![lane.fallback.get()];
    if target.route.scheme == UrlScheme::Https {
        fallbacks.push(Some(TlsFallback::SecondVersion));
    }
    fallbacks.dedup();
    for fallback in fallbacks {
        let opened = HttpLink::open(&target.route, timeouts, fallback, HttpDialect::Second).await;
        let Ok(mut link) = opened else { continue };
        let Ok(answer) = link.get(path, template, timeouts).await else { continue };
        lane.dialect.set(HttpDialect::Second);
        lane.fallback.set(link.fallback());
        *connection = Some(link);
        return Some(answer);
    }
    None
}
