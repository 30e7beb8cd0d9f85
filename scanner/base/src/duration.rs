//! Lengths of time as people write them: `90s`, `15m`, `24h`, `7d`.

use std::time::Duration;

/// Reads a whole number and a unit: `s`, `m`, `h` or `d`.
///
/// # Errors
/// A sentence that says what is wrong, without a full stop.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{}` is no length of time", text.escape_debug());
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number = &text[..text.len() - unit.len_utf8()];
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let total = number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(seconds))
        .filter(|s| *s <= MAX_SECONDS)
        .ok_or_else(|| format!("`{text}` is more than ten years"))?;
    if total == 0 {
        return Err(format!("`{text}` is no time at all"));
    }
    Ok(Duration::from_secs(total))
}

/// What to write instead, for the `help` of an error.
pub const HELP: &str = "write a number and a unit: s, m, h or d, such as 24h";

const MAX_SECONDS: u64 = 10 * 366 * 86_400;

/// A length of time in its two largest units, such as `2 h 5 min`.
#[must_use]
pub fn format_duration(seconds: f64) -> String {
    const YEAR: f64 = 31_536_000.0;
    for (size, word) in [(1e9, "billion"), (1e6, "million")] {
        if seconds >= size * YEAR {
            return format!("{:.0} {word} years", (seconds / YEAR / size).min(1e9));
        }
    }
    if seconds < 1.0 {
        return "under 1 s".to_owned();
    }
    // A number that is none becomes 0.
    let s = seconds.round() as u64;
    let two = |a: u64, ua: &str, b: u64, ub: &str| {
        if b == 0 { format!("{a} {ua}") } else { format!("{a} {ua} {b} {ub}") }
    };
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => two(s / 60, "min", s % 60, "s"),
        3_600..86_400 => two(s / 3_600, "h", s % 3_600 / 60, "min"),
        86_400..31_536_000 => two(s / 86_400, "d", s % 86_400 / 3_600, "h"),
        _ => format!("{} years", s / 31_536_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "h",
            "24",
            "-1h",
            "+1h",
            "1.5h",
            "1h30m",
            "0s",
            "24 h",
            "9999999d",
            "1時",
            "99999999999999999999s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn two_units_are_shown() {
        for (seconds, text) in [
            (0.2, "under 1 s"),
            (59.0, "59 s"),
            (60.0, "1 min"),
            (3_725.0, "1 h 2 min"),
            (90_000.0, "1 d 1 h"),
            (3.2e9, "101 years"),
            (4.6e15, "146 million years"),
            (f64::INFINITY, "1000000000 billion years"),
            (f64::NAN, "0 s"),
        ] {
            assert_eq!(format_duration(seconds), text);
        }
    }
}
