//! migrate: a VM goes to another host, to other datastores, or both.

use std::time::Duration;

use serde_json::{Map, Value, json};
use vsphere::{Fault, FilterSpec, MoRef, Outcome, Relocate, Wait};

use super::disk::DEVICES;
use crate::argument::Arguments;
use crate::call::Call;
use crate::change::{self, Deed, Done, Ended, Plan, Undo, Verify};
use crate::failure::Failure;
use crate::harm::{self, Level};
use crate::machine::{Machine, look};
use crate::object::{DATASTORE, Found};
use crate::{destination, expect, fault};

const HOST: &str = "runtime.host";
const FILE: &str = "summary.config.vmPathName";

/// How long the server may take to check whether it would do it.
const CHECK: Duration = Duration::from_secs(30);

/// How many findings of that check are shown.
const SHOWN: usize = 20;

/// What migrate checks of its arguments.
pub(crate) fn check(arguments: &Arguments) -> Result<(), Failure> {
    expect::check(arguments, &["host_system", "datastore"])?;
    let named = ["host_system", "datastore", "resource_pool"]
        .iter()
        .any(|name| arguments.text(name).is_some());
    let disks = arguments.fields("disk_datastores");
    for (key, value) in disks.into_iter().flatten() {
        if key.parse::<i64>().is_err() || !value.is_string() {
            return Err(Failure::new(
                "argument.wrong_type",
                "Pass `disk_datastores` as an object such as {\"2000\": \"datastore-12\"}: device keys, and the datastore of each",
            )
            .with("argument", "disk_datastores"));
        }
    }
    if named || disks.is_some_and(|disks| !disks.is_empty()) {
        return Ok(());
    }
    Err(Failure::new(
        "argument.missing",
        "Pass `host_system`, `datastore` or `resource_pool`: without one it is not clear where the VM is to go",
    )
    .with("argument", "host_system"))
}

/// Where a machine runs and is stored.
struct Place {
    host: Option<MoRef>,
    pool: Option<MoRef>,
    /// Where its own files are.
    home: Option<MoRef>,
    /// Where its disks are, by device key.
    disks: Vec<(i64, MoRef)>,
    /// The names of the datastores.
    names: Vec<(MoRef, String)>,
}

impl Place {
    async fn of(call: &Call<'_>, machine: &Machine) -> Result<Self, Failure> {
        let datastores: Vec<MoRef> = machine
            .object
            .get("datastore")
            .into_iter()
            .flat_map(vsphere::Value::items)
            .filter_map(vsphere::Value::as_moref)
            .collect();
        let mut names = Vec::new();
        if !datastores.is_empty() {
            let spec = FilterSpec::objects("Datastore", &datastores, &["name"]);
            let objects = call.session.collect(&[spec]).await;
            for object in objects.map_err(fault::failure)? {
                let name = object.text("name").unwrap_or_default().to_owned();
                names.push((object.reference, name));
            }
        }
        let file = machine.object.text(FILE).unwrap_or_default();
        let home = file
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
            .map(|(name, _)| name);
        let home = match names.as_slice() {
            // A simulator moves the machine and keeps the path.
            [(only, _)] => Some(only.clone()),
            several => several
                .iter()
                .find(|(_, name)| Some(name.as_str()) == home)
                .map(|(reference, _)| reference.clone()),
        };
        let devices = machine.object.get(DEVICES);
        let disks = devices
            .into_iter()
            .flat_map(vsphere::Value::items)
            .filter(|device| device.type_name() == Some("VirtualDisk"))
            .filter_map(|device| {
                let key = device.get("key")?.as_i64()?;
                let datastore = device.at("backing.datastore")?.as_moref()?;
                datastores.contains(&datastore).then_some((key, datastore))
            })
            .collect();
        Ok(Self {
            host: machine.reference_at(HOST),
            pool: machine.reference_at("resourcePool"),
            home,
            disks,
            names,
        })
    }

    fn name_of(&self, datastore: &MoRef) -> Option<String> {
        self.names
            .iter()
            .find(|(reference, _)| reference == datastore)
            .map(|(_, name)| guard::text::sanitize(name))
    }

    /// Whether everything of the machine is on this datastore.
    fn is_all_on(&self, datastore: &MoRef) -> bool {
        self.home.as_ref() == Some(datastore) && self.disks.iter().all(|(_, at)| at == datastore)
    }

