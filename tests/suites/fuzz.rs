//! The corpora of the fuzz targets, replayed, and the catalogue's fixtures with them.

#[path = "../../probes/fuzz/src/lib.rs"]
mod targets;

use std::path::Path;

use mimawari_probes::http::Catalogue;

#[test]
fn corpora_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../probes/fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let folder = root.join(name);
        let files =
            std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut count = 0;
        for file in files {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            target(&bytes);
            // What a network or an editor does to it.
            target(&bytes[..bytes.len() / 2]);
            target(&[&bytes[..], &bytes[..]].concat());
            count += 1;
        }
        assert!(count >= 3, "{name} has {count} files");
    }
}

#[test]
fn fixtures_hold_in_every_position() {
    let catalogue = Catalogue::builtin();
    for (n, check) in catalogue.all().enumerate() {
        for fixture in check.hits.iter().chain(&check.misses) {
            let body = fixture.body();
            let body = &body[..body.len().min(60_000)];
            let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
            for status in [0, 2, 16, 24, 3, 6] {
                let path = u16::try_from(n * 17).unwrap_or(0).to_be_bytes();
                let input = [&path[..], &[status], &length, body].concat();
                targets::matchers(&input);
            }
            targets::raw_answer(body);
            targets::inflate(body);
        }
    }
}
