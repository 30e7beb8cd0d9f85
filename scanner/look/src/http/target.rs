//! One site in work: how it is asked, and what it has borne so far.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use mimawari_probes::observation::{ContentOutcome, UrlScheme};
use mimawari_targets::Endpoint;
use tokio::time::Instant;

use super::connection::{RequestTemplate, ResponseError, SiteRoute};
use super::redirect::RedirectOrigin;
use super::{HttpConfig, tempo};

/// After so many paths in a row that were put off, the site counts as closed for now.
const PUT_OFF_LIMIT: u32 = 5;

/// So many requests are made once more without a `Range` in vain, until the `Range` is not doubted
/// any more.
const RANGE_DOUBTS: u32 = 3;

/// So many places of the site's own redirects are remembered.
const PLACES: usize = 16;

/// Why a path has no answer that its check could judge.
#[derive(Debug, Clone)]
pub(super) struct SiteEnding {
    pub(super) outcome: ContentOutcome,
    pub(super) reason: String,
}

/// The target in work.
pub(super) struct SiteTarget {
    pub(super) host: Option<String>,
    /// The same as a URL has it.
    pub(super) origin: RedirectOrigin,
    pub(super) route: SiteRoute,
    pub(super) template: Result<RequestTemplate, ResponseError>,
    pub(super) deadline: Instant,
    pub(super) tempo: tempo::SiteRate,
    pub(super) ceiling: tempo::RequestCeiling,
    pub(super) answered: bool,
    /// One try for each path, and one path: names before this one had no answer either.
    pub(super) brief: bool,
    /// The longest that an answer took.
    pub(super) slowest: Duration,
    /// The last fault was a timeout that came before its time.
    pub(super) hurried: bool,
    /// The last fault was that nothing came in time.
    pub(super) late: bool,
    /// Paths in a row without an answer.
    pub(super) silent: u32,
    /// Paths in a row that the server put off.
    put_off: u32,
    /// TLS handshakes in a row that failed.
    pub(super) refused: u32,
    pub(super) gone: Option<SiteEnding>,
    range_doubts: u32,
    /// Where redirects led, by hashes: the place, and the path that it was for.
    places: VecDeque<(u64, u64)>,
    hashes: RandomState,
}

impl SiteTarget {
    pub(super) fn new(
        host: Option<String>,
        endpoint: Endpoint,
        scheme: UrlScheme,
        config: &HttpConfig,
    ) -> Self {
        let sni = host.clone().filter(|_| scheme == UrlScheme::Https);
        let field = format_host_header(host.as_deref(), endpoint, scheme);
        Self {
            origin: RedirectOrigin::of(
                scheme,
                host.as_deref(),
                endpoint.ip(),
                endpoint.port().get(),
            ),
            route: SiteRoute { endpoint, scheme, sni, uplink: config.uplink.clone() },
            template: RequestTemplate::new(&field, &config.user_agent),
            deadline: Instant::now() + config.per_target_time,
            tempo: tempo::SiteRate::new(config.longest_pause),
            ceiling: tempo::RequestCeiling::new(config.rate_per_site),
            answered: false,
            brief: false,
            slowest: Duration::ZERO,
            hurried: false,
            late: false,
            silent: 0,
            put_off: 0,
            refused: 0,
            gone: None,
            range_doubts: 0,
            places: VecDeque::new(),
            hashes: RandomState::new(),
            host,
        }
    }

    /// Counts paths that were put off to the last, and gives up on a site that does so with all.
    /// With one alone it may be a filter's way to say no.
    pub(super) fn putting_off(&mut self, status: u16) {
        self.put_off = if matches!(status, 429 | 503) { self.put_off + 1 } else { 0 };
        if self.put_off >= PUT_OFF_LIMIT {
            let reason =
                format!("{PUT_OFF_LIMIT} paths in a row were put off with status {status}");
            self.gone.get_or_insert(SiteEnding { outcome: ContentOutcome::Error, reason });
        }
    }

    /// Whether this answer may be one to our `Range`, and not to the path: many servers refuse one
    /// that is longer than the file, and some fail.
    pub(super) fn doubts_range(&self, status: u16) -> bool {
        let ranged = self.template.as_ref().is_ok_and(RequestTemplate::has_range);
        ranged
            && match status {
                416 => true,
                400 | 412 | 413 | 417 | 500 | 501 => self.range_doubts < RANGE_DOUBTS,
                _ => false,
            }
    }

