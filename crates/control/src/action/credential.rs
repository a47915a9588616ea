//! credential_save, credential_list, credential_check, credential_delete: they work on the
//! state directory, and contact a server only to look at its certificate or to try a login.

use std::collections::BTreeMap;
use std::time::Duration;

use guard::secret::Secret;
use serde_json::{Map, Value, json};
use vsphere::{Client, Endpoint, Fingerprint};

use crate::argument::Arguments;
use crate::blocking;
use crate::call::patience;
use crate::change::{self, Done, Plan, Undo, Verify};
use crate::connection::{Connection, LoginGate, PORT, Seen, open};
use crate::failure::Failure;
use crate::fault;
use crate::listing::Listing;
use crate::pin::Pins;
use crate::profile::{Profile, ProfileKind, Profiles};
use crate::table::Action;
use policy::answer::ErrorEffect;

/// What the local actions work with.
#[derive(Clone)]
pub(crate) struct Local<'a> {
    pub(crate) profiles: Profiles,
    pub(crate) pins: Pins,
    pub(crate) client: &'a Client,
    pub(crate) gate: &'a LoginGate,
}

/// Whether saving a profile may pin another certificate than the one that is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnChangedCertificate {
    /// It is refused: nobody who can be trusted to has looked at it.
    Refuse,
    /// A person in a terminal has said so.
    Replace,
}

/// What was done about the certificate when a profile was saved.
#[derive(Debug)]
pub(crate) enum Pinned {
    /// The server could not be reached: nothing was pinned.
    Unreachable(String),
    /// Certificates of this profile are verified, so none is pinned.
    Verified {
        seen: Fingerprint,
        problem: Option<String>,
    },
    /// This one is pinned; the other was before.
    Pin {
        seen: Fingerprint,
        before: Option<Fingerprint>,
    },
}

