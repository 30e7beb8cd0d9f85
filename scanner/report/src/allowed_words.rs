//! What a verdict says of what is there and allowed, in the words that all renderers share.

use mimawari_drift::verdict::{AllowedSubject, Verdict};
use mimawari_probes::observation::Severity;

use crate::clean::clean;
use crate::words::{self, NAME, SENTENCE};

/// How much there is: `3 contents, 1 server with legacy TLS, 402 ports`.
pub(crate) fn format_counts(v: &Verdict) -> String {
    let c = &v.allowed_counts;
    let parts = [
        (c.contents, "content", "contents"),
        (c.servers, "server with legacy TLS", "servers with legacy TLS"),
        (c.hosts, "whole host", "whole hosts"),
        (c.ports, "port", "ports"),
    ];
    let parts = parts.into_iter().filter(|(n, ..)| *n > 0);
    let parts: Vec<String> =
        parts.map(|(n, one, many)| words::format_irregular_plural(n, one, many)).collect();
    parts.join(", ")
}

/// What a short report shows one by one: everything but ordinary ports.
pub(crate) fn select_important(v: &Verdict) -> impl Iterator<Item = &AllowedSubject> {
    v.allowed.iter().filter(|a| !a.kind.is_port() || a.severity >= Severity::High)
}

/// How many are not among so many that are shown.
pub(crate) fn count_hidden(v: &Verdict, shown: usize) -> u64 {
    v.allowed_counts.total().saturating_sub(shown as u64)
}

/// Where it is.
pub(crate) fn format_location(a: &AllowedSubject) -> String {
    clean(&a.subject.to_string(), 2 * NAME)
}

/// What it is: the check, or the service at a port.
pub(crate) fn describe_subject(a: &AllowedSubject) -> String {
    match (&a.check, &a.service) {
        (Some(check), _) if a.kind.is_content() => clean(check, NAME),
        (_, Some(service)) => clean(service, NAME),
        _ if a.kind.is_port() => "open port".to_owned(),
        _ => words::describe_kind(a.kind).to_owned(),
    }
}

/// By which rule, and why.
pub(crate) fn format_allowing_rule(a: &AllowedSubject) -> String {
    let owner =
        if a.owner.is_empty() { String::new() } else { format!(" of {}", clean(&a.owner, NAME)) };
    format!("`{}`{owner}: {}", clean(&a.rule, NAME), clean(&a.reason, SENTENCE))
}
