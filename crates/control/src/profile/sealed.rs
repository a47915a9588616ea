//! A profile as it lies in its file: encrypted, and bound to its version, user and name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, Generate as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use guard::secret::Secret;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::key::Key;
use super::{Profile, ProfileKind};
use crate::failure::Failure;

/// The version of the file's format that is written.
const VERSION: u64 = 2;

/// The one before, which is still read: the password stands in it as it is, and not in base64.
const PLAIN: u64 = 1;

/// Poly1305's tag: no ciphertext is shorter.
const TAG: usize = 16;

/// The file.
#[derive(Serialize, Deserialize)]
struct File {
    v: u64,
    user: String,
    profile: String,
    key_id: String,
    nonce: String,
    ciphertext: String,
}

/// The content, as written; the password in base64.
#[derive(Serialize)]
struct Written<'a> {
    host: &'a str,
    port: u16,
    user: &'a str,
    password: &'a str,
    verify_ssl: bool,
    /// Left out for a server's: so files of both ages are alike.
    #[serde(skip_serializing_if = "ProfileKind::is_server")]
    kind: ProfileKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<&'a str>,
}

/// The content, as read.
#[derive(Deserialize)]
struct Read<'a> {
    host: String,
    port: u16,
    user: String,
    /// Borrowed from the buffer that is wiped: in base64 nothing of it is escaped.
    password: &'a str,
    verify_ssl: bool,
    #[serde(default)]
    kind: ProfileKind,
    ca: Option<String>,
}

/// The content of the version before, as read.
#[derive(Deserialize)]
struct ReadPlain {
    host: String,
    port: u16,
    user: String,
    password: String,
    verify_ssl: bool,
    #[serde(default)]
    kind: ProfileKind,
}

/// Encrypts a profile.
pub(super) fn seal(
    profile: &Profile,
    key: &Key,
    user: &str,
    name: &str,
) -> Result<Vec<u8>, Failure> {
    // Room for the largest profile: growing would leave copies behind that nobody wipes.
    let room = 16 * 1024 + 2 * profile.ca.as_ref().map_or(0, String::len);
    let mut plain = Zeroizing::new(Vec::with_capacity(room));
    let password = Zeroizing::new(STANDARD.encode(profile.password.expose()));
    let content = Written {
        host: &profile.host,
        port: profile.port,
        user: &profile.user,
        password: &password,
        verify_ssl: profile.verify_ssl,
        kind: profile.kind,
        ca: profile.ca.as_deref(),
    };
    let failed = |reason: &str| {
        Failure::new(
            "profile.not_sealed",
            format!("Report this: the profile cannot be encrypted: {reason}"),
        )
    };
    serde_json::to_writer(&mut *plain, &content)
        .map_err(|_| failed("it cannot be written as JSON"))?;
    let nonce = XNonce::try_generate().map_err(|_| failed("the system gives no random numbers"))?;
    let sealed = XChaCha20Poly1305::new(key.bytes().into())
        .encrypt(
            &nonce,
            Payload {
                msg: &plain,
                aad: &bound_to(VERSION, user, name),
            },
        )
        .map_err(|_| failed("the cipher refused"))?;
    let file = File {
        v: VERSION,
        user: user.to_owned(),
        profile: name.to_owned(),
        key_id: key.id(),
        nonce: STANDARD.encode(nonce),
        ciphertext: STANDARD.encode(sealed),
    };
    serde_json::to_vec(&file).map_err(|_| failed("it cannot be written as JSON"))
}

