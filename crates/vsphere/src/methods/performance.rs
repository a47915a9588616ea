//! Performance counters and their samples.

use crate::error::Error;
use crate::session::Session;
use crate::value::{MoRef, Value};

/// Which samples of one object (`PerfQuerySpec`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerfQuery {
    /// The object.
    pub entity: MoRef,
    /// The newest so many samples; only for samples of 20 s, servers ignore it for older ones.
    pub samples: Option<u32>,
    /// Not before this time (ISO 8601).
    pub begin: Option<String>,
    /// Counters by number, and the instance of each: empty for the whole object, `*` for each instance.
    pub metrics: Vec<(i64, String)>,
    /// Seconds from one sample to the next: 20, or one of the server's historical intervals.
    pub interval_s: u32,
}

impl Session {
    /// All counters that the server has (`PerfCounterInfo`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn perf_counters(&self) -> Result<Vec<Value>, Error> {
        let manager = self.content().need("perfManager")?;
        let object = self.properties(&manager, &["perfCounter"]).await?;
        let list = object.as_ref().and_then(|object| object.get("perfCounter"));
        Ok(list
            .map(|list| list.items().cloned().collect())
            .unwrap_or_default())
    }

    /// `QueryPerfProviderSummary`: whether an object has current samples, and how often.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn perf_provider(&self, entity: &MoRef) -> Result<Option<Value>, Error> {
        let manager = self.content().need("perfManager")?;
        let mut envelope = self.envelope("QueryPerfProviderSummary", &manager);
        envelope.moref("entity", entity);
        self.call(envelope, crate::transport::Deed::Read).await
    }

    /// `QueryPerf`: the samples, in the form `normal` (`PerfEntityMetric`), one for each object.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn query_perf(&self, query: &PerfQuery) -> Result<Vec<Value>, Error> {
        let manager = self.content().need("perfManager")?;
        let mut envelope = self.envelope("QueryPerf", &manager);
        envelope.open("querySpec").moref("entity", &query.entity);
        if let Some(begin) = &query.begin {
            envelope.text("startTime", begin);
        }
        if let Some(samples) = query.samples {
            envelope.text("maxSample", &samples.to_string());
        }
        for (counter, instance) in &query.metrics {
            envelope
                .open("metricId")
                .text("counterId", &counter.to_string())
                .text("instance", instance)
                .close("metricId");
        }
        envelope
            .text("intervalId", &query.interval_s.to_string())
            .text("format", "normal")
            .close("querySpec");
        self.all_of(envelope).await
    }
}
