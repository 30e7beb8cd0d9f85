//! A hundred thousand findings. The budgets are three times what was measured on two cores of a build
//! machine: they catch what grows with the square, not what is a little slower.

use serde_json::Value;

use super::browser::Browser;
use super::{full, page, samples};

/// Megabytes of the file, which no machine changes: a tenth more than measured.
const FILE: f64 = 15.0;
/// Milliseconds to the first paint, and until the script is done.
const FIRST_PAINT: f64 = 900.0;
const READY: f64 = 3_600.0;
/// Milliseconds from a key to the frame that shows what it found.
const FILTER: f64 = 900.0;
/// Megabytes that the script's objects take.
const HEAP: f64 = 75.0;

pub fn quick() {
    let d = tempfile::tempdir().expect("a folder");
    let b = Browser::start();
    for (name, v) in [
        ("few causes", full(samples::generate_findings(100_000))),
        ("all alike", full(samples::many(100_000))),
    ] {
        let file = page(d.path(), "p", &v);
        let size = std::fs::metadata(&file).expect("the page").len() as f64 / 1e6;
        b.open(&file, "");
        let number = |v: Value| v.as_f64().unwrap_or(f64::INFINITY);
        let paint = number(b.eval(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() =>
               done(performance.getEntriesByName('first-contentful-paint')[0]?.startTime))))",
        ));
        let ready = number(
            b.eval("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"),
        );
        let mut slowest = (0.0, "");
        for view in ["list", "groups"] {
            b.eval(&format!("document.querySelector('[data-view={view}]').click()"));
            for q in [
                "r",
                "redis",
                "198.18.1",
                "in:198.18.0.0/16",
                "severity:high -is:new",
                "tcp port:1-9999",
                "zzz",
                "",
            ] {
                let took = number(b.eval(&format!(
                    "new Promise((done) => {{
                       const f = document.querySelector('[name=q]'), begun = performance.now();
                       f.value = {q:?}; f.dispatchEvent(new Event('input', {{ bubbles: true }}));
                       requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - begun)));
                     }})"
                )));
                if took > slowest.0 {
                    slowest = (took, q);
                }
            }
        }
        b.call("HeapProfiler.collectGarbage", serde_json::json!({}));
        let metrics = b.call("Performance.getMetrics", serde_json::json!({}));
        let metrics = metrics["metrics"].as_array().expect("a list");
        let heap = metrics.iter().find(|m| m["name"] == "JSHeapUsedSize").expect("the heap");
        let heap = number(heap["value"].clone()) / 1e6;
        let link = number(b.eval(&format!(
            "(() => {{ const begun = performance.now(); reveal('{}'); return performance.now() - begun; }})()",
            v.findings[v.findings.len() - 1].id
        )));
        eprintln!(
            "{name}: file {size:.1} MB, first paint {paint:.0} ms, ready {ready:.0} ms, slowest filter \
             {:.0} ms ({:?}), link {link:.0} ms, heap {heap:.0} MB",
            slowest.0, slowest.1
        );
        assert!(size < FILE, "{size} MB");
        assert!(paint < FIRST_PAINT, "first paint after {paint} ms");
        assert!(ready < READY, "ready after {ready} ms");
        assert!(slowest.0 < FILTER && link < FILTER, "{slowest:?}, link {link} ms");
        assert!(heap < HEAP, "{heap} MB");
        assert_eq!(b.complaints(), [""; 0]);
    }
}
