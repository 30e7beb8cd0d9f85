//! The page in a real browser: Chromium without a window.
//!
//! Needs the package `chromium`. Left out and counted as ignored unless `MIMAWARI_LAB=full`. The browser
//! runs in a network namespace with no way out. Pictures are written to `target/tmp/page`.

use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use mimawari_drift::verdict::Verdict;
use mimawari_tests::suite::Selection;

#[path = "page/browser.rs"]
mod browser;
#[path = "page/large.rs"]
mod large;
#[path = "page/pictures.rs"]
mod pictures;
#[path = "page/safe.rs"]
mod safe;
#[path = "page/use_of_it.rs"]
mod use_of_it;
// The verdicts that the renderers' own tests have.
#[allow(dead_code)]
#[path = "../../scanner/report/src/samples.rs"]
mod samples;

const CASES: &[(&str, fn())] = &[
    ("page::no_sample_gives_an_error_and_a_planted_one_is_seen", safe::quiet),
    ("page::hostile_text_runs_nothing", safe::hostile),
    ("page::without_the_script_the_worst_are_shown", safe::without_script),
    ("page::the_filter_shows_what_it_says", use_of_it::filter),
    ("page::the_filter_is_in_the_address", use_of_it::fragment),
    ("page::a_link_opens_its_finding_wherever_it_is", use_of_it::deep_link),
    ("page::keys_alone_are_enough", use_of_it::keys),
    ("page::a_map_names_its_cells_and_filters_by_them", use_of_it::map),
    ("page::groups_open_and_close", use_of_it::groups),
    ("page::the_theme_can_be_chosen", use_of_it::theme),
    ("page::a_hundred_thousand_findings_are_quick", large::quick),
    ("page::pictures", pictures::all),
];

pub fn trials(selection: &Selection) -> Vec<Trial> {
    let trial = |(name, case): &(&str, fn())| {
        let case = *case;
        let run = move || {
            case();
            Ok(())
        };
        Trial::test(*name, run).with_ignored_flag(!selection.mode.is_full())
    };
    CASES.iter().map(trial).collect()
}

/// A page in a file of a folder.
fn page(dir: &Path, name: &str, v: &Verdict) -> PathBuf {
    let file = dir.join(format!("{name}.html"));
    std::fs::write(&file, mimawari_report::html(v)).expect("a file");
    file
}

/// With everything that a verdict may have.
fn full(v: Verdict) -> Verdict {
    samples::with_history(samples::with_maps(v), 60)
}
