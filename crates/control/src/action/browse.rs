//! browse_datastore: one folder of a datastore.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use vsphere::{MoRef, Outcome, Wait};

use crate::argument::Arguments;
use crate::call::Call;
use crate::failure::Failure;
use crate::fault;
use crate::listing::Listing;
use crate::object::{DATASTORE, Found};

const METHOD: &str = "SearchDatastore_Task";

/// A path on a datastore, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    /// Between the brackets, if there are any.
    datastore: Option<&'a str>,
    folder: String,
}

impl<'a> Place<'a> {
    /// `[ds] folder/sub`, or `folder/sub` alone; `None` if it leads anywhere else.
    fn read(path: &'a str) -> Option<Self> {
        let (datastore, folder) = match path.trim().strip_prefix('[') {
            Some(rest) => {
                let (datastore, folder) = rest.split_once(']')?;
                (Some(datastore), folder)
            }
            None => (None, path.trim()),
        };
        let parts: Vec<&str> = folder
            .trim()
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        if datastore == Some("") || parts.contains(&"..") {
            return None;
        }
        Some(Self {
            datastore,
            folder: parts.join("/"),
        })
    }
}

/// A path that can be read, and a datastore in one place or the other.
///
/// # Errors
///
/// `argument.missing`, `argument.out_of_range`.
pub(crate) fn check(arguments: &Arguments) -> Result<(), Failure> {
    let place = match arguments.text("path").map(Place::read) {
        Some(None) => {
            return Err(Failure::new(
                "argument.out_of_range",
                "Pass `path` as `[datastore] folder/folder`, or as the folder alone, without `..`",
            )
            .with("argument", "path"));
        }
        Some(Some(place)) => place.datastore,
        None => None,
    };
    match (arguments.text("datastore"), place) {
        (None, None) => Err(Failure::new(
            "argument.missing",
            "Pass `datastore`, which `list_datastores` shows, or a `path` that names it in brackets",
        )
        .with("argument", "datastore")),
        _ => Ok(()),
    }
}

/// Lists the files of one folder.
pub(crate) async fn browse(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let place = call.arguments.text("path").and_then(Place::read);
    let within = place.as_ref().and_then(|place| place.datastore);
    let named = call
        .arguments
        .text("datastore")
        .or(within)
        .unwrap_or_default();
    let found = Found::named(call, &DATASTORE, named, &["browser", "summary.accessible"]).await?;
    let name = crate::machine::decoded(found.object.text("name").unwrap_or_default());
    if within.is_some_and(|within| crate::machine::decoded(within) != name) {
        return Err(Failure::new(
            "argument.conflict",
            format!(
                "Pass `path` without brackets, or with the datastore's own name: `datastore` is `{}`, and `path` names another",
                found.name()
            ),
        )
        .with("arguments", vec!["datastore", "path"]));
    }
    let accessible = found
        .object
        .get("summary.accessible")
        .and_then(vsphere::Value::as_bool);
    if accessible == Some(false) {
        return Err(Failure::new(
            "datastore.not_accessible",
            "Bring a host back that reaches the datastore: the server cannot read it now",
        )
        .with("datastore", found.name()));
    }
    let browser = found
        .object
        .get("browser")
        .and_then(vsphere::Value::as_moref)
        .ok_or_else(|| fault::failure(vsphere::Error::Absent { what: "browser" }))?;
    let folder = place.map(|place| place.folder).unwrap_or_default();
    let path = if folder.is_empty() {
        format!("[{name}]")
    } else {
        format!("[{name}] {folder}")
    };
    let result = search(call, &browser, &path).await?;
    let mut rows = HashMap::new();
    let mut keys = Vec::new();
    for file in result.all("file") {
        let name = guard::text::sanitize_to(file.text_at("path").unwrap_or_default(), 255);
        let kind = kind_of(file);
        // Folders first, as people expect.
        let rank = if kind == "folder" { '0' } else { '1' };
        keys.push((format!("{rank}{name}"), name.clone()));
        rows.insert(name.clone(), file_row(file, &name, kind, &path));
    }
    let listing = Listing::new(call, "files", keys)?;
    let mut answer = listing.answer(|name| rows.get(name).cloned());
    answer.insert("target".to_owned(), found.target(&call.server));
    answer.insert("folder".to_owned(), json!(guard::text::sanitize(&path)));
    Ok(answer)
}

