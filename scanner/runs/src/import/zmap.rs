//! ZMap's CSV.
//!
//! It names what answered and nothing else. Whether an answer was a SYN-ACK stands in the column
//! `classification` or `success`. ZMap 2 writes no header, and with `--output-module=csv` lists RSTs
//! among the rest, without saying so; such a file is not guessed at.

use std::io::BufRead;

use anyhow::Result;
use mimawari_base::failure::Failure;
use mimawari_probes::gap::{Gap, ImportEnd};
use mimawari_probes::observation::CellState;
use mimawari_targets::Port;

use super::lines::LineReader;
use super::seen::{CellSink, ImportedFacts, SeenCells, SourceLocation, sanitise_foreign_text};

/// Longest line.
const LINE: u64 = 1 << 16;
const FIELDS: &str = "put the names of the fields on the first line, such as \
                      `saddr,sport,classification,success`; or `saddr` alone if the file lists nothing but \
                      open ports";

/// Where the columns are.
#[derive(Debug, Clone, Copy, Default)]
struct ZmapColumns {
    address: usize,
    port: Option<usize>,
    class: Option<usize>,
    success: Option<usize>,
    time: Option<usize>,
    ttl: Option<usize>,
}

impl ZmapColumns {
    fn of(header: &[String], place: SourceLocation<'_>) -> Result<Self> {
        let at = |name: &str| header.iter().position(|h| h == name);
        let address = at("saddr").or_else(|| at("ip")).ok_or_else(|| {
            Failure::new(format!(
                "{}, line {}: no column `saddr`: `{}` is neither a header nor an address",
                place.file,
                place.line,
                header.first().map(|h| sanitise_foreign_text(h)).unwrap_or_default()
            ))
            .help(FIELDS)
        })?;
        Ok(Self {
            address,
            port: at("sport"),
            class: at("classification"),
            success: at("success"),
            time: at("timestamp_ts").or_else(|| at("timestamp-ts")),
            ttl: at("ttl"),
        })
    }
}

/// Reads a file. `only` is the port that was scanned, for a file that does not name it.
///
/// # Errors
/// With the line: what is no CSV of ZMap, a number or address that is none; a file that does not tell
/// open ports from closed ones or leaves its port to be guessed.
pub(super) fn read(
    input: impl BufRead,
    name: &str,
    only: Option<Port>,
    sink: &mut dyn CellSink,
) -> Result<ImportedFacts> {
    let mut input = LineReader::new(input, LINE);
    let mut line = Vec::new();
    let mut columns: Option<ZmapColumns> = None;
    let (mut cut_off, mut unclear) = (None, 0u64);
    loop {
        line.clear();
        input.next_item();
        let place = SourceLocation { file: name, line: input.line() };
        if input.read_until(b'\n', &mut line).map_err(|e| place.wrong(e))? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        let whole = text.ends_with('\n');
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if !whole {
            cut_off = Some(Gap::ImportCutOff { end: ImportEnd::HalfLine, reason: None });
            break;
        }
        let row = split(text);
        let Some(at) = columns else {
            if row.first().is_some_and(|f| f.parse::<std::net::IpAddr>().is_ok()) {
                return Err(Failure::new(format!(
                    "{name}, line {}: there is no header, and ZMap may list closed ports (RST) among \
                     the open ones",
                    place.line
                ))
                .help(FIELDS)
                .into());
            }
            let found = ZmapColumns::of(&row, place)?;
            if found.port.is_none() && only.is_none() {
                return Err(Failure::new(format!(
                    "{name} does not name the port that was scanned"
                ))
                .help("name the one port with --ports P, or scan with the field `sport`")
                .into());
            }
            columns = Some(found);
            continue;
        };
        let field = |i: Option<usize>| i.and_then(|i| row.get(i)).map(String::as_str);
        let ip = place.ip(field(Some(at.address)).unwrap_or_default())?;
        let port = match (field(at.port), at.port) {
            (Some(text), _) => place.port(text)?,
            (None, Some(_)) => return Err(place.wrong("the line has too few columns")),
            (None, None) => only,
        };
        let Some(port) = port else { continue };
        let state = match (field(at.class), field(at.success)) {
            (Some("synack"), _) => CellState::Open,
            (Some("rst"), _) => CellState::Closed,
            (Some(_), _) | (None, Some("0" | "false")) => CellState::NotProbed,
            // The header says, by whoever wrote it, that there is nothing else.
            (None, Some("1" | "true") | None) => CellState::Open,
            (None, Some(other)) => {
                return Err(place
                    .wrong(format_args!("`{}` is neither 0 nor 1", sanitise_foreign_text(other))));
            }
        };
        if state == CellState::NotProbed {
            unclear += 1;
            continue;
        }
        let time = field(at.time).map(|t| place.time(t)).transpose()?;
        let ttl = field(at.ttl).and_then(|t| t.parse().ok());
        sink.port(SeenCells { ip, port, state, at: time, ttl, connected: false, service: None })?;
    }
    let mut gaps = Vec::new();
    if unclear > 0 {
        gaps.push(Gap::AnswersUnclear { answers: unclear });
    }
    if columns.is_some_and(|c| c.class.is_none() && c.success.is_none()) {
        gaps.push(Gap::AnswersUnclassified);
    }
    Ok(ImportedFacts {
        method: "zmap".to_owned(),
        lists_answers_only: Some("ZMap"),
        cut_off,
        gaps,
        ..ImportedFacts::default()
    })
}

