//! clone and deploy_template: a VM made from another, or from a template.

use serde_json::{Map, Value, json};
use vsphere::{CloneSpec, MoRef, Relocate};

use super::disk::DEVICES;
use super::snapshot;
use super::tree::Tree;
use crate::argument::Arguments;
use crate::call::Call;
use crate::change::{self, Deed, Done, Ended, Plan, Undo};
use crate::failure::Failure;
use crate::machine::{Machine, shown_name};
use crate::object::Found;
use crate::{destination, made, name};

const TEMPLATE: &str = "summary.config.template";
const USED: &str = "summary.storage.committed";

/// What clone checks of its arguments.
pub(crate) fn check(arguments: &Arguments) -> Result<(), Failure> {
    name::check(arguments, "name")?;
    if arguments.flag("linked") {
        snapshot::check(arguments)?;
    }
    Ok(())
}

/// What deploy_template checks of its arguments: a template has no pool that its VM could take over.
pub(crate) fn check_deploy(arguments: &Arguments) -> Result<(), Failure> {
    name::check(arguments, "name")?;
    if destination::is_named(arguments) {
        return Ok(());
    }
    Err(destination::missing())
}

/// Makes a VM of a template.
pub(crate) async fn deploy(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let source = source(call).await?;
    let refusal = (!source.flag(TEMPLATE)).then(|| {
        Failure::new(
            "vm.not_a_template",
            "Call `clone` for this VM, or pass a template: it is none",
        )
        .with("target", source.target(&call.server))
    });
    make(call, source, refusal).await
}

/// Makes a VM of a VM, a template, or a snapshot.
pub(crate) async fn clone(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let source = source(call).await?;
    let needs_pool = source.flag(TEMPLATE) && !destination::is_named(call.arguments);
    make(call, source, needs_pool.then(destination::missing)).await
}

async fn source(call: &Call<'_>) -> Result<Machine, Failure> {
    let more = ["resourcePool", "snapshot", DEVICES, USED];
    let source = Machine::find(call, &more).await?;
    // The target is the clone, so what it is made from is compared here.
    let expected = call
        .expected_target
        .and_then(|target| target.get("source")?.as_str());
    if expected.is_some_and(|expected| expected != source.reference.id) {
        return Err(Failure::new(
            "target.changed",
            "Prepare the call again and look at its source: it is not the VM that was meant before",
        )
        .with("expected", expected.unwrap_or_default())
        .with("found", source.target(&call.server)));
    }
    Ok(source)
}

async fn make(
    call: &Call<'_>,
    source: Machine,
    refusal: Option<Failure>,
) -> Result<Map<String, Value>, Failure> {
    let wanted = call.arguments.text("name").unwrap_or_default();
    let folder = folder(call, &source).await?;
    let host = destination::host(call).await?;
    let datastore = destination::datastore(call).await?;
    let present = source.reference_at("resourcePool");
    let mut pool = destination::pool(call, None).await?;
    if let (None, Some(host)) = (&pool, &host) {
        pool = destination::pool_at_host(call, host, present.as_ref()).await?;
    }
    let snapshot = chosen(call, &source)?;
    let found = made::under_key(call, wanted).await?;
    let mut refusal = source
        .unfit()
        .or(refusal)
        .or_else(|| destination::unfit(host.as_ref(), datastore.as_ref()));
    if found.is_none() {
        refusal = name::taken(call, &folder.reference, wanted, None)
            .await?
            .or(refusal);
    } else {
        refusal = None;
    }
    let mut target = made::target(call, &folder, wanted);
    target["source"] = json!(guard::text::sanitize(&source.reference.id));
    let exists = |is: bool| Map::from_iter([("exists".to_owned(), json!(is))]);
    let mut after = exists(true);
    after.insert("name".to_owned(), json!(shown_name(wanted)));
    let power_on = call.arguments.flag("power_on");
    let mut warnings = warnings(call, &source, datastore.as_ref());
    if found.is_some() {
        warnings.push("It was made before under this key: it is found, not made twice".to_owned());
    }
    let plan = Plan {
        target,
        changed: true,
        before: exists(false),
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
        extra: Map::from_iter([("source".to_owned(), source.target(&call.server))]),
    };
    let linked = call.arguments.flag("linked");
    let spec = CloneSpec {
        location: Relocate {
            datastore: datastore.map(|datastore| datastore.reference),
            disk_move_type: match (&snapshot, linked) {
                (Some(_), true) => Some("createNewChildDiskBacking"),
                // Without it the clone could share disks with what it is made from.
                (Some(_), false) => Some("moveAllDiskBackingsAndDisallowSharing"),
                (None, _) => None,
            },
            pool,
            host: host.map(|host| host.reference),
            disks: Vec::new(),
        },
        snapshot,
        power_on,
        extra_config: made::mark(call.key),
    };
    let deed = Make {
        found,
        source: source.reference,
        folder: folder.reference,
        name: wanted.to_owned(),
        spec,
    };
    change::carry_out(call, plan, deed).await
}

