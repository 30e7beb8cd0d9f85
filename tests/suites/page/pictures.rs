//! Pictures of the page, for people to look at. What can be measured of them is.

use std::path::Path;

use serde_json::json;

use super::browser::Browser;
use super::{full, page, samples};

pub fn all() {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&to).expect("a folder");
    let b = Browser::start();
    let list = [
        ("clean", full(samples::clean())),
        ("drift", full(samples::drift())),
        ("incomplete", full(samples::incomplete())),
        ("suspect", full(samples::suspect())),
        ("hostile", full(samples::hostile())),
        ("first-run", samples::drift()),
        ("3000", full(samples::generate_findings(3_000))),
        ("100000", full(samples::generate_findings(100_000))),
    ];
    for (name, v) in list {
        let file = page(&to, name, &v);
        for (look, width, scheme, media) in [
            ("light", 1_360, "light", "screen"),
            ("dark", 1_360, "dark", "screen"),
            ("narrow", 400, "light", "screen"),
            ("print", 800, "light", "print"),
        ] {
            let size =
                json!({ "width": width, "height": 1_000, "deviceScaleFactor": 1, "mobile": false });
            b.call("Emulation.setDeviceMetricsOverride", size);
            let scheme = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
            b.call("Emulation.setEmulatedMedia", json!({ "media": media, "features": scheme }));
            b.open(&file, "");
            // Nothing stands out of the window: only a box that says so may be scrolled sideways.
            let wide = b.eval("document.documentElement.scrollWidth");
            assert!(wide.as_u64() <= Some(width), "{name} {look}: {wide}");
            let height = b.eval("document.documentElement.scrollHeight").as_u64().unwrap_or(1_000);
            let size = json!({ "width": width, "height": height.min(3_600), "deviceScaleFactor": 1, "mobile": false });
            b.call("Emulation.setDeviceMetricsOverride", size);
            b.picture(&to.join(format!("{name}-{look}.png")), false);
        }
        // A finding that a link opened, in the middle of the window.
        let Some(f) = v.findings.get(v.findings.len() / 2) else { continue };
        for (look, width) in [("linked", 1_360), ("linked-narrow", 400)] {
            let size =
                json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
            b.call("Emulation.setDeviceMetricsOverride", size);
            b.call("Emulation.setEmulatedMedia", json!({ "media": "screen", "features": [] }));
            b.open(&file, &format!("#f-{}", f.id));
            b.frame();
            b.picture(&to.join(format!("{name}-{look}.png")), false);
        }
    }
}
