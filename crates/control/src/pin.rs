//! The certificates that were seen first (C8): one file for each operating-system user.
//!
//! `pins/<user>.json` maps `host:port` to the SHA-256 of the leaf certificate. A pin is
//! stored before the first password goes to the host, and only a person in a terminal
//! replaces it. Beside the pins lie SHA-1 thumbprints that were imported from another tool:
//! they are compared with at the first contact, and never more than that.

mod known_hosts;

use std::collections::BTreeMap;

use home::Home;
use serde::{Deserialize, Serialize};
use vsphere::{Fingerprint, Thumbprint};

use crate::failure::Failure;

/// One user's pins.
#[derive(Debug, Clone)]
pub(crate) struct Pins {
    home: Home,
    os_user: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    v: u64,
    pins: BTreeMap<String, String>,
    /// SHA-1, of servers that are not pinned yet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    sha1: BTreeMap<String, String>,
}

const VERSION: u64 = 1;

pub(crate) use known_hosts::{Line, endpoint as endpoint_of, read as read_known_hosts};

/// What became of an imported line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Imported {
    /// It is pinned now.
    Pinned,
    /// Its SHA-1 will be compared with at the first contact.
    Told,
    /// It was there already.
    Known,
    /// Another one is there, and stays.
    Differs,
}

impl Pins {
    pub(crate) fn new(home: Home, os_user: impl Into<String>) -> Self {
        Self {
            home,
            os_user: os_user.into(),
        }
    }

    /// The pin of `endpoint` (`host:port`), if there is one.
    pub(crate) fn get(&self, endpoint: &str) -> Result<Option<Fingerprint>, Failure> {
        let file = self.read()?;
        file.pins
            .get(endpoint)
            .map(|text| text.parse().map_err(|_| self.damaged()))
            .transpose()
    }

    /// The SHA-1 that was imported for `endpoint`, if it is not pinned yet.
    pub(crate) fn told(&self, endpoint: &str) -> Result<Option<Thumbprint>, Failure> {
        let file = self.read()?;
        file.sha1
            .get(endpoint)
            .map(|text| text.parse().map_err(|_| self.damaged()))
            .transpose()
    }

    /// Every pin: server, hash, and the fingerprint in that hash.
    pub(crate) fn all(&self) -> Result<Vec<(String, &'static str, String)>, Failure> {
        let file = self.read()?;
        let pinned = file
            .pins
            .into_iter()
            .map(|(server, pin)| (server, "SHA-256", pin));
        let told = file
            .sha1
            .into_iter()
            .map(|(server, thumb)| (server, "SHA-1", thumb));
        Ok(pinned.chain(told).collect())
    }

    /// Forgets a server; false if it was not known.
    pub(crate) fn forget(&self, endpoint: &str) -> Result<bool, Failure> {
        let _held = self.home.lock("pins")?;
        let mut file = self.read()?;
        let pinned = file.pins.remove(endpoint).is_some();
        let told = file.sha1.remove(endpoint).is_some();
        if pinned || told {
            self.store(file)?;
        }
        Ok(pinned || told)
    }

    /// Takes over what another tool has stored. Nothing that is pinned is replaced.
    pub(crate) fn import(&self, lines: &[Line]) -> Result<Vec<Imported>, Failure> {
        let _held = self.home.lock("pins")?;
        let mut file = self.read()?;
        let mut done = Vec::with_capacity(lines.len());
        for line in lines {
            let (server, text) = (line.endpoint.to_string(), line.text());
            let pinned = file.pins.get(&server);
            done.push(match line.sha256() {
                Some(_) => match pinned {
                    Some(pin) if *pin == text => Imported::Known,
                    Some(_) => Imported::Differs,
                    None => {
                        file.sha1.remove(&server);
                        file.pins.insert(server, text);
                        Imported::Pinned
                    }
                },
                // Which certificate a pin in SHA-256 is, a SHA-1 does not tell.
                None if pinned.is_some() => Imported::Known,
                None => match file.sha1.get(&server) {
                    Some(told) if *told == text => Imported::Known,
                    Some(_) => Imported::Differs,
                    None => {
                        file.sha1.insert(server, text);
                        Imported::Told
                    }
                },
            });
        }
        self.store(file)?;
        Ok(done)
    }

    /// Pins a certificate unless another is pinned by now; gives what is pinned afterwards.
    pub(crate) fn set_first(
        &self,
        endpoint: &str,
        seen: Fingerprint,
    ) -> Result<Fingerprint, Failure> {
        let _held = self.home.lock("pins")?;
        if let Some(pinned) = self.get(endpoint)? {
            return Ok(pinned);
        }
        self.write(endpoint, seen)?;
        Ok(seen)
    }

    /// Pins a certificate in place of the one that may be pinned; gives the old one.
    pub(crate) fn replace(
        &self,
        endpoint: &str,
        seen: Fingerprint,
    ) -> Result<Option<Fingerprint>, Failure> {
        let _held = self.home.lock("pins")?;
        let before = self.get(endpoint)?;
        if before != Some(seen) {
            self.write(endpoint, seen)?;
        }
        Ok(before)
    }