impl Local<'_> {
    pub(crate) async fn save(
        &self,
        row: &Action,
        arguments: &Arguments,
    ) -> Result<Map<String, Value>, Failure> {
        let name = named(arguments);
        let mut profile = profile_of(arguments)?;
        profile.ca = self.kept_authorities(&name, &profile).await;
        let before = self.shown(&name).await?;
        let existed = before["exists"] == true;
        let mut after = fields(&profile);
        after.insert("exists".to_owned(), json!(true));
        let undo = if existed {
            Undo::none(
                "The profile that was there before is replaced, and its password is not kept",
            )
        } else {
            Undo::exact(Map::from_iter([
                ("action".to_owned(), json!("credential_delete")),
                ("credential_profile".to_owned(), json!(name)),
            ]))
        };
        let plan = Plan {
            target: target(&name),
            changed: true,
            before,
            after,
            undo,
            verify: Some(verify(&name, usize::from(existed), 1)),
            warnings: vec![
                "The password has passed through the agent; `vmware-control credential save` in a terminal keeps it from the agent".to_owned(),
            ],
            refusal: None,
            extra: Map::new(),
        };
        if arguments.flag("preview") {
            return Ok(change::preview(row.word, plan));
        }
        let limit = patience(row, arguments);
        let pinned = self
            .store(&name, &profile, OnChangedCertificate::Refuse, limit)
            .await?;
        let done = Done {
            extra: pinned.fields(),
            ..Done::default()
        };
        Ok(change::answer(row.word, plan, done))
    }

    /// Looks at the server's certificate, saves the profile, and pins the certificate.
    ///
    /// # Errors
    ///
    /// `certificate.changed` if another one is pinned and is not to be replaced: nothing
    /// is saved then. Those of the state directory.
    pub(crate) async fn store(
        &self,
        name: &str,
        profile: &Profile,
        on_changed: OnChangedCertificate,
        limit: Duration,
    ) -> Result<Pinned, Failure> {
        let endpoint = Endpoint::new(&profile.host, profile.port).map_err(fault::failure)?;
        let server = endpoint.to_string();
        let ca = profile.authorities()?;
        let probe = async {
            let _lane = self.client.lane(&endpoint, &profile.user).await;
            self.client.probe(&endpoint, ca.as_ref()).await
        };
        let handshake = match tokio::time::timeout(limit, probe).await {
            Ok(Ok(handshake)) => Ok(handshake),
            Ok(Err(error)) => Err(guard::text::sanitize(&error.to_string())),
            Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
        };
        if let (Ok(handshake), false, OnChangedCertificate::Refuse) =
            (&handshake, profile.verify_ssl, on_changed)
            && let Some(pinned) = self.pins.get(&server)?
            && pinned != handshake.fingerprint
            && handshake.unverified.is_some()
        {
            return Err(fault::failure(vsphere::Error::CertificateChanged {
                endpoint: server,
                pinned,
                seen: handshake.fingerprint,
            }));
        }
        if let (Ok(handshake), false, OnChangedCertificate::Refuse) =
            (&handshake, profile.verify_ssl, on_changed)
            && let Some(told) = self.pins.told(&server)?
            && told != handshake.thumbprint
            && handshake.unverified.is_some()
        {
            return Err(fault::certificate_changed(
                &server,
                &format!("SHA-1 {told}"),
                &format!(
                    "SHA-1 {}, SHA-256 {}",
                    handshake.thumbprint, handshake.fingerprint
                ),
            ));
        }
        let (profiles, saved, to) = (self.profiles.clone(), profile.clone(), name.to_owned());
        blocking(move || profiles.save(&to, &saved)).await?;
        let handshake = match handshake {
            Err(reason) => return Ok(Pinned::Unreachable(reason)),
            Ok(handshake) => handshake,
        };
        if profile.verify_ssl {
            return Ok(Pinned::Verified {
                seen: handshake.fingerprint,
                problem: handshake.unverified,
            });
        }
        let (pins, seen) = (self.pins.clone(), handshake.fingerprint);
        let before = blocking(move || pins.replace(&server, seen))
            .await
            .map_err(|failure| failure.leaving(ErrorEffect::Partial))?;
        Ok(Pinned::Pin {
            seen,
            before: before.filter(|before| *before != seen),
        })
    }

    /// Saves an account within guests; nothing is contacted.
    ///
    /// # Errors
    ///
    /// Those of the state directory.
    pub(crate) async fn store_guest(&self, name: &str, profile: &Profile) -> Result<(), Failure> {
        Endpoint::new(&profile.host, profile.port).map_err(fault::failure)?;
        let (profiles, saved, to) = (self.profiles.clone(), profile.clone(), name.to_owned());
        blocking(move || profiles.save(&to, &saved)).await
    }

    /// The certificate authorities of the profile that is about to be replaced, if it is for the
    /// same server: they can only be given in a terminal, and are not lost by saving anew.
    async fn kept_authorities(&self, name: &str, profile: &Profile) -> Option<String> {
        let (profiles, name) = (self.profiles.clone(), name.to_owned());
        let before = blocking(move || profiles.load(&name)).await.ok()?;
        (before.host == profile.host && before.port == profile.port)
            .then_some(before.ca)
            .flatten()
    }

    pub(crate) async fn list(
        &self,
        row: &Action,
        arguments: &Arguments,
    ) -> Result<Map<String, Value>, Failure> {
        let only = arguments.text("credential_profile");
        let rows = self.rows().await?;
        let rows: BTreeMap<String, Value> = rows
            .into_iter()
            .map(|row| (row["name"].as_str().unwrap_or_default().to_owned(), row))
            .filter(|(name, _)| only.is_none_or(|only| name == only))
            .collect();
        let keys = rows.keys().map(|name| (name.clone(), name.clone()));
        // With a name there is one at most: nothing to page through.
        let place = only.unwrap_or_default();
        let listing = Listing::of(row, arguments, place, "profiles", keys.collect())?;
        let mut answer = listing.answer(|name| rows.get(name).cloned());
        if only.is_some() {
            answer.insert("matching".to_owned(), json!(rows.len()));
        }
        Ok(answer)
    }

    /// All profiles, each as it is shown: with its settings, or with why it cannot be loaded.
    pub(crate) async fn rows(&self) -> Result<Vec<Value>, Failure> {
        let profiles = self.profiles.clone();
        blocking(move || {
            let rows = profiles
                .names()?
                .into_iter()
                .map(|name| match profiles.load(&name) {
                    Ok(profile) => {
                        let mut row = Map::from_iter([("name".to_owned(), json!(name))]);
                        row.extend(fields(&profile));
                        Value::Object(row)
                    }
                    Err(failure) => {
                        json!({ "name": name, "code": failure.code(), "error": failure.message() })
                    }
                });
            Ok(rows.collect())
        })
        .await
    }

    pub(crate) async fn check(
        &self,
        row: &Action,
        arguments: &Arguments,
    ) -> Result<Map<String, Value>, Failure> {
        let name = named(arguments);
        let mut answer = Map::from_iter([("action".to_owned(), json!(row.word))]);
        answer.extend(self.try_login(&name, patience(row, arguments)).await?);
        Ok(answer)
    }

    /// Logs in with a profile and out again.
    ///
    /// # Errors
    ///
    /// Everything that keeps the profile from being used.
    pub(crate) async fn try_login(
        &self,
        name: &str,
        limit: Duration,
    ) -> Result<Map<String, Value>, Failure> {
        let (profiles, of) = (self.profiles.clone(), name.to_owned());
        let profile = blocking(move || profiles.load_as(&of, ProfileKind::Server)).await?;
        let connection = Connection {
            ca: profile.authorities()?,
            endpoint: Endpoint::new(&profile.host, profile.port).map_err(fault::failure)?,
            user: profile.user,
            password: profile.password,
            verify_ssl: profile.verify_ssl,
        };
        let opened =
            tokio::time::timeout(limit, open(self.client, self.gate, &self.pins, &connection))
                .await;
        let (session, seen) = opened.unwrap_or_else(|_| {
            Err(Failure::new(
                "call.timeout",
                format!(
                    "Check the load of the server: no login within {} s",
                    limit.as_secs()
                ),
            ))
        })?;
        let about = session.about().clone();
        let user = session.user().user_name.clone();
        let certificate = session.certificate();
        // A failed logout is logged there; the login has been shown to work.
        let _ = session.logout().await;
        let mut answer = Map::new();
        answer.insert("credential_profile".to_owned(), json!(name));
        answer.insert("login".to_owned(), json!("accepted"));
        answer.insert("host".to_owned(), json!(profile.host));
        answer.insert("port".to_owned(), json!(profile.port));
        answer.insert("user".to_owned(), json!(guard::text::sanitize(&user)));
        answer.insert(
            "product".to_owned(),
            json!(guard::text::sanitize(&about.full_name)),
        );
        if let Some((fingerprint, _)) = certificate {
            answer.insert("fingerprint".to_owned(), json!(fingerprint.to_string()));
        }
        seen.note(&mut answer);
        Ok(answer)
    }

    pub(crate) async fn delete(
        &self,
        row: &Action,
        arguments: &Arguments,
    ) -> Result<Map<String, Value>, Failure> {
        let name = named(arguments);
        let before = self.shown(&name).await?;
        let existed = before["exists"] == true;
        let plan = Plan {
            target: target(&name),
            changed: existed,
            before,
            after: Map::from_iter([("exists".to_owned(), json!(false))]),
            undo: Undo::none("The password is not kept: save the profile again"),
            verify: Some(verify(&name, usize::from(existed), 0)),
            warnings: Vec::new(),
            refusal: None,
            extra: Map::new(),
        };
        if arguments.flag("preview") {
            return Ok(change::preview(row.word, plan));
        }
        if !existed {
            return Ok(change::unchanged(row.word, plan));
        }
        let profiles = self.profiles.clone();
        blocking(move || profiles.delete(&name)).await?;
        Ok(change::answer(row.word, plan, Done::default()))
    }

    /// A profile as it is before a change: there or not, and what can be read of it.
    async fn shown(&self, name: &str) -> Result<Map<String, Value>, Failure> {
        let (profiles, name) = (self.profiles.clone(), name.to_owned());
        blocking(move || {
            let exists = profiles.exists(&name)?;
            let mut shown = match profiles.load(&name) {
                Ok(profile) => fields(&profile),
                Err(_) => Map::new(),
            };
            shown.insert("exists".to_owned(), json!(exists));
            Ok(shown)
        })
        .await
    }
}