    /// Takes what came of asking without a `Range`. Whether it is the better answer.
    pub(super) fn asked_without_range(&mut self, before: u16, after: u16) -> bool {
        if after == before || after == 429 || after == 503 {
            self.range_doubts += 1;
            return false;
        }
        if let Ok(template) = &mut self.template {
            template.drop_range();
        }
        true
    }

    /// Whether a redirect of another path led to this place before: then it is no answer to this
    /// path, but the same page for every one.
    pub(super) fn is_common_place(&mut self, place: &str, path: &str) -> bool {
        let (place, path) = (self.hashes.hash_one(place), self.hashes.hash_one(path));
        if let Some(known) = self.places.iter().find(|(p, _)| *p == place) {
            return known.1 != path;
        }
        if self.places.len() >= PLACES {
            self.places.pop_front();
        }
        self.places.push_back((place, path));
        false
    }
}

/// The `Host` field (RFC 9112, section 3.2): the port is left out when it is the scheme's own, as
/// browsers do; a few servers find no virtual host otherwise.
fn format_host_header(host: Option<&str>, endpoint: Endpoint, scheme: UrlScheme) -> String {
    let port = endpoint.port().get();
    match host {
        Some(host) if port == scheme.default_port() => host.to_owned(),
        Some(host) => format!("{host}:{port}"),
        None if port == scheme.default_port() && endpoint.ip().is_ipv4() => {
            endpoint.ip().to_string()
        }
        None if port == scheme.default_port() => format!("[{}]", endpoint.ip()),
        None => endpoint.socket_addr().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use mimawari_targets::{AddrRange, AddrSet, Port, Scope};

    use super::*;

    fn at(ip: &str, port: u16) -> Endpoint {
        let ranges = ["198.51.100.0/24", "2001:db8::/64"].map(|r| r.parse::<AddrRange>().unwrap());
        let scope = Scope::new(AddrSet::from_ranges(ranges), AddrSet::default(), "test");
        scope.endpoint(ip.parse().unwrap(), Port::new(port).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_range_is_doubted_until_it_is_cleared() {
        let config = HttpConfig::default();
        let mut target = SiteTarget::new(None, at("198.51.100.7", 80), UrlScheme::Http, &config);
        assert!(target.doubts_range(400) && target.doubts_range(416) && !target.doubts_range(404));
        for _ in 0..RANGE_DOUBTS {
            assert!(!target.asked_without_range(400, 400));
        }
        assert!(!target.doubts_range(400) && target.doubts_range(416));
        assert!(target.asked_without_range(416, 200));
        assert!(!target.doubts_range(416), "it is not sent any more");
    }

    #[tokio::test]
    async fn a_place_that_two_paths_lead_to_is_common() {
        let config = HttpConfig::default();
        let mut target = SiteTarget::new(None, at("198.51.100.7", 80), UrlScheme::Http, &config);
        assert!(!target.is_common_place("/login", "/.env"));
        assert!(!target.is_common_place("/login", "/.env"));
        assert!(!target.is_common_place("/public/a", "/a"));
        assert!(target.is_common_place("/login", "/a"));
    }

    #[test]
    fn host_fields() {
        let field = |host: Option<&str>, ip: &str, port: u16, scheme| {
            format_host_header(host, at(ip, port), scheme)
        };
        let (v4, v6, name) = ("198.51.100.7", "2001:db8::7", Some("shop.example.jp"));
        assert_eq!(field(name, v4, 80, UrlScheme::Http), "shop.example.jp");
        assert_eq!(field(name, v4, 443, UrlScheme::Https), "shop.example.jp");
        assert_eq!(field(name, v4, 80, UrlScheme::Https), "shop.example.jp:80");
        assert_eq!(field(name, v6, 8080, UrlScheme::Http), "shop.example.jp:8080");
        assert_eq!(field(None, v4, 80, UrlScheme::Http), "198.51.100.7");
        assert_eq!(field(None, v4, 8080, UrlScheme::Http), "198.51.100.7:8080");
        assert_eq!(field(None, v6, 443, UrlScheme::Https), "[2001:db8::7]");
        assert_eq!(field(None, v6, 8443, UrlScheme::Https), "[2001:db8::7]:8443");
    }
}
