//! The log: the changes since the last checkpoint of the database, one record for each batch.
//!
//! A database of pages writes a page for each place that a batch changes, some thirty of them. The log takes the same
//! changes as one piece, which is written and synced at once. The database itself is synced only when the log is full;
//! after that, the log is written from its start again.
//!
//! A record is valid if its checksum is right and its number is one above that of the record before it. What is left of
//! earlier rounds has lower numbers. The checksum begins with a random number of the log, so a caller whose item is to
//! look like a record would have to guess it.

use std::io;

use redb::StorageBackend;

/// The size of the units in which the log is written. A record begins at a multiple of it, so that no write touches
/// the bytes of an earlier record: an interrupted write may leave any of the bytes in the units that it touches.
const UNIT: u64 = 4096;
/// The space by which the file grows. A record in space that is there already is on disk with one sync of data; a
/// growing file needs a second write, of its length.
const GROWTH: u64 = 1 << 20;
/// The space for records at which a checkpoint is due.
pub(super) const CAPACITY: u64 = 8 << 20;

const MAGIC: [u8; 8] = *b"bulkqlog";
/// Magic and random number.
const FILE_HEAD: usize = 16;
/// Checksum, length and number.
const RECORD_HEAD: usize = 16;

/// A log that is open.
#[derive(Debug)]
pub(super) struct Log {
    disk: Box<dyn StorageBackend>,
    /// The random number.
    id: u64,
    /// The number of the last record.
    last: u64,
    /// The place of the next record.
    at: u64,
    /// The space in the file.
    length: u64,
    capacity: u64,
}

/// The place up to which the database has the changes of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The random number of the log.
    pub(super) log: u64,
    /// The number of the last record that the database has.
    pub(super) number: u64,
}

/// The reason why a log is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error(transparent)]
    Disk(#[from] io::Error),
    #[error(
        "it is missing or new, and queues.log beside it has changes of another one; to begin with empty queues, move \
         queues.log away as well"
    )]
    Alone,
    #[error("the log beside it, queues.log, is not the log of this database, or its first bytes are damaged")]
    Foreign,
    #[error(
        "queues.log does not continue it: the record at byte {at} is damaged, or the two files are of different backups"
    )]
    Damaged { at: u64 },
}

impl Log {
    /// Makes a log without records in an empty file, or anew. Its first record follows the one that is named.
    pub(super) fn make(disk: Box<dyn StorageBackend>, capacity: u64, last: u64) -> Result<Self, io::Error> {
        let id = getrandom::u64().map_err(io::Error::other)?;
        disk.set_len(0)?;
        disk.set_len(UNIT)?;
        let mut head = [0; FILE_HEAD];
        head[..8].copy_from_slice(&MAGIC);
        head[8..].copy_from_slice(&id.to_le_bytes());
        disk.write(0, &head)?;
        disk.sync_data()?;
        Ok(Self { disk, id, last, at: UNIT, length: UNIT, capacity })
    }

    /// True if there is no log with this mark, and no record of another one. A host that has ended right after it made
    /// a log leaves one whose mark nobody has.
    pub(super) fn is_missing(disk: &dyn StorageBackend, mark: Mark) -> Result<bool, io::Error> {
        let mut head = [0; FILE_HEAD];
        let length = disk.len()?;
        if length >= UNIT {
            disk.read(0, &mut head)?;
        }
        Ok(length <= UNIT && head[8..] != mark.log.to_le_bytes())
    }

    /// True if there is a record of any log.
    pub(super) fn has_records(disk: &dyn StorageBackend) -> Result<bool, io::Error> {
        let mut head = [0; FILE_HEAD];
        let mut record = [0; RECORD_HEAD];
        if disk.len()? < UNIT + RECORD_HEAD as u64 {
            return Ok(false);
        }
        disk.read(0, &mut head)?;
        disk.read(UNIT, &mut record)?;
        Ok(head[..8] == MAGIC && record != [0; RECORD_HEAD])
    }

