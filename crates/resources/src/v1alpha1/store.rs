//! `Plane.spec.store`: where blobs lie.

use crate::{HttpUrl, ObjectPrefix};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where blobs lie: exactly one of the four. Secrets are named by file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoreSpec {
    /// A directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileStore>,
    /// Amazon S3, or what speaks its protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Store>,
    /// Google Cloud Storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gcs: Option<GcsStore>,
    /// Azure Blob Storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureStore>,
}

/// A directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileStore {
    /// Its absolute path.
    #[schemars(length(min = 1, max = 4096))]
    pub directory: String,
}

/// A bucket of Amazon S3, or of what speaks its protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct S3Store {
    /// The bucket.
    #[schemars(length(min = 1, max = 255))]
    pub bucket: String,
    /// Put before every key; none if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<ObjectPrefix>,
    /// The region.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub region: Option<String>,
    /// Where the protocol is spoken; Amazon's own address if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<HttpUrl>,
    /// File that holds the access key id. Without it, what the environment of the process offers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub access_key_id_file: Option<String>,
    /// File that holds the secret access key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub secret_access_key_file: Option<String>,
    /// Whether the bucket stands in the path instead of the host name; false if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
}

/// A bucket of Google Cloud Storage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GcsStore {
    /// The bucket.
    #[schemars(length(min = 1, max = 255))]
    pub bucket: String,
    /// Put before every key; none if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<ObjectPrefix>,
    /// JSON file of a service account. Without it, what the environment of the process offers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub credentials_file: Option<String>,
    /// Where the protocol is spoken; Google's own address if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<HttpUrl>,
}

/// A container of Azure Blob Storage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AzureStore {
    /// The storage account.
    #[schemars(length(min = 1, max = 64))]
    pub account: String,
    /// The container.
    #[schemars(length(min = 1, max = 63))]
    pub container: String,
    /// Put before every key; none if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<ObjectPrefix>,
    /// File that holds the account's access key. Without it, what the environment of the process
    /// offers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub access_key_file: Option<String>,
    /// Where the protocol is spoken; Azure's own address if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<HttpUrl>,
}
