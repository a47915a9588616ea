//! A machine's snapshots: the server's tree as a list, and the choice of one.

use serde_json::{Value, json};
use vsphere::{MoRef, Object};

use crate::argument::Arguments;
use crate::failure::{Failure, nearest};
use crate::machine::decoded;

/// The type of a snapshot in the vSphere API.
pub(super) const SNAPSHOT: &str = "VirtualMachineSnapshot";

/// How a key stands in a snapshot's description.
pub(super) const MARK: &str = "[pilothouse:";

/// One snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) created: String,
    /// The power state of the machine when it was taken; running means that memory is in it.
    pub(super) power_state: String,
    pub(super) quiesced: bool,
    /// Where it hangs: its place in the list, or nothing for a root.
    pub(super) parent: Option<usize>,
}

/// All snapshots of one machine, parents before their children.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) all: Vec<Snapshot>,
    /// The one that the machine's present state is based on.
    pub(super) current: Option<String>,
}

impl Tree {
    /// From an object that was read with `snapshot`.
    pub(super) fn of(object: &Object) -> Self {
        let mut tree = Self::default();
        let Some(info) = object.get("snapshot") else {
            return tree;
        };
        tree.current = info
            .get("currentSnapshot")
            .and_then(vsphere::Value::as_moref)
            .map(|moref| guard::text::sanitize(&moref.id));
        let mut waiting: Vec<(&vsphere::Value, Option<usize>)> = info
            .all("rootSnapshotList")
            .map(|root| (root, None))
            .collect();
        waiting.reverse();
        while let Some((node, parent)) = waiting.pop() {
            let Some(id) = node.get("snapshot").and_then(vsphere::Value::as_moref) else {
                continue;
            };
            let text = |name: &str| node.text_at(name).unwrap_or_default().to_owned();
            tree.all.push(Snapshot {
                id: guard::text::sanitize(&id.id),
                name: text("name"),
                description: text("description"),
                created: text("createTime"),
                power_state: text("state"),
                quiesced: node
                    .get("quiesced")
                    .and_then(vsphere::Value::as_bool)
                    .unwrap_or(false),
                parent,
            });
            let here = tree.all.len() - 1;
            let mut children: Vec<_> = node
                .all("childSnapshotList")
                .map(|child| (child, Some(here)))
                .collect();
            children.reverse();
            waiting.extend(children);
        }
        tree
    }

    /// The snapshot that was made under a key.
    pub(super) fn under_key(&self, key: &str) -> Option<&Snapshot> {
        self.all.iter().find(|snapshot| snapshot.has_key(key))
    }

    /// Where the snapshot of this reference stands in the list.
    pub(super) fn place_of(&self, id: &str) -> Option<usize> {
        self.all.iter().position(|snapshot| snapshot.id == id)
    }

    /// Those that fit everything that the arguments say; `None` if they say nothing.
    pub(super) fn matching(&self, arguments: &Arguments) -> Option<Vec<usize>> {
        let said = Said::of(arguments);
        // A name goes before a path that is spelt the same.
        let is_name = self.all.iter().any(|snapshot| said.names(snapshot));
        let named = |at: usize| match said.name {
            Some(path) if !is_name => self.lies_at(at, path),
            _ => said.names(&self.all[at]),
        };
        said.any().then(|| {
            (0..self.all.len())
                .filter(|at| named(*at) && said.fits(&self.all[*at]))
                .collect()
        })
    }

    /// The one snapshot that the arguments mean; `None` if it is not there, and was named
    /// by something that no other snapshot can have.
    ///
    /// # Errors
    ///
    /// `snapshot.not_found` (by a name), `snapshot.ambiguous`.
    pub(super) fn choose(&self, arguments: &Arguments) -> Result<Option<usize>, Failure> {
        let found = self.matching(arguments).unwrap_or_default();
        match found.as_slice() {
            [one] => Ok(Some(*one)),
            [] if Said::of(arguments).is_by_identity() => Ok(None),
            [] => Err(self.not_found(arguments)),
            several => Err(Failure::new(
                "snapshot.ambiguous",
                format!("Pass the `snapshot_id`, or the `path` as `snapshot_name`, of one of those in `candidates`: {} snapshots fit, and none is chosen for you", several.len()),
            )
            .with("candidates", several.iter().take(20).map(|at| self.row(*at)).collect::<Vec<_>>())),
        }
    }

