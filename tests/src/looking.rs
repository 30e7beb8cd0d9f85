//! The path prober, run to its end.

use std::sync::Arc;

use mimawari_look::http::{HttpConfig, SiteTargets, look};
use mimawari_probes::observation::{HttpObservation, Observation, WebObservation};
use tokio::sync::{mpsc, watch};

/// What a look brought.
#[derive(Debug, Default)]
pub struct Seen {
    /// One for each (target, path).
    pub paths: Vec<HttpObservation>,
    /// One for each target.
    pub sites: Vec<WebObservation>,
}

/// Looks at the targets.
///
/// # Panics
/// When the prober does.
pub fn look_at(targets: impl Into<SiteTargets>, config: HttpConfig) -> Seen {
    let (_stop, watch) = watch::channel(false);
    look_until(targets, config, watch)
}

/// Looks at the targets until they are done or `stop` turns true.
///
/// # Panics
/// When the prober does.
pub fn look_until(
    targets: impl Into<SiteTargets>,
    config: HttpConfig,
    stop: watch::Receiver<bool>,
) -> Seen {
    let targets = targets.into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (tx, mut rx) = mpsc::channel(4);
        let looking = tokio::spawn(look(targets, Arc::new(config), stop, tx));
        let mut seen = Seen::default();
        while let Some(batch) = rx.recv().await {
            for observation in batch {
                match observation {
                    Observation::Http(path) => seen.paths.push(*path),
                    Observation::Web(site) => seen.sites.push(*site),
                    other => panic!("the prober says nothing of {other:?}"),
                }
            }
        }
        looking.await.expect("no panic").expect("a thread");
        seen
    })
}
