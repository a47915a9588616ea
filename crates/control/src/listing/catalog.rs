//! Lists of the inventory's objects, in two passes: first the names and what is filtered and sorted
//! by, of all of them; then everything else, of one page, by reference.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use serde_json::{Map, Value, json};
use vsphere::{FilterSpec, MoRef, Object};

use super::column::{self, Column};
use super::filter::{self, Chosen, Filter};
use super::{Keys, Listing, read};
use crate::argument::Arguments;
use crate::call::Call;
use crate::failure::{Failure, nearest};
use crate::fault;
use crate::machine::{Containers, decoded};
use crate::property;

/// The words of `detail`.
pub(crate) const DETAILS: &[&str] = &["summary", "rows", "full"];

/// What a list of objects of one kind is made of.
#[derive(Debug)]
pub(crate) struct Catalog {
    /// The field of the answer that holds the rows.
    pub(crate) field: &'static str,
    /// The type in the vSphere API that stands for all, and then its subtypes.
    pub(crate) kinds: &'static [&'static str],
    /// The types whose names rows and paths need.
    pub(crate) above: &'static [&'static str],
    /// The columns of a row.
    pub(crate) columns: &'static [Column],
    /// The columns that `detail: full` adds.
    pub(crate) more: &'static [Column],
    /// The types whose names these need besides.
    pub(crate) more_above: &'static [&'static str],
    /// The columns whose values `detail: summary` counts.
    pub(crate) counts: &'static [&'static str],
    /// What it can be narrowed by.
    pub(crate) filters: &'static [Filter],
}

/// How the rows are sorted: by name, or by a column that is found in a catalog.
#[derive(Debug, Clone, Copy)]
struct Order {
    column: Option<&'static Column>,
    descending: bool,
}

/// How long a sort key may be: it is part of the cursor.
const KEY: usize = 200;

impl Catalog {
    /// Refuses what can be seen to be wrong before anything is contacted.
    ///
    /// # Errors
    ///
    /// `filter.unknown`, `sort.unknown`, `field.unknown`, `argument.not_taken`, and those of
    /// values of a wrong type.
    pub(crate) fn check(&'static self, arguments: &Arguments) -> Result<(), Failure> {
        filter::check(self.filters, arguments)?;
        self.order(arguments)?;
        let fields = arguments.texts("fields");
        property::check(self.kinds, &fields, None)?;
        if !fields.is_empty() && arguments.text("detail").is_some_and(|word| word != "rows") {
            return Err(Failure::new(
                "argument.not_taken",
                "Pass either `fields` or `detail`: with `fields`, exactly these properties are shown",
            )
            .with("argument", "fields"));
        }
        Ok(())
    }

