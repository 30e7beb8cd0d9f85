//! masscan's lists and JSON.
//!
//! Both name what answered and nothing else: neither which ports and addresses were asked, nor which
//! of them were silent.

use std::io::BufRead;

use anyhow::Result;
use mimawari_probes::gap::{Gap, ImportEnd};
use mimawari_probes::observation::CellState;
use serde::Deserialize;

use super::lines::LineReader;
use super::seen::{
    CellSink, ImportedFacts, SeenCells, SourceLocation, sanitise_foreign_text, to_service_facts,
};

/// Longest line or object: a banner is in it.
const ITEM: u64 = 1 << 20;

fn build_imported_facts(cut_off: Option<ImportEnd>, others: u64) -> ImportedFacts {
    let cut_off = cut_off.map(|end| Gap::ImportCutOff { end, reason: None });
    let others = (others > 0).then_some(Gap::OtherProtocols { entries: others });
    ImportedFacts {
        method: "masscan".to_owned(),
        lists_answers_only: Some("masscan"),
        cut_off,
        gaps: others.into_iter().collect(),
        ..ImportedFacts::default()
    }
}

/// `open` or `closed`; masscan writes the latter if it was asked to show it.
fn parse_state(word: &str) -> Option<CellState> {
    match word {
        "open" => Some(CellState::Open),
        "closed" => Some(CellState::Closed),
        _ => None,
    }
}

/// Reads `masscan -oL`: `open tcp 80 198.51.100.7 1795522377`, and `banner tcp 22 … ssh SSH-2.0…`.
///
/// # Errors
/// With the line: what is none of these, a number or address that is none.
pub(super) fn list(
    input: impl BufRead,
    name: &str,
    sink: &mut dyn CellSink,
) -> Result<ImportedFacts> {
    let mut input = LineReader::new(input, ITEM);
    let mut line = Vec::new();
    let mut others = 0;
    let mut ended = false;
    loop {
        line.clear();
        input.next_item();
        let place = SourceLocation { file: name, line: input.line() };
        let n = input.read_until(b'\n', &mut line).map_err(|e| place.wrong(e))?;
        if n == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        let whole = text.ends_with('\n');
        let text = text.trim();
        ended |= text == "# end";
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        // The last line of a file that was cut off may end in the middle of a number.
        if !whole {
            break;
        }
        let words: Vec<&str> = text.splitn(7, ' ').collect();
        let [kind, protocol, port, ip, at, rest @ ..] = words.as_slice() else {
            return Err(place.wrong(format_args!(
                "`{}` is no line of masscan -oL",
                sanitise_foreign_text(text)
            )));
        };
        if *protocol != "tcp" {
            others += 1;
            continue;
        }
        let (ip, at) = (place.ip(ip)?, Some(place.time(at)?));
        let Some(port) = place.port(port)? else { continue };
        let seen = |state, service, connected| SeenCells {
            ip,
            port,
            state,
            at,
            ttl: None,
            connected,
            service,
        };
        match (*kind, parse_state(kind)) {
            (_, Some(state)) => sink.port(seen(state, None, false))?,
            ("banner", None) => {
                let name = rest.first().copied().unwrap_or_default();
                let banner = rest.get(1).copied().unwrap_or_default();
                sink.port(seen(CellState::Open, Some(to_service_facts(name, banner)), true))?;
            }
            _ => {
                return Err(place.wrong(format_args!(
                    "`{}` is no line of masscan -oL",
                    sanitise_foreign_text(text)
                )));
            }
        }
    }
    let cut_off = (!ended).then_some(ImportEnd::NoEndLine);
    Ok(build_imported_facts(cut_off, others))
}

/// A record of `-oJ` (with `ports`) or of `-oD` (with `port`).
#[derive(Deserialize)]
struct MasscanRecord {
    ip: Option<String>,
    timestamp: Option<JsonNumber>,
    #[serde(default)]
    ports: Vec<PortRecord>,
    port: Option<u64>,
    proto: Option<String>,
    data: Option<MasscanData>,
}

/// masscan writes times as strings; tools that rewrite them write numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum JsonNumber {
    Text(String),
    Number(u64),
}

#[derive(Deserialize)]
struct PortRecord {
    port: u64,
    proto: String,
    status: Option<String>,
    ttl: Option<u8>,
    service: Option<MasscanBanner>,
}

#[derive(Deserialize)]
struct MasscanBanner {
    #[serde(default)]
    name: String,
    #[serde(default)]
    banner: String,
}

#[derive(Deserialize)]
struct MasscanData {
    status: Option<String>,
    ttl: Option<u8>,
    service_name: Option<String>,
    banner: Option<String>,
}

