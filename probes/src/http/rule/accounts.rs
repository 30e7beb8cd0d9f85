//! Lists of accounts as people write them, in English and in Japanese, and addresses of people.

use std::borrow::Cow;
use std::collections::HashSet;

use encoding_rs::{EUC_JP, Encoding, ISO_2022_JP, SHIFT_JIS};

use super::MatchInput;

/// Most lines that are looked at: a memo is short.
const LINES: usize = 4096;

/// Longest line that may be a part of a list, characters.
const LONGEST: usize = 300;

/// Words at the end of a label behind which a password stands. Lower case, half-width.
const PASSWORD: [&str; 19] = [
    "password",
    "passwords",
    "passwd",
    "passcode",
    "passphrase",
    "pass",
    "pwd",
    "psw",
    "pw",
    "secret",
    "パスワード",
    "パスワ-ド",
    "ﾊﾟｽﾜｰﾄﾞ",
    "暗証番号",
    "暗証",
    "パス",
    "pass word",
    "合言葉",
    "ﾊﾟｽ",
];

/// Words at the end of a label behind which a name, an address or a host stands.
const ACCOUNT: [&str; 47] = [
    "ﾕｰｻﾞｰ",
    "ﾕｰｻﾞ",
    "ﾕｰｻﾞｰ名",
    "ｱｶｳﾝﾄ",
    "ﾛｸﾞｲﾝ",
    "ﾎｽﾄ",
    "ｻｰﾊﾞｰ",
    "名前",
    "氏名",
    "会員番号",
    "メール",
    "id",
    "user",
    "users",
    "username",
    "user name",
    "userid",
    "user id",
    "login",
    "login id",
    "loginid",
    "account",
    "name",
    "mail",
    "email",
    "e-mail",
    "mail address",
    "host",
    "hostname",
    "server",
    "url",
    "site",
    "ftp",
    "ssh",
    "db",
    "database",
    "port",
    "ユーザー名",
    "ユーザ名",
    "ユーザー",
    "ユーザ",
    "アカウント",
    "ログイン",
    "アドレス",
    "ホスト",
    "サーバー",
    "サーバ",
];

/// So many other lines may stand in a memo that holds one password.
const MEMO: usize = 6;

/// Values that say what is asked for.
const HINTS: [&str; 12] = [
    "required", "optional", "none", "string", "text", "hidden", "secret", "password", "unknown",
    "todo", "n/a", "empty",
];

/// The text, whatever its character set, with half-width letters and signs.
fn decode_text(text: &[u8]) -> Cow<'_, str> {
    let decoded: Cow<'_, str> = if memchr::memmem::find(text, b"\x1b$").is_some() {
        ISO_2022_JP.decode_without_bom_handling(text).0
    } else {
        let read =
            |set: &'static Encoding| set.decode_without_bom_handling_and_without_replacement(text);
        match std::str::from_utf8(text) {
            Ok(text) => Cow::Borrowed(text),
            // The end of what was read may be the middle of a character.
            Err(e) if e.error_len().is_none() => String::from_utf8_lossy(text),
            Err(_) => read(SHIFT_JIS)
                .or_else(|| read(EUC_JP))
                .unwrap_or_else(|| String::from_utf8_lossy(text)),
        }
    };
    if decoded.is_ascii() {
        return decoded;
    }
    let half = |c: char| match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        c => c,
    };
    Cow::Owned(decoded.chars().map(half).collect())
}

/// Whether it is a list of accounts: labels with their values, a heading with rows below it, or a
/// pair a line.
pub(super) fn is_list(text: &[u8], seen: &mut MatchInput) -> bool {
    let text = decode_text(text);
    contains_labelled_accounts(&text, seen) || contains_account_pairs(&text, seen)
}

/// A line's part in a list.
enum AccountPart<'a> {
    Password(&'a str),
    Account,
    /// A label of a password without a value.
    Waiting,
}

