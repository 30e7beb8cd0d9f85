//! `[[notify]]`: who is notified, of what, and how.

use std::collections::HashSet;
use std::path::Path;

use mimawari_notify::{NotifierConfig, NotifierKind, check_url};
use mimawari_probes::observation::Severity;
use mimawari_report::notify::ChangeSelection;
use mimawari_report::notify::security_hub::HubAccount;
use mimawari_targets::diagnostic::Diagnostic;
use serde::Deserialize;
use toml::Spanned;

use super::CheckConfig;

/// A table as it is written. Which keys it may have depends on its kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotifyTable {
    /// `slack`, `github`, `webhook`, `security-hub`, `events`, `emf` or `prometheus`.
    kind: Spanned<String>,
    /// Its name, unique. Default: its kind.
    name: Option<Spanned<String>>,
    /// The least severity that is notified. Default: all.
    min_severity: Option<Spanned<String>>,
    /// Findings of these owners alone. Default: all.
    owners: Option<Vec<String>>,
    /// Where the report is; `{run_id}` is replaced.
    report_url: Option<Spanned<String>>,
    /// `slack`: the environment variable with the URL.
    webhook_env: Option<Spanned<String>>,
    /// `webhook`: the environment variable with the URL.
    url_env: Option<Spanned<String>>,
    /// `webhook`: the environment variable with the key of the signature.
    secret_env: Option<Spanned<String>>,
    /// `github`: the environment variable with the token.
    token_env: Option<Spanned<String>>,
    /// `github`: `owner/name`.
    repo: Option<Spanned<String>>,
    /// `github`: labels of new issues.
    labels: Option<Spanned<Vec<String>>>,
    /// `github`: new issues of one run at most, 1 to 50. Default: 10.
    max_new: Option<Spanned<i64>>,
    /// `github`: another API than GitHub's own.
    api_url: Option<Spanned<String>>,
    /// `security-hub`: the account, 12 digits.
    account: Option<Spanned<String>>,
    /// `security-hub`: the region.
    region: Option<Spanned<String>>,
    /// `security-hub`: another endpoint than AWS's own.
    endpoint: Option<Spanned<String>>,
    /// `events`, `emf`, `prometheus`: the file that is written. Without it `events` and `emf` write
    /// to stdout.
    file: Option<Spanned<String>>,
    /// `emf`: the namespace of the metrics.
    namespace: Option<Spanned<String>>,
}

/// The kinds, and the keys that each may have besides those of all.
const KINDS: [(&str, &[&str]); 7] = [
    ("slack", &["webhook_env"]),
    ("github", &["repo", "token_env", "api_url", "labels", "max_new"]),
    ("webhook", &["url_env", "secret_env"]),
    ("security-hub", &["account", "region", "endpoint"]),
    ("events", &["file"]),
    ("emf", &["file", "namespace"]),
    ("prometheus", &["file"]),
];

