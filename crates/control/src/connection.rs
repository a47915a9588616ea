//! Where a call goes, and as whom: explicit arguments over the profile's values over
//! defaults (C7), and then the session itself.

mod gate;
mod open;

use guard::secret::Secret;
use serde_json::{Map, Value};
use vsphere::{CaBundle, Endpoint};

use crate::argument::Arguments;
use crate::failure::Failure;
use crate::profile::{Profile, ProfileKind, Profiles};

pub(crate) use gate::LoginGate;
pub(crate) use open::{Seen, open};

/// The port of vSphere's API unless something else is said.
pub(crate) const PORT: u16 = 443;

/// Everything that is needed to log in.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) endpoint: Endpoint,
    pub(crate) user: String,
    pub(crate) password: Secret,
    pub(crate) verify_ssl: bool,
    /// Authorities that are believed beside the system's.
    pub(crate) ca: Option<CaBundle>,
}

/// What was said about the connection, after the merge and before it is known to be complete.
#[derive(Debug)]
struct Merged {
    host: Option<String>,
    port: u16,
    user: Option<String>,
    password: Option<Secret>,
    verify_ssl: bool,
    ca: Option<CaBundle>,
}

impl Connection {
    /// Profile, merge, and what is missing: the middle of the order of checks (C6).
    ///
    /// # Errors
    ///
    /// Those of [`Profiles::load`]; `profile.verify_ssl_loosened`, `profile.other_host`;
    /// `connection.missing_host`, `connection.missing_user`, `connection.missing_password`
    /// (the first that is missing; `missing` names all); `connection.invalid_host`.
    pub(crate) fn resolve(arguments: &Arguments, profiles: &Profiles) -> Result<Self, Failure> {
        let profile = match arguments.text("credential_profile") {
            Some(name) => Some(profiles.load_as(name, ProfileKind::Server)?),
            None => None,
        };
        merge(arguments, profile)?.complete()
    }
}

fn merge(arguments: &Arguments, profile: Option<Profile>) -> Result<Merged, Failure> {
    let host = arguments.text("host").map(str::to_owned);
    let port = arguments
        .whole("port")
        .and_then(|port| u16::try_from(port).ok());
    let user = arguments.text("user").map(str::to_owned);
    let password = arguments.password().cloned();
    let verify = arguments.given_flag("verify_ssl");
    let Some(profile) = profile else {
        return Ok(Merged {
            host,
            port: port.unwrap_or(PORT),
            user,
            password,
            verify_ssl: verify.unwrap_or(false),
            ca: None,
        });
    };
    if profile.verify_ssl && verify == Some(false) {
        return Err(Failure::new(
            "profile.verify_ssl_loosened",
            "Leave out `verify_ssl`, or save the profile anew: it verifies certificates, and a call cannot loosen that",
        ));
    }
    let elsewhere = host
        .as_deref()
        .is_some_and(|host| !same_host(host, &profile.host))
        || port.is_some_and(|port| port != profile.port);
    if elsewhere && password.is_none() {
        return Err(Failure::new(
            "profile.other_host",
            "Leave out `host` and `port`, or save a profile for that server: a stored password is only sent to the host and port of its own profile",
        ));
    }
    // An authority vouches for the server that it was saved for, and for no other.
    let ca = if elsewhere {
        None
    } else {
        profile.authorities()?
    };
    Ok(Merged {
        host: Some(host.unwrap_or(profile.host)),
        port: port.unwrap_or(profile.port),
        user: Some(user.unwrap_or(profile.user)),
        password: Some(password.unwrap_or(profile.password)),
        verify_ssl: profile.verify_ssl || verify.unwrap_or(false),
        ca,
    })
}

/// The account within guests that the call names, bound to the server that it goes through.
///
/// # Errors
///
/// Those of [`Profiles::load_as`]; `profile.other_host`: a stored password is only handed to the
/// server of its own profile.
pub(crate) fn guest_account(
    arguments: &Arguments,
    profiles: &Profiles,
    connection: &Connection,
) -> Result<Option<vsphere::GuestAccount>, Failure> {
    let Some(name) = arguments.text("guest_profile") else {
        return Ok(None);
    };
    let profile = profiles.load_as(name, ProfileKind::Guest)?;
    if Endpoint::new(&profile.host, profile.port).ok().as_ref() != Some(&connection.endpoint) {
        return Err(Failure::new(
            "profile.other_host",
            "Pass a `guest_profile` that was saved for this server: the stored password of a guest is only handed to the host and port of its own profile",
        )
        .with("given", name));
    }
    Ok(Some(vsphere::GuestAccount {
        user: profile.user,
        password: profile.password,
    }))
}