    /// The arguments that lead back here from where the call leads.
    fn way_back(&self, spec: &Relocate) -> Map<String, Value> {
        let mut back = Map::new();
        if let (Some(host), Some(_)) = (&self.host, &spec.host) {
            back.insert("host_system".to_owned(), json!(host.id));
        }
        if let (Some(pool), Some(_)) = (&self.pool, &spec.pool) {
            back.insert("resource_pool".to_owned(), json!(pool.id));
        }
        if spec.datastore.is_some() || !spec.disks.is_empty() {
            if let Some(home) = &self.home {
                back.insert("datastore".to_owned(), json!(home.id));
            }
            let elsewhere: Map<String, Value> = self
                .disks
                .iter()
                .filter(|(_, at)| Some(at) != self.home.as_ref())
                .map(|(key, at)| (key.to_string(), json!(at.id)))
                .collect();
            if !elsewhere.is_empty() {
                back.insert("disk_datastores".to_owned(), Value::Object(elsewhere));
            }
        }
        back
    }
}

/// Moves a machine.
pub(crate) async fn change(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let more = [HOST, "resourcePool", "datastore", FILE, DEVICES];
    let machine = Machine::find(call, &more).await?;
    let place = Place::of(call, &machine).await?;
    let host = destination::host(call).await?;
    let datastore = destination::datastore(call).await?;
    let harm = harm::check(call, &machine, Level::Hardware).await?;
    let mut refusal = machine
        .unfit()
        .or_else(|| destination::unfit(host.as_ref(), datastore.as_ref()))
        .or_else(|| harm.refusal(call));
    let spec = spec(call, &place, host.as_ref(), datastore.as_ref()).await?;
    let changed = spec != Relocate::default();
    let mut before = Map::new();
    let mut after = Map::new();
    let mut verify = None;
    if let (Some(host), Some(_)) = (&host, &spec.host) {
        let now = host_name(call, place.host.as_ref()).await?;
        before.insert("host_system".to_owned(), json!(now));
        after.insert("host_system".to_owned(), json!(host.name()));
        let pointed = |name: &str| Map::from_iter([("/vm/host".to_owned(), json!(name))]);
        verify = Some(Verify {
            arguments: machine.arguments(call, "get_vm"),
            before: pointed(&now),
            after: pointed(&host.name()),
        });
    }
    if let (Some(datastore), Some(_)) = (&datastore, &spec.datastore) {
        let home = place.home.as_ref().and_then(|home| place.name_of(home));
        before.insert("datastore".to_owned(), json!(home));
        after.insert("datastore".to_owned(), json!(datastore.name()));
    }
    for disk in &spec.disks {
        let named = format!("disk_{}_datastore", disk.key);
        let was = place.disks.iter().find(|(key, _)| *key == disk.key);
        before.insert(named.clone(), json!(was.map(|(_, at)| at.id.as_str())));
        after.insert(named, json!(disk.datastore.id));
    }
    if let Some(pool) = &spec.pool {
        let was = place.pool.as_ref().map(|pool| pool.id.as_str());
        before.insert("resource_pool".to_owned(), json!(was));
        after.insert("resource_pool".to_owned(), json!(pool.id));
    }
    let target = machine.target(&call.server);
    let mut warnings = machine.warnings();
    warnings.extend(harm.warnings(call));
    if changed {
        let found = Map::from_iter([
            (
                "host_system".to_owned(),
                json!(place.host.as_ref().map(|host| host.id.as_str())),
            ),
            (
                "datastore".to_owned(),
                json!(place.home.as_ref().map(|home| home.id.as_str())),
            ),
        ]);
        refusal = expect::moved(call.arguments, &found, &target).or(refusal);
        if refusal.is_none() {
            match checked(call, &machine.reference, &spec).await {
                Checked::Fits(notes) => warnings.extend(notes),
                Checked::Unknown(why) => warnings.push(why),
                Checked::Refused(failure) => refusal = Some(*failure),
            }
        }
    }
    let mut undo = machine.arguments(call, "migrate");
    let way_back = place.way_back(&spec);
    let is_known = !way_back.is_empty();
    undo.extend(way_back);
    let mut expected = Map::new();
    if let Some(host) = &spec.host {
        expected.insert("host_system".to_owned(), json!(host.id));
    }
    if let Some(datastore) = &spec.datastore {
        expected.insert("datastore".to_owned(), json!(datastore.id));
    }
    if !expected.is_empty() {
        undo.insert("expect".to_owned(), Value::Object(expected));
    }
    let plan = Plan {
        target,
        changed,
        before,
        after,
        undo: if is_known {
            Undo::lossy(
                undo,
                "Disks may be thin or thick and lie in a directory as the server then chooses; DRS may have moved it since",
            )
        } else {
            Undo::none("Where it was cannot be read")
        },
        verify,
        warnings,
        refusal,
        extra: Map::from_iter([("hangs_on_it".to_owned(), Value::Object(harm.shown()))]),
    };
    let deed = Migrate {
        machine: machine.reference,
        spec,
    };
    change::carry_out(call, plan, deed).await
}

