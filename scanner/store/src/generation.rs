//! A generation of the state, as it is stored: two lines of JSON.
//!
//! The first line is the [`Header`], at most [`HEADER_LIMIT`] bytes, so that a history is made from the
//! beginnings of objects. The second is the state, or a string: the state's JSON, gzipped, in base64.
//! A generation's digest is the SHA-256 of its first line, which names the digest of the second and
//! the digest of the generation before; so the chain is checked from first lines alone.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use mimawari_drift::state::State;
use mimawari_probes::format::{FormatFault, VersionedFormat, read_document};
use mimawari_probes::http::to_printable;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::objects::MAX_OBJECT;

/// Major version of the form. Its minor version is 0, which is not written.
pub const VERSION: u32 = 1;

/// A first line is shorter than this, line end included.
pub const HEADER_LIMIT: u64 = 16 * 1024;

/// A state that is larger than this is stored compressed.
const PLAIN: usize = 64 * 1024;

/// Numbers have so many digits, so that the order of names is the order of numbers.
const DIGITS: usize = 14;

/// The largest number there can be.
pub const MAX_NUMBER: u64 = 10u64.pow(DIGITS as u32) - 1;

/// The name of a generation's object, without its folder.
#[must_use]
pub fn format_generation_name(number: u64) -> String {
    format!("{number:0DIGITS$}.json")
}

/// The number in a name; `None` if no generation is called so.
#[must_use]
pub fn parse_generation_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".json")?;
    let fits = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    if fits { digits.parse().ok().filter(|n| *n > 0) } else { None }
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationHeader {
    /// Version of the form, 1.
    pub version: u32,
    /// Its own number, from 1.
    pub number: u64,
    /// The generation that it was made from; none for the first.
    pub parent: Option<ChainLink>,
    /// SHA-256 of the state's JSON, hex.
    pub content: String,
    /// Length of the state's JSON in bytes.
    pub length: u64,
    /// When it was made.
    pub at: Timestamp,
    /// The run that was judged.
    pub run: Option<String>,
    /// How it came to be.
    pub origin: GenerationOrigin,
    /// Who made it, where a person did; absent for a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Findings by state.
    pub counts: BTreeMap<String, u64>,
    /// What is known to be open and is allowed.
    pub allowed: u64,
    /// Drawn by the writer, who so knows its own generation again.
    pub writer: String,
}

impl VersionedFormat for GenerationHeader {
    const MAJOR: u32 = VERSION;

    fn major(&self) -> u32 {
        self.version
    }
}

/// A generation by number and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainLink {
    /// Its number.
    pub number: u64,
    /// SHA-256 of its first line, hex.
    pub digest: String,
}

/// How a generation came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenerationOrigin {
    /// A run was judged.
    Judged,
    /// From a `state.json` of the former form.
    TakenOver,
    /// Somebody acknowledged findings, or took that back.
    Acknowledged,
    /// A vantage was retired: nobody looks from there any more.
    VantageRetired,
    /// An earlier generation was brought back: this one.
    RolledBack(u64),
}

/// What is wrong with a stored generation.
#[derive(Debug, thiserror::Error)]
pub enum BrokenChain {
    /// No first line that is a header.
    #[error("its first line is no header")]
    Header,
    /// Of a newer version: it, or the state in it.
    #[error("it {0}")]
    Newer(FormatFault),
    /// It is another generation than its name says.
    #[error("it says that it is generation {0}")]
    Number(u64),
    /// The state is cut off, changed, or never was one.
    #[error("its content is not what its first line says: it was cut off or changed")]
    Content,
    /// The state itself.
    #[error("its content {0}")]
    State(String),
}

/// What a new generation says of itself besides number, parent and state.
#[derive(Debug, Clone)]
pub struct GenerationMeta {
    /// When it is made.
    pub at: Timestamp,
    /// The run that was judged.
    pub run: Option<String>,
    /// How it comes to be.
    pub origin: GenerationOrigin,
    /// Who makes it, where a person does.
    pub by: Option<String>,
}

