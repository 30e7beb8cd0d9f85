//! What is fuzzed: functions of bytes that panic when a promise is broken. The ordinary tests
//! include this file and replay the corpus.

use mimawari_probes::http::manifest::Manifest;
use mimawari_probes::http::raw::{RawHead, extract_title};
use mimawari_probes::http::{
    BodyFlaw, Catalogue, DayName, HttpResponse, INFLATED_LIMIT, NameLists, PathCheck, PathPlan,
    decode, to_printable,
};
use mimawari_targets::diagnostic::TextSource;

/// Takes bytes and panics when a promise is broken.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const TARGETS: [(&str, Target); 5] = [
    ("raw_answer", raw_answer),
    ("matchers", matchers),
    ("catalogue", catalogue),
    ("manifest", manifest),
    ("inflate", inflate),
];

/// A head that a strict reader may refuse, its fields, its body and its title.
pub fn raw_answer(data: &[u8]) {
    if let Some(head) = RawHead::parse(data) {
        assert!(head.status < 1000);
        assert!(head.rest.len() <= data.len());
        let body = head.body();
        assert!(body.len() <= head.rest.len());
        let _ = head.field("content-length");
        if let Some(title) = extract_title(&body) {
            let shown = to_printable(title, 256);
            assert!(shown.chars().count() <= 256 && !shown.chars().any(char::is_control));
        }
    }
}

/// The plan of all tiers, made once.
fn plan() -> &'static [PathPlan] {
    static PLAN: std::sync::OnceLock<Vec<PathPlan>> = std::sync::OnceLock::new();
    PLAN.get_or_init(|| {
        let names = NameLists {
            host: Some("www.shop.example.jp"),
            today: DayName { year: 2026, month: 11, day: 24 },
        };
        Catalogue::builtin().plan(3).on(names, &[]).into_owned()
    })
}

/// One path of the catalogue, which the first two bytes choose, and answers made of the rest: each
/// begins with a byte for its status and two for its length.
pub fn matchers(data: &[u8]) {
    const STATUS: [u16; 8] = [200, 200, 206, 302, 403, 404, 500, 503];
    let [a, b, rest @ ..] = data else { return };
    let plan = plan();
    let path = &plan[usize::from(u16::from_be_bytes([*a, *b])) % plan.len()];
    let key = [7; 32];
    let mut check = PathCheck::new(path, 1, &key);
    let mut left = rest;
    let mut asked = 0;
    while check.next_request().is_some() {
        asked += 1;
        assert!(asked <= 12, "a check ends after twelve requests");
        // When the answers are used up they begin anew.
        if left.len() < 3 {
            left = rest;
        }
        let (status, length) = match left {
            [s, high, low, ..] => (*s, usize::from(u16::from_be_bytes([*high, *low]))),
            _ => (0, 0),
        };
        let body = left.get(3..).unwrap_or_default();
        let body = &body[..length.min(body.len())];
        left = left.get(3 + body.len()..).unwrap_or_default();
        check.response(&HttpResponse {
            fields: &(),
            status: STATUS[usize::from(status & 7)],
            location: std::str::from_utf8(body).ok(),
            body: &decode((status & 8 != 0).then_some(b"gzip"), body),
            truncated: status & 16 != 0,
            total: (status & 32 != 0).then_some(u64::from(status) << 20),
            flaw: (status & 64 != 0).then_some(BodyFlaw::Incomplete),
        });
    }
    let found = check.finish().expect("no request is left");
    let told = serde_json::to_string(&found).expect("it can be written");
    assert!(!told.contains("\\u00"), "no control character: {told}");
    if let Some(evidence) = &found.evidence {
        let masked = evidence.masked.as_deref().unwrap_or_default();
        assert!(masked.chars().count() <= 5, "{masked}");
        assert_eq!(evidence.digest.len(), 32);
    }
}

/// A file of checks that somebody wrote: read, or refused in words.
pub fn catalogue(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut catalogue = Catalogue::builtin();
    if let Err(diagnostics) = catalogue.add(&TextSource::new("own.toml", text)) {
        let shown = diagnostics.to_string();
        assert!(shown.contains("own.toml"), "{shown}");
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    }
}

/// A manifest, and what its files are proven by: the rest of the bytes.
pub fn manifest(data: &[u8]) {
    match Manifest::read("site.manifest", data) {
        Ok(manifest) => {
            for entry in manifest.entries() {
                let _ = entry.proven(data, false);
            }
        }
        Err(diagnostics) => {
            let shown = diagnostics.to_string();
            assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        }
    }
}

/// Bodies that say that they are compressed.
pub fn inflate(data: &[u8]) {
    for encoding in ["gzip", "deflate", "x-gzip", "br", "zstd", "br, gzip"] {
        let out = decode(Some(encoding.as_bytes()), data);
        assert!(out.len() <= INFLATED_LIMIT.max(data.len()));
    }
}
