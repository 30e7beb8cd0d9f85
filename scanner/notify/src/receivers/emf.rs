//! A line of CloudWatch's Embedded Metric Format: CloudWatch Logs makes metrics of it.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_report::notify::metrics;

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
    word: "emf",
    keys: &[
        NotifierKey {
            name: "file",
            kind: "text",
            default: "stdout",
            meaning: "The file that lines are appended to.",
        },
        NotifierKey {
            name: "namespace",
            kind: "text",
            default: "`mimawari`",
            meaning: "The namespace of the metrics.",
        },
    ],
    delivery: DeliverySemantics {
        knows_ids: true,
        merges: false,
        is_figure: true,
        when_in_doubt: "the next run writes newer figures",
    },
    read: |table| read(table),
};

#[derive(Debug, Clone)]
struct EmfNotifier {
    file: Option<PathBuf>,
    namespace: String,
}

fn read(table: &mut TableReader<'_>) -> Option<Arc<dyn NotifierSettings>> {
    let namespace = table.text("namespace");
    let namespace = namespace.map_or_else(|| "mimawari".to_owned(), toml::Spanned::into_inner);
    Some(Arc::new(EmfNotifier { file: table.file("file"), namespace }))
}

impl NotifierSettings for EmfNotifier {
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

impl Notifier for EmfNotifier {
    fn render(&self, n: &Notice<'_>) -> Result<Vec<MessagePart>, SendError> {
        let line = metrics::render_emf(n.verdict, &self.namespace, &n.figures);
        Ok(vec![MessagePart::new(n.event, line)])
    }

    fn render_test(&self, _at: Timestamp) -> Option<MessagePart> {
        None
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
