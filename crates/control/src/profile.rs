//! Connection profiles (C7): one encrypted JSON file for each operating-system user and name.
//!
//! `profiles/<user>/<name>.json` in the state directory holds
//! `{v, user, profile, key_id, nonce, ciphertext}`. The content (host, port, user, password,
//! verify_ssl, and certificate authorities) is encrypted with XChaCha20-Poly1305 under 32 bytes:
//! those of the file `key`, or of a file elsewhere, or derived from a passphrase. Version, user and profile name are bound to it as associated data, so that a file under
//! another name or another user's does not open. Whoever can read both the key and the
//! profiles can read the passwords: the files protect copies and backups of one without the
//! other, and nothing from the user they belong to.

mod key;
mod passphrase;
mod sealed;

use guard::secret::Secret;
use guard::text::sanitize;
use home::{Home, HomeError};
use vsphere::CaBundle;

use crate::failure::{Failure, nearest};

pub(crate) use key::KeySource;

/// Whose password a profile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProfileKind {
    /// An account of the vCenter or ESXi host itself.
    #[default]
    Server,
    /// An account within guests, which that server hands on to them, and no other.
    Guest,
}

impl ProfileKind {
    /// Whether this is the default, which older files do not name.
    pub(crate) fn is_server(&self) -> bool {
        *self == Self::Server
    }
}

/// A connection, complete enough to log in; or an account within the guests of a server.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) kind: ProfileKind,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: Secret,
    pub(crate) verify_ssl: bool,
    /// Certificate authorities in PEM, believed beside the system's.
    pub(crate) ca: Option<String>,
}

impl Profile {
    /// The certificate authorities of the profile.
    ///
    /// # Errors
    ///
    /// `certificate.authority`.
    pub(crate) fn authorities(&self) -> Result<Option<CaBundle>, Failure> {
        self.ca
            .as_deref()
            .map(|pem| CaBundle::from_pem(pem.as_bytes()).map_err(crate::fault::failure))
            .transpose()
    }
}

/// One user's profiles.
#[derive(Debug, Clone)]
pub(crate) struct Profiles {
    home: Home,
    os_user: String,
    key: KeySource,
}

impl Profiles {
    /// Profiles under the key that lies beside them.
    #[cfg(test)]
    pub(crate) fn new(home: Home, os_user: impl Into<String>) -> Self {
        Self::under(KeySource::default(), home, os_user)
    }

    /// Profiles under this key.
    pub(crate) fn under(key: KeySource, home: Home, os_user: impl Into<String>) -> Self {
        Self {
            home,
            os_user: os_user.into(),
            key,
        }
    }

    /// Loads one profile.
    ///
    /// # Errors
    ///
    /// `profile.invalid_name`, `profile.not_found`, and for a file that is there:
    /// `home.owner`, `home.mode`, `profile.damaged`, `profile.version`, `profile.swapped`,
    /// `profile.key_missing`, `profile.key_damaged`, `profile.wrong_key`, `profile.altered`;
    /// `profile.passphrase`, `profile.key_source` where the key is not the home's own.
    pub(crate) fn load(&self, name: &str) -> Result<Profile, Failure> {
        let path = self.path(name)?;
        let bytes = match home::read_private(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => return Err(self.not_found(name)),
            Err(error) => return Err(error.into()),
        };
        let key = self.key.load(&self.home)?;
        sealed::open(&bytes, &key, &self.os_user, name)
    }

    /// As [`Profiles::load`], and the profile is of this kind: no password of a server goes to a
    /// guest, and none of a guest to a server.
    ///
    /// # Errors
    ///
    /// Those of [`Profiles::load`]; `profile.wrong_kind`.
    pub(crate) fn load_as(&self, name: &str, kind: ProfileKind) -> Result<Profile, Failure> {
        let profile = self.load(name)?;
        if profile.kind == kind {
            return Ok(profile);
        }
        let (wanted, with) = match kind {
            ProfileKind::Server => ("an account of a server", ""),
            ProfileKind::Guest => ("an account within guests", " --guest"),
        };
        Err(Failure::new(
            "profile.wrong_kind",
            format!("Pass a profile of {wanted}, or save one with `vmware-control credential save NAME --host … --user …{with}`: `{name}` is none"),
        )
        .with("given", name))
    }

    /// Saves one profile, in place of the one that may be there.
    pub(crate) fn save(&self, name: &str, profile: &Profile) -> Result<(), Failure> {
        let path = self.path(name)?;
        let key = self.key.load_or_create(&self.home)?;
        let bytes = sealed::seal(profile, &key, &self.os_user, name)?;
        self.home.write(&path, &bytes)?;
        Ok(())
    }

