//! Environment files, in the forms that loaders accept.

use super::super::gate::{find, is_placeholder};
use super::enumerate_lines;
use super::{MatchInput, parse_userinfo};

/// At least one line that gives a name a secret value: in a file of nothing else, or beside others
/// of its kind.
pub(super) fn is_environment(text: &[u8], seen: &mut MatchInput) -> bool {
    let mut file = DotenvFile::default();
    let mut open: Option<u8> = None;
    for (number, line) in enumerate_lines(text) {
        let line = line.trim_ascii();
        if let Some(quote) = open {
            // A value over several lines, such as a key in PEM.
            if line.contains(&quote) {
                open = None;
            }
            continue;
        }
        if line.is_empty() || matches!(line[0], b'#' | b';') || line.starts_with(b"//") {
            continue;
        }
        if let Some(pairs) = parse_multiple_assignments(line) {
            pairs.iter().for_each(|pair| file.take(number, pair, seen));
            continue;
        }
        match parse_pair(line) {
            Some(pair) => {
                open = pair
                    .value
                    .first()
                    .copied()
                    .filter(|q| matches!(q, b'"' | b'\'') && !pair.value[1..].contains(q));
                file.take(number, &pair, seen);
            }
            None => file.others += 1,
        }
    }
    let Some((number, name)) = file.first else { return false };
    let enough = file.tight >= 2
        || (file.pairs >= 2 && file.pairs >= file.others)
        || (file.pairs == 1 && file.others == 0);
    if enough {
        // A line of base64 may look like a name with nothing behind it.
        let plain = name.iter().all(|b| b.is_ascii_uppercase() || *b == b'_');
        seen.at(number, plain.then_some(name));
    }
    enough
}

#[derive(Default)]
struct DotenvFile<'a> {
    pairs: usize,
    /// Those without white space around the sign.
    tight: usize,
    others: usize,
    /// The line of the first secret, or rather of the first that is no template's.
    first: Option<(usize, &'a [u8])>,
    real: bool,
}

impl<'a> DotenvFile<'a> {
    fn take(&mut self, number: usize, pair: &DotenvPair<'a>, seen: &mut MatchInput) {
        self.pairs += 1;
        self.tight += usize::from(pair.tight);
        let value = strip_quotes(strip_comment(pair.value));
        let secret = match parse_userinfo(value) {
            Some((_, secret)) => secret,
            None if is_secret(pair.name, value) || is_known_token(value) => value,
            None => return,
        };
        seen.secret(Some(number), secret);
        let template = is_placeholder(secret);
        if self.first.is_none() || (!template && !self.real) {
            self.first = Some((number, pair.name));
        }
        self.real |= !template;
    }
}

struct DotenvPair<'a> {
    name: &'a [u8],
    value: &'a [u8],
    tight: bool,
}

/// Several constants on one line, as a shell takes them before a command: `A=1 DB_PASSWORD=x`.
fn parse_multiple_assignments(line: &[u8]) -> Option<Vec<DotenvPair<'_>>> {
    let words = || line.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty());
    let constant = |word: &[u8]| {
        let name =
            word.iter().take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || **b == b'_');
        let length = name.count();
        length > 1 && word.get(length) == Some(&b'=') && word.len() > length + 1
    };
    if words().nth(1).is_none() || !words().all(constant) {
        return None;
    }
    words().map(parse_pair).collect()
}

/// `NAME=value`, `export NAME = value`, `a.dotted.name = value`, `NAME: value`.
fn parse_pair(line: &[u8]) -> Option<DotenvPair<'_>> {
    if let Some(pair) = line.strip_prefix(b"setenv").and_then(parse_setenv) {
        return Some(pair);
    }
    let line = ["export", "set", "setenv"]
        .iter()
        .find_map(|w| {
            line.strip_prefix(w.as_bytes()).filter(|r| r.starts_with(b" ") || r.starts_with(b"\t"))
        })
        .unwrap_or(line)
        .trim_ascii_start();
    let length = line.iter().take_while(|b| is_name(**b)).count();
    let (name, rest) = line.split_at(length);
    let starts = name.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
    if !starts || name.len() > 128 {
        return None;
    }
    let sign = rest.trim_ascii_start();
    if let Some(value) = sign.strip_prefix(b"=") {
        let tight = sign.len() == rest.len() && !value.starts_with(b" ");
        return Some(DotenvPair { name, value: value.trim_ascii(), tight });
    }
    // The other sign is everywhere in prose, so the name has to be a constant's and the value one
    // word or quoted.
    let value = sign.strip_prefix(b":").filter(|v| v.starts_with(b" ") || v.starts_with(b"\t"))?;
    let value = value.trim_ascii();
    let constant = name.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_');
    let quoted = value.first().is_some_and(|b| matches!(b, b'"' | b'\''));
    let one = !value.is_empty() && !strip_comment(value).contains(&b' ');
    (constant && (quoted || one)).then_some(DotenvPair { name, value, tight: false })
}

