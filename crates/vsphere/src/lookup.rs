//! Finding VMs by uuid.

use std::ops::ControlFlow;

use crate::error::Error;
use crate::property::PAGE;
use crate::session::Session;
use crate::spec::FilterSpec;
use crate::transport::Deed;
use crate::value::{MoRef, Value};

/// How VMs were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// By the server's index.
    SearchIndex,
    /// By reading all VMs, since the server has no `FindAllByUuid`.
    Inventory,
}

/// The VMs that bear a uuid: more than one is possible, above all with BIOS uuids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundByUuid {
    /// All of them.
    pub vms: Vec<MoRef>,
    /// How.
    pub via: Via,
}

impl Session {
    /// All VMs (and templates) with this uuid, by `instanceUuid` or else by BIOS uuid.
    ///
    /// Never `FindByUuid`: that silently picks one of several.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn find_all_by_uuid(&self, uuid: &str, instance: bool) -> Result<FoundByUuid, Error> {
        let index = self.content().need("searchIndex")?;
        let mut envelope = self.envelope("FindAllByUuid", &index);
        envelope
            .text("uuid", uuid)
            .flag("vmSearch", true)
            .flag("instanceUuid", instance);
        match self.http().call(envelope, Deed::Read).await {
            Ok(answer) => {
                let vms = answer
                    .all("returnval")
                    .filter_map(Value::as_moref)
                    .collect();
                Ok(FoundByUuid {
                    vms,
                    via: Via::SearchIndex,
                })
            }
            Err(error) if error.is_fault("MethodNotFound") => {
                self.find_in_inventory(uuid, instance).await
            }
            Err(error) => Err(error),
        }
    }

    async fn find_in_inventory(&self, uuid: &str, instance: bool) -> Result<FoundByUuid, Error> {
        let path = if instance {
            "summary.config.instanceUuid"
        } else {
            "summary.config.uuid"
        };
        let root = self.content().need("rootFolder")?;
        let mut vms = Vec::new();
        self.retrieve(
            &[FilterSpec::inventory(&root, &[("VirtualMachine", &[path])])],
            PAGE,
            |object| {
                if object
                    .text(path)
                    .is_some_and(|u| u.eq_ignore_ascii_case(uuid))
                {
                    vms.push(object.reference);
                }
                ControlFlow::Continue(())
            },
        )
        .await?;
        Ok(FoundByUuid {
            vms,
            via: Via::Inventory,
        })
    }
}
