//! Syslog in the format of RFC 5424: a message for each change and each run, over TLS (RFC 5425), TCP
//! (RFC 6587, with octet counts), UDP (RFC 5426) or a local socket. The text of a message is the JSON object
//! that the notifier `events` writes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_drift::verdict::Verdict;
use mimawari_probes::observation::Severity;
use mimawari_report::notify::{ChangeSelection, events};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram};
use tokio_rustls::TlsConnector;

use crate::client::SendError;
use crate::notifier::{
    DeliveryContext, DeliverySemantics, MessagePart, Notice, Notifier, NotifierKey, NotifierKind,
    NotifierSettings, SendFuture,
};
use crate::prepare::SecretReader;
use crate::table::TableReader;

/// Bytes of a datagram: what every receiver of RFC 5426 on this side of 64 KiB takes.
const MOST_DATAGRAM: usize = 60_000;
/// For everything together.
const PATIENCE: Duration = Duration::from_secs(15);
/// The facilities' words, by number.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

/// Its row.
pub static KIND: NotifierKind = NotifierKind {
    word: "syslog",
    keys: &[
        NotifierKey {
            name: "address",
            kind: "text",
            default: "`unix:///dev/log`",
            meaning: "`tls://HOST:PORT`, `tcp://HOST:PORT`, `udp://HOST:PORT` or `unix:///PATH`.",
        },
        NotifierKey {
            name: "plaintext",
            kind: "true or false",
            default: "false",
            meaning: "Allows `tcp://` and `udp://` to another machine: everybody on the way can read the findings.",
        },
        NotifierKey {
            name: "facility",
            kind: "text",
            default: "`local0`",
            meaning: "The facility: `user`, `daemon`, `local0` to `local7` and so on.",
        },
    ],
    delivery: DeliverySemantics {
        knows_ids: false,
        merges: false,
        is_figure: false,
        when_in_doubt: "its messages are sent again, each with its `key`; syslog acknowledges nothing, so what the network took counts as delivered",
    },
    read: |table| read(table),
};

#[derive(Debug, Clone)]
enum SyslogTarget {
    Tls(String),
    Tcp(String),
    Udp(String),
    Unix(PathBuf),
}

#[derive(Debug, Clone)]
struct SyslogNotifier {
    target: SyslogTarget,
    facility: usize,
}

fn read(table: &mut TableReader<'_>) -> Option<Arc<dyn NotifierSettings>> {
    let facility = table.choice("facility", &FACILITIES);
    let facility = FACILITIES.iter().position(|f| Some(*f) == facility).unwrap_or(16);
    let plaintext = table.flag("plaintext");
    let Some(address) = table.text("address") else {
        let target = SyslogTarget::Unix(PathBuf::from("/dev/log"));
        return Some(Arc::new(SyslogNotifier { target, facility }));
    };
    let Some((scheme, rest)) = address.get_ref().split_once("://") else {
        let help = "write such as `tls://logs.example.jp:6514` or `unix:///dev/log`";
        table.error(address.span(), "it is no address of a syslog receiver", help);
        return None;
    };
    let is_place = rest
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0));
    let is_loopback = rest.parse::<std::net::SocketAddr>().is_ok_and(|at| at.ip().is_loopback());
    if matches!(scheme, "tcp" | "udp") && is_place && !is_loopback && !plaintext {
        let help = "use `tls://`, or add `plaintext = true` if the way is trusted";
        table.error(address.span(), "everybody on the way could read the findings", help);
        return None;
    }
    let target = match scheme {
        "tls" if is_place => SyslogTarget::Tls(rest.to_owned()),
        "tcp" if is_place => SyslogTarget::Tcp(rest.to_owned()),
        "udp" if is_place => SyslogTarget::Udp(rest.to_owned()),
        "unix" if rest.starts_with('/') => SyslogTarget::Unix(PathBuf::from(rest)),
        _ => {
            let help = "write `tls://`, `tcp://` or `udp://` with HOST:PORT, or `unix:///PATH`";
            table.error(address.span(), "it is no address of a syslog receiver", help);
            return None;
        }
    };
    Some(Arc::new(SyslogNotifier { target, facility }))
}

impl NotifierSettings for SyslogNotifier {
    fn uses_tls(&self) -> bool {
        matches!(self.target, SyslogTarget::Tls(_))
    }

    fn prepare(&self, _secrets: &mut SecretReader<'_>) -> Result<Box<dyn Notifier>, Failure> {
        Ok(Box::new(self.clone()))
    }
}

impl Notifier for SyslogNotifier {
    /// The message of the run is there on quiet runs, too.
    fn is_due(&self, _v: &Verdict, _selection: &ChangeSelection) -> bool {
        true
    }

    fn render(&self, n: &Notice<'_>) -> Result<Vec<MessagePart>, SendError> {
        let lines = events::render_lines(n.verdict, n.selection, n.delay);
        Ok(vec![MessagePart::new(n.event, self.messages(&lines))])
    }

