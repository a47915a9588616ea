//! enter_maintenance, exit_maintenance, reconnect_host.

use serde_json::{Map, Value, json};
use vsphere::{Evacuation, FilterSpec, MoRef, Object};

use crate::call::Call;
use crate::change::{self, Deed, Done, Ended, Plan, Undo, Verify};
use crate::failure::Failure;
use crate::fault;
use crate::machine::{VM, look, reread, shown_name};
use crate::object::{Found, HOST};
use crate::table::Action;
use policy::answer::ErrorEffect;

const MAINTENANCE: &str = "runtime.inMaintenanceMode";
const CONNECTION: &str = "runtime.connectionState";
const VSAN: &str = "config.vsanHostConfig.enabled";
const CONNECTED: &str = "connected";

/// What is read of a host before it enters maintenance.
const PATHS: &[&str] = &[MAINTENANCE, CONNECTION, VSAN, "vm"];

/// How many VMs are named.
const SHOWN: usize = 20;

fn flag(object: &Object, path: &str) -> Option<bool> {
    object.get(path).and_then(vsphere::Value::as_bool)
}

fn maintenance(is_in: bool) -> Map<String, Value> {
    Map::from_iter([("in_maintenance".to_owned(), json!(is_in))])
}

/// A read that shows one host, with what it shows there before and after; none as long as no
/// action of the table does.
fn seen_at(
    call: &Call<'_>,
    host: &Found,
    field: &str,
    before: Value,
    after: Value,
) -> Option<Verify> {
    const LOOK: &str = "get_host";
    Action::find(LOOK)?;
    let pointed = |value: Value| Map::from_iter([(format!("/host/{field}"), value)]);
    Some(Verify {
        arguments: host.arguments(call, &HOST, LOOK),
        before: pointed(before),
        after: pointed(after),
    })
}

/// Why a host would not take the change now.
fn unfit(host: &Found) -> Option<Failure> {
    for path in [MAINTENANCE, CONNECTION] {
        if host.object.is_unreadable(path) {
            return Some(Failure::new(
                "vsphere.no_permission",
                format!(
                    "Let the user read the host: its {path} cannot be read, so it is not changed"
                ),
            ));
        }
    }
    let state = connection(&host.object);
    (state != CONNECTED).then(|| {
        Failure::new(
            "vsphere.host_not_connected",
            format!("Reconnect the host first, with `reconnect_host`: it is {state}, and what the server shows of it may be old"),
        )
        .with("connection_state", state)
    })
}

fn connection(object: &Object) -> String {
    guard::text::sanitize_to(object.text(CONNECTION).unwrap_or(CONNECTED), 40)
}

/// The VMs on a host.
#[derive(Debug, Default)]
struct Guests {
    /// Names of those that run.
    running: Vec<String>,
    /// How many do not.
    resting: usize,
}

impl Guests {
    async fn read(call: &Call<'_>, host: &Object) -> Result<Self, Failure> {
        let references: Vec<MoRef> = host
            .get("vm")
            .map(|list| list.items().filter_map(vsphere::Value::as_moref).collect())
            .unwrap_or_default();
        let mut guests = Self::default();
        for some in references.chunks(500) {
            let spec = FilterSpec::objects(VM, some, &["name", "runtime.powerState"]);
            let objects = call
                .session
                .collect(&[spec])
                .await
                .map_err(fault::failure)?;
            for object in objects.iter().filter(|object| !object.is_gone()) {
                if object.text("runtime.powerState") == Some("poweredOn") {
                    let name = object.text("name").unwrap_or_default();
                    guests.running.push(shown_name(name));
                } else {
                    guests.resting += 1;
                }
            }
        }
        guests.running.sort();
        Ok(guests)
    }

    fn shown(&self) -> Value {
        json!({
            "running": self.running.len(),
            "not_running": self.resting,
            "running_names": self.running.iter().take(SHOWN).collect::<Vec<_>>(),
        })
    }
}

/// Who moves the VMs of a host away when it enters maintenance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mover {
    /// DRS, by itself.
    Drs,
    /// DRS asks a person, or is off.
    Person { drs: &'static str },
    /// There is no cluster to move them in.
    Nobody,
}

