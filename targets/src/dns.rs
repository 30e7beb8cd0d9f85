//! Host names to addresses, and only to addresses of the scope.
//!
//! The one place of this crate that touches the network, through the [`NameResolver`] it is given.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use crate::Scope;
use crate::list::HostName;
use crate::text::to_message_text;

/// How many names are looked up at a time, each for both families. [`SystemResolver`] is made for
/// no more.
pub const NAMES_AT_ONCE: usize = 32;

/// How many queries one connection to a name server may have open: all there can be, twice over
/// for retries. Past it a query waits a few times for some milliseconds, and then fails as "busy".
const ACTIVE_REQUESTS: usize = 4 * NAMES_AT_ONCE;

/// How long one query waits for its answer.
const QUERY_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a query is sent again when no answer came.
const RETRIES: usize = 2;

/// How long the look-up of one name and family may take, with every retry and every server.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);

/// How many addresses of one name and family are taken. A name with more is not a host.
const MAX_ADDRESSES: usize = 256;

/// An address family, as a DNS record type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressFamily {
    /// IPv4: A records (RFC 1035, section 3.4.1).
    V4,
    /// IPv6: AAAA records (RFC 3596).
    V6,
}

impl fmt::Display for AddressFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "A",
            Self::V6 => "AAAA",
        })
    }
}

/// Why a look-up brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The name does not exist (NXDOMAIN, RFC 2308 section 2.1).
    #[error("no such name")]
    NoSuchName,
    /// No answer in time.
    #[error("no answer from the name server in time")]
    Timeout,
    /// The name server's error, or a failure on the way to it.
    #[error("{0}")]
    Server(String),
    /// More addresses than a host has.
    #[error("more than {MAX_ADDRESSES} addresses")]
    TooMany,
    /// The system's resolver configuration cannot be used.
    #[error("the system's resolver configuration cannot be used: {0}")]
    Configuration(String),
}

/// Looks names up. Implemented by [`SystemResolver`], and by tests.
pub trait NameResolver: Sync {
    /// The addresses of one family. A name that exists without an address of the family is an
    /// empty list, not an error. The name is absolute: no search list applies.
    fn lookup<'a>(
        &'a self,
        name: &'a HostName,
        family: AddressFamily,
    ) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>>;
}

/// The real resolver.
pub struct SystemResolver {
    resolver: TokioResolver,
}

impl fmt::Debug for SystemResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemResolver").finish_non_exhaustive()
    }
}

impl SystemResolver {
    /// The name servers of the system's configuration, and its hosts file.
    ///
    /// # Errors
    /// [`ResolveError::Configuration`] when it is missing or names no server.
    pub fn from_system() -> Result<Self, ResolveError> {
        let (config, options) =
            hickory_resolver::system_conf::read_system_conf().map_err(to_configuration_error)?;
        // The system's search list is left behind with the rest of `config`: a name must not mean
        // another host because of where the scan runs.
        let (_, _, servers) = config.into_parts();
        Self::build(servers, options)
    }

    /// The given name servers instead of the system's, asked over UDP and, for long answers, TCP.
    /// The hosts file is not read.
    ///
    /// # Errors
    /// [`ResolveError::Configuration`] when the list is empty.
    pub fn with_nameservers(servers: &[SocketAddr]) -> Result<Self, ResolveError> {
        if servers.is_empty() {
            return Err(ResolveError::Configuration("no name server".to_owned()));
        }
        let servers = servers.iter().map(|server| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut c| {
                c.port = server.port();
                c
            });
            NameServerConfig::new(server.ip(), true, connections.into())
        });
        let mut options = ResolverOpts::default();
        options.use_hosts_file = ResolveHosts::Never;
        Self::build(servers.collect(), options)
    }

    fn build(
        servers: Vec<NameServerConfig>,
        mut options: ResolverOpts,
    ) -> Result<Self, ResolveError> {
        options.timeout = QUERY_TIMEOUT;
        options.attempts = RETRIES;
        options.max_active_requests = ACTIVE_REQUESTS;
        let resolver = TokioResolver::builder_with_config(
            ResolverConfig::from_name_servers(servers),
            TokioRuntimeProvider::default(),
        )
        .with_options(options)
        .build()
        .map_err(to_configuration_error)?;
        Ok(Self { resolver })
    }
}

fn to_configuration_error(e: impl fmt::Display) -> ResolveError {
    ResolveError::Configuration(to_message_text(&e.to_string()))
}