    fn write(&self, endpoint: &str, seen: Fingerprint) -> Result<(), Failure> {
        let mut file = self.read()?;
        file.pins.insert(endpoint.to_owned(), seen.to_string());
        // From now on the pin is what counts.
        file.sha1.remove(endpoint);
        self.store(file)
    }

    fn store(&self, mut file: File) -> Result<(), Failure> {
        file.v = VERSION;
        let bytes = serde_json::to_vec_pretty(&file).map_err(|_| self.damaged())?;
        self.home.write(&self.home.pins(&self.os_user)?, &bytes)?;
        Ok(())
    }

    fn read(&self) -> Result<File, Failure> {
        let path = self.home.pins(&self.os_user)?;
        match home::read_private(&path) {
            Ok(bytes) => {
                let file: File = serde_json::from_slice(&bytes).map_err(|_| self.damaged())?;
                if file.v == VERSION {
                    Ok(file)
                } else {
                    Err(self.damaged())
                }
            }
            Err(error) if error.is_missing() => Ok(File::default()),
            Err(error) => Err(error.into()),
        }
    }

    fn damaged(&self) -> Failure {
        let path = self
            .home
            .pins(&self.os_user)
            .map(|path| path.display().to_string())
            .unwrap_or_default();
        Failure::new(
            "pins.damaged",
            format!(
                "Put `{path}` back from a backup, or delete it and save the profiles again: it is no list of pins"
            ),
        )
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn pins(dir: &tempfile::TempDir) -> Pins {
        Pins::new(Home::open(dir.path().join("home")).unwrap(), "alice")
    }

    #[test]
    fn c8_the_first_pin_stays_until_it_is_replaced_on_purpose() {
        let dir = tempfile::tempdir().unwrap();
        let pins = pins(&dir);
        let (a, b) = (Fingerprint::of(b"a"), Fingerprint::of(b"b"));
        assert_eq!(pins.get("vc:443").unwrap(), None);
        assert_eq!(pins.set_first("vc:443", a).unwrap(), a);
        assert_eq!(pins.set_first("vc:443", b).unwrap(), a);
        assert_eq!(pins.get("vc:443").unwrap(), Some(a));
        assert_eq!(pins.get("vc:444").unwrap(), None);
        assert_eq!(pins.replace("vc:443", b).unwrap(), Some(a));
        assert_eq!(pins.get("vc:443").unwrap(), Some(b));
    }

    #[test]
    fn c8_what_is_imported_replaces_nothing_and_a_pin_ends_what_was_only_told() {
        let dir = tempfile::tempdir().unwrap();
        let pins = pins(&dir);
        let (a, b) = (Fingerprint::of(b"a"), Fingerprint::of(b"b"));
        let sha1 = Thumbprint::of(b"a");
        pins.set_first("vc1:443", a).unwrap();
        let text = format!("vc1 {b}\nvc2:8443 {b}\nvc3 {sha1}\nvc1 {sha1}\nvc2:8443 {b}\n");
        let lines = read_known_hosts(&text).unwrap();
        let done = pins.import(&lines).unwrap();
        use Imported::{Differs, Known, Pinned, Told};
        assert_eq!(done, [Differs, Pinned, Told, Known, Known]);
        assert_eq!(pins.get("vc1:443").unwrap(), Some(a));
        assert_eq!(pins.get("vc2:8443").unwrap(), Some(b));
        assert_eq!(pins.get("vc3:443").unwrap(), None);
        assert_eq!(pins.told("vc3:443").unwrap(), Some(sha1));
        pins.set_first("vc3:443", a).unwrap();
        assert_eq!(pins.told("vc3:443").unwrap(), None);
        assert!(pins.forget("vc3:443").unwrap() && !pins.forget("vc3:443").unwrap());
        assert_eq!(pins.all().unwrap().len(), 2);
    }

    #[test]
    fn c8_pins_of_one_user_are_not_anothers() {
        let dir = tempfile::tempdir().unwrap();
        let alice = pins(&dir);
        alice.set_first("vc:443", Fingerprint::of(b"a")).unwrap();
        assert_eq!(
            Pins::new(alice.home.clone(), "bob").get("vc:443").unwrap(),
            None
        );
    }

    #[test]
    fn a_damaged_list_of_pins_is_said_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let pins = pins(&dir);
        pins.set_first("vc:443", Fingerprint::of(b"a")).unwrap();
        let path = pins.home.pins("alice").unwrap();
        home::replace(&path, b"{\"v\":1,\"pins\":").unwrap();
        assert_eq!(pins.get("vc:443").unwrap_err().code(), "pins.damaged");
        assert_eq!(
            pins.set_first("vc:443", Fingerprint::of(b"b"))
                .unwrap_err()
                .code(),
            "pins.damaged"
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"{\"v\":1,\"pins\":");
    }

    #[test]
    fn many_first_contacts_at_once_lose_no_pin() {
        let dir = tempfile::tempdir().unwrap();
        let pins = pins(&dir);
        std::thread::scope(|scope| {
            for i in 0..16 {
                let pins = pins.clone();
                scope.spawn(move || {
                    pins.set_first(&format!("vc{i}:443"), Fingerprint::of(b"a"))
                        .unwrap()
                });
            }
        });
        for i in 0..16 {
            assert!(pins.get(&format!("vc{i}:443")).unwrap().is_some());
        }
    }
}
