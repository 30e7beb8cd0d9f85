//! The page as a text: its policy, its inertness, its completeness.

use std::collections::{BTreeMap, BTreeSet};

use super::row::{build_anchor, split_quoted};
use super::*;
use crate::clean::is_hostile;
use crate::samples;

/// A start tag with its attributes.
struct Tag {
    name: String,
    attributes: BTreeMap<String, String>,
}

/// The start tags of a page, without what stands inside of style and script. Every `<` counts: text
/// that had one which is not escaped would show up as a tag.
fn tags(page: &str) -> Vec<Tag> {
    let mut out = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let mut quoted = false;
        let end = rest
            .find(|c| {
                quoted ^= c == '"';
                c == '>' && !quoted
            })
            .expect("a tag ends");
        let (tag, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        if tag.starts_with('/') || tag.starts_with('!') {
            continue;
        }
        let (name, mut list) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut attributes = BTreeMap::new();
        list = list.trim_end_matches('/').trim();
        while !list.is_empty() {
            let end = list.find([' ', '=']).unwrap_or(list.len());
            let (key, after) = list.split_at(end);
            let mut value = "";
            list = after;
            if let Some(v) = list.strip_prefix("=\"") {
                let end = v.find('"').expect("a value ends");
                value = &v[..end];
                list = &v[end + 1..];
            }
            list = list.trim_start();
            assert!(attributes.insert(key.to_owned(), value.to_owned()).is_none(), "{tag}");
        }
        let name = name.to_owned();
        if name == "script" || name == "style" {
            rest = &rest[rest.find(&format!("</{name}>")).expect("it ends")..];
        }
        out.push(Tag { name, attributes });
    }
    out
}

fn between<'a>(page: &'a str, start: &str, end: &str) -> &'a str {
    let at = page.find(start).expect(start) + start.len();
    &page[at..at + page[at..].find(end).expect(end)]
}

#[test]
fn the_policy_allows_what_is_in_the_page_and_nothing_else() {
    for v in samples::all() {
        let page = html(&v);
        let policy = between(&page, "http-equiv=\"Content-Security-Policy\" content=\"", "\"");
        let style = hash(between(&page, "<style>", "</style>"));
        let script = hash(between(&page, "<script>", "</script>"));
        assert_eq!(
            policy,
            format!(
                "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'"
            )
        );
        assert_eq!(page.matches("<script").count(), 2);
        assert_eq!(page.matches("<script type=\"application/json\"").count(), 1);
        assert_eq!(page.matches("<style").count(), 1);
        // The policy counts only for what comes after it.
        assert!(page.find("Content-Security-Policy") < page.find("<style"));
    }
}

/// Style and script do not reach out, and do not end their element early.
#[test]
fn style_and_script_stand_alone() {
    for s in [CSS, JS] {
        for bad in ["</", "<!--", "://", "url(", "@import", "fetch", "innerHTML", "eval", "\r"] {
            assert!(!s.contains(bad), "{bad}");
        }
    }
}

#[test]
fn hostile_text_is_inert() {
    let page = html(&samples::hostile());
    assert!(!page.chars().any(|c| c != '\n' && is_hostile(c)));
    let known: BTreeSet<String> =
        tags(&html(&samples::drift())).into_iter().map(|t| t.name).collect();
    let list = tags(&page);
    assert!(list.len() > 200);
    for t in &list {
        assert!(known.contains(&t.name), "{}", t.name);
        for (key, value) in &t.attributes {
            assert!(!key.starts_with("on") && key != "src" && key != "style", "{key}={value}");
            assert!(key != "href" || value.starts_with('#'), "{key}={value}");
        }
    }
    // It is shown, though, as text.
    assert!(page.contains("&#60;script&#62;alert(1)&#60;/script&#62;"));
    assert!(page.contains("管理画面"));
    assert!(page.contains("user�gpj.exe"));
}

#[test]
fn no_sample_has_a_tag_or_an_attribute_that_loads_or_runs() {
    let keys: BTreeSet<String> = samples::all()
        .iter()
        .flat_map(|v| tags(&html(v)))
        .flat_map(|t| t.attributes.into_keys())
        .collect();
    for bad in ["src", "srcset", "style", "action", "formaction", "ping", "xlink:href"] {
        assert!(!keys.contains(bad), "{bad}");
    }
    assert!(!keys.iter().any(|k| k.starts_with("on")));
}

