//! Clients of the object stores that settings can name.

use super::ObjectWaits;
use crate::place::Place;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::multipart::MultipartStore;
use object_store::signer::Signer;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use secrecy::ExposeSecret;
use std::sync::Arc;

/// Tries of one request after the first.
const RETRIES_MAX: usize = 3;
/// Region for stores that have none but whose protocol wants one.
const REGION: &str = "us-east-1";

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One client in its three roles.
pub(super) struct Client {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) multipart: Arc<dyn MultipartStore>,
    pub(super) signer: Arc<dyn Signer>,
}

impl Client {
    fn of(store: impl ObjectStore + MultipartStore + Signer) -> Self {
        let store = Arc::new(store);
        Self { store: store.clone(), multipart: store.clone(), signer: store }
    }
}

/// What speaks to a place. No bytes are sent.
pub(super) fn client(place: &Place, waits: ObjectWaits) -> Result<Client, Failure> {
    match place {
        Place::DataDir | Place::File { .. } => Err("a directory is no object store".into()),
        Place::S3 { .. } => s3(place, waits),
        Place::Gcs { .. } => gcs(place, waits),
        Place::Azure { .. } => azure(place, waits),
    }
}

fn s3(place: &Place, waits: ObjectWaits) -> Result<Client, Failure> {
    let Place::S3 {
        bucket, region, endpoint, path_style, access_key_id, secret_access_key, ..
    } = place
    else {
        return Err("not S3".into());
    };
    let mut builder = match (access_key_id, secret_access_key) {
        (Some(id), Some(secret)) => AmazonS3Builder::new()
            .with_access_key_id(id.expose_secret())
            .with_secret_access_key(secret.expose_secret())
            .with_region(REGION),
        (None, None) => AmazonS3Builder::from_env(),
        _ => return Err("an access key id and a secret access key go together".into()),
    };
    if let Some(region) = region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(base(endpoint)?);
    }
    let client = builder
        .with_bucket_name(bucket)
        .with_virtual_hosted_style_request(!path_style)
        // One by one is all that is asked, and not every store has the other.
        .with_disable_bulk_delete(true)
        .with_client_options(options(endpoint.as_deref(), waits))
        .with_retry(retry(waits))
        .build()?;
    Ok(Client::of(client))
}

fn gcs(place: &Place, waits: ObjectWaits) -> Result<Client, Failure> {
    let Place::Gcs { bucket, credentials_file, endpoint, .. } = place else {
        return Err("not GCS".into());
    };
    let mut builder = match credentials_file {
        Some(file) => {
            let file = file.to_str().ok_or("the name of the credentials file is no UTF-8")?;
            GoogleCloudStorageBuilder::new().with_service_account_path(file)
        }
        None => GoogleCloudStorageBuilder::from_env(),
    };
    if let Some(endpoint) = endpoint {
        builder = builder.with_base_url(base(endpoint)?);
    }
    let client = builder
        .with_bucket_name(bucket)
        .with_client_options(options(endpoint.as_deref(), waits))
        .with_retry(retry(waits))
        .build()?;
    Ok(Client::of(client))
}

fn azure(place: &Place, waits: ObjectWaits) -> Result<Client, Failure> {
    let Place::Azure { account, container, access_key, endpoint, .. } = place else {
        return Err("not Azure".into());
    };
    let mut builder = match access_key {
        Some(key) => MicrosoftAzureBuilder::new().with_access_key(key.expose_secret()),
        None => MicrosoftAzureBuilder::from_env(),
    };
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(base(endpoint)?.to_owned());
    }
    let client = builder
        .with_account(account)
        .with_container_name(container)
        .with_client_options(options(endpoint.as_deref(), waits))
        .with_retry(retry(waits))
        .build()?;
    Ok(Client::of(client))
}

/// An endpoint as the clients want it.
fn base(endpoint: &str) -> Result<&str, Failure> {
    let is_url = endpoint.starts_with("http://") || endpoint.starts_with("https://");
    if !is_url {
        return Err(
            format!("the endpoint {endpoint:?} does not begin with http:// or https://").into()
        );
    }
    Ok(endpoint.trim_end_matches('/'))
}

fn options(endpoint: Option<&str>, waits: ObjectWaits) -> ClientOptions {
    let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    // HTTP/2 would put all transfers under one window. How long a body may stand still is watched
    // where it is read; the client's own watch would take a slow upload for a silent server.
    ClientOptions::new()
        .with_allow_http(is_plain)
        .with_http1_only()
        .with_connect_timeout(waits.connect)
        .with_timeout(waits.transfer)
}

fn retry(waits: ObjectWaits) -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: waits.backoff, max_backoff: waits.small / 4, base: 2.0 };
    RetryConfig { backoff, max_retries: RETRIES_MAX, retry_timeout: waits.small }
}