/// A generation in the form in which it is stored, and its digest.
///
/// # Errors
/// When the state cannot be written as JSON, or is larger than can be read back.
pub fn encode(
    number: u64,
    parent: Option<ChainLink>,
    state: &State,
    meta: &GenerationMeta,
    writer: String,
) -> Result<(Vec<u8>, String), std::io::Error> {
    let content = serde_json::to_vec(state)?;
    let length = content.len() as u64;
    if length > MAX_OBJECT / 2 {
        return Err(std::io::Error::other(format!("the state has {length} bytes")));
    }
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for tracked in state.findings.values() {
        *counts.entry(tracked.finding.state.as_str().to_owned()).or_default() += 1;
    }
    let header = GenerationHeader {
        version: VERSION,
        number,
        parent,
        content: compute_sha256(&content),
        length,
        at: meta.at,
        // The ids of many shards make a long line.
        run: meta.run.as_ref().map(|r| r.chars().take(1000).collect()),
        origin: meta.origin,
        by: meta.by.clone(),
        counts,
        allowed: state.allowed.len() as u64,
        writer,
    };
    let mut text = serde_json::to_vec(&header)?;
    let digest = compute_sha256(&text);
    text.push(b'\n');
    if content.len() > PLAIN {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&content)?;
        serde_json::to_writer(&mut text, &BASE64.encode(gzip.finish()?))?;
    } else {
        text.extend(content);
    }
    text.push(b'\n');
    Ok((text, digest))
}

/// The first line's bytes, of the beginning of an object.
fn extract_first_line(text: &[u8]) -> &[u8] {
    let text = &text[..text.len().min(HEADER_LIMIT as usize)];
    text.split(|b| *b == b'\n').next().unwrap_or_default()
}

/// The digest by which the next generation knows this one, also when it is damaged.
#[must_use]
pub fn hash_beginning(beginning: &[u8]) -> String {
    compute_sha256(extract_first_line(beginning))
}

/// Reads the first line of the generation `number`.
///
/// # Errors
/// [`Broken`].
pub fn parse_header(number: u64, beginning: &[u8]) -> Result<GenerationHeader, BrokenChain> {
    let line = extract_first_line(beginning);
    let header: GenerationHeader = read_document(line).map_err(|fault| {
        if fault.is_newer() { BrokenChain::Newer(fault) } else { BrokenChain::Header }
    })?;
    if header.number != number {
        return Err(BrokenChain::Number(header.number));
    }
    Ok(header)
}

/// Reads the generation `number` whole.
///
/// # Errors
/// [`Broken`].
pub fn decode(number: u64, text: &[u8]) -> Result<(GenerationHeader, State), BrokenChain> {
    let header = parse_header(number, text)?;
    let rest = text.get(extract_first_line(text).len() + 1..).ok_or(BrokenChain::Content)?;
    let rest = rest.strip_suffix(b"\n").ok_or(BrokenChain::Content)?;
    let content = if rest.first() == Some(&b'"') {
        let text: String = serde_json::from_slice(rest).map_err(|_| BrokenChain::Content)?;
        let packed = BASE64.decode(text).map_err(|_| BrokenChain::Content)?;
        let mut content = Vec::new();
        // One byte more than it says is enough to see that it lies.
        GzDecoder::new(&packed[..])
            .take(header.length.min(MAX_OBJECT) + 1)
            .read_to_end(&mut content)
            .map_err(|_| BrokenChain::Content)?;
        content
    } else {
        rest.to_vec()
    };
    if content.len() as u64 != header.length || compute_sha256(&content) != header.content {
        return Err(BrokenChain::Content);
    }
    let content = std::str::from_utf8(&content).map_err(|_| BrokenChain::Content)?;
    let state = State::parse(content).map_err(|fault| {
        if fault.is_newer() {
            BrokenChain::Newer(fault)
        } else {
            BrokenChain::State(format_fault(&fault))
        }
    })?;
    Ok((header, state))
}