impl NameResolver for SystemResolver {
    fn lookup<'a>(
        &'a self,
        name: &'a HostName,
        family: AddressFamily,
    ) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async move {
            let mut query = Name::from_ascii(name.as_str())
                .map_err(|e| ResolveError::Server(to_message_text(&e.to_string())))?;
            query.set_fqdn(true);
            let record_type = match family {
                AddressFamily::V4 => RecordType::A,
                AddressFamily::V6 => RecordType::AAAA,
            };
            match self.resolver.lookup(query, record_type).await {
                // The answers also hold the aliases (CNAME) on the way.
                Ok(answer) => Ok(answer
                    .answers()
                    .iter()
                    .filter_map(|record| match &record.data {
                        RData::A(a) => Some(IpAddr::V4(a.0)),
                        RData::AAAA(a) => Some(IpAddr::V6(a.0)),
                        _ => None,
                    })
                    .collect()),
                Err(e) if e.is_nx_domain() => Err(ResolveError::NoSuchName),
                Err(e) if e.is_no_records_found() => Ok(Vec::new()),
                Err(NetError::Timeout) => Err(ResolveError::Timeout),
                Err(NetError::Dns(DnsError::ResponseCode(code))) => {
                    Err(ResolveError::Server(format!("the name server says: {code}")))
                }
                Err(e) => Err(ResolveError::Server(to_message_text(&e.to_string()))),
            }
        })
    }
}

/// What became of a list of names, in the order of the list, addresses in ascending order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameResolution {
    /// Addresses in the scope.
    pub inside: Vec<(HostName, IpAddr)>,
    /// Addresses outside the scope: refused, no packet goes there.
    pub outside: Vec<(HostName, IpAddr)>,
    /// Names without any address, and families that could not be looked up: such a name may stand
    /// in `inside` too, with the addresses of the other family.
    pub failed: Vec<(HostName, String)>,
}

/// Looks up the names for both families, a bounded number at a time. One name's failure is no
/// other name's. IPv4-mapped answers are outside any scope.
pub async fn resolve_names<R: NameResolver + ?Sized>(
    names: &[HostName],
    resolver: &R,
    scope: &Scope,
) -> NameResolution {
    let mut answers = stream::iter(names)
        .map(|name| async move {
            let (v4, v6) = futures_util::join!(
                lookup(resolver, name, AddressFamily::V4),
                lookup(resolver, name, AddressFamily::V6)
            );
            (name, v4, v6)
        })
        // Ordered, so that the same list makes the same messages.
        .buffered(NAMES_AT_ONCE);
    let mut resolution = NameResolution::default();
    while let Some((name, v4, v6)) = answers.next().await {
        let mut addrs = BTreeSet::new();
        let mut errors: Vec<(AddressFamily, ResolveError)> = Vec::new();
        for (family, answer) in [(AddressFamily::V4, v4), (AddressFamily::V6, v6)] {
            match answer {
                Ok(found) => addrs.extend(found),
                Err(e) => errors.push((family, e)),
            }
        }
        let why = match errors.as_slice() {
            [] if addrs.is_empty() => Some("it has no address".to_owned()),
            // NXDOMAIN holds for the name, whatever the type (RFC 8020). Beside an address of the
            // other family it is the mistake of a name server, and nothing is missed.
            [(_, ResolveError::NoSuchName)] if !addrs.is_empty() => None,
            [(_, a), (_, b)] if a == b => Some(a.to_string()),
            [] => None,
            some => {
                let some: Vec<String> = some.iter().map(|(f, e)| format!("{f}: {e}")).collect();
                Some(some.join("; "))
            }
        };
        if let Some(why) = why {
            resolution.failed.push((name.clone(), why));
        }
        for ip in addrs {
            let list =
                if scope.allows(ip) { &mut resolution.inside } else { &mut resolution.outside };
            list.push((name.clone(), ip));
        }
    }
    resolution
}

/// One look-up, bounded in time and size (256 addresses), with nothing but addresses of the family
/// in its answer.
///
/// # Errors
/// As the resolver says; [`ResolveError::Timeout`] after 30 s.
pub async fn lookup<R: NameResolver + ?Sized>(
    resolver: &R,
    name: &HostName,
    family: AddressFamily,
) -> Result<Vec<IpAddr>, ResolveError> {
    let answer = tokio::time::timeout(LOOKUP_TIMEOUT, resolver.lookup(name, family)).await;
    let mut addrs = answer.unwrap_or(Err(ResolveError::Timeout))?;
    addrs.retain(|ip| ip.is_ipv4() == (family == AddressFamily::V4));
    if addrs.len() > MAX_ADDRESSES {
        return Err(ResolveError::TooMany);
    }
    Ok(addrs)
}
