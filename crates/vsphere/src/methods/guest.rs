//! Programs in a guest, through VMware Tools and with an account of the guest's own.

use std::sync::Arc;

use guard::secret::Secret;
use hyper::Uri;

use crate::endpoint::Endpoint;
use crate::envelope::Envelope;
use crate::error::{Effect, Error};
use crate::pin::Fingerprint;
use crate::session::Session;
use crate::tls::{Trust, Verifier};
use crate::transport::{Deed, Http};
use crate::value::{MoRef, Value};

/// An account of the guest's operating system (`NamePasswordAuthentication`).
#[derive(Clone, Debug)]
pub struct GuestAccount {
    /// As the guest knows it, `DOMAIN\user` included.
    pub user: String,
    /// Handed to the guest by the server.
    pub password: Secret,
}

/// A program to start in a guest (`GuestProgramSpec`).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct GuestProgram {
    /// The whole path of the program in the guest.
    pub path: String,
    /// Its arguments, one text; on Linux a shell reads it.
    pub arguments: String,
    /// Where it starts; without it the account's home.
    pub directory: Option<String>,
}

impl GuestAccount {
    fn write(&self, out: &mut Envelope) {
        out.open_as("auth", "NamePasswordAuthentication")
            .flag("interactiveSession", false)
            .text("username", &self.user)
            .text("password", self.password.expose())
            .close("auth");
    }
}

impl Session {
    /// A manager of the guest operations: `processManager` or `fileManager`.
    async fn guest_manager(&self, name: &'static str) -> Result<MoRef, Error> {
        let operations = self.content().need("guestOperationsManager")?;
        let object = self.properties(&operations, &[name]).await?;
        object
            .as_ref()
            .and_then(|object| object.get(name))
            .and_then(Value::as_moref)
            .ok_or(Error::Absent { what: name })
    }

