//! Notifying people and systems of what changed.
//!
//! What is notified is decided by the judge. It is written into the outbox of the state in the same
//! generation as the judgement ([`delivery`]), and sent after the state was saved, in order, until the
//! receiver has taken it ([`queue`]). What arrived is on record beside the state ([`ledger`]). Each kind
//! of receiver is a file in [`receivers`] and a row in [`KINDS`].

mod aws;
pub mod client;
pub mod configured;
pub mod delivery;
pub mod ledger;
pub mod letter;
pub mod notifier;
pub mod prepare;
pub mod queue;
mod ready;
pub mod receivers;
mod retry;
mod secret;
pub mod status;
pub mod table;
mod vault;

pub use client::check_url;
pub use delivery::{DeliveryEnd, DeliveryOrder, NotifyOutcome};
pub use ledger::StateLedger;
pub use notifier::{Notifier, NotifierConfig, NotifierKind, NotifierSettings};
pub use ready::Notifiers;
pub use receivers::KINDS;
pub use secret::SecretText;

/// Most bytes of an answer: a list of issues, and everything else.
const LIST_LIMIT: usize = 16 << 20;
const ANSWER_LIMIT: usize = 256 << 10;