impl Pinned {
    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        match self {
            Self::Unreachable(reason) => {
                put("pinned", json!(false));
                put(
                    "note",
                    json!(format!(
                        "Saved, and nothing was pinned: the server could not be reached: {reason}"
                    )),
                );
            }
            Self::Verified { seen, problem } => {
                put("pinned", json!(false));
                put("fingerprint", json!(seen.to_string()));
                if let Some(problem) = problem {
                    let problem = guard::text::sanitize(problem);
                    put(
                        "note",
                        json!(format!(
                            "Saved; its certificate does not verify now, so logins will be refused: {problem}"
                        )),
                    );
                }
            }
            Self::Pin { seen, before } => {
                put("pinned", json!(true));
                put("fingerprint", json!(seen.to_string()));
                if let Some(before) = before {
                    put("fingerprint_before", json!(before.to_string()));
                }
            }
        }
        fields
    }
}

impl Seen {
    /// Says in an answer what was seen of the certificate, if it is worth saying.
    pub(crate) fn note(self, answer: &mut Map<String, Value>) {
        match self {
            Seen::Known => {}
            Seen::First(fingerprint) => {
                answer.insert("first_contact".to_owned(), json!(true));
                answer.insert("fingerprint".to_owned(), json!(fingerprint.to_string()));
            }
            Seen::Renewed { pinned, seen } => {
                answer.insert("certificate_renewed".to_owned(), json!(true));
                answer.insert("fingerprint".to_owned(), json!(seen.to_string()));
                answer.insert("fingerprint_pinned".to_owned(), json!(pinned.to_string()));
            }
        }
    }
}

