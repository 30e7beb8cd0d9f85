//! Findings that are one file under several names take one row.

use std::collections::HashMap;

use mimawari_drift::verdict::{Finding, SameFile, Verdict};

use crate::clean::clean;
use crate::words::{self, NAME};

/// How many of the other names are shown.
const SHOWN: usize = 3;

/// A finding, and the same file's other findings, which a row of its own would only repeat.
pub(crate) struct NamedRow<'a> {
    pub(crate) finding: &'a Finding,
    others: Vec<&'a Finding>,
}

impl NamedRow<'_> {
    /// The other names, as half a sentence; none for a finding alone.
    pub(crate) fn others(&self) -> Option<String> {
        if self.others.is_empty() {
            return None;
        }
        let name = |f: &&Finding| match &f.host {
            Some(host) => clean(host, NAME),
            None => words::format_endpoint(f),
        };
        let names = format_names(self.others.iter().map(name), self.others.len());
        Some(format!("the same file under {names}"))
    }
}

/// So many other names, the first ones of which are shown.
fn format_names(names: impl Iterator<Item = String>, number: usize) -> String {
    let mut text = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if number > SHOWN {
        text = format!("{text} and {} more", words::group_digits((number - SHOWN) as u64));
    }
    format!("{}: {text}", words::format_plural(number as u64, "other name"))
}

/// For each finding that is one file under several names, by its id: the other names.
pub(crate) fn list_other_names(v: &Verdict) -> HashMap<&str, String> {
    let mut names = HashMap::new();
    for file in &v.same_files {
        let name = |host: &Option<String>| match host {
            Some(host) => clean(host, NAME),
            None => format!("{} itself", std::net::SocketAddr::new(file.ip, file.port.get())),
        };
        // One more than is shown, since each leaves itself out.
        let first: Vec<String> = file.hosts.iter().take(SHOWN + 1).map(name).collect();
        for (i, id) in file.findings.iter().enumerate() {
            let others = first.iter().enumerate().filter(|(n, _)| *n != i);
            let others = others.map(|(_, name)| name.clone());
            names.insert(id.as_str(), format_names(others, file.findings.len() - 1));
        }
    }
    names
}

/// Rows of a list: what is the same file, and is said with the same words, takes one. Its row is that
/// of the site without a name, if that is among them.
pub(crate) fn build_named_rows<'a>(list: &[&'a Finding], files: &[SameFile]) -> Vec<NamedRow<'a>> {
    let mut file_of: HashMap<&str, usize> = HashMap::new();
    for (i, file) in files.iter().enumerate() {
        file_of.extend(file.findings.iter().map(|id| (id.as_str(), i)));
    }
    let mut at: HashMap<(usize, Vec<String>), usize> = HashMap::new();
    let mut rows: Vec<NamedRow<'a>> = Vec::new();
    for f in list {
        let mut row = NamedRow { finding: f, others: Vec::new() };
        let Some(file) = file_of.get(f.id.as_str()) else {
            rows.push(row);
            continue;
        };
        let mut words = words::collect_marks(f);
        words.push(words::describe_state(f.state).to_owned());
        words.extend(f.owner.clone());
        words.extend(f.acknowledged.as_ref().map(|a| a.by.clone()));
        let first = *at.entry((*file, words)).or_insert(rows.len());
        match rows.get_mut(first) {
            None => rows.push(row),
            Some(first) if row.finding.host.is_none() => {
                row.others.push(first.finding);
                row.others.append(&mut first.others);
                *first = row;
            }
            Some(first) => first.others.push(f),
        }
    }
    for row in &mut rows {
        row.others.sort_by(|a, b| a.host.cmp(&b.host));
    }
    rows
}

#[cfg(test)]
mod tests {
    use mimawari_drift::same_file::collect_same_files;

    use super::*;
    use crate::samples;

    #[test]
    fn one_file_under_many_names_takes_one_row() {
        let mut all = Vec::new();
        for n in 0..29 {
            let mut f = samples::content("198.51.100.7", 80, "", "/.env");
            f.host = (n != 7).then(|| format!("stale-{n:02}.example.jp"));
            f.id = format!("{n:016x}");
            all.push(f);
        }
        // Another file at the same path of the same address, and one that is back again.
        all[3].evidence.as_mut().unwrap().digest = "another".to_owned();
        all[5].reopened = 1;
        let files = collect_same_files(&all);
        assert_eq!(files.len(), 1);
        assert_eq!((files[0].findings.len(), files[0].hosts[6].clone()), (28, None));
        let list: Vec<&Finding> = all.iter().collect();
        let rows = build_named_rows(&list, &files);
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0].finding.host, None);
        assert_eq!(
            rows[0].others().unwrap(),
            "the same file under 26 other names: stale-00.example.jp, stale-01.example.jp, \
             stale-02.example.jp and 23 more"
        );
        assert!(rows[1..].iter().all(|r| r.others().is_none()));
        let mut v = samples::clean();
        v.same_files = files;
        let names = list_other_names(&v);
        assert_eq!(names.len(), 28);
        // A row of its own where each finding has one; the one that is back again is still that file.
        assert_eq!(
            names[all[0].id.as_str()],
            "27 other names: stale-01.example.jp, stale-02.example.jp, stale-04.example.jp and 24 more"
        );
        assert!(names[all[1].id.as_str()].starts_with("27 other names: stale-00.example.jp, "));
        assert!(!names.contains_key(all[3].id.as_str()));
    }
}
