//! A report of the worst alone.

use mimawari_drift::verdict::Verdict;
use mimawari_probes::observation::Severity;

use crate::words::format_plural;

/// Leaves out the findings below a severity, and says among the notes how many these are: a report that
/// shows less must not look like a run that found less. The counts stay those of the run.
pub fn leave_out_below(v: &mut Verdict, least: Severity) {
    let all = v.findings.iter().filter(|f| f.state.is_drift()).count();
    v.findings.retain(|f| f.severity >= least);
    let left = v.findings.iter().filter(|f| f.state.is_drift()).count();
    let shown = |id: &str| v.findings.iter().any(|f| f.id == id);
    v.changes.retain(|c| shown(&c.finding));
    if all > left {
        let hidden = format_plural((all - left) as u64, "finding");
        v.run.notes.insert(0, format!("{hidden} below {} not shown.", least.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn what_is_left_out_is_counted() {
        let mut v = samples::drift();
        let before = v.counts.clone();
        leave_out_below(&mut v, Severity::Critical);
        assert!(
            !v.findings.is_empty() && v.findings.iter().all(|f| f.severity == Severity::Critical)
        );
        assert_eq!(v.counts, before);
        assert!(v.run.notes[0].ends_with("below critical not shown."), "{:?}", v.run.notes);
        let mut clean = samples::clean();
        leave_out_below(&mut clean, Severity::Critical);
        assert_eq!(clean.run.notes, samples::clean().run.notes);
    }
}