/// `setenv NAME value`, without its first word.
fn parse_setenv(rest: &[u8]) -> Option<DotenvPair<'_>> {
    let rest = rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b"\t"))?.trim_ascii_start();
    let length = rest.iter().take_while(|b| is_name(**b)).count();
    let (name, value) = rest.split_at(length);
    let starts = name.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
    let blank = value.first().is_some_and(u8::is_ascii_whitespace);
    let value = value.trim_ascii();
    (starts && blank && !value.is_empty() && !value.starts_with(b"=")).then_some(DotenvPair {
        name,
        value,
        tight: true,
    })
}

const fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')
}

fn strip_comment(value: &[u8]) -> &[u8] {
    let end = [&b" #"[..], b"\t#"].iter().filter_map(|c| find(value, c)).min();
    value[..end.unwrap_or(value.len())].trim_ascii()
}

fn strip_quotes(value: &[u8]) -> &[u8] {
    match value {
        [a @ (b'"' | b'\''), inner @ .., b] if a == b => inner,
        _ => value,
    }
}

/// Words that are a secret's name by themselves.
const SECRETS: [&str; 19] = [
    "PASS",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "PASSCODE",
    "PWD",
    "PW",
    "PSW",
    "SECRET",
    "SECRETS",
    "TOKEN",
    "TOKENS",
    "DSN",
    "CRED",
    "CREDS",
    "CREDENTIAL",
    "CREDENTIALS",
    "WEBHOOK",
    "PEPPER",
];

