//! Who listens where.

use std::net::IpAddr;
use std::time::Duration;

use mimawari_engine::ProbeReply;
use mimawari_probes::observation::CellState;
use mimawari_targets::{
    AddrRange, AddrSet, CellPlan, Endpoint, PlanOrder, PlanShard, Port, PortSet, Scope,
};

use super::rng::mix;

/// How one cell behaves when it gets a SYN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// SYN-ACK.
    Open,
    /// RST.
    Closed,
    /// ICMP "administratively prohibited".
    Prohibited,
    /// Nothing, ever.
    Silent,
    /// SYN-ACK after so long.
    Late(Duration),
    /// The SYN-ACK twice.
    Doubled,
    /// RST, and 200 ms later SYN-ACK.
    RstThenSynAck,
    /// SYN-ACK, and 200 ms later RST.
    SynAckThenRst,
    /// ICMP "prohibited" from the router, and then RST from the host.
    ProhibitedThenRst,
}

impl Behaviour {
    /// Replies to one SYN and how long after it each leaves.
    #[must_use]
    pub const fn replies(self) -> [Option<(Duration, ProbeReply)>; 2] {
        const NOW: Duration = Duration::ZERO;
        const SOON: Duration = Duration::from_millis(200);
        match self {
            Self::Open => [Some((NOW, ProbeReply::SynAck)), None],
            Self::Closed => [Some((NOW, ProbeReply::Rst)), None],
            Self::Prohibited => [Some((NOW, ProbeReply::Prohibited)), None],
            Self::Silent => [None, None],
            Self::Late(after) => [Some((after, ProbeReply::SynAck)), None],
            Self::Doubled => [Some((NOW, ProbeReply::SynAck)), Some((NOW, ProbeReply::SynAck))],
            Self::RstThenSynAck => [Some((NOW, ProbeReply::Rst)), Some((SOON, ProbeReply::SynAck))],
            Self::SynAckThenRst => [Some((NOW, ProbeReply::SynAck)), Some((SOON, ProbeReply::Rst))],
            Self::ProhibitedThenRst => {
                [Some((NOW, ProbeReply::Prohibited)), Some((SOON, ProbeReply::Rst))]
            }
        }
    }

    /// What a perfect scan says of it.
    #[must_use]
    pub const fn truth(self) -> CellState {
        match self {
            Self::Open
            | Self::Late(_)
            | Self::Doubled
            | Self::RstThenSynAck
            | Self::SynAckThenRst => CellState::Open,
            Self::Closed | Self::ProhibitedThenRst => CellState::Closed,
            Self::Prohibited => CellState::Prohibited,
            Self::Silent => CellState::Silent,
        }
    }
}

/// How often what occurs, in thousandths of the cells; the rest is silent.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// Open.
    pub open: u64,
    /// Closed.
    pub closed: u64,
    /// Prohibited.
    pub prohibited: u64,
    /// Open in one of the odd ways, or prohibited and then closed.
    pub odd: u64,
    /// The longest that a late one takes.
    pub latest: Duration,
}

impl Mix {
    /// A hosting range: 10 % open, half closed, the rest filtered.
    pub const HOSTING: Self =
        Self { open: 100, closed: 500, prohibited: 20, odd: 0, latest: Duration::ZERO };
    /// Everything odd that there is.
    pub const ODD: Self =
        Self { open: 60, closed: 300, prohibited: 50, odd: 250, latest: Duration::from_secs(4) };
    /// Nobody answers.
    pub const DARK: Self =
        Self { open: 0, closed: 0, prohibited: 0, odd: 0, latest: Duration::ZERO };
}

/// A range of hosts: 198.18.0.0 and up × the ports 1 and up.
#[derive(Debug, Clone, Copy)]
pub struct World {
    seed: u64,
    hosts: u32,
    ports: u16,
    mix: Mix,
}

impl World {
    /// At most 131,072 hosts (198.18.0.0/15, RFC 2544).
    #[must_use]
    pub const fn new(seed: u64, hosts: u32, ports: u16, mix: Mix) -> Self {
        assert!(hosts > 0 && hosts <= 1 << 17 && ports > 0);
        Self { seed, hosts, ports, mix }
    }

    /// How this cell behaves.
    #[must_use]
    pub fn behaviour(&self, ip: IpAddr, port: Port) -> Behaviour {
        let IpAddr::V4(v4) = ip else {
            return Behaviour::Silent;
        };
        let cell = u64::from(v4.to_bits()) << 16 | u64::from(port.get());
        let draw = mix(self.seed ^ mix(cell));
        let (kind, detail) = (draw % 1000, draw >> 32);
        let Mix { open, closed, prohibited, odd, latest } = self.mix;
        if kind < open {
            Behaviour::Open
        } else if kind < open + closed {
            Behaviour::Closed
        } else if kind < open + closed + prohibited {
            Behaviour::Prohibited
        } else if kind < open + closed + prohibited + odd {
            let latest = u64::try_from(latest.as_millis()).unwrap_or(0);
            match detail % 5 {
                0 => Behaviour::Late(Duration::from_millis((detail >> 8) % (latest + 1))),
                1 => Behaviour::Doubled,
                2 => Behaviour::RstThenSynAck,
                3 => Behaviour::SynAckThenRst,
                _ => Behaviour::ProhibitedThenRst,
            }
        } else {
            Behaviour::Silent
        }
    }

    /// What a perfect scan says of an endpoint.
    #[must_use]
    pub fn truth(&self, endpoint: Endpoint) -> CellState {
        self.behaviour(endpoint.ip(), endpoint.port()).truth()
    }

    /// A walk over the whole of it.
    #[must_use]
    pub fn walk(&self) -> PlanOrder {
        self.shard(PlanShard::WHOLE)
    }

    /// One shard's walk.
    ///
    /// # Panics
    /// Never: the range is a valid one by construction.
    #[must_use]
    pub fn shard(&self, shard: PlanShard) -> PlanOrder {
        let first = 0xc612_0000u32;
        let range =
            AddrRange::new(IpAddr::V4(first.into()), IpAddr::V4((first + self.hosts - 1).into()));
        let addrs = AddrSet::from_ranges(range);
        let scope = Scope::new(addrs.clone(), AddrSet::default(), "the simulation");
        let set = scope.narrow(&addrs).expect("the whole scope is in the scope");
        let plan = CellPlan::new(set, PortSet::from_ranges([(1, self.ports)]), self.seed);
        plan.expect("neither empty nor too large").walk(shard)
    }
}
