//! JSON as configuration files hold it: with comments, with a comma before a closing bracket, and
//! perhaps cut off where reading ended (RFC 8259, and what editors allow beside it).

use std::borrow::Cow;

use memchr::memmem;

/// Deepest nesting; what is deeper is no configuration file.
const DEPTH_LIMIT: usize = 64;

/// Most values of one document that are looked at.
const NODE_LIMIT: usize = 50_000;

/// A document, as a table of its values.
#[derive(Debug)]
pub(super) struct JsonScanner<'a> {
    text: &'a [u8],
    nodes: Vec<JsonNode>,
}

#[derive(Debug, Clone, Copy)]
struct JsonNode {
    parent: usize,
    /// Of the name within an object; empty elsewhere.
    name: (usize, usize),
    /// Of a text without its quotes, of a word or number as it is.
    value: (usize, usize),
    kind: JsonKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JsonKind {
    Object,
    Array,
    Text,
    Word,
}

/// Why reading ended early.
enum JsonEnd {
    /// The text is over.
    Cut,
    /// It is not JSON.
    Broken,
}

impl<'a> JsonScanner<'a> {
    /// Reads an object or an array. A document that ends too early is taken as far as it goes if
    /// there was more of it that was not read.
    pub(super) fn read(text: &'a [u8], truncated: bool) -> Option<Self> {
        let mut reader = JsonReader { text, at: 0, nodes: Vec::new() };
        let done = reader.document();
        let whole = match done {
            Ok(()) => reader.blank().is_ok() && reader.at == text.len(),
            Err(JsonEnd::Cut) => truncated,
            Err(JsonEnd::Broken) => false,
        };
        let is_container = matches!(reader.nodes.first()?.kind, JsonKind::Object | JsonKind::Array);
        (whole && is_container).then_some(Self { text, nodes: reader.nodes })
    }

    /// The values at a pointer, by number.
    pub(super) fn at(&self, steps: &[String]) -> impl Iterator<Item = usize> {
        (1..self.nodes.len()).filter(move |n| self.lies_at(*n, steps))
    }

    /// The text of a string, the word or number as it is written; nothing for a container.
    pub(super) fn text(&self, node: usize) -> Option<Cow<'a, [u8]>> {
        let node = self.nodes[node];
        let raw = &self.text[node.value.0..node.value.1];
        match node.kind {
            JsonKind::Text => Some(decode_escapes(raw)),
            JsonKind::Word => Some(Cow::Borrowed(raw)),
            JsonKind::Object | JsonKind::Array => None,
        }
    }

    /// Where a value begins.
    pub(super) fn offset(&self, node: usize) -> usize {
        self.nodes[node].value.0
    }

    /// The name of a value within its object.
    pub(super) fn name(&self, node: usize) -> &'a [u8] {
        let (from, to) = self.nodes[node].name;
        &self.text[from..to]
    }

    /// The object or array around a value.
    pub(super) fn parent(&self, node: usize) -> usize {
        self.nodes[node].parent
    }

    /// All values but the document itself.
    pub(super) fn nodes(&self) -> std::ops::Range<usize> {
        1..self.nodes.len()
    }

    fn lies_at(&self, node: usize, steps: &[String]) -> bool {
        let Some((last, before)) = steps.split_last() else {
            return node == 0;
        };
        if last == "**" {
            // Any number of steps: none, or one and again.
            return self.lies_at(node, before)
                || (node != 0 && self.lies_at(self.nodes[node].parent, steps));
        }
        node != 0
            && (last == "*" || last.as_bytes() == self.name(node))
            && self.lies_at(self.nodes[node].parent, before)
    }
}

struct JsonReader<'a> {
    text: &'a [u8],
    at: usize,
    nodes: Vec<JsonNode>,
}