/// Reads `masscan -oJ` or `-oD`: objects, in an array or one a line. Older versions end the array
/// with `{finished: 1}`, which is no JSON, and that is borne.
///
/// # Errors
/// With the line: what is no such record, a number or address that is none.
pub(super) fn read_json(
    input: impl BufRead,
    name: &str,
    sink: &mut dyn CellSink,
) -> Result<ImportedFacts> {
    let mut input = LineReader::new(input, ITEM);
    let mut others = 0;
    let (mut array, mut closed, mut cut) = (false, false, false);
    let mut object = Vec::new();
    loop {
        input.next_item();
        let place = SourceLocation { file: name, line: input.line() };
        let Some(byte) = read_byte(&mut input).map_err(|e| place.wrong(e))? else { break };
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' => continue,
            b'[' => array = true,
            b']' => closed = true,
            b'{' => {
                let place = SourceLocation { file: name, line: input.line() };
                object.clear();
                object.push(b'{');
                if !read_object_rest(&mut input, &mut object).map_err(|e| place.wrong(e))? {
                    cut = true;
                    break;
                }
                if is_trailer(&object) {
                    continue;
                }
                let record: MasscanRecord = serde_json::from_slice(&object).map_err(|e| {
                    place.wrong(format_args!(
                        "not a record of masscan: {}",
                        sanitise_foreign_text(&e.to_string())
                    ))
                })?;
                take(record, place, sink, &mut others)?;
            }
            other => {
                return Err(place.wrong(format_args!(
                    "`{}` is no JSON of masscan",
                    char::from(other).escape_default()
                )));
            }
        }
    }
    let cut_off = (cut || array && !closed).then_some(ImportEnd::JsonOpen);
    Ok(build_imported_facts(cut_off, others))
}

/// `{finished: 1}`, whatever its spaces.
fn is_trailer(object: &[u8]) -> bool {
    let plain = object.iter().filter(|b| !b.is_ascii_whitespace());
    object.len() < 40 && plain.eq(b"{finished:1}")
}

fn read_byte(input: &mut impl BufRead) -> std::io::Result<Option<u8>> {
    let byte = input.fill_buf()?.first().copied();
    if byte.is_some() {
        input.consume(1);
    }
    Ok(byte)
}

