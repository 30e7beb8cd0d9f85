//! The inventory of web sites.

use std::collections::{BTreeMap, BTreeSet};

use mimawari_probes::gap::Gap;
use mimawari_probes::observation::{ContentOutcome, WebObservation};
use mimawari_targets::Cell;

use super::content::is_inventory;
use super::{RunJudge, WebKey};
use crate::sites::{
    FactChange, MAX_LISTED, MAX_SITES, PresentSite, SiteChange, SiteFact, SiteFacts, SiteKey,
    SiteNotice, SiteRecord, collect_site_notices,
};

/// A change and what it is sorted by: important ones first, then by place.
type RankedSite = ((bool, SiteFact, SiteKey), SiteChange);

impl<'a> RunJudge<'a> {
    /// Takes what this run saw of web sites into the inventory. A run that is not to be believed
    /// leaves it as it was and says nothing of it.
    pub(super) fn sites(&mut self) {
        if self.suspect() {
            self.remember_legacy();
            return;
        }
        let mut known: BTreeMap<SiteKey, SiteRecord> =
            std::mem::take(&mut self.next.sites).into_iter().map(|s| (s.key.clone(), s)).collect();
        let before: BTreeSet<SiteKey> = known.keys().cloned().collect();
        let present = self.present();
        let mut seen = BTreeSet::new();
        let mut changes: Vec<RankedSite> = Vec::new();
        let mut listed: Vec<SiteNotice> = Vec::new();
        let web: Vec<(WebKey<'a>, &'a WebObservation)> =
            self.web.iter().map(|(place, w)| (*place, *w)).collect();
        for (place, w) in web {
            if !self.run.coverage.in_scope(w.ip) {
                continue;
            }
            for (what, why) in collect_site_notices(w, self.now) {
                self.sites.add(what);
                listed.push(build_site_notice(w, what, why));
            }
            let key = self.key_of(w);
            if w.status.is_none() {
                // Without an answer to `/` nothing is said of the site. What its handshake proved is
                // kept, because another name's handshake must not take it back.
                match (known.get_mut(&key), w.tls.as_ref().map(|t| t.legacy)) {
                    (Some(site), _) if self.is_newer(site, w) => {}
                    (Some(site), Some(legacy)) => site.facts.legacy = legacy,
                    (None, Some(true)) => {
                        let facts = SiteFacts { legacy: true, ..SiteFacts::default() };
                        known.insert(key.clone(), SiteRecord::first(key, facts, w.at));
                    }
                    _ => {}
                }
                continue;
            }
            self.sites.seen += 1;
            seen.insert(key.clone());
            let new_present = present.get(&place);
            match known.get_mut(&key).filter(|site| site.facts.status.is_some()) {
                None => {
                    self.sites.new += 1;
                    let there = new_present.cloned().unwrap_or_default();
                    let facts = SiteFacts::default().after(w, there);
                    let mut site = SiteRecord::first(key.clone(), facts, w.at);
                    if let Some(before) = known.get(&key) {
                        site.first_seen = before.first_seen;
                    }
                    known.insert(key, site);
                }
                // The same record, judged again; or an older one that is judged late.
                Some(site) if site.last_seen == w.at || self.is_newer(site, w) => {}
                Some(site) => {
                    let mut there = self.still_present(&site.facts.present, w);
                    there.extend(new_present.into_iter().flatten().cloned());
                    let facts = site.facts.after(w, there);
                    let since = site.last_seen;
                    let list = site.see(facts, w.at);
                    self.sites.changed += u64::from(!list.is_empty());
                    self.sites.changes += list.len() as u64;
                    self.sites.unsteady += u64::from(site.is_unsteady());
                    changes.extend(list.into_iter().map(|c| {
                        let rank = (c.routine, c.what, key.clone());
                        (rank, build_site_change(w, c, since))
                    }));
                }
            }
        }
        self.sites.not_seen = before
            .iter()
            .filter(|k| k.vantage == self.run.vantage && !seen.contains(*k))
            .filter(|k| self.run.coverage.in_scope(k.ip))
            .count() as u64;
        changes.sort_by(|a, b| a.0.cmp(&b.0));
        self.site_changes = changes.into_iter().map(|(_, c)| c).take(MAX_LISTED).collect();
        listed.sort_by_key(|n| (n.what, n.ip, n.port, n.scheme, n.host.clone()));
        listed.truncate(MAX_LISTED);
        self.site_notices = listed;
        let mut all: Vec<SiteRecord> = known.into_values().collect();
        if all.len() > MAX_SITES {
            let gone = all.len() - MAX_SITES;
            self.notes.push(Gap::SitesForgotten { room: MAX_SITES as u64, forgotten: gone as u64 });
            all.sort_by_key(|s| std::cmp::Reverse(s.last_seen));
            all.truncate(MAX_SITES);
            all.sort_by(|a, b| a.key.cmp(&b.key));
        }
        self.next.sites = all;
        self.remember_legacy();
    }

