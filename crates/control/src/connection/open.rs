//! Opening a session: the certificate first, then the password.

use vsphere::{Client, Credentials, Fingerprint, Greeted, Session, Target, Trust};

use super::{Connection, LoginGate};
use crate::failure::Failure;
use crate::fault;
use crate::pin::Pins;

/// What was seen of the server's certificate on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is the pinned one, or it verifies.
    Known,
    /// Nobody had seen it before: it was pinned before the password was sent.
    First(Fingerprint),
    /// It verifies, and is another one than the pinned.
    Renewed {
        pinned: Fingerprint,
        seen: Fingerprint,
    },
}

/// Logs in. On first contact without `verify_ssl` the certificate is pinned before anything is
/// sent; one that verifies is pinned too, so that nobody can later pass as that server by
/// showing one that does not.
///
/// # Errors
///
/// Everything that can go wrong before a session is there; nothing was changed then.
pub(crate) async fn open(
    client: &Client,
    gate: &LoginGate,
    pins: &Pins,
    connection: &Connection,
) -> Result<(Session, Seen), Failure> {
    // First of all: a login that was refused a short while ago makes no contact.
    gate.is_untried(connection)?;
    let lane = client.lane(&connection.endpoint, &connection.user).await;
    // Whoever had the lane before may have found out.
    let untried = gate.is_untried(connection)?;
    let (trust, mut seen, mut greeted) = trust(client, pins, connection).await?;
    if untried && greeted.is_none() {
        // Untried logins go one by one: a server that is not there is not waited for in a row.
        let greeting = client.greet(&connection.endpoint, connection.ca.as_ref());
        greeted = Some(greeting.await.map_err(fault::failure)?);
    }
    let admission = gate.admit(connection).await?;
    let pinned = match &trust {
        Trust::Pinned { pin, .. } => Some(*pin),
        Trust::Roots { .. } => None,
    };
    let target = Target {
        endpoint: connection.endpoint.clone(),
        trust,
        operation_id: None,
    };
    let credentials = Credentials {
        user: connection.user.clone(),
        password: connection.password.clone(),
    };
    let session = match client.connect_in(lane, target, credentials, greeted).await {
        Ok(session) => {
            admission.accepted();
            session
        }
        Err(error) => {
            if matches!(error, vsphere::Error::LoginRefused { .. }) {
                admission.refused();
            }
            return Err(fault::failure(error));
        }
    };
    if let (Some(pinned), Some((shown, vsphere::Accepted::Roots))) = (pinned, session.certificate())
    {
        tracing::warn!(server = %connection.endpoint, %pinned, seen = %shown, "the certificate was renewed: it verifies, and is not the pinned one");
        seen = Seen::Renewed {
            pinned,
            seen: shown,
        };
    }
    Ok((session, seen))
}

async fn trust(
    client: &Client,
    pins: &Pins,
    connection: &Connection,
) -> Result<(Trust, Seen, Option<Greeted>), Failure> {
    let ca = connection.ca.clone();
    if connection.verify_ssl {
        return Ok((Trust::Roots { ca }, Seen::Known, None));
    }
    let server = connection.endpoint.to_string();
    if let Some(pin) = pins.get(&server)? {
        return Ok((Trust::Pinned { pin, ca }, Seen::Known, None));
    }
    let greeting = client.greet(&connection.endpoint, ca.as_ref());
    let greeted = greeting.await.map_err(fault::failure)?;
    let handshake = greeted.handshake().map_err(fault::failure)?;
    let (shown, verifies) = (handshake.fingerprint, handshake.unverified.is_none());
    let told = pins.told(&server)?;
    if let Some(told) = told
        && told != handshake.thumbprint
        && !verifies
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
    let pins = pins.clone();
    let pin = crate::blocking(move || pins.set_first(&server, shown)).await?;
    // Another call may have pinned another one in between: then that one counts, and
    // the handshake to come is refused if the server still shows ours. What verifies, or what
    // somebody had already compared, is not taken on faith.
    let seen = if pin == shown && !verifies && told.is_none() {
        Seen::First(pin)
    } else {
        Seen::Known
    };
    Ok((Trust::Pinned { pin, ca }, seen, Some(greeted)))
}
