//! The plan of a job: its cells, their order, and one shard's walk over them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::shown;
use crate::{Endpoint, Order, Port, PortSet, Scope, ScopedSet};

/// The cells of a job (address × port) and the order in which they are probed.
///
/// A cell is numbered `address index × ports + port index`; the order permutes these numbers.
#[derive(Debug, Clone)]
pub struct Plan {
    addrs: ScopedSet,
    ports: PortSet,
    seed: u64,
    order: Order,
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
}

impl PlanError {
    /// What the user can do about it, as an imperative sentence without a full stop.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Empty(_) => "name at least one address and one port",
            Self::TooLarge { .. } => {
                "an IPv6 prefix this large cannot be swept: list the addresses in use, or prefixes of \
                 /112 and longer"
            }
        }
    }
}

impl Plan {
    /// The plan over `addrs` × `ports` in the order that belongs to `seed`.
    ///
    /// # Errors
    /// [`PlanError`] when there is nothing to do, or more than 2^48 cells.
    pub fn new(addrs: ScopedSet, ports: PortSet, seed: u64) -> Result<Self, PlanError> {
        if addrs.addrs().is_empty() {
            return Err(PlanError::Empty("no address"));
        }
        if ports.is_empty() {
            return Err(PlanError::Empty("no port"));
        }
        let cells = addrs
            .addrs()
            .len()
            .checked_mul(u128::from(ports.len()))
            .filter(|c| *c <= 1 << 48)
            .and_then(|c| u64::try_from(c).ok())
            .ok_or(PlanError::TooLarge { addresses: addrs.addrs().len(), ports: ports.len() })?;
        Ok(Self { addrs, ports, seed, order: Order::new(cells, seed) })
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
    pub fn walk(self, shard: Shard) -> Walk {
        Walk { plan: self, shard }
    }
}

/// The i-th of n shards, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    index: u32,
    count: u32,
}

/// Why a shard's text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a shard; write i/n with i from 1 to n, such as 1/7")]
pub struct ShardError(String);

impl Shard {
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

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(s: &str) -> Result<Self, ShardError> {
        // No sign and no leading zero: one way to write each shard.
        let digits = |t: &str| {
            let plain = t.bytes().all(|b| b.is_ascii_digit()) && !t.starts_with('0');
            plain.then(|| t.parse::<u32>().ok()).flatten()
        };
        s.split_once('/')
            .and_then(|(i, n)| Self::new(digits(i)?, digits(n)?))
            .ok_or_else(|| ShardError(shown(s)))
    }
}

impl TryFrom<String> for Shard {
    type Error = ShardError;

    fn try_from(s: String) -> Result<Self, ShardError> {
        s.parse()
    }
}

impl From<Shard> for String {
    fn from(s: Shard) -> Self {
        s.to_string()
    }
}

/// One shard's cells in probing order, numbered `0..len` ("steps").
#[derive(Debug, Clone)]
pub struct Walk {
    plan: Plan,
    shard: Shard,
}

impl Walk {
    /// The plan behind it.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Which shard.
    #[must_use]
    pub const fn shard(&self) -> Shard {
        self.shard
    }

    /// Number of cells of this shard; 0 when there are more shards than cells.
    #[must_use]
    pub fn len(&self) -> u64 {
        let (i, n) = (u64::from(self.shard.index), u64::from(self.shard.count));
        (self.plan.cells() + n - i) / n
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
        let n = u64::from(self.shard.count);
        self.plan.endpoint(step.checked_mul(n)?.checked_add(u64::from(self.shard.index) - 1)?)
    }

    /// The step of (address, port), or `None` if it is not of this shard.
    #[must_use]
    #[inline]
    pub fn step_of(&self, ip: IpAddr, port: Port) -> Option<u64> {
        let position = self.plan.position_of(ip, port)?;
        let n = u64::from(self.shard.count);
        (position % n == u64::from(self.shard.index) - 1).then_some(position / n)
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