fn named(arguments: &Arguments) -> String {
    arguments
        .text("credential_profile")
        .unwrap_or_default()
        .to_owned()
}

fn profile_of(arguments: &Arguments) -> Result<Profile, Failure> {
    let text = |name: &str| arguments.text(name).unwrap_or_default().to_owned();
    let port = arguments
        .whole("port")
        .and_then(|port| u16::try_from(port).ok())
        .unwrap_or(PORT);
    let host = text("host");
    Endpoint::new(&host, port).map_err(fault::failure)?;
    Ok(Profile {
        // Only a terminal saves accounts within guests.
        kind: ProfileKind::Server,
        host,
        port,
        user: text("user"),
        password: arguments
            .password()
            .cloned()
            .unwrap_or_else(|| Secret::new(String::new())),
        verify_ssl: arguments.flag("verify_ssl"),
        ca: None,
    })
}

/// What may be shown of a profile.
fn fields(profile: &Profile) -> Map<String, Value> {
    let mut fields = Map::from_iter([
        ("host".to_owned(), json!(profile.host)),
        ("port".to_owned(), json!(profile.port)),
        ("user".to_owned(), json!(profile.user)),
        ("verify_ssl".to_owned(), json!(profile.verify_ssl)),
    ]);
    if profile.kind == ProfileKind::Guest {
        fields.insert("kind".to_owned(), json!("guest"));
    }
    if let Ok(Some(ca)) = profile.authorities() {
        let shown: Vec<String> = ca.fingerprints().iter().map(ToString::to_string).collect();
        fields.insert("authorities".to_owned(), json!(shown));
    }
    fields
}

fn target(name: &str) -> Value {
    json!({ "type": "CredentialProfile", "name": name })
}

fn verify(name: &str, before: usize, after: usize) -> Verify {
    let pointed = |count: usize| Map::from_iter([("/matching".to_owned(), json!(count))]);
    Verify {
        arguments: Map::from_iter([
            ("action".to_owned(), json!("credential_list")),
            ("credential_profile".to_owned(), json!(name)),
        ]),
        before: pointed(before),
        after: pointed(after),
    }
}
