//! What has happened: events, tasks, and files on a datastore, each read to a bound.

use crate::envelope::Envelope;
use crate::error::Error;
use crate::session::Session;
use crate::transport::Deed;
use crate::value::{MoRef, Value};

/// How far below an object its history is meant (`EventFilterSpecRecursionOption`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recursion {
    /// The object alone.
    Own,
    /// The object and everything below it.
    All,
}

/// Which events or tasks (`EventFilterSpec`, `TaskFilterSpec`); what is `None` or empty does not narrow.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HistoryFilter {
    /// Of this object.
    pub entity: Option<(MoRef, Recursion)>,
    /// Not before this time (ISO 8601).
    pub begin: Option<String>,
    /// Not after this time (ISO 8601).
    pub end: Option<String>,
    /// Events of these types; never by `type`, which newer servers ignore for events of extensions.
    pub event_types: Vec<String>,
    /// Tasks in these states.
    pub states: Vec<String>,
}

impl HistoryFilter {
    fn write_entity(&self, out: &mut Envelope) {
        if let Some((entity, recursion)) = &self.entity {
            let word = match recursion {
                Recursion::Own => "self",
                Recursion::All => "all",
            };
            out.open("entity")
                .moref("entity", entity)
                .text("recursion", word)
                .close("entity");
        }
    }

    fn write_time(&self, out: &mut Envelope, of_tasks: bool) {
        if self.begin.is_none() && self.end.is_none() {
            return;
        }
        out.open("time");
        if of_tasks {
            out.text("timeType", "queuedTime");
        }
        if let Some(begin) = &self.begin {
            out.text("beginTime", begin);
        }
        if let Some(end) = &self.end {
            out.text("endTime", end);
        }
        out.close("time");
    }

    /// `EventFilterSpec`, its fields in the order of the schema.
    fn write_events(&self, out: &mut Envelope) {
        out.open("filter");
        self.write_entity(out);
        self.write_time(out, false);
        for kind in &self.event_types {
            out.text("eventTypeId", kind);
        }
        out.close("filter");
    }

    /// `TaskFilterSpec`, its fields in the order of the schema.
    fn write_tasks(&self, out: &mut Envelope) {
        out.open("filter");
        self.write_entity(out);
        self.write_time(out, true);
        for state in &self.states {
            out.text("state", state);
        }
        out.close("filter");
    }
}

