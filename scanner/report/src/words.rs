//! What a verdict says, in the words that all renderers share.

use std::net::IpAddr;

use jiff::Timestamp;
use mimawari_drift::subject::Subject;
use mimawari_drift::verdict::{
    Finding, FindingCause, FindingKind, FindingPool, FindingState, ServiceChange, Verdict,
    VerdictCoverage,
};
use mimawari_probes::observation::{HttpEvidence, Severity, UrlScheme};
use mimawari_targets::{Cell, Port, Protocol};

use crate::clean::clean;

/// Longest sentence that is taken over from a verdict, in characters.
pub(crate) const SENTENCE: usize = 400;
/// Longest name (host, path, banner, owner, id) that is taken over from a verdict, in characters.
pub(crate) const NAME: usize = 256;

/// The severities, worst first.
pub(crate) const SEVERITIES: [Severity; 5] =
    [Severity::Critical, Severity::High, Severity::Medium, Severity::Low, Severity::Info];

/// What kind of news a verdict is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VerdictTone {
    Clean,
    Drift,
    Incomplete,
    Suspect,
}

/// The verdict in one line.
#[derive(Debug)]
pub(crate) struct ReportHeadline {
    pub(crate) tone: VerdictTone,
    /// The one word, in capitals.
    pub(crate) word: &'static str,
    /// What follows the colon.
    pub(crate) rest: String,
    /// A second sentence that keeps the first from being read as more than it says.
    pub(crate) caution: Option<&'static str>,
}

/// The headline. "Clean" is said only where the verdict has no drift, no gap and no doubt.
pub(crate) fn build_headline(v: &Verdict) -> ReportHeadline {
    let drift = v.findings.iter().filter(|f| f.state.is_drift());
    let (n, new) = drift.fold((0u64, 0u64), |(n, new), f| (n + 1, new + u64::from(f.new)));
    if n > 0 || v.exit == 1 {
        let mut rest = format_plural(n, "finding");
        if let Some(severities) = format_severity_counts(v) {
            rest.push_str(&format!(" ({severities})"));
        }
        if new > 0 {
            rest.push_str(&format!(", {} new", group_digits(new)));
        }
        let caution = if v.suspect {
            Some("The run is suspect: it is not to be believed, and nothing was resolved by it.")
        } else if v.incomplete {
            Some("The run is incomplete: nothing is known of what it did not cover.")
        } else {
            None
        };
        ReportHeadline { tone: VerdictTone::Drift, word: "DRIFT", rest, caution }
    } else if v.suspect {
        ReportHeadline {
            tone: VerdictTone::Suspect,
            word: "SUSPECT",
            rest: "this run is not to be believed".to_owned(),
            caution: Some("No drift was seen, but that proves nothing here; nothing was resolved."),
        }
    } else if v.counts.undecided > 0 && !v.incomplete {
        let n = v.counts.undecided;
        ReportHeadline {
            tone: VerdictTone::Incomplete,
            word: "TO BE DECIDED",
            rest: format!(
                "{} {} not open for the first time",
                format_plural(n, "required port"),
                if n == 1 { "is" } else { "are" }
            ),
            caution: Some("No drift yet; the next covered run decides."),
        }
    } else if v.incomplete || v.exit != 0 {
        let mut rest = match v.incomplete_because.first() {
            Some(first) => clean(first, SENTENCE).trim_end_matches('.').to_owned(),
            None => "not everything planned was covered".to_owned(),
        };
        if v.incomplete_because.len() > 1 {
            rest.push_str(&format!(
                " (and {})",
                format_plural(v.incomplete_because.len() as u64 - 1, "more reason")
            ));
        }
        ReportHeadline {
            tone: VerdictTone::Incomplete,
            word: "INCOMPLETE",
            rest,
            caution: Some("No drift in what was covered; nothing is known of the rest."),
        }
    } else {
        ReportHeadline {
            tone: VerdictTone::Clean,
            word: "CLEAN",
            rest: "no drift, and everything planned was covered".to_owned(),
            caution: None,
        }
    }
}

/// What the exit status means.
pub(crate) const fn describe_exit_status(exit: u8) -> &'static str {
    match exit {
        0 => "clean and covered",
        1 => "drift",
        2 => "usage, configuration, baseline or runtime error",
        3 => "incomplete or to be decided, and no drift in what was covered",
        _ => "unknown",
    }
}

