//! Reads baseline files and collects what is wrong with them.

use std::collections::HashMap;
use std::ops::Range;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use mimawari_targets::diagnostic::{Diagnostic, Source};
use mimawari_targets::{AddrRange, AddrSet, Port, PortSet, Protocol, missing, mistake};
use toml::Spanned;

use super::file::BaselineFile;
use super::{Expect, Head, HttpRule, MAX_REQUIRED, Rule, VERSION};

/// Reads files one after the other and collects what is wrong with them.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) rules: Vec<(Rule, Source, Range<usize>)>,
    pub(super) http: Vec<HttpRule>,
    ids: HashMap<String, String>,
    pub(super) messages: Vec<Diagnostic>,
    /// Where the lines of the file end, so that nobody counts them for each rule.
    line_ends: Vec<usize>,
}

impl Reader {
    fn error(
        &mut self,
        source: &Source,
        span: Range<usize>,
        title: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.messages.push(Diagnostic::error(title, source, span).help(help));
    }

    pub(super) fn file(&mut self, name: &str, text: &str) {
        let source = Source::new(name, text);
        self.line_ends = text.match_indices('\n').map(|(at, _)| at).collect();
        let file: BaselineFile = match toml::from_str(text) {
            Ok(file) => file,
            Err(e) => return self.syntax(&source, &e),
        };
        if *file.version.get_ref() != VERSION {
            let title = format!("version {} is not known", file.version.get_ref());
            self.error(
                &source,
                file.version.span(),
                title,
                "write `version = 1`, or use a newer mimawari",
            );
        }
        let owner = file.owner.get_ref().trim().to_owned();
        if owner.is_empty() {
            self.error(
                &source,
                file.owner.span(),
                "`owner` is empty",
                "name who answers for these rules, such as `owner = \"@corp/hosting\"`",
            );
        }
        let mut groups = HashMap::new();
        for (group, items) in &file.groups {
            let set = self.addrs(&source, items);
            groups.insert(group.as_str(), set);
        }
        for entry in &file.allow {
            let (span, e) = (entry.span(), entry.get_ref());
            let mut ports = [Vec::new(), Vec::new()];
            if e.ports.is_empty() {
                self.error(
                    &source,
                    span.clone(),
                    "the rule names no port",
                    "add `ports = [\"tcp/443\"]`",
                );
            }
            for p in &e.ports {
                match parse_port(p.get_ref()) {
                    Ok((Protocol::Tcp, r)) => ports[0].push(r),
                    Ok((Protocol::Udp, r)) => ports[1].push(r),
                    Err(why) => self.error(
                        &source,
                        p.span(),
                        why,
                        "write `tcp/443`, `tcp/8000-8100` or `udp/53`",
                    ),
                }
            }
            let head = self.head(
                &source,
                &span,
                &e.id,
                &owner,
                (&e.group, &e.hosts, &groups),
                &e.reason,
                e.expires.as_ref(),
            );
            let Some(head) = head else { continue };
            let [tcp, udp] = ports.map(PortSet::from_ranges);
            let cells = head.addrs.len().saturating_mul(u128::from(tcp.len() + udp.len()));
            if e.expect == Expect::Must && cells > MAX_REQUIRED {
                self.error(
                    &source,
                    span.clone(),
                    format!("the rule requires {cells} open cells, more than {MAX_REQUIRED}"),
                    "require only what an alarm should be raised for, cell by cell",
                );
            }
            self.rules.push((
                Rule { head, tcp, udp, expect: e.expect, broad: e.broad },
                source.clone(),
                span,
            ));
        }
        for entry in &file.allow_http {
            let (span, e) = (entry.span(), entry.get_ref());
            if e.checks.is_empty() && e.paths.is_empty() {
                self.error(
                    &source,
                    span.clone(),
                    "the rule names neither checks nor paths",
                    "add `checks = [\"server-status\"]` or `paths = [\"/healthz\"]`",
                );
            }
            let head = self.head(
                &source,
                &span,
                &e.id,
                &owner,
                (&e.group, &e.hosts, &groups),
                &e.reason,
                e.expires.as_ref(),
            );
            let Some(head) = head else { continue };
            self.http.push(HttpRule { head, checks: e.checks.clone(), paths: e.paths.clone() });
        }
    }