/// What is wrong with a state. It may repeat what the state holds, so it is made fit for a screen.
#[must_use]
pub fn format_fault(fault: &FormatFault) -> String {
    to_printable(fault.to_string().as_bytes(), 300)
}

/// SHA-256, in hexadecimal.
#[must_use]
pub fn compute_sha256(bytes: &[u8]) -> String {
    mimawari_targets::hex::encode(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> GenerationMeta {
        let at = "2026-11-24T08:00:00Z".parse().unwrap();
        GenerationMeta {
            at,
            run: Some("r1".to_owned()),
            origin: GenerationOrigin::Judged,
            by: None,
        }
    }

    fn large() -> State {
        let mut state = State::default();
        let at = meta().at;
        for n in 0..2000u32 {
            let ip = std::net::Ipv4Addr::from(n).into();
            let port = mimawari_targets::Port::new(80).unwrap();
            let allowed = mimawari_drift::state::AllowedPort::new(
                mimawari_drift::subject::Subject::tcp(ip, port),
                "r".into(),
                at,
            );
            state.allowed.insert(format!("{n:016x}").parse().unwrap(), allowed);
        }
        state
    }

    #[test]
    fn what_is_written_is_read_plain_and_compressed() {
        for state in [State::default(), large()] {
            let (text, own) = encode(7, None, &state, &meta(), "w".to_owned()).unwrap();
            let (header, read) = decode(7, &text).unwrap();
            assert_eq!(read, state);
            assert_eq!((header.number, header.allowed), (7, state.allowed.len() as u64));
            assert_eq!(hash_beginning(&text), own);
            assert!(matches!(decode(8, &text), Err(BrokenChain::Number(7))));
            // A stored generation is JSON, line for line.
            for line in text.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                serde_json::from_slice::<serde_json::Value>(line).unwrap();
            }
        }
        let (text, _) = encode(1, None, &large(), &meta(), "w".to_owned()).unwrap();
        assert!(text.len() < serde_json::to_vec(&large()).unwrap().len() / 4, "not compressed");
    }

    #[test]
    fn no_cut_and_no_changed_byte_goes_unseen() {
        for state in [State::default(), large()] {
            let (text, own) = encode(7, None, &state, &meta(), "w".to_owned()).unwrap();
            for cut in (0..text.len()).step_by(1 + text.len() / 500) {
                assert!(decode(7, &text[..cut]).is_err(), "cut at {cut} of {}", text.len());
            }
            for at in (0..text.len()).step_by(1 + text.len() / 500) {
                let mut changed = text.clone();
                changed[at] ^= 1;
                // A changed header may still be a header; then its digest is another one.
                let seen = decode(7, &changed).is_err() || hash_beginning(&changed) != own;
                // Padding of base64 and of gzip's header carry no content.
                let same = decode(7, &changed).is_ok_and(|(_, s)| s == state);
                assert!(seen || same, "byte {at} of {}", text.len());
            }
        }
    }

    #[test]
    fn a_number_is_fourteen_digits() {
        assert_eq!(format_generation_name(42), "00000000000042.json");
        assert_eq!(parse_generation_number("00000000000042.json"), Some(42));
        for other in ["42.json", "00000000000000.json", "0000000000004a.json", "latest", "x#1"] {
            assert_eq!(parse_generation_number(other), None, "{other}");
        }
    }

    #[test]
    fn a_packed_content_that_lies_about_its_length_is_not_unpacked() {
        let bomb = vec![b'a'; 50 << 20];
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&bomb).unwrap();
        let (text, _) = encode(1, None, &State::default(), &meta(), "w".to_owned()).unwrap();
        let mut forged = extract_first_line(&text).to_vec();
        forged.push(b'\n');
        serde_json::to_writer(&mut forged, &BASE64.encode(gzip.finish().unwrap())).unwrap();
        forged.push(b'\n');
        assert!(matches!(decode(1, &forged), Err(BrokenChain::Content)));
    }
}
