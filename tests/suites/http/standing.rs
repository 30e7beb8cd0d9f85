//! What a site's refusals are worth, and which names are asked.

use mimawari_look::http::{NamedPort, SiteTargets};

use super::*;

fn page(title: &str) -> Answer {
    Answer::ok(format!("<!doctype html><title>{title}</title>"))
}

#[test]
fn a_site_that_refuses_everything_is_not_covered() {
    for status in [400, 401, 403, 404, 406, 418, 421, 426, 431] {
        let all = Fallback::Always(Answer::status(status));
        let server = FakeSite::new().fallback(all).start().unwrap();
        let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config());
        assert_complete(&seen, 1);
        assert!(
            seen.iter().all(|o| o.outcome == ContentOutcome::Error),
            "{status}: {:?}",
            outcomes(&seen)
        );
        assert!(seen[0].reason.as_deref().is_some_and(|r| r.contains(&status.to_string())));
    }
}

#[test]
fn a_refusal_counts_where_others_are_served() {
    for status in [400, 401, 403, 404, 405, 406, 410, 416, 418, 421, 426, 431, 451] {
        let server = FakeSite::new().route("/.env", Answer::status(status)).start().unwrap();
        let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config());
        let outcome = by_path(&seen)["/.env"].outcome;
        let wanted = match status {
            404 | 410 => ContentOutcome::Absent,
            // About the way of asking: nothing is known of the file.
            416 | 421 | 426 | 431 => ContentOutcome::Error,
            _ => ContentOutcome::Protected,
        };
        assert_eq!(outcome, wanted, "{status}");
    }
}

#[test]
fn a_site_that_sends_everybody_away_is_not_looked_at() {
    let name = "shop.example.test";
    for to in ["https://www.elsewhere.example/", "/login", "https://shop.example.test/"] {
        let away = Fallback::Always(Answer::redirect(to));
        let server = FakeSite::new().fallback(away).start().unwrap();
        let seen = look_at(vec![target(&server, UrlScheme::Http, Some(name))], config());
        assert_complete(&seen, 1);
        assert!(
            seen.iter().all(|o| o.outcome == ContentOutcome::Error),
            "{to}: {:?}",
            outcomes(&seen)
        );
    }
    let server = FakeSite::new().fallback(Fallback::RedirectLoop).start().unwrap();
    let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config());
    assert!(seen.iter().all(|o| o.outcome == ContentOutcome::Error), "{:?}", outcomes(&seen));
}

#[test]
fn a_site_that_leads_to_another_that_is_looked_at_is_covered() {
    let (name, www) = ("shop.example.test", "www.shop.example.test");
    let there = FakeSite::new().start().unwrap();
    let to = format!("http://{www}:{}/", there.address().port());
    let server = FakeSite::new().fallback(Fallback::Always(Answer::redirect(&to))).start().unwrap();
    let targets = vec![
        target(&server, UrlScheme::Http, Some(name)),
        target(&there, UrlScheme::Http, Some(www)),
    ];
    let seen = look_at(targets, config());
    assert!(seen.iter().all(|o| o.outcome == ContentOutcome::Absent), "{:?}", outcomes(&seen));
    // The default site of an address is nobody's plan.
    let seen = look_at(vec![target(&server, UrlScheme::Http, None)], config());
    assert!(seen.iter().all(|o| o.outcome == ContentOutcome::Absent), "{:?}", outcomes(&seen));
}

#[test]
fn every_name_is_asked_however_many_before_it_had_no_answer() {
    let name = "shop.example.test";
    let server = FakeSite::new()
        .fallback(Fallback::Hangup)
        .vhost(name, "/", page("shop"))
        .vhost(name, "/.env", Answer::ok(dotenv()))
        .vhost_fallback(name, Fallback::NotFound)
        .start()
        .unwrap();
    let mut list: String = (0..12).map(|i| format!("127.0.0.1,old-{i}.example.test\n")).collect();
    // However many rows name it, it is one site.
    let port = server.address().port();
    list.push_str(&format!("127.0.0.1,{name}\n127.0.0.1,{name},{port},http\n"));
    let vhosts =
        VhostIndex::spool("v.csv", list.as_bytes(), &scope(), &std::env::temp_dir()).unwrap();
    let named = NamedPort {
        endpoint: endpoint(server.address()),
        scheme: UrlScheme::Http,
        takes_any: true,
    };
    let targets =
        SiteTargets { named: vec![named], vhosts: Some(vhosts), ..SiteTargets::default() };
    let seen = looking::look_at(targets, config()).paths;
    assert_complete(&seen, 13);
    let of_shop: Vec<_> =
        seen.iter().filter(|o| o.host.as_deref() == Some(name)).cloned().collect();
    assert_eq!(exposed(&of_shop), BTreeSet::from(["/.env"]));
    let silent = seen.iter().filter(|o| o.host.as_deref() != Some(name));
    assert!(silent.clone().all(|o| o.outcome == ContentOutcome::Error));
    // The bare address is not asked, and a name that has no answer costs little.
    let requests = server.requests();
    // One request without a name: whether the port speaks HTTP/2 alone.
    let names: Vec<&str> = requests.iter().filter_map(|r| r.host.as_deref()).collect();
    assert_eq!(requests.len() - names.len(), 1);
    assert!(!names.iter().any(|n| n.starts_with("127.")));
    assert_eq!(names.iter().filter(|n| n.starts_with("old-11.")).count(), 1);
}