    /// The refusal for a snapshot that is not there.
    pub(super) fn not_found(&self, arguments: &Arguments) -> Failure {
        let said = Said::of(arguments);
        let names = self.all.iter().map(|snapshot| snapshot.name.as_str());
        let near = said
            .name
            .map(|name| nearest(name, names))
            .unwrap_or_default();
        Failure::new(
            "snapshot.not_found",
            format!(
                "Pass a snapshot that `snapshot_list` shows: the VM has none {}",
                said.words()
            ),
        )
        .with("nearest", near)
    }

    /// A snapshot and everything below it, parents first.
    pub(super) fn subtree(&self, top: usize) -> Vec<usize> {
        let mut below = vec![top];
        for (at, snapshot) in self.all.iter().enumerate() {
            if snapshot
                .parent
                .is_some_and(|parent| below.contains(&parent))
            {
                below.push(at);
            }
        }
        below
    }

    /// One snapshot as it is shown.
    pub(super) fn row(&self, at: usize) -> Value {
        let snapshot = &self.all[at];
        json!({
            "snapshot_id": snapshot.id,
            "name": guard::text::sanitize(&snapshot.name),
            "description": guard::text::sanitize(&snapshot.description),
            "path": self.path(at),
            "created": guard::text::sanitize_to(&snapshot.created, 40),
            "power_state": guard::text::sanitize_to(&snapshot.power_state, 40),
            "quiesced": snapshot.quiesced,
            "parent": snapshot.parent.map(|parent| self.all[parent].id.as_str()),
            "current": self.current.as_deref() == Some(snapshot.id.as_str()),
        })
    }

    fn path(&self, at: usize) -> String {
        let mut names = Vec::new();
        let mut here = Some(at);
        while let Some(at) = here {
            names.push(guard::text::sanitize_to(&self.all[at].name, 80));
            here = self.all[at].parent;
        }
        names.reverse();
        guard::text::sanitize(&names.iter().fold(String::new(), |mut path, name| {
            path.push('/');
            // A slash within a name would look like a step of the path.
            path.push_str(&decoded(name).replace('/', "%2f"));
            path
        }))
    }

    /// Whether `path` leads to the snapshot: `/first/child`, or its end, as `parent/child`.
    fn lies_at(&self, at: usize, path: &str) -> bool {
        let (from_root, path) = match path.strip_prefix('/') {
            Some(path) => (true, path),
            None => (false, path),
        };
        if !from_root && !path.contains('/') {
            return false;
        }
        let mut here = Some(at);
        for step in path.rsplit('/') {
            match here {
                Some(at) if decoded(&self.all[at].name) == decoded(step) => {
                    here = self.all[at].parent;
                }
                _ => return false,
            }
        }
        !from_root || here.is_none()
    }
}

impl Snapshot {
    pub(super) fn reference(&self) -> MoRef {
        MoRef::new(SNAPSHOT, self.id.as_str())
    }

    fn has_key(&self, key: &str) -> bool {
        self.description.contains(&mark(key))
    }

    /// Whether a revert to it brings a running machine back.
    pub(super) fn has_memory(&self) -> bool {
        self.power_state == "poweredOn"
    }
}

/// What a description ends with, so that the snapshot is found again by its key.
pub(super) fn mark(key: &str) -> String {
    format!("{MARK}{key}]")
}

/// What the arguments say about the snapshot that they mean.
struct Said<'a> {
    name: Option<&'a str>,
    id: Option<&'a str>,
    key: Option<&'a str>,
}

impl<'a> Said<'a> {
    fn of(arguments: &'a Arguments) -> Self {
        Self {
            name: arguments.text("snapshot_name"),
            id: arguments.text("snapshot_id"),
            key: arguments.text("snapshot_key"),
        }
    }

    fn any(&self) -> bool {
        self.name.is_some() || self.id.is_some() || self.key.is_some()
    }

    fn is_by_identity(&self) -> bool {
        self.id.is_some() || self.key.is_some()
    }

    fn names(&self, snapshot: &Snapshot) -> bool {
        self.name
            .is_none_or(|name| decoded(name) == decoded(&snapshot.name))
    }

    fn fits(&self, snapshot: &Snapshot) -> bool {
        self.id.is_none_or(|id| id == snapshot.id)
            && self.key.is_none_or(|key| snapshot.has_key(key))
    }

    fn words(&self) -> String {
        let said = [
            ("named", self.name),
            ("with reference", self.id),
            ("made under key", self.key),
        ];
        let words: Vec<String> = said
            .iter()
            .filter_map(|(word, value)| value.map(|value| format!("{word} `{value}`")))
            .collect();
        words.join(" and ")
    }
}
