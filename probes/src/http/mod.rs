//! Content checks over HTTP, without a socket.
//!
//! A [`Catalogue`] names the paths; a [`PathCheck`] says what to ask for next, gets the answers
//! and comes to an outcome. A hit is reported as exposed only after a second answer agreed and
//! paths that cannot exist gave another body: many sites say "200" and the same to everything.

mod body;
mod catalogue;
mod check;
mod controls;
mod fixtures;
mod gate;
pub mod manifest;
mod public;
pub mod raw;
mod rule;

pub use body::{DecodedBody, INFLATED_LIMIT, decode};
pub use catalogue::format;
pub use catalogue::{
    Catalogue, Check, CheckFixture, ContentProbe, DayName, NameLists, PathPlan, RequestPlan,
};
pub use check::{
    BodyFlaw, CheckFailure, FinishedCheck, HeaderFields, HttpResponse, PathCheck, hash_with_key,
};
// Where most texts of hostile servers are made.
pub use mimawari_targets::text::to_printable;
pub use public::{redact_location, redact_text, redact_title};