    /// `StartProgramInGuest`: the id of the process in the guest. That it started says nothing
    /// about how it ends.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn start_program(
        &self,
        vm: &MoRef,
        account: &GuestAccount,
        program: &GuestProgram,
    ) -> Result<i64, Error> {
        let manager = self.guest_manager("processManager").await?;
        let mut envelope = self.envelope("StartProgramInGuest", &manager);
        envelope.moref("vm", vm);
        account.write(&mut envelope);
        envelope
            .open_as("spec", "GuestProgramSpec")
            .text("programPath", &program.path)
            .text("arguments", &program.arguments);
        if let Some(directory) = &program.directory {
            envelope.text("workingDirectory", directory);
        }
        envelope.close("spec");
        let answer = self.call(envelope, Deed::Change).await?;
        answer
            .and_then(|value| value.as_i64())
            .ok_or_else(|| Error::Malformed {
                call: "StartProgramInGuest",
                reason: "it names no process".into(),
                effect: Effect::Unknown,
            })
    }

    /// `ListProcessesInGuest` (`GuestProcessInfo`): all, or those with these ids. One that ended
    /// is listed with its exit code for some minutes, if it was started through the API.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn guest_processes(
        &self,
        vm: &MoRef,
        account: &GuestAccount,
        pids: &[i64],
    ) -> Result<Vec<Value>, Error> {
        let manager = self.guest_manager("processManager").await?;
        let mut envelope = self.envelope("ListProcessesInGuest", &manager);
        envelope.moref("vm", vm);
        account.write(&mut envelope);
        for pid in pids {
            envelope.text("pids", &pid.to_string());
        }
        self.all_of(envelope).await
    }

    /// `CreateTemporaryFileInGuest`: the path of a new, empty file that only the account may read.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn guest_temporary_file(
        &self,
        vm: &MoRef,
        account: &GuestAccount,
        prefix: &str,
    ) -> Result<String, Error> {
        let manager = self.guest_manager("fileManager").await?;
        let mut envelope = self.envelope("CreateTemporaryFileInGuest", &manager);
        envelope.moref("vm", vm);
        account.write(&mut envelope);
        envelope.text("prefix", prefix).text("suffix", ".out");
        let answer = self.call(envelope, Deed::Change).await?;
        answer
            .map(|value| value.text().to_owned())
            .filter(|path| !path.is_empty())
            .ok_or_else(|| Error::Malformed {
                call: "CreateTemporaryFileInGuest",
                reason: "it names no file".into(),
                effect: Effect::Unknown,
            })
    }

    /// `DeleteFileInGuest`.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn delete_guest_file(
        &self,
        vm: &MoRef,
        account: &GuestAccount,
        path: &str,
    ) -> Result<(), Error> {
        let manager = self.guest_manager("fileManager").await?;
        let mut envelope = self.envelope("DeleteFileInGuest", &manager);
        envelope.moref("vm", vm);
        account.write(&mut envelope);
        envelope.text("filePath", path);
        self.call(envelope, Deed::Change).await.map(drop)
    }

    /// `InitiateFileTransferFromGuest`: size in bytes and URL of a file in the guest, for one
    /// fetch within some minutes. The host in it is `*` where the server itself is meant.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn guest_file(
        &self,
        vm: &MoRef,
        account: &GuestAccount,
        path: &str,
    ) -> Result<(i64, String), Error> {
        let manager = self.guest_manager("fileManager").await?;
        let mut envelope = self.envelope("InitiateFileTransferFromGuest", &manager);
        envelope.moref("vm", vm);
        account.write(&mut envelope);
        envelope.text("guestFilePath", path);
        let answer = self.call(envelope, Deed::Once).await?.unwrap_or_default();
        let size = answer.get("size").and_then(Value::as_i64);
        let url = answer.text_at("url").map(str::to_owned);
        match (size, url) {
            (Some(size), Some(url)) => Ok((size, url)),
            _ => Err(Error::Malformed {
                call: "InitiateFileTransferFromGuest",
                reason: "it names no URL".into(),
                effect: Effect::None,
            }),
        }
    }

    /// Fetches what [`Session::guest_file`] names, at most `limit` bytes. No cookie goes along: on
    /// a vCenter the URL leads to the ESXi host that the VM runs on.
    ///
    /// `pin` is that host's certificate; without it the URL must mean the server itself (`*`),
    /// whose certificate was accepted at the login.
    ///
    /// # Errors
    /// [`Error::CertificateChanged`] if the host shows another certificate; those of any call.
    pub async fn fetch_guest_file(
        &self,
        url: &str,
        pin: Option<Fingerprint>,
        limit: usize,
    ) -> Result<Vec<u8>, Error> {
        const CALL: &str = "guestFile";
        let malformed = |reason: &str| Error::Malformed {
            call: CALL,
            reason: reason.into(),
            effect: Effect::None,
        };
        let own = self.http().endpoint();
        // `*` stands for the server itself, and is no host of a URL.
        let (is_own, text) = match url.strip_prefix("https://*") {
            Some(rest) => (true, format!("https://own.invalid{rest}")),
            None => (false, url.to_owned()),
        };
        let url: Uri = text.parse().map_err(|_| malformed("its URL is none"))?;
        if url.scheme_str() != Some("https") {
            return Err(malformed("its URL is not one of HTTPS"));
        }
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let endpoint = if is_own {
            own.clone()
        } else {
            // An IPv6 address stands in brackets here, and without them in an endpoint.
            let host = url.host().unwrap_or_default();
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Endpoint::new(host, url.port_u16().unwrap_or(443))?
        };
        let accepted = self.certificate().map(|(fingerprint, _)| fingerprint);
        let pin = if endpoint == *own { accepted } else { pin };
        let pin = pin.ok_or_else(|| malformed("the certificate of its host is not known"))?;
        let client = self.client();
        let verifier = Arc::new(Verifier::trusting(
            Trust::Pinned { pin, ca: None },
            Arc::clone(&client.roots),
            Arc::clone(&client.provider),
        ));
        // Not one of the user's sessions: it logs in nowhere.
        let lane = client.lanes.take(&endpoint, "").await;
        let http = Http::new(endpoint, verifier, &client.settings, lane);
        let file = http.file(path, CALL, limit).await?;
        file.ok_or_else(|| malformed("there is no file there, or it is larger than was said"))
    }
}
