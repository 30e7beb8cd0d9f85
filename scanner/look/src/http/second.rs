//! One HTTP/2 connection to one endpoint, for servers that speak nothing else. The same bounds as
//! for HTTP/1: head, body and time.

use std::pin::pin;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, StatusCode, Uri, Version};
use http_body_util::Empty;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use mimawari_probes::observation::TlsFacts;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::connection::{
    BODY_LIMIT, FaultKind, HEAD_LIMIT, HttpAnswer, HttpTimeouts, RequestTemplate, ResponseError,
    SiteRoute, open_stream, parse_total_length, read,
};
use super::tls::TlsFallback;

/// hyper's tasks run beside the worker, in its thread.
#[derive(Debug, Clone, Copy)]
struct SameThread;

impl<F> hyper::rt::Executor<F> for SameThread
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// An open connection. Dropping it closes the socket.
#[derive(Debug)]
pub(super) struct SecondConnection {
    sender: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
    route: SiteRoute,
    tls: Option<TlsFacts>,
    fallback: Option<TlsFallback>,
    spent: bool,
}

impl Drop for SecondConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl SecondConnection {
    /// Connects, shakes hands, and agrees on HTTP/2 by prior knowledge (RFC 9113, section 3.3).
    pub(super) async fn open(
        route: &SiteRoute,
        timeouts: &HttpTimeouts,
        hint: Option<TlsFallback>,
    ) -> Result<Self, ResponseError> {
        let (stream, tls, fallback) = open_stream(route, timeouts, hint).await?;
        let window = u32::try_from(BODY_LIMIT).unwrap_or(u32::MAX);
        let shaking = Builder::new(SameThread)
            .initial_stream_window_size(window)
            .initial_connection_window_size(window)
            .max_header_list_size(u32::try_from(HEAD_LIMIT).unwrap_or(u32::MAX))
            .handshake(TokioIo::new(stream));
        let refused =
            || ResponseError::new(FaultKind::Malformed, "the server does not speak HTTP/2");
        let shaken = timeout(timeouts.connect, shaking).await.map_err(|_| refused())?;
        let (sender, connection) = shaken.map_err(|_| refused())?;
        let driver = tokio::task::spawn_local(async move {
            // How it ended is seen by whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(Self { sender, driver, route: route.clone(), tls, fallback, spent: false })
    }

    pub(super) const fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_ref()
    }

    pub(super) const fn fallback(&self) -> Option<TlsFallback> {
        self.fallback
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.spent && !self.sender.is_closed()
    }

    /// One GET.
    pub(super) async fn get(
        &mut self,
        path: &str,
        template: &RequestTemplate,
        timeouts: &HttpTimeouts,
    ) -> Result<HttpAnswer, ResponseError> {
        let request = self.request(path, template)?;
        self.spent = true;
        let head = timeout(timeouts.head, self.sender.send_request(request)).await;
        let response = match head {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => {
                return Err(ResponseError::new(FaultKind::Lost, "the HTTP/2 stream was ended"));
            }
            Err(_) => {
                let reason = format!("no response head within {:?}", timeouts.head);
                return Err(ResponseError::new(FaultKind::Timeout, reason));
            }
        };
        let (parts, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        let done = {
            let reading = pin!(read(&mut body, &mut bytes, BODY_LIMIT));
            timeout_at(Instant::now() + timeouts.body, reading).await
        };
        let (cut, cut_short) = match done {
            Ok(Ok(cut)) => (cut, None),
            Ok(Err(_)) => {
                (true, Some(ResponseError::new(FaultKind::Lost, "the HTTP/2 stream was ended")))
            }
            Err(_) => {
                let reason = format!("the body did not end within {:?}", timeouts.body);
                (true, Some(ResponseError::new(FaultKind::Timeout, reason)))
            }
        };
        if let Some(fault) = &cut_short
            && bytes.is_empty()
        {
            return Err(fault.clone());
        }
        // A stream that is dropped is reset, and costs the connection nothing.
        self.spent = false;
        let total = parse_total_length(&parts.headers);
        let truncated = cut
            || (parts.status == StatusCode::PARTIAL_CONTENT
                && total.is_none_or(|n| n > bytes.len() as u64));
        Ok(HttpAnswer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: bytes,
            truncated,
            cut_short,
            total,
            malformed: false,
        })
    }

    /// The authority stands in the URI, not in a field (RFC 9113, section 8.3.1).
    fn request(
        &self,
        path: &str,
        template: &RequestTemplate,
    ) -> Result<Request<Empty<Bytes>>, ResponseError> {
        let mut request = template.request(path)?;
        let host = request.headers_mut().remove(HOST);
        let invalid = || ResponseError::new(FaultKind::Request, "not a valid request");
        let authority = host.as_ref().map(HeaderValue::as_bytes).ok_or_else(invalid)?;
        let uri = Uri::builder()
            .scheme(self.route.scheme.as_str())
            .authority(authority)
            .path_and_query(path)
            .build()
            .map_err(|_| invalid())?;
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_2;
        Ok(request)
    }
}
