//! One worker: hosts of its lane one after the other, their paths one after the other, over one
//! connection that is made anew whenever the server ends it.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{LOCATION, SERVER};
use mimawari_probes::gap::Gap;
use mimawari_probes::http::manifest::Manifest;
use mimawari_probes::http::raw::extract_title;
use mimawari_probes::http::{
    BodyFlaw, CheckFailure, DayName, DecodedBody, HttpResponse, NameLists, PathCheck, PathPlan,
    decode, redact_location, redact_text, redact_title,
};
use mimawari_probes::observation::{
    ContentOutcome, HttpObservation, Observation, Severity, UrlScheme, WebObservation,
};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, Sleep, sleep};

use super::connection::{BODY_LIMIT, HttpAnswer};
use super::fetch::FetchWait;
use super::link::HttpLink;
use super::redirect::{RedirectOrigin, RedirectTarget, resolve_redirect};
use super::standing::{BlanketRefusal, HeldOutcome, ShownPage, SiteStanding};
use super::target::{SiteEnding, SiteTarget};
use super::turns::{EndpointQueue, WorkPermit};
use super::{NoReply, SharedWork};

/// After so many names in a row that brought no answer, each further one gets one request.
const DEAD_HOSTS: u32 = 3;

/// After so many names in a row that brought no answer in time, a port is dead for all.
const LATE_HOSTS: u32 = 256;

/// So many paths that failed among others that did not are tried once more, at the end.
const SECOND_CHANCES: usize = 32;

/// What was found before counts as gone after so many answers without it, each on a connection of
/// its own: one server of several may still hand it out.
const MISSES: u32 = 8;

/// A worker walks so many hosts before others have their turn.
const HOSTS_PER_TURN: usize = 4;

/// Longest text of a site's facts, characters.
const TEXT_LIMIT: usize = 256;

/// Walks a few hosts of the ticket's lane.
pub(super) async fn walk(shared: &SharedWork, ticket: &WorkPermit) -> Result<(), NoReply> {
    let mut worker = SiteWorker {
        shared,
        ticket,
        lane: &ticket.lane,
        connection: None,
        face: None,
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

pub(super) struct SiteWorker<'a> {
    pub(super) shared: &'a SharedWork,
    pub(super) ticket: &'a WorkPermit,
    pub(super) lane: &'a EndpointQueue,
    pub(super) connection: Option<HttpLink>,
    /// What the last site on this connection looked like.
    face: Option<SiteFace>,
    pub(super) nap: Option<Pin<Box<Sleep>>>,
}

/// What a site looks like at first sight.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SiteFace {
    status: u16,
    title: Option<String>,
    location: Option<String>,
}

