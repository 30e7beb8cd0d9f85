//! A vantage from which nobody looks any more.

use super::life::{Life, LifeDecision, Sighting, Transition, Trust};
use crate::state::{RetiredVantage, State, TrackedFinding};

impl State {
    /// Nobody looks from a vantage any more: its findings are out of scope, and what was allowed and
    /// which sites were seen from there is forgotten. `None` if nothing is known from it.
    pub fn retire_vantage(&mut self, vantage: &str) -> Option<RetiredVantage> {
        if !self.known_vantages().contains(vantage) {
            return None;
        }
        let mut retired = RetiredVantage::default();
        let mut forgotten = Vec::new();
        let here = self.findings.iter_mut().filter(|(_, t)| t.finding.vantage == vantage);
        for (id, t) in here {
            let transition = retire(t);
            retired.findings += u64::from(transition.settled);
            if transition.forgotten {
                forgotten.push(id.clone());
            }
        }
        for id in forgotten {
            self.findings.remove(&id);
        }
        let before = self.allowed.len();
        self.allowed.retain(|id, a| a.subject.id(vantage) != *id);
        retired.allowed = (before - self.allowed.len()) as u64;
        self.sites.retain(|s| s.key.vantage != vantage);
        self.vantages.remove(vantage);
        Some(retired)
    }
}

/// Nobody looks from a finding's vantage any more.
fn retire(t: &mut TrackedFinding) -> Transition {
    let at = t.finding.last_seen;
    let trust = Trust { doubt: None, again: false, began: None, ended: at };
    let why = "its vantage was retired: nobody looks from there any more, and it was not seen to be \
               closed";
    Life::new(t, false, trust).apply(Sighting::OutOfScope(why), &LifeDecision::None)
}
