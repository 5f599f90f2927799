//! A disk in memory that loses or tears what was not synced, or fails.

use std::sync::{Arc, Mutex};

use fastrand::Rng;
use redb::{Database, StorageBackend};

use super::super::LocalQueues;
use super::super::local::Files;
use super::TestClock;

/// A disk in memory with two files.
#[derive(Clone, Debug)]
pub(super) struct Disk(pub(super) Arc<Mutex<Content>>);

/// One file of the disk: the number of its bytes in [`Content`].
#[derive(Debug)]
pub(super) struct Part(Disk, usize);

pub(super) const DATABASE: usize = 0;
pub(super) const LOG: usize = 1;
/// The space for records: enough for a few operations, so that there are checkpoints among them.
const LOG_CAPACITY: u64 = 64 << 10;

/// The bytes of both files.
pub(super) type Bytes = [Vec<u8>; 2];

#[derive(Debug)]
pub(super) struct Content {
    /// The bytes as the program sees them.
    pub(super) live: Bytes,
    /// The bytes that survive a power failure.
    durable: [Arc<Vec<u8>>; 2],
    /// The changes that may be lost, in their order.
    unsynced: Vec<(usize, Change)>,
    /// False for a disk that confirms a sync without doing it.
    pub(super) syncs: bool,
    /// The number of writes after which all fail; `None` for a disk that works.
    pub(super) failing: Option<usize>,
    /// Collects images of the disk after a power failure.
    photographer: Option<Photographer>,
    images: Vec<Image>,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

#[derive(Debug)]
struct Photographer {
    rng: Rng,
    images_per_sync: usize,
}

/// A disk after a power failure: what was durable, and some of the rest.
#[derive(Debug)]
pub(super) struct Image {
    durable: [Arc<Vec<u8>>; 2],
    kept: Vec<(usize, Change)>,
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write(offset, data) => {
                let end = offset + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(data);
            }
        }
    }
}

impl Image {
    pub(super) fn bytes(&self) -> Bytes {
        let mut bytes = [0, 1].map(|file| self.durable[file].to_vec());
        self.kept.iter().for_each(|(file, change)| change.apply(&mut bytes[*file]));
        bytes
    }
}

impl Photographer {
    /// Keeps some of the changes, whole or up to a sector.
    fn image(&mut self, durable: &[Arc<Vec<u8>>; 2], unsynced: &[(usize, Change)]) -> Image {
        const SECTOR: usize = 512;
        let mut kept = Vec::new();
        for (file, change) in unsynced {
            match (self.rng.u8(..4), change) {
                (0, _) => {}
                (1, Change::Write(offset, data)) => {
                    let sectors = self.rng.usize(..=data.len() / SECTOR);
                    kept.push((*file, Change::Write(*offset, data[..sectors * SECTOR].to_vec())));
                }
                _ => kept.push((*file, change.clone())),
            }
        }
        Image { durable: durable.clone(), kept }
    }
}

impl Disk {
    pub(super) fn new(bytes: Bytes, syncs: bool) -> Self {
        let durable = bytes.clone().map(Arc::new);
        let (unsynced, images) = (Vec::new(), Vec::new());
        Self(Arc::new(Mutex::new(Content {
            live: bytes,
            durable,
            unsynced,
            syncs,
            failing: None,
            photographer: None,
            images,
        })))
    }

    pub(super) fn photograph(&self, rng: Rng, images_per_sync: usize) {
        self.0.lock().unwrap().photographer = Some(Photographer { rng, images_per_sync });
    }

    pub(super) fn take_images(&self) -> Vec<Image> {
        std::mem::take(&mut self.0.lock().unwrap().images)
    }

    pub(super) fn queues(&self, time: &TestClock) -> Result<LocalQueues, redb::Error> {
        let disk = self.clone();
        let open = move || {
            let part = |file| Part(disk.clone(), file);
            let database = Database::builder().set_cache_size(1 << 20).create_with_backend(part(DATABASE))?;
            Ok(Files { database, log: Box::new(part(LOG)), log_capacity: LOG_CAPACITY })
        };
        LocalQueues::with(Box::new(open), Box::new(|| true), time.clock())
    }
}

impl Part {
    fn change(&self, change: Change) -> Result<(), std::io::Error> {
        let mut content = self.0.0.lock().unwrap();
        if let Some(left) = &mut content.failing {
            *left = left.checked_sub(1).ok_or_else(|| std::io::Error::other("the disk has failed"))?;
        }
        change.apply(&mut content.live[self.1]);
        content.unsynced.push((self.1, change));
        Ok(())
    }
}

impl StorageBackend for Part {
    fn len(&self) -> Result<u64, std::io::Error> {
        Ok(self.0.0.lock().unwrap().live[self.1].len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        let content = self.0.0.lock().unwrap();
        let offset = usize::try_from(offset).unwrap();
        out.copy_from_slice(&content.live[self.1][offset..offset + out.len()]);
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), std::io::Error> {
        self.change(Change::Length(usize::try_from(length).unwrap()))
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        let mut content = self.0.0.lock().unwrap();
        let Content { durable, unsynced, photographer, images, .. } = &mut *content;
        if let Some(photographer) = photographer {
            for _ in 0..photographer.images_per_sync {
                images.push(photographer.image(durable, unsynced));
            }
        }
        if content.syncs {
            content.durable[self.1] = Arc::new(content.live[self.1].clone());
            content.unsynced.retain(|(file, _)| *file != self.1);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.change(Change::Write(usize::try_from(offset).unwrap(), data.to_vec()))
    }
}
