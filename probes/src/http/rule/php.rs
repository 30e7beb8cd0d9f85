//! Source of PHP: a raw opening tag that no running PHP leaves in what it prints.

use super::super::gate::{find, find_ignoring_case};
use super::enumerate_lines;
use super::{MatchInput, compute_line_number};

/// Elements in which pages quote code. What stands in them is no source.
const QUOTING: [&[u8]; 9] =
    [b"pre", b"code", b"script", b"style", b"textarea", b"xmp", b"samp", b"kbd", b"title"];

/// Words that begin a statement or an expression.
const KEYWORDS: [&[u8]; 46] = [
    b"abstract",
    b"array",
    b"break",
    b"catch",
    b"class",
    b"clone",
    b"const",
    b"continue",
    b"declare",
    b"default",
    b"die",
    b"do",
    b"echo",
    b"else",
    b"elseif",
    b"empty",
    b"enum",
    b"eval",
    b"exit",
    b"final",
    b"fn",
    b"for",
    b"foreach",
    b"function",
    b"global",
    b"goto",
    b"if",
    b"include",
    b"include_once",
    b"interface",
    b"isset",
    b"list",
    b"namespace",
    b"new",
    b"print",
    b"readonly",
    b"require",
    b"require_once",
    b"return",
    b"static",
    b"switch",
    b"throw",
    b"trait",
    b"try",
    b"unset",
    b"use",
];

/// Notes where the source begins, if it is some.
pub(super) fn is_source(text: &[u8], seen: &mut MatchInput) -> bool {
    let Some((at, tag)) = find_code_tag(text) else { return false };
    seen.at(compute_line_number(text, at), Some(tag));
    true
}

/// The first raw tag with code behind it. In one pass: what was passed over is never looked at
/// again.
fn find_code_tag(text: &[u8]) -> Option<(usize, &'static [u8])> {
    // Tags in files of other kinds are there by chance.
    if memchr::memchr(0, text).is_some() {
        return None;
    }
    // Behind a fence of Markdown code is quoted.
    let text = &text[..find(text, b"```").unwrap_or(text.len())];
    let mut at = 0;
    while let Some(open) = memchr::memchr(b'<', text.get(at..)?).map(|i| at + i) {
        let rest = &text[open..];
        if is_php_script(rest) {
            return Some((open, b"<script"));
        }
        // A template may make its title of one statement.
        if let Some(inside) = extract_element_text(rest, b"title")
            && let Some((length, tag)) = find_tag(inside)
            && begins_code(&inside[length..], tag == b"<?=")
        {
            return Some((text.len() - inside.len(), tag));
        }
        if let Some(name) = QUOTING.iter().find(|name| begins_element(&rest[1..], name)) {
            let end = [b"</", *name].concat();
            at = open + find_ignoring_case(rest, &end)? + end.len();
            continue;
        }
        if let Some((length, tag)) = find_tag(rest)
            && is_code(text, open, &rest[length..], tag)
        {
            return Some((open, tag));
        }
        at = open + 1;
    }
    None
}

fn begins_element(text: &[u8], name: &[u8]) -> bool {
    text.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name))
        && text.get(name.len()).is_none_or(|b| b.is_ascii_whitespace() || matches!(b, b'>' | b'/'))
}

/// The tag that PHP took until version 7: `<script language="php">`.
fn is_php_script(text: &[u8]) -> bool {
    if !begins_element(&text[1..], b"script") {
        return false;
    }
    let end = memchr::memchr(b'>', &text[..text.len().min(128)]);
    let Some(attributes) = end.map(|end| &text[b"<script".len()..end]) else { return false };
    let bare: Vec<u8> = attributes
        .iter()
        .filter(|b| !b.is_ascii_whitespace() && !matches!(b, b'"' | b'\''))
        .map(u8::to_ascii_lowercase)
        .collect();
    bare == b"language=php"
}

/// What stands behind the opening tag of this element, white space at its beginning aside.
fn extract_element_text<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    if !begins_element(&text[1..], name) {
        return None;
    }
    let end = memchr::memchr(b'>', &text[..text.len().min(256)])?;
    Some(text[end + 1..].trim_ascii_start())
}

