//! Where blobs lie, as it is written in settings: words only, nothing is opened here.

use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::path::PathBuf;

/// A place that holds blobs. Its [`fmt::Display`] is a URL without secrets.
#[derive(Clone, Debug)]
pub enum Place {
    /// `blobs/` in the data directory.
    DataDir,
    /// Another directory, which is for this process alone as the data directory is.
    File {
        /// It holds `<algorithm>/<first 2 hex>/<hex>`; made if it is not there, its parent is not.
        directory: PathBuf,
    },
    /// A bucket of Amazon S3, or of what speaks as it does.
    S3 {
        /// Its name.
        bucket: String,
        /// What all keys begin with; may be empty.
        prefix: String,
        /// `us-east-1` if none is told.
        region: Option<String>,
        /// Base URL of the service, if it is not Amazon's.
        endpoint: Option<String>,
        /// The bucket's name goes into the path of URLs, not into the host's name.
        path_style: bool,
        /// Without the two keys: what the environment or the machine grants.
        access_key_id: Option<SecretString>,
        /// Goes with `access_key_id`.
        secret_access_key: Option<SecretString>,
    },
    /// A bucket of Google Cloud Storage.
    Gcs {
        /// Its name.
        bucket: String,
        /// What all keys begin with; may be empty.
        prefix: String,
        /// Key of a service account as JSON. Without it: what the environment or the machine grants.
        credentials_file: Option<PathBuf>,
        /// Base URL of the service, if it is not Google's.
        endpoint: Option<String>,
    },
    /// A container of Azure Blob Storage.
    Azure {
        /// The storage account.
        account: String,
        /// The container in it.
        container: String,
        /// What all keys begin with; may be empty.
        prefix: String,
        /// Without it: what the environment or the machine grants.
        access_key: Option<SecretString>,
        /// Base URL of the service, if it is not Microsoft's.
        endpoint: Option<String>,
    },
}

impl Place {
    /// Whether both say the same, secrets included: then what is open for one serves the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::DataDir, Self::DataDir) => true,
            (Self::File { directory: one }, Self::File { directory: two }) => one == two,
            (Self::S3 { .. }, Self::S3 { .. })
            | (Self::Gcs { .. }, Self::Gcs { .. })
            | (Self::Azure { .. }, Self::Azure { .. }) => self.words() == other.words(),
            _ => false,
        }
    }

    /// All that an object store's place says, in one order per kind.
    fn words(&self) -> Vec<Option<&str>> {
        fn open(secret: &Option<SecretString>) -> Option<&str> {
            secret.as_ref().map(|secret| secret.expose_secret())
        }
        match self {
            Self::DataDir | Self::File { .. } => Vec::new(),
            Self::S3 {
                bucket,
                prefix,
                region,
                endpoint,
                path_style,
                access_key_id,
                secret_access_key,
            } => vec![
                Some(bucket),
                Some(prefix),
                region.as_deref(),
                endpoint.as_deref(),
                path_style.then_some("path"),
                open(access_key_id),
                open(secret_access_key),
            ],
            Self::Gcs { bucket, prefix, credentials_file, endpoint } => vec![
                Some(bucket),
                Some(prefix),
                credentials_file.as_ref().and_then(|file| file.to_str()),
                endpoint.as_deref(),
            ],
            Self::Azure { account, container, prefix, access_key, endpoint } => {
                vec![
                    Some(account),
                    Some(container),
                    Some(prefix),
                    open(access_key),
                    endpoint.as_deref(),
                ]
            }
        }
    }

    /// What all keys begin with, without slashes at its ends.
    pub(crate) fn prefix(&self) -> &str {
        match self {
            Self::DataDir | Self::File { .. } => "",
            Self::S3 { prefix, .. } | Self::Gcs { prefix, .. } | Self::Azure { prefix, .. } => {
                prefix.trim_matches('/')
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataDir => return f.write_str("the data directory"),
            Self::File { directory } => return write!(f, "file://{}", directory.display()),
            Self::S3 { bucket, .. } => write!(f, "s3://{bucket}")?,
            Self::Gcs { bucket, .. } => write!(f, "gs://{bucket}")?,
            Self::Azure { account, container, .. } => write!(f, "azure://{account}/{container}")?,
        }
        match self.prefix() {
            "" => Ok(()),
            prefix => write!(f, "/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(secret: &str) -> Place {
        Place::S3 {
            bucket: "b".into(),
            prefix: "/p/q/".into(),
            region: None,
            endpoint: Some("http://127.0.0.1:1".into()),
            path_style: true,
            access_key_id: Some("id".into()),
            secret_access_key: Some(secret.into()),
        }
    }

    #[test]
    fn what_is_printed_names_the_place_and_no_secret() {
        assert_eq!(s3("hush").to_string(), "s3://b/p/q");
        assert!(!format!("{:?}", s3("hush")).contains("hush"));
        let azure = Place::Azure {
            account: "a".into(),
            container: "c".into(),
            prefix: String::new(),
            access_key: None,
            endpoint: None,
        };
        assert_eq!(azure.to_string(), "azure://a/c");
        assert_eq!(Place::File { directory: "/mnt/blobs".into() }.to_string(), "file:///mnt/blobs");
    }

    #[test]
    fn another_key_is_another_place() {
        assert!(s3("one").is_same(&s3("one")));
        assert!(!s3("one").is_same(&s3("two")));
        assert!(!s3("one").is_same(&Place::DataDir));
        let file = |path: &str| Place::File { directory: path.into() };
        assert!(file("/a").is_same(&file("/a")) && !file("/a").is_same(&file("/b")));
    }
}
