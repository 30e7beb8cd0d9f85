//! An estimate as text for people and as JSON for machines.

use std::fmt::Write as _;

use mimawari_base::duration;
use serde::Serialize;

use super::estimate::{EstimateRow, PlanEstimate};
use super::price::{self, TaskPrice};

/// Version of the JSON.
const VERSION: u32 = 1;

/// The estimate as one JSON object.
///
/// # Errors
/// Never in practice; serialising numbers cannot fail.
pub fn render_json(e: &PlanEstimate) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct DatedPrice<'a> {
        version: u32,
        #[serde(flatten)]
        estimate: &'a PlanEstimate,
        prices_as_of: Option<&'static str>,
        prices_region: Option<&'static str>,
    }
    let listed = find_price_architecture(e.price).is_some();
    let mut text = serde_json::to_string_pretty(&DatedPrice {
        version: VERSION,
        estimate: e,
        prices_as_of: listed.then_some(price::AS_OF),
        prices_region: listed.then_some(price::REGION),
    })?;
    text.push('\n');
    Ok(text)
}

/// The estimate for people.
#[must_use]
pub fn render_text(e: &PlanEstimate) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<11}{value}");
    };
    line(
        "addresses",
        format!("{} IPv4, {} IPv6", group_digits(e.addresses_v4), group_digits(e.addresses_v6)),
    );
    line("ports", group_digits(u64::from(e.ports)));
    line("cells", group_digits(e.cells));
    if e.parts > 1 {
        line(
            "rotation",
            format!("1/{}: {} cells in each run", e.parts, group_digits(e.cells_per_run)),
        );
    }
    line(
        "packets",
        format!(
            "about {} in {} passes, for a recall of {}",
            group_digits(e.packets),
            e.attempts,
            e.recall
        ),
    );
    line(
        "assumed",
        format!(
            "{} of the cells silent, {} of the attempts lost (--assume-silent, --assume-loss)",
            format_percent(e.assumed.silent),
            format_percent(e.assumed.loss)
        ),
    );
    line("wire", format!("{} out, {} in", format_bytes(e.bytes_out), format_bytes(e.bytes_in)));
    line("rate", format!("{} packets per second and shard", group_digits(u64::from(e.rate))));
    if !e.promise_possible {
        let _ = writeln!(
            out,
            "\nAt this loss the recall cannot be promised with {} passes: the run would be incomplete.",
            e.attempts
        );
    }
    let _ = writeln!(
        out,
        "\n{:>6} {:>17} {:>16} {:>9} {:>16} {:>10}",
        "shards", "cells each", "time", "memory", "Fargate task", "USD a run"
    );
    for r in &e.shards {
        let _ = writeln!(out, "{}", format_row(r));
    }
    out.push('\n');
    let window = duration::format_duration(e.window_seconds);
    let _ = match e.fits_with {
        Some(1) => writeln!(out, "One process fits a window of {window}."),
        Some(n) => writeln!(out, "{n} shards fit a window of {window}."),
        None => writeln!(
            out,
            "No listed number of shards fits a window of {window}: raise the rate, or split the \
             job over runs."
        ),
    };
    let _ = match find_price_architecture(e.price) {
        Some(architecture) => writeln!(
            out,
            "Prices: Fargate list price for {architecture} in {} as of {}; check yours \
             (--vcpu-hour, --gb-hour).",
            price::REGION,
            price::AS_OF
        ),
        None => writeln!(
            out,
            "Prices: ${} for a vCPU-hour and ${} for a GB-hour, as given.",
            e.price.vcpu_hour, e.price.gb_hour
        ),
    };
    let _ = writeln!(
        out,
        "Not in it: confirming open ports, content checks, public addresses, traffic charges. Nothing \
         was sent."
    );
    out
}

fn format_row(r: &EstimateRow) -> String {
    let task = r
        .task
        .map_or_else(|| "none so large".to_owned(), |t| format!("{} vCPU {} GB", t.vcpu, t.gb));
    let usd = r.usd.map_or_else(|| "-".to_owned(), format_usd);
    format!(
        "{:>6} {:>17} {:>16} {:>9} {:>16} {:>10}",
        r.shards,
        group_digits(r.cells),
        duration::format_duration(r.seconds),
        format!("{} MiB", r.memory.div_ceil(1 << 20)),
        task,
        usd
    )
}

/// The architecture whose list price this is; `None` for a price that was given.
fn find_price_architecture(p: TaskPrice) -> Option<&'static str> {
    if p == price::X86 {
        Some("Linux x86")
    } else if p == price::ARM {
        Some("Linux ARM")
    } else {
        None
    }
}

/// Cents, and for less than ten of them their hundredths.
fn format_usd(usd: f64) -> String {
    if usd < 0.1 { format!("{usd:.4}") } else { format!("{usd:.2}") }
}

fn format_percent(share: f64) -> String {
    format!("{} %", (share * 10_000.0).round() / 100.0)
}

/// Decimal units, as traffic is counted and billed.
fn format_bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Digits in groups of three.
fn group_digits(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(d);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::estimate::{EstimateInput, EstimateInputs, estimate};
    use super::*;

    fn ask() -> EstimateInput {
        EstimateInput {
            v4: 65_536,
            v6: 256,
            ports: 65_535,
            rate: 100_000,
            ceiling: u32::MAX,
            recall: 0.9999,
            parts: 1,
            assumed: EstimateInputs::default(),
            window: 7_200.0,
            price: price::X86,
        }
    }

    #[test]
    fn all_ports_of_a_slash_16() {
        insta::assert_snapshot!("all_ports", render_text(&estimate(&ask())));
        insta::assert_snapshot!(
            "all_ports_json",
            render_json(&estimate(&ask())).expect("numbers are JSON")
        );
    }

    #[test]
    fn one_cell_on_a_bad_path_with_an_own_price() {
        let ask = EstimateInput {
            v4: 1,
            v6: 0,
            ports: 1,
            assumed: EstimateInputs { loss: 0.5, silent: 0.0 },
            price: TaskPrice { vcpu_hour: 0.05, gb_hour: 0.005 },
            ..ask()
        };
        insta::assert_snapshot!("one_cell", render_text(&estimate(&ask)));
    }

    #[test]
    fn a_rotation_and_a_rate_that_no_task_reaches() {
        let ask = EstimateInput { parts: 24, rate: 20_000_000, price: price::ARM, ..ask() };
        insta::assert_snapshot!("rotation", render_text(&estimate(&ask)));
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(group_digits),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!([999, 1_000, 5_400_000_000].map(format_bytes), ["999 B", "1.0 kB", "5.4 GB"]);
    }
}
