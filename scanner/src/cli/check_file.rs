//! The form of a file of checks, as `mimawari checks --help` shows it.

/// The whole form. The catalogue that comes with the program is written in it, too.
pub(super) const FORM: &str = r#"A file of checks:
  [http] checks = ["own.toml"] requests your own paths of every site, too. `checks list
  --checks own.toml` reports what is wrong with the file.

  version = 1

  [[check]]
  id = "corp-settings"                       # stable: reports and baselines name it
  title = "Settings of the portal in the document root"
  severity = "high"                          # info low medium high critical
  why = "The password of its database is in it."
  remedy = "Deny the file in the server, and change the password."
  signature = "a [portal] section with a database password"
  paths.1 = ["/portal/settings.ini"]         # asked hourly
  paths.2 = ["/{old,backup}/settings.ini"]   # asked daily
  paths.3 = ["/{label}.ini"]                 # asked weekly

  [[check.rule]]                             # the first rule that is true decides
  as = "text"
  where = [                                  # all must hold
      { line = '(?P<shown>\[portal\])' },
      { line = 'db_pass\s*=\s*(?P<secret>\S+)' },
  ]

  [[check.hit]]                              # bodies of which it must be true
  text = "[portal]\ndb_pass = not-a-real-one\n"
  [[check.miss]]                             # bodies that come near
  text = "[portal]\ntheme = dark\n"

Paths:
  {a,b}     alternatives, one of which may be empty; several make a product
  {host}    the virtual host        {label}  its first label that is not www
  {yyyy}    this year and the year before; {yyyy}-{mm}-{dd}: this day and its neighbours

A check may have:
  status = "redirect"  for rules with `location`: 3xx; "any": whatever the status; default 200, 206
  canary = false       true of every path of the site, such as a debugger's page: no canaries
  canary = "strict"    not true where it is true of a path that cannot exist, whatever the body

A rule has `as` and `where`, and may have:
  severity  instead of the check's       label  a word for the evidence
  real = true   not true where all that (?P<secret>…) caught are placeholders, such as changeme

as:
  text   begins neither as HTML nor as JSON does     page   anything but JSON
  bytes  as served                                   json   with comments, cut ones too
  xml    XML

Conditions, one in each { }; expressions are those of the Rust crate regex, on bytes:
  starts, hex   these bytes at `at` (default 0): starts = "DIRC", hex = "1f 8b"
  has           this text somewhere
  line          a whole line matches; `min` says how many must
  lines         every line matches but blank ones and # comments
  whole         all of it matches, 4 KiB at most
  find          any part matches; outside = ["form"]: not within these HTML elements
  key           JSON has a value there: "/a/*/b", ** for any steps; value = 're', base64 = true
  root          the name of the XML root element
  title         the whole <title> matches
  entry         the name of a ZIP archive's first entry matches
  location      the whole Location matches
  header        a field matches, written as Name: value with the name in title case
  code          the status is one of these: code = [401, 403]; 206 to our range is 200
  over          the whole resource is longer than so many bytes
  unpacked      a list of conditions for what a gzip file or a ZIP archive's first entry holds
  shape         dotenv php-source (formerly php-copy) php-password private-key ssh-key
                encrypted-key transfer-account account-list people table empty
  any, all, not of other conditions
  Options: nocase = true; within = 512 (among the first so many bytes)
  The first four characters of (?P<shown>…) are shown in reports; (?P<secret>…) never is.

A hit or a miss may have, beside text or hex:
  at (zeros before it), gzip, zip = "entry name", utf16, repeat, status, location,
  headers = ["Server: x"], total, path; a hit also the severity and the label that it must have.

Examples:
  mimawari checks list
  mimawari checks show git-config
  mimawari checks list --checks own.toml
  mimawari checks digest --evidence-key key.txt /var/www/shop/.env"#;

#[cfg(test)]
mod tests {
    use mimawari_probes::http::Catalogue;
    use mimawari_probes::http::format::{BinaryShape, CONDITIONS};
    use mimawari_targets::diagnostic::TextSource;

    use super::FORM;

    #[test]
    fn nothing_is_left_out() {
        let shapes = BinaryShape::ALL.iter().map(|(name, _)| *name);
        for word in CONDITIONS.into_iter().chain(shapes) {
            let named = FORM.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            assert!(named.into_iter().any(|w| w == word), "{word}");
        }
    }

    #[test]
    fn its_example_is_a_file_of_checks() {
        let (_, example) = FORM.split_once("file.\n\n").expect("an example");
        let (example, _) = example.split_once("\nPaths:\n").expect("its end");
        let source = TextSource::new("own.toml", example);
        assert_eq!(Catalogue::builtin().add(&source), Ok(()));
    }

    #[test]
    fn its_lines_are_short() {
        for line in FORM.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}