#[test]
fn ids_are_unique_and_every_link_has_its_target() {
    for v in samples::all() {
        let list = tags(&html(&v));
        let mut ids = BTreeSet::new();
        for id in list.iter().filter_map(|t| t.attributes.get("id")) {
            assert!(ids.insert(id.as_str()), "{id} twice");
        }
        for href in list.iter().filter_map(|t| t.attributes.get("href")) {
            if href.starts_with("#q=") {
                continue;
            }
            assert!(ids.contains(&href[1..]), "{href}");
        }
    }
}

#[test]
fn an_id_that_is_not_hex_takes_no_name_of_the_page() {
    assert_eq!(build_anchor("ba6d29dea5095a80", 7), "ba6d29dea5095a80");
    for bad in ["", "mw-filter", "\"><b>", "findings", &"a".repeat(65)] {
        assert_eq!(build_anchor(bad, 7), "row-7");
    }
    let v = samples::hostile();
    let page = html(&v);
    for n in 0..v.findings.len() {
        assert!(page.contains(&format!("<tr role=\"row\" id=\"f-row-{n}\"")));
    }
}

#[test]
fn what_is_pending_is_not_called_settled() {
    let v = samples::drift();
    let causes = CauseRows::new(&v);
    let tags: Vec<(&str, &str)> =
        causes.list[causes.explained..].iter().map(|c| (c.title.as_str(), c.tag)).collect();
    assert_eq!(
        tags,
        [
            ("To be decided", "pending"),
            ("Resolved", "settled"),
            ("Allowed", "settled"),
            ("Out of scope", "settled")
        ]
    );
    // Every finding is in the group that says it.
    let counted = |g: usize| causes.of.iter().filter(|of| **of as usize == g).count();
    assert!(causes.list.iter().enumerate().all(|(g, c)| counted(g) == c.count));
}

/// The island of a page, read as a browser reads it.
fn data(page: &str) -> serde_json::Value {
    let json = between(page, "<script type=\"application/json\" id=\"mw-data\">", "</script>");
    serde_json::from_str(json).expect("the island is JSON")
}

#[test]
fn without_the_script_the_worst_are_shown_and_nothing_of_them_is_hidden() {
    let v = samples::drift();
    let list = tags(&html(&v));
    for f in &v.findings {
        assert!(
            list.iter()
                .any(|t| t.name == "tr" && t.attributes.get("id") == Some(&format!("f-{}", f.id)))
        );
    }
    let hidden: Vec<&str> = list
        .iter()
        .filter(|t| t.attributes.contains_key("hidden"))
        .map(|t| t.attributes["id"].as_str())
        .collect();
    // Only what would do nothing.
    assert_eq!(
        hidden,
        [
            "mw-theme",
            "mw-filter",
            "mw-bar",
            "mw-none",
            "mw-app",
            "mw-site-filter",
            "mw-site-none",
            "mw-help"
        ]
    );
    let page = html(&samples::generate_findings(3_000));
    assert_eq!(page.matches("<tr role=\"row\" id=\"f-").count(), PLAIN);
    assert!(page.contains("3,000 findings; the worst are shown. The other 2,500 need"));
}