impl JsonReader<'_> {
    /// Without recursion: the depth is the sender's choice.
    fn document(&mut self) -> Result<(), JsonEnd> {
        let mut open: Vec<usize> = Vec::new();
        self.value(usize::MAX, (0, 0), &mut open)?;
        while let Some(&container) = open.last() {
            let is_object = self.nodes[container].kind == JsonKind::Object;
            let close = if is_object { b'}' } else { b']' };
            self.blank()?;
            if self.peek()? == b',' {
                self.at += 1;
                self.blank()?;
            }
            if self.peek()? == close {
                self.at += 1;
                open.pop();
                continue;
            }
            let mut name = (0, 0);
            if is_object {
                if self.peek()? != b'"' {
                    return Err(JsonEnd::Broken);
                }
                name = self.string()?;
                self.blank()?;
                if self.peek()? != b':' {
                    return Err(JsonEnd::Broken);
                }
                self.at += 1;
                self.blank()?;
            }
            self.value(container, name, &mut open)?;
        }
        Ok(())
    }

    fn value(
        &mut self,
        parent: usize,
        name: (usize, usize),
        open: &mut Vec<usize>,
    ) -> Result<(), JsonEnd> {
        self.blank()?;
        if self.nodes.len() >= NODE_LIMIT || open.len() >= DEPTH_LIMIT {
            return Err(JsonEnd::Broken);
        }
        let from = self.at;
        let parent = if parent == usize::MAX { 0 } else { parent };
        let (value, kind) = match self.peek()? {
            b'{' => {
                self.at += 1;
                open.push(self.nodes.len());
                ((from, from), JsonKind::Object)
            }
            b'[' => {
                self.at += 1;
                open.push(self.nodes.len());
                ((from, from), JsonKind::Array)
            }
            b'"' => (self.string()?, JsonKind::Text),
            b if b.is_ascii_alphanumeric() || b == b'-' => {
                let rest = &self.text[from..];
                let word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.');
                let length = rest.iter().take_while(|b| word(b)).count();
                self.at += length;
                let word = &rest[..length];
                let known = matches!(word, b"true" | b"false" | b"null")
                    || matches!(word[0], b'0'..=b'9' | b'-');
                if !known {
                    // A word may be cut off as well.
                    return Err(if self.at == self.text.len() {
                        JsonEnd::Cut
                    } else {
                        JsonEnd::Broken
                    });
                }
                ((from, self.at), JsonKind::Word)
            }
            _ => return Err(JsonEnd::Broken),
        };
        self.nodes.push(JsonNode { parent, name, value, kind });
        Ok(())
    }

    fn peek(&self) -> Result<u8, JsonEnd> {
        self.text.get(self.at).copied().ok_or(JsonEnd::Cut)
    }

    /// What is between the quotes.
    fn string(&mut self) -> Result<(usize, usize), JsonEnd> {
        let from = self.at + 1;
        let mut at = from;
        loop {
            match self.text.get(at).ok_or(JsonEnd::Cut)? {
                b'"' => break,
                b'\\' => at += 2,
                // Control characters must be escaped; a line end here is some other language.
                0..=0x1f => return Err(JsonEnd::Broken),
                _ => at += 1,
            }
        }
        self.at = at + 1;
        Ok((from, at))
    }

    /// Passes over white space and comments.
    fn blank(&mut self) -> Result<(), JsonEnd> {
        loop {
            let rest = &self.text[self.at..];
            let rest = {
                let trimmed = rest.trim_ascii_start();
                self.at += rest.len() - trimmed.len();
                trimmed
            };
            if rest.starts_with(b"//") {
                self.at += memchr::memchr(b'\n', rest).ok_or(JsonEnd::Cut).unwrap_or(rest.len());
            } else if rest.starts_with(b"/*") {
                self.at += memmem::find(&rest[2..], b"*/").ok_or(JsonEnd::Cut)? + 4;
            } else {
                return Ok(());
            }
        }
    }
}

/// The bytes that an escaped text stands for; escapes that mean nothing stay as they are.
fn decode_escapes(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        at += 1;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some(&escape) = raw.get(at) else { break };
        at += 1;
        match escape {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'u' => {
                let digits = raw.get(at..at + 4).and_then(|d| std::str::from_utf8(d).ok());
                let code = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
                let c = code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                at += 4;
            }
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str, pointer: &str) -> Vec<String> {
        let json = JsonScanner::read(text.as_bytes(), false).expect("JSON");
        let steps: Vec<String> = pointer[1..].split('/').map(str::to_owned).collect();
        json.at(&steps)
            .map(|n| {
                json.text(n).map_or("…".to_owned(), |t| String::from_utf8_lossy(&t).into_owned())
            })
            .collect()
    }

    #[test]
    fn pointers() {
        let text = r#"{"a":{"b":"x","c":[1,{"b":"y\n"}]}, // remark
            "b": true, /* another */ "d": [],}"#;
        assert_eq!(values(text, "/a/b"), ["x"]);
        assert_eq!(values(text, "/**/b"), ["x", "y\n", "true"]);
        assert_eq!(values(text, "/*/b"), ["x"]);
        assert_eq!(values(text, "/a/c"), ["…"]);
        assert_eq!(values(text, "/a/c/*"), ["1", "…"]);
        assert_eq!(values(text, "/d/*"), [""; 0]);
        assert_eq!(values(text, "/x"), [""; 0]);
    }

    #[test]
    fn what_is_no_document() {
        for text in [
            "",
            "1",
            "\"a\"",
            "{",
            "{}x",
            "{a:1}",
            "{\"a\"}",
            "[tru]",
            "[core]\na = 1",
            "{\"a\nb\":1}",
        ] {
            assert!(JsonScanner::read(text.as_bytes(), false).is_none(), "{text}");
        }
        assert!(JsonScanner::read("[".repeat(1000).as_bytes(), true).is_none());
    }

    #[test]
    fn a_cut_document_counts_as_far_as_it_goes() {
        let text = br#"{"type":"service_account","private_key":"-----BEG"#;
        assert!(JsonScanner::read(text, false).is_none());
        let json = JsonScanner::read(text, true).expect("its beginning");
        assert_eq!(json.at(&["type".to_owned()]).count(), 1);
        assert_eq!(json.at(&["private_key".to_owned()]).count(), 0);
    }
}
