//! What the system lets this process have.

use super::line::CheckFinding;

/// What was found.
#[derive(Debug, Clone, Copy)]
pub struct ProcessLimits {
    /// Open files: soft and hard limit.
    pub files: Option<(u64, u64)>,
    /// Bytes that the control group may use; `None`: no limit, or none that can be read.
    pub memory: Option<u64>,
    /// Processors that can be used, quotas counted.
    pub cpus: usize,
}

/// A size for people.
#[must_use]
pub fn format_bytes(n: u64) -> String {
    match n {
        0..1_048_576 => format!("{} KiB", n >> 10),
        1_048_576..10_737_418_240 => format!("{} MiB", n >> 20),
        _ => format!("{} GiB", n >> 30),
    }
}

/// The limit in a `memory.max` (cgroup v2) or `memory.limit_in_bytes` (v1).
#[must_use]
pub fn parse_memory(text: &str) -> Option<u64> {
    // Version 1 writes a number near 2^63 for no limit.
    text.trim().parse().ok().filter(|n| *n < 1 << 60)
}

/// The folders of the control group that a `/proc/self/cgroup` names, for both versions, and the root
/// of each hierarchy: in a container only that can be seen.
#[must_use]
pub fn list_cgroup_folders(cgroup: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in cgroup.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if path.contains("..") {
            continue;
        }
        let path = path.trim_end_matches('/');
        if controllers.is_empty() {
            files.push(format!("/sys/fs/cgroup{path}/memory.max"));
        } else if controllers.split(',').any(|c| c == "memory") {
            files.push(format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes"));
        }
    }
    files.push("/sys/fs/cgroup/memory.max".to_owned());
    files.push("/sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned());
    files
}

/// Looks.
#[must_use]
pub fn look() -> ProcessLimits {
    use nix::sys::resource::{Resource, getrlimit};
    let cgroup = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let memory = list_cgroup_folders(&cgroup)
        .iter()
        .filter_map(|f| parse_memory(&std::fs::read_to_string(f).ok()?))
        .min();
    ProcessLimits {
        files: getrlimit(Resource::RLIMIT_NOFILE).ok(),
        memory,
        cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    }
}

/// Judges.
#[must_use]
pub fn judge(l: &ProcessLimits) -> CheckFinding {
    let cpus = if l.cpus == 1 { "1 CPU".to_owned() } else { format!("{} CPUs", l.cpus) };
    let memory = l
        .memory
        .map_or_else(|| "no memory limit".to_owned(), |n| format!("{} of memory", format_bytes(n)));
    let files = l.files.map_or_else(
        || "open files unknown".to_owned(),
        |(soft, hard)| format!("{soft} open files (at most {hard})"),
    );
    let what = format!("{cpus}, {memory}, {files}");
    if l.files.is_some_and(|(_, hard)| hard < 1024) {
        return CheckFinding::warn(
            what,
            "allow 1024 open files or more (ulimit -n): each connection takes one",
        );
    }
    if l.memory.is_some_and(|n| n < 256 << 20) {
        return CheckFinding::warn(
            what,
            "give it 256 MiB or more; `scan --plan` says what a plan takes",
        );
    }
    CheckFinding::ok(what)
}

#[cfg(test)]
mod tests {
    use super::super::line::LineMark;
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_read() {
        assert_eq!(parse_memory("max\n"), None);
        assert_eq!(parse_memory("9223372036854771712\n"), None);
        assert_eq!(parse_memory("536870912\n"), Some(512 << 20));
        let files = list_cgroup_folders("5:cpu,memory:/docker/x\n0::/a/b\n0::/../up\nnonsense\n");
        assert_eq!(files[0], "/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes");
        assert_eq!(files[1], "/sys/fs/cgroup/a/b/memory.max");
        assert_eq!(files.len(), 4);
    }

    #[test]
    fn little_is_a_warning() {
        let usual = ProcessLimits { files: Some((1024, 65535)), memory: Some(1 << 30), cpus: 2 };
        assert_eq!(judge(&usual).mark, LineMark::Ok);
        assert_eq!(judge(&ProcessLimits { files: Some((64, 256)), ..usual }).mark, LineMark::Warn);
        assert_eq!(judge(&ProcessLimits { memory: Some(64 << 20), ..usual }).mark, LineMark::Warn);
        let unknown = judge(&ProcessLimits { files: None, memory: None, cpus: 1 });
        assert_eq!(unknown.what, "1 CPU, no memory limit, open files unknown");
    }
}
