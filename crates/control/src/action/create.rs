//! create_vm: a VM from nothing, without disks and adapters.

use serde_json::{Map, Value, json};
use vsphere::{MoRef, NewMachine};

use crate::argument::Arguments;
use crate::call::Call;
use crate::change::{self, Deed, Done, Ended, Plan, Undo};
use crate::failure::Failure;
use crate::machine::shown_name;
use crate::object::{DATASTORE, Found};
use crate::{destination, made, name};

/// What it is given unless the call says otherwise.
const CPUS: u32 = 1;
const MEMORY_MIB: u64 = 1_024;
const GUEST: &str = "otherGuest64";

/// What create_vm checks of its arguments.
pub(crate) fn check(arguments: &Arguments) -> Result<(), Failure> {
    name::check(arguments, "name")
}

/// Makes a machine.
pub(crate) async fn change(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let wanted = call.arguments.text("name").unwrap_or_default();
    let folder = destination::folder_or_only(call).await?;
    let host = destination::host(call).await?;
    let pool = destination::pool_or_only(call, host.as_ref()).await?;
    let text = call.arguments.text(DATASTORE.argument).unwrap_or_default();
    let datastore = Found::named(call, &DATASTORE, text, destination::DATASTORE_PATHS).await?;
    let found = made::under_key(call, wanted).await?;
    let mut warnings = Vec::new();
    let refusal = if found.is_some() {
        warnings.push("It was made before under this key: it is found, not made twice".to_owned());
        None
    } else {
        name::taken(call, &folder.reference, wanted, None)
            .await?
            .or_else(|| destination::unfit(host.as_ref(), Some(&datastore)))
    };
    let whole = |name: &str| call.arguments.whole(name);
    let machine = NewMachine {
        name: name::sent(wanted),
        files: format!("[{}]", datastore.object.text("name").unwrap_or_default()),
        guest_id: call.arguments.text("guest_id").unwrap_or(GUEST).to_owned(),
        cpus: whole("cpu")
            .and_then(|cpus| u32::try_from(cpus).ok())
            .unwrap_or(CPUS),
        memory_mib: whole("memory_mb")
            .and_then(|memory| u64::try_from(memory).ok())
            .unwrap_or(MEMORY_MIB),
        extra_config: made::mark(call.key),
    };
    let mut after = Map::from_iter([("exists".to_owned(), json!(true))]);
    after.insert("name".to_owned(), json!(shown_name(wanted)));
    after.insert("cpu".to_owned(), json!(machine.cpus));
    after.insert("memory_mb".to_owned(), json!(machine.memory_mib));
    after.insert("guest_id".to_owned(), json!(machine.guest_id));
    after.insert("datastore".to_owned(), json!(datastore.name()));
    let plan = Plan {
        target: made::target(call, &folder, wanted),
        changed: true,
        before: Map::from_iter([("exists".to_owned(), json!(false))]),
        after,
        undo: if call.key.is_some() {
            Undo::conditional(
                made::deletion(call, wanted),
                "It must be powered off for that; what was done with it since is lost",
            )
        } else {
            Undo::later(
                "Until it exists it has no reference: the answer of the call names its undo",
            )
        },
        verify: Some(made::counted(call, wanted, found.is_some()).await?),
        warnings,
        refusal,
        extra: Map::new(),
    };
    call.sent.about(&folder.reference, None);
    let deed = Create {
        found,
        folder: folder.reference,
        name: wanted.to_owned(),
        machine,
        pool,
        host: host.map(|host| host.reference),
    };
    change::carry_out(call, plan, deed).await
}

struct Create {
    found: Option<MoRef>,
    folder: MoRef,
    name: String,
    machine: NewMachine,
    pool: MoRef,
    host: Option<MoRef>,
}

impl Deed for Create {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let undo = made::deletion(call, &self.name);
        if let Some(found) = &self.found {
            let mut done = made::done(call, found, undo, None).await;
            done.extra.insert("found_under_key".to_owned(), json!(true));
            return Ok(done);
        }
        let start =
            call.session
                .create_vm(&self.folder, &self.machine, &self.pool, self.host.as_ref());
        let (ended, task) =
            change::through_task(call, "CreateVM_Task", &self.folder, start).await?;
        let made = match ended {
            Ended::Success(result) => result.and_then(|value| value.as_moref()),
            Ended::Forgotten => None,
        };
        let made = match made {
            Some(made) => Some(made),
            None => made::under_key(call, &self.name)
                .await
                .map_err(|failure| call.sent.mark(failure))?,
        };
        match made {
            Some(made) => Ok(made::done(call, &made, undo, task).await),
            None => Err(change::forgotten("CreateVM_Task", &task)),
        }
    }
}