    /// All its columns.
    pub(crate) fn all(&'static self) -> impl Iterator<Item = &'static Column> {
        self.columns.iter().chain(self.more)
    }

    fn order(&'static self, arguments: &Arguments) -> Result<Order, Failure> {
        let Some(text) = arguments.text("sort") else {
            return Ok(Order {
                column: None,
                descending: false,
            });
        };
        let (name, descending) = match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let sortable = || {
            self.all().filter(|column| {
                column.sorts() && property::has(self.kinds[0], column.path, property::NEWEST)
            })
        };
        let column = sortable().find(|column| column.name == name);
        if column.is_none() && name != "name" {
            let mut allowed = vec!["name"];
            allowed.extend(sortable().map(|column| column.name));
            let shown = guard::text::sanitize_to(name, 60);
            let near = nearest(name, allowed.iter().copied());
            let remedy = match near.first() {
                Some(best) => format!("Pass `{best}` as `sort` if that is meant"),
                None => "Sort by one of the columns in `allowed`".to_owned(),
            };
            return Err(Failure::new(
                "sort.unknown",
                format!("{remedy}, with `-` before it for the descending order: there is no column `{shown}` to sort by"),
            )
            .with("nearest", near)
            .with("allowed", allowed));
        }
        Ok(Order { column, descending })
    }

    /// Lists the objects that the call's arguments choose.
    ///
    /// # Errors
    ///
    /// `field.unknown` for a property that came with a newer version; those of a filter, of a
    /// cursor, and of the server.
    pub(crate) async fn list(
        &'static self,
        call: &Call<'_>,
    ) -> Result<Map<String, Value>, Failure> {
        self.list_of(call, Chosen::default()).await
    }

    /// As [`Catalog::list`], of those that are chosen already.
    ///
    /// # Errors
    ///
    /// As [`Catalog::list`].
    pub(crate) async fn list_of(
        &'static self,
        call: &Call<'_>,
        mut chosen: Chosen,
    ) -> Result<Map<String, Value>, Failure> {
        let version = property::version(call.session.api_version());
        let fields = call.arguments.texts("fields");
        property::check(self.kinds, &fields, Some(version))?;
        filter::choose(call, self.filters, self.kinds[0], &mut chosen).await?;
        let detail = call.arguments.text("detail").unwrap_or("rows");
        if detail == "summary" {
            return self.summary(call, &chosen, version).await;
        }
        let columns: Vec<&Column> = match detail {
            "full" => self.all().collect(),
            _ => self.columns.iter().collect(),
        };
        let more_above = if detail == "full" {
            self.more_above
        } else {
            &[]
        };
        // Where only properties are shown, there is nothing to name.
        let above: Vec<&str> = if fields.is_empty() {
            self.above.iter().chain(more_above).copied().collect()
        } else {
            Vec::new()
        };
        let order = self.order(call.arguments)?;
        let keys = Keys::new(call, order.descending)?;
        let (first, names) = tokio::join!(
            self.first(call, &chosen, version, order, keys),
            Containers::read_types(call.session, &above)
        );
        let (First(keys, kinds, undecided), names) = (first?, names?);
        let listing = Listing::page(self.field, keys);
        let mut rows: HashMap<String, Value> = HashMap::new();
        let mut size = 0;
        let page: Vec<MoRef> = listing
            .references()
            .map(|id| MoRef::new(kinds.get(id).map_or(self.kinds[0], String::as_str), id))
            .collect();
        let mut read = 0;
        for chunk in page.chunks(listing.chunk()) {
            let paths = |kind: &str| self.paths(kind, &columns, &fields, version);
            read::objects(call.session, chunk.iter().cloned(), paths, |object| {
                let row = if fields.is_empty() {
                    column::row(&object, &columns, &names)
                } else {
                    column::row_of_fields(&object, &fields)
                };
                let row = Value::Object(row);
                size += row.to_string().chars().count();
                rows.insert(object.reference.id, row);
            })
            .await?;
            read += chunk.len();
            if listing.is_full_at(size) {
                break;
            }
        }
        let mut answer = listing.answer_of(read, |id| rows.remove(id));
        undecided.tell(&mut answer);
        Ok(answer)
    }

    /// What the second pass reads of objects of a type. A type that came with a newer server is
    /// read as what it stands for.
    fn paths<'f>(
        &self,
        kind: &str,
        columns: &[&'static Column],
        fields: &[&'f str],
        version: property::Version,
    ) -> Vec<&'f str> {
        let kind = self.known(kind);
        if !fields.is_empty() {
            let known = fields
                .iter()
                .filter(|path| property::has(kind, path, version));
            let mut paths: Vec<&str> = known.copied().collect();
            paths.push("name");
            paths.sort_unstable();
            paths.dedup();
            return paths;
        }
        let mut paths = column::paths(columns, kind, version);
        let base = ["name", "parent", "parentVApp"];
        let base = base
            .into_iter()
            .filter(|path| property::has(kind, path, version));
        for path in base {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    }

    fn known<'k>(&self, kind: &'k str) -> &'k str {
        if property::is_known(kind) {
            kind
        } else {
            self.kinds[0]
        }
    }

    /// The first pass: all that fit are counted, and those of the page kept.
    async fn first(
        &'static self,
        call: &Call<'_>,
        chosen: &Chosen,
        version: property::Version,
        order: Order,
        mut keys: Keys,
    ) -> Result<First, Failure> {
        let (mut kinds, mut undecided) = (HashMap::new(), Undecided::default());
        let sorted_by = order.column.map_or("name", |column| column.path);
        self.each(
            call,
            chosen,
            &[sorted_by],
            version,
            &mut undecided,
            |object| {
                let key = order.key(&object);
                if object.reference.kind != self.kinds[0] {
                    kinds.insert(object.reference.id.clone(), object.reference.kind);
                }
                keys.add((key, object.reference.id));
            },
        )
        .await?;
        Ok(First(keys, kinds, undecided))
    }

    /// How many there are, by the values of the columns that are counted.
    async fn summary(
        &'static self,
        call: &Call<'_>,
        chosen: &Chosen,
        version: property::Version,
    ) -> Result<Map<String, Value>, Failure> {
        let counted: Vec<&Column> = self
            .columns
            .iter()
            .filter(|column| self.counts.contains(&column.name))
            .collect();
        let paths: Vec<&str> = counted.iter().map(|column| column.path).collect();
        let mut counts: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
        let (mut total, mut undecided) = (0_usize, Undecided::default());
        let nothing = Containers::default();
        self.each(call, chosen, &paths, version, &mut undecided, |object| {
            total += 1;
            for column in &counted {
                let word = match column.of(&object, &nothing) {
                    Value::String(text) if !text.is_empty() => text,
                    Value::Null | Value::String(_) if object.is_unreadable(column.path) => {
                        "unreadable".to_owned()
                    }
                    Value::Null | Value::String(_) => "unset".to_owned(),
                    other => other.to_string(),
                };
                *counts
                    .entry(column.name)
                    .or_default()
                    .entry(word)
                    .or_default() += 1;
            }
        })
        .await?;
        let mut answer = Map::new();
        answer.insert("action".to_owned(), json!(call.row.word));
        answer.insert("returned".to_owned(), json!(0));
        answer.insert("total".to_owned(), json!(total));
        answer.insert("truncated".to_owned(), json!(false));
        answer.insert("next_cursor".to_owned(), Value::Null);
        answer.insert("counts".to_owned(), json!(counts));
        undecided.tell(&mut answer);
        Ok(answer)
    }