impl Session {
    /// The newest events that the filter lets through, at most `most` (1 to 1,000), in no order.
    ///
    /// `CreateCollectorForEvents`, its latest page, `DestroyCollector`; `QueryEvents` where a server
    /// has no collectors.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn newest_events(
        &self,
        filter: &HistoryFilter,
        most: u32,
    ) -> Result<Vec<Value>, Error> {
        let manager = self.content().need("eventManager")?;
        let mut create = self.envelope("CreateCollectorForEvents", &manager);
        filter.write_events(&mut create);
        match self.latest_page(create, most).await {
            Err(error) if lacks(&error) => {
                let mut query = self.envelope("QueryEvents", &manager);
                filter.write_events(&mut query);
                self.all_of(query).await
            }
            other => other,
        }
    }

    /// The newest tasks of the server's history, at most `most` (1 to 1,000), in no order
    /// (`TaskInfo`); `None` where a server keeps none, as a standalone host: see
    /// [`Session::recent_tasks`].
    ///
    /// `CreateCollectorForTasks`, its latest page, `DestroyCollector`.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn newest_tasks(
        &self,
        filter: &HistoryFilter,
        most: u32,
    ) -> Result<Option<Vec<Value>>, Error> {
        let manager = self.content().need("taskManager")?;
        let mut create = self.envelope("CreateCollectorForTasks", &manager);
        filter.write_tasks(&mut create);
        match self.latest_page(create, most).await {
            Err(error) if lacks(&error) => Ok(None),
            tasks => tasks.map(Some),
        }
    }

    /// The tasks that are at work or ended some minutes ago (`TaskManager.recentTask`), in no order.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn recent_tasks(&self) -> Result<Vec<Value>, Error> {
        let manager = self.content().need("taskManager")?;
        let object = self.properties(&manager, &["recentTask"]).await?;
        let recent = object.as_ref().and_then(|object| object.get("recentTask"));
        let tasks: Vec<MoRef> = recent
            .map(|list| list.items().filter_map(Value::as_moref).collect())
            .unwrap_or_default();
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let spec = crate::FilterSpec::objects("Task", &tasks, &["info"]);
        let objects = self.collect(&[spec]).await?;
        Ok(objects
            .iter()
            .filter_map(|object| object.get("info").cloned())
            .collect())
    }

    /// Everything of this kind that the server knows of one task (`TaskInfo`); `None` if it has
    /// forgotten it, which it does some minutes after the end.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn task_info(&self, task: &MoRef) -> Result<Option<Value>, Error> {
        let object = self.properties(task, &["info"]).await?;
        Ok(object.and_then(|object| object.get("info").cloned()))
    }

    /// Makes a collector, reads its newest page, and destroys it, whatever came of the reading.
    async fn latest_page(&self, create: Envelope, most: u32) -> Result<Vec<Value>, Error> {
        let collector = self.history_collector(create).await?;
        let page = self.page_of(&collector, most).await;
        self.destroy_collector(&collector).await;
        page
    }

    /// Makes a history collector. A server has few of them: see [`Session::destroy_collector`].
    pub(super) async fn history_collector(&self, create: Envelope) -> Result<MoRef, Error> {
        let method = create.method();
        let answer = self.call(create, Deed::Read).await?;
        answer
            .and_then(|value| value.as_moref())
            .ok_or_else(|| Error::Malformed {
                call: method,
                reason: "it names no collector".into(),
                effect: crate::Effect::None,
            })
    }

    /// Gives a history collector back. If that fails, the logout frees it.
    pub(super) async fn destroy_collector(&self, collector: &MoRef) {
        let destroy = self.envelope("DestroyCollector", collector);
        if let Err(error) = self.call(destroy, Deed::Once).await {
            tracing::debug!(%error, "destroying a history collector");
        }
    }

    async fn page_of(&self, collector: &MoRef, most: u32) -> Result<Vec<Value>, Error> {
        let mut size = self.envelope("SetCollectorPageSize", collector);
        size.text("maxCount", &most.clamp(1, 1_000).to_string());
        self.call(size, Deed::Read).await?;
        let object = self.properties(collector, &["latestPage"]).await?;
        let page = object.as_ref().and_then(|object| object.get("latestPage"));
        Ok(page
            .map(|page| page.items().cloned().collect())
            .unwrap_or_default())
    }

    /// Calls a method whose `returnval` is there several times.
    pub(super) async fn all_of(&self, envelope: Envelope) -> Result<Vec<Value>, Error> {
        let answer = self.http().call(envelope, Deed::Read).await?;
        Ok(answer.all("returnval").cloned().collect())
    }

    /// `SearchDatastore_Task`: the files of one folder, `path` being `[datastore] folder`, whose
    /// names match `pattern` (`*` and `?`). The task's result is `HostDatastoreBrowserSearchResults`.
    ///
    /// # Errors
    /// Those of any call; it changes nothing.
    pub async fn search_datastore(
        &self,
        browser: &MoRef,
        path: &str,
        pattern: Option<&str>,
    ) -> Result<MoRef, Error> {
        let mut search = self.envelope("SearchDatastore_Task", browser);
        search.text("datastorePath", path).open("searchSpec");
        search
            .open("details")
            .flag("fileType", true)
            .flag("fileSize", true)
            .flag("modification", true)
            .flag("fileOwner", false)
            .close("details");
        // Without any pattern servers differ in what they find.
        search
            .text("matchPattern", pattern.unwrap_or("*"))
            .flag("sortFoldersFirst", true)
            .close("searchSpec");
        let answer = self.call(search, Deed::Once).await?;
        answer
            .and_then(|value| value.as_moref())
            .ok_or_else(|| Error::Malformed {
                call: "SearchDatastore_Task",
                reason: "it names no task".into(),
                effect: crate::Effect::None,
            })
    }

    /// `AcknowledgeAlarm`: marks a triggered alarm of an object as seen.
    ///
    /// # Errors
    /// Those of any change.
    pub async fn acknowledge_alarm(&self, alarm: &MoRef, entity: &MoRef) -> Result<(), Error> {
        let manager = self.content().need("alarmManager")?;
        let mut envelope = self.envelope("AcknowledgeAlarm", &manager);
        envelope.moref("alarm", alarm).moref("entity", entity);
        self.call(envelope, Deed::Change).await.map(drop)
    }
}

/// Whether the server has no such method.
pub(super) fn lacks(error: &Error) -> bool {
    ["MethodNotFound", "NotSupported", "NotImplemented"]
        .iter()
        .any(|kind| error.is_fault(kind))
}
