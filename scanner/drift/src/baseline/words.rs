//! The words that rules are made of: days, ports, paths, names of sites and of vantage points.

use std::net::IpAddr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use mimawari_targets::{Port, Protocol};

/// The instant after the last second of a day, UTC.
pub(crate) fn compute_day_end(d: &toml::value::Datetime) -> Option<Timestamp> {
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
    let proto: Protocol =
        proto.parse().map_err(|_| format!("`{proto}` is not a protocol; tcp and udp are"))?;
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

/// What is wrong, and how to mend it.
type FieldProblem = Option<(&'static str, &'static str)>;

/// What is wrong with a path: it is compared with the path of a request as a whole, so that one which
/// no request can have would allow nothing.
pub(super) fn find_path_problem(path: &str) -> FieldProblem {
    let help = "write the path alone, as it stands in the report, such as `/healthz`";
    if path.contains("://") && !path.starts_with('/') || path.starts_with("//") {
        let help = "write the path alone, such as `/healthz`, and the site in `names`";
        return Some(("is a path with a host", help));
    }
    if !path.starts_with('/') {
        return Some(("does not begin with `/`", help));
    }
    if path.contains('#') {
        return Some(("has a fragment, which is never sent", help));
    }
    let never_sent = |c: char| c.is_whitespace() || c.is_control();
    path.contains(never_sent).then_some(("has a character that no request has", help))
}

/// What is wrong with the name of a site.
pub(super) fn find_name_problem(name: &str) -> FieldProblem {
    const HELP: &str = "write `shop.example.jp`, `*.example.jp`, or the address itself for requests without a name";
    if name.parse::<IpAddr>().is_ok() {
        return None;
    }
    if !name.is_ascii() {
        return Some(("is not ASCII", "write the name as DNS has it, with `xn--`"));
    }
    let (labels, many) = match name.strip_prefix("*.") {
        Some(rest) => (rest, true),
        None => (name, false),
    };
    if many && !labels.contains('.') {
        return Some(("holds every site of a top-level domain", HELP));
    }
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let is_name = labels.len() <= 253 && labels.split('.').all(label);
    (!is_name).then_some(("is not the name of a site", HELP))
}

/// Whether a name of a rule holds a site. `host` is absent for requests by address.
pub(super) fn holds_site(name: &str, ip: IpAddr, host: Option<&str>) -> bool {
    match (host, name.strip_prefix("*.")) {
        (None, _) => name.parse() == Ok(ip),
        (Some(host), None) => host.eq_ignore_ascii_case(name),
        (Some(host), Some(suffix)) => host
            .len()
            .checked_sub(suffix.len())
            .filter(|at| host.is_char_boundary(*at))
            .map(|at| host.split_at(at))
            .is_some_and(|(sub, end)| {
                sub.len() > 1 && sub.ends_with('.') && end.eq_ignore_ascii_case(suffix)
            }),
    }
}

/// What is wrong with the name of a vantage point.
pub(super) fn find_vantage_problem(name: &str) -> FieldProblem {
    let help = "write the `vantage` of a configuration, such as `office`";
    if name.trim().is_empty() {
        return Some(("names no vantage point", help));
    }
    let odd = name.trim() != name || name.contains(char::is_control);
    odd.then_some(("has a character that no vantage point has", help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_that_a_request_can_have() {
        for good in ["/", "/.env", "/a?b=http://c", "/a//b", "/%20", "/é"] {
            assert_eq!(find_path_problem(good), None, "{good}");
        }
        for bad in
            ["", ".env", "http://a/.env", "//a/.env", "/a#b", "/a b", "/a\n", "a.example.jp/.env"]
        {
            assert!(find_path_problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn names_are_those_of_sites() {
        for good in
            ["a.example.jp", "*.example.jp", "localhost", "192.0.2.1", "2001:db8::1", "_a.b"]
        {
            assert_eq!(find_name_problem(good), None, "{good}");
        }
        let bad = [
            "",
            "*",
            "*.jp",
            "a.*.jp",
            "*a.example.jp",
            "a..b",
            "a.jp.",
            "a.jp:80",
            "日本.jp",
            "a/b",
            "http://a",
        ];
        for bad in bad {
            assert!(find_name_problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_suffix_holds_what_is_below_it_and_not_itself() {
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        for (name, host, held) in [
            ("shop.example.jp", Some("SHOP.example.jp"), true),
            ("shop.example.jp", Some("a.shop.example.jp"), false),
            ("shop.example.jp", None, false),
            ("*.example.jp", Some("shop.example.jp"), true),
            ("*.example.jp", Some("a.shop.Example.jp"), true),
            ("*.example.jp", Some("example.jp"), false),
            ("*.example.jp", Some(".example.jp"), false),
            ("*.example.jp", Some("badexample.jp"), false),
            ("*.example.jp", Some("日本example.jp"), false),
            ("*.example.jp", None, false),
            ("192.0.2.1", None, true),
            ("192.0.2.2", None, false),
        ] {
            assert_eq!(holds_site(name, ip, host), held, "{name} {host:?}");
        }
    }
}
