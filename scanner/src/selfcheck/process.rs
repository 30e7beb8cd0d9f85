//! `/proc/self/status`, as far as it matters here (proc_pid_status(5)).

/// What the kernel says of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Effective user.
    pub uid: u32,
    /// Capabilities in use, one bit each.
    pub effective: u64,
    /// Capabilities that may be taken into use.
    pub permitted: u64,
    /// Capabilities that any program started from here can have at most.
    pub bounding: u64,
    /// Whether `execve` grants nothing any more (no_new_privs).
    pub no_new_privs: bool,
    /// 0: no filter of system calls, 1: strict, 2: a filter. `None`: the kernel does not say.
    pub seccomp: Option<u8>,
}

/// Bit of CAP_NET_RAW (capabilities(7)).
pub const NET_RAW: u64 = 1 << 13;

/// Reads the text of `/proc/self/status`; what is missing counts as none.
#[must_use]
pub fn parse(status: &str) -> ProcessFacts {
    let field = |name: &str| {
        status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let set = |name: &str| field(name).and_then(|t| u64::from_str_radix(t, 16).ok()).unwrap_or(0);
    ProcessFacts {
        // Real, effective, saved, file system.
        uid: field("Uid")
            .and_then(|t| t.split_whitespace().nth(1)?.parse().ok())
            .unwrap_or(u32::MAX),
        effective: set("CapEff"),
        permitted: set("CapPrm"),
        bounding: set("CapBnd"),
        no_new_privs: field("NoNewPrivs") == Some("1"),
        seccomp: field("Seccomp").and_then(|t| t.parse().ok()),
    }
}

/// Reads it from the system.
#[must_use]
pub fn read() -> ProcessFacts {
    parse(&std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default())
}

/// The capabilities that a file grants (`security.capability`, `linux/capability.h`, versions 2 and 3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileCapabilities {
    /// Permitted, one bit each.
    pub permitted: u64,
    /// Whether they are in use from the start (`=ep`).
    pub effective: bool,
}

impl FileCapabilities {
    /// Reads the attribute's bytes; `None` for what is none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |i: usize| Some(u32::from_le_bytes(bytes.get(i..i + 4)?.try_into().ok()?));
        let magic = word(0)?;
        matches!(magic >> 24, 2 | 3).then_some(())?;
        Some(Self {
            permitted: u64::from(word(4)?) | u64::from(word(12)?) << 32,
            effective: magic & 1 == 1,
        })
    }

    /// Of the running program; `None` where it has none, or the file system knows none.
    #[must_use]
    pub fn of_program() -> Option<Self> {
        let mut bytes = [0u8; 64];
        let n =
            rustix::fs::getxattr("/proc/self/exe", "security.capability", &mut bytes[..]).ok()?;
        Self::parse(bytes.get(..n)?)
    }
}

/// The names of the capabilities in a set, without `CAP_`.
#[must_use]
pub fn list_capability_names(set: u64) -> Vec<String> {
    let mut all: Vec<_> = caps::all().into_iter().collect();
    all.sort_by_key(|c| c.index());
    all.into_iter()
        .filter(|c| set & c.bitmask() != 0)
        .map(|c| c.to_string().trim_start_matches("CAP_").to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_text_is_read() {
        let text = "Name:\tmimawari\nUid:\t1000\t65532\t65532\t65532\nCapInh:\t0\nCapPrm:\t0000000000002000\n\
                    CapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        let p = parse(text);
        assert_eq!((p.uid, p.permitted, p.effective), (65532, NET_RAW, 0));
        assert!(p.no_new_privs && p.bounding & NET_RAW != 0);
        assert_eq!(p.seccomp, Some(2));
        assert_eq!(parse("").seccomp, None);
        assert_eq!(parse("CapEff: zz\nUid: x").effective, 0);
    }

    #[test]
    fn file_capabilities_are_read_in_both_versions() {
        // `setcap cap_net_raw=ep` as the kernel stores it.
        let v2 = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let read = FileCapabilities::parse(&v2).unwrap();
        assert_eq!(read, FileCapabilities { permitted: NET_RAW, effective: true });
        let mut v3 = v2.to_vec();
        (v3[0], v3[3]) = (0, 3);
        v3.extend([0; 4]);
        assert!(!FileCapabilities::parse(&v3).unwrap().effective);
        for n in 0..16 {
            assert_eq!(FileCapabilities::parse(&v2[..n]), None);
        }
        assert_eq!(FileCapabilities::parse(&[0xff; 20]), None);
    }

    #[test]
    fn names_come_without_prefix_in_the_kernel_s_order() {
        assert_eq!(list_capability_names(NET_RAW | 1), ["CHOWN", "NET_RAW"]);
        assert!(list_capability_names(0).is_empty());
    }
}
