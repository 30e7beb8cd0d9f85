//! The kernel, and what filters its system calls.

use super::line::CheckFinding;

/// Judges release and seccomp mode.
#[must_use]
pub fn judge(release: Option<&str>, seccomp: Option<u8>) -> CheckFinding {
    let filter = match seccomp {
        Some(0) => "system calls are not filtered",
        Some(1) => "system calls are filtered strictly",
        Some(_) => "system calls are filtered (seccomp)",
        None => "the kernel does not say whether system calls are filtered",
    };
    let Some(release) = release else {
        return CheckFinding::warn(
            format!("the kernel does not show its release; {filter}"),
            "see that /proc is mounted",
        );
    };
    let what = format!("Linux {release}, {filter}");
    match parse_kernel_version(release) {
        Some(v) if v < (4, 20) => CheckFinding::warn(
            what,
            "use Linux 4.20 or newer: older ones hand every packet that we send back to us",
        ),
        _ => CheckFinding::ok(what),
    }
}

fn parse_kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The release.
#[must_use]
pub fn release() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    Some(text.trim().to_owned()).filter(|t| !t.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::line::LineMark;
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        assert_eq!(judge(Some("6.18.5-aws"), Some(2)).mark, LineMark::Ok);
        assert_eq!(judge(Some("4.19.0"), Some(0)).mark, LineMark::Warn);
        assert_eq!(judge(Some("10.2"), None).mark, LineMark::Ok);
        assert_eq!(judge(Some("strange"), Some(1)).mark, LineMark::Ok);
        assert_eq!(judge(None, None).mark, LineMark::Warn);
    }
}
