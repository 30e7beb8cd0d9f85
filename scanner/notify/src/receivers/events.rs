//! A JSON line for each change and each run, onto the end of a file or to stdout: for Fluent Bit, Kafka
//! or Wazuh to read.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_drift::verdict::Verdict;
use mimawari_report::notify::{ChangeSelection, events};

use super::append;
use crate::client::SendError;
use crate::notifier::{
    DeliveryContext, DeliverySemantics, MessagePart, Notice, Notifier, NotifierKey, NotifierKind,
    NotifierSettings, SendFuture,
};
use crate::prepare::SecretReader;
use crate::table::TableReader;

/// Its row.
pub static KIND: NotifierKind = NotifierKind {
    word: "events",
    keys: &[NotifierKey {
        name: "file",
        kind: "text",
        default: "stdout",
        meaning: "The file that lines are appended to.",
    }],
    delivery: DeliverySemantics {
        knows_ids: false,
        merges: false,
        is_figure: false,
        when_in_doubt: "its lines are written again; each has a `key` that no other change has",
    },
    read: |table| read(table),
};

#[derive(Debug, Clone)]
struct EventsNotifier {
    file: Option<PathBuf>,
}

fn read(table: &mut TableReader<'_>) -> Option<Arc<dyn NotifierSettings>> {
    Some(Arc::new(EventsNotifier { file: table.file("file") }))
}

impl NotifierSettings for EventsNotifier {
    fn writes_stdout(&self) -> bool {
        self.file.is_none()
    }

    fn uses_tls(&self) -> bool {
        false
    }

    fn prepare(&self, _secrets: &mut SecretReader<'_>) -> Result<Box<dyn Notifier>, Failure> {
        Ok(Box::new(self.clone()))
    }
}

impl Notifier for EventsNotifier {
    /// The line of the run is there on quiet runs, too.
    fn is_due(&self, _v: &Verdict, _selection: &ChangeSelection) -> bool {
        true
    }

    fn render(&self, n: &Notice<'_>) -> Result<Vec<MessagePart>, SendError> {
        Ok(vec![MessagePart::new(n.event, events::render_lines(n.verdict, n.selection, n.delay))])
    }

    fn render_test(&self, at: Timestamp) -> Option<MessagePart> {
        Some(MessagePart::new("test", events::build_test_event(at)))
    }

    fn deliver<'a>(
        &'a self,
        part: &'a MessagePart,
        _context: &'a DeliveryContext<'a>,
    ) -> SendFuture<'a, Result<(), SendError>> {
        Box::pin(
            async move { append(self.file.as_deref(), part.body.as_str().unwrap_or_default()) },
        )
    }
}
