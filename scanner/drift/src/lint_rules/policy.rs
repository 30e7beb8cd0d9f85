//! Rows about what a rule allows, to whom, and until when.

super::rows! {
    /// `never` against `may` or `must`.
    CONTRADICTION: Error, true, "contradiction", "one rule forbids what another one allows",
    "`never` wins over every other rule, so the one that allows would look as if it did something.",
    r#"[[allow]]
id = "no-telnet"
hosts = ["192.0.2.0/24"]
ports = ["tcp/23"]
expect = "never"
reason = "Passwords in the clear"

[[allow]]
id = "old-switch"
hosts = ["192.0.2.7"]
ports = ["tcp/23"]
reason = "Switch that knows nothing else, until it is replaced"
expires = 2027-01-31
"#,
    r#"[[allow]]
id = "no-telnet"
hosts = ["192.0.2.0-192.0.2.6", "192.0.2.8-192.0.2.255"]
ports = ["tcp/23"]
expect = "never"
reason = "Passwords in the clear"

[[allow]]
id = "old-switch"
hosts = ["192.0.2.7"]
ports = ["tcp/23"]
reason = "Switch that knows nothing else, until it is replaced"
expires = 2027-01-31
"#;
    /// Outside the scope.
    OUTSIDE_SCOPE: Error, false, "outside-scope", "an address that is never scanned",
    "No packet leaves for an address outside [scope], so the rule has no effect: mostly a slip of the pen, or\n\
     a range that was given back. Asked only where a configuration is named with -c.",
    r#"[[allow]]
id = "edge-https"
hosts = ["203.0.113.1"]
ports = ["tcp/443"]
reason = "Public web sites"
"#,
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Public web sites"
"#;
    /// A sensitive or broad rule without an end.
    EXPIRES_MISSING: Error, false, "expires-missing", "a dangerous allowance without an end",
    "Rules for ports of administration and data (SSH, databases, panels; those whose unexpected opening is a\n\
     finding of high severity) and rules with `broad = true` need an `expires`: somebody has to look at them\n\
     again. Rules of `never` need none.",
    r#"[[allow]]
id = "bastion-ssh"
hosts = ["192.0.2.1"]
ports = ["tcp/22"]
reason = "Bastion of the hosting team"
"#,
    r#"[[allow]]
id = "bastion-ssh"
hosts = ["192.0.2.1"]
ports = ["tcp/22"]
reason = "Bastion of the hosting team"
expires = 2027-01-31
"#;
    /// Too many cells.
    TOO_BROAD: Error, false, "too-broad", "a rule that allows more than a reviewer can grasp",
    "A rule of more than 4,096 cells (addresses × ports) hides whatever opens among them. If it is meant, say\n\
     `broad = true` and give it an end.",
    r#"[[allow]]
id = "lab"
hosts = ["192.0.2.0/24"]
ports = ["tcp/8100-8199"]
reason = "Ports that the students' projects choose for themselves"
"#,
    r#"[[allow]]
id = "lab"
hosts = ["192.0.2.0/24"]
ports = ["tcp/8100-8199"]
broad = true
reason = "Ports that the students' projects choose for themselves"
expires = 2027-03-31
"#;
    /// A required cell that nobody looks at.
    MUST_NOT_SCANNED: Error, false, "must-not-scanned", "a required port that nobody looks at",
    "A rule of `must` promises an alarm. If no scan profile (-c) covers the address and the port, or it is a\n\
     UDP port, which nothing scans, the alarm never comes. Asked only where a configuration is named with -c.\n\
     A profile whose targets are names is taken to cover its whole scope.",
    r#"[[allow]]
id = "mail"
hosts = ["192.0.2.25"]
ports = ["tcp/25"]
expect = "must"
reason = "Mail exchange; customers notice within minutes"
"#,
    r#"[[allow]]
id = "web"
hosts = ["192.0.2.25"]
ports = ["tcp/443"]
expect = "must"
reason = "Order page; customers notice within minutes"
"#;
    /// An owner that CODEOWNERS does not have.
    OWNER_MISMATCH: Error, false, "owner-mismatch", "an owner who need not review the file",
    "The `owner` of a file has to be one of its owners in CODEOWNERS, so that no pull request changes the\n\
     rules without those who answer for them. The last line that matches wins, as on GitHub.",
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Public web sites"
# --- CODEOWNERS
*          @corp/hosting
/baseline/ @corp/network
"#,
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Public web sites"
# --- CODEOWNERS
*                   @corp/network
/baseline/team.toml @corp/hosting @corp/security
"#;
    /// No CODEOWNERS.
    NO_CODEOWNERS: Warning, false, "no-codeowners", "nobody is held to review",
    "No CODEOWNERS file was found above the baseline folder (nor in .github or docs there). Without one,\n\
     anybody may approve a change of what may be open.",
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Public web sites"
"#,
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Public web sites"
# --- CODEOWNERS
/baseline/ @corp/hosting
"#;
    /// A check that does not exist.
    UNKNOWN_CHECK: Error, false, "unknown-check", "a content check that does not exist",
    "`checks` names checks by their id (`mimawari checks list`), `legacy-tls`, `manifest`, or one of your own\n\
     (--checks FILE, or [http] checks of a configuration). A misspelt one allows nothing.",
    r#"[[allow_http]]
id = "edge-status"
hosts = ["192.0.2.1"]
checks = ["server-statuss"]
reason = "Read by the monitoring over the VPN"
"#,
    r#"[[allow_http]]
id = "edge-status"
hosts = ["192.0.2.1"]
checks = ["server-status"]
reason = "Read by the monitoring over the VPN"
"#;
    /// A path of every site.
    ALL_SITES: Warning, false, "all-sites", "a path is allowed for every site of an address that has several",
    "A path rule without `names` allows the path whatever site is asked for. Where an address serves several,\n\
     one team's rule allows the same file of all others. Known are the sites of the list of virtual hosts\n\
     (-c) and those that were seen (--state).",
    r#"[[allow_http]]
id = "shop-status"
hosts = ["192.0.2.80"]
paths = ["/status"]
reason = "Read by the monitoring"
"#,
    r#"[[allow_http]]
id = "shop-status"
hosts = ["192.0.2.80"]
paths = ["/status"]
names = ["shop.example.jp"]
reason = "Read by the monitoring"
"#;
    /// Not as `fmt` writes it.
    NOT_FORMATTED: Warning, false, "not-formatted", "a file that is not in the common form",
    "`mimawari baseline fmt` sorts lists and lays out rules in one way, so that a pull request shows what\n\
     changed and nothing else.",
    r#"[[allow]]
id   =   "edge-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Public web sites"
"#,
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Public web sites"
"#;
    /// `never` where nothing looks.
    NEVER_NOT_SCANNED: Error, false, "never-not-scanned", "a rule forbids what nobody looks at",
    "`never` promises an alarm. Nothing scans UDP ports yet, so that this rule would never raise one.",
    r#"[[allow]]
id = "no-snmp"
hosts = ["192.0.2.1"]
ports = ["udp/161"]
expect = "never"
reason = "Switches are managed from within"
"#,
    r#"[[allow]]
id = "no-telnet"
hosts = ["192.0.2.1"]
ports = ["tcp/23"]
expect = "never"
reason = "Switches are managed from within"
"#;
}
