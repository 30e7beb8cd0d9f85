//! Rows about rules that nobody needs, or not in this form.

super::rows! {
    /// Two files allow the same cells.
    OVERLAP: Warning, false, "overlap", "two files allow the same cells",
    "Two teams answer for one cell. When the one takes its rule away, the cell stays allowed by the other,\n\
     and no alarm comes. One pair is reported for each rule. Rules that have ended do not count.",
    r#"# --- net.toml
[[allow]]
id = "all-https"
hosts = ["192.0.2.0/26"]
ports = ["tcp/443"]
reason = "Load balancers of the network team"
# --- team.toml
[[allow]]
id = "shop"
hosts = ["192.0.2.60-192.0.2.70"]
ports = ["tcp/443"]
reason = "Shops of the hosting team"
"#,
    r#"# --- net.toml
[[allow]]
id = "all-https"
hosts = ["192.0.2.0-192.0.2.59"]
ports = ["tcp/443"]
reason = "Load balancers of the network team"
# --- team.toml
[[allow]]
id = "shop"
hosts = ["192.0.2.60-192.0.2.70"]
ports = ["tcp/443"]
reason = "Shops of the hosting team"
"#;
    /// A rule that another one covers.
    SHADOWED: Warning, false, "shadowed", "a rule that another one covers",
    "Another rule says the same of all its cells, and for at least as long: the end of this one changes\n\
     nothing. It still lends its owner and reason to what it allows, since the narrower rule speaks first; if\n\
     that is all it is for, take its cells out of the other one.",
    r#"[[allow]]
id = "edge-web"
hosts = ["192.0.2.0/26"]
ports = ["tcp/80", "tcp/443"]
reason = "Public web sites"

[[allow]]
id = "campaign"
hosts = ["192.0.2.7"]
ports = ["tcp/443"]
reason = "Order page of the spring campaign"
expires = 2027-04-30
"#,
    r#"[[allow]]
id = "edge-web"
hosts = ["192.0.2.0/26"]
ports = ["tcp/80", "tcp/443"]
reason = "Public web sites"

[[allow]]
id = "campaign"
hosts = ["192.0.2.7"]
ports = ["tcp/8443"]
reason = "Order page of the spring campaign"
expires = 2027-04-30
"#;
    /// More than is compared.
    NOT_COMPARED: Warning, false, "not-compared", "rules that overlap too much to compare them all",
    "Thousands of rules for the same addresses, each with ranges of its own: comparing them would take longer\n\
     than a review waits. What was found until then is reported; the rest is not known. A patrol is as exact as\n\
     ever. This example stands for thousands of rules.",
    r#"[[allow]]
id = "a-0001"
hosts = ["192.0.2.0-192.0.2.1"]
ports = ["tcp/8001"]
reason = "Server number one of many"
"#,
    r#"[groups]
servers = ["192.0.2.0/24"]

[[allow]]
id = "servers"
group = "servers"
ports = ["tcp/8001"]
reason = "All servers of the shop"
"#;
    /// It has ended.
    EXPIRED: Warning, false, "expired", "a rule that has ended",
    "Its last day is over. What it allowed is reported as drift, with the cause `expired`.",
    r#"[[allow]]
id = "migration"
hosts = ["192.0.2.9"]
ports = ["tcp/8443"]
reason = "Old order page while customers move"
expires = 2026-10-31
"#,
    r#"[[allow]]
id = "migration"
hosts = ["192.0.2.9"]
ports = ["tcp/8443"]
reason = "Old order page while the last three customers move; agreed with sales until January"
expires = 2027-01-31
"#;
    /// It ends soon.
    EXPIRES_SOON: Warning, false, "expires-soon", "a rule that ends within 14 days",
    "There is still time to close the port, or to say why it is needed longer.",
    r#"[[allow]]
id = "migration"
hosts = ["192.0.2.9"]
ports = ["tcp/8443"]
reason = "Old order page while customers move"
expires = 2026-11-30
"#,
    r#"[[allow]]
id = "migration"
hosts = ["192.0.2.9"]
ports = ["tcp/8443"]
reason = "Old order page while customers move"
expires = 2027-01-31
"#;
    /// Nothing was seen for long.
    STALE: Warning, false, "stale", "a rule that nothing was seen of for long",
    "Nothing that it allows was seen for 30 days, in 10 runs or more that covered all of it. Whatever opens\n\
     there next is allowed without a word. Runs that did not look do not count. Known from --state.",
    r#"[[allow]]
id = "old-sftp"
hosts = ["192.0.2.9"]
ports = ["tcp/8022"]
reason = "File exchange with the printing house"
"#,
    r#"[[allow]]
id = "live-sftp"
hosts = ["192.0.2.9"]
ports = ["tcp/8022"]
reason = "File exchange with the printing house"
"#;
    /// Nothing was ever seen.
    UNBACKED: Warning, false, "unbacked", "an allowance that no observation backs",
    "Runs covered all that it allows, and none of it was ever seen open: a wrong address or port, or something\n\
     that is not there yet. Known from --state.",
    r#"[[allow]]
id = "never-seen"
hosts = ["192.0.2.9"]
ports = ["tcp/8022"]
reason = "File exchange with the printing house"
"#,
    r#"[[allow]]
id = "live-sftp"
hosts = ["192.0.2.9"]
ports = ["tcp/8022"]
reason = "File exchange with the printing house"
"#;
    /// A later end and nothing else.
    RENEWAL_DATE_ONLY: Warning, false, "renewal-date-only", "a renewal that changes the date alone",
    "An end that is moved again and again without a word is no end. Say in `reason` what has changed since\n\
     the rule was made. Known from --base.",
    r#"[[allow]]
id = "migration"
hosts = ["192.0.2.9"]
ports = ["tcp/8443"]
reason = "Old order page while customers move"
expires = 2027-01-31
# --- base/team.toml
[[allow]]
id = "migration"
hosts = ["192.0.2.9"]
ports = ["tcp/8443"]
reason = "Old order page while customers move"
expires = 2026-10-31
"#,
    r#"[[allow]]
id = "migration"
hosts = ["192.0.2.9"]
ports = ["tcp/8443"]
reason = "Old order page: three customers have not moved; agreed with sales until January"
expires = 2027-01-31
# --- base/team.toml
[[allow]]
id = "migration"
hosts = ["192.0.2.9"]
ports = ["tcp/8443"]
reason = "Old order page while customers move"
expires = 2026-10-31
"#;
}
