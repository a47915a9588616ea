//! Which machine is meant: by reference, by UUID, or by name.

use std::ops::ControlFlow;

use serde_json::{Map, Value, json};
use vsphere::{FilterSpec, MoRef, Object, Session};

use super::{Containers, Machine, VM, path, shown_name};
use crate::argument::Arguments;
use crate::call::Call;
use crate::failure::{Failure, nearest};
use crate::listing::read::objects;
use crate::{fault, made};

/// How many of several are shown.
const SHOWN: usize = 20;

/// The refusal if the call names no machine at all.
pub(crate) fn missing_identifier(arguments: &Arguments) -> Option<Failure> {
    let named = ["vm_uuid", "vm_name", "vm_path", "moref"]
        .iter()
        .any(|name| arguments.text(name).is_some());
    (!named).then(|| {
        Failure::new(
            "vm.missing_identifier",
            "Pass `vm_uuid` (preferred) or `vm_name`: `list_vms` shows both; without one it is not clear which VM is meant",
        )
    })
}

/// The reference of the machine that the call names. Of several identifiers the most
/// exact one finds it; the others are compared by [`check_identity`].
pub(super) async fn locate(call: &Call<'_>) -> Result<MoRef, Failure> {
    let arguments = call.arguments;
    if let Some(moref) = arguments.text("moref") {
        return Ok(MoRef::new(VM, moref));
    }
    let by = |name| arguments.text(name);
    let found = match (by("vm_uuid"), by("vm_path"), by("vm_name")) {
        (Some(uuid), _, _) => by_uuid(call.session, uuid).await?,
        (None, Some(path), _) => by_path(call.session, path).await?,
        (None, None, Some(name)) => match by("vm_key") {
            Some(key) => made::with_key(call, name, key).await?,
            None => by_name(call.session, name).await?,
        },
        (None, None, None) => Vec::new(),
    };
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(unknown(call).await),
        several => Err(ambiguous(call.session, several).await?),
    }
}

/// All machines with this UUID: by instance UUID, and if there is none, by BIOS UUID.
pub(crate) async fn by_uuid(session: &Session, uuid: &str) -> Result<Vec<MoRef>, Failure> {
    // As servers write it, and then as it was given: not every server compares without regard to case.
    let lower = uuid.to_ascii_lowercase();
    let given = (lower != uuid).then_some(uuid);
    for instance in [true, false] {
        for spelling in [Some(lower.as_str()), given].into_iter().flatten() {
            let found = session
                .find_all_by_uuid(spelling, instance)
                .await
                .map_err(fault::failure)?;
            if !found.vms.is_empty() {
                return Ok(found.vms);
            }
        }
    }
    Ok(Vec::new())
}

/// All machines at this place of the inventory, as `/DC0/vm/web01`. A slash within a name is
/// written as `%2f`.
pub(crate) async fn by_path(session: &Session, path: &str) -> Result<Vec<MoRef>, Failure> {
    let Some(names) = path::steps(path) else {
        return Err(Failure::new(
            "argument.out_of_range",
            "Pass `vm_path` as `list_vms` shows it, beginning with `/`, such as /DC0/vm/web01",
        )
        .with("argument", "vm_path"));
    };
    // Only the machines of this name are asked where they lie: the server's own look-up by path
    // gives one of several, and not every server reads the escapes alike.
    let wanted = names.last().cloned().unwrap_or_default();
    let mut of_name = Vec::new();
    let (read, containers) = tokio::join!(
        each_name(session, |reference, raw| {
            if decoded(raw) == wanted {
                of_name.push(reference);
            }
        }),
        Containers::read(session)
    );
    read?;
    let containers = containers?;
    let mut found = Vec::new();
    let paths = |_: &str| vec!["name", "parent", "parentVApp"];
    objects(session, of_name, paths, |object| {
        if containers.is_at(&object, &names) {
            found.push(object.reference);
        }
    })
    .await?;
    Ok(found)
}

/// All machines of this name.
pub(crate) async fn by_name(session: &Session, name: &str) -> Result<Vec<MoRef>, Failure> {
    let wanted = decoded(name);
    let mut found = Vec::new();
    each_name(session, |reference, raw| {
        if decoded(raw) == wanted {
            found.push(reference);
        }
    })
    .await?;
    Ok(found)
}

async fn each_name(
    session: &Session,
    mut see: impl FnMut(MoRef, &str) + Send,
) -> Result<(), Failure> {
    let root = session
        .content()
        .need("rootFolder")
        .map_err(fault::failure)?;
    let spec = FilterSpec::inventory(&root, &[(VM, &["name"])]);
    session
        .retrieve(&[spec], vsphere::property::PAGE, |object| {
            if let Some(name) = object.text("name").map(str::to_owned) {
                see(object.reference, &name);
            }
            ControlFlow::Continue(())
        })
        .await
        .map_err(fault::failure)?;
    Ok(())
}

/// The name without vSphere's escapes: `%2f`, `%5c` and `%25` stand for `/`, `\` and `%`.
pub(crate) fn decoded(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let escape = rest.get(at..at + 3).map(str::to_ascii_lowercase);
        let (plain, taken) = match escape.as_deref() {
            Some("%2f") => ('/', 3),
            Some("%5c") => ('\\', 3),
            Some("%25") => ('%', 3),
            _ => ('%', 1),
        };
        out.push(plain);
        rest = &rest[at + taken..];
    }
    out.push_str(rest);
    out
}