/// Cells of a line. ZMap quotes a cell that holds a comma.
fn split(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    cells.push(cell);
    cells
}

#[cfg(test)]
mod tests {
    use super::super::kept::ImportedRecord;
    use super::*;

    fn seen(text: &str, only: Option<u16>) -> Result<(ImportedFacts, Vec<String>)> {
        let mut kept = ImportedRecord::default();
        let told = read(text.as_bytes(), "z.csv", only.and_then(Port::new), &mut kept)?;
        Ok((told, kept.0))
    }

    #[test]
    fn columns_are_found_by_their_names() {
        let (told, got) = seen(
            "saddr,sport,classification,success,timestamp_str\n198.19.0.5,443,synack,1,\"a,b\"\n\
             198.19.0.6,443,rst,0,x\n198.19.0.7,443,icmp,0,x\n",
            None,
        )
        .unwrap();
        assert_eq!(got, ["198.19.0.5 443 Open", "198.19.0.6 443 Closed"]);
        assert_eq!(told.gaps, [Gap::AnswersUnclear { answers: 1 }]);
        let (told, got) = seen("saddr\n198.19.0.5\n", Some(80)).unwrap();
        assert_eq!(got, ["198.19.0.5 80 Open"]);
        assert_eq!(told.gaps, [Gap::AnswersUnclassified]);
        let (_, got) = seen("success,saddr\n0,198.19.0.5\n1,198.19.0.6\n", Some(80)).unwrap();
        assert_eq!(got, ["198.19.0.6 80 Open"]);
    }

    #[test]
    fn what_cannot_be_told_apart_is_refused() {
        for (text, only, what) in [
            ("198.19.0.4\n198.19.0.7\n", Some(80), "there is no header"),
            ("saddr\n198.19.0.4\n", None, "does not name the port"),
            ("saddr,sport\n198.19.0.4,0x50\n", None, "line 2: `0x50` is no port number"),
            ("saddr,success\n198.19.0.4,maybe\n", Some(1), "line 2: `maybe` is neither 0 nor 1"),
            ("saddr,sport\n198.19.0.4\n", None, "line 2: the line has too few columns"),
            ("host,port\n", None, "no column `saddr`"),
        ] {
            let e = seen(text, only).unwrap_err().to_string();
            assert!(e.contains(what), "{e}");
        }
        let (told, got) = seen("saddr\n198.19.0.5\n198.19.0.6", Some(80)).unwrap();
        assert_eq!(got, ["198.19.0.5 80 Open"]);
        assert!(told.cut_off.is_some());
    }
}
