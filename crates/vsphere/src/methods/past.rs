//! The tasks of one object: what the server still knows of them.
//!
//! `TaskManager` and `TaskHistoryCollector` in the vSphere Web Services API; a standalone host has
//! no collector and keeps its recent tasks alone, for some minutes after their end.

use super::history::lacks;
use crate::error::Error;
use crate::session::Session;
use crate::transport::Deed;
use crate::value::{MoRef, Value};

/// How many tasks are read at most: of one object, from one moment on.
const MOST: u32 = 200;

/// What a server says of a task (`TaskInfo`), raw.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PastTask {
    /// The task itself.
    pub task: Option<MoRef>,
    /// The method that started it, as `PowerOnVM_Task`, where the server says so.
    pub method: String,
    /// What it does, as `VirtualMachine.powerOn`.
    pub description_id: String,
    /// When it was queued, as the server writes times (ISO 8601).
    pub queue_time: String,
    /// The user who started it, in the server's own spelling; empty if no user did.
    pub user_name: String,
}

impl PastTask {
    fn from_value(info: &Value) -> Self {
        let text = |path: &str| info.text_at(path).unwrap_or_default().to_owned();
        Self {
            task: info.get("task").and_then(Value::as_moref),
            method: text("name"),
            description_id: text("descriptionId"),
            queue_time: text("queueTime"),
            user_name: text("reason.userName"),
        }
    }
}

fn is_of(info: &Value, entity: &MoRef) -> bool {
    info.get("entity").and_then(Value::as_moref).as_ref() == Some(entity)
}

impl Session {
    /// The tasks of an object that were queued since a time of the server's own clock. A standalone
    /// host tells all that it still knows.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn tasks_of(&self, entity: &MoRef, since: &str) -> Result<Vec<PastTask>, Error> {
        let manager = self.content().need("taskManager")?;
        if self.about().is_vcenter() {
            match self.collected_tasks(&manager, entity, since).await {
                // A server of another make may have no collectors.
                Err(error) if lacks(&error) => {}
                tasks => return tasks,
            }
        }
        let recent = self.recent_tasks().await?;
        let of_entity = recent.iter().filter(|info| is_of(info, entity));
        Ok(of_entity.map(PastTask::from_value).collect())
    }

    async fn collected_tasks(
        &self,
        manager: &MoRef,
        entity: &MoRef,
        since: &str,
    ) -> Result<Vec<PastTask>, Error> {
        let mut create = self.envelope("CreateCollectorForTasks", manager);
        create
            .open("filter")
            .open("entity")
            .moref("entity", entity)
            .text("recursion", "self")
            .close("entity")
            .open("time")
            .text("timeType", "queuedTime")
            .text("beginTime", since)
            .close("time")
            .close("filter");
        let collector = self.history_collector(create).await?;
        let tasks = self.past_of(&collector, entity).await;
        self.destroy_collector(&collector).await;
        tasks
    }

    async fn past_of(&self, collector: &MoRef, entity: &MoRef) -> Result<Vec<PastTask>, Error> {
        // A new collector stands at the latest tasks, and reads on from there.
        let rewind = self.envelope("RewindCollector", collector);
        self.call(rewind, Deed::Read).await?;
        let mut read = self.envelope("ReadNextTasks", collector);
        read.text("maxCount", &MOST.to_string());
        let answer = self.http().call(read, Deed::Read).await?;
        let tasks = answer.all("returnval").filter(|info| is_of(info, entity));
        Ok(tasks.map(PastTask::from_value).collect())
    }
}
