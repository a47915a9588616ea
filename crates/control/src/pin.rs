//! The certificates that were seen first (C8): one file for each operating-system user.
//!
//! `pins/<user>.json` maps `host:port` to the SHA-256 of the leaf certificate. A pin is
//! stored before the first password goes to the host, and only a person's saving of a
//! profile replaces it.

use std::collections::BTreeMap;

use home::Home;
use serde::{Deserialize, Serialize};
use vsphere::Fingerprint;

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
}

const VERSION: u64 = 1;

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
        file.v = VERSION;
        file.pins.insert(endpoint.to_owned(), seen.to_string());
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
