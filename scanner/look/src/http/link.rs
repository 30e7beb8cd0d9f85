//! A connection of either version of HTTP.

use mimawari_probes::observation::TlsFacts;

use super::connection::{
    HttpAnswer, HttpConnection, HttpTimeouts, RequestTemplate, ResponseError, SiteRoute,
};
use super::second::SecondConnection;
use super::tls::TlsFallback;

/// Which version a lane speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HttpDialect {
    /// HTTP/1, as nearly everybody does.
    First,
    /// HTTP/1 did not work and HTTP/2 did not either.
    FirstForSure,
    /// HTTP/2 alone.
    Second,
}

/// An open connection.
#[derive(Debug)]
pub(super) enum HttpLink {
    First(Box<HttpConnection>),
    Second(Box<SecondConnection>),
}

impl HttpLink {
    pub(super) async fn open(
        route: &SiteRoute,
        timeouts: &HttpTimeouts,
        hint: Option<TlsFallback>,
        dialect: HttpDialect,
    ) -> Result<Self, ResponseError> {
        Ok(match dialect {
            HttpDialect::Second => {
                Self::Second(Box::new(SecondConnection::open(route, timeouts, hint).await?))
            }
            _ => Self::First(Box::new(HttpConnection::open(route, timeouts, hint).await?)),
        })
    }

    pub(super) fn is_usable(&self) -> bool {
        match self {
            Self::First(c) => c.is_usable(),
            Self::Second(c) => c.is_usable(),
        }
    }

    /// How many heads it has brought; of HTTP/2, enough to be sure of the version.
    pub(super) fn responses(&self) -> u32 {
        match self {
            Self::First(c) => c.responses(),
            Self::Second(_) => 1,
        }
    }

    pub(super) fn tls(&self) -> Option<&TlsFacts> {
        match self {
            Self::First(c) => c.tls(),
            Self::Second(c) => c.tls(),
        }
    }

    pub(super) fn fallback(&self) -> Option<TlsFallback> {
        match self {
            Self::First(c) => c.fallback(),
            Self::Second(c) => c.fallback(),
        }
    }

    pub(super) async fn get(
        &mut self,
        path: &str,
        template: &RequestTemplate,
        timeouts: &HttpTimeouts,
    ) -> Result<HttpAnswer, ResponseError> {
        match self {
            Self::First(c) => c.get(path, template, timeouts).await,
            Self::Second(c) => c.get(path, template, timeouts).await,
        }
    }
}
