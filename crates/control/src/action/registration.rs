//! register and unregister: whether the server knows the files of a VM as one of its VMs.

use serde_json::{Map, Value, json};
use vsphere::MoRef;

use super::template::must_be_off;
use crate::argument::Arguments;
use crate::call::Call;
use crate::change::{self, Deed, Done, Ended, Plan, Undo, Verify};
use crate::failure::Failure;
use crate::harm::{self, Level};
use crate::machine::{Machine, shown_name};
use crate::object::Found;
use crate::{destination, fault, made, name};

/// Where the server says which file a machine is made from.
const FILE: &str = "summary.config.vmPathName";

/// What register checks of its arguments.
pub(crate) fn check(arguments: &Arguments) -> Result<(), Failure> {
    name::check(arguments, "name")?;
    let path = arguments.text("path").unwrap_or_default();
    let is_file = path.starts_with('[') && path.contains("] ");
    let is_machine = [".vmx", ".vmtx"].iter().any(|end| path.ends_with(end));
    if is_file && is_machine {
        return Ok(());
    }
    Err(Failure::new(
        "argument.out_of_range",
        "Pass `path` as the VM's file on its datastore, such as `[ds] web01/web01.vmx`",
    )
    .with("argument", "path"))
}

/// Takes a machine out of the inventory and leaves its files.
pub(crate) async fn unregister(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let more = [FILE, "resourcePool", "runtime.host"];
    let machine = match Machine::find(call, &more).await {
        Ok(machine) => machine,
        Err(failure) => return made::gone_before(call, &failure).ok_or(failure),
    };
    let file = guard::text::sanitize(machine.object.text(FILE).unwrap_or_default());
    let other = call.arguments.text("path").filter(|path| *path != file);
    let harm = harm::check(call, &machine, Level::Hardware).await?;
    let mut warnings = machine.warnings();
    warnings.extend(harm.warnings(call));
    let mut refusal = machine
        .unfit()
        .or_else(|| must_be_off(&machine))
        .or_else(|| harm.refusal(call));
    if let Some(other) = other {
        refusal = Some(
            Failure::new(
                "target.changed",
                "Look at the VM and decide anew: it is not made from the file that was named",
            )
            .with("expected", other)
            .with("found", file.as_str()),
        );
    }
    let mut before = Map::from_iter([("registered".to_owned(), json!(true))]);
    before.insert("path".to_owned(), json!(file));
    let pointed = |total: usize| Map::from_iter([("/total".to_owned(), json!(total))]);
    let plan = Plan {
        target: machine.target(&call.server),
        changed: true,
        before,
        after: Map::from_iter([("registered".to_owned(), json!(false))]),
        undo: registration(call, &machine, &file),
        verify: Some(Verify {
            arguments: machine.arguments(call, "list_vms"),
            before: pointed(1),
            after: pointed(0),
        }),
        warnings,
        refusal,
        extra: Map::from_iter([("hangs_on_it".to_owned(), Value::Object(harm.shown()))]),
    };
    let deed = Unregister {
        machine: machine.reference,
    };
    change::carry_out(call, plan, deed).await
}

/// The call that registers it again, where it was.
fn registration(call: &Call<'_>, machine: &Machine, file: &str) -> Undo {
    let Some(folder) = destination::parent(&machine.object) else {
        return Undo::none("It lies in no folder that can be seen, as a VM of a vApp does");
    };
    let place = ["resourcePool", "runtime.host"].map(|path| machine.reference_at(path));
    let is_template = machine.flag("summary.config.template");
    if file.is_empty() || place.iter().all(Option::is_none) {
        return Undo::none("Where its files are, or where it ran, cannot be read");
    }
    let mut undo = Map::from_iter([("action".to_owned(), json!("register"))]);
    undo.insert("path".to_owned(), json!(file));
    undo.insert("name".to_owned(), json!(machine.name()));
    undo.insert("folder".to_owned(), json!(folder.id));
    for (argument, reference) in ["resource_pool", "host_system"].into_iter().zip(place) {
        if let Some(reference) = reference {
            undo.insert(argument.to_owned(), json!(reference.id));
        }
    }
    if is_template {
        undo.insert("as_template".to_owned(), json!(true));
    }
    undo.extend(crate::connection::same_way(call.arguments));
    Undo::lossy(
        undo,
        "It gets a new reference; its permissions, tags, alarms, rules and statistics are lost",
    )
}