    /// Hands over each object that is chosen, with its name, these properties, and those that
    /// decided.
    async fn each(
        &'static self,
        call: &Call<'_>,
        chosen: &Chosen,
        more: &[&'static str],
        version: property::Version,
        undecided: &mut Undecided,
        mut see: impl FnMut(Object) + Send,
    ) -> Result<(), Failure> {
        let tested = chosen.tests.iter().flat_map(|test| test.paths.iter());
        let mut wanted: Vec<&'static str> = ["name"]
            .iter()
            .chain(more)
            .chain(tested)
            .copied()
            .filter(|path| !path.is_empty())
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        let paths = |kind: &str| -> Vec<&'static str> {
            let kind = self.known(kind);
            let known = wanted
                .iter()
                .filter(|path| property::has(kind, path, version));
            known.copied().collect()
        };
        let root = match &chosen.root {
            Some(root) => root.clone(),
            None => call
                .session
                .content()
                .need("rootFolder")
                .map_err(fault::failure)?,
        };
        let mut decide = |object: Object| {
            // What it lies beneath is not one of those beneath it.
            if object.is_gone() || object.reference == root {
                return;
            }
            let mut fits = true;
            for test in &chosen.tests {
                if !(test.fits)(&object) {
                    undecided.0 +=
                        usize::from(test.paths.iter().any(|path| object.is_unreadable(path)));
                    fits = false;
                    break;
                }
            }
            if fits {
                see(object);
            }
        };
        // Both, where both are said: what lies beneath is read, and of that only those.
        if let (Some(only), None) = (&chosen.only, &chosen.root) {
            return read::objects(call.session, only.iter().cloned(), paths, decide).await;
        }
        // Of the type that stands for all: servers differ in what they answer where a type and its
        // subtype are both asked for.
        let paths = paths(self.kinds[0]);
        let spec = [FilterSpec::inventory(&root, &[(self.kinds[0], &paths)])];
        let retrieved = call
            .session
            .retrieve(&spec, vsphere::property::PAGE, |object| {
                let is_meant =
                    |only: &std::collections::HashSet<MoRef>| only.contains(&object.reference);
                if chosen.only.as_ref().is_none_or(is_meant) {
                    decide(object);
                }
                ControlFlow::Continue(())
            })
            .await;
        retrieved.map(|_| ()).map_err(fault::failure)
    }
}

/// What the first pass found.
#[derive(Debug)]
struct First(
    Keys,
    /// The types of those that are not of the type that stands for all.
    HashMap<String, String>,
    Undecided,
);

/// How many objects were left out since what they are filtered by could not be read.
#[derive(Debug, Default)]
struct Undecided(usize);

impl Undecided {
    fn tell(&self, answer: &mut Map<String, Value>) {
        if self.0 > 0 {
            answer.insert("undecided".to_owned(), json!(self.0));
        }
    }
}

impl Order {
    fn key(self, object: &Object) -> String {
        let name = || decoded(object.text("name").unwrap_or_default());
        let key = match self.column {
            None => name(),
            // Those without a value come last in both orders.
            Some(column) => match (column.key(object), self.descending) {
                (Some(key), false) => format!("0{key}"),
                (Some(key), true) => format!("1{key}"),
                (None, false) => "1".to_owned(),
                (None, true) => "0".to_owned(),
            },
        };
        match key.char_indices().nth(KEY) {
            Some((end, _)) => key[..end].to_owned(),
            None => key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter::Want;
    use super::*;
    use crate::action::{lists, vm};
    use crate::property::{NEWEST, has};

    fn all() -> [&'static Catalog; 8] {
        [
            &vm::VMS,
            &lists::HOSTS,
            &lists::CLUSTERS,
            &lists::DATACENTERS,
            &lists::DATASTORES,
            &lists::NETWORKS,
            &lists::POOLS,
            &lists::FOLDERS,
        ]
    }

    #[test]
    fn c10_every_property_of_every_list_is_one_that_its_objects_have() {
        for catalog in all() {
            let known = |path: &str| catalog.kinds.iter().any(|kind| has(kind, path, NEWEST));
            for column in catalog.all() {
                assert!(column.path.is_empty() || known(column.path), "{column:?}");
            }
            for name in catalog.counts {
                let mut columns = catalog.columns.iter();
                assert!(columns.any(|column| column.name == *name), "{name}");
            }
            for filter in catalog.filters {
                let path = match filter.want {
                    Want::Glob(path)
                    | Want::Word(path, _)
                    | Want::Flag(path)
                    | Want::Refers(path, _) => path,
                    Want::Name | Want::Through(..) | Want::Beneath(_) => "name",
                    Want::Attribute => "customValue",
                };
                // The first pass asks for what the type has that stands for all.
                assert!(has(catalog.kinds[0], path, NEWEST), "{filter:?}");
            }
        }
    }

    #[test]
    fn c10_the_names_of_the_columns_of_a_list_are_each_there_once() {
        for catalog in all() {
            let mut names: Vec<&str> = catalog.all().map(|column| column.name).collect();
            names.extend(["name", "path", "moref"]);
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{}", catalog.field);
        }
    }
}