/// The findings that count, by state: `4 open, 1 missing`; `None` when nothing counts.
pub(crate) fn format_state_counts(v: &Verdict) -> Option<String> {
    let parts: Vec<String> = STATES
        .iter()
        .filter(|s| s.is_drift())
        .map(|s| (v.findings.iter().filter(|f| f.state == *s).count() as u64, describe_state(*s)))
        .filter(|(n, _)| *n > 0)
        .map(|(n, s)| format!("{} {}", group_digits(n), s.replace(", ", " and ")))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The findings that count, by severity, the worst first: `2 critical, 5 high`; `None` when nothing counts.
pub(crate) fn format_severity_counts(v: &Verdict) -> Option<String> {
    let drift = || v.findings.iter().filter(|f| f.state.is_drift());
    let parts: Vec<String> = SEVERITIES
        .iter()
        .map(|s| (drift().filter(|f| f.severity == *s).count() as u64, s.as_str()))
        .filter(|(n, _)| *n > 0)
        .map(|(n, s)| format!("{} {s}", group_digits(n)))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Cells covered of cells planned. A suspect run is not credited with them.
pub(crate) fn format_cell_coverage(v: &Verdict) -> String {
    let c = &v.coverage;
    if c.cells_planned == 0 {
        return "no cell was planned".to_owned();
    }
    let mut s = format!(
        "{} of {}",
        format_percent(c.cells_covered, c.cells_planned),
        format_plural(c.cells_planned, "cell")
    );
    let rest = c.cells_planned.saturating_sub(c.cells_covered).max(c.not_probed);
    if rest > 0 {
        s.push_str(&format!("; {} not probed", group_digits(rest)));
    }
    if v.suspect {
        s.push_str("; but the run is suspect");
    }
    s
}

/// Content checks that can be believed of those planned; `None` when none was planned.
pub(crate) fn format_check_coverage(c: &VerdictCoverage) -> Option<String> {
    (c.checks_planned > 0).then(|| {
        let rest = c.checks_planned.saturating_sub(c.checks_covered);
        let mut s = format!(
            "{} of {}",
            format_percent(c.checks_covered, c.checks_planned),
            format_plural(c.checks_planned, "check")
        );
        if rest > 0 {
            s.push_str(&format!("; {} without an answer that can be believed", group_digits(rest)));
        }
        s
    })
}

/// Estimated recall with its interval, compared with the promise.
pub(crate) fn format_recall(c: &VerdictCoverage) -> String {
    let digits = compute_decimals(c.recall_promised);
    let promised = c.recall_promised;
    match c.recall_estimate.filter(|r| r.is_finite()) {
        None => format!("no estimate, as too little answered; promised {promised}"),
        Some(estimate) => {
            let mut s = round_down(estimate, digits);
            if let Some((low, high)) = select_finite_interval(c) {
                s.push_str(&format!(
                    " (95 % interval {} to {})",
                    round_down(low, digits),
                    round_up(high, digits)
                ));
            }
            s.push_str(if estimate >= promised {
                "; promised "
            } else {
                "; UNDER the promise of "
            });
            s.push_str(&promised.to_string());
            s
        }
    }
}

/// The interval of the recall estimate, where it is one.
pub(crate) fn select_finite_interval(c: &VerdictCoverage) -> Option<(f64, f64)> {
    c.recall_interval.filter(|(a, b)| a.is_finite() && b.is_finite() && a <= b)
}

/// Method, vantage, rates and losses of the run.
pub(crate) fn describe_method(v: &Verdict) -> String {
    let r = &v.run;
    let mut s = replace_empty(&clean(&r.method, NAME)).to_owned();
    if !r.vantage.is_empty() {
        s.push_str(&format!(" from {}", clean(&r.vantage, NAME)));
    }
    s.push_str(&format!("; {}", format_rate(v)));
    if r.canaries_total > 0 {
        s.push_str(&format!("; {} answered", format_canaries(v)));
    }
    if r.send_failures > 0 {
        s.push_str(&format!("; {}", format_plural(r.send_failures, "failed send")));
    }
    if r.receive_drops > 0 {
        s.push_str(&format!("; {} lost on receipt", format_plural(r.receive_drops, "answer")));
    }
    s
}

/// Rate reached and asked for.
pub(crate) fn format_rate(v: &Verdict) -> String {
    let r = &v.run;
    let reached = if r.rate_reached.is_finite() {
        group_digits(r.rate_reached.max(0.0).round() as u64)
    } else {
        "?".into()
    };
    format!("{reached} of at most {} packets/s", group_digits(r.rate_asked.into()))
}

/// Probes sent and refused.
pub(crate) fn format_packets(v: &Verdict) -> String {
    let r = &v.run;
    format!(
        "{} sent, {}",
        group_digits(r.packets_sent),
        format_plural(r.send_failures, "failed send")
    )
}

/// Open answers that were dropped.
pub(crate) fn format_unconfirmed(v: &Verdict) -> String {
    match v.counts.unconfirmed {
        0 => "none".to_owned(),
        n => {
            format!("{}, dropped after a second look refuted them", format_plural(n, "open answer"))
        }
    }
}

/// Canaries that answered.
pub(crate) fn format_canaries(v: &Verdict) -> String {
    let total = v.run.canaries_total;
    let noun = if total == 1 { "canary" } else { "canaries" };
    format!("{} of {total} {noun}", v.run.canaries_answered)
}

/// The state as a person reads it.
pub(crate) const fn describe_state(s: FindingState) -> &'static str {
    match s {
        FindingState::Open => "open",
        FindingState::Unverified => "unverified",
        FindingState::Resolving => "resolving",
        FindingState::Resolved => "resolved",
        FindingState::Allowed => "allowed",
        FindingState::OutOfScope => "out of scope",
        FindingState::MissingPending => "to be decided",
        FindingState::Missing => "missing",
        FindingState::MissingUnverified => "missing, unverified",
        FindingState::NotRequired => "no longer required",
    }
}

/// What a state means.
pub(crate) const fn explain_state(s: FindingState) -> &'static str {
    match s {
        FindingState::Open => "seen, confirmed, and not agreed",
        FindingState::Unverified => "was open; this run did not cover it, so it still counts",
        FindingState::Resolving => "was open; silent in one covered run, so it still counts",
        FindingState::Resolved => "covered and no longer there, or silent in two covered runs",
        FindingState::Allowed => "a live rule of the baseline allows it",
        FindingState::OutOfScope => {
            "its address left the scope, or its vantage was retired; not resolved"
        }
        FindingState::MissingPending => {
            "required, and not open in one covered run; to be decided by the next"
        }
        FindingState::Missing => "required, and not open in two covered runs",
        FindingState::MissingUnverified => {
            "was missing; this run did not cover it, so it still counts"
        }
        FindingState::NotRequired => "was missing; no live rule requires it any more; not resolved",
    }
}

