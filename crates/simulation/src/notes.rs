//! What the requests did to the stores, and what their senders learnt.

use crate::history::History;
use crate::mishaps::Mishap;
use crate::weather::{DESTINATION, Weather};
use crate::wire::Sent;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use longhaul_testing::Fault;
use std::sync::Arc;

impl Weather {
    /// Notes what a request did to the destination.
    pub(crate) fn note(&self, sent: &Sent, answer: &Result<HttpResponse, ConnectorError>) {
        let store = self.there.store();
        let fine = answer.as_ref().map_or(true, |answer| answer.status().as_u16() < 300);
        match (sent.call.operation.as_str(), &sent.call.upload_id) {
            ("CreateMultipartUpload", _) if fine => {
                let mut history = self.history();
                let order = history.moment();
                for upload in store.open_uploads() {
                    let known = history.uploads.entry(upload.id.clone()).or_default();
                    if known.key.is_empty() {
                        known.key = sent.key.clone().unwrap_or_default();
                        known.creator = sent.invocation;
                        known.order = order;
                    }
                }
            }
            ("UploadPart", Some(_)) if fine => self.part_stored(sent),
            ("ListParts", Some(id)) if answer.as_ref().is_ok_and(|answer| answer.status().as_u16() == 200) => {
                let Some(invocation) = sent.invocation else { return };
                let (after, most) = sent.page;
                let parts = store.parts(id);
                let mut history = self.history();
                for part in parts.keys().filter(|part| **part > after).take(most as usize) {
                    history.shown.insert((invocation, id.clone(), *part));
                }
            }
            ("PutObject" | "CompleteMultipartUpload" | "DeleteObject", _) => self.note_object(sent),
            _ => {}
        }
    }

    /// Looks at what stands at the destination after a write.
    fn note_object(&self, sent: &Sent) {
        let (Some(key), Some(there)) = (&sent.key, &sent.call.key) else { return };
        let stands = self.there.store().object(DESTINATION, there);
        let mut history = self.history();
        let Some(known) = history.keys.get(key) else { return };
        let same = match (&known.stands, &stands) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (None, None) => true,
            _ => false,
        };
        if same {
            return;
        }
        let (before, since, known_denied) = (known.stands.clone(), known.since, known.denied);
        let now = stands.as_ref().and_then(|object| object.body.bytes()).unwrap_or_default();
        let versions = history.versions_of(key, &now);
        if stands.is_some() && versions.is_empty() {
            let told = format!("{there:?} holds {} bytes that no version of the source has", now.len());
            history.violated("byte-for-byte", told);
        }
        if stands.is_none()
            && !known_denied
            && let Some(since) = since
            && sent.begun.is_some_and(|begun| since < begun)
        {
            history.violated("never-deleted", format!("{there:?} was removed, and the source holds it"));
        }
        let held = before.and_then(|object| object.body.bytes());
        let older = held.map(|held| history.versions_of(key, &held)).unwrap_or_default();
        if let (Some(least), Some(most)) = (older.iter().min(), versions.iter().max())
            && most < least
        {
            history.violated("never-older", format!("version {most} of {key:?} replaced version {least}"));
        }
        let Some(known) = history.keys.get_mut(key) else { return };
        if let Some(object) = &stands {
            known.written.push((object.etag.clone(), now));
        }
        known.stands = stands;
    }

    /// Something happens to this request, and the client may have gone before anybody can tell.
    pub(crate) fn in_doubt(&self, sent: &Sent, mishap: &Mishap) {
        let mut history = self.history();
        match (sent.call.operation.as_str(), &sent.call.upload_id, &sent.key, sent.invocation) {
            ("AbortMultipartUpload", Some(id), ..) => abort_failed(&mut history, id),
            ("GetObject", _, Some(key), Some(invocation))
                if !sent.there && matches!(mishap, Mishap::Store(Fault::FlipResponse { .. })) =>
            {
                history.misread.insert((invocation, key.clone()));
            }
            _ => {}
        }
    }

    /// Notes what the client learns.
    pub(crate) fn arrived(&self, sent: &Sent, answer: &Result<HttpResponse, ConnectorError>) {
        if !sent.there {
            return;
        }
        let fine = answer.as_ref().is_ok_and(|answer| answer.status().as_u16() < 300);
        let mut history = self.history();
        match (sent.call.operation.as_str(), &sent.call.upload_id, sent.invocation) {
            ("CreateMultipartUpload", ..) if fine => {
                // The newest one of this invocation is the one that is answered for.
                let ours = history
                    .uploads
                    .values_mut()
                    .filter(|upload| upload.creator == sent.invocation && Some(&upload.key) == sent.key.as_ref());
                if let Some(newest) = ours.max_by_key(|upload| upload.order) {
                    newest.told = true;
                }
            }
            ("UploadPart", Some(id), Some(invocation)) if fine => {
                if let Some(part) = sent.call.part_number {
                    history.replied.insert((invocation, id.clone(), part));
                }
            }
            ("AbortMultipartUpload", Some(id), _) if !fine => abort_failed(&mut history, id),
            _ => {}
        }
    }
}

fn abort_failed(history: &mut History, id: &str) {
    if let Some(upload) = history.uploads.get_mut(id) {
        upload.abort_failed = true;
    }
}
