//! Ground truth for a whole lab, by nftables in the data centre.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use super::Lab;

/// The last bytes of addresses of silent hosts are below this: 51 of 256, 20 %.
const SILENT_BELOW: u8 = 51;

/// Which cells of 198.19.0.0/16 are open, and what the network does on the way to them.
///
/// Hosts whose last byte is below 51 (20 %) are silent but for their open ports; whatever else is not
/// open answers RST.
#[derive(Debug, Clone)]
pub struct Truth {
    /// Open cells.
    pub open: BTreeSet<(Ipv4Addr, u16)>,
    /// Share of the packets towards the hosts that is lost, in thousandths.
    pub loss_permille: u32,
    /// What is dropped above a rate, if anything is.
    pub policer: Option<Policer>,
}

/// A token bucket on the way to the hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policer {
    /// Packets per second that pass.
    pub rate: u32,
    /// Packets that pass at once.
    pub burst: u32,
}

/// Host number `n` of 198.19.0.0/16.
#[must_use]
pub fn host(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0xc613_0000 | n & 0xffff)
}

impl Truth {
    /// `count` open cells, spread by a multiplicative hash over the first `hosts` addresses and these
    /// ports. `may_be_open` leaves out what can never be.
    ///
    /// # Panics
    /// When there are fewer cells than that.
    #[must_use]
    pub fn spread(
        hosts: u32,
        ports: &[u16],
        count: usize,
        may_be_open: impl Fn(Ipv4Addr) -> bool,
    ) -> Self {
        assert!(count * 2 <= hosts as usize * ports.len(), "too few cells for {count} open ones");
        let mut open = BTreeSet::new();
        let mut n = 0u64;
        while open.len() < count {
            n += 1;
            let h = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            let ip = host((h % u64::from(hosts)) as u32);
            if may_be_open(ip) {
                open.insert((ip, ports[(h >> 24) as usize % ports.len()]));
            }
        }
        Self { open, loss_permille: 0, policer: None }
    }

    /// Makes it true. What was true before is replaced.
    ///
    /// # Panics
    /// When `nft` is not installed or refuses the rules.
    pub fn install(&self, lab: &Lab) {
        nft(lab, &self.rules());
    }

    fn rules(&self) -> String {
        let elements: Vec<String> =
            self.open.iter().map(|(ip, port)| format!("{ip} . {port}")).collect();
        // Deleted first; declared before that, since what is not there cannot be deleted.
        let mut rules = String::from(
            "table ip lab {}\ndelete table ip lab\ntable ip lab {\n\
             set open { type ipv4_addr . inet_service; ",
        );
        if !elements.is_empty() {
            let _ = write!(rules, "elements = {{ {} }}", elements.join(", "));
        }
        rules += " }\ncounter policed { }\nchain pre { type filter hook prerouting priority -300; policy accept;\n";
        if let Some(Policer { rate, burst }) = self.policer {
            let _ = writeln!(
                rules,
                "iifname \"v1\" limit rate over {rate}/second burst {burst} packets counter name policed \
                 drop"
            );
        }
        if self.loss_permille > 0 {
            let _ = writeln!(
                rules,
                "iifname \"v1\" numgen random mod 1000 < {} drop",
                self.loss_permille
            );
        }
        let _ = write!(
            rules,
            "iifname \"v1\" ip daddr . tcp dport @open accept\n\
             iifname \"v1\" ip daddr 198.19.0.0/16 @nh,152,8 < {SILENT_BELOW} drop\n\
             iifname \"v1\" ip daddr 198.19.0.0/16 tcp flags & (syn|ack) == syn reject with tcp reset\n\
             }}\n}}\n"
        );
        rules
    }
}

/// Runs an nftables script in the data centre.
///
/// # Panics
/// When `nft` is not installed or refuses the rules.
pub fn nft(lab: &Lab, rules: &str) {
    lab.centre.run(|| {
        let mut child = Command::new("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nft: install nftables, and have /usr/sbin on the PATH");
        child.stdin.take().expect("stdin").write_all(rules.as_bytes()).expect("rules");
        assert!(child.wait().expect("nft").success(), "nft refused the rules");
    });
}
