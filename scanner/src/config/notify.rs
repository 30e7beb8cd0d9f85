//! `[[notify]]`: who is notified, of what, and how. Each kind reads its own keys.

use std::path::Path;

use mimawari_notify::configured::{self, NotifyTable, ReadNotifiers, TableOrigin};

use super::CheckConfig;

impl CheckConfig<'_> {
    pub(super) fn notifiers(&mut self, tables: Vec<NotifyTable>, base: &Path) -> ReadNotifiers {
        let origin = TableOrigin { source: self.source, base, is_copy: self.is_copy };
        configured::read_notifiers(&mimawari_notify::KINDS, tables, origin, &mut self.errors)
    }
}

#[cfg(test)]
mod tests {
    use mimawari_notify::{KINDS, NotifierConfig};
    use mimawari_probes::observation::Severity;

    use super::super::Config;
    use super::*;

    const BASE: &str =
        "version = 1\n[scope]\nallow = [\"198.51.100.0/24\"]\nauthorised_by = \"T\"\n";

    fn parse(text: &str) -> Result<Vec<NotifierConfig>, String> {
        Config::parse("patrol.toml", &format!("{BASE}{text}"), Path::new("/x"))
            .map(|c| c.notify)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn every_kind_is_read() {
        let all = parse(
            r#"
[[notify]]
kind = "slack"
webhook_env = "SLACK_WEBHOOK_URL"
min_severity = "high"
owners = ["@corp/a"]
report_url = "https://r.example/{run_id}"
[[notify]]
kind = "github"
repo = "corp/exposure"
token_env = "GITHUB_TOKEN"
[[notify]]
kind = "webhook"
url_env = "HOOK_URL"
secret_env = "HOOK_SECRET"
[[notify]]
kind = "security-hub"
account = "123456789012"
region = "ap-northeast-1"
[[notify]]
kind = "events"
[[notify]]
kind = "emf"
file = "emf.log"
[[notify]]
kind = "prometheus"
file = "/var/lib/node_exporter/mimawari.prom"
[[notify]]
kind = "email"
server = "smtp.example.jp"
from = "mimawari@example.jp"
to = ["Team <team@example.jp>"]
username_env = "MAIL_USER"
password_env = "MAIL_PASSWORD"
[[notify]]
kind = "teams"
webhook_env = "TEAMS_URL"
[[notify]]
kind = "pagerduty"
routing_key_env = "PAGERDUTY_KEY"
[[notify]]
kind = "opsgenie"
key_env = "OPSGENIE_KEY"
endpoint = "https://api.eu.opsgenie.com"
[[notify]]
kind = "syslog"
address = "tls://logs.example.jp:6514"
facility = "auth"
[[notify]]
kind = "otlp-logs"
endpoint = "https://otlp.example.jp:4318"
headers_env = "OTLP_HEADERS"
[[notify]]
kind = "otlp-metrics"
endpoint = "https://otlp.example.jp:4318"
"#,
        )
        .unwrap();
        let kinds: Vec<&str> = all.iter().map(|n| n.kind.word).collect();
        assert_eq!(kinds, KINDS.map(|k| k.word));
        assert_eq!(all[0].selection.min_severity, Some(Severity::High));
        assert!(all[4].settings.writes_stdout() && !all[5].settings.writes_stdout());
    }

    #[test]
    fn mistakes_are_reported_with_their_line_and_secrets_are_not_shown() {
        let e = parse(
            r#"
[[notify]]
kind = "pigeon"
[[notify]]
kind = "slack"
webhook_env = "https://hooks.example/services/FAKE/FAKE/not-a-real-secret"
[[notify]]
kind = "prometheus"
name = "../x"
[[notify]]
kind = "github"
repo = "corp"
token_env = "T"
max_new = 0
secret_env = "S"
[[notify]]
kind = "security-hub"
account = "1234"
region = "Tokyo"
endpoint = "http://198.51.100.7"
min_severity = "bad"
report_url = "reports"
[[notify]]
kind = "events"
rest = true
[[notify]]
kind = "events"
[[notify]]
kind = "email"
server = "192.0.2.25:0"
from = "nobody"
to = ["also nobody"]
password_env = "P"
[[notify]]
kind = "email"
name = "plain"
server = "192.0.2.25"
from = "a@example.jp"
tls = "none"
[[notify]]
kind = "syslog"
address = "udp://192.0.2.1:514"
facility = "local9"
[[notify]]
kind = "otlp-logs"
endpoint = 7
"#,
        )
        .unwrap_err();
        assert!(!e.contains("not-a-real-secret"), "{e}");
        insta::assert_snapshot!(e);
        let e = parse("[[notify]]\nkind = \"slack\"\nwebhook = \"x\"\n").unwrap_err();
        insta::assert_snapshot!(e);
    }
}