    fn render_test(&self, at: Timestamp) -> Option<MessagePart> {
        Some(MessagePart::new("test", self.messages(&events::build_test_event(at))))
    }

    fn deliver<'a>(
        &'a self,
        part: &'a MessagePart,
        _context: &'a DeliveryContext<'a>,
    ) -> SendFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let all: Vec<&str> =
                part.body.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let late = |_| SendError::in_doubt(format!("not sent within {} s", PATIENCE.as_secs()));
            tokio::time::timeout(PATIENCE, self.send(&all)).await.map_err(late)?
        })
    }
}

impl SyslogNotifier {
    /// Events as messages.
    fn messages(&self, lines: &str) -> Vec<String> {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host: String = host.chars().filter(char::is_ascii_graphic).take(255).collect();
        let host = if host.is_empty() { "-".to_owned() } else { host };
        let message = |line: &str| {
            let event: Value = serde_json::from_str(line).ok()?;
            Some(format_message(&event, line, self.facility, &host))
        };
        lines.lines().filter_map(message).collect()
    }

    async fn send(&self, messages: &[&str]) -> Result<(), SendError> {
        let no_way = |e: std::io::Error| SendError::certain(format!("no connection: {e}"));
        match &self.target {
            SyslogTarget::Unix(path) => {
                let socket = UnixDatagram::unbound().map_err(no_way)?;
                socket.connect(path).map_err(no_way)?;
                for m in messages {
                    socket.send(m.as_bytes()).await.map_err(no_way)?;
                }
                Ok(())
            }
            SyslogTarget::Udp(place) => {
                let to = tokio::net::lookup_host(place).await.map_err(no_way)?.next();
                let to = to.ok_or_else(|| SendError::certain("the name has no address"))?;
                let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any).await.map_err(no_way)?;
                socket.connect(to).await.map_err(no_way)?;
                for m in messages {
                    if m.len() > MOST_DATAGRAM {
                        return Err(SendError::refused("a message is longer than a datagram"));
                    }
                    socket.send(m.as_bytes()).await.map_err(no_way)?;
                }
                Ok(())
            }
            SyslogTarget::Tcp(place) => {
                let stream = TcpStream::connect(place).await.map_err(no_way)?;
                send_framed(stream, messages).await
            }
            SyslogTarget::Tls(place) => {
                let stream = TcpStream::connect(place).await.map_err(no_way)?;
                let host = place.rsplit_once(':').map_or("", |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let name = ServerName::try_from(host)
                    .map_err(|_| SendError::certain("the host has no name that TLS takes"))?;
                let tls = build_tls_connector().map_err(SendError::certain)?;
                let stream = tls.connect(name, stream).await.map_err(no_way)?;
                send_framed(stream, messages).await
            }
        }
    }
}

/// Messages with their lengths, and the end of the stream: a receiver that closed before shows it there.
async fn send_framed(
    mut stream: impl AsyncWrite + Unpin,
    messages: &[&str],
) -> Result<(), SendError> {
    let lost = |e: std::io::Error| SendError::in_doubt(format!("the connection broke off: {e}"));
    for m in messages {
        stream.write_all(format!("{} {m}", m.len()).as_bytes()).await.map_err(lost)?;
    }
    stream.flush().await.map_err(lost)?;
    stream.shutdown().await.map_err(lost)
}

fn build_tls_connector() -> Result<TlsConnector, String> {
    mimawari_base::crypto::provide();
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err("the system has no root certificates".to_owned());
    }
    let config =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A message by RFC 5424, section 6. Without a number of one's own from IANA there is no structured data.
fn format_message(event: &Value, line: &str, facility: usize, host: &str) -> String {
    let severity = event["severity"].as_str().and_then(Severity::parse);
    let is_alarm = event["alarm"].as_bool().unwrap_or(false);
    let severity = match severity.filter(|_| is_alarm) {
        Some(Severity::Critical) => 2,
        Some(Severity::High) => 3,
        Some(Severity::Medium) => 4,
        Some(Severity::Low) => 5,
        _ => 6,
    };
    let at: Timestamp =
        event["timestamp"].as_str().and_then(|t| t.parse().ok()).unwrap_or_default();
    let id = event["event"].as_str().unwrap_or("-");
    format!(
        "<{}>1 {at:.3} {host} mimawari {} {id} - \u{feff}{line}",
        facility * 8 + severity,
        std::process::id()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_form_of_the_standard() {
        let line = r#"{"timestamp":"2026-08-01T01:01:12Z","event":"change","alarm":true,"severity":"critical"}"#;
        let event = serde_json::from_str(line).unwrap();
        let message = format_message(&event, line, 16, "scanner-1");
        let (head, text) = message.split_once('\u{feff}').unwrap();
        let words: Vec<&str> = head.trim_end().split(' ').collect();
        assert_eq!((words[0], words[1]), ("<130>1", "2026-08-01T01:01:12.000Z"));
        assert_eq!(
            (words[2], words[3], words[5], words[6]),
            ("scanner-1", "mimawari", "change", "-")
        );
        assert_eq!(text, line);
    }
}
