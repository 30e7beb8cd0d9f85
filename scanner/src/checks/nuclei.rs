//! Templates of nuclei, as far as they are a plain GET with matchers.
//!
//! What a template asks for beyond that (a body, several requests that know of each other, code,
//! another protocol) is refused with the reason: a check that leaves half of it out would be true of
//! something else.

use serde_json::{Map, Value};

use super::draft::{DraftCheck, DraftCondition};

/// Most paths of one request.
const PATHS_LIMIT: usize = 500;

/// Keys of a request that change nothing about a plain GET.
const HARMLESS: [&str; 17] = [
    "cookie-reuse",
    "disable-cookie",
    "disable-path-automerge",
    "extractors",
    "host-redirects",
    "id",
    "iterate-all",
    "matchers",
    "matchers-condition",
    "max-redirects",
    "max-size",
    "method",
    "name",
    "path",
    "raw",
    "read-all",
    "redirects",
];

/// More of them.
const HARMLESS_TOO: [&str; 5] =
    ["skip-variables-check", "stop-at-first-match", "threads", "attack", "payloads"];

/// Header fields that any client sends.
const USUAL_FIELDS: [&str; 10] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "dnt",
    "host",
    "pragma",
    // Every request of the prober has one.
    "range",
    "user-agent",
];

/// Protocols that are not HTTP.
const PROTOCOLS: [&str; 12] = [
    "code",
    "dns",
    "file",
    "headless",
    "javascript",
    "network",
    "ssl",
    "tcp",
    "websocket",
    "whois",
    "workflows",
    "multi",
];

/// Why a template is not imported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ImportRefusal {
    /// It is no template at all.
    NoTemplate,
    /// It is one, and asks for more than a plain GET with matchers.
    Beyond(String),
}

type Converted<T> = Result<T, ImportRefusal>;

fn reject_template<T>(reason: impl Into<String>) -> Converted<T> {
    Err(ImportRefusal::Beyond(reason.into()))
}

/// The checks of a template, without ids of their own yet: each has the template's.
///
/// # Errors
/// The first thing that a check cannot say.
pub(super) fn convert(text: &str) -> Converted<Vec<DraftCheck>> {
    let template: Value = serde_saphyr::from_str(text)
        .map_err(|_| ImportRefusal::Beyond("cannot be read as YAML".to_owned()))?;
    let template = template.as_object().ok_or(ImportRefusal::NoTemplate)?;
    let (Some(id), Some(info)) = (to_text(template.get("id")), template.get("info")) else {
        return Err(ImportRefusal::NoTemplate);
    };
    if let Some(protocol) = PROTOCOLS.iter().find(|p| template.contains_key(**p)) {
        return reject_template(format!("is about `{protocol}`, not HTTP"));
    }
    for key in ["flow", "variables", "constants", "self-contained", "signature"] {
        if template.get(key).is_some_and(|v| *v != Value::Bool(false)) {
            return reject_template(format!("has `{key}`"));
        }
    }
    let requests = template.get("http").or_else(|| template.get("requests"));
    let requests = requests.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if requests.is_empty() {
        return reject_template("has no HTTP request");
    }
    let info = TemplateInfo::of(&id, info);
    requests.iter().map(|r| convert_request(r, &info)).collect()
}

/// What the template says of itself.
struct TemplateInfo {
    id: String,
    title: String,
    severity: &'static str,
    why: String,
    remedy: String,
}

impl TemplateInfo {
    fn of(id: &str, info: &Value) -> Self {
        let text = |key: &str| to_text(info.get(key)).filter(|t| !t.trim().is_empty());
        let severity = text("severity").unwrap_or_default().to_ascii_lowercase();
        let known = ["critical", "high", "medium", "low", "info"];
        Self {
            id: id.to_owned(),
            title: text("name").unwrap_or_else(|| id.to_owned()),
            severity: known.into_iter().find(|s| *s == severity.trim()).unwrap_or("info"),
            why: text("impact")
                .or_else(|| text("description"))
                .unwrap_or_else(|| format!("The nuclei template {id} is true of it.")),
            remedy: text("remediation")
                .unwrap_or_else(|| "Remove it from the web server, or deny it there.".to_owned()),
        }
    }
}