fn contains_labelled_accounts(text: &str, seen: &mut MatchInput) -> bool {
    let (mut accounts, mut passwords, mut others) = (0usize, 0usize, 0usize);
    let mut found = MatchInput::default();
    // Columns of a heading, and which of them is the password's.
    let mut heading: Option<(usize, usize)> = None;
    let (mut waiting, mut alone) = (false, false);
    for (number, line) in text.lines().take(LINES).enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if line.chars().count() > LONGEST {
            others += 1;
            continue;
        }
        let mut take = |value: &str| {
            passwords += 1;
            alone = is_strange(value);
            found.secret(Some(number + 1), value.as_bytes());
        };
        if std::mem::take(&mut waiting) && is_password(line, true) {
            take(line);
            continue;
        }
        if let Some(columns) = is_heading(line) {
            heading = Some(columns);
            accounts += 1;
            continue;
        }
        if let Some((columns, at)) = heading {
            let fields: Vec<&str> = split_fields(line).collect();
            if fields.len() == columns && is_password(fields[at], false) {
                take(fields[at]);
                continue;
            }
            heading = None;
        }
        let mut known = false;
        for piece in split_pieces(line) {
            match parse_account_part(piece) {
                Some(AccountPart::Password(value)) => {
                    take(value);
                    known = true;
                }
                Some(AccountPart::Account) => {
                    accounts += 1;
                    known = true;
                }
                Some(AccountPart::Waiting) => {
                    waiting = true;
                    known = true;
                }
                None => {}
            }
        }
        others += usize::from(!known);
    }
    // A memo of a few lines may have nothing but the password, if that looks like one.
    let bare = passwords == 1 && accounts == 0 && others <= MEMO;
    let memo = alone && bare && !text.contains(['<', '{']);
    let several = passwords > 0 && (accounts > 0 || passwords >= 2);
    let there = memo || (several && others <= 4 * (accounts + passwords));
    if there {
        seen.take(found);
    }
    there
}

/// Several labels may stand on one line.
fn split_pieces(line: &str) -> impl Iterator<Item = &str> {
    let address = line.contains("://");
    line.split(move |c: char| {
        matches!(c, ',' | '、' | ';' | '|' | '｜' | '\t') || (c == '/' && !address)
    })
    .flat_map(|piece| piece.split("  "))
    .flat_map(split_at_labels)
    .map(str::trim)
    .filter(|piece| !piece.is_empty())
}

/// Cuts before each label that a sign follows: `ID:admin PW:x` has two.
fn split_at_labels(piece: &str) -> impl Iterator<Item = &str> {
    let begins_label = move |at: usize| {
        let word = piece[at..].trim_start();
        let end = word.find(char::is_whitespace).unwrap_or(word.len());
        let (word, behind) = word.split_at(end);
        let behind = behind.trim_start();
        let label = word.split([':', '=', '→']).next().unwrap_or_default();
        let signed = label.len() < word.len() || behind.starts_with([':', '=', '→']);
        signed && classify_label(label).is_some()
    };
    let mut rest = Some(0);
    std::iter::from_fn(move || {
        let from = rest?;
        let blanks = piece[from..].match_indices(char::is_whitespace).map(|(at, _)| from + at);
        // The first words are a label together: `user name: x`.
        let signed = |at: &usize| piece[from..*at].contains([':', '=', '→']);
        let cut = blanks.filter(signed).find(|at| begins_label(*at));
        rest = cut;
        Some(&piece[from..cut.unwrap_or(piece.len())])
    })
}

fn parse_account_part(piece: &str) -> Option<AccountPart<'_>> {
    let bullets = ['・', '-', '*', '■', '●', '◆', '○', '□', '▼', '>', '#', '※', '◎', '★', '['];
    let piece = piece.trim_start_matches(bullets).trim_start();
    if let Some(at) = piece.find([':', '=', '→']) {
        let (label, value) = piece.split_at(at);
        let value = value.trim_start_matches([':', '=', '→', '>', ' ', '\t']).trim();
        return match classify_label(label) {
            Some(true) if value.is_empty() => Some(AccountPart::Waiting),
            Some(true) => is_password(value, false).then_some(AccountPart::Password(value)),
            Some(false) => Some(AccountPart::Account),
            None => None,
        };
    }
    let Some((label, value)) = piece.rsplit_once(char::is_whitespace) else {
        return matches!(classify_label(piece), Some(true)).then_some(AccountPart::Waiting);
    };
    match classify_label(label) {
        Some(true) => is_password(value, true).then_some(AccountPart::Password(value)),
        // Prose begins with such words, too: one word has to stand behind it.
        Some(false) => (label.split_whitespace().count() <= 2).then_some(AccountPart::Account),
        None => None,
    }
}

/// Whether a label is a password's, or an account's.
fn classify_label(label: &str) -> Option<bool> {
    let label = label.trim().trim_end_matches([']', '】', ')', '）', '」']).trim();
    if label.chars().count() > 40 {
        return None;
    }
    let label = label.to_lowercase();
    let ends = |words: &[&str]| {
        words.iter().any(|word| {
            label.strip_suffix(word).is_some_and(|before| {
                // `compass` is another word; Japanese has no blanks.
                !word.is_ascii() || !before.ends_with(|c: char| c.is_ascii_alphanumeric())
            })
        })
    };
    if ends(&PASSWORD) {
        return Some(true);
    }
    ends(&ACCOUNT).then_some(false)
}

/// Whether a value can be a password: one word of ASCII; where nothing but a blank stands before
/// it, one that is no word of a language.
fn is_password(value: &str, strange: bool) -> bool {
    let value = value.trim_matches(['"', '\'', '「', '」']);
    let plain = (3..=128).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic());
    if !plain || HINTS.iter().any(|h| value.eq_ignore_ascii_case(h)) || value.contains("://") {
        return false;
    }
    !strange || is_strange(value)
}