/// `<?php`, `<?=`, or the short form: `<?` and white space.
fn find_tag(text: &[u8]) -> Option<(usize, &'static [u8])> {
    let rest = text.strip_prefix(b"<?")?;
    if rest.get(..3).is_some_and(|t| t.eq_ignore_ascii_case(b"php")) {
        return rest.get(3).is_none_or(u8::is_ascii_whitespace).then_some((5, b"<?php"));
    }
    if rest.first() == Some(&b'=') {
        return Some((3, b"<?="));
    }
    rest.first()?.is_ascii_whitespace().then_some((2, b"<?"))
}

/// Whether code stands behind the tag, rather than prose that mentions it.
fn is_code(text: &[u8], open: usize, behind: &[u8], tag: &[u8]) -> bool {
    let before = &text[..open];
    let line = before[memchr::memrchr(b'\n', before).map_or(0, |i| i + 1)..].trim_ascii();
    let end = memchr::memchr(b'\n', behind).unwrap_or(behind.len());
    let rest_of_line = &behind[..end];
    if let Some(quote @ (b'"' | b'\'' | b'`')) = before.last() {
        // In an attribute of a template the tag is closed before the quotation is.
        let closed = find(rest_of_line, b"?>");
        let ended = memchr::memchr(*quote, rest_of_line);
        let template = matches!((closed, ended), (Some(c), Some(e)) if c < e || *quote != b'`');
        if !template {
            return false;
        }
    }
    // Behind markup, or at the beginning of a line.
    if line.is_empty() || line.ends_with(b">") || line.ends_with(b"\"") || line.ends_with(b"'") {
        return begins_code(behind, tag == b"<?=");
    }
    // Behind words a statement has to follow on the same line, to its end.
    begins_code(rest_of_line, tag == b"<?=")
        && (rest_of_line.contains(&b';') || find(rest_of_line, b"?>").is_some())
}

/// Whether a text begins like a statement or, behind `<?=`, like an expression.
fn begins_code(text: &[u8], expression: bool) -> bool {
    // White space in code is short; the bound keeps all this in one pass.
    let text = text[..text.len().min(4096)].trim_ascii_start();
    let word = |from: &[u8]| from.iter().take_while(|b| is_word(**b)).count();
    match text {
        [b'$', rest @ ..] => word(rest) > 0 || rest.first() == Some(&b'{'),
        [b'/', b'/' | b'*', ..] | [b'#' | b'[' | b'(' | b'@' | b'!' | b'\\' | b'{', ..] => true,
        [b'\'' | b'"' | b'-' | b'0'..=b'9', ..] => expression,
        _ => {
            let length = word(text);
            let (name, rest) = text.split_at(length);
            let close = &rest[..rest.len().min(64)];
            let close = close.trim_ascii_start();
            let known = KEYWORDS.iter().any(|k| name.eq_ignore_ascii_case(k));
            // A call, a member of a class, a name in a namespace.
            let used = close.starts_with(b"(")
                || close.starts_with(b"::")
                || (close.starts_with(b"\\") && !close.starts_with(b"\\n"));
            let argument = || match close.first() {
                None => false,
                Some(b) => {
                    matches!(
                        b,
                        b'$' | b'\''
                            | b'"'
                            | b'('
                            | b'{'
                            | b'['
                            | b';'
                            | b'\\'
                            | b'<'
                            | b'?'
                            | b'/'
                            | b'_'
                    ) || b.is_ascii_alphanumeric()
                }
            };
            length > 0 && (used || (known && argument()) || (expression && !name.is_empty()))
        }
    }
}

const fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80
}

/// A line that names a password, and the value that it gives.
pub(super) fn contains_password_line(text: &[u8], seen: &mut MatchInput) -> bool {
    const TOKENS: [&[u8]; 6] = [b"password", b"passwd", b"db_pass", b"dbpass", b"'pass'", b"$pass"];
    let mut named = false;
    for (number, line) in enumerate_lines(text) {
        let Some(at) = TOKENS.iter().find_map(|t| find_ignoring_case(line, t)) else {
            continue;
        };
        named = true;
        if let Some(value) = parse_quoted_value(&line[at..]) {
            seen.secret(Some(number), value);
        }
    }
    named
}

