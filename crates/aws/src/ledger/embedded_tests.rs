#![allow(clippy::unwrap_used)]
use super::*;
use futures::executor::block_on;
use longhaul_core::config::Side;
use longhaul_core::etag::Encryption;
use longhaul_core::job::UploadRecord;
use longhaul_core::layout::PartLayout;
use redb::backends::InMemoryBackend;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};

const SOUND: u8 = 0;
/// Every call fails.
const BROKEN: u8 = 1;
/// A commit does not end.
const HELD: u8 = 2;

/// A disk in one of these conditions.
#[derive(Debug)]
struct Disk(InMemoryBackend, Arc<AtomicU8>);

impl Disk {
    fn unbroken(&self) -> io::Result<&InMemoryBackend> {
        match self.1.load(Ordering::SeqCst) {
            BROKEN => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(&self.0),
        }
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.unbroken()?.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.unbroken()?.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.unbroken()?.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        while self.1.load(Ordering::SeqCst) == HELD {
            std::thread::yield_now();
        }
        self.unbroken()?.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.unbroken()?.write(offset, data)
    }
}

/// Sets the condition; the disk is sound again once it is dropped, else a failed test would wait for its commit.
struct Switch(Arc<AtomicU8>);

impl Switch {
    fn set(&self, condition: u8) {
        self.0.store(condition, Ordering::SeqCst);
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.set(SOUND);
    }
}

fn ledger() -> (EmbeddedLedger, Switch) {
    let condition = Arc::new(AtomicU8::new(SOUND));
    let disk = Disk(InMemoryBackend::new(), Arc::clone(&condition));
    (EmbeddedLedger::grouped(Store::over(disk).unwrap()).unwrap(), Switch(condition))
}

fn record(name: &str) -> JobRecord {
    JobRecord::new(LedgerKey::new(&Side::default(), name), "from", name, "e", 1)
}

#[test]
fn after_a_failed_commit_every_call_says_so() {
    let (ledger, disk) = ledger();
    block_on(async {
        ledger.put(&record("a"), Expected::Absent).await.unwrap();
        ledger.flush().await.unwrap();
        disk.set(BROKEN);
        // Accepted, or refused already if the thread was quick: the flush says it in any case.
        let _ = ledger.put(&record("b"), Expected::Any).await;
        let refused = ledger.flush().await.unwrap_err();
        assert!(matches!(refused, LedgerError::Rejected(_)));
        assert_eq!(ledger.flush().await, Err(refused.clone()));
        assert_eq!(ledger.put(&record("c"), Expected::Any).await, Err(refused.clone()));
        assert_eq!(ledger.get(&record("a").destination).await, Err(refused.clone()));
        assert_eq!(ledger.get_many(&[record("a").destination]).await, Err(refused.clone()));
        assert_eq!(ledger.all(), Err(refused));
    });
}

#[test]
fn a_record_is_seen_while_its_commit_runs() {
    let (ledger, disk) = ledger();
    block_on(async {
        disk.set(HELD);
        let first = ledger.put(&record("a"), Expected::Absent).await.unwrap();
        while ledger.shared.locked().committing.is_empty() {
            std::thread::yield_now();
        }
        let key = &first.destination;
        assert_eq!(ledger.get(key).await, Ok(Some(first.clone())));
        assert_eq!(ledger.get_many(std::slice::from_ref(key)).await, Ok(vec![Some(first.clone())]));
        assert_eq!(ledger.all(), Ok(vec![first.clone()]));
        assert_eq!(ledger.put(&record("a"), Expected::Absent).await, Err(LedgerError::Conflict));
        let second = ledger.put(&first, Expected::Revision(1)).await.unwrap();
        assert_eq!(ledger.get(key).await, Ok(Some(second.clone())));
        assert_eq!(ledger.all(), Ok(vec![second.clone()]));
        disk.set(SOUND);
        ledger.flush().await.unwrap();
        assert_eq!(ledger.get(key).await, Ok(Some(second)));
    });
}

#[test]
fn an_upload_is_on_the_disk_before_anybody_sends_a_part_of_it() {
    let (ledger, disk) = ledger();
    let upload = UploadRecord {
        upload_id: "id".into(),
        layout: PartLayout::new(64 << 20, 8 << 20).unwrap(),
        mirrored: false,
        encryption: Encryption::Plain,
        trailing_checksum: false,
    };
    block_on(async {
        let begun = JobRecord { upload: Some(upload), ..record("a") };
        let written = ledger.put(&begun, Expected::Absent).await.unwrap();
        assert_eq!(ledger.shared.store.read([&written.destination]).unwrap(), [Some(written.clone())]);
        disk.set(BROKEN);
        assert!(matches!(ledger.put(&written, Expected::Any).await, Err(LedgerError::Rejected(_))));
    });
}