/// Ends of words that are written without a sign between.
const ENDS: [&str; 7] =
    ["PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "APIKEY", "CREDENTIALS"];

/// What stands before `PASS`, `PWD` or `KEY` in such words. `BYPASS`, `COMPASS`, `KEYBOARD` and
/// `MONKEY` are other words.
const JOINED: [&str; 24] = [
    "DB",
    "SQL",
    "MYSQL",
    "PG",
    "FTP",
    "SFTP",
    "SSH",
    "SMTP",
    "IMAP",
    "POP",
    "MAIL",
    "USER",
    "ROOT",
    "ADMIN",
    "LOGIN",
    "API",
    "APP",
    "AUTH",
    "ACCESS",
    "SECRET",
    "PRIVATE",
    "MASTER",
    "SIGNING",
    "ENCRYPTION",
];

/// Words before `KEY` with which it is none, or one for everybody.
const OPEN_KEYS: [&str; 14] = [
    "PUBLIC",
    "PUBLISHABLE",
    "SITE",
    "SORT",
    "PRIMARY",
    "FOREIGN",
    "CACHE",
    "INDEX",
    "PARTITION",
    "HOT",
    "SHORTCUT",
    "ROUTING",
    "UNIQUE",
    "CLIENTSIDE",
];

/// Words behind the name of a secret that leave it one.
const BEHIND: [&str; 23] = [
    // Rails: SECRET_KEY_BASE.
    "BASE",
    "PROD",
    "PRODUCTION",
    "DEV",
    "DEVELOPMENT",
    "TEST",
    "TESTING",
    "STAGING",
    "STG",
    "LIVE",
    "LOCAL",
    "SANDBOX",
    "BASE64",
    "B64",
    "VALUE",
    "PLAIN",
    "OLD",
    "NEW",
    "MAIN",
    "DEFAULT",
    "RW",
    "RO",
    "CURRENT",
];

/// Prefixes of variables that a build puts into what every browser gets.
const PUBLISHED: [&str; 11] = [
    "VITE_",
    "NEXT_PUBLIC_",
    "REACT_APP_",
    "VUE_APP_",
    "NUXT_PUBLIC_",
    "EXPO_PUBLIC_",
    "GATSBY_",
    "NG_APP_",
    "STORYBOOK_",
    "MIX_",
    "PUBLIC_",
];

/// Whether a name is a secret's, by whole words, and the value can be one.
fn is_secret(name: &[u8], value: &[u8]) -> bool {
    let upper = name.to_ascii_uppercase();
    let published = PUBLISHED.iter().any(|p| upper.starts_with(p.as_bytes()));
    let mut words = split_name_words(name);
    while words.len() > 1
        && words.last().is_some_and(|w| {
            w.iter().all(u8::is_ascii_digit) || BEHIND.iter().any(|b| b.as_bytes() == w)
        })
    {
        words.pop();
    }
    let is = |word: &[u8], list: &[&str]| list.iter().any(|l| l.as_bytes() == word);
    // `ACCESS_KEY_ID` is half of a key, and `WEBHOOK_URL` is one.
    if let [.., before, last] = &words[..]
        && ((is(before, &["KEY"]) && is(last, &["ID"]))
            || (is(before, &["WEBHOOK", "HOOK"]) && is(last, &["URL", "URI"])))
    {
        words.pop();
    }
    let Some((last, before)) = words.split_last() else { return false };
    let joined =
        |end: &str| last.strip_suffix(end.as_bytes()).is_some_and(|start| is(start, &JOINED));
    let key = (is(last, &["KEY", "KEYS"]) && !before.last().is_some_and(|w| is(w, &OPEN_KEYS)))
        || joined("KEY")
        || is(last, &["APIKEY"]);
    let hook = is(last, &["HOOK"]) && is_http_url(value);
    // `SMTP_AUTH=user:password`, and not `SMTP_AUTH=login`.
    let login = is(last, &["AUTH"]) && !is_http_url(value) && is_login(value);
    let secret = is(last, &SECRETS)
        || ENDS.iter().any(|e| last.ends_with(e.as_bytes()))
        || joined("PASS")
        || joined("PWD");
    let named = if published {
        // A browser gets it by design, unless its name says that it must not.
        is(last, &["PASSWORD", "PASSWD", "SECRET", "SECRETS"])
            || before.iter().any(|w| is(w, &["SECRET"]))
    } else {
        key || secret || hook || login
    };
    named && can_be_secret(last, value)
}

/// Beginnings of tokens that services give out and that are secret whatever their name.
const TOKENS: [&str; 14] = [
    "sk_live_",
    "rk_live_",
    "whsec_",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "SG.",
    "npm_",
    "shpat_",
];

/// Whether the value itself is a token of a known kind.
fn is_known_token(value: &[u8]) -> bool {
    TOKENS.iter().any(|token| {
        value.strip_prefix(token.as_bytes()).is_some_and(|rest| {
            rest.len() >= 16
                && rest.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        })
    })
}

fn is_http_url(value: &[u8]) -> bool {
    value.starts_with(b"https://") || value.starts_with(b"http://")
}

/// A name and a password with a colon between them.
fn is_login(value: &[u8]) -> bool {
    let Some(at) = memchr::memchr(b':', value) else { return false };
    let (name, password) = (&value[..at], &value[at + 1..]);
    !name.is_empty() && password.len() >= 6 && !value.contains(&b' ') && !password.contains(&b'/')
}

/// Settings about a secret have such names, too: `PASSWORD=true`, `TOKEN=3600`. What is empty is a
/// template's.
fn can_be_secret(last: &[u8], value: &[u8]) -> bool {
    if is_placeholder(value) {
        return true;
    }
    let switch = ["true", "false", "yes", "no", "on", "off"];
    if switch.iter().any(|s| value.eq_ignore_ascii_case(s.as_bytes())) {
        return false;
    }
    let pass = last.starts_with(b"PASS") || last.ends_with(b"PASS") || last.ends_with(b"PASSWORD");
    // The shell's own variables name folders.
    if last == b"PWD" && value.starts_with(b"/") {
        return false;
    }
    pass || !(value.len() < 6 && value.iter().all(u8::is_ascii_alphanumeric))
}

/// The words of a name, in upper case: `dbPassword`, `database.default.password`, `DB-PASS`.
fn split_name_words(name: &[u8]) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut before = b'_';
    for &b in name {
        let starts = !b.is_ascii_alphanumeric();
        let inner = b.is_ascii_uppercase() && before.is_ascii_lowercase();
        if starts || inner || words.is_empty() {
            words.push(Vec::new());
        }
        if !starts && let Some(word) = words.last_mut() {
            word.push(b.to_ascii_uppercase());
        }
        before = b;
    }
    words.retain(|w| !w.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> bool {
        is_environment(text.as_bytes(), &mut MatchInput::default())
    }

    #[test]
    fn forms() {
        for text in [
            "A=1\nDB_PASSWORD=x1\n",
            "DB_PASSWORD = not-a-real-secret\nAPP_ENV = production\n",
            "database.default.hostname = localhost\ndatabase.default.password = not-real\n",
            "APP_ENV: production\nDB_PASSWORD: not-real\n",
            "DB_PASSWORD=not-real\n",
            "\tAPP_ENV=x\n\tDB_PASSWORD=not-real\n",
            "DB_USER=u\nDB_PWD=not-real\n",
            "USER=u\nPW=not-real\n",
            "FTP_CRED=u:not-real\nX=1\n",
            "SLACK_WEBHOOK_URL=https://hooks.example/T0/B0/notreal\nX=1\n",
            "export DB_PASS=not-real\nexport B=1\n",
            "A=1\nPRIVATE_KEY=\"-----BEGIN\nAAAA\nBBBB\n\"\n",
            "dbPassword=not-real\nx=1\n",
            "DB_PASSWORD_PROD='not real'\n",
            "DBPASS=not-real\nA=1\n",
            "STRIPE_SECRET_KEY=not_real_1\nA=2\n",
            "AWS_ACCESS_KEY_ID=AKIANOTREAL\nAWS_REGION=x\n",
            "VITE_SUPABASE_SECRET=not-real-1\nB=1\n",
            "DATABASE_URL=mysql://u:not-real@db/x\nA=1\n",
            "DB_HOST=x DB_PASSWORD=not-real\n",
            "setenv DB_PASSWORD not-real\nsetenv A b\n",
            "; comment\nSECRET_KEY_BASE=notrealnotreal\n",
            "A=b\nSTRIPE_SK=sk_live_notrealnotreal01\n",
            "A=b\nSMTP_AUTH=user:not-real\n",
            "DB_PASSWORD : \"not-real\"\nX : y\n",
            "# comment\n\nDB_PASSWORD=\"not real\" # the shop's\n",
        ] {
            assert!(found(text), "{text}");
        }
    }

    #[test]
    fn whole_words() {
        for text in [
            "",
            "A=1\nB=2\n",
            "PASSENGER_APP_ENV=production\nKEYBOARD_LAYOUT=jp\nBYPASS_CACHE=true\n",
            "VITE_API_URL=https://api.example\nVITE_GOOGLE_MAPS_KEY=AIzaNotReal\n",
            "NEXT_PUBLIC_STRIPE_KEY=pk_live_notreal\nA=1\n",
            "STRIPE_PUBLISHABLE_KEY=pk_live_notreal\nRECAPTCHA_SITE_KEY=notreal\n",
            "PASSWORD_MIN_LENGTH=8\nTOKEN_TTL=3600\n",
            "LOGIN_WITH_PASSWORD=true\nA=1\n",
            "PWD=/var/www/shop\nHOME=/var/www\n",
            "PRIMARY_KEY=customer_id\nSORT_KEY=created\n",
            "the key = x\nthe pass = y\n",
            "Note: something\nPassword: use long ones\n",
            "SMTP_AUTH=login\nA=1\n",
            "SMTP_AUTH=https://a.example/b\nA=1\n",
            "IMAGE_BASE=base-image-1\nURL_BASE=/shop\n",
            "A=1 B=2\n",
            "make A=1 DB_PASSWORD=x\n",
            "MONKEY=banana-split\nTURKEY=sandwich-1\n",
        ] {
            assert!(!found(text), "{text}");
        }
    }
}
