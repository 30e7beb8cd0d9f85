//! Credentials of AWS for the services that notifiers call.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AwsCredential};
use tokio::time::{Instant, timeout_at};

use super::client::SendError;

/// Credentials by the usual chain (environment, web identity, container, instance), the one that also
/// opens a state on S3.
///
/// # Errors
/// A [`Fault`] when there are none, or none in time.
pub async fn fetch_credential(
    region: &str,
    deadline: Instant,
) -> Result<Arc<AwsCredential>, SendError> {
    mimawari_base::crypto::provide();
    let failed = |e: object_store::Error| SendError::certain(format!("no credentials of AWS: {e}"));
    // The chain hangs on the builder of a bucket; none is asked for.
    let chain = AmazonS3Builder::from_env()
        .with_region(region)
        .with_bucket_name("none")
        .build()
        .map_err(failed)?;
    match timeout_at(deadline, chain.credentials().get_credential()).await {
        Ok(credential) => credential.map_err(failed),
        Err(_) => Err(SendError::certain("no credentials of AWS in time")),
    }
}