/// Whether two spellings name one host.
fn same_host(one: &str, other: &str) -> bool {
    match (Endpoint::new(one, PORT), Endpoint::new(other, PORT)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

impl Merged {
    fn complete(self) -> Result<Connection, Failure> {
        let mut missing: Vec<&'static str> = Vec::new();
        let given = [
            ("host", self.host.is_some()),
            ("user", self.user.is_some()),
            ("password", self.password.is_some()),
        ];
        missing.extend(
            given
                .iter()
                .filter(|(_, given)| !given)
                .map(|(name, _)| *name),
        );
        let (Some(host), Some(user), Some(password)) = (self.host, self.user, self.password) else {
            let code = match missing.first() {
                Some(&"host") => "connection.missing_host",
                Some(&"user") => "connection.missing_user",
                _ => "connection.missing_password",
            };
            let named: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
            return Err(Failure::new(
                code,
                format!("Pass `credential_profile` with a saved profile, or pass {}: without it no connection can be made", named.join(", ")),
            )
            .with("missing", missing));
        };
        let endpoint = Endpoint::new(&host, self.port).map_err(crate::fault::failure)?;
        Ok(Connection {
            endpoint,
            user,
            password,
            verify_ssl: self.verify_ssl,
            ca: self.ca,
        })
    }
}

/// The connection as it was given, for a call that goes the same way again: never a password.
pub(crate) fn same_way(arguments: &Arguments) -> Map<String, Value> {
    ["credential_profile", "host", "user", "port", "verify_ssl"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), arguments.given(name)?.clone())))
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::table::Action;

    fn arguments(raw: Value) -> Arguments {
        let mut raw = raw.as_object().unwrap().clone();
        let password = crate::argument::lift_password(&mut raw);
        Arguments::read(Action::find("about").unwrap(), raw, password).unwrap()
    }

    fn profile(verify_ssl: bool) -> Profile {
        Profile {
            kind: ProfileKind::Server,
            host: "vc.example".into(),
            port: 8443,
            user: "saved".into(),
            password: Secret::new("stored".into()),
            verify_ssl,
            ca: None,
        }
    }

    fn code(raw: Value, with: Option<Profile>) -> String {
        merge(&arguments(raw), with)
            .and_then(Merged::complete)
            .unwrap_err()
            .code()
            .to_owned()
    }

    fn resolved(raw: Value, with: Option<Profile>) -> Connection {
        merge(&arguments(raw), with)
            .and_then(Merged::complete)
            .unwrap()
    }

    #[test]
    fn c6_each_missing_setting_is_named_in_order() {
        assert_eq!(code(json!({}), None), "connection.missing_host");
        assert_eq!(code(json!({"host": "vc"}), None), "connection.missing_user");
        assert_eq!(
            code(json!({"host": "vc", "user": "u"}), None),
            "connection.missing_password"
        );
        assert_eq!(
            code(json!({"host": "", "user": "u", "password": "p"}), None),
            "connection.missing_host"
        );
    }

    #[test]
    fn c7_explicit_values_override_the_profile_and_defaults_come_last() {
        let plain = resolved(json!({"host": "vc", "user": "u", "password": "p"}), None);
        assert_eq!((plain.endpoint.port(), plain.verify_ssl), (443, false));
        let saved = resolved(json!({}), Some(profile(false)));
        assert_eq!(
            (
                saved.endpoint.host(),
                saved.endpoint.port(),
                saved.user.as_str()
            ),
            ("vc.example", 8443, "saved")
        );
        let mixed = resolved(json!({"user": "other", "host": ""}), Some(profile(false)));
        assert_eq!(
            (mixed.endpoint.host(), mixed.user.as_str()),
            ("vc.example", "other")
        );
        // Another host with a password of its own is an ordinary override.
        let other = resolved(
            json!({"host": "vc2", "port": 443, "password": "p"}),
            Some(profile(false)),
        );
        assert_eq!(
            (other.endpoint.host(), other.password.expose()),
            ("vc2", "p")
        );
    }

    #[test]
    fn c7_a_stored_password_goes_nowhere_else() {
        assert_eq!(
            code(json!({"host": "evil.example"}), Some(profile(false))),
            "profile.other_host"
        );
        assert_eq!(
            code(json!({"port": 443}), Some(profile(false))),
            "profile.other_host"
        );
        assert_eq!(
            code(
                json!({"host": "evil.example", "user": "u"}),
                Some(profile(false))
            ),
            "profile.other_host"
        );
        // The same host and port said again, in another spelling, is not elsewhere.
        assert_eq!(
            resolved(
                json!({"host": "VC.example", "port": 8443}),
                Some(profile(false))
            )
            .password
            .expose(),
            "stored"
        );
    }

    #[test]
    fn c7_verify_ssl_can_be_tightened_and_not_loosened() {
        assert_eq!(
            code(json!({"verify_ssl": false}), Some(profile(true))),
            "profile.verify_ssl_loosened"
        );
        assert!(resolved(json!({"verify_ssl": true}), Some(profile(false))).verify_ssl);
        assert!(resolved(json!({}), Some(profile(true))).verify_ssl);
    }

    #[test]
    fn a_host_that_is_more_than_a_host_is_refused() {
        let code = code(
            json!({"host": "https://vc/sdk", "user": "u", "password": "p"}),
            None,
        );
        assert_eq!(code, "connection.invalid_host");
    }

    #[test]
    fn c7_the_way_back_never_holds_a_password() {
        let way = same_way(&arguments(
            json!({"host": "vc", "user": "u", "password": "hunter2", "port": 8443}),
        ));
        assert_eq!(
            Value::Object(way),
            json!({"host": "vc", "user": "u", "port": 8443})
        );
        // As it was given, to the letter: whoever compares the two calls sees no difference.
        let raw = json!({"port": 8443.0, "verify_ssl": false, "credential_profile": "lab"});
        assert_eq!(Value::Object(same_way(&arguments(raw.clone()))), raw);
    }
}