/// Where the clone will lie: where the call says, else beside what it is made from.
async fn folder(call: &Call<'_>, source: &Machine) -> Result<Found, Failure> {
    if let Some(folder) = destination::folder(call).await? {
        return Ok(folder);
    }
    match destination::parent(&source.object) {
        Some(parent) => destination::by_reference(call, &parent).await,
        None => Err(Failure::new(
            "argument.missing",
            "Pass `folder`: what it is made from lies in no folder, as a VM of a vApp does",
        )
        .with("argument", "folder")),
    }
}

/// The snapshot that it is made from, if the call names one.
fn chosen(call: &Call<'_>, source: &Machine) -> Result<Option<MoRef>, Failure> {
    if snapshot::check(call.arguments).is_err() {
        return Ok(None);
    }
    let tree = Tree::of(&source.object);
    match tree.choose(call.arguments)? {
        Some(at) => Ok(Some(tree.all[at].reference())),
        None => Err(tree.not_found(call.arguments)),
    }
}

fn warnings(call: &Call<'_>, source: &Machine, datastore: Option<&Found>) -> Vec<String> {
    let mut warnings = source.warnings();
    warnings.retain(|warning| warning != "It is a template");
    if call.arguments.flag("linked") {
        warnings.push(
            "A linked clone lives on the disks of what it is made from: it dies with them"
                .to_owned(),
        );
    } else if let (Some(datastore), Some(used)) = (datastore, source.whole(USED)) {
        let free = datastore.object.get("summary.freeSpace");
        if let Some(free) = free.and_then(vsphere::Value::as_i64)
            && free < used
        {
            warnings.push(format!(
                "It may not fit: {used} bytes are used, and {free} are free on {}",
                datastore.name()
            ));
        }
    }
    let devices = source.object.get(DEVICES);
    let mut devices = devices.into_iter().flat_map(vsphere::Value::items);
    if devices.any(|device| device.type_name() == Some("VirtualTPM")) {
        warnings.push("Its virtual TPM is copied, with the secrets in it".to_owned());
    }
    warnings
}

struct Make {
    found: Option<MoRef>,
    source: MoRef,
    folder: MoRef,
    name: String,
    spec: CloneSpec,
}

impl Deed for Make {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let undo = made::deletion(call, &self.name);
        if let Some(found) = &self.found {
            let mut done = made::done(call, found, undo, None).await;
            done.extra.insert("found_under_key".to_owned(), json!(true));
            return Ok(done);
        }
        let sent = name::sent(&self.name);
        let start = call
            .session
            .clone_vm(&self.source, &self.folder, &sent, &self.spec);
        let (ended, task) = change::through_task(call, "CloneVM_Task", &self.source, start).await?;
        let made = match ended {
            Ended::Success(result) => result.and_then(|value| value.as_moref()),
            Ended::Forgotten => None,
        };
        // Without a reference in the answer, the key finds it.
        let made = match made {
            Some(made) => Some(made),
            None => made::under_key(call, &self.name)
                .await
                .map_err(|failure| call.sent.mark(failure))?,
        };
        match made {
            Some(made) => Ok(made::done(call, &made, undo, task).await),
            None => Err(change::forgotten("CloneVM_Task", &task)),
        }
    }
}
