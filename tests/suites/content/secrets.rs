//! A secret that was found is in no output.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;

use mimawari_probes::http::format::Controls;
use mimawari_probes::http::{
    Catalogue, Check, CheckFixture, ContentProbe, DayName, FinishedCheck, HttpResponse, NameLists,
    PathCheck, PathPlan,
};
use mimawari_probes::observation::ContentOutcome;
use mimawari_tests::fake::{Answer, FakeServer, FakeSite};

use super::desk::{Desk, files};

/// Letters alone, so that no digest, number or date looks like a piece of it.
fn marker() -> String {
    let random = [RandomState::new().hash_one(1), RandomState::new().hash_one(2)];
    let letter = |n: u64| char::from(b'a' + (n % 26) as u8);
    let letters = random.iter().flat_map(|r| (0..12).map(move |i| letter(r / 26u64.pow(i))));
    letters.collect()
}

/// So long a piece of a secret is too much.
const PIECE: usize = 7;

/// Where a piece of the marker stands.
fn pieces<'a>(marker: &str, text: &'a [u8]) -> Option<&'a [u8]> {
    let wanted: HashSet<&[u8]> = marker.as_bytes().windows(PIECE).collect();
    let at = text.windows(PIECE).position(|w| wanted.contains(w))?;
    Some(&text[at.saturating_sub(80)..text.len().min(at + 80)])
}

/// How a check ends on a body that is served as the fixture would be.
fn judged(check: &Arc<Check>, fixture: &CheckFixture, path: &str, body: &[u8]) -> FinishedCheck {
    let probes = vec![ContentProbe::Check(Arc::clone(check))].into();
    let plan = PathPlan { path: path.into(), probes };
    let mut course = PathCheck::new(&plan, 1, &[0; 32]);
    for n in 0.. {
        if course.next_request().is_none() {
            break;
        }
        let status = if n < 2 { fixture.status(check) } else { 404 };
        course.response(&HttpResponse {
            fields: &(),
            status,
            location: fixture.location.as_deref(),
            body: if n < 2 { body } else { b"not here" },
            truncated: false,
            total: fixture.total,
            flaw: None,
        });
    }
    course.finish().expect("an end")
}

/// The fixture's body with the marker behind every word that may have it without changing what the
/// check says: behind every secret, for checks look at names and not at values.
fn marked(check: &Arc<Check>, fixture: &CheckFixture, path: &str, marker: &str) -> Vec<u8> {
    let before = judged(check, fixture, path, &fixture.body());
    assert_eq!(before.outcome, ContentOutcome::Exposed, "{} {path}", check.id);
    let mut text = fixture.text.clone();
    let same = |text: &[u8]| {
        let fixture = CheckFixture { text: text.to_owned(), ..fixture.clone() };
        let now = judged(check, &fixture, path, &fixture.body());
        let labels = [&now, &before].map(|f| f.evidence.as_ref().and_then(|e| e.label.clone()));
        now.outcome == ContentOutcome::Exposed
            && now.severity == before.severity
            && labels[0] == labels[1]
    };
    let word = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let mut at = text.len().min(4000);
    while at > 0 {
        if word(text.get(at - 1)) && !word(text.get(at)) {
            let mut more = text.clone();
            more.splice(at..at, marker.bytes());
            if same(&more) {
                text = more;
            }
        }
        at -= 1;
    }
    CheckFixture { text, ..fixture.clone() }.body()
}

struct Planted {
    site: FakeSite,
    hosts: Vec<String>,
    /// What must be found: host and path.
    paths: Vec<(String, String)>,
    /// How many of the bodies hold the marker in the clear.
    clear: usize,
}

