//! Why a handshake failed, in words of our own choice, and what that calls for.

use std::io;
use std::time::Duration;

use rustls::{AlertDescription, InvalidMessage};

use crate::http::connection::{FaultKind, ResponseError};

/// A handshake that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct TlsRefusal {
    /// What kind of failure.
    pub kind: RefusalKind,
    /// The peer proved that it speaks TLS: by an alert, or by a version that is not spoken here.
    pub spoke_tls: bool,
    /// In words, without anything that the server sent.
    pub reason: String,
    /// Whether another fallback of the chain could do better.
    fixable: bool,
    /// The server wants a protocol to be offered (RFC 7301).
    wants_protocol: bool,
}

/// Kinds of failed handshakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// Nothing is served under this name, or without one.
    NoSite,
    /// Refused, broken off, or not TLS.
    Failed,
    /// Not finished in time.
    Late,
}

impl From<TlsRefusal> for ResponseError {
    fn from(refusal: TlsRefusal) -> Self {
        let kind = match refusal.kind {
            RefusalKind::NoSite => FaultKind::NoSite,
            RefusalKind::Failed => FaultKind::Tls,
            RefusalKind::Late => FaultKind::Late,
        };
        Self::new(kind, refusal.reason)
    }
}

impl TlsRefusal {
    pub(super) const fn wants_protocol(&self) -> bool {
        self.wants_protocol
    }

    pub(super) const fn is_fixable(&self) -> bool {
        self.fixable
    }

    pub(super) fn late(limit: Duration) -> Self {
        Self {
            kind: RefusalKind::Late,
            spoke_tls: false,
            reason: format!("no TLS handshake within {limit:?}"),
            fixable: false,
            wants_protocol: false,
        }
    }

    pub(super) fn failed(words: &str, spoke_tls: bool, fixable: bool) -> Self {
        let reason = format!("TLS handshake failed: {words}");
        Self { kind: RefusalKind::Failed, spoke_tls, reason, fixable, wants_protocol: false }
    }

    /// A fatal alert from the peer. `named` says whether a server name was sent.
    pub(super) fn alert(alert: AlertDescription, named: bool) -> Self {
        let no_site = match alert {
            AlertDescription::UnrecognisedName => true,
            // What servers without a default certificate say to a hello without a name: Windows and
            // Caddy among them.
            AlertDescription::AccessDenied | AlertDescription::InternalError => !named,
            _ => false,
        };
        if no_site {
            let what = if named { "under this name" } else { "without a name" };
            return Self {
                kind: RefusalKind::NoSite,
                spoke_tls: true,
                reason: format!("no site {what}: TLS alert {alert:?}"),
                // An old server may say the same to a hello that it cannot read.
                fixable: alert == AlertDescription::InternalError,
                wants_protocol: false,
            };
        }
        let failed = Self::failed(&format!("alert {alert:?}"), true, is_fixable_alert(alert));
        Self { wants_protocol: alert == AlertDescription::NoApplicationProtocol, ..failed }
    }

    /// What rustls says.
    pub(super) fn modern(error: &io::Error, named: bool) -> Self {
        let Some(tls) = downcast_rustls_error(error) else {
            return Self::failed(&describe_tls_error(error), false, is_cut(error.kind()));
        };
        match tls {
            rustls::Error::AlertReceived(alert) => Self::alert(*alert, named),
            // Not even a record of TLS.
            rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::InvalidEmptyPayload
                | InvalidMessage::MessageTooLarge,
            ) => Self::failed(&describe_tls_error(error), false, false),
            _ => {
                let spoke = matches!(tls, rustls::Error::PeerIncompatible(_));
                Self::failed(&describe_tls_error(error), spoke, true)
            }
        }
    }

    /// What OpenSSL says. Its codes for alerts are 1000 and the alert's number.
    pub(super) fn legacy(error: &openssl::ssl::Error, named: bool) -> Self {
        if let Some(alert) = extract_openssl_alert(error) {
            return Self::alert(alert, named);
        }
        let cut = match error.io_error() {
            Some(io) => is_cut(io.kind()),
            None => error.ssl_error().is_none(),
        };
        Self::failed(&describe_openssl_error(error), false, cut)
    }

    /// The verdict after the first fallback and the last: the last one decides, and the first one's words
    /// stay, since they show what a current client meets.
    pub(super) fn then(self, last: Self) -> Self {
        let spoke_tls = self.spoke_tls || last.spoke_tls;
        if last.kind == RefusalKind::NoSite {
            return last;
        }
        let reason = if last.reason == self.reason {
            self.reason
        } else {
            format!("{}; asked the old way: {}", self.reason, last.reason)
        };
        let (fixable, wants_protocol) = (last.fixable, last.wants_protocol);
        Self { kind: last.kind, spoke_tls, reason, fixable, wants_protocol }
    }
}

/// Alerts by which servers answer a version, cipher, signature, extension or size that they cannot
/// deal with.
const fn is_fixable_alert(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CloseNotify
            | AlertDescription::UnexpectedMessage
            | AlertDescription::BadRecordMac
            | AlertDescription::DecryptionFailed
            | AlertDescription::RecordOverflow
            | AlertDescription::HandshakeFailure
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::IllegalParameter
            | AlertDescription::AccessDenied
            | AlertDescription::DecodeError
            | AlertDescription::DecryptError
            | AlertDescription::ExportRestriction
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity
            | AlertDescription::InternalError
            | AlertDescription::MissingExtension
            | AlertDescription::UnsupportedExtension
            | AlertDescription::Unknown(_)
    )
}

