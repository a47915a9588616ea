//! The virtual machine that a call is about: found, identified, and read (C9).
//!
//! Its identity is (id of the server, managed object reference, instance UUID). A name is
//! only a way to find it; several of one name are never chosen among.

mod find;
mod path;

use std::time::Duration;

use policy::answer::ErrorEffect;
use serde_json::{Map, Value, json};
use vsphere::{FilterSpec, MoRef, Object, Question, Session};

use crate::call::Call;
use crate::failure::Failure;
use crate::table::Action;
use crate::{fault, made};

pub(crate) use find::{by_name as named, by_path, by_uuid, decoded, missing_identifier};
pub(crate) use path::Containers;

/// The type of a virtual machine in the vSphere API.
pub(crate) const VM: &str = "VirtualMachine";

/// What is read of a machine before anything is done to it.
const PATHS: &[&str] = &[
    "name",
    "parent",
    "parentVApp",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.question",
    "runtime.consolidationNeeded",
    "runtime.faultToleranceState",
    "summary.config.instanceUuid",
    "summary.config.uuid",
    "summary.config.template",
    "summary.config.managedBy",
    "disabledMethod",
    "config.changeVersion",
];

/// How long a look after a change may take: shorter than the time that a call is given beyond its
/// own to say how far it came.
pub(crate) const LOOK: Duration = Duration::from_secs(2);

/// A machine as it was read just now.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) reference: MoRef,
    /// Its properties: those of every read, and those that were asked for.
    pub(crate) object: Object,
    /// Where it lies, as `/DC0/vm/web01`.
    pub(crate) path: String,
}

impl Machine {
    /// Finds the machine that the call names, reads it with `more` properties, and checks
    /// that it is the expected one.
    ///
    /// # Errors
    ///
    /// `vm.not_found`, `vm.ambiguous`, `vm.identifiers_disagree`, `target.changed`; those
    /// of the server.
    pub(crate) async fn find(call: &Call<'_>, more: &[&str]) -> Result<Self, Failure> {
        let reference = find::locate(call).await?;
        let by_key = call.arguments.text("vm_key").map(|_| made::EXTRA);
        let mut paths: Vec<&str> = PATHS.iter().chain(more).copied().chain(by_key).collect();
        paths.sort_unstable();
        paths.dedup();
        let (object, path) = read_with_path(call, &reference, &paths).await?;
        let machine = Self {
            reference,
            object,
            path,
        };
        find::check_identity(call, &machine)?;
        let version = machine.object.text("config.changeVersion");
        call.sent.about(&machine.reference, version);
        Ok(machine)
    }

    /// Its name as people write it.
    pub(crate) fn name(&self) -> String {
        shown_name(self.object.text("name").unwrap_or_default())
    }

    /// Its instance UUID; empty if the server keeps none.
    pub(crate) fn instance_uuid(&self) -> String {
        guard::text::sanitize(
            self.object
                .text("summary.config.instanceUuid")
                .unwrap_or_default(),
        )
    }

    /// The id of its reference.
    fn moref(&self) -> String {
        guard::text::sanitize(&self.reference.id)
    }

    /// `poweredOn`, `poweredOff` or `suspended`, as the server says.
    pub(crate) fn power_state(&self) -> String {
        guard::text::sanitize(self.object.text("runtime.powerState").unwrap_or("unknown"))
    }

    /// A property as a whole number.
    pub(crate) fn whole(&self, path: &str) -> Option<i64> {
        self.object.get(path).and_then(vsphere::Value::as_i64)
    }

    /// A property as a flag; false if it is unset.
    pub(crate) fn flag(&self, path: &str) -> bool {
        self.object
            .get(path)
            .and_then(vsphere::Value::as_bool)
            .unwrap_or(false)
    }

    /// A property that refers to another object.
    pub(crate) fn reference_at(&self, path: &str) -> Option<MoRef> {
        self.object.get(path).and_then(vsphere::Value::as_moref)
    }

    /// The question that it waits for an answer to, if there is one.
    pub(crate) fn question(&self) -> Option<Question> {
        self.object
            .get("runtime.question")
            .and_then(Question::from_value)
    }

    /// The `target` of previews and answers.
    pub(crate) fn target(&self, server: &str) -> Value {
        json!({
            "server": server,
            "type": VM,
            "moref": self.moref(),
            "instance_uuid": self.instance_uuid(),
            "name": self.name(),
            "path": self.path,
        })
    }