/// Every `hit` of every check, on as many hosts as it takes for each to have a path of its own.
fn plant(marker: &str, today: DayName) -> Planted {
    let mut taken: BTreeMap<usize, HashSet<String>> = BTreeMap::new();
    let mut planted =
        Planted { site: FakeSite::new(), hosts: Vec::new(), paths: Vec::new(), clear: 0 };
    // What is about every path of a site is not planted at one.
    let catalogue = Catalogue::builtin();
    for check in catalogue.all().filter(|c| c.controls != Controls::Everywhere) {
        let check = Arc::new(check.clone());
        for fixture in &check.hits {
            let (n, host, path) = (0..)
                .find_map(|n| {
                    let host = format!("s{n}.example.test");
                    let path = fixture.path.clone().unwrap_or_else(|| {
                        let names = NameLists { host: Some(&host), today };
                        check.paths.iter().flat_map(|(_, t)| t.on(names)).next().expect("a path")
                    });
                    let free = !taken.get(&n).is_some_and(|t| t.contains(&path));
                    free.then_some((n, host, path))
                })
                .expect("a free host");
            taken.entry(n).or_default().insert(path.clone());
            if planted.hosts.len() <= n {
                planted.hosts.push(host.clone());
            }
            let body = marked(&check, fixture, &path, marker);
            planted.clear += usize::from(pieces(marker, &body).is_some());
            let mut answer = Answer::status(fixture.status(&check));
            if let Some(location) = &fixture.location {
                answer = answer.header("Location", location);
            }
            if let Some(total) = fixture.total {
                let end = body.len().saturating_sub(1);
                let range = format!("bytes 0-{end}/{total}");
                answer = Answer::status(206).header("Content-Range", &range);
            }
            let answer = answer.body(mimawari_tests::fake::Body::Bytes(body));
            planted.site = planted.site.vhost(&host, &path, answer);
            planted.paths.push((host, path));
        }
    }
    planted
}

fn look(planted: &Planted, server: &FakeServer, scheme: &str, format: &str, marker: &str) {
    let at: SocketAddr = server.address();
    let desk = Desk::new(&[at], "", "tier = 3\nvhosts = \"vhosts.csv\"\npaths_per_site = 100000");
    let rows: Vec<String> =
        planted.hosts.iter().map(|h| format!("{},{h},{},{scheme}\n", at.ip(), at.port())).collect();
    desk.write("vhosts.csv", rows.concat());
    desk.write("key", "a key that is visibly none of anybody\n");
    let patrol = desk.patrol_with(
        "run",
        &["--evidence-key", "key", "--log-format", format],
        &[("MIMAWARI_LOG", "trace"), ("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full")],
    );
    assert_eq!(patrol.ran.status, Some(1), "{}", patrol.ran.stdout);
    let found: HashSet<(&str, &str)> = patrol
        .of_kind("http")
        .filter(|o| o["outcome"] == "exposed")
        .filter_map(|o| Some((o["host"].as_str()?, o["path"].as_str()?)))
        .collect();
    let missed: Vec<_> = planted
        .paths
        .iter()
        .filter(|(host, path)| !found.contains(&(host.as_str(), path.as_str())))
        .map(|(host, path)| {
            let said = patrol.of_kind("http").find(|o| o["host"] == **host && o["path"] == **path);
            format!("{host}{path}: {said:?}")
        })
        .collect();
    assert_eq!(missed, [""; 0], "{}", missed.join("\n"));
    let mut outputs = vec![
        ("stdout".to_owned(), patrol.ran.stdout.into_bytes()),
        ("stderr".to_owned(), patrol.ran.stderr.into_bytes()),
    ];
    for form in ["text", "json", "markdown", "html"] {
        let args = ["report", "--verdict", "run/verdict.json", "--format", form];
        let ran = desk.run_with(&args, &[("MIMAWARI_LOG", "trace")]);
        assert_eq!(ran.status, Some(0), "{}", ran.stderr);
        outputs.push((form.to_owned(), ran.stdout.into_bytes()));
    }
    for dir in ["run", "state"] {
        for file in files(&desk.path(dir)) {
            outputs.push((file.display().to_string(), fs::read(&file).expect("a file")));
        }
    }
    assert!(outputs.len() >= 12, "{:?}", outputs.iter().map(|(n, _)| n).collect::<Vec<_>>());
    for (name, text) in outputs {
        let leaked = pieces(marker, &text).map(String::from_utf8_lossy);
        assert_eq!(leaked, None, "{scheme}, {format}: {name}");
    }
}

/// Who reads a report must not learn the secrets that it is about.
#[test]
fn no_output_holds_a_piece_of_a_secret() {
    let marker = marker();
    let now = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC);
    let today = DayName { year: now.year(), month: now.month(), day: now.day() };
    let planted = plant(&marker, today);
    // Of what is not compressed or binary, every body holds it.
    assert!(planted.clear * 10 > planted.paths.len() * 7, "{} bodies", planted.clear);
    let plain = planted.site.clone().start().expect("a site");
    look(&planted, &plain, "http", "text", &marker);
    drop(plain);
    let names: Vec<&str> = planted.hosts.iter().map(String::as_str).collect();
    let tls = planted.site.clone().tls(&names).start().expect("a site");
    look(&planted, &tls, "https", "json", &marker);
}

#[test]
fn the_search_finds_a_piece() {
    let text = b"... xabcdefgx ...";
    assert!(pieces("zzabcdefgzz", text).is_some());
    assert!(pieces("zzabcdefzz", text).is_none());
}