/// The states in the order of a reader's interest.
pub(crate) const STATES: [FindingState; 10] = [
    FindingState::Open,
    FindingState::Missing,
    FindingState::Unverified,
    FindingState::Resolving,
    FindingState::MissingUnverified,
    FindingState::MissingPending,
    FindingState::Resolved,
    FindingState::Allowed,
    FindingState::OutOfScope,
    FindingState::NotRequired,
];

/// The kind as a person reads it.
pub(crate) const fn describe_kind(k: FindingKind) -> &'static str {
    match k {
        FindingKind::UnexpectedOpen => "unexpected open port",
        FindingKind::MissingRequired => "required port not open",
        FindingKind::ExposedContent => "exposed content",
        FindingKind::ForbiddenOpen => "forbidden open port",
        FindingKind::SuspectHost => "answers on everything",
        FindingKind::LegacyTls => "legacy TLS only",
    }
}

/// What was found: the kind, and for content the check.
pub(crate) fn describe_finding(f: &Finding) -> String {
    match &f.check {
        Some(check) => format!("{}: {}", describe_kind(f.kind), clean(check, NAME)),
        None => describe_kind(f.kind).to_owned(),
    }
}

/// Why it counts, in a word or two.
pub(crate) const fn describe_cause(c: FindingCause) -> &'static str {
    match c {
        FindingCause::Unmatched => "no rule has ever matched",
        FindingCause::FirstLook => "looked at for the first time, and no rule matches",
        FindingCause::Expired => "the rule that allowed it has expired",
        FindingCause::Removed => "the rule that allowed it was removed",
        FindingCause::Forbidden => "a rule forbids it",
        FindingCause::Required => "a rule requires it",
    }
}