async fn host_name(call: &Call<'_>, host: Option<&MoRef>) -> Result<String, Failure> {
    let Some(host) = host else {
        return Ok(String::new());
    };
    let object = call.session.properties(host, &["name"]).await;
    let object = object.map_err(fault::failure)?;
    let name = object.as_ref().and_then(|object| object.text("name"));
    Ok(crate::machine::shown_name(name.unwrap_or(&host.id)))
}

/// What of the wanted place is another than the present one.
async fn spec(
    call: &Call<'_>,
    place: &Place,
    host: Option<&Found>,
    datastore: Option<&Found>,
) -> Result<Relocate, Failure> {
    let mut spec = Relocate::default();
    let named = destination::pool(call, None).await?;
    spec.pool = named.filter(|pool| place.pool.as_ref() != Some(pool));
    if let Some(host) = host
        && place.host.as_ref() != Some(&host.reference)
    {
        spec.host = Some(host.reference.clone());
        if call.arguments.text("resource_pool").is_none() {
            spec.pool = destination::pool_at_host(call, host, place.pool.as_ref()).await?;
        }
    }
    for (key, value) in call
        .arguments
        .fields("disk_datastores")
        .into_iter()
        .flatten()
    {
        let key = key.parse().unwrap_or_default();
        let text = value.as_str().unwrap_or_default();
        let found = Found::named(call, &DATASTORE, text, &[]).await?;
        let Some((_, at)) = place.disks.iter().find(|(disk, _)| *disk == key) else {
            return Err(Failure::new(
                "argument.out_of_range",
                format!("Name the disks in `disk_datastores` by their device keys: the VM has no disk {key}"),
            )
            .with("argument", "disk_datastores")
            .with(
                "allowed",
                place.disks.iter().map(|(key, _)| json!(key)).collect::<Vec<_>>(),
            ));
        };
        if *at != found.reference || datastore.is_some() {
            spec.disks.push(vsphere::Disk {
                key,
                datastore: found.reference,
            });
        }
    }
    if let Some(datastore) = datastore {
        let moves = !place.is_all_on(&datastore.reference) || !spec.disks.is_empty();
        spec.datastore = moves.then(|| datastore.reference.clone());
    }
    Ok(spec)
}

/// What the server says of a migration before it is sent.
enum Checked {
    /// It would do it; with what it warns of.
    Fits(Vec<String>),
    /// It would refuse it.
    Refused(Box<Failure>),
    /// It did not say.
    Unknown(String),
}

async fn checked(call: &Call<'_>, vm: &MoRef, spec: &Relocate) -> Checked {
    let unknown =
        |why: &str| Checked::Unknown(format!("The server did not check it beforehand: {why}"));
    let task = match call.session.check_relocate(vm, spec).await {
        Ok(Some(task)) => task,
        Ok(None) => return unknown("it has no means to"),
        Err(error) => return unknown(fault::failure(error).message()),
    };
    let wait = Wait {
        limit: CHECK.min(call.left()),
        vm: None,
    };
    match call.session.wait(&task, &wait).await {
        Ok(Outcome::Success(result)) => results(&result.unwrap_or_default()),
        Ok(Outcome::Failed(fault)) => {
            unknown(fault::refused("CheckRelocate_Task", &fault).message())
        }
        Ok(_) => unknown("it took too long"),
        Err(error) => unknown(fault::failure(error).message()),
    }
}

fn results(result: &vsphere::Value) -> Checked {
    let of = |name: &'static str| -> Vec<Fault> {
        result
            .items()
            .flat_map(|check| check.all(name))
            .map(Fault::from_localized)
            .take(SHOWN)
            .collect()
    };
    let said = |fault: &Fault| {
        guard::text::sanitize_to(&format!("{}: {}", fault.kind, fault.message), 300)
    };
    let errors = of("error");
    let Some(first) = errors.first() else {
        return Checked::Fits(of("warning").iter().map(said).collect());
    };
    let failure = Failure::new(
        "vsphere.migration_fault",
        format!(
            "Remove what is in the way, or choose another host or datastore: the server would refuse it: {}",
            said(first)
        ),
    )
    .with("errors", errors.iter().map(said).map(Value::from).collect::<Vec<_>>());
    Checked::Refused(Box::new(failure))
}

struct Migrate {
    machine: MoRef,
    spec: Relocate,
}

impl Deed for Migrate {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let vm = &self.machine;
        let start = call.session.relocate(vm, &self.spec);
        let (ended, task) = change::through_task(call, "RelocateVM_Task", vm, start).await?;
        if matches!(ended, Ended::Forgotten) {
            let now = look(call.session, vm, &[HOST]).await;
            let host = now.as_ref().and_then(|now| now.get(HOST)?.as_moref());
            // Where only the storage moved, the host tells nothing.
            if self.spec.host.is_none() || host != self.spec.host {
                return Err(change::forgotten("RelocateVM_Task", &task));
            }
        }
        Ok(Done {
            task: Some(task),
            ..Done::default()
        })
    }
}