/// Reads on to the brace that closes the object; `false` if the input ends before.
fn read_object_rest(input: &mut impl BufRead, object: &mut Vec<u8>) -> std::io::Result<bool> {
    let (mut depth, mut string, mut escaped) = (1u32, false, false);
    loop {
        let block = input.fill_buf()?;
        if block.is_empty() {
            return Ok(false);
        }
        let mut used = 0;
        for byte in block {
            used += 1;
            match byte {
                _ if escaped => escaped = false,
                b'\\' if string => escaped = true,
                b'"' => string = !string,
                b'{' if !string => depth += 1,
                b'}' if !string => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        object.extend(block.iter().take(used));
        input.consume(used);
        if depth == 0 {
            return Ok(true);
        }
    }
}

fn take(
    record: MasscanRecord,
    place: SourceLocation<'_>,
    sink: &mut dyn CellSink,
    others: &mut u64,
) -> Result<()> {
    // The first line of some versions tells of the scan and names no host.
    let Some(ip) = record.ip else { return Ok(()) };
    let ip = place.ip(&ip)?;
    let at = match &record.timestamp {
        None => None,
        Some(JsonNumber::Text(t)) => Some(place.time(t)?),
        Some(JsonNumber::Number(n)) => Some(place.time(&n.to_string())?),
    };
    let mut ports = record.ports;
    if let (Some(port), Some(proto)) = (record.port, record.proto) {
        let data = record.data;
        let (status, ttl, service) = match data {
            None => (None, None, None),
            Some(d) => {
                let service = d.banner.map(|banner| MasscanBanner {
                    name: d.service_name.unwrap_or_default(),
                    banner,
                });
                (d.status, d.ttl, service)
            }
        };
        ports.push(PortRecord { port, proto, status, ttl, service });
    }
    for p in ports {
        if p.proto != "tcp" {
            *others += 1;
            continue;
        }
        let Some(port) = place.port(&p.port.to_string())? else { continue };
        // A banner came over a connection.
        let connected = p.service.is_some();
        let state = match (p.status.as_deref(), connected) {
            (Some(word), _) => parse_state(word).ok_or_else(|| {
                place.wrong(format_args!("`{}` is no status", sanitise_foreign_text(word)))
            })?,
            (None, true) => CellState::Open,
            (None, false) => return Err(place.wrong("a port without `status`")),
        };
        let service = p.service.map(|b| to_service_facts(&b.name, &b.banner));
        sink.port(SeenCells { ip, port, state, at, ttl: p.ttl, connected, service })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::kept::ImportedRecord;
    use super::*;

    fn listed(text: &str) -> Result<(ImportedFacts, Vec<String>)> {
        let mut kept = ImportedRecord::default();
        Ok((list(text.as_bytes(), "m.list", &mut kept)?, kept.0))
    }

    fn read(text: &str) -> Result<(ImportedFacts, Vec<String>)> {
        let mut kept = ImportedRecord::default();
        Ok((read_json(text.as_bytes(), "m.json", &mut kept)?, kept.0))
    }

    #[test]
    fn a_list_is_read() {
        let (told, seen) = listed(
            "#masscan\nopen tcp 80 198.19.0.5 1795522377\nclosed tcp 81 2001:db8::5 1795522377\n\
             banner tcp 22 198.19.0.5 1795522378 ssh SSH-2.0-x \x1b[31m y\nopen udp 53 198.19.0.5 1\n# end\n",
        )
        .unwrap();
        assert_eq!(
            seen,
            [
                "198.19.0.5 80 Open",
                "2001:db8::5 81 Closed",
                "198.19.0.5 22 Open connected ssh: SSH-2.0-x [31m y"
            ]
        );
        assert_eq!((told.cut_off, told.gaps.len()), (None, 1));
    }

    #[test]
    fn a_list_that_was_cut_off_says_so_and_its_last_line_is_not_guessed_at() {
        let (told, seen) =
            listed("#masscan\nopen tcp 80 198.19.0.5 1795522377\nopen tcp 443 198.19.0.5 17")
                .unwrap();
        assert_eq!(seen, ["198.19.0.5 80 Open"]);
        assert!(told.cut_off.is_some());
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, what) in [
            (
                "#masscan\nopen tcp 99999 198.19.0.5 1\n",
                "m.list, line 2: `99999` is no port number",
            ),
            ("open tcp 80 198.19.0.500 1\n", "m.list, line 1: `198.19.0.500` is no IP address"),
            ("open tcp 80 198.19.0.5 x\n", "m.list, line 1: `x` is no time in seconds since 1970"),
            ("\n\nHost: 1.2.3.4\n", "m.list, line 3: `Host: 1.2.3.4` is no line of masscan -oL"),
        ] {
            assert_eq!(listed(text).unwrap_err().to_string(), what);
        }
        for (text, what) in [
            ("[\n{\"ip\":\"x\"}]", "m.json, line 2: `x` is no IP address"),
            (
                "[{\"ip\":\"::1\",\"ports\":[{\"port\":70000,\"proto\":\"tcp\",\"status\":\"open\"}]}]",
                "m.json, line 1: `70000` is no port number",
            ),
            ("<nmaprun>", "m.json, line 1: `<` is no JSON of masscan"),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), what);
        }
        let endless = format!("[{{\"ip\":\"{}", "x".repeat(2 << 20));
        assert!(read(&endless).unwrap_err().to_string().contains("longer than"));
    }

    #[test]
    fn json_is_read_as_an_array_and_line_by_line() {
        let record = r#"{ "ip": "198.19.0.5", "timestamp": "1795522369", "ports": [ {"port": 80, "proto": "tcp", "status": "open", "reason": "syn-ack", "ttl": 64} ] }"#;
        let banner = r#"{"ip":"198.19.0.5","timestamp":1795522369,"ports":[{"port":22,"proto":"tcp","service":{"name":"ssh","banner":"SSH-2.0 \"}"}}]}"#;
        let lines = r#"{"ip":"198.19.0.5","timestamp":"1795522432","port":8443,"proto":"tcp","rec_type":"status","data":{"status":"open","reason":"syn-ack","ttl":64}}"#;
        let expected = [
            "198.19.0.5 80 Open",
            "198.19.0.5 22 Open connected ssh: SSH-2.0 \"}",
            "198.19.0.5 8443 Open",
        ];
        for text in [
            format!("[\n{record}\n,\n{banner},\n{lines}\n]\n"),
            format!("[{record},{banner},{lines},{{finished: 1}}\n]"),
            format!("{record}\n{banner}\n{lines}\n"),
        ] {
            let (told, seen) = read(&text).unwrap();
            assert_eq!(seen, expected);
            assert_eq!(told.cut_off, None);
        }
        for cut in [format!("[\n{record},\n"), format!("[\n{record},\n{{ \"ip\": \"198")] {
            let (told, seen) = read(&cut).unwrap();
            assert_eq!(seen, expected[..1]);
            assert!(told.cut_off.is_some(), "{cut}");
        }
    }
}