impl SiteWorker<'_> {
    async fn walk(&mut self, host: Option<String>) -> Result<(), NoReply> {
        let (shared, lane) = (self.shared, self.lane);
        let config = &*shared.config;
        shared.looked.borrow_mut().targets += 1;
        let mut target = SiteTarget::new(host, lane.endpoint, lane.scheme, config);
        // The bare address proves nothing about the names on it, and the first names nothing about
        // the last: each is asked, if only once.
        target.brief = target.host.is_some() && lane.dead_hosts.get() >= DEAD_HOSTS;
        // A TLS connection belongs to one name.
        if lane.scheme == UrlScheme::Https {
            self.connection = None;
        }
        let mut standing = SiteStanding::default();
        self.facts(&mut target, &mut standing).await?;
        // Names of files never go to another host than the one they came from.
        let manifests: Vec<&Arc<Manifest>> = config
            .manifests
            .iter()
            .filter(|m| m.concerns(target.host.as_deref(), lane.endpoint.ip()))
            .collect();
        let now = (config.now)().to_zoned(jiff::tz::TimeZone::UTC);
        let today = DayName { year: now.year(), month: now.month(), day: now.day() };
        let plan = shared.plan.on(NameLists { host: target.host.as_deref(), today }, &manifests);
        let known = config.known.at(&lane.endpoint, target.host.as_deref());
        let ceiling = config.paths_per_target.min(plan.len());
        let (asked, beyond) = plan.split_at(ceiling);
        let mut late = Vec::new();
        for path in asked {
            let observation =
                self.check(path, &mut target, FetchWait::Hasty, &mut standing, known).await;
            let may_recover = observation.outcome == ContentOutcome::Error
                && target.gone.is_none()
                && Instant::now() < target.deadline;
            if may_recover && target.answered && (target.hurried || late.len() < SECOND_CHANCES) {
                late.push(path);
            } else {
                self.keep(path, observation, &target, &mut standing, known).await?;
            }
        }
        // Slow or unlucky for once, or a tarpit: whoever is given up by now gets no more time.
        for path in late {
            let observation =
                self.check(path, &mut target, FetchWait::Full, &mut standing, known).await;
            self.keep(path, observation, &target, &mut standing, known).await?;
        }
        self.settle(&mut target, &mut standing).await?;
        if !beyond.is_empty() {
            let reason = format!("over the ceiling of {ceiling} paths for one target");
            target.gone.get_or_insert(SiteEnding { outcome: ContentOutcome::Skipped, reason });
        }
        for path in beyond {
            let observation =
                self.check(path, &mut target, FetchWait::Hasty, &mut standing, known).await;
            shared.emit(Observation::Http(Box::new(observation))).await?;
        }
        self.bury(target);
        Ok(())
    }

    /// Counts names without any answer. A port is dead for all after many of them that were waited
    /// for; one that closes at once costs little, and each of its names is asked.
    fn bury(&self, target: SiteTarget) {
        let lane = self.lane;
        self.shared.config.progress.finish_site();
        if target.answered {
            lane.dead_hosts.set(0);
            lane.late_hosts.set(0);
            return;
        }
        if target.host.is_none() {
            return;
        }
        lane.dead_hosts.set(lane.dead_hosts.get() + 1);
        if target.late {
            lane.late_hosts.set(lane.late_hosts.get() + 1);
        }
        if lane.late_hosts.get() >= LATE_HOSTS
            && !lane.answered.get()
            && let Some(gone) = target.gone.filter(|g| g.outcome != ContentOutcome::Skipped)
        {
            lane.gone.borrow_mut().get_or_insert(gone);
        }
    }

    /// Writes what came of a path, or keeps it back until it is known what it is worth.
    async fn keep<'p>(
        &self,
        path: &'p PathPlan,
        observation: HttpObservation,
        target: &SiteTarget,
        standing: &mut SiteStanding<'p>,
        known: Option<&HashSet<String>>,
    ) -> Result<(), NoReply> {
        // That there is no such site is about all of them.
        if observation.reason.is_none() {
            let known = known.is_some_and(|k| k.contains(&*path.path));
            let held = HeldOutcome { path, outcome: observation.outcome, at: observation.at };
            if standing.hold(held, known).is_none() {
                return Ok(());
            }
        }
        for held in standing.take_settled() {
            self.write_held(held, target, None).await?;
        }
        self.shared.emit(Observation::Http(Box::new(observation))).await
    }

    /// The end of a site: what was kept back is worth what the site showed.
    async fn settle(
        &mut self,
        target: &mut SiteTarget,
        standing: &mut SiteStanding<'_>,
    ) -> Result<(), NoReply> {
        let mut reason = standing.verdict().and_then(|blanket| self.reason(&blanket, target));
        if reason.is_none() && standing.has_doubts() {
            // It answered `/` at first. If it does not any more, we were banned meanwhile.
            if let Ok(page) = self.fetch("/", target, FetchWait::Hasty).await
                && let ShownPage::Refused(status) = ShownPage::by(page.status)
            {
                reason =
                    Some(format!("the site refuses everything by now, `/` with status {status}"));
            }
            for held in standing.take_doubted() {
                self.write_held(held, target, reason.as_deref()).await?;
            }
            reason = None;
        }
        for held in standing.take_rest() {
            self.write_held(held, target, reason.as_deref()).await?;
        }
        Ok(())
    }

    /// Why a site with one answer to everything is not covered; none when it is.
    fn reason(&self, blanket: &BlanketRefusal<'_>, target: &SiteTarget) -> Option<String> {
        if let BlanketRefusal::Away(Some(origin)) = blanket {
            let ip = self.lane.endpoint.ip();
            if self.shared.directory.is_looked_at(origin, ip, &target.origin) {
                return None;
            }
            // The default site of an address belongs to nobody's plan. That it is elsewhere is all
            // there is to it.
            if target.host.is_none() && origin.host != target.origin.host {
                self.shared.looked.borrow_mut().moved(&target.origin.shown(), &origin.shown());
                return None;
            }
        }
        Some(blanket.reason())
    }

    async fn write_held(
        &self,
        held: HeldOutcome<'_>,
        target: &SiteTarget,
        reason: Option<&str>,
    ) -> Result<(), NoReply> {
        let probe = held.path.probes.first();
        let observation = HttpObservation {
            ip: self.lane.endpoint.ip(),
            port: self.lane.endpoint.port(),
            scheme: self.lane.scheme,
            host: target.host.clone(),
            path: held.path.path.to_string(),
            check: probe.map(|p| p.id().to_owned()).unwrap_or_default(),
            outcome: if reason.is_some() { ContentOutcome::Error } else { held.outcome },
            severity: probe.map_or(Severity::Info, |p| p.severity()),
            at: held.at,
            evidence: None,
            reason: reason.map(str::to_owned),
            title: None,
            remedy: None,
        };
        self.shared.emit(Observation::Http(Box::new(observation))).await
    }

    /// One path, from its first request to its outcome.
    async fn check(
        &mut self,
        path: &PathPlan,
        target: &mut SiteTarget,
        wait: FetchWait,
        standing: &mut SiteStanding<'_>,
        known: Option<&HashSet<String>>,
    ) -> HttpObservation {
        let config = &*self.shared.config;
        target.hurried = false;
        let mut check = PathCheck::new(path, config.salt, &config.evidence_key);
        if known.is_some_and(|k| k.contains(&*path.path)) {
            check = check.expecting(MISSES);
        }
        let (mut malformed, mut no_site, mut first) = (false, false, true);
        while let Some(next) = check.next_request().map(str::to_owned) {
            if check.wants_new_connection() {
                self.connection = None;
            }
            match self.fetch(&next, target, wait).await {
                Ok(answer) => {
                    let (answer, to) = if matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                        Box::pin(self.follow(answer, &next, target, wait, &check)).await
                    } else {
                        (answer, None)
                    };
                    if std::mem::take(&mut first) {
                        standing.note(ShownPage::by(answer.status), to.as_ref());
                    }
                    malformed |= answer.malformed;
                    let codings = answer.codings();
                    let body = decode(codings.as_deref(), &answer.body);
                    check.response(&build_http_response(&answer, &body));
                }
                Err(SiteEnding { outcome, reason }) => {
                    // To the check every failure is a gap; that there is no such site answers for
                    // all its paths.
                    no_site = outcome == ContentOutcome::Absent;
                    let outcome = if no_site { ContentOutcome::Error } else { outcome };
                    check.failure(CheckFailure { outcome, reason });
                }
            }
        }
        let mut finished = check.finish().unwrap_or_else(|| unreachable!("no request is left"));
        if no_site {
            finished.outcome = ContentOutcome::Absent;
        } else if malformed && finished.outcome != ContentOutcome::Exposed {
            // Bytes prove what is there. Of a server that does not speak HTTP properly they prove
            // nothing about what is not.
            finished.outcome = ContentOutcome::Malformed;
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

    /// Follows a redirect within the site, once. The answer that counts, and the other site that it
    /// leads to. A place that other paths led to as well is no answer to this one.
    async fn follow(
        &mut self,
        answer: HttpAnswer,
        path: &str,
        target: &mut SiteTarget,
        wait: FetchWait,
        check: &PathCheck<'_>,
    ) -> (HttpAnswer, Option<RedirectOrigin>) {
        let Some(location) = answer.bytes(LOCATION) else { return (answer, None) };
        let place = match resolve_redirect(location, &target.origin, path) {
            RedirectTarget::Site(origin) => return (answer, Some(origin)),
            RedirectTarget::Nowhere => return (answer, None),
            RedirectTarget::Path(place) => place,
        };
        let is_hit = {
            let codings = answer.codings();
            let body = decode(codings.as_deref(), &answer.body);
            check.is_hit(&build_http_response(&answer, &body))
        };
        if is_hit {
            return (answer, None);
        }
        let cookies = target.template.as_mut().is_ok_and(|template| template.take_cookies(&answer));
        if place == path {
            if !cookies {
                return (answer, None);
            }
        } else if target.is_common_place(&place, path) {
            return (answer, None);
        }
        match self.fetch(&place, target, wait).await {
            Ok(there) => (there, None),
            // The redirect itself stays a fact.
            Err(_) => (answer, None),
        }
    }

    /// What the site shows of itself.
    async fn facts(
        &mut self,
        target: &mut SiteTarget,
        standing: &mut SiteStanding<'_>,
    ) -> Result<(), NoReply> {
        let mut page = self.fetch("/", target, FetchWait::Full).await.ok();
        // Some fronts pick the site by the first Host of a connection and keep it to the end. A name
        // that looks like the one before it on the same connection gets one of its own.
        if self.connection.is_some()
            && self.face.is_some()
            && self.face == page.as_ref().map(build_site_face)
        {
            self.connection = None;
            page = self.fetch("/", target, FetchWait::Full).await.ok().or(page);
        }
        self.face = page.as_ref().map(build_site_face);
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
            let location = page.bytes(LOCATION);
            let to = location.map(|l| resolve_redirect(l, &target.origin, "/"));
            let to = match &to {
                Some(RedirectTarget::Site(origin)) => Some(origin),
                _ => None,
            };
            standing.note_root(ShownPage::by(page.status), to);
            let codings = page.codings();
            let body = decode(codings.as_deref(), &page.body);
            web.status = Some(page.status);
            web.server = page.bytes(SERVER).and_then(|b| redact_text(b, TEXT_LIMIT));
            web.title = extract_title(&body).and_then(|b| redact_title(b, TEXT_LIMIT));
            web.location = location.and_then(|b| redact_location(b, TEXT_LIMIT));
            let icon = self.fetch("/favicon.ico", target, FetchWait::Hasty).await.ok();
            web.favicon_sha256 = icon.filter(is_icon).map(|icon| {
                let codings = icon.codings();
                let body = decode(codings.as_deref(), &icon.body);
                let digest = Sha256::digest(&body[..body.len().min(BODY_LIMIT)]);
                mimawari_targets::hex::encode(&digest)
            });
        }
        self.shared.emit(Observation::Web(Box::new(web))).await
    }
}

fn build_http_response<'a>(answer: &'a HttpAnswer, body: &'a DecodedBody<'a>) -> HttpResponse<'a> {
    let flaw = if answer.cut_short.is_some() {
        Some(BodyFlaw::Incomplete)
    } else {
        body.is_unreadable().then_some(BodyFlaw::Unreadable)
    };
    HttpResponse {
        status: answer.status,
        location: answer.text(LOCATION),
        fields: answer,
        body,
        truncated: answer.truncated,
        total: answer.total,
        flaw,
    }
}

fn build_site_face(page: &HttpAnswer) -> SiteFace {
    let codings = page.codings();
    let body = decode(codings.as_deref(), &page.body);
    SiteFace {
        status: page.status,
        title: extract_title(&body).and_then(|b| redact_text(b, TEXT_LIMIT)),
        location: page.bytes(LOCATION).and_then(|b| redact_text(b, TEXT_LIMIT)),
    }
}

/// A page instead of an icon is what many sites answer to everything.
fn is_icon(answer: &HttpAnswer) -> bool {
    let start = answer.body.trim_ascii_start();
    matches!(answer.status, 200 | 206)
        && !start.is_empty()
        && !start.starts_with(b"<!")
        && !start.starts_with(b"<html")
}
