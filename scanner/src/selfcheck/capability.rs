//! CAP_NET_RAW: there, or why not. The ways to lose it look alike and have different remedies.

use super::line::CheckFinding;
use super::process::{FileCapabilities, NET_RAW, ProcessFacts, list_capability_names};
use crate::cli::ScanMethod;

/// More capabilities than this are counted, not named.
const NAMED: usize = 13;

/// Judges the capabilities of the process, for a configured method.
#[must_use]
pub fn judge(
    p: &ProcessFacts,
    file: Option<FileCapabilities>,
    method: Option<ScanMethod>,
) -> CheckFinding {
    if (p.effective | p.permitted) & NET_RAW != 0 {
        return CheckFinding::ok(describe_capability(p));
    }
    let (what, remedy) = explain_missing_capability(p, file);
    match method {
        Some(ScanMethod::Connect) => {
            CheckFinding::ok("NET_RAW is not there, and `method = \"connect\"` needs none")
        }
        // `auto` goes on by full connections, as it promises.
        Some(ScanMethod::Auto) => CheckFinding::warn(
            format!("{what}; `method = \"auto\"` will make full connections, which is slower"),
            remedy,
        ),
        Some(ScanMethod::Syn) | None => CheckFinding::fail(what, remedy),
    }
}

fn describe_capability(p: &ProcessFacts) -> String {
    let how =
        if p.effective & NET_RAW != 0 { "effective" } else { "permitted, raised when needed" };
    let others = list_capability_names((p.effective | p.permitted) & !NET_RAW);
    match others.len() {
        0 => format!("NET_RAW is {how}, and nothing else"),
        n if n <= NAMED => format!("NET_RAW is {how}; there and not needed: {}", others.join(", ")),
        n => format!("NET_RAW is {how}; {n} others are there and not needed"),
    }
}

fn explain_missing_capability(
    p: &ProcessFacts,
    file: Option<FileCapabilities>,
) -> (&'static str, &'static str) {
    let granted = file.is_some_and(|f| f.permitted & NET_RAW != 0);
    if p.bounding & NET_RAW == 0 {
        return (
            "NET_RAW is not in the bounding set: whoever started this took it away for good",
            "let the container keep NET_RAW: on ECS drop the other capabilities by name, never ALL; on \
             Kubernetes add NET_RAW under securityContext.capabilities; with Docker --cap-add NET_RAW; \
             with systemd CapabilityBoundingSet=CAP_NET_RAW",
        );
    }
    if granted && p.no_new_privs {
        return (
            "the program's file grants NET_RAW, and no_new_privs makes that void",
            "start without no_new_privs: no --security-opt no-new-privileges with Docker, \
             allowPrivilegeEscalation: true on Kubernetes; with systemd leave out NoNewPrivileges=, or \
             set AmbientCapabilities=CAP_NET_RAW",
        );
    }
    if granted {
        return (
            "the program's file grants NET_RAW, and the kernel did not",
            "look whether the file lies on a file system mounted nosuid, or the program runs in another \
             user namespace than its file; run it as root otherwise",
        );
    }
    if p.uid == 0 {
        return (
            "root without NET_RAW: whoever started this dropped it from the permitted set",
            "do not drop NET_RAW where the program is started",
        );
    }
    if p.no_new_privs {
        return (
            "neither the file nor whoever started this grants NET_RAW, and no_new_privs is set",
            "give the capability at the start: AmbientCapabilities=CAP_NET_RAW with systemd; or start \
             without no_new_privs and run `setcap cap_net_raw=ep` on the program",
        );
    }
    (
        "the program's file grants no capability",
        "run `setcap cap_net_raw=ep` on the program; in an image build it with BuildKit, since the \
         classic builder loses the capability in COPY --from (`getcap` on the final image shows it)",
    )
}

#[cfg(test)]
mod tests {
    use super::super::line::LineMark;
    use super::*;

    const GRANTED: Option<FileCapabilities> =
        Some(FileCapabilities { permitted: NET_RAW, effective: true });

    fn process() -> ProcessFacts {
        ProcessFacts { uid: 65532, bounding: NET_RAW | 1, ..ProcessFacts::default() }
    }

    fn remedy(p: ProcessFacts, file: Option<FileCapabilities>) -> String {
        let found = judge(&p, file, Some(ScanMethod::Syn));
        assert_eq!(found.mark, LineMark::Fail);
        found.remedy.unwrap()
    }

    #[test]
    fn each_way_to_lose_it_has_its_remedy() {
        assert!(remedy(ProcessFacts { bounding: 1, ..process() }, GRANTED).contains("never ALL"));
        let nnp = ProcessFacts { no_new_privs: true, ..process() };
        assert!(remedy(nnp, GRANTED).contains("allowPrivilegeEscalation"));
        assert!(remedy(nnp, None).contains("AmbientCapabilities"));
        assert!(remedy(process(), GRANTED).contains("nosuid"));
        assert!(remedy(process(), None).contains("BuildKit"));
        assert!(remedy(ProcessFacts { uid: 0, ..process() }, None).contains("do not drop"));
        // The bounding set comes first: neither of the others would help.
        let both = ProcessFacts { bounding: 1, no_new_privs: true, ..process() };
        assert!(
            remedy(both, GRANTED).contains("bounding") || remedy(both, GRANTED).contains("ALL")
        );
    }

    #[test]
    fn what_is_there_and_not_needed_is_said() {
        let p = ProcessFacts { effective: NET_RAW | 1, permitted: NET_RAW | 1, ..process() };
        let found = judge(&p, None, Some(ScanMethod::Auto));
        assert_eq!(found.mark, LineMark::Ok);
        assert!(found.what.contains("not needed: CHOWN"), "{}", found.what);
        let alone = ProcessFacts { permitted: NET_RAW, ..process() };
        assert!(judge(&alone, None, None).what.contains("raised when needed"));
        let all = ProcessFacts { effective: !0, ..process() };
        assert!(judge(&all, None, None).what.contains("others are there"));
    }

    #[test]
    fn the_method_decides_how_bad_it_is() {
        let mark = |m| judge(&process(), None, Some(m)).mark;
        assert_eq!(mark(ScanMethod::Connect), LineMark::Ok);
        assert_eq!(mark(ScanMethod::Auto), LineMark::Warn);
        assert_eq!(mark(ScanMethod::Syn), LineMark::Fail);
    }
}