fn convert_request(request: &Value, info: &TemplateInfo) -> Converted<DraftCheck> {
    let Some(request) = request.as_object() else {
        return reject_template("has a request of no known form");
    };
    for (key, value) in request {
        let key = key.as_str();
        if key == "headers" {
            check_header_fields(value)?;
        } else if !HARMLESS.contains(&key) && !HARMLESS_TOO.contains(&key) {
            return reject_template(format!("has `{key}`"));
        }
    }
    let method = to_text(request.get("method")).unwrap_or_else(|| "GET".to_owned());
    if !method.eq_ignore_ascii_case("GET") {
        return reject_template(format!("requests with {}", method.to_ascii_uppercase()));
    }
    let passes_on = |e: &Value| e.get("internal") == Some(&Value::Bool(true));
    if request.get("extractors").and_then(Value::as_array).is_some_and(|e| e.iter().any(passes_on))
    {
        return reject_template("passes values from one request to the next");
    }
    let targets = match (request.get("path"), request.get("raw")) {
        (Some(path), None) => to_text_list(Some(path)),
        (None, Some(raw)) => to_text_list(Some(raw))
            .iter()
            .map(|r| parse_raw_path(r))
            .collect::<Converted<Vec<String>>>()?,
        _ => return reject_template("has no path, or paths and raw requests at once"),
    };
    let mut paths = Vec::new();
    for target in &targets {
        for path in expand_payloads(target, request.get("payloads"))? {
            let path = convert_path(&path)?;
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        if paths.len() > PATHS_LIMIT {
            return reject_template(format!("has over {PATHS_LIMIT} paths"));
        }
    }
    if paths.is_empty() {
        return reject_template("has no path");
    }
    let MatcherSet { conditions, content_alone } = convert_matchers(request)?;
    Ok(DraftCheck {
        id: info.id.clone(),
        title: info.title.clone(),
        severity: info.severity,
        why: info.why.clone(),
        remedy: info.remedy.clone(),
        signature: format!("the matchers of the nuclei template {}", info.id),
        paths,
        content_alone,
        conditions,
    })
}

fn check_header_fields(fields: &Value) -> Converted<()> {
    let Some(fields) = fields.as_object() else {
        return reject_template("has header fields of its own");
    };
    let own = fields.keys().find(|k| !USUAL_FIELDS.contains(&&*k.to_ascii_lowercase()));
    match own {
        Some(own) => {
            reject_template(format!("sends the header field `{}`", own.to_ascii_lowercase()))
        }
        None => Ok(()),
    }
}

/// The path of a raw request, if that is a plain GET.
fn parse_raw_path(raw: &str) -> Converted<String> {
    let mut lines = raw.trim_start().lines();
    let first = lines.next().unwrap_or_default();
    let mut words = first.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if method != "GET" {
        return reject_template(format!("requests with {method}"));
    }
    let mut lines = lines.map(str::trim);
    for line in lines.by_ref().take_while(|l| !l.is_empty()) {
        let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
        if !USUAL_FIELDS.contains(&&*name) {
            return reject_template(format!("sends the header field `{name}`"));
        }
    }
    if lines.any(|l| !l.is_empty()) {
        return reject_template("has `body`");
    }
    // An absolute target would go to a proxy.
    if path.starts_with('/') {
        Ok(format!("{{{{BaseURL}}}}{path}"))
    } else if path.starts_with("{{BaseURL}}") || path.starts_with("{{RootURL}}") {
        Ok(path.to_owned())
    } else {
        reject_template("requests another place than a path of the site")
    }
}

/// The target with each value of the payloads, if they are one list.
fn expand_payloads(target: &str, payloads: Option<&Value>) -> Converted<Vec<String>> {
    let Some(payloads) = payloads.and_then(Value::as_object) else {
        return Ok(vec![target.to_owned()]);
    };
    let used: Vec<&String> =
        payloads.keys().filter(|k| target.contains(&format!("{{{{{k}}}}}"))).collect();
    match used[..] {
        [] => Ok(vec![target.to_owned()]),
        [key] if payloads.len() == 1 => {
            let values = to_text_list(payloads.get(key).filter(|v| v.is_array()));
            if values.is_empty() {
                return reject_template("takes payloads from a file");
            }
            let name = format!("{{{{{key}}}}}");
            Ok(values.iter().map(|v| target.replace(&name, v)).collect())
        }
        _ => reject_template("combines several payloads"),
    }
}

/// A path in the catalogue's form.
fn convert_path(target: &str) -> Converted<String> {
    let rest = target.strip_prefix("{{BaseURL}}").or_else(|| target.strip_prefix("{{RootURL}}"));
    let Some(rest) = rest else {
        return reject_template("requests another place than a path of the site");
    };
    if !rest.is_empty() && !rest.starts_with(['/', '?']) {
        return reject_template("requests another port or host");
    }
    let mut out = String::new();
    if !rest.starts_with('/') {
        out.push('/');
    }
    let mut rest = rest;
    while let Some(open) = rest.find("{{") {
        encode(&rest[..open], &mut out);
        let Some(length) = rest[open..].find("}}") else { break };
        match rest[open + 2..open + length].trim() {
            "FQDN" | "Host" => out.push_str("{host}"),
            _ => return reject_template("makes its path by an expression"),
        }
        rest = &rest[open + length + 2..];
    }
    encode(rest, &mut out);
    Ok(out)
}

/// Percent-encodes what may not stand in a path, braces included.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        let stays = byte.is_ascii_graphic()
            && !matches!(
                byte,
                b'#' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'|' | b'{' | b'}'
            );
        if stays {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// What must hold, and whether it is only looked for in answers of 200 and 206.
struct MatcherSet {
    conditions: Vec<DraftCondition>,
    content_alone: bool,
}

fn convert_matchers(request: &Map<String, Value>) -> Converted<MatcherSet> {
    let all = request.get("matchers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if all.is_empty() {
        return convert_extractors(request);
    }
    let any = is_any(request.get("matchers-condition"));
    let (mut conditions, mut content_alone, mut about_content) = (Vec::new(), false, false);
    for matcher in all {
        let Some(matcher) = matcher.as_object() else {
            return reject_template("has a matcher of no known form");
        };
        match convert_matcher(matcher)? {
            TemplateMatcher::Status { codes, negative } => {
                let usual = !negative && codes.iter().all(|c| matches!(c, 200 | 206));
                if usual && !any {
                    content_alone = true;
                    continue;
                }
                let condition = DraftCondition::code(&codes);
                conditions.push(if negative { condition.not() } else { condition });
            }
            TemplateMatcher::Content { condition, negative } => {
                about_content |= !negative;
                conditions.push(if negative { condition.not() } else { condition });
            }
        }
    }
    if !about_content {
        return reject_template("looks at nothing but the status, or at what is not there");
    }
    let conditions = if any { vec![DraftCondition::joined(conditions, true)] } else { conditions };
    Ok(MatcherSet { conditions, content_alone })
}

/// Without a matcher a template is true where an extractor finds something.
fn convert_extractors(request: &Map<String, Value>) -> Converted<MatcherSet> {
    let all = request.get("extractors").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut found = Vec::new();
    for extractor in all {
        let kind = to_text(extractor.get("type")).unwrap_or_default();
        if kind != "regex" {
            return reject_template(format!(
                "has no matchers, and an extractor of the kind `{kind}`"
            ));
        }
        let part = MatcherPart::of(to_text(extractor.get("part")).as_deref())?;
        found.extend(to_text_list(extractor.get("regex")).iter().map(|r| part.regex(r, false)));
    }
    if found.is_empty() {
        return reject_template("has no matchers");
    }
    Ok(MatcherSet { conditions: vec![DraftCondition::joined(found, true)], content_alone: false })
}

enum TemplateMatcher {
    Status { codes: Vec<u16>, negative: bool },
    Content { condition: DraftCondition, negative: bool },
}

fn convert_matcher(matcher: &Map<String, Value>) -> Converted<TemplateMatcher> {
    let kind = to_text(matcher.get("type")).unwrap_or_else(|| "word".to_owned());
    let negative = matcher.get("negative") == Some(&Value::Bool(true));
    if kind == "status" {
        let codes = to_text_list(matcher.get("status"));
        let codes: Result<Vec<u16>, _> = codes.iter().map(|c| c.parse()).collect();
        return match codes {
            Ok(codes) if !codes.is_empty() => Ok(TemplateMatcher::Status { codes, negative }),
            _ => reject_template("has a status of no known form"),
        };
    }
    let part = MatcherPart::of(to_text(matcher.get("part")).as_deref())?;
    let nocase = matcher.get("case-insensitive") == Some(&Value::Bool(true));
    let hex = to_text(matcher.get("encoding")).is_some_and(|e| e == "hex");
    let values: Vec<DraftCondition> = match &*kind {
        "word" => {
            let words = to_text_list(matcher.get("words"));
            words.iter().map(|w| part.word(w, hex, nocase)).collect::<Converted<_>>()?
        }
        "regex" => {
            to_text_list(matcher.get("regex")).iter().map(|r| part.regex(r, nocase)).collect()
        }
        "binary" => {
            let values = to_text_list(matcher.get("binary"));
            values.iter().map(|b| part.word(b, true, nocase)).collect::<Converted<_>>()?
        }
        other => return reject_template(format!("uses the matcher `{other}`")),
    };
    if values.is_empty() {
        return reject_template("has a matcher without a value");
    }
    let condition = DraftCondition::joined(values, is_any(matcher.get("condition")));
    Ok(TemplateMatcher::Content { condition, negative })
}

/// Where a matcher looks.
enum MatcherPart {
    Body,
    Head,
    /// The value of this field.
    Field(&'static str),
    Both,
}

impl MatcherPart {
    fn of(part: Option<&str>) -> Converted<Self> {
        Ok(match part.unwrap_or("body") {
            "body" => Self::Body,
            "header" | "headers" | "all_headers" => Self::Head,
            "all" | "raw" | "response" => Self::Both,
            "content_type" => Self::Field("Content-Type"),
            "location" => Self::Field("Location"),
            "server" => Self::Field("Server"),
            "set_cookie" => Self::Field("Set-Cookie"),
            "www_authenticate" => Self::Field("Www-Authenticate"),
            other => return reject_template(format!("looks at the part `{other}`")),
        })
    }

    fn word(&self, text: &str, hex: bool, nocase: bool) -> Converted<DraftCondition> {
        if hex {
            let Some(bytes) = unhex(text).filter(|b| !b.is_empty()) else {
                return reject_template("has bytes that are not hexadecimal");
            };
            let escaped: String = bytes.iter().map(|b| format!("\\x{b:02x}")).collect();
            return Ok(self.regex(&escaped, nocase));
        }
        if text.is_empty() {
            return reject_template("has an empty word");
        }
        Ok(match self {
            Self::Body => DraftCondition::text("has", text, nocase),
            _ => self.regex(&escape_pattern(text), nocase),
        })
    }

    fn regex(&self, text: &str, nocase: bool) -> DraftCondition {
        let text = &with_literal_braces(text);
        let body = || DraftCondition::text("find", text, nocase);
        let head = || DraftCondition::text("header", text, nocase);
        match self {
            Self::Body => body(),
            Self::Head => head(),
            Self::Field(name) => {
                let field = format!("^{}: .*(?:{text})", escape_pattern(name));
                DraftCondition::text("header", &field, nocase)
            }
            Self::Both => DraftCondition::joined(vec![body(), head()], true),
        }
    }
}

/// Go takes a brace that begins no repetition for itself; the crate regex wants it escaped.
fn with_literal_braces(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut escaped, mut class) = (false, false);
    for (at, c) in text.char_indices() {
        let repeats = || {
            let inside = text[at + 1..].split('}').next().unwrap_or_default();
            let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
            let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
            at + 1 + inside.len() < text.len() && !least.is_empty() && digits(least) && digits(most)
        };
        // Behind these letters a brace names a code point or a class.
        let named = has_trailing_escape(&out);
        if c == '{' && !escaped && !class && !named && !repeats() {
            out.push('\\');
        }
        out.push(c);
        match c {
            '[' if !escaped => class = true,
            ']' if !escaped => class = false,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    out
}

/// Whether a text ends with `\x`, `\p` or `\P`.
fn has_trailing_escape(text: &str) -> bool {
    ["\\x", "\\p", "\\P"].iter().any(|letter| text.ends_with(letter))
}

/// An expression that is true of this text alone.
fn escape_pattern(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.trim().chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let byte = |pair: &[u32; 2]| u8::try_from(pair[0] << 4 | pair[1]).ok();
    rest.is_empty().then(|| pairs.iter().map(byte).collect::<Option<_>>()).flatten()
}

/// Whether a condition is `or`, as it is without a word.
fn is_any(condition: Option<&Value>) -> bool {
    to_text(condition).is_none_or(|c| !c.eq_ignore_ascii_case("and"))
}

/// A scalar as text.
fn to_text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

/// A scalar, or a list of them, as texts.
fn to_text_list(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(all)) => all.iter().filter_map(|v| to_text(Some(v))).collect(),
        value => to_text(value).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces() {
        for (from, to) in [
            ("a{3}b{1,2}c{4,}", "a{3}b{1,2}c{4,}"),
            (r#"{"a":[{]"#, r#"\{"a":[{]"#),
            (r"\{a{x}", r"\{a\{x}"),
            (r"\x{41}\p{L}", r"\x{41}\p{L}"),
            ("a{", r"a\{"),
            ("{,2}", r"\{,2}"),
        ] {
            assert_eq!(with_literal_braces(from), to);
        }
    }
}