impl CheckConfig<'_> {
    pub(super) fn notifiers(
        &mut self,
        tables: Vec<NotifyTable>,
        base: &Path,
    ) -> Vec<NotifierConfig> {
        let mut names = HashSet::new();
        let mut all = Vec::new();
        for t in tables {
            let (kind, name) = (t.kind.clone(), t.name.clone());
            let Some(n) = self.notifier(t, base) else { continue };
            if !names.insert(n.name.clone()) {
                let span = name.as_ref().map_or(kind.span(), Spanned::span);
                self.error(
                    span,
                    format!("two notifiers have the name `{}`", n.name),
                    "give each a `name` of its own: it names claims and dead letters",
                );
            }
            all.push(n);
        }
        all
    }

    fn notifier(&mut self, t: NotifyTable, base: &Path) -> Option<NotifierConfig> {
        let word = t.kind.get_ref().as_str();
        let Some((_, keys)) = KINDS.iter().find(|(k, _)| *k == word) else {
            let kinds: Vec<&str> = KINDS.iter().map(|(k, _)| *k).collect();
            self.error(
                t.kind.span(),
                format!("`{}` is no kind of notifier", word.escape_debug()),
                format!("write one of {}", kinds.join(", ")),
            );
            return None;
        };
        let given = [
            ("webhook_env", t.webhook_env.as_ref().map(Spanned::span)),
            ("url_env", t.url_env.as_ref().map(Spanned::span)),
            ("secret_env", t.secret_env.as_ref().map(Spanned::span)),
            ("token_env", t.token_env.as_ref().map(Spanned::span)),
            ("repo", t.repo.as_ref().map(Spanned::span)),
            ("labels", t.labels.as_ref().map(Spanned::span)),
            ("max_new", t.max_new.as_ref().map(Spanned::span)),
            ("api_url", t.api_url.as_ref().map(Spanned::span)),
            ("account", t.account.as_ref().map(Spanned::span)),
            ("region", t.region.as_ref().map(Spanned::span)),
            ("endpoint", t.endpoint.as_ref().map(Spanned::span)),
            ("file", t.file.as_ref().map(Spanned::span)),
            ("namespace", t.namespace.as_ref().map(Spanned::span)),
        ];
        for (key, span) in given {
            if let Some(span) = span
                && !keys.contains(&key)
            {
                self.error(
                    span,
                    format!("`{key}` is no key of a notifier of kind `{word}`"),
                    format!("its own keys are {}", keys.join(", ")),
                );
            }
        }
        let selection = self.selection(&t);
        let name = t.name.as_ref().map_or(word, |n| n.get_ref().as_str());
        let usable = |n: &str| {
            (1..=40).contains(&n.len())
                && n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if !usable(name) {
            let span = t.name.as_ref().map_or(0..0, Spanned::span);
            let help = "write letters, digits, `-` and `_`, 40 at most: it names files";
            self.error(span, format!("`{}` cannot be a name", name.escape_debug()), help);
        }
        let name = name.to_owned();
        if let Some(f) = &t.file
            && self.is_copy
            && !Path::new(f.get_ref()).is_absolute()
        {
            let help = "write a file that begins with `/`, or leave `file` out for stdout";
            self.refuse_relative_path(f.span(), f.get_ref(), help);
        }
        let file = t.file.as_ref().map(|f| base.join(f.get_ref()));
        let kind = match word {
            "slack" => NotifierKind::Slack {
                webhook_env: self.env(&t.kind, "webhook_env", t.webhook_env)?,
            },
            "webhook" => NotifierKind::Webhook {
                url_env: self.env(&t.kind, "url_env", t.url_env)?,
                secret_env: self.env(&t.kind, "secret_env", t.secret_env)?,
            },
            "github" => NotifierKind::Github {
                token_env: self.env(&t.kind, "token_env", t.token_env)?,
                repo: self.repo(&t.kind, t.repo)?,
                api_url: self.url(t.api_url).unwrap_or_else(|| "https://api.github.com".to_owned()),
                labels: t.labels.map(Spanned::into_inner).unwrap_or_default(),
                max_new: self.check_max_new(t.max_new),
            },
            "security-hub" => NotifierKind::SecurityHub {
                account: self.account(&t.kind, t.account, t.region)?,
                endpoint: self.url(t.endpoint),
            },
            "events" => NotifierKind::Events { file },
            "emf" => NotifierKind::Emf {
                file,
                namespace: t.namespace.map_or_else(|| "mimawari".to_owned(), Spanned::into_inner),
            },
            _ => NotifierKind::Prometheus { file: self.require(&t.kind, "file", file)? },
        };
        Some(NotifierConfig { name, selection, kind })
    }

    fn selection(&mut self, t: &NotifyTable) -> ChangeSelection {
        let min_severity = t.min_severity.as_ref().and_then(|s| {
            let all = [
                Severity::Info,
                Severity::Low,
                Severity::Medium,
                Severity::High,
                Severity::Critical,
            ];
            let found = all.into_iter().find(|x| x.as_str() == s.get_ref());
            if found.is_none() {
                let title = format!("`{}` is no severity", s.get_ref().escape_debug());
                self.error(s.span(), title, "write info, low, medium, high or critical");
            }
            found
        });
        if let Some(url) = &t.report_url
            && !["https://", "http://", "s3://"].iter().any(|p| url.get_ref().starts_with(p))
        {
            let title = format!("`{}` is no URL", url.get_ref().escape_debug());
            self.error(
                url.span(),
                title,
                "write such as `https://reports.example.jp/{run_id}/report.html`",
            );
        }
        ChangeSelection {
            min_severity,
            owners: t.owners.clone().unwrap_or_default(),
            report_url: t.report_url.as_ref().map(|u| u.get_ref().clone()),
        }
    }

    fn require<T>(&mut self, kind: &Spanned<String>, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.error(
                kind.span(),
                format!("a notifier of kind `{}` needs `{key}`", kind.get_ref()),
                "add the key to this [[notify]]",
            );
        }
        value
    }

    /// The name of an environment variable. If the secret itself is written there, the error says so and
    /// does not show the line.
    fn env(
        &mut self,
        kind: &Spanned<String>,
        key: &str,
        value: Option<Spanned<String>>,
    ) -> Option<String> {
        let value = self.require(kind, key, value)?;
        let name = value.get_ref();
        let is_name = name.len() <= 100
            && name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name {
            self.errors.push(
                Diagnostic::error(
                    format!("`{key}` is not the name of an environment variable"),
                    self.source,
                    kind.span(),
                )
                .help("write the variable's name, such as SLACK_WEBHOOK_URL; a secret does not belong in this file"),
            );
            return None;
        }
        Some(value.into_inner())
    }

    fn repo(&mut self, kind: &Spanned<String>, repo: Option<Spanned<String>>) -> Option<String> {
        let repo = self.require(kind, "repo", repo)?;
        let part = |p: &str| {
            !p.is_empty()
                && p != "."
                && p != ".."
                && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        if !repo.get_ref().split_once('/').is_some_and(|(a, b)| part(a) && part(b)) {
            let title = format!("`{}` is no repository", repo.get_ref().escape_debug());
            self.error(repo.span(), title, "write `owner/name`");
            return None;
        }
        Some(repo.into_inner())
    }

    fn check_max_new(&mut self, n: Option<Spanned<i64>>) -> usize {
        let Some(n) = n else { return 10 };
        match usize::try_from(*n.get_ref()).ok().filter(|n| (1..=50).contains(n)) {
            Some(n) => n,
            None => {
                self.error(n.span(), format!("{} new issues a run", n.get_ref()), "write 1 to 50");
                10
            }
        }
    }

    fn url(&mut self, url: Option<Spanned<String>>) -> Option<String> {
        let url = url?;
        if let Err(e) = check_url(url.get_ref()) {
            self.error(url.span(), e, "write an https URL; http is for loopback addresses alone");
            return None;
        }
        Some(url.into_inner().trim_end_matches('/').to_owned())
    }

    fn account(
        &mut self,
        kind: &Spanned<String>,
        id: Option<Spanned<String>>,
        region: Option<Spanned<String>>,
    ) -> Option<HubAccount> {
        let id = self.require(kind, "account", id)?;
        let region = self.require(kind, "region", region)?;
        let mut ok = true;
        if id.get_ref().len() != 12 || !id.get_ref().bytes().all(|b| b.is_ascii_digit()) {
            let title = format!("`{}` is no AWS account", id.get_ref().escape_debug());
            self.error(id.span(), title, "write its twelve digits in quotes");
            ok = false;
        }
        let r = region.get_ref();
        if r.is_empty()
            || r.len() > 30
            || !r.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            let title = format!("`{}` is no AWS region", r.escape_debug());
            self.error(region.span(), title, "write such as `ap-northeast-1`");
            ok = false;
        }
        ok.then(|| HubAccount { id: id.into_inner(), region: region.into_inner() })
    }
}

#[cfg(test)]
mod tests {
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
"#,
        )
        .unwrap();
        let kinds: Vec<&str> = all.iter().map(|n| n.kind.as_str()).collect();
        assert_eq!(kinds, KINDS.map(|(k, _)| k));
        assert_eq!(all[0].selection.min_severity, Some(Severity::High));
        assert!(all[4].kind.writes_stdout() && !all[5].kind.writes_stdout());
    }

    #[test]
    fn errors_are_reported_with_their_line_and_secrets_are_not_shown() {
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
[[notify]]
kind = "events"
"#,
        )
        .unwrap_err();
        assert!(!e.contains("not-a-real-secret"), "{e}");
        insta::assert_snapshot!(e);
        let e = parse("[[notify]]\nkind = \"slack\"\nwebhook = \"x\"\n").unwrap_err();
        insta::assert_snapshot!(e);
    }
}