impl Mover {
    /// The mover, and what else the cluster makes worth saying.
    async fn read(call: &Call<'_>, host: &Found) -> Result<(Self, Vec<String>), Failure> {
        let parent = host
            .object
            .get("parent")
            .and_then(vsphere::Value::as_moref)
            .filter(|parent| parent.kind == "ClusterComputeResource");
        let Some(cluster) = parent else {
            return Ok((Self::Nobody, Vec::new()));
        };
        let object = reread(call.session, &cluster, &["configurationEx", "host"]).await?;
        let Some(object) = object else {
            return Ok((Self::Nobody, Vec::new()));
        };
        let config = object.get("configurationEx");
        let at = |path: &str| config.and_then(|config| config.at(path));
        let is = |path: &str| at(path).and_then(vsphere::Value::as_bool) == Some(true);
        let mut warnings = Vec::new();
        let hosts = object.get("host").map_or(0, |list| list.items().count());
        if hosts < 2 {
            warnings.push(
                "It is the only host of its cluster: there is none to move VMs to".to_owned(),
            );
        }
        if is("dasConfig.enabled") && is("dasConfig.admissionControlEnabled") {
            warnings.push(
                "vSphere HA reserves capacity for failover: its admission control may keep VMs from being moved".to_owned(),
            );
        }
        let level = at("drsConfig.defaultVmBehavior").map(vsphere::Value::text);
        let mover = match (is("drsConfig.enabled"), level) {
            (false, _) => Self::Person { drs: "off" },
            (true, Some("fullyAutomated")) => Self::Drs,
            (true, Some("manual")) => Self::Person { drs: "manual" },
            (true, _) => Self::Person {
                drs: "partially automated",
            },
        };
        Ok((mover, warnings))
    }

    fn word(self) -> &'static str {
        match self {
            Self::Drs => "drs",
            Self::Person { .. } => "a person",
            Self::Nobody => "nobody",
        }
    }

    fn warning(self, running: usize) -> Option<String> {
        if running == 0 {
            return None;
        }
        Some(match self {
            Self::Drs => format!("{running} VMs run on it: DRS moves them to other hosts"),
            Self::Person { drs } => format!(
                "{running} VMs run on it and DRS is {drs}: it waits until somebody moves or stops them, and gives up when its time is over"
            ),
            Self::Nobody => format!(
                "{running} VMs run on it, and a host outside of a cluster never moves them away: it waits until somebody stops them, and gives up when its time is over"
            ),
        })
    }
}

/// Brings a host into maintenance.
pub(crate) async fn enter(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let host = Found::target_of(call, &HOST, PATHS).await?;
    let is_in = flag(&host.object, MAINTENANCE) == Some(true);
    let (guests, mover) = tokio::join!(Guests::read(call, &host.object), Mover::read(call, &host));
    let (guests, (mover, mut warnings)) = (guests?, mover?);
    let running = guests.running.len();
    warnings.splice(0..0, mover.warning(running));
    let evacuation = Evacuation {
        powered_off: call.arguments.flag("evacuate_powered_off"),
        vsan: call.arguments.text("vsan_mode").map(str::to_owned),
    };
    if guests.resting > 0 && !(evacuation.powered_off && mover == Mover::Drs) {
        warnings.push(format!(
            "{} VMs that do not run stay on it, and cannot be started until it leaves maintenance",
            guests.resting
        ));
    }
    let vsan = flag(&host.object, VSAN) == Some(true);
    let vsan_unsaid = vsan && evacuation.vsan.is_none();
    let refusal = unfit(&host).or_else(|| {
        vsan_unsaid.then(|| {
            Failure::new(
                "host.vsan_mode_missing",
                "Pass `vsan_mode`: the host holds data of vSAN, and what becomes of it is not chosen for you (`ensureObjectAccessibility` keeps objects reachable, `evacuateAllData` moves everything, `noAction` moves nothing)",
            )
        })
    });
    let back = host.arguments(call, &HOST, "exit_maintenance");
    let undo = if running == 0 {
        Undo::exact(back)
    } else {
        Undo::lossy(
            back,
            "VMs that were moved away or stopped do not come back by themselves",
        )
    };
    let plan = Plan {
        target: host.target(&call.server),
        changed: !is_in,
        before: maintenance(is_in),
        after: maintenance(true),
        undo,
        verify: seen_at(call, &host, "in_maintenance", json!(is_in), json!(true)),
        warnings,
        refusal,
        extra: Map::from_iter([
            ("vms".to_owned(), guests.shown()),
            ("evacuated_by".to_owned(), json!(mover.word())),
        ]),
    };
    let deed = Enter {
        host: host.reference,
        evacuation,
        moves: running > 0 && mover == Mover::Drs,
    };
    change::carry_out(call, plan, deed).await
}

/// The time that the server is given: somewhat less than ours, so that it is the server that ends
/// the attempt, and says so. Never 0, which would be for ever.
fn server_timeout(call: &Call<'_>) -> u32 {
    let seconds = call.left().as_secs().saturating_sub(1).max(1);
    u32::try_from(seconds).unwrap_or(86_400)
}