/// The quoted value behind the next `=`, `=>` or `,` of a PHP line.
fn parse_quoted_value(rest: &[u8]) -> Option<&[u8]> {
    let at = rest.iter().position(|b| matches!(b, b'=' | b','))?;
    let value = rest[at + 1..].trim_ascii_start();
    let value = value.strip_prefix(b">").unwrap_or(value).trim_ascii_start();
    let quote = *value.first().filter(|b| matches!(b, b'\'' | b'"'))?;
    let end = memchr::memchr(quote, &value[1..])?;
    Some(&value[1..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(text: &str) -> Option<usize> {
        find_code_tag(text.as_bytes()).map(|(at, _)| at)
    }

    /// Ordinary ways to write a file with a password.
    #[test]
    fn source() {
        for text in [
            "<?php\n$a = 1;\n",
            "<?\n$password = 'x';\n?>\n",
            "<? $password = 'x'; ?>",
            "<?php\nconst DB_PASSWORD = 'x';\n",
            "<?php\nclass Secrets {\n  const PASSWORD = 'x';\n}\n",
            "<?php\ndeclare(strict_types=1);\nnamespace App;\n",
            "<?php\nnamespace App;\n",
            "<?php\nuse Foo\\Bar;\n",
            "<?php\nmysqli_connect('localhost', 'root', 'x');\n",
            "<?php\nputenv('DB_PASSWORD=x');\n",
            "<?php die(); ?>\nadmin\tx\n",
            "<?php exit; ?>\nadmin:x\n",
            "# users.auth.php\n# <?php exit()?>\nadmin:x:Admin\n",
            "<!DOCTYPE html>\n<html><body>\n<?php\n$password = 'x';\n?>\n</body></html>\n",
            "<!-- config -->\n<?php\n$password = 'x';\n",
            "設定 <?php $password = 'x'; ?>\n",
            "<?php eval(gzinflate(base64_decode('x')));",
            "<?php\necho 'password: x';\n",
            "<?php\n['password' => 'x'];\n",
            "<?php\nglobal $cfg;\n$cfg->password = 'x';\n",
            "<?php\nlist($u, $p) = ['a', 'x'];\n",
            "<?php\n// admin / x\n",
            "<?php\n/* admin / x */\n",
            "<?php\nprint <<<E\nx\nE;\n",
            "<script src=\"//ad.example/x.js\"></script>\n<?php\n$password = 'x';\n",
            "<?php # x\n",
            "<?php return ['a' => 1];",
            "<?php\nif (!defined('A')) exit;\n",
            "<?php\nabstract class A {}\n",
            "<?php\nenum A: string {}\n",
            "<?php\n\\App\\Config::set('x');\n",
            "<?php\nConfig::set('password', 'x');\n",
            "<?php\n@include 'x';\n",
            "<html><body><a href=\"<?php echo $url; ?>\">x</a>\n",
            "<h1><?= $title ?></h1>\n<p><?= h('x') ?></p>",
            "<td><?php echo DB_PASSWORD ?></td>",
            "<pre>x</pre>\n<?php\n$a = 1;\n",
            "<html><body>\n<?php foreach ($a as $b): ?>\n",
        ] {
            assert!(begins(text).is_some(), "{text}");
        }
        let long = format!("{}\n<?php\n$password = 'x';\n", "#".repeat(40_000));
        assert!(begins(&long).is_some());
    }

    #[test]
    fn what_only_quotes_it() {
        for text in [
            "",
            "<?php",
            "<?phpx $a = 1;",
            "<?xml version=\"1.0\"?>\n<a/>",
            "<? xml ?>",
            "<html><pre>\n<?php\n$a = 1;\n</pre></html>",
            "<html><code><?php $a = 1; ?></code></html>",
            "<SCRIPT type=x>var a = '<?php echo 1; ?>';</SCRIPT>",
            "<textarea><?php\n$a = 1;</textarea>",
            "<script>never closed <?php $a = 1; ?>",
            "Write `<?php $a = 1;` at the top.",
            "```php\n<?php\n$a = 1;\n```",
            "Parse error: syntax error, unexpected '<?php' in /home/www/a.php on line 1\n",
            "A script begins with <?php\n$password = 'x';\n",
            "Keep a copy of it, which begins with <?php and sets $password = 'x';\n",
            "<p>The tag <?php starts a script.</p>",
            "<?php and then some words",
            "&lt;?php $a = 1;",
            "a\0<?php $a = 1;",
        ] {
            assert_eq!(begins(text), None, "{text}");
        }
    }
}
