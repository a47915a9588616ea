//! The property paths of vSphere's objects: which there are in which version of the API, and what
//! their values look like in an answer.
//!
//! A real server faults a whole call for one path that it does not know, so that each is looked
//! up before it is sent.

mod shown;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::failure::{Failure, nearest};

pub(crate) use shown::shown;

/// A line for each type: its properties, `@` since which version if that is after 6.5, and `:`
/// what type they are of where a path can go on. A managed object's line begins with `*`.
const TYPES: &str = include_str!("property/types.txt");

/// How many names a path can have before its nearest are no longer looked for.
const DEEPEST: usize = 5;

/// A version of the API.
pub(crate) type Version = [u32; 4];

/// Later than any version there is.
pub(crate) const NEWEST: Version = [u32::MAX; 4];

struct Field {
    name: &'static str,
    since: Version,
    leads_to: Option<&'static str>,
}

static TABLE: LazyLock<HashMap<&'static str, Vec<Field>>> = LazyLock::new(|| {
    TYPES
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let name = words.next()?;
            Some((name, words.map(field).collect()))
        })
        .collect()
});

fn field(word: &'static str) -> Field {
    let (word, leads_to) = match word.split_once(':') {
        Some((word, kind)) => (word, Some(kind)),
        None => (word, None),
    };
    let (name, since) = match word.split_once('@') {
        Some((name, since)) => (name, version(since)),
        None => (word, [0; 4]),
    };
    Field {
        name,
        since,
        leads_to,
    }
}

/// A version as numbers; what is no number counts as zero.
pub(crate) fn version(text: &str) -> Version {
    let mut version = [0; 4];
    for (slot, part) in version.iter_mut().zip(text.split('.')) {
        *slot = part.parse().unwrap_or(0);
    }
    version
}

/// The properties of a type of managed object. A type that is not known, as one of a newer server,
/// is taken for the first.
fn managed(kind: &str) -> Option<&'static [Field]> {
    // The names of types hold no asterisk, so that nothing else can be meant.
    let fields = TABLE
        .iter()
        .find(|(name, _)| name.strip_prefix('*') == Some(kind));
    fields.map(|(_, fields)| fields.as_slice())
}

/// Since which version a type has this path; nothing if it never had.
fn since(kind: &str, path: &str) -> Option<Version> {
    let mut fields = managed(kind);
    let mut newest = [0; 4];
    for name in path.split('.') {
        let field = fields?.iter().find(|field| field.name == name)?;
        newest = newest.max(field.since);
        fields = field
            .leads_to
            .and_then(|kind| TABLE.get(kind))
            .map(Vec::as_slice);
    }
    Some(newest)
}

/// Whether objects of this type have this path in this version.
pub(crate) fn has(kind: &str, path: &str, spoken: Version) -> bool {
    since(kind, path).is_some_and(|since| since <= spoken)
}

/// Whether a type of object is in the table.
pub(crate) fn is_known(kind: &str) -> bool {
    managed(kind).is_some()
}

/// Refuses the first of `paths` that none of these types has in this version; without one, in any.
///
/// # Errors
///
/// `field.unknown`.
pub(crate) fn check(
    kinds: &[&str],
    paths: &[&str],
    spoken: Option<Version>,
) -> Result<(), Failure> {
    for path in paths {
        let oldest = kinds.iter().filter_map(|kind| since(kind, path)).min();
        match (oldest, spoken) {
            (None, _) => return Err(unknown(kinds, path)),
            (Some(since), Some(spoken)) if since > spoken => {
                return Err(too_new(path, since, spoken));
            }
            (Some(_), _) => {}
        }
    }
    Ok(())
}

fn unknown(kinds: &[&str], path: &str) -> Failure {
    let shown = guard::text::sanitize_to(path, 120);
    let near = near(kinds, path);
    let remedy = match near.first() {
        Some(best) => format!("Pass `{best}` if that is meant"),
        None => "Pass a property path such as `overallStatus`".to_owned(),
    };
    Failure::new(
        "field.unknown",
        format!(
            "{remedy}: `{}` has no property `{shown}`",
            kinds.first().unwrap_or(&"the object")
        ),
    )
    .with("field", shown)
    .with("nearest", near)
}

