//! Rows of the API about manifests, tags and referrers.

use crate::registry::{Case, Outcome, ensure, location};
use crate::shapes::{INDEX, Manifest};
use serde_json::Value;
use testkit::client::Response;

pub(crate) async fn ping(case: &Case) -> Outcome {
    case.ask("GET", "/v2/", 200).await.map(drop)
}

impl Case {
    async fn manifest_pushed(&self, answer: &Response, manifest: &Manifest) -> Outcome {
        let got = self.ask("GET", &location(answer)?, 200).await?;
        self.is_manifest(&got, manifest, false)
    }

    async fn tags(&self, query: &str) -> Result<Vec<String>, String> {
        let answer = self.ask("GET", &format!("/v2/{}/tags/list{query}", self.name), 200).await?;
        let tags = answer.json()["tags"].as_array().cloned().unwrap_or_default();
        Ok(tags.iter().filter_map(|tag| Some(tag.as_str()?.to_owned())).collect())
    }
}

pub(crate) async fn manifest_put_digest(case: &Case) -> Outcome {
    case.push_blobs().await?;
    for manifest in &case.shape.manifests {
        let path = case.manifest_path(&manifest.digest);
        let headers = [("content-type", manifest.media_type)];
        let other = [manifest.body.as_ref(), b"  "].concat();
        case.put("PUT", &path, &headers, other.into(), 400).await?;
        case.put(
            "PUT",
            &case.manifest_path("sha256:baddigeststring"),
            &headers,
            manifest.body.clone(),
            400,
        )
        .await?;
        case.ask("HEAD", &path, 404).await?;
        let answer = case.put_manifest(&manifest.digest, manifest).await?;
        case.manifest_pushed(&answer, manifest).await?;
    }
    Ok(())
}

/// A tag alone says nothing of the algorithm: what is pushed so has a digest of SHA-256.
pub(crate) async fn manifest_put_tag(case: &Case) -> Outcome {
    case.push().await?;
    for (number, manifest) in case.shape.manifests.iter().enumerate() {
        let answer = case.put_manifest(&format!("tag-{number}"), manifest).await?;
        let digest = oci::Digest::sha256(&manifest.body).to_string();
        let by_tag = Manifest { digest, ..manifest.clone() };
        case.manifest_pushed(&answer, &by_tag).await?;
        let got = case.ask("GET", &case.manifest_path(&format!("tag-{number}")), 200).await?;
        case.is_manifest(&got, &by_tag, false)?;
    }
    Ok(())
}

pub(crate) async fn manifest_put_tag_param(case: &Case) -> Outcome {
    case.push_blobs().await?;
    for (number, manifest) in case.shape.manifests.iter().enumerate() {
        let tags = [format!("first-{number}"), format!("second-{number}")];
        let reference = format!("{}?tag={}&tag={}", manifest.digest, tags[0], tags[1]);
        let answer = case.put_manifest(&reference, manifest).await?;
        let said: Vec<&str> = answer
            .headers
            .iter()
            .filter(|(name, _)| name == "oci-tag")
            .flat_map(|(_, value)| value.split(',').map(str::trim))
            .collect();
        for tag in &tags {
            ensure(said.contains(&tag.as_str()), || format!("OCI-Tag names {said:?}, not {tag}"))?;
            let got = case.ask("GET", &case.manifest_path(tag), 200).await?;
            case.is_manifest(&got, manifest, false)?;
        }
    }
    Ok(())
}

pub(crate) async fn manifest_put_subject(case: &Case) -> Outcome {
    case.push_blobs().await?;
    for manifest in &case.shape.manifests {
        let answer = case.put_manifest(&manifest.digest, manifest).await?;
        let expected = manifest.refers.as_ref().map(|refers| refers.subject.as_str());
        let said = answer.header("oci-subject");
        ensure(said == expected, || format!("OCI-Subject {said:?}, not {expected:?}"))?;
    }
    Ok(())
}

