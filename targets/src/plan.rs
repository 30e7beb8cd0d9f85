//! The plan of a job: its cells, their order, and one shard's walk over them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::to_message_text;
use crate::{AddrRange, AddrSet, Endpoint, Port, PortSet, ProbeOrder, Scope, ScopedSet};

/// The cells of a job (address × port) and the order in which they are probed.
///
/// A cell is numbered `address index × ports + port index`; the order permutes these numbers.
#[derive(Debug, Clone)]
pub struct CellPlan {
    addrs: ScopedSet,
    ports: PortSet,
    seed: u64,
    order: ProbeOrder,
}

/// Why a plan cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No address or no port.
    #[error("the plan is empty: {0}")]
    Empty(&'static str),
    /// More cells than a job may have.
    #[error("the plan has {addresses} addresses × {ports} ports, more than 2^48 cells")]
    TooLarge {
        /// Number of addresses.
        addresses: u128,
        /// Number of ports.
        ports: u32,
    },
    /// An IPv6 range too large to be swept, however few ports.
    #[error("{range} holds {addresses} IPv6 addresses, too many to be swept in full")]
    TooSparse {
        /// The range, as it is left after the deny list.
        range: AddrRange,
        /// Its addresses.
        addresses: u128,
        /// Number of ports.
        ports: u32,
    },
}

/// Addresses of the largest IPv6 range that is swept in full: a /96, which is all of IPv4 again. What
/// is longer holds so few hosts for its addresses that a sweep is hopeless (RFC 7707, section 1).
const MAX_V6_RANGE: u128 = 1 << 32;

impl PlanError {
    /// Seconds that one attempt to every cell takes at `rate` packets per second, for a plan that is
    /// too large.
    #[must_use]
    pub fn seconds_at(&self, rate: u32) -> Option<f64> {
        match self {
            Self::Empty(_) => None,
            Self::TooLarge { addresses, ports } | Self::TooSparse { addresses, ports, .. } => {
                Some(*addresses as f64 * f64::from(*ports) / f64::from(rate.max(1)))
            }
        }
    }

    /// What the user can do about it, as an imperative sentence without a full stop.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Empty(_) => "name at least one address and one port",
            Self::TooLarge { .. } | Self::TooSparse { .. } => {
                "name as targets the IPv6 addresses in use (from your inventory or DNS), or prefixes \
                 of /112 and longer; the scope may stay as wide as it is"
            }
        }
    }
}

impl CellPlan {
    /// The plan over `addrs` × `ports` in the order that belongs to `seed`.
    ///
    /// # Errors
    /// [`PlanError`] when there is nothing to do, more than 2^48 cells, or an IPv6 range larger than
    /// a /96.
    pub fn new(addrs: ScopedSet, ports: PortSet, seed: u64) -> Result<Self, PlanError> {
        if addrs.addrs().is_empty() {
            return Err(PlanError::Empty("no address"));
        }
        if ports.is_empty() {
            return Err(PlanError::Empty("no port"));
        }
        for range in addrs.addrs().ranges().filter(|r| r.first().is_ipv6()) {
            let addresses = AddrSet::from_ranges([range]).len();
            if addresses > MAX_V6_RANGE {
                return Err(PlanError::TooSparse { range, addresses, ports: ports.len() });
            }
        }
        let cells = addrs
            .addrs()
            .len()
            .checked_mul(u128::from(ports.len()))
            .filter(|c| *c <= 1 << 48)
            .and_then(|c| u64::try_from(c).ok())
            .ok_or(PlanError::TooLarge { addresses: addrs.addrs().len(), ports: ports.len() })?;
        Ok(Self { addrs, ports, seed, order: ProbeOrder::new(cells, seed) })
    }

    /// Number of cells, 1 to 2^48.
    #[must_use]
    pub const fn cells(&self) -> u64 {
        self.order.len()
    }

    /// The addresses.
    #[must_use]
    pub const fn addrs(&self) -> &ScopedSet {
        &self.addrs
    }

    /// The ports.
    #[must_use]
    pub const fn ports(&self) -> &PortSet {
        &self.ports
    }

    /// The seed of the order.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The endpoint that is probed as the `position`-th of the whole plan.
    #[must_use]
    pub fn endpoint(&self, position: u64) -> Option<Endpoint> {
        if position >= self.cells() {
            return None;
        }
        let cell = self.order.at(position);
        let ports = u64::from(self.ports.len());
        let port = self.ports.nth(u32::try_from(cell % ports).ok()?)?;
        self.addrs.endpoint(u128::from(cell / ports), port)
    }

    /// When (address, port) is probed, counted from 0 in the whole plan; `None` if the plan does
    /// not hold it.
    #[must_use]
    pub fn position_of(&self, ip: IpAddr, port: Port) -> Option<u64> {
        let addr = u64::try_from(self.addrs.addrs().index_of(ip)?).ok()?;
        let port = self.ports.index_of(port)?;
        Some(self.order.position_of(addr * u64::from(self.ports.len()) + u64::from(port)))
    }

