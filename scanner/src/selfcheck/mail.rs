//! Port 25, which clouds block on the way out, and which then looks closed.

use super::line::CheckFinding;

/// Judges. `planned`: the plan has TCP port 25. `canaries`: whether each canary on port 25 was
/// reached; `None`: they were not asked.
#[must_use]
pub fn judge(planned: bool, canaries: Option<&[bool]>) -> CheckFinding {
    const BLOCKED: &str = "AWS blocks outgoing port 25 unless asked to lift that (support form \"remove email \
                           sending limitations\"): ask for it, or scan port 25 from elsewhere";
    if !planned {
        return CheckFinding::skip("port 25 is not in the plan");
    }
    let Some(canaries) = canaries else { return CheckFinding::skip("the canaries were not asked") };
    if canaries.is_empty() {
        return CheckFinding::warn(
            "port 25 is planned, and a block on the way (AWS has one by default) cannot be distinguished \
             from closed",
            "add a canary on port 25, a mail server of your own",
        );
    }
    if canaries.contains(&true) {
        CheckFinding::ok("a canary on port 25 is reached: the port is not blocked on the way")
    } else {
        CheckFinding::fail("port 25 is planned, and no canary on it is reached", BLOCKED)
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::LineMark;
    use super::*;

    #[test]
    fn a_blocked_port_needs_a_canary_to_be_seen() {
        assert_eq!(judge(false, Some(&[])).mark, LineMark::Skip);
        assert_eq!(judge(true, None).mark, LineMark::Skip);
        assert_eq!(judge(true, Some(&[])).mark, LineMark::Warn);
        assert_eq!(judge(true, Some(&[false, true])).mark, LineMark::Ok);
        let blocked = judge(true, Some(&[false]));
        assert_eq!(blocked.mark, LineMark::Fail);
        assert!(blocked.remedy.unwrap().contains("AWS blocks"));
    }
}