/// Old servers close or reset at a hello that they cannot read.
const fn is_cut(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

/// Whether the error is of either TLS stack, and not of the socket below.
pub(crate) fn is_tls_error(error: &io::Error) -> bool {
    downcast_rustls_error(error).is_some() || downcast_openssl_error(error).is_some()
}

fn downcast_rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>())
}

fn downcast_openssl_error(error: &io::Error) -> Option<&openssl::ssl::Error> {
    error.get_ref().and_then(|e| e.downcast_ref::<openssl::ssl::Error>())
}

fn extract_openssl_alert(error: &openssl::ssl::Error) -> Option<AlertDescription> {
    let codes = error.ssl_error()?.errors().iter().map(openssl::error::Error::reason_code);
    codes.filter_map(|c| u8::try_from(c.checked_sub(1000)?).ok()).next().map(Into::into)
}

fn describe_openssl_error(error: &openssl::ssl::Error) -> String {
    if let Some(alert) = extract_openssl_alert(error) {
        return format!("alert {alert:?}");
    }
    if let Some(io) = error.io_error() {
        return describe_tls_error(io);
    }
    // From the tables of OpenSSL, not from the peer.
    let reason = error.ssl_error().and_then(|stack| stack.errors().iter().find_map(|e| e.reason()));
    reason.map_or_else(|| "connection closed".to_owned(), str::to_owned)
}

/// An error in words of our own choice: what a server chose (a certificate's name, say) stays out.
pub(crate) fn describe_tls_error(error: &io::Error) -> String {
    if let Some(tls) = downcast_rustls_error(error) {
        return match tls {
            rustls::Error::AlertReceived(alert) => format!("alert {alert:?}"),
            rustls::Error::PeerIncompatible(_) => {
                "no TLS version or cipher suite in common".to_owned()
            }
            rustls::Error::InvalidMessage(_) => "the peer does not speak TLS".to_owned(),
            rustls::Error::PeerMisbehaved(_) => "the peer breaks the protocol".to_owned(),
            _ => "TLS error".to_owned(),
        };
    }
    if let Some(tls) = downcast_openssl_error(error) {
        return describe_openssl_error(tls);
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            "connection aborted".to_owned()
        }
        io::ErrorKind::UnexpectedEof => "connection closed".to_owned(),
        io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modern(error: rustls::Error) -> TlsRefusal {
        TlsRefusal::modern(&io::Error::new(io::ErrorKind::InvalidData, error), true)
    }

    #[test]
    fn what_leads_to_the_next_rung() {
        use AlertDescription as A;
        for alert in [A::HandshakeFailure, A::ProtocolVersion, A::InsufficientSecurity] {
            let refusal = TlsRefusal::alert(alert, true);
            assert!(refusal.is_fixable() && refusal.spoke_tls, "{alert:?}");
            assert_eq!(refusal.kind, RefusalKind::Failed, "{alert:?}");
        }
        for alert in [A::UserCanceled, A::CertificateRequired, A::NoApplicationProtocol] {
            assert!(!TlsRefusal::alert(alert, true).is_fixable(), "{alert:?}");
        }
        for named in [true, false] {
            let unknown = TlsRefusal::alert(A::UnrecognisedName, named);
            assert_eq!((unknown.kind, unknown.is_fixable()), (RefusalKind::NoSite, false));
        }
        let caddy = TlsRefusal::alert(A::InternalError, false);
        assert_eq!((caddy.kind, caddy.is_fixable()), (RefusalKind::NoSite, true));
        assert_eq!(TlsRefusal::alert(A::InternalError, true).kind, RefusalKind::Failed);
        assert_eq!(caddy.clone().then(caddy.clone()).kind, RefusalKind::NoSite);
        assert_eq!(caddy.then(TlsRefusal::failed("reset", false, true)).kind, RefusalKind::Failed);
        assert_eq!(TlsRefusal::alert(A::AccessDenied, true).kind, RefusalKind::Failed);
        assert_eq!(TlsRefusal::alert(A::AccessDenied, false).kind, RefusalKind::NoSite);

        let foreign = modern(InvalidMessage::InvalidContentType.into());
        assert!(!foreign.is_fixable() && !foreign.spoke_tls);
        let old = modern(rustls::PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into());
        assert!(old.is_fixable() && old.spoke_tls);

        for kind in [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset] {
            assert!(TlsRefusal::modern(&kind.into(), true).is_fixable(), "{kind:?}");
        }
        for kind in [io::ErrorKind::TimedOut, io::ErrorKind::HostUnreachable] {
            assert!(!TlsRefusal::modern(&kind.into(), true).is_fixable(), "{kind:?}");
        }
        assert!(!TlsRefusal::late(Duration::from_secs(1)).is_fixable());
    }

    #[test]
    fn the_last_rung_decides_and_the_first_ones_words_stay() {
        let first = TlsRefusal::alert(AlertDescription::ProtocolVersion, true);
        let both = first.clone().then(TlsRefusal::failed("connection closed", false, true));
        assert!(both.spoke_tls);
        assert_eq!(
            both.reason,
            "TLS handshake failed: alert ProtocolVersion; asked the old way: \
             TLS handshake failed: connection closed"
        );
        assert_eq!(first.clone().then(first.clone()), first);
        let none = first.then(TlsRefusal::alert(AlertDescription::UnrecognisedName, true));
        assert_eq!(none.kind, RefusalKind::NoSite);
        assert_eq!(ResponseError::from(none).kind, FaultKind::NoSite);
    }
}