#[test]
fn every_finding_is_in_the_island_with_all_that_is_said_of_it() {
    let v = samples::generate_findings(3_000);
    let page = html(&v);
    let d = data(&page);
    let f = &d["findings"];
    let place: BTreeMap<&str, usize> = f["id"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .map(|(n, id)| (id.as_str().unwrap(), n))
        .collect();
    assert_eq!(place.len(), v.findings.len());
    let text = |n: &serde_json::Value| d["text"][n.as_u64().unwrap() as usize].as_str().unwrap();
    for one in &v.findings {
        let n = place[one.id.as_str()];
        assert_eq!(f["ip"][n], one.ip.to_string());
        assert_eq!(f["port"][n], one.port.map_or(0, |p| p.get()));
        let state = f["state"][n].as_u64().unwrap() as usize;
        assert_eq!(d["states"][state][0], one.state.as_str());
        let severity = f["severity"][n].as_u64().unwrap() as usize;
        assert_eq!(d["severities"][severity], one.severity.as_str());
        assert_eq!(text(&f["why"][n]), one.why);
        assert_eq!(f["first"][n], one.first_seen.as_second());
        assert_eq!(f["flags"][n].as_u64().unwrap() & 16 != 0, one.state.is_drift());
        let details = f["details"][n].as_array().unwrap();
        assert!(details.iter().any(|x| one.remedy.as_deref().is_none_or(|r| text(x) == r)));
    }
    // Each column is as long as the others.
    for (name, column) in f.as_object().unwrap() {
        assert_eq!(column.as_array().unwrap().len(), v.findings.len(), "{name}");
    }
    // The groups add up, and most is explained by few.
    let counts: Vec<u64> =
        d["groups"].as_array().unwrap().iter().map(|g| g["count"].as_u64().unwrap()).collect();
    assert_eq!(counts.iter().sum::<u64>(), 3_000);
    assert!(counts.iter().take(5).sum::<u64>() > 2_400);
}

#[test]
fn the_island_cannot_end_its_element() {
    let page = html(&samples::hostile());
    let json = between(&page, "id=\"mw-data\">", "</script>");
    assert!(!json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']));
    let d = data(&page);
    let texts: Vec<&str> =
        d["text"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
    assert!(texts.iter().any(|t| t.contains("</script><svg onload=alert(1)>")));
    assert!(!texts.iter().any(|t| t.chars().any(is_hostile)));
    let evil = "</script><!--\u{2028}&amp;<script>";
    let json = serde_json::to_string(evil).unwrap();
    let escaped = island::escape_for_html(&json);
    assert!(!escaped.contains(['<', '>', '&', '\u{2028}']));
    assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), evil);
}

#[test]
fn the_same_verdict_gives_the_same_bytes() {
    let v = samples::with_history(samples::with_maps(samples::generate_findings(2_000)), 60);
    assert_eq!(html(&v), html(&v.clone()));
}

#[test]
fn names_in_a_sentence_are_set_as_code() {
    let page = html(&samples::drift());
    assert!(page.contains("<p>Rule <code>no-telnet</code> forbids this port on every host.</p>"));
    assert_eq!(split_quoted("a `b"), [(false, "a `b".to_owned())]);
    assert_eq!(split_quoted(""), [(false, String::new())]);
}

#[test]
fn what_counts_stands_before_what_is_settled() {
    let v = samples::drift();
    let page = HtmlPage::new(&v);
    let states: Vec<&str> = page.plain().map(|r| r.state).collect();
    assert_eq!(
        states,
        [
            "open",
            "open",
            "open",
            "missing",
            "unverified",
            "open",
            "open",
            "resolving",
            "to be decided",
            "resolved",
            "out of scope",
            "allowed"
        ]
    );
}

#[test]
fn another_service_and_what_is_allowed_are_tables_of_bounded_length() {
    let evil = "<b>x</b>\u{202e}";
    let mut v = samples::drift();
    let mut change = samples::another_service();
    change.was = evil.to_owned();
    change.allowed_by = Some(evil.to_owned());
    v.service_changes = vec![change; 900];
    v.allowed = vec![v.allowed[0].clone(); 900];
    v.allowed[0].reason = evil.to_owned();
    v.allowed_counts.contents = 2_000;
    let page = html(&v);
    let of = |id: &str| between(&page, &format!("id=\"{id}\""), "</section>").to_owned();
    let (services, allowed) = (of("services"), of("allowed"));
    assert_eq!(services.matches("<tr role=\"row\">").count(), 501, "500 and the head");
    assert!(services.contains("198.51.100.9:8080") && services.contains("and 400 more"));
    assert_eq!(allowed.matches("<tr role=\"row\">").count(), 501);
    assert!(allowed.contains("2,000 contents") && allowed.contains("and 1,903 more"), "{allowed}");
    assert!(!page.contains("<b>x</b>") && !page.contains('\u{202e}'));
    // Nothing changed and nothing is allowed: no section.
    let page = html(&samples::clean());
    assert!(!page.contains("id=\"services\"") && !page.contains("id=\"allowed\""));
}

#[test]
fn a_reader_who_does_not_see_the_page_can_use_it() {
    let list = tags(&html(&samples::drift()));
    let has = |name: &str, key: &str, value: &str| {
        list.iter().any(|t| t.name == name && t.attributes.get(key).is_some_and(|v| v == value))
    };
    assert!(has("html", "lang", "en"));
    assert!(has("p", "aria-live", "polite"));
    assert!(has("a", "class", "skip"));
    assert!(list.iter().any(|t| t.name == "caption"));
    let scoped =
        |s: &str| list.iter().filter(|t| t.attributes.get("scope").is_some_and(|v| v == s)).count();
    let v = samples::drift();
    let rows = v.findings.len() + v.site_changes.len() + v.site_notices.len() + v.allowed.len();
    assert_eq!((scoped("col"), scoped("row")), (6 + 4 + 4, rows));
    // Each field of the filter stands inside of its label.
    let fields = list.iter().filter(|t| t.name == "input" || t.name == "select").count();
    assert_eq!(list.iter().filter(|t| t.name == "label").count(), fields);
}

#[test]
fn the_page_says_how_sure_it_is_and_who_authorised_it() {
    let page = html(&samples::incomplete());
    for part in [
        "<title>INCOMPLETE: Stopped by SIGTERM after 41 s (and 1 more reason) – mimawari</title>",
        "No drift in what was covered; nothing is known of the rest.",
        "58.30 % of 655,360 cells; 273,243 not probed",
        "0.99870 (95 % interval 0.99710 to 0.99950); UNDER the promise of 0.9999",
        "2,116 content checks were skipped: stopped before their turn.",
        "SEC-1042",
        "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
        "19,871 of at most 20,000 packets/s",
        "1,402,311 sent, 0 failed sends",
        "2 of 2 canaries answered",
        "None in what was covered. Nothing is known of the rest.",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("Nothing: all that was planned was covered."));
    assert!(html(&samples::clean()).contains("None: what was seen is what was agreed."));
}

#[test]
fn a_hit_is_told_with_question_answer_proof_and_remedy() {
    let page = html(&samples::drift());
    for part in [
        "<dt>Asked<dd><bdi>GET http://shop.example.jp/password.php at 198.51.100.7:80, Range: bytes=0-65535</bdi>",
        "<dt>Answer<dd><bdi>HTTP 200, line 1, 812 bytes, begins “hu…”</bdi>",
        "<dt>Certain<dd><bdi>signature: begins with a PHP opening tag; a second answer had it too; 2 paths that cannot exist did not (404, 404)</bdi>",
        "<dt>Remedy<dd><bdi>Let the server run PHP for this path or deny it",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn what_changed_of_sites_has_rows_and_what_is_quiet_has_none() {
    let v = samples::drift();
    let page = html(&v);
    let rows = page.matches("<tr role=\"row\" data-k=").count();
    assert_eq!(rows, v.site_changes.len() + v.site_notices.len());
    for part in ["Our blog", "0wned by nobody", "https://blog.example.jp", "points at addresses"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!html(&samples::clean()).contains("id=\"mw-site"));
}

#[test]
fn evidence_shows_a_mask_and_never_more() {
    let mut v = samples::drift();
    for f in &mut v.findings {
        if let Some(e) = &mut f.evidence {
            e.masked = Some("hunter2-and-more".to_owned());
        }
    }
    let page = html(&v);
    assert!(page.contains("begins “hunt…”"));
    assert!(!page.contains("hunte"));
}

#[test]
fn the_coverage_bar_is_filled_and_never_too_long() {
    for v in samples::all() {
        let s = segments(&v);
        let end = s.last().map_or(0, |s| s.x + s.width);
        assert!((BAR - 5..=BAR).contains(&end), "{end}");
        // 412 cells of 655,360 are still to be seen.
        assert!(s.iter().all(|s| (s.number == "0") == (s.width == 0)));
    }
    let mut v = samples::clean();
    v.coverage.closed = u64::MAX;
    v.coverage.silent = u64::MAX;
    assert!(segments(&v).last().is_some_and(|s| s.x + s.width <= BAR));
}

#[test]
fn the_recall_scale_keeps_its_order_and_its_bounds() {
    let v = samples::incomplete();
    let s = SeverityScale::new(&v).expect("a scale");
    assert!(s.low < s.estimate && s.estimate < s.low + s.width && s.estimate < s.promise);
    let mut v = v;
    for (estimate, interval, promised) in [
        (Some(1.0), Some((1.0, 1.0)), 1.0),
        (Some(0.0), Some((0.0, 1.0)), 0.0),
        (Some(f64::NAN), Some((f64::NAN, f64::NAN)), f64::NAN),
        (None, None, 0.9999),
    ] {
        v.coverage.recall_estimate = estimate;
        v.coverage.recall_interval = interval;
        v.coverage.recall_promised = promised;
        if let Some(s) = SeverityScale::new(&v) {
            assert!(s.low + s.width <= BAR && s.estimate < BAR && s.promise < BAR);
        }
    }
}

/// A page for twenty thousand findings is complete and can be mailed: under 200 bytes a finding besides
/// the 500 that are shown without the script, and under 600 a row of the sites, of which there are at
/// most two thousand.
#[test]
fn a_large_verdict_gives_a_page_of_bearable_size() {
    let n = 20_000;
    let page = html(&samples::many(n));
    assert_eq!(data(&page)["findings"]["id"].as_array().unwrap().len(), n as usize);
    assert_eq!(page.matches("<tr role=\"row\" data-k=").count(), 2_000);
    assert!(
        page.len() < 200 * n as usize + 1_000 * PLAIN + 600 * 2_000 + 200_000,
        "{}",
        page.len()
    );
}