async fn search(call: &Call<'_>, browser: &MoRef, path: &str) -> Result<vsphere::Value, Failure> {
    let pattern = call.arguments.text("pattern");
    let task = call
        .session
        .search_datastore(browser, path, pattern)
        .await
        .map_err(|error| {
            missing_or(error.fault(), path).unwrap_or_else(|| fault::failure(error))
        })?;
    let wait = Wait {
        limit: call.left(),
        vm: None,
    };
    match call.session.wait(&task, &wait).await {
        Ok(Outcome::Success(result)) => Ok(result.unwrap_or_default()),
        Ok(Outcome::Failed(fault)) => {
            Err(missing_or(Some(&fault), path).unwrap_or_else(|| fault::refused(METHOD, &fault)))
        }
        Ok(Outcome::Running(_)) => {
            // Nobody waits for it any more; that it cannot be stopped does no harm.
            let _ = call.session.cancel_task(&task).await;
            Err(Failure::new(
                "call.timeout",
                "Pass a longer `timeout_s`, or a folder with fewer files: the server is still reading",
            ))
        }
        Ok(Outcome::Gone | Outcome::Question(_)) => Err(Failure::new(
            "task.lost",
            "Call again: the server no longer knows what it found",
        )),
        // Reading changes nothing, however it ended.
        Err(error) => Err(fault::failure(error).leaving(policy::answer::ErrorEffect::None)),
    }
}

/// The failure for a folder that is not there.
fn missing_or(fault: Option<&vsphere::Fault>, path: &str) -> Option<Failure> {
    (fault?.kind == "FileNotFound").then(|| {
        Failure::new(
            "datastore.no_such_folder",
            format!("Pass a folder that the listing of the one above shows: there is no `{path}`"),
        )
    })
}

/// What kind of file it is, by the server's own class.
fn kind_of(file: &vsphere::Value) -> &'static str {
    match file.type_name().unwrap_or_default() {
        "FolderFileInfo" => "folder",
        "VmDiskFileInfo" => "disk",
        "IsoImageFileInfo" => "iso",
        "FloppyImageFileInfo" => "floppy",
        "VmConfigFileInfo" => "vm",
        "TemplateConfigFileInfo" => "template",
        "VmNvramFileInfo" => "nvram",
        "VmLogFileInfo" => "log",
        "VmSnapshotFileInfo" => "snapshot",
        _ => "file",
    }
}

fn file_row(file: &vsphere::Value, name: &str, kind: &str, folder: &str) -> Value {
    let between = if folder.ends_with(']') { " " } else { "/" };
    let mut row = json!({
        "name": name,
        "kind": kind,
        "path": guard::text::sanitize(&format!("{folder}{between}{name}")),
    });
    if kind != "folder"
        && let Some(size) = file.get("fileSize").and_then(vsphere::Value::as_i64)
    {
        row["size_bytes"] = json!(size);
    }
    if let Some(time) = file.text_at("modification") {
        row["modified"] = json!(guard::text::sanitize_to(time, 40));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_one_folder_and_never_leads_out_of_it() {
        let read = |path| Place::read(path).map(|place| (place.datastore, place.folder));
        let folder = |folder: &str| folder.to_owned();
        assert_eq!(read("[ds 1] a/b/"), Some((Some("ds 1"), folder("a/b"))));
        assert_eq!(read("[ds]"), Some((Some("ds"), folder(""))));
        assert_eq!(read("/a//b"), Some((None, folder("a/b"))));
        for wrong in ["[ds", "[] a", "a/../b", "[ds] .."] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