    /// The arguments that name exactly this machine, the same way as the call came.
    pub(crate) fn arguments(&self, call: &Call<'_>, action: &str) -> Map<String, Value> {
        let mut arguments = Map::new();
        arguments.insert("action".to_owned(), json!(action));
        arguments.insert("moref".to_owned(), json!(self.moref()));
        if !self.instance_uuid().is_empty() {
            arguments.insert("instance_uuid".to_owned(), json!(self.instance_uuid()));
        }
        // An undo takes back what was done to this very machine: what hangs on it in any case does not
        // stand in its way.
        let mut standing = crate::harm::standing(self);
        standing.extend(crate::action::accepted_of_the_host(call.arguments));
        let takes_it = Action::find(action).is_some_and(|row| row.takes("override"));
        if takes_it && !standing.is_empty() {
            arguments.insert("override".to_owned(), json!(standing));
        }
        arguments.extend(crate::connection::same_way(call.arguments));
        arguments
    }

    /// Why no change would be taken now, whatever the action.
    ///
    /// `vm.unreadable`: without its state nobody can say what a change would do.
    /// `vm.not_connected`: values of a disconnected machine look alive and are not.
    /// `vm.question`: it waits for an answer, and would hang any task.
    pub(crate) fn unfit(&self) -> Option<Failure> {
        for (path, what) in [
            ("runtime.powerState", "power state"),
            ("runtime.connectionState", "connection state"),
        ] {
            if self.object.is_unreadable(path) {
                return Some(Failure::new(
                    "vm.unreadable",
                    format!(
                        "Let the user read the VM: its {what} cannot be read, so it is not changed"
                    ),
                ));
            }
        }
        let connection = self
            .object
            .text("runtime.connectionState")
            .unwrap_or("connected");
        if connection != "connected" {
            let shown = guard::text::sanitize(connection);
            return Some(
                Failure::new(
                    "vm.not_connected",
                    format!("Bring the VM's host back first: the VM is {shown}, and what the server shows of it may be old"),
                )
                .with("connection_state", shown),
            );
        }
        self.question()
            .map(|question| asked(&question, ErrorEffect::None))
    }

    /// What a person should know before changing it, whatever the action.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(manager) = self
            .object
            .get("summary.config.managedBy")
            .and_then(|by| by.text_at("extensionKey"))
        {
            warnings.push(format!(
                "It is managed by `{}`, which may undo the change or be harmed by it",
                guard::text::sanitize_to(manager, 80)
            ));
        }
        if self.flag("summary.config.template") {
            warnings.push("It is a template".to_owned());
        }
        warnings
    }
}

/// Reads a machine and what it lies in, in one call; only that, however large the inventory is.
async fn read_with_path(
    call: &Call<'_>,
    reference: &MoRef,
    paths: &[&str],
) -> Result<(Object, String), Failure> {
    let root = call.session.content().need("rootFolder");
    let root = root.map_err(fault::failure)?;
    let (types, above) = (Containers::OF_MACHINES, Containers::PATHS);
    let spec = FilterSpec::vm_and_above(reference, paths, types, above);
    let mut objects = match call.session.collect(&[spec]).await {
        Err(error) if error.is_fault("ManagedObjectNotFound") => Vec::new(),
        other => other.map_err(fault::failure)?,
    };
    let at = objects
        .iter()
        .position(|object| object.reference == *reference && is_machine(object));
    let object = at
        .map(|at| objects.swap_remove(at))
        .ok_or_else(|| find::not_found(call.arguments))?;
    let path = Containers::of(objects, &root).path_of(&object);
    Ok((object, path))
}

/// A machine that waits for an answer.
pub(crate) fn asked(question: &Question, effect: ErrorEffect) -> Failure {
    let choices: Vec<Value> = question
        .choices
        .iter()
        .take(20)
        .map(|(key, label)| json!({ "key": key, "label": label }))
        .collect();
    Failure::new(
        "vm.question",
        format!(
            "Answer the VM's question first (`answer_question`): {}",
            question.text
        ),
    )
    .leaving(effect)
    .with(
        "question",
        json!({ "id": question.id, "text": question.text, "choices": choices }),
    )
}

/// A name as people write it, safe to show.
pub(crate) fn shown_name(raw: &str) -> String {
    guard::text::sanitize(&decoded(raw))
}

/// Whether the server really knows a machine by this reference.
fn is_machine(object: &Object) -> bool {
    object.get("runtime.powerState").is_some() || object.is_unreadable("runtime.powerState")
}

/// How a machine is after a change, if that can be seen soon: the change is done, and neither an
/// error nor a server that is slow now may hide that.
pub(crate) async fn look(session: &Session, reference: &MoRef, paths: &[&str]) -> Option<Object> {
    let seen = tokio::time::timeout(LOOK, reread(session, reference, paths)).await;
    seen.ok()?.ok()?
}

/// Reads a few properties of a machine that is known to be there.
pub(crate) async fn reread(
    session: &Session,
    reference: &MoRef,
    paths: &[&str],
) -> Result<Option<Object>, Failure> {
    session
        .properties(reference, paths)
        .await
        .map_err(fault::failure)
}