struct Unregister {
    machine: MoRef,
}

impl Deed for Unregister {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let asked = call.session.unregister(&self.machine);
        change::at_once(call, "UnregisterVM", asked).await?;
        Ok(Done::default())
    }
}

/// Makes the server know the files of a machine.
pub(crate) async fn register(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let folder = destination::folder_or_only(call).await?;
    let host = destination::host(call).await?;
    let as_template = call.arguments.flag("as_template");
    let pool = if as_template {
        None
    } else {
        Some(destination::pool_or_only(call, host.as_ref()).await?)
    };
    let path = call.arguments.text("path").unwrap_or_default().to_owned();
    let datacenter = destination::datacenter_of(call, &folder).await?;
    let known = call
        .session
        .find_by_datastore_path(&datacenter, &path)
        .await
        .map_err(fault::failure)?;
    let mut extra = Map::new();
    if let Some(known) = &known {
        let vm = made::look_at(call, known).await;
        extra.insert("vm".to_owned(), Value::Object(vm));
    }
    let wanted = call.arguments.text("name").map(str::to_owned);
    let mut refusal = destination::unfit(host.as_ref(), None);
    if let (Some(wanted), None) = (&wanted, &known) {
        refusal = name::taken(call, &folder.reference, wanted, None)
            .await?
            .or(refusal);
    }
    if as_template && host.is_none() {
        refusal = Some(
            Failure::new(
                "argument.missing",
                "Pass `host_system`: a template is registered on a host",
            )
            .with("argument", "host_system"),
        );
    }
    let target = place(call, &folder, wanted.as_deref(), &path);
    let mut undo = Map::from_iter([("action".to_owned(), json!("unregister"))]);
    undo.insert("path".to_owned(), json!(path));
    undo.extend(crate::connection::same_way(call.arguments));
    let verify = match &wanted {
        Some(wanted) if known.is_none() => Some(made::counted(call, wanted, false).await?),
        _ => None,
    };
    let planned = match &wanted {
        Some(wanted) => {
            undo.insert("vm_name".to_owned(), json!(shown_name(wanted)));
            Undo::exact(undo.clone())
        }
        None => {
            Undo::later("Until it is registered it has no reference: the answer names its undo")
        }
    };
    let state = |is: bool| Map::from_iter([("registered".to_owned(), json!(is))]);
    let plan = Plan {
        target,
        changed: known.is_none(),
        before: state(known.is_some()),
        after: state(true),
        undo: planned,
        verify,
        warnings: Vec::new(),
        refusal,
        extra,
    };
    call.sent.about(&folder.reference, None);
    let deed = Register {
        folder: folder.reference,
        path,
        name: wanted,
        as_template,
        pool,
        host: host.map(|host| host.reference),
        undo,
    };
    change::carry_out(call, plan, deed).await
}

fn place(call: &Call<'_>, folder: &Found, name: Option<&str>, file: &str) -> Value {
    let mut target = made::target(call, folder, name.unwrap_or_default());
    target["file"] = json!(guard::text::sanitize(file));
    target
}

struct Register {
    folder: MoRef,
    path: String,
    name: Option<String>,
    as_template: bool,
    pool: Option<MoRef>,
    host: Option<MoRef>,
    undo: Map<String, Value>,
}

impl Deed for Register {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let name = self.name.as_deref().map(name::sent);
        let start = call.session.register(
            &self.folder,
            &self.path,
            name.as_deref(),
            self.as_template,
            self.pool.as_ref(),
            self.host.as_ref(),
        );
        let (ended, task) =
            change::through_task(call, "RegisterVM_Task", &self.folder, start).await?;
        let made = match ended {
            Ended::Success(result) => result.and_then(|value| value.as_moref()),
            Ended::Forgotten => None,
        };
        let Some(made) = made else {
            return Err(change::forgotten("RegisterVM_Task", &task));
        };
        Ok(made::done(call, &made, self.undo.clone(), task).await)
    }
}