pub(crate) async fn manifest_get_digest(case: &Case) -> Outcome {
    for manifest in &case.shape.manifests {
        case.ask("GET", &case.manifest_path(&manifest.digest), 404).await?;
    }
    case.push().await?;
    for manifest in &case.shape.manifests {
        let got = case.ask("GET", &case.manifest_path(&manifest.digest), 200).await?;
        case.is_manifest(&got, manifest, false)?;
    }
    case.ask("GET", &case.manifest_path("sha256:baddigeststring"), 400).await.map(drop)
}

pub(crate) async fn manifest_get_tag(case: &Case) -> Outcome {
    case.ask("GET", &case.manifest_path("latest"), 404).await?;
    case.push_tagged("latest").await?;
    let got = case.ask("GET", &case.manifest_path("latest"), 200).await?;
    case.is_manifest(&got, case.shape.top(), false)
}

pub(crate) async fn manifest_head_digest(case: &Case) -> Outcome {
    case.push().await?;
    for manifest in &case.shape.manifests {
        let got = case.ask("HEAD", &case.manifest_path(&manifest.digest), 200).await?;
        case.is_manifest(&got, manifest, true)?;
    }
    Ok(())
}

pub(crate) async fn manifest_head_tag(case: &Case) -> Outcome {
    case.ask("HEAD", &case.manifest_path("latest"), 404).await?;
    case.push_tagged("latest").await?;
    let got = case.ask("HEAD", &case.manifest_path("latest"), 200).await?;
    case.is_manifest(&got, case.shape.top(), true)
}

/// With its tags; in the reverse order of the push, parents first.
pub(crate) async fn manifest_delete(case: &Case) -> Outcome {
    case.push_tagged("latest").await?;
    for manifest in case.shape.manifests.iter().rev() {
        case.ask("DELETE", &case.manifest_path(&manifest.digest), 202).await?;
        case.ask("DELETE", &case.manifest_path(&manifest.digest), 404).await?;
    }
    case.ask("HEAD", &case.manifest_path("latest"), 404).await?;
    // What they named can go, and all of it can come back.
    for (digest, _) in &case.shape.blobs {
        case.ask("DELETE", &case.blob_path(digest), 202).await?;
    }
    case.push_tagged("latest").await
}

pub(crate) async fn manifest_delete_atomic(case: &Case) -> Outcome {
    case.push().await?;
    for manifest in case.shape.manifests.iter().rev() {
        let path = case.manifest_path(&manifest.digest);
        case.ask("HEAD", &path, 200).await?;
        case.ask("DELETE", &path, 202).await?;
        case.ask("HEAD", &path, 404).await?;
        case.ask("GET", &path, 404).await?;
    }
    Ok(())
}

pub(crate) async fn tag_list(case: &Case) -> Outcome {
    let path = format!("/v2/{}/tags/list", case.name);
    let empty =
        testkit::client::get(case.addr, &path, &[]).await.map_err(|error| error.to_string())?;
    ensure(matches!(empty.status, 200 | 404), || format!("GET {path}: {}", empty.status))?;
    case.push_tagged("b").await?;
    let top = case.shape.top();
    case.put_manifest(&format!("{}?tag=a&tag=C&tag=d", top.digest), top).await?;
    for (query, expected) in [
        ("", vec!["C", "a", "b", "d"]),
        ("?last=a", vec!["b", "d"]),
        ("?n=2", vec!["C", "a"]),
        ("?n=2&last=a", vec!["b", "d"]),
        ("?last=z", vec![]),
    ] {
        let tags = case.tags(query).await?;
        ensure(tags == expected, || format!("tags{query}: {tags:?}, not {expected:?}"))?;
    }
    Ok(())
}

