//! Gaps as documents have them: typed, and beside them the lists of sentences that versions before 1.1
//! wrote alone.

use mimawari_probes::gap::{CoverageGap, GapEffect};
use mimawari_report::describe_gaps;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The fields of a document that hold gaps.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct GapFields {
    /// Notes worth a reader's time, one sentence each: those of `gaps` with the effect `noted`.
    #[serde(default)]
    notes: Vec<String>,
    /// What was planned and not covered, one sentence each: the others of `gaps`.
    #[serde(default)]
    not_covered: Vec<String>,
    /// What was not covered, what is doubtful and what is noted, by kind.
    #[serde(default)]
    gaps: Vec<CoverageGap>,
}

/// Writes gaps with their sentences.
///
/// # Errors
/// The serialiser's.
pub fn serialize<S: Serializer>(gaps: &[CoverageGap], to: S) -> Result<S::Ok, S::Error> {
    let mut gaps = gaps.to_vec();
    describe_gaps(&mut gaps);
    let of = |noted: bool| -> Vec<String> {
        let these = gaps.iter().filter(|g| (g.effect == GapEffect::Noted) == noted);
        these.map(|g| g.text.clone()).collect()
    };
    GapFields { notes: of(true), not_covered: of(false), gaps }.serialize(to)
}

/// Reads gaps. A document without them has sentences alone, which are kept as they are.
///
/// # Errors
/// What is no list of gaps.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<CoverageGap>, D::Error> {
    let GapFields { notes, not_covered, gaps } = GapFields::deserialize(from)?;
    if !gaps.is_empty() {
        return Ok(gaps);
    }
    let sentences = |texts: Vec<String>, effect| {
        texts.into_iter().map(move |text| CoverageGap::from_sentence(effect, text))
    };
    let noted = sentences(notes, GapEffect::Noted);
    Ok(noted.chain(sentences(not_covered, GapEffect::NotCovered)).collect())
}

/// Whether nothing of these keeps a result from being complete.
#[must_use]
pub fn is_complete(gaps: &[CoverageGap]) -> bool {
    gaps.iter().all(|g| g.effect == GapEffect::Noted)
}
