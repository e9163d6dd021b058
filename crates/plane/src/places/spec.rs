//! `StoreSpec` documents as places of the store.

use blobs::Place;
use resources::v1alpha1::{AzureStore, GcsStore, S3Store, StoreSpec};
use secrecy::SecretString;
use std::io::Read;

/// The largest file of a secret.
const SECRET_MAX_BYTES: u64 = 64 << 10;

/// The place that a document means. Reads the files of its secrets.
pub(crate) fn place_of(spec: &StoreSpec) -> Result<Place, String> {
    if let Some(file) = &spec.file {
        return Ok(Place::File { directory: file.directory.as_str().into() });
    }
    if let Some(s3) = &spec.s3 {
        return of_s3(s3);
    }
    if let Some(gcs) = &spec.gcs {
        return Ok(of_gcs(gcs));
    }
    match &spec.azure {
        Some(azure) => of_azure(azure),
        None => Err("one of file, s3, gcs and azure is needed".to_owned()),
    }
}

/// Where a document says that blobs lie, as a URL without secrets.
pub(crate) fn url_of(spec: &StoreSpec) -> String {
    let keyless = |spec: &StoreSpec| {
        let mut spec = spec.clone();
        if let Some(s3) = &mut spec.s3 {
            (s3.access_key_id_file, s3.secret_access_key_file) = (None, None);
        }
        if let Some(azure) = &mut spec.azure {
            azure.access_key_file = None;
        }
        spec
    };
    place_of(&keyless(spec)).map(|place| place.to_string()).unwrap_or_default()
}

fn of_s3(s3: &S3Store) -> Result<Place, String> {
    Ok(Place::S3 {
        bucket: s3.bucket.clone(),
        prefix: s3.prefix.as_ref().map(|it| it.as_str().to_owned()).unwrap_or_default(),
        region: s3.region.clone(),
        endpoint: s3.endpoint.as_ref().map(|it| it.as_str().to_owned()),
        path_style: s3.path_style.unwrap_or(s3.endpoint.is_some()),
        access_key_id: secret(s3.access_key_id_file.as_deref())?,
        secret_access_key: secret(s3.secret_access_key_file.as_deref())?,
    })
}

fn of_gcs(gcs: &GcsStore) -> Place {
    Place::Gcs {
        bucket: gcs.bucket.clone(),
        prefix: gcs.prefix.as_ref().map(|it| it.as_str().to_owned()).unwrap_or_default(),
        credentials_file: gcs.credentials_file.as_ref().map(Into::into),
        endpoint: gcs.endpoint.as_ref().map(|it| it.as_str().to_owned()),
    }
}

fn of_azure(azure: &AzureStore) -> Result<Place, String> {
    Ok(Place::Azure {
        account: azure.account.clone(),
        container: azure.container.clone(),
        prefix: azure.prefix.as_ref().map(|it| it.as_str().to_owned()).unwrap_or_default(),
        access_key: secret(azure.access_key_file.as_deref())?,
        endpoint: azure.endpoint.as_ref().map(|it| it.as_str().to_owned()),
    })
}

fn secret(path: Option<&str>) -> Result<Option<SecretString>, String> {
    let Some(path) = path else { return Ok(None) };
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(SECRET_MAX_BYTES).read_to_string(&mut text))
        .map_err(|error| format!("{path} cannot be read: {error}"))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(format!("{path} is empty"));
    }
    Ok(Some(SecretString::from(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn secrets_are_read_from_files_and_their_absence_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let named = path.to_str().unwrap();
        assert!(secret(Some(named)).unwrap_err().contains("cannot be read"));
        std::fs::write(&path, "\n").unwrap();
        assert!(secret(Some(named)).unwrap_err().contains("is empty"));
        std::fs::write(&path, "hush\n").unwrap();
        assert_eq!(secret(Some(named)).unwrap().unwrap().expose_secret(), "hush");
        assert!(secret(None).unwrap().is_none());
    }
}