/// Whether the host is in maintenance, if that can be seen soon.
async fn is_in_now(call: &Call<'_>, host: &MoRef) -> Option<bool> {
    let now = look(call.session, host, &[MAINTENANCE]).await?;
    flag(&now, MAINTENANCE)
}

struct Enter {
    host: MoRef,
    evacuation: Evacuation,
    /// Whether VMs may be moved on the way.
    moves: bool,
}

impl Deed for Enter {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        let start =
            call.session
                .enter_maintenance(&self.host, server_timeout(call), &self.evacuation);
        match change::through_task(call, "EnterMaintenanceMode_Task", &self.host, start).await {
            Ok((ended, task)) => {
                finished(
                    call,
                    &self.host,
                    true,
                    ended,
                    task,
                    "EnterMaintenanceMode_Task",
                )
                .await
            }
            // VMs that were moved before it failed stay where they are now.
            Err(failure) if self.moves && failure.effect() == ErrorEffect::None => {
                Err(failure.leaving(ErrorEffect::Partial))
            }
            Err(failure) => Err(failure),
        }
    }
}

async fn finished(
    call: &Call<'_>,
    host: &MoRef,
    wanted: bool,
    ended: Ended,
    task: String,
    method: &str,
) -> Result<Done, Failure> {
    let now = is_in_now(call, host).await;
    if matches!(ended, Ended::Forgotten) && now != Some(wanted) {
        return Err(change::forgotten(method, &task));
    }
    Ok(Done {
        after: now.map(maintenance),
        task: Some(task),
        ..Done::default()
    })
}

/// Brings a host out of maintenance.
pub(crate) async fn exit(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let host = Found::target_of(call, &HOST, &[MAINTENANCE, CONNECTION]).await?;
    let is_in = flag(&host.object, MAINTENANCE) == Some(true);
    let plan = Plan {
        target: host.target(&call.server),
        changed: is_in,
        before: maintenance(is_in),
        after: maintenance(false),
        undo: Undo::conditional(
            host.arguments(call, &HOST, "enter_maintenance"),
            "If the VMs that run there by then can be moved away",
        ),
        verify: seen_at(call, &host, "in_maintenance", json!(is_in), json!(false)),
        warnings: Vec::new(),
        refusal: unfit(&host),
        extra: Map::new(),
    };
    let deed = Exit {
        host: host.reference,
    };
    change::carry_out(call, plan, deed).await
}

struct Exit {
    host: MoRef,
}

impl Deed for Exit {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        const METHOD: &str = "ExitMaintenanceMode_Task";
        let start = call
            .session
            .exit_maintenance(&self.host, server_timeout(call));
        let (ended, task) = change::through_task(call, METHOD, &self.host, start).await?;
        finished(call, &self.host, false, ended, task, METHOD).await
    }
}

fn connected(state: &str) -> Map<String, Value> {
    Map::from_iter([("connection_state".to_owned(), json!(state))])
}

/// Connects a host again that the vCenter has lost or was told to leave.
pub(crate) async fn reconnect(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let host = Found::target_of(call, &HOST, &[CONNECTION, "summary.runtime.powerState"]).await?;
    let before = connection(&host.object);
    let mut warnings = Vec::new();
    if before == "notResponding" {
        warnings.push(
            "The vCenter gets no answer from it: reconnecting fails until the host is reachable again".to_owned(),
        );
    }
    let plan = Plan {
        target: host.target(&call.server),
        changed: before != CONNECTED,
        before: connected(&before),
        after: connected(CONNECTED),
        undo: Undo::none(
            "A host that is connected again is not disconnected: nothing is lost by it",
        ),
        verify: seen_at(
            call,
            &host,
            "connection_state",
            json!(before),
            json!(CONNECTED),
        ),
        warnings,
        refusal: None,
        extra: Map::new(),
    };
    let deed = Reconnect {
        host: host.reference,
    };
    change::carry_out(call, plan, deed).await
}

struct Reconnect {
    host: MoRef,
}

impl Deed for Reconnect {
    async fn perform(&self, call: &Call<'_>) -> Result<Done, Failure> {
        const METHOD: &str = "ReconnectHost_Task";
        let start = call.session.reconnect_host(&self.host);
        let (ended, task) = change::through_task(call, METHOD, &self.host, start).await?;
        let now = look(call.session, &self.host, &[CONNECTION])
            .await
            .map(|object| connection(&object));
        if matches!(ended, Ended::Forgotten) && now.as_deref() != Some(CONNECTED) {
            return Err(change::forgotten(METHOD, &task));
        }
        Ok(Done {
            after: now.as_deref().map(connected),
            task: Some(task),
            ..Done::default()
        })
    }
}