/// Decrypts a profile.
pub(super) fn open(bytes: &[u8], key: &Key, user: &str, name: &str) -> Result<Profile, Failure> {
    let again =
        format!("save it again with `vmware-control credential save {name} --host … --user …`");
    let damaged = || {
        Failure::new(
            "profile.damaged",
            format!(
                "Put the file of profile `{name}` back from a backup, or {again}: it is cut short or no profile"
            ),
        )
    };
    // The version is looked at first: another version's file may hold other fields.
    let json: serde_json::Value = serde_json::from_slice(bytes).map_err(|_| damaged())?;
    let version = match json.get("v").and_then(serde_json::Value::as_u64) {
        Some(version @ (VERSION | PLAIN)) => version,
        Some(other) => {
            return Err(Failure::new(
                "profile.version",
                format!(
                    "Use the version of vmware-control that wrote profile `{name}`, or {again}: its format {other} is not known here"
                ),
            ));
        }
        None => return Err(damaged()),
    };
    let file: File = serde_json::from_value(json).map_err(|_| damaged())?;
    if file.user != user || file.profile != name {
        return Err(Failure::new(
            "profile.swapped",
            format!(
                "Put each profile's file back under its own name, or {again}: what lies there is the file of another profile or user"
            ),
        ));
    }
    if file.key_id != key.id() {
        return Err(Failure::new(
            "profile.wrong_key",
            format!(
                "Put the key back that profile `{name}` was encrypted with, or {again}: the present key is another one"
            ),
        ));
    }
    let nonce = STANDARD
        .decode(&file.nonce)
        .ok()
        .and_then(|bytes| XNonce::try_from(bytes.as_slice()).ok());
    let sealed = STANDARD
        .decode(&file.ciphertext)
        .ok()
        .filter(|bytes| bytes.len() > TAG);
    let (Some(nonce), Some(sealed)) = (nonce, sealed) else {
        return Err(damaged());
    };
    let plain = XChaCha20Poly1305::new(key.bytes().into())
        .decrypt(&nonce, Payload { msg: &sealed, aad: &bound_to(version, user, name) })
        .map(Zeroizing::new)
        .map_err(|_| {
            Failure::new(
                "profile.altered",
                format!("Find out who changed the file of profile `{name}`, then {again}: it was altered after it was saved"),
            )
        })?;
    if version == PLAIN {
        let read: ReadPlain = serde_json::from_slice(&plain).map_err(|_| damaged())?;
        return Ok(Profile {
            kind: read.kind,
            host: read.host,
            port: read.port,
            user: read.user,
            password: Secret::new(read.password),
            verify_ssl: read.verify_ssl,
            ca: None,
        });
    }
    let read: Read<'_> = serde_json::from_slice(&plain).map_err(|_| damaged())?;
    let mut password = Zeroizing::new(vec![0; read.password.len()]);
    let length = STANDARD
        .decode_slice(read.password, &mut password)
        .map_err(|_| damaged())?;
    password.truncate(length);
    let password = String::from_utf8(std::mem::take(&mut *password)).map_err(|_| damaged())?;
    Ok(Profile {
        kind: read.kind,
        host: read.host,
        port: read.port,
        user: read.user,
        password: Secret::new(password),
        verify_ssl: read.verify_ssl,
        ca: read.ca,
    })
}

/// What the ciphertext is bound to. Neither name can hold a line feed.
fn bound_to(version: u64, user: &str, name: &str) -> Vec<u8> {
    format!("pilothouse/profile/{version}\n{user}\n{name}").into_bytes()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn c7_a_profile_of_the_version_before_is_still_read() {
        let key = Key(Zeroizing::new([7; 32]));
        let password = "canary-\"hunter2\"";
        let content = serde_json::json!({
            "host": "vc.example", "port": 8443, "user": "admin", "password": password, "verify_ssl": true
        });
        let nonce = XNonce::try_generate().unwrap();
        let (content, aad) = (content.to_string(), bound_to(PLAIN, "alice", "lab"));
        let payload = Payload {
            msg: content.as_bytes(),
            aad: &aad,
        };
        let sealed = XChaCha20Poly1305::new(key.bytes().into())
            .encrypt(&nonce, payload)
            .unwrap();
        let mut file = serde_json::json!({
            "v": PLAIN, "user": "alice", "profile": "lab", "key_id": key.id(),
            "nonce": STANDARD.encode(nonce), "ciphertext": STANDARD.encode(sealed),
        });
        let read = open(file.to_string().as_bytes(), &key, "alice", "lab").unwrap();
        assert_eq!(
            (read.host.as_str(), read.port, read.user.as_str()),
            ("vc.example", 8443, "admin")
        );
        assert_eq!(read.password.expose(), password);
        assert!(read.verify_ssl);
        // It cannot be passed off as one of another version.
        file["v"] = VERSION.into();
        let failure = open(file.to_string().as_bytes(), &key, "alice", "lab").unwrap_err();
        assert_eq!(failure.code(), "profile.altered");
    }
}