pub(crate) async fn tag_delete(case: &Case) -> Outcome {
    case.push_tagged("going").await?;
    let top = case.shape.top();
    case.put_manifest(&format!("{}?tag=staying", top.digest), top).await?;
    case.ask("DELETE", &case.manifest_path("going"), 202).await?;
    case.ask("DELETE", &case.manifest_path("going"), 404).await?;
    case.ask("HEAD", &case.manifest_path("staying"), 200).await?;
    case.ask("HEAD", &case.manifest_path(&top.digest), 200).await?;
    let tags = case.tags("").await?;
    ensure(tags == ["staying"], || format!("tags: {tags:?}"))
}

pub(crate) async fn tag_delete_atomic(case: &Case) -> Outcome {
    case.push_tagged("going").await?;
    case.ask("HEAD", &case.manifest_path("going"), 200).await?;
    case.ask("DELETE", &case.manifest_path("going"), 202).await?;
    case.ask("HEAD", &case.manifest_path("going"), 404).await?;
    case.ask("GET", &case.manifest_path("going"), 404).await.map(drop)
}

pub(crate) async fn referrers(case: &Case) -> Outcome {
    let nobody = oci::Digest::sha256(case.name.as_bytes()).to_string();
    let none = case.referrers(&nobody, None).await?;
    ensure(none.is_empty(), || format!("referrers of nothing: {none:?}"))?;
    case.push().await?;
    for manifest in &case.shape.manifests {
        let listed = case.referrers(&manifest.digest, None).await?;
        let expected = case
            .shape
            .manifests
            .iter()
            .filter(|other| {
                other.refers.as_ref().is_some_and(|refers| refers.subject == manifest.digest)
            })
            .count();
        ensure(listed.len() == expected, || {
            format!("referrers of {}: {listed:?}", manifest.digest)
        })?;
        if let Some(refers) = &manifest.refers {
            case.lists(&refers.subject, None, manifest).await?;
            case.lists(&refers.subject, Some(&refers.artifact_type), manifest).await?;
        }
    }
    Ok(())
}

impl Case {
    async fn referrers(
        &self,
        subject: &str,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Value>, String> {
        let query = artifact_type.map(|kind| format!("?artifactType={}", kind.replace('+', "%2B")));
        let path = format!("/v2/{}/referrers/{subject}{}", self.name, query.unwrap_or_default());
        let answer = self.ask("GET", &path, 200).await?;
        let (kind, document) = (answer.header("content-type"), answer.json());
        ensure(
            kind == Some(INDEX) && document["mediaType"] == INDEX && document["schemaVersion"] == 2,
            || format!("GET {path}: {kind:?} {document}"),
        )?;
        if artifact_type.is_some() {
            let applied = answer.header("oci-filters-applied").unwrap_or_default();
            ensure(applied.split(',').any(|one| one.trim() == "artifactType"), || {
                format!("GET {path}: OCI-Filters-Applied {applied:?}")
            })?;
        }
        Ok(document["manifests"].as_array().cloned().unwrap_or_default())
    }

    /// The list holds this manifest, well described, and nothing that the filter leaves out.
    async fn lists(
        &self,
        subject: &str,
        artifact_type: Option<&str>,
        manifest: &Manifest,
    ) -> Outcome {
        let refers = manifest.refers.as_ref().ok_or("refers to nothing")?;
        let listed = self.referrers(subject, artifact_type).await?;
        let is_it = |one: &&Value| {
            one["digest"] == manifest.digest.as_str()
                && one["mediaType"] == manifest.media_type
                && one["size"] == manifest.body.len()
                && one["artifactType"] == refers.artifact_type.as_str()
                && one["annotations"] == refers.annotations
        };
        ensure(listed.iter().filter(is_it).count() == 1, || {
            format!("{} among {listed:?}", manifest.digest)
        })?;
        let strange =
            listed.iter().find(|one| artifact_type.is_some_and(|kind| one["artifactType"] != kind));
        ensure(strange.is_none(), || format!("{strange:?} is not of {artifact_type:?}"))
    }
}
