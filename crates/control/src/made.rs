//! VMs that a call makes: they bear its key, and their undo names them and no other.

use serde_json::{Map, Value, json};
use vsphere::{MoRef, Object};

use crate::call::Call;
use crate::change::{self, Done, Undo, Verify};
use crate::destination::path_in;
use crate::failure::Failure;
use crate::machine::{VM, look, named, shown_name};
use crate::object::Found;

/// The key of `config.extraConfig` that holds the key of the call which made the VM.
const KEY: &str = "pilothouse.key";

/// Where it is read.
pub(crate) const EXTRA: &str = "config.extraConfig";

/// What a new machine bears. A clone inherits its source's key, so there is always something to
/// write: without a key of our own, the inherited one is taken away.
pub(crate) fn mark(key: Option<&str>) -> Vec<(String, String)> {
    vec![(KEY.to_owned(), key.unwrap_or_default().to_owned())]
}

/// Whether a machine that was read with [`EXTRA`] was made under this key.
pub(crate) fn bears(object: &Object, key: &str) -> bool {
    let options = object.get(EXTRA);
    options
        .into_iter()
        .flat_map(vsphere::Value::items)
        .any(|option| option.text_at("key") == Some(KEY) && option.text_at("value") == Some(key))
}

/// Of all machines of this name, the one that was made under the call's key.
pub(crate) async fn under_key(call: &Call<'_>, name: &str) -> Result<Option<MoRef>, Failure> {
    let Some(key) = call.key else { return Ok(None) };
    Ok(with_key(call, name, key).await?.into_iter().next())
}

/// All machines of this name that were made under this key.
pub(crate) async fn with_key(
    call: &Call<'_>,
    name: &str,
    key: &str,
) -> Result<Vec<MoRef>, Failure> {
    let mut found = Vec::new();
    for reference in named(call.session, name).await? {
        let object = crate::machine::reread(call.session, &reference, &[EXTRA]).await?;
        if object.is_some_and(|object| bears(&object, key)) {
            found.push(reference);
        }
    }
    Ok(found)
}

/// A read that counts the machines of this name, before and after one more. `found` says that the
/// one is there already.
pub(crate) async fn counted(call: &Call<'_>, name: &str, found: bool) -> Result<Verify, Failure> {
    let before = named(call.session, name).await?.len() - usize::from(found);
    let mut arguments = Map::from_iter([("action".to_owned(), json!("list_vms"))]);
    arguments.insert("vm_name".to_owned(), json!(shown_name(name)));
    arguments.extend(crate::connection::same_way(call.arguments));
    let pointed = |total: usize| Map::from_iter([("/total".to_owned(), json!(total))]);
    Ok(Verify {
        arguments,
        before: pointed(before),
        after: pointed(before + 1),
    })
}

/// The `target` of a call that makes a machine: the place where it will be.
pub(crate) fn target(call: &Call<'_>, folder: &Found, name: &str) -> Value {
    json!({
        "server": call.server,
        "type": VM,
        "name": shown_name(name),
        "path": path_in(folder, name),
    })
}

/// The call that deletes what this call makes; before it is there, it is known by name and key.
pub(crate) fn deletion(call: &Call<'_>, name: &str) -> Map<String, Value> {
    let mut arguments = Map::from_iter([("action".to_owned(), json!("delete"))]);
    arguments.insert("vm_name".to_owned(), json!(shown_name(name)));
    if let Some(key) = call.key {
        arguments.insert("vm_key".to_owned(), json!(key));
    }
    arguments.extend(crate::connection::same_way(call.arguments));
    arguments
}

/// Makes an undo name exactly this machine.
pub(crate) fn pinned(undo: &mut Map<String, Value>, vm: &Map<String, Value>) {
    for name in ["moref", "instance_uuid"] {
        if let Some(value) = vm.get(name) {
            undo.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(name) = vm.get("name") {
        undo.insert("vm_name".to_owned(), name.clone());
    }
}

/// How a machine that was made is called and known.
pub(crate) async fn look_at(call: &Call<'_>, reference: &MoRef) -> Map<String, Value> {
    let paths = ["name", "summary.config.instanceUuid"];
    let object = look(call.session, reference, &paths).await;
    let mut vm = Map::from_iter([(
        "moref".to_owned(),
        json!(guard::text::sanitize(&reference.id)),
    )]);
    if let Some(object) = object {
        if let Some(uuid) = object.text(paths[1]).filter(|uuid| !uuid.is_empty()) {
            vm.insert(
                "instance_uuid".to_owned(),
                json!(guard::text::sanitize(uuid)),
            );
        }
        let name = shown_name(object.text("name").unwrap_or_default());
        vm.insert("name".to_owned(), json!(name));
    }
    vm
}

/// What came of making it.
pub(crate) async fn done(
    call: &Call<'_>,
    reference: &MoRef,
    mut undo: Map<String, Value>,
    task: impl Into<Option<String>>,
) -> Done {
    let vm = look_at(call, reference).await;
    pinned(&mut undo, &vm);
    Done {
        task: task.into(),
        undo: Some(Undo::conditional(
            undo,
            "It must be powered off for that; what was done with it since is lost",
        )),
        extra: Map::from_iter([("vm".to_owned(), Value::Object(vm))]),
        ..Done::default()
    }
}

/// The answer to a repeated attempt whose very machine is no longer there: the attempt before may
/// have taken it away.
pub(crate) fn gone_before(call: &Call<'_>, failure: &Failure) -> Option<Map<String, Value>> {
    let target = call.expected_target?;
    let named = target.get("moref")?.as_str();
    let is_it = named == call.arguments.text("moref")
        && target.get("server")?.as_str() == Some(&call.server);
    let is_repeated = call.is_repeated && !call.is_preview();
    (is_repeated && is_it && failure.code() == "vm.not_found").then(|| {
        let after = Map::from_iter([("registered".to_owned(), json!(false))]);
        change::found_done(call.row.word, Value::Object(target.clone()), after)
    })
}