/// The identifiers as they were given, for an error.
fn given(arguments: &Arguments) -> Map<String, Value> {
    ["moref", "instance_uuid", "vm_uuid", "vm_path", "vm_name"]
        .iter()
        .filter_map(|name| {
            arguments
                .text(name)
                .map(|text| ((*name).to_owned(), json!(text)))
        })
        .collect()
}

/// The machine is not there.
pub(super) fn not_found(arguments: &Arguments) -> Failure {
    let named = ["moref", "vm_uuid", "vm_path", "vm_name"]
        .iter()
        .find_map(|name| {
            arguments
                .text(name)
                .map(|text| format!("`{name}` `{text}`"))
        })
        .unwrap_or_default();
    Failure::new(
        "vm.not_found",
        format!("Pass the `vm_uuid` of a VM that `list_vms` shows: there is none with {named}"),
    )
    .with("given", given(arguments))
}

/// As [`not_found`], with the names that are near.
async fn unknown(call: &Call<'_>) -> Failure {
    let failure = not_found(call.arguments);
    let Some(name) = call.arguments.text("vm_name") else {
        return failure;
    };
    let mut names = Vec::new();
    // An error here would hide the one to tell.
    let _ = each_name(call.session, |_, raw| names.push(shown_name(raw))).await;
    names.sort();
    names.dedup();
    failure.with("nearest", nearest(name, names.iter().map(String::as_str)))
}

/// Several machines fit: all are shown, none is chosen.
async fn ambiguous(session: &Session, several: &[MoRef]) -> Result<Failure, Failure> {
    let total = several.len();
    let shown = several.iter().take(SHOWN);
    let spec = FilterSpec::objects(
        VM,
        shown,
        &[
            "name",
            "parent",
            "parentVApp",
            "summary.config.instanceUuid",
            "summary.config.uuid",
        ],
    );
    let (objects, containers) = tokio::join!(
        session.collect(std::slice::from_ref(&spec)),
        Containers::read(session)
    );
    let (mut objects, containers) = (objects.map_err(fault::failure)?, containers?);
    objects.sort_by(|a, b| a.reference.id.cmp(&b.reference.id));
    let candidates: Vec<Value> = objects
        .iter()
        .map(|object| candidate(object, &containers))
        .collect();
    Ok(Failure::new(
        "vm.ambiguous",
        format!("Pass the `vm_uuid` or `moref` of one of those in `candidates`: {total} VMs fit, and none is chosen for you"),
    )
    .with("candidates", candidates)
    .with("total", total))
}

fn candidate(object: &Object, containers: &Containers) -> Value {
    json!({
        "path": containers.path_of(object),
        "moref": guard::text::sanitize(&object.reference.id),
        "instance_uuid": object.text("summary.config.instanceUuid").map(guard::text::sanitize),
        "bios_uuid": object.text("summary.config.uuid").map(guard::text::sanitize),
    })
}

/// Compares the machine that was found with everything else that was said about it: the
/// other identifiers, and the target that was prepared.
pub(super) fn check_identity(call: &Call<'_>, machine: &Machine) -> Result<(), Failure> {
    let arguments = call.arguments;
    let uuid = machine.instance_uuid();
    if let Some(expected) = arguments.text("instance_uuid")
        && !expected.eq_ignore_ascii_case(&uuid)
    {
        return Err(changed(call, machine, json!({ "instance_uuid": expected })));
    }
    let bios = machine
        .object
        .text("summary.config.uuid")
        .unwrap_or_default();
    let other_uuid = arguments.text("vm_uuid").is_some_and(|given| {
        !given.eq_ignore_ascii_case(&uuid) && !given.eq_ignore_ascii_case(bios)
    });
    let raw_name = machine.object.text("name").unwrap_or_default();
    let other_name = arguments
        .text("vm_name")
        .is_some_and(|given| decoded(given) != decoded(raw_name));
    let other_path = arguments
        .text("vm_path")
        .is_some_and(|given| path::steps(given) != path::steps(&machine.path));
    if other_uuid || other_name || other_path {
        return Err(Failure::new(
            "vm.identifiers_disagree",
            "Pass one identifier of the VM, or several that name the same one: those given name different VMs",
        )
        .with("given", given(arguments))
        .with("found", machine.target(&call.server)));
    }
    if let Some(key) = arguments.text("vm_key")
        && !made::bears(&machine.object, key)
    {
        return Err(changed(call, machine, json!({ "vm_key": key })));
    }
    let Some(expected) = call.expected_target else {
        return Ok(());
    };
    let same = |field: &str, actual: &str| {
        expected.get(field).is_none_or(|value| {
            value
                .as_str()
                .is_some_and(|text| text.eq_ignore_ascii_case(actual))
        })
    };
    if same("server", &call.server)
        && same("moref", &machine.reference.id)
        && same("instance_uuid", &uuid)
    {
        return Ok(());
    }
    Err(changed(call, machine, Value::Object(expected.clone())))
}

fn changed(call: &Call<'_>, machine: &Machine, expected: Value) -> Failure {
    Failure::new(
        "target.changed",
        "Prepare the call again and look at its target: it is not the VM that was meant before",
    )
    .with("expected", expected)
    .with("found", machine.target(&call.server))
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn c9_names_are_compared_without_vspheres_escapes() {
        for (raw, plain) in [
            ("web01", "web01"),
            ("a%2fb", "a/b"),
            ("a%2Fb%5cc%25d", "a/b\\c%d"),
            ("100%", "100%"),
            ("%2", "%2"),
            ("%zz", "%zz"),
            ("%%2f", "%/"),
            ("é%2fü", "é/ü"),
            ("%é", "%é"),
        ] {
            assert_eq!(decoded(raw), plain, "{raw}");
        }
    }
}
