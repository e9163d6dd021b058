//! Documents of names as objects: the same keys as the files have.

use super::ObjectPlace;
use crate::documents::{DIRECTORY, FILE};
use crate::error::Error;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStoreExt, PutPayload};
use oci::Name;
use std::path::PathBuf;
use std::sync::Arc;

impl ObjectPlace {
    fn document_key(&self, name: &Name) -> Key {
        Key::from(format!("{}/{DIRECTORY}/{name}/{FILE}", self.prefix))
    }

    fn document_name(&self, name: &Name) -> PathBuf {
        format!("{}/blobs/{DIRECTORY}/{name}/{FILE}", self.url).into()
    }

    /// Blocks: an object is replaced whole or not at all.
    pub(crate) fn put_document(&self, name: &Name, bytes: Bytes) -> Result<(), Error> {
        let (key, shown) = (self.document_key(name), self.document_name(name));
        let put = self.store.put(&key, PutPayload::from_bytes(bytes));
        let put = self.within(self.waits.transfer, "write", &shown, put);
        self.runtime.block_on(put).map(drop)
    }

    /// Blocks: `None` when the store says that it is not there.
    pub(crate) fn document(&self, name: &Name, max_bytes: usize) -> Result<Option<Bytes>, Error> {
        self.runtime.block_on(self.get_document(name, max_bytes))
    }

    async fn get_document(&self, name: &Name, max_bytes: usize) -> Result<Option<Bytes>, Error> {
        let (key, shown) = (self.document_key(name), self.document_name(name));
        let answer = match self.soon("read", &shown, self.store.get(&key)).await {
            Ok(answer) => answer,
            // A bucket that is not there answers just so.
            Err(error) if error.is_absent() => return self.make_sure().await.map(|()| None),
            Err(error) => return Err(error),
        };
        let size_bytes = answer.meta.size;
        if size_bytes > max_bytes as u64 {
            return Err(Error::TooLarge { path: shown, size_bytes, max_bytes });
        }
        self.within(self.waits.transfer, "read", &shown, answer.bytes()).await.map(Some)
    }

    /// Blocks: that it is not there is no error.
    pub(crate) fn remove_document(&self, name: &Name) -> Result<(), Error> {
        let (key, shown) = (self.document_key(name), self.document_name(name));
        match self.runtime.block_on(self.soon("remove", &shown, self.store.delete(&key))) {
            Err(error) if error.is_absent() => Ok(()),
            removed => removed,
        }
    }

    /// Every name that has a document, as the store lists them.
    pub(crate) fn documents(self: &Arc<Self>) -> Documents {
        let prefix = Key::from(format!("{}/{DIRECTORY}", self.prefix));
        Documents { place: self.clone(), objects: Some(self.store.list(Some(&prefix))) }
    }
}

/// Documents as they are listed, page by page. Each step blocks.
pub(crate) struct Documents {
    place: Arc<ObjectPlace>,
    objects: Option<BoxStream<'static, object_store::Result<ObjectMeta>>>,
}

impl Iterator for Documents {
    type Item = Result<Name, Error>;

    /// What lies wrong is passed over; an error ends it.
    fn next(&mut self) -> Option<Self::Item> {
        let Self { place, objects } = self;
        let stream = objects.as_mut()?;
        let shown = PathBuf::from(&place.url);
        loop {
            let next = async { stream.next().await.transpose() };
            let next = place.within(place.waits.transfer, "list", &shown, next);
            let meta = match place.runtime.block_on(next) {
                Ok(meta) => meta?,
                Err(error) => {
                    *objects = None;
                    return Some(Err(error));
                }
            };
            let key = meta.location.as_ref();
            let name = key
                .strip_prefix(place.prefix.as_str())
                .and_then(|rest| rest.strip_prefix('/')?.strip_prefix(DIRECTORY)?.strip_prefix('/'))
                .and_then(|rest| rest.strip_suffix(FILE)?.strip_suffix('/'))
                .and_then(|text| Name::parse(text).ok());
            if let Some(name) = name {
                return Some(Ok(name));
            }
        }
    }
}