    /// Deletes one profile; false if there was none.
    pub(crate) fn delete(&self, name: &str) -> Result<bool, Failure> {
        let path = self.path(name)?;
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Failure::new(
                "profile.not_deleted",
                format!(
                    "Make `{}` writable: the profile cannot be deleted: {error}",
                    path.display()
                ),
            )),
        }
    }

    /// Whether a file of that name is there, readable or not.
    pub(crate) fn exists(&self, name: &str) -> Result<bool, Failure> {
        Ok(self.path(name)?.exists())
    }

    /// The names of all profiles, sorted.
    pub(crate) fn names(&self) -> Result<Vec<String>, Failure> {
        let dir = self.home.profiles(&self.os_user)?;
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(Failure::new(
                    "profile.unreadable",
                    format!(
                        "Make `{}` readable: the profiles cannot be listed: {error}",
                        dir.display()
                    ),
                ));
            }
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter_map(|file| file.strip_suffix(".json").map(str::to_owned))
            .filter(|name| self.path(name).is_ok())
            .collect();
        names.sort();
        Ok(names)
    }

    fn path(&self, name: &str) -> Result<std::path::PathBuf, Failure> {
        self.home.profile(&self.os_user, name).map_err(|error| match error {
            HomeError::Name => Failure::new(
                "profile.invalid_name",
                "Name the profile with 1 to 64 letters a-z, digits, `.`, `_` and `-`, beginning with a letter or a digit",
            ),
            other => other.into(),
        })
    }

    fn not_found(&self, name: &str) -> Failure {
        let names = self.names().unwrap_or_default();
        let near = nearest(name, names.iter().map(String::as_str));
        let remedy = match near.first() {
            Some(best) => format!("Pass `{best}` if that is meant"),
            None => format!(
                "Save it in a terminal with `vmware-control credential save {name} --host … --user …`"
            ),
        };
        Failure::new(
            "profile.not_found",
            format!(
                "{remedy}: there is no profile `{}` of user `{}`",
                sanitize(name),
                self.os_user
            ),
        )
        .with("given", name)
        .with("nearest", near)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn profile() -> Profile {
        Profile {
            kind: ProfileKind::Server,
            host: "vc.example".into(),
            port: 8443,
            user: "admin@vsphere.local".into(),
            password: Secret::new("canary-\"hunter2\"".into()),
            verify_ssl: true,
            ca: None,
        }
    }

    fn profiles(dir: &tempfile::TempDir) -> Profiles {
        Profiles::new(Home::open(dir.path().join("home")).unwrap(), "alice")
    }

    fn file(profiles: &Profiles, name: &str) -> std::path::PathBuf {
        profiles.path(name).unwrap()
    }

    fn code(profiles: &Profiles, name: &str) -> String {
        profiles.load(name).unwrap_err().code().to_owned()
    }

    /// Changes one field of a profile's file.
    fn edit(profiles: &Profiles, name: &str, field: &str, value: impl Into<serde_json::Value>) {
        let path = file(profiles, name);
        let mut json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        json[field] = value.into();
        std::fs::write(&path, json.to_string()).unwrap();
    }

    #[test]
    fn c7_what_was_saved_is_loaded_and_stands_nowhere_in_the_clear() {
        let dir = tempfile::tempdir().unwrap();
        let profiles = profiles(&dir);
        profiles.save("lab", &profile()).unwrap();
        let loaded = profiles.load("lab").unwrap();
        assert_eq!(loaded.host, "vc.example");
        assert_eq!(loaded.port, 8443);
        assert_eq!(loaded.user, "admin@vsphere.local");
        assert_eq!(loaded.password.expose(), "canary-\"hunter2\"");
        assert!(loaded.verify_ssl);
        let bytes = std::fs::read(file(&profiles, "lab")).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        for clear in ["hunter2", "vc.example", "admin"] {
            assert!(!text.contains(clear), "{clear}");
        }
    }

    #[test]
    fn c7_a_guests_account_and_a_servers_are_never_taken_for_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let profiles = profiles(&dir);
        let guest = Profile {
            kind: ProfileKind::Guest,
            ..profile()
        };
        profiles.save("lab", &profile()).unwrap();
        profiles.save("inside", &guest).unwrap();
        let load = |name, kind| {
            profiles
                .load_as(name, kind)
                .map(|profile| profile.kind)
                .map_err(|failure| failure.code().to_owned())
        };
        let wrong = Err("profile.wrong_kind".to_owned());
        assert_eq!(load("lab", ProfileKind::Server), Ok(ProfileKind::Server));
        assert_eq!(load("inside", ProfileKind::Guest), Ok(ProfileKind::Guest));
        assert_eq!(load("lab", ProfileKind::Guest), wrong);
        assert_eq!(load("inside", ProfileKind::Server), wrong);
    }

    #[test]
    fn c7_files_are_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let profiles = profiles(&dir);
        profiles.save("lab", &profile()).unwrap();
        for path in [file(&profiles, "lab"), profiles.home.key()] {
            assert_eq!(
                std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
    }

    #[test]
    fn c7_the_same_profile_is_never_encrypted_alike_twice() {
        let dir = tempfile::tempdir().unwrap();
        let profiles = profiles(&dir);
        profiles.save("lab", &profile()).unwrap();
        let first = std::fs::read(file(&profiles, "lab")).unwrap();
        profiles.save("lab", &profile()).unwrap();
        assert_ne!(first, std::fs::read(file(&profiles, "lab")).unwrap());
        assert!(profiles.load("lab").is_ok());
    }

    #[test]
    fn c11_each_way_in_which_a_profile_cannot_be_loaded_has_its_own_code() {
        let dir = tempfile::tempdir().unwrap();
        let profiles = profiles(&dir);
        assert_eq!(code(&profiles, "lab"), "profile.not_found");
        for name in ["", ".hidden", "../lab", "a/b", "a b", &"x".repeat(65)] {
            assert_eq!(code(&profiles, name), "profile.invalid_name", "{name}");
        }

        profiles.save("lab", &profile()).unwrap();
        profiles.save("other", &profile()).unwrap();
        let path = file(&profiles, "lab");
        let good = std::fs::read(&path).unwrap();
        let restore = || home::replace(&path, &good).unwrap();

        std::fs::write(&path, &good[..good.len() / 2]).unwrap();
        assert_eq!(code(&profiles, "lab"), "profile.damaged");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(code(&profiles, "lab"), "profile.damaged");
        restore();
        edit(&profiles, "lab", "ciphertext", "AAAA");
        assert_eq!(code(&profiles, "lab"), "profile.damaged");
        restore();
        edit(&profiles, "lab", "v", 3);
        assert_eq!(code(&profiles, "lab"), "profile.version");

        std::fs::copy(file(&profiles, "other"), &path).unwrap();
        assert_eq!(code(&profiles, "lab"), "profile.swapped");
        // Also when the names in the clear are made to fit.
        edit(&profiles, "lab", "profile", "lab");
        assert_eq!(code(&profiles, "lab"), "profile.altered");

        restore();
        let mut json: serde_json::Value = serde_json::from_slice(&good).unwrap();
        let cipher = json["ciphertext"].as_str().unwrap().to_owned();
        let first = if cipher.starts_with('A') { "B" } else { "A" };
        let flipped = format!("{first}{}", &cipher[1..]);
        json["ciphertext"] = flipped.into();
        std::fs::write(&path, json.to_string()).unwrap();
        assert_eq!(code(&profiles, "lab"), "profile.altered");

        restore();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(code(&profiles, "lab"), "home.mode");
        restore();
        assert!(profiles.load("lab").is_ok());

        let key = profiles.home.key();
        let good_key = std::fs::read(&key).unwrap();
        home::replace(&key, "00".repeat(32).as_bytes()).unwrap();
        assert_eq!(code(&profiles, "lab"), "profile.wrong_key");
        home::replace(&key, b"short").unwrap();
        assert_eq!(code(&profiles, "lab"), "profile.key_damaged");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(code(&profiles, "lab"), "home.mode");
        std::fs::remove_file(&key).unwrap();
        assert_eq!(code(&profiles, "lab"), "profile.key_missing");
        home::replace(&key, &good_key).unwrap();
        assert!(profiles.load("lab").is_ok());
    }

    #[test]
    fn c7_another_users_profile_does_not_open() {
        let dir = tempfile::tempdir().unwrap();
        let alice = profiles(&dir);
        let bob = Profiles::new(alice.home.clone(), "bob");
        alice.save("lab", &profile()).unwrap();
        bob.save("mine", &profile()).unwrap();
        std::fs::copy(file(&alice, "lab"), file(&bob, "lab")).unwrap();
        assert_eq!(code(&bob, "lab"), "profile.swapped");
        edit(&bob, "lab", "user", "bob");
        assert_eq!(code(&bob, "lab"), "profile.altered");
    }

    #[test]
    fn two_first_saves_at_once_agree_on_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let profiles = profiles(&dir);
        std::thread::scope(|scope| {
            for i in 0..8 {
                let profiles = profiles.clone();
                scope.spawn(move || profiles.save(&format!("p{i}"), &profile()).unwrap());
            }
        });
        assert_eq!(profiles.names().unwrap().len(), 8);
        for name in profiles.names().unwrap() {
            assert!(profiles.load(&name).is_ok(), "{name}");
        }
    }

    #[test]
    fn deleting_says_whether_it_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let profiles = profiles(&dir);
        profiles.save("lab", &profile()).unwrap();
        assert!(profiles.exists("lab").unwrap());
        assert!(profiles.delete("lab").unwrap());
        assert!(!profiles.delete("lab").unwrap());
        assert_eq!(code(&profiles, "lab"), "profile.not_found");
    }
}
