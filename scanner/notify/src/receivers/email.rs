//! E-mail over SMTP (RFC 5321), with STARTTLS or TLS.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use mimawari_base::failure::Failure;
use mimawari_report::notify::plain;
use serde_json::json;

use crate::client::SendError;
use crate::notifier::{
    DeliveryContext, DeliverySemantics, MessagePart, Notice, Notifier, NotifierKey, NotifierKind,
    NotifierSettings, SendFuture,
};
use crate::prepare::SecretReader;
use crate::secret::SecretText;
use crate::table::TableReader;

/// Its row.
pub static KIND: NotifierKind = NotifierKind {
    word: "email",
    keys: &[
        NotifierKey {
            name: "server",
            kind: "text",
            default: "required",
            meaning: "The mail server, `HOST` or `HOST:PORT`.",
        },
        NotifierKey {
            name: "tls",
            kind: "text",
            default: "`starttls`",
            meaning: "`starttls` (port 587), `tls` (port 465), or `none` (port 25; a loopback address alone). STARTTLS is required: without it nothing is sent.",
        },
        NotifierKey { name: "from", kind: "text", default: "required", meaning: "The sender." },
        NotifierKey {
            name: "to",
            kind: "list of texts",
            default: "required",
            meaning: "The recipients.",
        },
        NotifierKey {
            name: "username_env",
            kind: "text",
            default: "–",
            meaning: "The environment variable with the user of the mail server.",
        },
        NotifierKey {
            name: "password_env",
            kind: "text",
            default: "–",
            meaning: "The environment variable with the password.",
        },
    ],
    delivery: DeliverySemantics {
        knows_ids: false,
        merges: true,
        is_figure: false,
        when_in_doubt: "it is sent again under the same `Message-ID`, by which many mailboxes drop a second copy",
    },
    read: |table| read(table),
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MailSecurity {
    StartTls,
    Tls,
    None,
}

#[derive(Debug)]
struct EmailSettings {
    host: String,
    port: u16,
    security: MailSecurity,
    from: Mailbox,
    to: Vec<Mailbox>,
    login: Option<(String, String)>,
}

fn read(table: &mut TableReader<'_>) -> Option<Arc<dyn NotifierSettings>> {
    let security = match table.choice("tls", &["starttls", "tls", "none"]) {
        Some("tls") => MailSecurity::Tls,
        Some("none") => MailSecurity::None,
        _ => MailSecurity::StartTls,
    };
    let server = table.needed_text("server");
    let from = table.needed_text("from");
    let recipients = table.texts("to");
    let user = table.optional_variable("username_env");
    let password = table.optional_variable("password_env");
    let place = table.span("to").unwrap_or_else(|| table.place());
    if recipients.is_empty() {
        table.error(place.clone(), "a mail without recipients", "add `to = [\"team@example.jp\"]`");
    }
    let mut to = Vec::new();
    for text in &recipients {
        match text.parse() {
            Ok(mailbox) => to.push(mailbox),
            Err(_) => {
                let title = format!("`{}` is no mail address", text.escape_debug());
                table.error(place.clone(), title, "write such as `team@example.jp`");
            }
        }
    }
    let from = from.and_then(|text| {
        let parsed = text.get_ref().parse().ok();
        if parsed.is_none() {
            let title = format!("`{}` is no mail address", text.get_ref().escape_debug());
            table.error(text.span(), title, "write such as `mimawari@example.jp`");
        }
        parsed
    });
    let server = server?;
    let (host, port) = match server.get_ref().rsplit_once(':') {
        Some((host, port)) if !host.is_empty() => (host, port.parse().ok()),
        _ => (server.get_ref().as_str(), Some(get_default_port(security))),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let Some(port) = port.filter(|p| *p > 0) else {
        table.error(server.span(), "it is no HOST:PORT", "write such as `smtp.example.jp:587`");
        return None;
    };
    if security == MailSecurity::None && !is_loopback {
        let help = "use `starttls` or `tls`; `none` is for loopback addresses alone";
        table.error(server.span(), "everybody on the way could read the findings", help);
    }
    let login = match (user, password) {
        (Some(user), Some(password)) => Some((user, password)),
        (None, None) => None,
        _ => {
            let help = "name both, or neither";
            table.error(table.place(), "`username_env` and `password_env` belong together", help);
            None
        }
    };
    Some(Arc::new(EmailSettings { host, port, security, from: from?, to, login }))
}

const fn get_default_port(security: MailSecurity) -> u16 {
    match security {
        MailSecurity::StartTls => 587,
        MailSecurity::Tls => 465,
        MailSecurity::None => 25,
    }
}

impl NotifierSettings for EmailSettings {
    fn variables(&self) -> Vec<&str> {
        self.login.iter().flat_map(|(user, password)| [user.as_str(), password]).collect()
    }

    fn uses_tls(&self) -> bool {
        self.security != MailSecurity::None
    }

    fn prepare(&self, secrets: &mut SecretReader<'_>) -> Result<Box<dyn Notifier>, Failure> {
        let login = match &self.login {
            None => None,
            Some((user, password)) => Some((secrets.secret(user)?, secrets.secret(password)?)),
        };
        Ok(Box::new(EmailNotifier {
            host: self.host.clone(),
            port: self.port,
            security: self.security,
            from: self.from.clone(),
            to: self.to.clone(),
            login,
        }))
    }
}

#[derive(Debug)]
struct EmailNotifier {
    host: String,
    port: u16,
    security: MailSecurity,
    from: Mailbox,
    to: Vec<Mailbox>,
    login: Option<(SecretText, SecretText)>,
}

impl Notifier for EmailNotifier {
    fn render(&self, n: &Notice<'_>) -> Result<Vec<MessagePart>, SendError> {
        let body = json!({
            "subject": plain::to_single_line(&plain::format_headline(n.verdict, n.selection), 200),
            "text": plain::render_text(n.verdict, n.selection, n.delay),
        });
        Ok(vec![MessagePart::new(n.event, body)])
    }

    fn render_test(&self, at: Timestamp) -> Option<MessagePart> {
        let body = json!({
            "subject": "Test message of mimawari",
            "text": "Nothing was scanned and nothing found.\n",
        });
        Some(MessagePart::new(format!("test-{}", at.as_millisecond()), body))
    }

    fn deliver<'a>(
        &'a self,
        part: &'a MessagePart,
        context: &'a DeliveryContext<'a>,
    ) -> SendFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let message = self.message(part)?;
            let left = context.deadline.saturating_duration_since(tokio::time::Instant::now());
            let transport = self.transport(context.policy.timeout.min(left))?;
            transport.send(message).await.map(drop).map_err(|e| explain(&e))
        })
    }
}