    /// One shard's walk: the positions `i-1, i-1+n, i-1+2n, …`.
    #[must_use]
    pub fn walk(self, shard: PlanShard) -> PlanOrder {
        self.walk_part(PlanShard::WHOLE, shard)
    }

    /// One shard's walk over one part of the plan.
    ///
    /// A part is to the plan what a shard is to a part: the positions `k-1, k-1+n, …`, of which the
    /// shard takes every m-th. Parts are walked one after the other, in runs; the shards of a part at
    /// the same time, on several machines.
    #[must_use]
    pub fn walk_part(self, part: PlanShard, shard: PlanShard) -> PlanOrder {
        let stride = u64::from(part.count) * u64::from(shard.count);
        let offset = u64::from(part.index - 1) + u64::from(part.count) * u64::from(shard.index - 1);
        PlanOrder { plan: self, part, shard, offset, stride }
    }

    /// The part of `parts`, counted from 1, that a cell is in; `None` if the plan does not hold it.
    #[must_use]
    pub fn part_of(&self, ip: IpAddr, port: Port, parts: u32) -> Option<u32> {
        let part = self.position_of(ip, port)?.checked_rem(u64::from(parts))?;
        u32::try_from(part + 1).ok()
    }
}

/// The i-th of n shards, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PlanShard {
    index: u32,
    count: u32,
}

/// Why a shard's text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a shard; write i/n with i from 1 to n, such as 1/7")]
pub struct ShardError(String);

impl PlanShard {
    /// The one shard of an undivided job.
    pub const WHOLE: Self = Self { index: 1, count: 1 };

    /// The `index`-th of `count` shards; `None` unless 1 ≤ index ≤ count.
    #[must_use]
    pub const fn new(index: u32, count: u32) -> Option<Self> {
        if index >= 1 && index <= count { Some(Self { index, count }) } else { None }
    }

    /// 1 to `count`.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// At least 1.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.count
    }
}

impl fmt::Display for PlanShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for PlanShard {
    type Err = ShardError;

    fn from_str(s: &str) -> Result<Self, ShardError> {
        // No sign and no leading zero: one way to write each shard.
        let digits = |t: &str| {
            let plain = t.bytes().all(|b| b.is_ascii_digit()) && !t.starts_with('0');
            plain.then(|| t.parse::<u32>().ok()).flatten()
        };
        s.split_once('/')
            .and_then(|(i, n)| Self::new(digits(i)?, digits(n)?))
            .ok_or_else(|| ShardError(to_message_text(s)))
    }
}

impl TryFrom<String> for PlanShard {
    type Error = ShardError;

    fn try_from(s: String) -> Result<Self, ShardError> {
        s.parse()
    }
}

impl From<PlanShard> for String {
    fn from(s: PlanShard) -> Self {
        s.to_string()
    }
}

/// One shard's cells in probing order, numbered `0..len` ("steps").
#[derive(Debug, Clone)]
pub struct PlanOrder {
    plan: CellPlan,
    part: PlanShard,
    shard: PlanShard,
    /// Position of step 0.
    offset: u64,
    /// Positions from one step to the next, at least 1.
    stride: u64,
}

impl PlanOrder {
    /// The plan behind it.
    #[must_use]
    pub const fn plan(&self) -> &CellPlan {
        &self.plan
    }

    /// Which shard.
    #[must_use]
    pub const fn shard(&self) -> PlanShard {
        self.shard
    }

    /// Which part of the plan; [`PlanShard::WHOLE`] unless the plan is walked in several runs.
    #[must_use]
    pub const fn part(&self) -> PlanShard {
        self.part
    }

    /// Number of cells of this shard; 0 when there are more shards than cells.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self.plan.cells().checked_sub(self.offset) {
            Some(left @ 1..) => (left - 1) / self.stride + 1,
            _ => 0,
        }
    }

    /// Whether this shard has nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The endpoint of a step.
    #[must_use]
    #[inline]
    pub fn endpoint(&self, step: u64) -> Option<Endpoint> {
        self.plan.endpoint(step.checked_mul(self.stride)?.checked_add(self.offset)?)
    }

    /// The step of (address, port), or `None` if it is not of this shard.
    #[must_use]
    #[inline]
    pub fn step_of(&self, ip: IpAddr, port: Port) -> Option<u64> {
        let position = self.plan.position_of(ip, port)?;
        (position % self.stride == self.offset).then_some(position / self.stride)
    }

    /// The endpoints in probing order.
    pub fn iter(&self) -> impl Iterator<Item = Endpoint> + '_ {
        (0..self.len()).map_while(|s| self.endpoint(s))
    }

    /// Whether a frame for this address may leave: asked again at the edge, from the set itself.
    #[must_use]
    pub fn allows(&self, scope: &Scope, ip: IpAddr) -> bool {
        scope.allows(ip) && self.plan.addrs.addrs().contains(ip)
    }
}