/// A port that another service answers at than before, in a line.
pub(crate) fn describe_service_change(c: &ServiceChange) -> String {
    let rule = c.allowed_by.as_deref().map_or_else(
        || "no rule allows it".to_owned(),
        |id| format!("allowed by `{}`", clean(id, NAME)),
    );
    format!(
        "{} answers as {}, and was {} until {}; {rule}",
        format_address(c.ip, Some(c.port), c.proto),
        clean(&c.now, NAME),
        clean(&c.was, NAME),
        format_minute(c.since)
    )
}

/// Address and port, as one would type them; `/udp` where it is not TCP. Of a pool its addresses.
pub(crate) fn format_endpoint(f: &Finding) -> String {
    match (&f.pool, f.port) {
        (Some(pool), Some(port)) => format!("{} {}/{port}", format_pool_ranges(pool), f.proto),
        _ => format_address(f.ip, f.port, f.proto),
    }
}

/// The first addresses of a pool.
pub(crate) fn format_pool_ranges(pool: &FindingPool) -> String {
    const SHOWN: usize = 3;
    let mut shown: Vec<String> =
        pool.addresses.ranges().take(SHOWN).map(|r| r.to_string()).collect();
    let more = pool.addresses.ranges().count().saturating_sub(SHOWN);
    if more > 0 {
        shown.push(format!("{} more", group_digits(more as u64)));
    }
    shown.join(", ")
}

/// How much of a pool must be open.
pub(crate) fn format_pool_requirement(pool: &FindingPool) -> String {
    let of = u64::try_from(pool.addresses.len()).unwrap_or(u64::MAX);
    format!(
        "at least {} of {}",
        group_digits(pool.at_least),
        format_irregular_plural(of, "address", "addresses")
    )
}

/// The same of its parts.
pub(crate) fn format_address(ip: IpAddr, port: Option<Port>, proto: Protocol) -> String {
    match port {
        Some(port) => Cell::new(ip, proto, port).to_string(),
        None => Subject::Host(ip).to_string(),
    }
}

/// Virtual host and path of content, or the addresses of a pool; `None` for a port or a host.
pub(crate) fn format_resource(f: &Finding) -> Option<String> {
    if let Some(pool) = &f.pool {
        return Some(format!("{}: {}", format_pool_requirement(pool), format_pool_ranges(pool)));
    }
    if f.host.is_none() && f.path.is_none() {
        return None;
    }
    let host = f.host.as_deref().unwrap_or_default();
    let path = f.path.as_deref().unwrap_or_default();
    Some(format!("{}{}", clean(host, NAME), clean(path, NAME)))
}

/// Address, port, virtual host and path on one line.
pub(crate) fn format_location(f: &Finding) -> String {
    match format_resource(f).filter(|_| f.pool.is_none()) {
        Some(r) if r.starts_with('/') => format!("{}{r}", format_endpoint(f)),
        Some(r) => format!("{} {r}", format_endpoint(f)),
        None => format_endpoint(f),
    }
}

/// What sets a finding apart from its fellows: new, back again, flapping.
pub(crate) fn collect_marks(f: &Finding) -> Vec<String> {
    let mut m = Vec::new();
    if f.new {
        m.push("new".to_owned());
    }
    match f.reopened {
        0 => {}
        1 => m.push("back again".to_owned()),
        n => m.push(format!("back {n} times")),
    }
    if f.flapping {
        m.push("flapping".to_owned());
    }
    if f.unconfirmed {
        m.push("unconfirmed".to_owned());
    }
    m
}

/// What was asked for a content; `None` for what is no content.
pub(crate) fn format_request(f: &Finding) -> Option<String> {
    let path = f.path.as_deref()?;
    let url = format_url(f.scheme, f.host.as_deref(), f.ip, f.port);
    Some(format!("GET {url}{} at {}", clean(path, NAME), format_endpoint(f)))
}

/// The header that every content check sends.
pub(crate) const RANGE: &str = "Range: bytes=0-65535";