    /// Opens a log, and returns the records that the database does not have yet.
    pub(super) fn open(
        disk: Box<dyn StorageBackend>,
        capacity: u64,
        mark: Mark,
    ) -> Result<(Self, Vec<Vec<u8>>), Unusable> {
        // Whatever is behind the space for records was not written by a host.
        let length = disk.len()?.min(UNIT + capacity);
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| Unusable::Foreign)?];
        disk.read(0, &mut bytes)?;
        let (head, _) = bytes.split_first_chunk::<FILE_HEAD>().ok_or(Unusable::Foreign)?;
        if head[..8] != MAGIC || head[8..] != mark.log.to_le_bytes() {
            return Err(Unusable::Foreign);
        }
        let mut log = Self { disk, id: mark.log, last: mark.number, at: UNIT, length, capacity };
        let mut records = Vec::new();
        while let Some((number, payload)) = log.record(&bytes, log.at)
            && number == log.last + 1
        {
            records.push(payload.to_vec());
            log.last = number;
            log.at += space(payload.len());
        }
        match log.has_later(&bytes) {
            true => Err(Unusable::Damaged { at: log.at }),
            false => Ok((log, records)),
        }
    }

    /// True if there is a record that is later than the last one. A record is written only after the one before it was
    /// synced, so one between them is damaged.
    fn has_later(&self, bytes: &[u8]) -> bool {
        let mut at = self.at;
        while at < self.length {
            at += match self.record(bytes, at) {
                Some((number, _)) if number > self.last => return true,
                Some((_, payload)) => space(payload.len()),
                None => UNIT,
            };
        }
        false
    }

    /// The number and the payload of the record at a place, if there is one.
    fn record<'b>(&self, bytes: &'b [u8], at: u64) -> Option<(u64, &'b [u8])> {
        let (head, rest) = bytes.get(usize::try_from(at).ok()?..)?.split_first_chunk::<RECORD_HEAD>()?;
        let length = u32::from_le_bytes(*head[4..].first_chunk()?);
        let number = u64::from_le_bytes(*head[8..].first_chunk()?);
        let payload = rest.get(..usize::try_from(length).ok()?)?;
        let is_whole = checksum(self.id, &head[4..], payload) == head[..4];
        is_whole.then_some((number, payload))
    }

    /// The place up to which the database has everything, once it has the record that was written last.
    pub(super) const fn mark(&self) -> Mark {
        Mark { log: self.id, number: self.last }
    }

    /// Writes a record and syncs it. Returns false if there is no room for it; then a checkpoint is due.
    ///
    /// # Errors
    /// The disk's own. The record may be on disk or not.
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<bool, io::Error> {
        let end = self.at + space(payload.len());
        let (Ok(length), true) = (u32::try_from(payload.len()), end <= UNIT + self.capacity) else { return Ok(false) };
        if end > self.length && !self.grow(end)? {
            return Ok(false);
        }
        let mut head = [0; RECORD_HEAD];
        head[4..8].copy_from_slice(&length.to_le_bytes());
        head[8..].copy_from_slice(&(self.last + 1).to_le_bytes());
        let sum = checksum(self.id, &head[4..], payload);
        head[..4].copy_from_slice(&sum);
        self.disk.write(self.at, &head)?;
        self.disk.write(self.at + RECORD_HEAD as u64, payload)?;
        self.disk.sync_data()?;
        self.last += 1;
        self.at = end;
        Ok(true)
    }

    /// Makes space in the file. Returns false if the disk has none.
    fn grow(&mut self, end: u64) -> Result<bool, io::Error> {
        let length = end.next_multiple_of(GROWTH).min(UNIT + self.capacity);
        let zeros = vec![0; usize::try_from(length - self.length).unwrap_or_default()];
        let grown = self.disk.set_len(length).and_then(|()| self.disk.write(self.length, &zeros));
        match grown {
            Ok(()) => {
                self.length = length;
                Ok(true)
            }
            Err(error) if is_full(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Begins at the start again. The database has everything.
    pub(super) const fn restart(&mut self) {
        self.at = UNIT;
    }
}

/// True if there is no room for more: on the disk, in its quota, or under the size limit of a file.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// The space of a record in the file.
const fn space(payload: usize) -> u64 {
    ((RECORD_HEAD + payload) as u64).next_multiple_of(UNIT)
}

fn checksum(id: u64, head: &[u8], payload: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&id.to_le_bytes());
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use redb::backends::InMemoryBackend;

    use super::*;

    /// A file that outlives a log.
    #[derive(Clone, Debug)]
    struct Disk(Arc<InMemoryBackend>);

    impl StorageBackend for Disk {
        fn len(&self) -> Result<u64, io::Error> {
            self.0.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
            self.0.read(offset, out)
        }
        fn set_len(&self, length: u64) -> Result<(), io::Error> {
            self.0.set_len(length)
        }
        fn sync_data(&self) -> Result<(), io::Error> {
            self.0.sync_data()
        }
        fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
            self.0.write(offset, data)
        }
    }

    const SPACE: u64 = 16 * UNIT;

    /// A log with these records after record 7.
    fn with(records: &[&[u8]]) -> (Disk, Log) {
        let disk = Disk(Arc::new(InMemoryBackend::new()));
        let mut log = Log::make(Box::new(disk.clone()), SPACE, 7).unwrap();
        for record in records {
            assert!(log.append(record).unwrap());
        }
        (disk, log)
    }

    fn open(disk: &Disk, log: u64, number: u64) -> Result<Vec<Vec<u8>>, Unusable> {
        Log::open(Box::new(disk.clone()), SPACE, Mark { log, number }).map(|(_, records)| records)
    }

    /// Changes one byte while `work` runs.
    fn changed<T>(disk: &Disk, at: u64, work: impl FnOnce() -> T) -> T {
        let mut byte = [0];
        disk.read(at, &mut byte).unwrap();
        disk.write(at, &[byte[0] ^ 4]).unwrap();
        let result = work();
        disk.write(at, &byte).unwrap();
        result
    }

    #[test]
    fn the_records_after_the_mark_are_read() {
        let long = vec![5; 10_000];
        let (disk, log) = with(&[b"one", &long, b""]);
        let all = [b"one".to_vec(), long, Vec::new()];
        assert_eq!(open(&disk, log.id, 7).unwrap(), all);
        assert_eq!(log.mark().number, 10);
        assert_eq!(open(&disk, log.id, 10).unwrap(), Vec::<Vec<u8>>::new(), "the database has them all");
        assert!(matches!(open(&disk, log.id ^ 1, 7), Err(Unusable::Foreign)));
    }

    #[test]
    fn a_log_without_records_of_another_database_is_no_log() {
        let (disk, log) = with(&[]);
        let is_missing = |log| Log::is_missing(&disk, Mark { log, number: 7 }).unwrap();
        assert!(!is_missing(log.id) && is_missing(log.id ^ 1));
        let (disk, log) = with(&[b"one"]);
        assert!(!Log::is_missing(&disk, Mark { log: log.id ^ 1, number: 7 }).unwrap(), "its records may be needed");
        assert!(Log::is_missing(&Disk(Arc::new(InMemoryBackend::new())), log.mark()).unwrap());
    }

    #[test]
    fn a_log_with_records_is_told_from_one_without() {
        let has_records = |disk: &Disk| Log::has_records(disk).unwrap();
        assert!(!has_records(&Disk(Arc::new(InMemoryBackend::new()))) && !has_records(&with(&[]).0));
        assert!(has_records(&with(&[b""]).0));
        let (disk, mut log) = with(&[b"one"]);
        log.restart();
        assert!(has_records(&disk), "the database that has them may be gone");
    }

    #[test]
    fn what_is_behind_the_space_for_records_is_not_read() {
        let (disk, mut log) = with(&[b"one"]);
        log.at = UNIT + SPACE;
        log.capacity += UNIT;
        assert!(log.append(b"two").unwrap());
        assert_eq!(open(&disk, log.id, 7).unwrap(), [b"one"]);
    }

    #[test]
    fn a_log_that_is_opened_goes_on_after_its_last_record() {
        let (disk, log) = with(&[b"one"]);
        let (mut again, _) = Log::open(Box::new(disk.clone()), SPACE, log.mark()).unwrap();
        again.restart();
        assert!(again.append(b"two").unwrap());
        assert_eq!(open(&disk, log.id, 8).unwrap(), [b"two"]);
        let (mut again, _) = Log::open(Box::new(disk.clone()), SPACE, log.mark()).unwrap();
        assert!(again.append(b"three").unwrap());
        assert_eq!(open(&disk, log.id, 8).unwrap(), [b"two".to_vec(), b"three".to_vec()]);
    }

    #[test]
    fn records_of_an_earlier_round_are_not_read() {
        let (disk, mut log) = with(&[b"1", b"2", b"3", b"4"]);
        log.restart();
        assert!(log.append(b"5").unwrap());
        assert_eq!(open(&disk, log.id, 11).unwrap(), [b"5"]);
    }

    #[test]
    fn a_log_takes_as_much_as_it_has_space_for() {
        let (disk, mut log) = with(&[]);
        assert!(!log.append(&vec![1; usize::try_from(SPACE).unwrap()]).unwrap(), "its head has no room");
        let most = usize::try_from(SPACE).unwrap() - RECORD_HEAD;
        assert!(log.append(&vec![1; most]).unwrap());
        assert!(!log.append(b"").unwrap());
        assert_eq!(open(&disk, log.id, 7).unwrap()[0].len(), most);
        log.restart();
        assert!(log.append(b"").unwrap());
    }

    #[test]
    fn every_changed_byte_is_found_unless_it_is_in_the_last_record() {
        let (disk, log) = with(&[b"one", b"two", b"three"]);
        let places = |from: u64, length: usize| from..from + length as u64;
        for at in places(0, FILE_HEAD) {
            assert!(matches!(changed(&disk, at, || open(&disk, log.id, 7)), Err(Unusable::Foreign)), "byte {at}");
        }
        for record in [UNIT, 2 * UNIT] {
            for at in places(record, RECORD_HEAD + 3) {
                match changed(&disk, at, || open(&disk, log.id, 7)) {
                    Err(Unusable::Damaged { at }) => assert_eq!(at, record),
                    other => panic!("byte {at}: {other:?}"),
                }
            }
        }
        for at in places(3 * UNIT, RECORD_HEAD + 5) {
            assert_eq!(changed(&disk, at, || open(&disk, log.id, 7)).unwrap().len(), 2, "byte {at}");
        }
    }

    /// The bytes of an item may be anything. They are part of a record that a failure cuts off at any place.
    #[test]
    fn the_bytes_of_an_item_are_no_record() {
        let (other, another) = with(&[b"a", b"forged"]);
        let mut forged = vec![0; RECORD_HEAD + 6];
        other.read(2 * UNIT, &mut forged).unwrap();
        assert_eq!(another.mark().number, 9);
        let (disk, mut log) = with(&[]);
        let mut item = vec![0; usize::try_from(UNIT).unwrap() - RECORD_HEAD];
        item.extend_from_slice(&forged);
        assert!(log.append(&item).unwrap());
        log.restart();
        log.last = 7;
        assert!(log.append(b"short").unwrap());
        assert_eq!(open(&disk, log.id, 7).unwrap(), [b"short"]);
    }
}