/// Letters with a digit or a sign among them, or a long number.
fn is_strange(value: &str) -> bool {
    let letters = value.bytes().any(|b| b.is_ascii_alphabetic());
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let signs = value.bytes().any(|b| {
        b.is_ascii_punctuation()
            && !matches!(b, b'.' | b',' | b':' | b'-' | b'/' | b'\'' | b'(' | b')')
    });
    (letters && (digits > 0 || signs)) || (digits >= 4 && digits == value.len())
}

fn split_fields(line: &str) -> impl Iterator<Item = &str> {
    line.split([',', '\t', ' ', '|', '/', ':']).map(str::trim).filter(|f| !f.is_empty())
}

/// Nothing but labels, one of them a password's: `ID / PW`. How many, and which one.
fn is_heading(line: &str) -> Option<(usize, usize)> {
    let columns: Vec<&str> = split_fields(line.trim_matches(['[', ']', '【', '】', '■'])).collect();
    let kinds: Vec<bool> = columns.iter().map(|c| classify_label(c)).collect::<Option<_>>()?;
    let at = kinds.iter().position(|k| *k)?;
    (kinds.len() >= 2 && kinds.iter().any(|k| !*k)).then_some((kinds.len(), at))
}

/// Every line is a name and a password, with the same sign between them.
fn contains_account_pairs(text: &str, seen: &mut MatchInput) -> bool {
    let lines = || {
        let lines = text.lines().take(LINES).enumerate().map(|(n, l)| (n + 1, l.trim()));
        lines.filter(|(_, l)| !l.is_empty() && !l.starts_with('#') && !l.starts_with("//"))
    };
    [':', '\t', ',', ' ', '/'].into_iter().any(|sign| {
        let mut found = MatchInput::default();
        let (mut count, mut numbers) = (0, 0);
        for (number, line) in lines() {
            let Some((name, value)) = line.split_once(sign) else { return false };
            // With a blank behind it, it is a setting.
            if sign == ':' && value.starts_with([' ', '\t']) {
                return false;
            }
            let (name, value) = (name.trim(), value.trim());
            let named = (1..=64).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.@+-".contains(&b));
            // Where the sign is one of prose, all passwords must look like one.
            let strange = matches!(sign, ' ' | '/' | ',');
            let short = strange && value.len() < 6;
            if !named || short || value.contains([sign, ' ']) || !is_password(value, strange) {
                return false;
            }
            if sign == ':' && value.starts_with('/') {
                return false;
            }
            numbers += usize::from(value.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
            count += 1;
            found.secret(Some(number), value.as_bytes());
        }
        // Numbers behind names are counts.
        let there = count >= 2 && numbers < count;
        if there {
            seen.take(found);
        }
        there
    })
}

/// Local parts of addresses that belong to nobody in particular.
const ROLES: [&str; 40] = [
    "info",
    "information",
    "support",
    "sales",
    "contact",
    "admin",
    "administrator",
    "webmaster",
    "postmaster",
    "hostmaster",
    "root",
    "noreply",
    "no-reply",
    "donotreply",
    "help",
    "helpdesk",
    "office",
    "mail",
    "shop",
    "store",
    "order",
    "orders",
    "news",
    "newsletter",
    "press",
    "media",
    "pr",
    "abuse",
    "security",
    "privacy",
    "recruit",
    "jobs",
    "hr",
    "service",
    "customer",
    "inquiry",
    "enquiry",
    "toiawase",
    "otoiawase",
    "marketing",
];

/// Whether mail addresses of two people at least stand in it.
pub(in super::super) fn contains_personal_emails(text: &[u8]) -> bool {
    let mut people: HashSet<Vec<u8>> = HashSet::new();
    for at in memchr::memchr_iter(b'@', text) {
        let before = &text[..at];
        let is_local = |b: &u8| b.is_ascii_alphanumeric() || b"._%+-".contains(b);
        let length = before.iter().rev().take(64).take_while(|b| is_local(b)).count();
        let local = before[at - length..].to_ascii_lowercase();
        if !is_domain(&text[at + 1..]) || local.is_empty() {
            continue;
        }
        let role = ROLES.iter().any(|r| {
            local.strip_prefix(r.as_bytes()).is_some_and(|rest| {
                rest.iter().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_' | b'+'))
            })
        });
        if !role {
            people.insert(local);
        }
        if people.len() >= 2 {
            return true;
        }
    }
    false
}

/// Whether a text begins with the name of a domain, which has a dot and letters at its end.
fn is_domain(text: &[u8]) -> bool {
    let length = text
        .iter()
        .take(255)
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        .count();
    let domain = text[..length].trim_ascii_end();
    let domain = domain.strip_suffix(b".").unwrap_or(domain);
    let Some(dot) = domain.iter().rposition(|b| *b == b'.') else { return false };
    let last = &domain[dot + 1..];
    dot > 0 && last.len() >= 2 && last.iter().all(u8::is_ascii_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "NotReal7f3a9c";

    fn list(text: &str) -> bool {
        is_list(text.replace("SECRET", SECRET).as_bytes(), &mut MatchInput::default())
    }

    #[test]
    fn lists() {
        for text in [
            "WordPress管理画面\nURL: https://x.example/wp-admin/\nID: admin\nPW: SECRET\n",
            "ユーザー名: admin\nパスワード: SECRET\n",
            "ID：admin\nPASS：SECRET\n",
            "［ＦＴＰ］\nＩＤ：admin\nＰＡＳＳ：SECRET\n",
            "[FTP]\nhost: ftp.example\nuser: shop\npass: SECRET\n\n[DB]\nuser: root\npass: SECRET\n",
            "■FTP\nホスト ftp.example\nID shop\nPASS SECRET\n",
            "admin SECRET\nuser SECRET2\n",
            "// admin\nuser: admin\npass: SECRET\n",
            "ID / PW\nadmin / SECRET\n",
            "ID\tPASS\nadmin\tSECRET\nshop\tSECRET2\n",
            "ID,パスワード\nadmin,sunshine\n",
            "ID: admin / PW: SECRET\n",
            "user=admin, password=SECRET\n",
            "FTPアカウント：shop\nFTPパスワード：SECRET\n",
            "DBパスワード SECRET\nメールパスワード SECRET2\n",
            "ログインID\nadmin\nパスワード\nSECRET\nURL: x\n",
            "ﾕｰｻﾞ名: a\nID: a\nﾊﾟｽﾜｰﾄﾞ: SECRET\n",
            "【FTP】\n・ユーザー名＝shop\n・パスワード＝SECRET\n",
            "ID：admin　PW：SECRET\n",
            "ID:admin PW:SECRET URL:https://x.example/\n",
            "名前,パスワード\n山田,SECRET\n佐藤,SECRET2\n",
            "WordPress\nadmin\nPASS\nSECRET\n",
            "ﾕｰｻﾞｰ: admin\nﾊﾟｽﾜｰﾄﾞ: SECRET\n",
            "root password: SECRET\n",
            "alice:not-real-1\nbob:not-real-2\n",
            "alice:sunshine\nbob:dragon\n",
            "alice@example.jp\tNotReal1\nbob@example.jp\tNotReal2\n",
        ] {
            assert!(list(text), "{text}");
        }
        for set in [SHIFT_JIS, EUC_JP, ISO_2022_JP] {
            let (text, ..) = set.encode("■ユーザー名：admin\r\n■パスワード：NotReal7f3a9c\r\n");
            assert!(is_list(&text, &mut MatchInput::default()), "{}", set.name());
        }
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "total:12345\nonline:678\nadmins:999\n",
            "Rules for passwords\nUse long ones.\n",
            "ユーザー名：半角英数字\nパスワード：8文字以上\n",
            "User name: required\nPassword: required\n",
            "Password protection\nuser guide\n",
            "name: Alice\nmail: alice@none.invalid\nurl: https://a.example/\n",
            "User-agent: *\nDisallow: /\nnote\n",
            "https://a.example/x\nhttps://b.example/y\n",
            "alice:not-real-1\n",
            "compass: north1\nbypass: road2\ntitle: Shop-1\n",
            "The password is sent by mail.\nYour id is on the card.\n",
            "version 1.2.3\nbuild 20261201\n",
            "apples 12\npears 34\n",
            "<add password=\"NotReal7f3a9c\" />\n",
            "db { password = NotReal7f3a9c }\n",
            "Password: sunshine\n",
            "Password: 8 or more\nNote: keep it\n",
            "Release 3\n\nPassword reset works again.\nFixed: login page.\n",
        ] {
            assert!(!list(text), "{text}");
        }
        let mut seen = MatchInput::default();
        assert!(is_list(b"user: your-name\npassword: your-password\n", &mut seen));
        assert!(seen.placeholders > 0 && seen.secrets == 0);
    }

    #[test]
    fn people() {
        assert!(contains_personal_emails(b"a@example.jp,b@example.jp"));
        assert!(contains_personal_emails(b"taro.yamada@mail.example.jp;hanako@example.jp"));
        for text in [
            &b""[..],
            b"info@example.jp\nsupport@example.jp\nsales-2@example.jp",
            b"a@example.jp and a@example.jp",
            b"a@b c@d",
            b"@@@@",
            b"x@1.2.3.4 y@5.6.7.8",
        ] {
            assert!(!contains_personal_emails(text), "{}", String::from_utf8_lossy(text));
        }
    }
}