    /// Whether another run saw the site after this one did.
    fn is_newer(&self, site: &SiteRecord, w: &WebObservation) -> bool {
        site.last_seen > w.at && site.last_seen <= self.now
    }

    fn key_of(&self, w: &WebObservation) -> SiteKey {
        SiteKey {
            vantage: self.run.vantage.to_owned(),
            ip: w.ip,
            port: w.port,
            scheme: w.scheme,
            host: w.host.clone(),
        }
    }

    /// Paths that exist and are no finding, as this run saw them.
    fn present(&self) -> BTreeMap<WebKey<'a>, BTreeSet<PresentSite>> {
        let mut out: BTreeMap<WebKey<'a>, BTreeSet<PresentSite>> = BTreeMap::new();
        for h in self.http.values().filter(|h| is_inventory(h)) {
            let place = (Cell::tcp(h.ip, h.port), h.scheme, h.host.as_deref());
            let present = PresentSite { path: h.path.clone(), check: h.check.clone() };
            out.entry(place).or_default().insert(present);
        }
        out
    }

    /// Of the paths that existed, those of which this run does not know otherwise.
    fn still_present(
        &self,
        before: &BTreeSet<PresentSite>,
        w: &WebObservation,
    ) -> BTreeSet<PresentSite> {
        let known = |p: &PresentSite| {
            let key = (Cell::tcp(w.ip, w.port), w.host.as_deref(), p.path.as_str());
            self.http.get(&key).is_some_and(|h| {
                h.scheme == w.scheme
                    && matches!(
                        h.outcome,
                        ContentOutcome::Absent
                            | ContentOutcome::Protected
                            | ContentOutcome::Exposed
                    )
            })
        };
        before.iter().filter(|p| !known(p)).cloned().collect()
    }

    /// Endpoints of which the inventory says that they speak legacy TLS for some name.
    fn remember_legacy(&mut self) {
        self.legacy_sites = self
            .next
            .sites
            .iter()
            .filter(|s| s.facts.legacy && s.key.vantage == self.run.vantage)
            .map(|s| Cell::tcp(s.key.ip, s.key.port))
            .collect();
    }
}

fn build_site_notice(
    w: &WebObservation,
    what: crate::sites::NoticeKind,
    why: String,
) -> SiteNotice {
    let host = w.host.clone();
    SiteNotice { what, ip: w.ip, port: w.port, scheme: w.scheme, host, at: w.at, why }
}

fn build_site_change(w: &WebObservation, c: FactChange, since: jiff::Timestamp) -> SiteChange {
    SiteChange {
        ip: w.ip,
        port: w.port,
        scheme: w.scheme,
        host: w.host.clone(),
        at: w.at,
        what: c.what,
        was: c.was,
        now: c.now,
        since,
    }
}
