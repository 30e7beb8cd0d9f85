//! That the colours can be distinguished from their ground.

use std::collections::BTreeMap;

use super::CSS;

/// Text against its ground, WCAG 2.2 criterion 1.4.3: 4.5 to 1, in light and in dark.
#[test]
fn colours_have_contrast() {
    let pairs_of = |line: &'static str| {
        let (name, value) = line.trim().strip_prefix("--")?.split_once(": light-dark(")?;
        Some((name, value.strip_suffix(");")?.split_once(", ")?))
    };
    for dark in [false, true] {
        let colours: BTreeMap<&str, f64> = CSS
            .lines()
            .filter_map(pairs_of)
            .map(|(name, (l, d))| (name, compute_luminance(if dark { d } else { l })))
            .collect();
        let mut pairs: Vec<(String, String, f64)> = Vec::new();
        for text in ["ink", "muted", "link"] {
            for ground in ["page", "card", "sunk", "target"] {
                pairs.push((text.to_owned(), ground.to_owned(), 4.5));
            }
        }
        for name in colours.keys().filter_map(|n| n.strip_suffix("-fg")) {
            pairs.push((format!("{name}-fg"), format!("{name}-bg"), 4.5));
        }
        // What is drawn: criterion 1.4.11.
        for mark in ["m-allowed", "m-unexpected", "m-missing", "m-unverified", "focus"] {
            pairs.push((mark.to_owned(), "m-ground".to_owned(), 3.0));
        }
        pairs.push(("m-unverified".to_owned(), "m-hatch".to_owned(), 3.0));
        assert_eq!(pairs.len(), 12 + 10 + 6);
        for (text, ground, least) in pairs {
            let (a, b) = (colours[text.as_str()], colours[ground.as_str()]);
            let ratio = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(ratio >= least, "{text} on {ground}, dark {dark}: {ratio:.2}");
        }
    }
}

/// Relative luminance of `#rrggbb`, as WCAG 2.2 defines it.
fn compute_luminance(colour: &str) -> f64 {
    let channel = |i: usize| {
        let c = f64::from(u8::from_str_radix(&colour[i..i + 2], 16).unwrap()) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}