fn too_new(path: &str, since: Version, spoken: Version) -> Failure {
    let words = |version: Version| {
        let version = version.map(|part| part.to_string());
        version.join(".")
    };
    Failure::new(
        "field.unknown",
        format!(
            "Leave `{path}` out of `fields`: it came with version {} of the vSphere API, and this server speaks {}",
            words(since),
            words(spoken)
        ),
    )
    .with("field", path)
    .with("since", words(since))
}

/// The paths that are near to one that is not there: those with the same last name, then those
/// that are spelt alike.
fn near(kinds: &[&str], path: &str) -> Vec<String> {
    let mut all = Vec::new();
    for kind in kinds {
        grow(managed(kind).unwrap_or_default(), "", 1, &mut all);
    }
    all.sort_by_key(|path| (path.split('.').count(), path.clone()));
    all.dedup();
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_lowercase();
    let wanted = last(path);
    let mut near: Vec<String> = all
        .iter()
        .filter(|path| last(path) == wanted)
        .take(3)
        .cloned()
        .collect();
    let alike = nearest(path, all.iter().map(String::as_str));
    for path in alike {
        if near.len() < 3 && !near.contains(&path) {
            near.push(path);
        }
    }
    near
}

fn grow(fields: &[Field], above: &str, depth: usize, all: &mut Vec<String>) {
    for field in fields {
        let path = format!("{above}{}", field.name);
        let below = field.leads_to.and_then(|kind| TABLE.get(kind));
        if let Some(below) = below.filter(|_| depth < DEEPEST) {
            grow(below, &format!("{path}."), depth + 1, all);
        }
        all.push(path);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const VM: &[&str] = &["VirtualMachine"];

    #[test]
    fn c10_a_path_is_known_by_type_and_version() {
        for path in [
            "name",
            "runtime.powerState",
            "config.hardware.numCPU",
            "summary.config",
        ] {
            assert!(has("VirtualMachine", path, [6, 5, 0, 0]), "{path}");
        }
        for path in [
            "",
            ".",
            "name.",
            "runtime.",
            "powerState",
            "config.hardware.device.key",
            "*",
        ] {
            assert!(!has("VirtualMachine", path, [9, 9, 0, 0]), "{path}");
        }
        // Came with 6.7.
        assert!(!has("VirtualMachine", "config.createDate", version("6.5")));
        assert!(has("VirtualMachine", "config.createDate", version("6.7")));
        assert!(!has("Network", "key", version("8.0.3.0")));
        assert!(has(
            "DistributedVirtualPortgroup",
            "key",
            version("8.0.3.0")
        ));
        assert!(!is_known("VirtualMachineConfigInfo") && is_known("HostSystem"));
    }

    #[test]
    fn c10_an_unknown_path_names_the_nearest() {
        let near = |path| {
            let refusal = check(VM, &["name", path], None).unwrap_err();
            assert_eq!(refusal.code(), "field.unknown");
            policy::answer::Answer::refusal(refusal.into()).body()["nearest"][0].clone()
        };
        assert_eq!(near("powerState"), "runtime.powerState");
        assert_eq!(near("runtime.powerstate"), "runtime.powerState");
        assert_eq!(near("config.hardwre.numCPU"), "config.hardware.numCPU");
        assert!(check(VM, &["config.createDate"], None).is_ok());
        let refusal = check(VM, &["config.createDate"], Some(version("6.5"))).unwrap_err();
        assert!(refusal.message().contains("6.7.0.0"), "{refusal}");
    }

    #[test]
    fn c10_the_table_leads_nowhere_that_is_not_in_it() {
        assert!(TABLE.len() > 200);
        for (name, fields) in &*TABLE {
            assert!(!fields.is_empty() || name.is_empty(), "{name}");
            for field in fields {
                assert!(!field.name.is_empty(), "{name}");
                if let Some(kind) = field.leads_to {
                    assert!(TABLE.contains_key(kind), "{name}.{} -> {kind}", field.name);
                }
            }
        }
    }

    #[test]
    fn c10_no_text_makes_the_check_of_a_path_fail() {
        let long = "config.".repeat(2_000);
        for text in [
            "\u{0}",
            "....",
            "name[\"x\"]",
            "é.ü",
            long.as_str(),
            "💥",
            "name.name",
        ] {
            let refusal = check(VM, &[text], None).unwrap_err();
            assert_eq!(refusal.code(), "field.unknown");
        }
    }
}
