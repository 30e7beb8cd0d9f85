//! Rows about the text: whether it can be read, and says what it has to say.

super::rows! {
    /// Not TOML.
    SYNTAX: Error, true, "syntax", "the text is no TOML",
    "The file does not follow the rules of TOML (https://toml.io), is not UTF-8, or is too long. The rest of the\n\
     file is read as well as it can be, so that one mistake does not hide the others.",
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"
ports = ["tcp/443"]
reason = "Public web sites"
"#,
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Public web sites"
"#;
    /// A key that nothing reads.
    UNKNOWN_KEY: Error, true, "unknown-key", "a key that nothing reads",
    "A misspelt key would be passed over in silence, and the rule would say something else than its author\n\
     thinks.",
    r#"[[allow]]
id = "campaign"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Order page of the spring campaign"
expire = 2027-01-31
"#,
    r#"[[allow]]
id = "campaign"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Order page of the spring campaign"
expires = 2027-01-31
"#;
    /// A version of the format that is not known.
    UNKNOWN_VERSION: Error, true, "unknown-version", "a version of the format that is not known",
    "`version` says which form the file has. A newer form may say things that this program does not know.",
    "version = 2\nowner = \"@corp/hosting\"\n",
    "version = 1\nowner = \"@corp/hosting\"\n";
    /// A key that each rule must have.
    MISSING_KEY: Error, true, "missing-key", "a key is missing",
    "A file needs `version` and `owner`; a rule needs `id` and `reason`.",
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
"#,
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Public web sites"
"#;
    /// A kind of value that is not wanted there.
    WRONG_VALUE: Error, true, "wrong-value", "a kind of value that cannot stand there",
    "Each key wants one kind of value: texts in quotation marks, lists in [ ], dates without quotation marks.\n\
     `expect` is \"may\", \"must\" or \"never\".",
    r#"[[allow]]
id = "edge-https"
hosts = "192.0.2.1"
ports = ["tcp/443"]
reason = "Public web sites"
"#,
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Public web sites"
"#;
    /// A rule about nothing.
    EMPTY_RULE: Error, true, "empty-rule", "a rule without addresses, ports, checks or paths",
    "A rule must say where it holds (`hosts`, `group` or both) and for what (`ports`; under [[allow_http]]\n\
     `checks` or `paths`).",
    r#"[[allow]]
id = "edge-https"
ports = ["tcp/443"]
reason = "Public web sites"
"#,
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Public web sites"
"#;
    /// Nobody answers for a file.
    OWNER_MISSING: Error, true, "owner-missing", "nobody answers for the file",
    "`owner` stands in every report about these rules: the team that is asked when something is amiss.",
    "version = 1\nowner = \" \"\n",
    "version = 1\nowner = \"@corp/hosting\"\n";
    /// An empty id.
    EMPTY_ID: Error, true, "empty-id", "a rule without a name",
    "Findings and reviews name a rule by its `id`.",
    r#"[[allow]]
id = ""
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
    /// An id that stands twice.
    DUPLICATE_ID: Error, true, "duplicate-id", "two rules of one name",
    "An `id` is unique over all files: the state remembers by it what each rule allowed.",
    r#"[[allow]]
id = "web"
hosts = ["192.0.2.1"]
ports = ["tcp/80"]
reason = "Public web sites"

[[allow]]
id = "web"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Public web sites"
"#,
    r#"[[allow]]
id = "web-http"
hosts = ["192.0.2.1"]
ports = ["tcp/80"]
reason = "Public web sites"

[[allow]]
id = "web-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Public web sites"
"#;
    /// No reason.
    EMPTY_REASON: Error, true, "empty-reason", "a rule without a reason",
    "The reason is what a reviewer judges by, and what is read when the rule is about to end. `baseline\n\
     propose` leaves it empty, so that a person has to write it.",
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = ""
"#,
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Public web sites"
"#;
    /// A reason that says nothing.
    BOILERPLATE_REASON: Error, false, "boilerplate-reason", "a reason that says nothing",
    "\"todo\", \"test\", \"n/a\", \"temporary\", \"asdf\", the id once more: the next reviewer learns nothing from\n\
     it. Say who needs it, for what, and what breaks without it.",
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "temporary"
"#,
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Order page of the spring campaign, taken down by the shop team"
"#;
    /// Bits behind the prefix.
    HOST_BITS: Error, true, "host-bits", "an address with bits behind its prefix",
    "192.0.2.5/26 may mean the block or the one address, and programs differ in how they read it.",
    r#"[groups]
edge = ["192.0.2.5/26"]
"#,
    r#"[groups]
edge = ["192.0.2.0/26"]
"#;
    /// An IPv4-mapped IPv6 address.
    MAPPED_ADDRESS: Error, true, "mapped-address", "an IPv4-mapped IPv6 address",
    "Packets for ::ffff:192.0.2.1 leave as IPv4 packets for 192.0.2.1 (RFC 4291, section 2.5.5.2). Two names\n\
     for one address would let a rule and a finding miss each other.",
    r#"[[allow]]
id = "edge-https"
hosts = ["::ffff:192.0.2.1"]
ports = ["tcp/443"]
reason = "Public web sites"
"#,
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Public web sites"
"#;
    /// An address that is none.
    BAD_ADDRESS: Error, true, "bad-address", "what is no address, CIDR block or range",
    "Addresses are written as 192.0.2.1, 192.0.2.0/26, 192.0.2.10-192.0.2.20 or 2001:db8:10::/120. Names are\n\
     not taken: they may point elsewhere tomorrow.",
    r#"[[allow]]
id = "edge-https"
hosts = ["www.example.jp"]
ports = ["tcp/443"]
reason = "Public web sites"
"#,
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Public web sites"
"#;
    /// A port that is none.
    BAD_PORT: Error, true, "bad-port", "what is no protocol and port",
    "Ports are written with their protocol: tcp/443, tcp/8000-8100, udp/53. They go from 1 to 65535.",
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"]
ports = ["443"]
reason = "Public web sites"
"#,
    r#"[[allow]]
id = "edge-https"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Public web sites"
"#;
    /// A group that is not there.
    UNKNOWN_GROUP: Error, true, "unknown-group", "a group that is not defined",
    "A group is defined under [groups] of the same file; those of other files are other teams' lists.",
    r#"[groups]
edge = ["192.0.2.0/26"]

[[allow]]
id = "edge-https"
group = "egde"
ports = ["tcp/443"]
reason = "Public web sites"
"#,
    r#"[groups]
edge = ["192.0.2.0/26"]

[[allow]]
id = "edge-https"
group = "edge"
ports = ["tcp/443"]
reason = "Public web sites"
"#;
    /// An end that is no day.
    BAD_DATE: Error, true, "bad-date", "an end that is no day",
    "`expires` is the last day on which the rule holds, through 23:59:59 UTC: a date of TOML, without a time\n\
     and without quotation marks.",
    r#"[[allow]]
id = "campaign"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Order page of the spring campaign"
expires = "2027-01-31"
"#,
    r#"[[allow]]
id = "campaign"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
reason = "Order page of the spring campaign"
expires = 2027-01-31
"#;
    /// More required cells than are looked up.
    MUST_TOO_BROAD: Error, true, "must-too-broad", "more required cells than can be watched",
    "Each cell that must be open is looked up in every run, and each that is not is an alarm: 65,536 at most.",
    r#"[[allow]]
id = "edge-up"
hosts = ["192.0.2.0/25"]
ports = ["tcp/8000-8999"]
expect = "must"
broad = true
reason = "Customers notice at once when one of them is down"
expires = 2027-01-31
"#,
    r#"[[allow]]
id = "edge-up"
hosts = ["192.0.2.10"]
ports = ["tcp/443"]
expect = "must"
reason = "Customers notice at once when it is down"
"#;
    /// `at_least` that cannot hold, or requires nothing.
    BAD_AT_LEAST: Error, true, "bad-at-least", "a number of required addresses that makes no sense",
    "`at_least = 1` with `expect = \"must\"` is for a service that moves within a pool: each port must be open on\n\
     so many of the addresses. It needs `must`, and can be at most the number of addresses.",
    r#"[[allow]]
id = "orders"
hosts = ["192.0.2.10-192.0.2.13"]
ports = ["tcp/443"]
expect = "must"
at_least = 5
reason = "One of four machines serves the order page"
"#,
    r#"[[allow]]
id = "orders"
hosts = ["192.0.2.10-192.0.2.13"]
ports = ["tcp/443"]
expect = "must"
at_least = 1
reason = "One of four machines serves the order page"
"#;
    /// A path that no request has.
    BAD_PATH: Error, true, "bad-path", "a path that no request can have",
    "`paths` are compared with the paths of requests, each as a whole. One that does not begin with `/`, or holds\n\
     a host or a fragment, would allow nothing. Sites stand in `names`.",
    r#"[[allow_http]]
id = "status-page"
hosts = ["192.0.2.1"]
paths = ["https://shop.example.jp/status"]
reason = "Read by the monitoring"
"#,
    r#"[[allow_http]]
id = "status-page"
hosts = ["192.0.2.1"]
paths = ["/status"]
names = ["shop.example.jp"]
reason = "Read by the monitoring"
"#;
    /// A name that no site has.
    BAD_NAME: Error, true, "bad-name", "a name that no site has",
    "`names` are the virtual hosts that a rule holds: `shop.example.jp`; `*.example.jp` for everything below it\n\
     and not for itself; the address for requests without a name. Without the key the rule holds every site of\n\
     its addresses.",
    r#"[[allow_http]]
id = "status-page"
hosts = ["192.0.2.1"]
paths = ["/status"]
names = ["*.jp"]
reason = "Read by the monitoring"
"#,
    r#"[[allow_http]]
id = "status-page"
hosts = ["192.0.2.1"]
paths = ["/status"]
names = ["shop.example.jp"]
reason = "Read by the monitoring"
"#;
    /// No vantage point.
    BAD_VANTAGE: Error, true, "bad-vantage", "no vantage point",
    "`vantages` are the `vantage` of the configurations that a rule is for. Without the key it holds from\n\
     everywhere.",
    r#"[[allow]]
id = "wiki"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
vantages = []
reason = "Wiki of the staff, from the office alone"
"#,
    r#"[[allow]]
id = "wiki"
hosts = ["192.0.2.1"]
ports = ["tcp/443"]
vantages = ["office"]
reason = "Wiki of the staff, from the office alone"
"#;
}