/// The URL of a site without its path. The port is left out where it is the scheme's own.
pub(crate) fn format_url(
    scheme: Option<UrlScheme>,
    host: Option<&str>,
    ip: IpAddr,
    port: Option<Port>,
) -> String {
    let mut s = scheme.map_or_else(String::new, |s| format!("{}://", s.as_str()));
    match (host, ip) {
        (Some(host), _) => s.push_str(&clean(host, NAME)),
        (None, IpAddr::V4(ip)) => s.push_str(&ip.to_string()),
        (None, IpAddr::V6(ip)) => s.push_str(&format!("[{ip}]")),
    }
    if let Some(port) = port
        && scheme.is_none_or(|s| s.default_port() != port.get())
    {
        s.push_str(&format!(":{port}"));
    }
    s
}

/// Why a hit is certain; `None` where the record does not say.
pub(crate) fn explain_certainty(e: &HttpEvidence) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(s) = &e.signature {
        parts.push(format!("signature: {}", clean(s, SENTENCE)));
    }
    match e.sightings {
        Some(s) => parts.push(format!("{} of {} answers had it", s.seen, s.asked)),
        None if e.repeated => parts.push("a second answer had it too".to_owned()),
        None => {}
    }
    if !e.canaries.is_empty() {
        let statuses: Vec<String> =
            e.canaries.iter().take(4).map(|c| c.status.to_string()).collect();
        parts.push(format!(
            "{} that cannot exist did not ({})",
            format_plural(e.canaries.len() as u64, "path"),
            statuses.join(", ")
        ));
    } else if e.sightings.is_some() {
        parts.push("not compared with a path that cannot exist".to_owned());
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Evidence on one line. It holds no secret: a mask, a length and a keyed digest.
pub(crate) fn describe_evidence(e: &HttpEvidence) -> String {
    let mut s = format!("HTTP {}", e.status);
    if let Some(line) = e.line {
        s.push_str(&format!(", line {line}"));
    }
    s.push_str(&format!(", {}", format_plural(e.length, "byte")));
    if let Some(m) = &e.masked {
        // The record holds at most four characters and an ellipsis; hold it to that.
        s.push_str(&format!(", begins “{}”", clean(m, 5)));
    }
    if let Some(l) = &e.label {
        s.push_str(&format!(", {}", clean(l, 40)));
    }
    s
}

/// A day.
pub(crate) fn format_day(t: Timestamp) -> String {
    t.strftime("%Y-%m-%d").to_string()
}

/// A moment, to the minute.
pub(crate) fn format_minute(t: Timestamp) -> String {
    t.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// A moment, to the second.
pub(crate) fn format_second(t: Timestamp) -> String {
    t.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Start, end and length of the run, as far as they are known.
pub(crate) fn format_run_time(v: &Verdict) -> String {
    match (v.run.started_at, v.run.ended_at) {
        (Some(a), Some(b)) => {
            let s = b.as_second().saturating_sub(a.as_second()).max(0);
            format!("{} to {} ({})", format_second(a), format_second(b), format_elapsed(s))
        }
        (Some(a), None) => format!("{}, end not recorded", format_second(a)),
        _ => "not recorded".to_owned(),
    }
}

fn format_elapsed(s: i64) -> String {
    let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
    match (h, m) {
        (0, 0) => format!("{s} s"),
        (0, _) => format!("{m} min {s} s"),
        _ => format!("{h} h {m} min"),
    }
}

/// A number with its noun.
pub(crate) fn format_irregular_plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", group_digits(n), if n == 1 { one } else { many })
}

/// A number with its noun, plural by `s`.
pub(crate) fn format_plural(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", group_digits(n), if n == 1 { "" } else { "s" })
}

/// A number with its digits in groups of three.
pub(crate) fn group_digits(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A share with two decimals, rounded down: what is not whole never reads as 100 %.
pub(crate) fn format_percent(part: u64, whole: impl Into<u128>) -> String {
    let (part, whole) = (u128::from(part), whole.into());
    if whole == 0 {
        return "–".to_owned();
    }
    let hundredths = part.min(whole) * 10_000 / whole;
    match hundredths {
        10_000 => "100 %".to_owned(),
        0 if part > 0 => "under 0.01 %".to_owned(),
        h => format!("{}.{:02} %", h / 100, h % 100),
    }
}

/// One digit more than the promise has, at least five.
fn compute_decimals(promised: f64) -> usize {
    let s = promised.to_string();
    s.split_once('.').map_or(0, |(_, d)| d.len() + 1).clamp(5, 12)
}

/// Rounded down, so that an estimate under a promise does not read as the promise.
pub(crate) fn round_down(x: f64, digits: usize) -> String {
    let scale = 10f64.powi(i32::try_from(digits).unwrap_or(5));
    // The addend is the error of the multiplication: 0.99995 must not become 0.99994.
    format!("{:.*}", digits, ((x * scale + 1e-6).floor() / scale).clamp(0.0, 1.0))
}

fn round_up(x: f64, digits: usize) -> String {
    let scale = 10f64.powi(i32::try_from(digits).unwrap_or(5));
    format!("{:.*}", digits, ((x * scale - 1e-6).ceil() / scale).clamp(0.0, 1.0))
}

/// A dash for nothing.
pub(crate) fn replace_empty(s: &str) -> &str {
    if s.is_empty() { "–" } else { s }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn shares_are_never_rounded_up() {
        assert_eq!(format_percent(655_359, 655_360u64), "99.99 %");
        assert_eq!(format_percent(655_360, 655_360u64), "100 %");
        assert_eq!(format_percent(u64::MAX, 10u64), "100 %");
        assert_eq!(format_percent(u64::MAX - 1, u64::MAX), "99.99 %");
        assert_eq!(format_percent(1, 1_000_000u64), "under 0.01 %");
        assert_eq!(format_percent(0, 10u64), "0.00 %");
        assert_eq!(round_down(0.999_899_9, 5), "0.99989");
        assert_eq!(round_down(0.99995, 5), "0.99995");
        assert_eq!(round_down(0.9999, 5), "0.99990");
        assert_eq!(round_down(1.0, 5), "1.00000");
        assert_eq!(round_up(0.999_951, 5), "0.99996");
        assert_eq!(group_digits(1_234_567), "1,234,567");
        assert_eq!(group_digits(123), "123");
    }

    #[test]
    fn recall_is_held_against_the_promise() {
        let mut c = VerdictCoverage {
            recall_estimate: Some(0.99995),
            recall_interval: Some((0.9999, 0.99999)),
            recall_promised: 0.9999,
            ..VerdictCoverage::default()
        };
        assert_eq!(
            format_recall(&c),
            "0.99995 (95 % interval 0.99990 to 0.99999); promised 0.9999"
        );
        c.recall_estimate = Some(0.99989);
        c.recall_interval = None;
        assert_eq!(format_recall(&c), "0.99989; UNDER the promise of 0.9999");
        c.recall_estimate = Some(f64::NAN);
        assert_eq!(format_recall(&c), "no estimate, as too little answered; promised 0.9999");
    }

    /// The word CLEAN needs exit 0, no gap, no doubt and no finding that counts.
    #[test]
    fn clean_is_said_only_of_a_clean_verdict() {
        assert_eq!(build_headline(&samples::clean()).tone, VerdictTone::Clean);
        let spoil: [fn(&mut Verdict); 5] = [
            |v| v.incomplete = true,
            |v| v.suspect = true,
            |v| v.exit = 3,
            |v| v.exit = 2,
            |v| v.findings = samples::drift().findings,
        ];
        for s in spoil {
            let mut v = samples::clean();
            s(&mut v);
            assert_ne!(build_headline(&v).tone, VerdictTone::Clean);
        }
    }

    #[test]
    fn places_are_written_as_one_types_them() {
        let mut f = samples::port("198.51.100.7", 6379);
        assert_eq!(format_location(&f), "198.51.100.7:6379");
        f.ip = "2001:db8:10::7".parse().unwrap();
        assert_eq!(format_location(&f), "[2001:db8:10::7]:6379");
        f.proto = Protocol::Udp;
        assert_eq!(format_location(&f), "[2001:db8:10::7]:6379/udp");
        f.port = None;
        f.proto = Protocol::Tcp;
        assert_eq!(format_location(&f), "2001:db8:10::7");
        let mut f = samples::content("198.51.100.7", 80, "shop.example.jp", "/password.php");
        assert_eq!(format_location(&f), "198.51.100.7:80 shop.example.jp/password.php");
        f.host = None;
        assert_eq!(format_location(&f), "198.51.100.7:80/password.php");
    }
}