    #[allow(clippy::too_many_arguments, clippy::type_complexity)]
    fn head(
        &mut self,
        source: &Source,
        span: &Range<usize>,
        id: &Spanned<String>,
        owner: &str,
        (group, hosts, groups): (
            &Option<Spanned<String>>,
            &[Spanned<String>],
            &HashMap<&str, Option<AddrSet>>,
        ),
        reason: &Spanned<String>,
        expires: Option<&Spanned<toml::value::Datetime>>,
    ) -> Option<Head> {
        let line = self.line_ends.partition_point(|end| *end < span.start) + 1;
        let place = format!("{}:{line}", source.name());
        if id.get_ref().trim().is_empty() {
            self.error(source, id.span(), "`id` is empty", "give the rule a short name of its own");
        } else if let Some(first) = self.ids.insert(id.get_ref().clone(), place.clone()) {
            let title = format!("the id `{}` is used twice; first at {first}", id.get_ref());
            self.error(source, id.span(), title, "give each rule an id of its own");
        }
        if reason.get_ref().trim().is_empty() {
            self.error(
                source,
                reason.span(),
                "`reason` is empty",
                "say why this may be open, for the person who reviews it",
            );
        }
        let mut addrs = self.addrs(source, hosts);
        match group {
            Some(g) => match groups.get(g.get_ref().as_str()) {
                Some(Some(set)) => addrs = addrs.map(|a| a.union(set)),
                // Its addresses were reported already.
                Some(None) => addrs = None,
                None => {
                    let mut known: Vec<&str> = groups.keys().copied().collect();
                    known.sort_unstable();
                    let help = if known.is_empty() {
                        "define it under [groups] of this file".to_owned()
                    } else {
                        format!("groups of this file: {}", known.join(", "))
                    };
                    self.error(
                        source,
                        g.span(),
                        format!("the group `{}` is not defined", g.get_ref()),
                        help,
                    );
                    addrs = None;
                }
            },
            None if hosts.is_empty() => {
                self.error(
                    source,
                    span.clone(),
                    "the rule names neither `group` nor `hosts`",
                    "add `hosts = [\"192.0.2.70\"]`, or a group of this file",
                );
                addrs = None;
            }
            None => {}
        }
        let ends = match expires {
            None => None,
            Some(e) => match last_day(e.get_ref()) {
                Some(end) => Some(end),
                None => {
                    self.error(source, e.span(), format!("`{}` is not a day", e.get_ref()), "write a date without a time, such as `expires = 2026-12-31`; it holds through 23:59:59 UTC");
                    return None;
                }
            },
        };
        Some(Head {
            id: id.get_ref().clone(),
            owner: owner.to_owned(),
            addrs: addrs?,
            reason: reason.get_ref().trim().to_owned(),
            ends,
            place,
        })
    }

    fn addrs(&mut self, source: &Source, items: &[Spanned<String>]) -> Option<AddrSet> {
        let mut ranges = Vec::with_capacity(items.len());
        let mut whole = true;
        for item in items {
            match item.get_ref().parse::<AddrRange>() {
                Ok(r) => ranges.push(r),
                Err(e) => {
                    whole = false;
                    let help = e.help();
                    self.error(source, item.span(), e.to_string(), help);
                }
            }
        }
        whole.then(|| AddrSet::from_ranges(ranges))
    }

    /// `never` against `may` or `must` on one cell: for each rule of `never` the first one.
    pub(super) fn contradictions(&mut self) {
        let shared = |a: &PortSet, b: &PortSet| {
            let b = b.ranges();
            a.ranges().iter().any(|(x, y)| {
                let next = b.partition_point(|(_, end)| end < x);
                b.get(next).is_some_and(|(start, _)| start <= y)
            })
        };
        // Most rules are far from each other; that is seen at their ends.
        let ends = |set: &AddrSet| Some((set.nth(0)?, set.nth(set.len().checked_sub(1)?)?));
        let others: Vec<_> = self
            .rules
            .iter()
            .filter(|(r, ..)| r.expect != Expect::Never)
            .filter_map(|(r, ..)| Some((ends(&r.head.addrs)?, r)))
            .collect();
        let mut found = Vec::new();
        for (never, source, span) in self.rules.iter().filter(|(r, ..)| r.expect == Expect::Never) {
            let Some((first, last)) = ends(&never.head.addrs) else { continue };
            let clash = others.iter().find(|((a, b), other)| {
                *a <= last
                    && first <= *b
                    && (shared(&never.tcp, &other.tcp) || shared(&never.udp, &other.udp))
                    && !never.head.addrs.intersect(&other.head.addrs).is_empty()
            });
            if let Some((_, other)) = clash {
                found.push(
                    Diagnostic::error(
                        format!(
                            "`{}` forbids what `{}` at {} allows",
                            never.head.id, other.head.id, other.head.place
                        ),
                        source,
                        span.clone(),
                    )
                    .help("remove one of the two, or take the shared cells out of one"),
                );
            }
        }
        self.messages.extend(found);
    }

    fn syntax(&mut self, source: &Source, e: &toml::de::Error) {
        let d = mistake(source, e.message(), e.span().unwrap_or(0..0));
        self.messages.push(match missing(e.message()) {
            Some("owner") => {
                d.help("name who answers for these rules, such as `owner = \"@corp/hosting\"`")
            }
            Some("reason") => d.help("say why this may be open, for the person who reviews it"),
            _ => d,
        });
    }
}

/// The instant after the last second of a day, UTC.
pub(crate) fn last_day(d: &toml::value::Datetime) -> Option<Timestamp> {
    let (Some(date), None, None) = (d.date, d.time, d.offset) else { return None };
    let date = Date::new(
        i16::try_from(date.year).ok()?,
        i8::try_from(date.month).ok()?,
        i8::try_from(date.day).ok()?,
    )
    .ok()?;
    let next = date.checked_add(1.day()).ok()?;
    Some(next.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// The protocol and the ports of `tcp/8000-8100`; or what is wrong with it.
pub(crate) fn parse_port(text: &str) -> Result<(Protocol, (u16, u16)), String> {
    let (proto, ports) =
        text.split_once('/').ok_or_else(|| format!("`{text}` is not a protocol and a port"))?;
    let proto = match proto {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return Err(format!("`{proto}` is not a protocol; tcp and udp are")),
    };
    let one = |s: &str| s.parse::<Port>().map(Port::get).map_err(|e| e.to_string());
    let range = match ports.split_once('-') {
        None => {
            let p = one(ports)?;
            (p, p)
        }
        Some((a, b)) => (one(a)?, one(b)?),
    };
    if range.0 > range.1 {
        return Err(format!("port range `{ports}` is inverted; write `{}-{}`", range.1, range.0));
    }
    Ok((proto, range))
}
