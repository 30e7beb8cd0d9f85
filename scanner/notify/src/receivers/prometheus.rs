//! A text file for the textfile collector of Prometheus's node exporter.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use mimawari_base::failure::Failure;
use mimawari_report::notify::metrics;

use crate::client::SendError;
use crate::notifier::{
    DeliveryContext, DeliverySemantics, MessagePart, Notice, Notifier, NotifierKey, NotifierKind,
    NotifierSettings, SendFuture,
};
use crate::prepare::SecretReader;
use crate::table::TableReader;

/// Its row.
pub static KIND: NotifierKind = NotifierKind {
    word: "prometheus",
    keys: &[NotifierKey {
        name: "file",
        kind: "text",
        default: "required",
        meaning: "The file that is replaced.",
    }],
    delivery: DeliverySemantics {
        knows_ids: true,
        merges: false,
        is_figure: true,
        when_in_doubt: "the next run writes newer figures",
    },
    read: |table| read(table),
};

#[derive(Debug, Clone)]
struct PrometheusNotifier {
    file: PathBuf,
}

fn read(table: &mut TableReader<'_>) -> Option<Arc<dyn NotifierSettings>> {
    let file = table.file("file");
    Some(Arc::new(PrometheusNotifier { file: table.needed("file", file)? }))
}

impl NotifierSettings for PrometheusNotifier {
    fn uses_tls(&self) -> bool {
        false
    }

    fn prepare(&self, _secrets: &mut SecretReader<'_>) -> Result<Box<dyn Notifier>, Failure> {
        Ok(Box::new(self.clone()))
    }
}

impl Notifier for PrometheusNotifier {
    fn render(&self, n: &Notice<'_>) -> Result<Vec<MessagePart>, SendError> {
        Ok(vec![MessagePart::new(n.event, metrics::render_prometheus(n.verdict, &n.figures))])
    }

    fn render_test(&self, _at: Timestamp) -> Option<MessagePart> {
        None
    }

    fn deliver<'a>(
        &'a self,
        part: &'a MessagePart,
        _context: &'a DeliveryContext<'a>,
    ) -> SendFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let text = part.body.as_str().unwrap_or_default();
            mimawari_base::files::write_atomically(&self.file, text.as_bytes())
                .map_err(|e| SendError::certain(format!("cannot be written: {e}")))
        })
    }
}
