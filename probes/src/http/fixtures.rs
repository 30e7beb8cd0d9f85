//! Fixtures: whether a check is true of what it is about, and not of what comes near.

use std::io::Write as _;
use std::ops::Range;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

use super::catalogue::format::AnswerSpec;
use super::catalogue::{Check, CheckFixture};
use super::check::HttpResponse;
use super::gate::PageContent;
use super::rule;
use crate::observation::Severity;

impl CheckFixture {
    /// The body as it would be served.
    ///
    /// # Panics
    /// Never: writing to memory does not fail.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut body = self.text.clone();
        if self.utf16 {
            let units = String::from_utf8_lossy(&body).into_owned();
            body = std::iter::once(0xfeff)
                .chain(units.encode_utf16())
                .flat_map(u16::to_le_bytes)
                .collect();
        }
        if let Some(name) = &self.zip {
            body = zip(name, &body);
        }
        if self.gzip {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            gzip.write_all(&body).expect("memory takes everything");
            body = gzip.finish().expect("memory takes everything");
        }
        body
    }

    /// The status that it would be served with, for this check.
    #[must_use]
    pub fn status(&self, check: &Check) -> u16 {
        let usual = if check.status == AnswerSpec::Redirect { 302 } else { 200 };
        self.status.unwrap_or(usual)
    }

    /// The severity of a hit on it.
    #[must_use]
    pub fn severity(&self, check: &Check) -> Severity {
        self.severity.unwrap_or(check.severity)
    }
}

/// A ZIP archive with one compressed entry.
fn zip(name: &str, data: &[u8]) -> Vec<u8> {
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
    deflate.write_all(data).expect("memory takes everything");
    let data = deflate.finish().expect("memory takes everything");
    // Version, flags, method 8; time, checksum and sizes are not looked at.
    let mut zip = b"PK\x03\x04\x14\0\0\0\x08\0".to_vec();
    zip.extend([0; 16]);
    zip.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
    zip.extend([0, 0]);
    zip.extend(name.as_bytes());
    zip.extend(data);
    zip
}

/// What is wrong with a check by its own fixtures: where, and in words.
pub(super) fn collect_fixture_failures(check: &Check) -> Vec<(Range<usize>, String)> {
    let mut failures = Vec::new();
    let found = |fixture: &CheckFixture| {
        let body = fixture.body();
        let response = HttpResponse {
            fields: &fixture.headers,
            status: fixture.status(check),
            location: fixture.location.as_deref(),
            body: &body,
            truncated: false,
            total: fixture.total,
            flaw: None,
        };
        rule::evaluate(check, &PageContent::new(&response, "/"))
    };
    let id = &check.id;
    for fixture in &check.hits {
        let mut fail = |words: String| failures.push((fixture.place.clone(), words));
        let Some(hit) = found(fixture) else {
            fail(format!("the check `{id}` is not true of this `hit`"));
            continue;
        };
        let (is, wanted) = (hit.severity.unwrap_or(check.severity), fixture.severity(check));
        if is != wanted {
            let (is, wanted) = (is.as_str(), wanted.as_str());
            fail(format!("the check `{id}` finds this `hit` {is}, and not {wanted}"));
        }
        if let Some(wanted) = fixture.label.as_ref().filter(|l| hit.label.as_ref() != Some(l)) {
            let is = hit.label.as_deref().unwrap_or("nothing");
            fail(format!("the check `{id}` labels this `hit` {is}, and not {wanted}"));
        }
    }
    for fixture in check.misses.iter().filter(|f| found(f).is_some()) {
        failures.push((fixture.place.clone(), format!("the check `{id}` is true of this `miss`")));
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::Catalogue;
    use super::*;

    #[test]
    fn every_check_holds_its_fixtures() {
        let all: Vec<String> = Catalogue::builtin()
            .all()
            .flat_map(collect_fixture_failures)
            .map(|(_, words)| words)
            .collect();
        assert_eq!(all, [""; 0], "\n{}", all.join("\n"));
    }
}
