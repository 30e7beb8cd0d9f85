//! Every check finds what it is about, however it is served, and when a part of the requests fails.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mimawari_look::http::{HttpConfig, WebTarget};
use mimawari_probes::http::format::Controls;
use mimawari_probes::http::{
    Catalogue, Check, CheckFixture, DayName, HttpResponse, NameLists, PathCheck, PathPlan,
};
use mimawari_probes::observation::{ContentOutcome, Severity, UrlScheme};
use mimawari_targets::{AddrRange, AddrSet, Endpoint, Port, Scope};
use mimawari_tests::fake::{Answer, FakeSite, Form};
use mimawari_tests::looking::{Seen, look_at};

const HOST: &str = "www.shop.example.jp";
const TODAY: DayName = DayName { year: 2026, month: 11, day: 24 };

/// What must be found, by path.
type Expected = BTreeMap<String, (String, Severity)>;

fn endpoint(address: SocketAddr) -> Endpoint {
    let loopback = "127.0.0.0/8".parse::<AddrRange>().unwrap();
    let scope = Scope::new(AddrSet::from_ranges([loopback]), AddrSet::default(), "the test suite");
    scope.endpoint(address.ip(), Port::new(address.port()).unwrap()).unwrap()
}

/// What the checks of a path say of a body, where every other path is missing.
fn alone(plan: &PathPlan, body: &[u8]) -> (ContentOutcome, String, Severity) {
    let key = [0; 32];
    let mut check = PathCheck::new(plan, 1, &key);
    while let Some(path) = check.next_request() {
        let there = path == &*plan.path;
        let (status, body) = if there { (200, body) } else { (404, &b""[..]) };
        check.response(&HttpResponse {
            fields: &(),
            status,
            location: None,
            body,
            truncated: false,
            total: None,
            flaw: None,
        });
    }
    let found = check.finish().unwrap();
    (found.outcome, found.check, found.severity)
}

/// A site with every `hit` of every check at a path of its own, and what must be found there.
fn site(catalogue: &Catalogue, form: Form) -> (FakeSite, Expected) {
    let names = NameLists { host: Some(HOST), today: TODAY };
    let plan = catalogue.plan(3);
    let plans: BTreeMap<String, PathPlan> =
        plan.on(names, &[]).iter().map(|p| (p.path.to_string(), p.clone())).collect();
    let (mut site, mut expected) = (FakeSite::new(), Expected::new());
    let mut missing = BTreeSet::new();
    // One for each before anybody has a second, and those with few paths first.
    // What is about every path of a site is not planted at one.
    let everywhere = |c: &&Check| c.controls == Controls::Everywhere;
    let mut checks: Vec<_> = catalogue.all().filter(|c| !everywhere(c)).collect();
    checks.sort_by_key(|c| c.paths.len());
    let most = checks.iter().map(|c| c.hits.len()).max().unwrap_or(0);
    for n in 0..most {
        for check in &checks {
            let plain = |h: &&CheckFixture| {
                // Redirects and error pages have no file; an empty file has no form.
                h.status(check) == 200 && h.total.is_none() && !h.body().is_empty()
            };
            let Some(hit) = check.hits.iter().filter(plain).nth(n) else { continue };
            let body = hit.body();
            let paths = check.paths.iter().flat_map(|(_, template)| template.on(names));
            let mut free = paths.filter(|p| !expected.contains_key(p) && p != "/");
            let own = free.find(|p| {
                let (outcome, id, _) = alone(&plans[p], &body);
                outcome == ContentOutcome::Exposed && id == check.id
            });
            let Some(path) = own else {
                missing.insert(check.id.clone());
                continue;
            };
            let (_, id, severity) = alone(&plans[&path], &body);
            site = site.route(&path, Answer::ok(body).form(form));
            expected.insert(path, (id, severity));
        }
    }
    // A check with more fixtures than paths may leave some out, and none may be left out wholly.
    let found: BTreeSet<&String> = expected.values().map(|(id, _)| id).collect();
    let content = |c: &&Check| c.hits.iter().any(|h| h.status(c) == 200);
    for check in catalogue.all().filter(content).filter(|c| !everywhere(c)) {
        let alone = check.paths.iter().all(|(_, t)| t.on(names) == ["/"]);
        assert!(
            found.contains(&check.id) || alone || check.id == "split",
            "{} {missing:?}",
            check.id
        );
    }
    (site, expected)
}

fn look(catalogue: &Arc<Catalogue>, address: SocketAddr) -> Seen {
    let config = HttpConfig {
        catalogue: Arc::clone(catalogue),
        tier: 3,
        longest_pause: Duration::from_millis(1),
        head_timeout: Duration::from_secs(60),
        body_timeout: Duration::from_secs(60),
        now: || "2026-11-24T08:00:00Z".parse().unwrap(),
        ..HttpConfig::default()
    };
    let host = Some(HOST.to_owned());
    look_at(vec![WebTarget { endpoint: endpoint(address), scheme: UrlScheme::Http, host }], config)
}

fn assert_found(seen: &Seen, expected: &Expected, what: &str) {
    let mut paths = BTreeSet::new();
    let mut wrong = Vec::new();
    for o in &seen.paths {
        assert!(paths.insert(&o.path), "{what}: {} twice", o.path);
        let is = (o.outcome == ContentOutcome::Exposed).then(|| (o.check.clone(), o.severity));
        if is.as_ref() != expected.get(&o.path) {
            wrong.push(format!("{} {:?} {:?} {:?}", o.path, o.outcome, is, expected.get(&o.path)));
        }
    }
    assert!(wrong.is_empty(), "{what}: {} of {}: {wrong:#?}", wrong.len(), expected.len());
    assert!(expected.keys().all(|p| paths.contains(p)), "{what}");
    assert_eq!(seen.sites.len(), 1);
}

#[test]
fn every_check_finds_its_files_in_every_form() {
    let catalogue = Arc::new(Catalogue::builtin());
    for form in Form::ALL {
        let (site, expected) = site(&catalogue, form);
        assert!(expected.len() >= 200, "{}", expected.len());
        let server = site.start().unwrap();
        assert_found(&look(&catalogue, server.address()), &expected, &format!("{form:?}"));
    }
}

#[test]
fn nothing_is_missed_when_one_request_in_twenty_fails() {
    let catalogue = Arc::new(Catalogue::builtin());
    for seed in 0..20 {
        let (site, expected) = site(&catalogue, Form::Typed);
        let server = site.failing(seed, 50).start().unwrap();
        let seen = look(&catalogue, server.address());
        assert_found(&seen, &expected, &format!("seed {seed}"));
        let uncovered = seen.paths.iter().filter(|o| !o.outcome.is_covered()).count();
        assert_eq!(uncovered, 0);
    }
}
