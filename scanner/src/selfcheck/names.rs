//! Whether names can be resolved, where names are used.

use mimawari_targets::dns::NameResolution;

use super::line::CheckFinding;

/// Names that are tried.
pub const TRIED: usize = 3;

/// Judges what resolving some of the configuration's names came to.
#[must_use]
pub fn judge(resolution: &NameResolution) -> CheckFinding {
    const SERVER: &str = "see that the name is right and the name server is reached from here; name another \
                          under [scan]: `nameservers = [\"192.0.2.53\"]`";
    let first = |list: &[(mimawari_targets::list::HostName, std::net::IpAddr)]| {
        list.first().map(|(name, ip)| format!("{name} is {ip}"))
    };
    let failed = resolution.failed.first().map(|(name, why)| format!("{name}: {why}"));
    match (first(&resolution.inside), first(&resolution.outside), failed) {
        (Some(inside), None, None) => CheckFinding::ok(inside),
        (Some(inside), _, Some(failed)) => {
            CheckFinding::warn(format!("{inside}; {failed}"), SERVER)
        }
        (None, _, Some(failed)) => CheckFinding::fail(failed, SERVER),
        (inside, Some(outside), None) => CheckFinding::warn(
            format!(
                "{}{outside}, which is not in the scope",
                inside.map_or(String::new(), |i| i + "; ")
            ),
            "such an address is not scanned; extend `allow` under [scope] if it is yours",
        ),
        (None, None, None) => CheckFinding::fail("no name has an address", SERVER),
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::LineMark;
    use super::*;

    #[test]
    fn inside_outside_and_failed_are_distinguished() {
        let targets = mimawari_targets::list::parse_items("t", &["a.example".to_owned()]).unwrap();
        let name = targets.names()[0].clone();
        let ip = "192.0.2.1".parse().unwrap();
        let none = || NameResolution { inside: vec![], outside: vec![], failed: vec![] };
        let inside = NameResolution { inside: vec![(name.clone(), ip)], ..none() };
        assert_eq!(judge(&inside).mark, LineMark::Ok);
        let outside = NameResolution { outside: vec![(name.clone(), ip)], ..none() };
        assert_eq!(judge(&outside).mark, LineMark::Warn);
        let failed = NameResolution { failed: vec![(name.clone(), "no answer".into())], ..none() };
        assert_eq!(judge(&failed).mark, LineMark::Fail);
        let part = NameResolution { failed: failed.failed.clone(), ..inside };
        assert_eq!(judge(&part).mark, LineMark::Warn);
        assert_eq!(judge(&none()).mark, LineMark::Fail);
    }
}
