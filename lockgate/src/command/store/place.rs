//! A place on the command line: a URL, and flags for what no URL says.

use crate::exit::Failure;
use plane::MigrateTo;
use resources::v1alpha1::StoreSpec;
use serde_json::{Map, Value, json};

/// What is said of a place beside its URL.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct PlaceFlags {
    /// Base URL of the object store, if it is not the cloud's own
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Region of an S3 bucket [default: us-east-1]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Puts the bucket's name into the path of URLs; the default where --endpoint is given
    #[arg(long)]
    path_style: bool,
    /// File with the id of the S3 access key
    #[arg(long, value_name = "FILE")]
    access_key_id_file: Option<String>,
    /// File with the secret of the S3 access key
    #[arg(long, value_name = "FILE")]
    secret_access_key_file: Option<String>,
    /// File with the key of a Google service account
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<String>,
    /// File with the key of an Azure storage account
    #[arg(long, value_name = "FILE")]
    access_key_file: Option<String>,
}

impl PlaceFlags {
    /// The place that a text and these flags mean.
    pub(super) fn read(&self, text: &str) -> Result<MigrateTo, Failure> {
        match text {
            "configured" => return Ok(MigrateTo::Configured),
            "data-dir" => return Ok(MigrateTo::DataDir),
            _ => {}
        }
        let wrong = || {
            Failure::usage(format!("--to {text}: no place")).hint(
                "write configured, data-dir, file:///DIR, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or \
                 azure://ACCOUNT/CONTAINER/PREFIX",
            )
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let spec = match scheme {
            "file" => json!({ "file": { "directory": rest } }),
            "s3" => json!({ "s3": self.s3(rest) }),
            "gs" => json!({ "gcs": self.gcs(rest) }),
            "azure" => json!({ "azure": self.azure(rest).ok_or_else(wrong)? }),
            _ => return Err(wrong()),
        };
        // JSON is YAML; read as a document is, so that the same is refused in the same words.
        let spec: StoreSpec = resources::from_yaml("--to", &spec.to_string())
            .map_err(|problems| Failure::usage(problems.to_string()))?;
        Ok(MigrateTo::Place(Box::new(spec)))
    }

    fn s3(&self, rest: &str) -> Value {
        let mut place = bucket("bucket", rest);
        put(&mut place, "region", &self.region);
        put(&mut place, "endpoint", &self.endpoint);
        put(&mut place, "accessKeyIdFile", &self.access_key_id_file);
        put(&mut place, "secretAccessKeyFile", &self.secret_access_key_file);
        if self.path_style {
            place.insert("pathStyle".to_owned(), Value::Bool(true));
        }
        Value::Object(place)
    }

    fn gcs(&self, rest: &str) -> Value {
        let mut place = bucket("bucket", rest);
        put(&mut place, "endpoint", &self.endpoint);
        put(&mut place, "credentialsFile", &self.credentials_file);
        Value::Object(place)
    }

    fn azure(&self, rest: &str) -> Option<Value> {
        let (account, rest) = rest.split_once('/')?;
        let mut place = bucket("container", rest);
        put(&mut place, "account", &Some(account.to_owned()));
        put(&mut place, "endpoint", &self.endpoint);
        put(&mut place, "accessKeyFile", &self.access_key_file);
        Some(Value::Object(place))
    }
}

/// A bucket and the prefix behind it.
fn bucket(what: &str, rest: &str) -> Map<String, Value> {
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_matches('/');
    let mut place = Map::new();
    put(&mut place, what, &Some(name.to_owned()));
    put(&mut place, "prefix", &Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty()));
    place
}

fn put(place: &mut Map<String, Value>, name: &str, value: &Option<String>) {
    if let Some(value) = value {
        place.insert(name.to_owned(), Value::String(value.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_documents_are() {
        let flags = PlaceFlags {
            endpoint: Some("http://127.0.0.1:8333".to_owned()),
            access_key_id_file: Some("/id".to_owned()),
            secret_access_key_file: Some("/key".to_owned()),
            ..PlaceFlags::default()
        };
        let MigrateTo::Place(spec) = flags.read("s3://bucket/some/prefix/").unwrap() else {
            panic!("a place of its own")
        };
        let s3 = spec.s3.unwrap();
        assert_eq!((s3.bucket.as_str(), s3.prefix.unwrap().as_str()), ("bucket", "some/prefix"));
        let none = PlaceFlags::default();
        assert!(matches!(none.read("configured"), Ok(MigrateTo::Configured)));
        assert!(matches!(none.read("data-dir"), Ok(MigrateTo::DataDir)));
        assert!(matches!(none.read("file:///mnt/blobs"), Ok(MigrateTo::Place(_))));
        for bad in ["s3:/b", "ftp://x", "azure://account", "nowhere", "s3://"] {
            assert!(none.read(bad).is_err(), "{bad}");
        }
    }
}
