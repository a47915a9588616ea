//! A model of a disk that loses its power: what was synced is kept, and of what was written since,
//! nothing, all, or any part.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::trace::Done;

const SECTOR: usize = 512;

/// A file, as the disk has it.
#[derive(Clone, Default)]
struct Inode {
    synced: Vec<u8>,
    since: Vec<Change>,
    length: usize,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

/// An entry of a directory that is not synced.
#[derive(Clone)]
enum Entry {
    File(PathBuf, usize),
    Dir(PathBuf),
    Moved(PathBuf, PathBuf),
    Gone(PathBuf),
}

impl Entry {
    fn dir(&self) -> &Path {
        let (Self::File(path, _) | Self::Dir(path) | Self::Moved(path, _) | Self::Gone(path)) =
            self;
        path.parent().unwrap()
    }
}

/// Names, and the files that they name; a directory has none.
type Names = BTreeMap<PathBuf, Option<usize>>;

fn enter(names: &mut Names, entry: &Entry) {
    match entry {
        Entry::File(path, inode) => drop(names.insert(path.clone(), Some(*inode))),
        Entry::Dir(path) => drop(names.insert(path.clone(), None)),
        Entry::Gone(path) => drop(names.remove(path)),
        Entry::Moved(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
    }
}

#[derive(Default)]
pub(crate) struct Disk {
    inodes: Vec<Inode>,
    /// As the running system sees them.
    names: Names,
    synced: Names,
    since: Vec<Entry>,
}

impl Disk {
    fn entry(&mut self, entry: Entry) {
        enter(&mut self.names, &entry);
        self.since.push(entry);
    }

    fn inode(&mut self, path: &Path) -> Option<&mut Inode> {
        let inode = (*self.names.get(path)?)?;
        Some(&mut self.inodes[inode])
    }

    pub(crate) fn apply(&mut self, done: &Done) {
        match done {
            Done::Create(path) if self.names.contains_key(path) => {}
            Done::Create(path) => {
                self.inodes.push(Inode::default());
                self.entry(Entry::File(path.clone(), self.inodes.len() - 1));
            }
            Done::Mkdir(path) => self.entry(Entry::Dir(path.clone())),
            Done::Rename(from, to) => self.entry(Entry::Moved(from.clone(), to.clone())),
            Done::Unlink(path) => self.entry(Entry::Gone(path.clone())),
            Done::Write(path, at, bytes) => {
                if let Some(inode) = self.inode(path) {
                    let at = at.unwrap_or(inode.length);
                    inode.length = inode.length.max(at + bytes.len());
                    inode.since.push(Change::Write(at, bytes.clone()));
                }
            }
            Done::Truncate(path, length) => {
                if let Some(inode) = self.inode(path) {
                    inode.length = *length;
                    inode.since.push(Change::Truncate(*length));
                }
            }
            Done::Sync(path) => match self.inode(path) {
                Some(inode) => {
                    let changes = std::mem::take(&mut inode.since);
                    changes
                        .iter()
                        .for_each(|change| change.to(&mut inode.synced));
                }
                None => {
                    let (synced, since) = std::mem::take(&mut self.since)
                        .into_iter()
                        .partition(|entry| entry.dir() == path);
                    self.since = since;
                    let synced: Vec<Entry> = synced;
                    synced
                        .iter()
                        .for_each(|entry| enter(&mut self.synced, entry));
                }
            },
        }
    }

    /// Whether a database or an archive would lose something.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.since.is_empty() || self.inodes.iter().any(|inode| !inode.since.is_empty())
    }

    /// What is on the disk when the power comes back.
    pub(crate) fn after(
        &self,
        loss: Loss,
        random: &mut Random,
    ) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut names = self.synced.clone();
        let kept = match loss {
            Loss::All => 0,
            Loss::Nothing => self.since.len(),
            Loss::Writes | Loss::Sectors => random.below(self.since.len() + 1),
        };
        for entry in &self.since[..kept] {
            enter(&mut names, entry);
        }
        let mut contents = |inode: &Inode| {
            let mut bytes = inode.synced.clone();
            // Most of it, half of it, or next to nothing.
            let odds = 1 + random.below(7);
            for change in &inode.since {
                match (loss, change) {
                    (Loss::All, _) => {}
                    (Loss::Nothing, change) => change.to(&mut bytes),
                    (Loss::Sectors, Change::Write(at, written)) => {
                        for (n, part) in written.chunks(SECTOR).enumerate() {
                            if random.below(8) < odds {
                                Change::Write(at + n * SECTOR, part.to_vec()).to(&mut bytes);
                            }
                        }
                    }
                    (_, change) => {
                        if random.below(8) < odds {
                            change.to(&mut bytes);
                        }
                    }
                }
            }
            bytes
        };
        names
            .into_iter()
            .map(|(path, inode)| (path, inode.map(|inode| contents(&self.inodes[inode]))))
            .collect()
    }
}

impl Change {
    fn to(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Truncate(length) => bytes.resize(*length, 0),
            Self::Write(at, written) => {
                // What lies between was never written, and reads as zeros.
                bytes.resize(bytes.len().max(at + written.len()), 0);
                bytes[*at..at + written.len()].copy_from_slice(written);
            }
        }
    }
}

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Loss {
    All,
    Nothing,
    Writes,
    Sectors,
}

/// Random numbers that are the same for the same seed (xorshift).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}