impl EmailNotifier {
    fn message(&self, part: &MessagePart) -> Result<Message, SendError> {
        let failed =
            |e: lettre::error::Error| SendError::refused(format!("no mail can be made: {e}"));
        let text = |key: &str| part.body[key].as_str().unwrap_or_default().to_owned();
        // The same message has the same id: a mailbox may know it again.
        let id = format!("<{}@{}>", part.id, self.from.email.domain());
        let mut message = Message::builder().from(self.from.clone());
        for to in &self.to {
            message = message.to(to.clone());
        }
        message
            .subject(text("subject"))
            .message_id(Some(id))
            // Nobody's absence note is to answer (RFC 3834).
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .header(MIME_VERSION_1_0)
            .header(ContentType::TEXT_PLAIN)
            .body(text("text"))
            .map_err(failed)
    }

    fn transport(
        &self,
        timeout: Duration,
    ) -> Result<AsyncSmtpTransport<Tokio1Executor>, SendError> {
        mimawari_base::crypto::provide();
        let parameters = || {
            TlsParameters::new(self.host.clone())
                .map_err(|e| SendError::certain(format!("TLS cannot be used: {e}")))
        };
        let tls = match self.security {
            MailSecurity::StartTls => Tls::Required(parameters()?),
            MailSecurity::Tls => Tls::Wrapper(parameters()?),
            MailSecurity::None => Tls::None,
        };
        let mut builder =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(self.host.clone())
                .port(self.port)
                .timeout(Some(timeout))
                .tls(tls);
        if let Some((user, password)) = &self.login {
            let (user, password) = (user.reveal().to_owned(), password.reveal().to_owned());
            builder = builder.credentials(Credentials::new(user, password));
        }
        Ok(builder.build())
    }
}

/// What a failure says of the message. A server that refuses its content (552, 554) refuses it always; a
/// connection that breaks off may have done so after the message was taken.
fn explain(e: &lettre::transport::smtp::Error) -> SendError {
    use std::error::Error as _;
    let cause = e.source().map_or_else(String::new, |c| format!(": {c}"));
    let why = format!("{e}{cause}");
    match e.status().map(u16::from) {
        Some(552 | 554) => SendError::refused(why),
        Some(_) => SendError::certain(why),
        None if e.is_tls()
            || e.is_client()
            || why.contains("onnection error")
            || why.contains("refused") =>
        {
            SendError::certain(why)
        }
        None => SendError::in_doubt(why),
    }
}
