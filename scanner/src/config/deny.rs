//! What must not be scanned: addresses of the file itself, and lists of opt-outs.

use mimawari_base::source_path::SourcePath;
use mimawari_targets::list::parse_merged;
use mimawari_targets::{AddrRange, AddrSet};
use toml::Spanned;

use super::CheckConfig;

/// Reads `deny`. An exception may be named twice, by two lists for instance: that is merged and noted,
/// since a run that refuses to begin would only tempt people to shorten the list.
pub(super) fn read(check: &mut CheckConfig<'_>, items: &[Spanned<String>]) -> Option<AddrSet> {
    let mut denied = AddrSet::default();
    let (mut complete, mut merged) = (true, 0);
    let mut plain = Vec::new();
    for item in items {
        let Some(path) = item.get_ref().strip_prefix('@') else {
            plain.push(item.clone());
            continue;
        };
        match read_list(&check.base.join(path)) {
            Ok((list, overlaps)) => {
                merged += overlaps + usize::from(!denied.intersect(&list).is_empty());
                denied = denied.union(&list);
            }
            Err(why) => {
                let help = "write one address, range or CIDR block on each line of the file";
                check.error(item.span(), format!("cannot read the deny list: {why}"), help);
                complete = false;
            }
        }
    }
    let mut separate = Vec::new();
    for item in plain {
        match item.get_ref().parse::<AddrRange>() {
            Ok(range) => {
                let one = AddrSet::from_ranges([range]);
                merged += usize::from(!denied.intersect(&one).is_empty());
                denied = denied.union(&one);
            }
            // Whatever is no range is explained as in every other list.
            Err(_) => separate.push(item),
        }
    }
    if !separate.is_empty() {
        complete &= check.ranges(&separate).is_some();
    }
    if merged > 0 {
        check.warnings.push(format!(
            "`deny` names some addresses more than once ({merged} overlaps): they are merged"
        ));
    }
    complete.then_some(denied)
}

fn read_list(path: &SourcePath) -> Result<(AddrSet, usize), String> {
    let name = path.to_string();
    let text = std::fs::read_to_string(path).map_err(|e| format!("{name}: {e}"))?;
    let (list, overlaps) = parse_merged(&name, &text).map_err(|e| e.to_string())?;
    match list.names().first() {
        None => Ok((list.addrs().clone(), overlaps)),
        Some(name) => Err(format!("`{name}` is a name; a deny list is made of addresses")),
    }
}
