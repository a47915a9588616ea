//! What the account may do on an object.

use crate::error::Error;
use crate::session::Session;
use crate::value::{MoRef, Value};

/// Whether the account holds a privilege on an object (`PrivilegeAvailability`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The privilege, as `VirtualMachine.Interact.PowerOn`.
    pub privilege: String,
    /// Whether it is held.
    pub is_granted: bool,
}

impl Session {
    /// `HasPrivilegeOnEntities`: which of these privileges this session's user holds on `entity`.
    /// A privilege that the server does not know is a fault (`InvalidArgument`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn has_privileges(
        &self,
        entity: &MoRef,
        privileges: &[&str],
    ) -> Result<Vec<Granted>, Error> {
        let manager = self.content().need("authorizationManager")?;
        let mut envelope = self.envelope("HasPrivilegeOnEntities", &manager);
        envelope
            .moref("entity", entity)
            .text("sessionId", &self.user().key);
        for privilege in privileges {
            envelope.text("privId", privilege);
        }
        let answer = self.all_of(envelope).await?;
        Ok(answer
            .iter()
            .filter(|of| of.get("entity").and_then(Value::as_moref).as_ref() == Some(entity))
            .flat_map(|of| of.all("privAvailability"))
            .filter_map(|one| {
                Some(Granted {
                    privilege: one.text_at("privId")?.to_owned(),
                    is_granted: one.get("isGranted")?.as_bool()?,
                })
            })
            .collect())
    }
}
