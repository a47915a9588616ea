//! get_performance: what an object used, by counters that are named.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use vsphere::PerfQuery;

use super::entity;
use super::moment::{self, Range};
use crate::argument::Arguments;
use crate::call::Call;
use crate::failure::{Failure, nearest};
use crate::fault;

/// The counters of a call that names none: those of them that the server has.
const USUAL: &[&str] = &[
    "cpu.usage.average",
    "mem.usage.average",
    "disk.usage.average",
    "net.usage.average",
];

/// How far apart the current samples of a host or VM are, in seconds.
const CURRENT: u32 = 20;

/// How far apart the first of the historical samples are, in seconds.
const HISTORICAL: u32 = 300;

/// How many samples there are unless the call says otherwise.
const SAMPLES: usize = 15;

/// One object is named, and a time that can be read.
///
/// # Errors
///
/// `argument.conflict`, `argument.missing`, `argument.out_of_range`.
pub(crate) fn check(arguments: &Arguments) -> Result<(), Failure> {
    entity::check(arguments)?;
    moment::check(arguments)?;
    let named = [
        "vm_uuid",
        "vm_name",
        "moref",
        "host_system",
        "cluster",
        "datastore",
        "resource_pool",
    ];
    if named.iter().any(|name| arguments.given(name).is_some()) {
        return Ok(());
    }
    Err(Failure::new(
        "argument.missing",
        "Pass the object that is meant: a VM, `host_system`, `cluster`, `datastore` or `resource_pool`",
    )
    .with("argument", "vm_uuid"))
}

/// A counter (`PerfCounterInfo`).
#[derive(Debug, Clone)]
struct Counter {
    number: i64,
    unit: String,
}

/// All counters by their names, as `cpu.usage.average`.
async fn counters(call: &Call<'_>) -> Result<BTreeMap<String, Counter>, Failure> {
    let all = call.session.perf_counters().await.map_err(fault::failure)?;
    Ok(all
        .iter()
        .filter_map(|counter| {
            let text = |path: &str| counter.text_at(path);
            let name = format!(
                "{}.{}.{}",
                text("groupInfo.key")?,
                text("nameInfo.key")?,
                text("rollupType")?
            );
            let counter = Counter {
                number: counter.get("key")?.as_i64()?,
                unit: guard::text::sanitize_to(text("unitInfo.key").unwrap_or_default(), 60),
            };
            Some((name, counter))
        })
        .collect())
}

fn chosen<'c>(
    call: &Call<'_>,
    all: &'c BTreeMap<String, Counter>,
) -> Result<Vec<(&'c str, &'c Counter)>, Failure> {
    let asked = call.arguments.texts("counters");
    if asked.is_empty() {
        let usual = USUAL.iter().filter_map(|name| all.get_key_value(*name));
        return Ok(usual.map(|(name, one)| (name.as_str(), one)).collect());
    }
    asked
        .into_iter()
        .map(|name| {
            let found = all.get_key_value(name);
            found.map(|(name, one)| (name.as_str(), one)).ok_or_else(|| {
                Failure::new(
                    "argument.out_of_range",
                    format!("Pass `counters` as group.name.rollup, such as cpu.usage.average: the server has none `{name}`"),
                )
                .with("argument", "counters")
                .with("nearest", nearest(name, all.keys().map(String::as_str)))
            })
        })
        .collect()
}

/// The samples of one object.
pub(crate) async fn get(call: &Call<'_>) -> Result<Map<String, Value>, Failure> {
    let Some(entity) = entity::named(call).await? else {
        return Err(Failure::new(
            "argument.missing",
            "Pass the object that is meant: a VM, `host_system`, `cluster`, `datastore` or `resource_pool`",
        )
        .with("argument", "vm_uuid"));
    };
    let range = Range::of(call).await?;
    let all = counters(call).await?;
    let chosen = chosen(call, &all)?;
    let provider = call
        .session
        .perf_provider(&entity.reference)
        .await
        .map_err(fault::failure)?;
    let has_current = provider
        .as_ref()
        .and_then(|provider| provider.get("currentSupported"))
        .and_then(vsphere::Value::as_bool)
        == Some(true);
    let interval_s = match call.arguments.whole("interval_s") {
        Some(asked) => u32::try_from(asked).unwrap_or(HISTORICAL),
        None if has_current => CURRENT,
        None => HISTORICAL,
    };
    let samples = call
        .arguments
        .whole("samples")
        .and_then(|samples| usize::try_from(samples).ok())
        .unwrap_or(SAMPLES);
    let query = PerfQuery {
        entity: entity.reference.clone(),
        samples: u32::try_from(samples).ok(),
        begin: range.begin.map(|at| at.to_string()),
        metrics: chosen
            .iter()
            .map(|(_, counter)| (counter.number, String::new()))
            .collect(),
        interval_s,
    };
    let answered = if chosen.is_empty() {
        Vec::new()
    } else {
        call.session
            .query_perf(&query)
            .await
            .map_err(fault::failure)?
    };
    let metric = answered.first();
    let times: Vec<String> = metric
        .into_iter()
        .flat_map(|metric| metric.all("sampleInfo"))
        .map(|sample| guard::text::sanitize_to(sample.text_at("timestamp").unwrap_or_default(), 40))
        .collect();
    // Servers differ in which end they begin at. Of older samples one sends all that there are:
    // the newest are kept.
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by_key(|at| moment::read(&times[*at]));
    order.drain(..order.len().saturating_sub(samples));
    let times: Vec<&str> = order.iter().map(|at| times[*at].as_str()).collect();
    let rows: Vec<Value> = chosen
        .iter()
        .map(|(name, counter)| {
            let series = metric
                .into_iter()
                .flat_map(|metric| metric.all("value"))
                .find(|series| {
                    let number = series.at("id.counterId").and_then(vsphere::Value::as_i64);
                    number == Some(counter.number)
                });
            let values: Vec<Option<f64>> = series
                .into_iter()
                .flat_map(|series| series.all("value"))
                .map(|value| read(value.as_i64(), &counter.unit))
                .collect();
            let in_order: Vec<Option<f64>> = order
                .iter()
                .map(|at| values.get(*at).copied().flatten())
                .collect();
            row(name, &counter.unit, &in_order)
        })
        .collect();
    let mut answer = Map::new();
    answer.insert("action".to_owned(), json!(call.row.word));
    answer.insert("target".to_owned(), entity.target);
    answer.insert("interval_s".to_owned(), json!(interval_s));
    answer.insert("times".to_owned(), json!(times));
    answer.insert("counters".to_owned(), Value::Array(rows));
    if times.is_empty() {
        answer.insert(
            "note".to_owned(),
            json!("There are no samples: the object was off, or the server keeps none of this interval; pass another `interval_s`"),
        );
    }
    Ok(answer)
}

/// A sample: percent comes as hundredths, and -1 says that there is none.
fn read(value: Option<i64>, unit: &str) -> Option<f64> {
    let value = value.filter(|value| *value != -1)? as f64;
    Some(if unit == "percent" {
        value / 100.0
    } else {
        value
    })
}

fn row(name: &str, unit: &str, values: &[Option<f64>]) -> Value {
    let there: Vec<f64> = values.iter().flatten().copied().collect();
    let average = (!there.is_empty())
        .then(|| (there.iter().sum::<f64>() / there.len() as f64 * 100.0).round() / 100.0);
    json!({
        "counter": guard::text::sanitize_to(name, 120),
        "unit": unit,
        "values": values,
        "without_sample": values.len() - there.len(),
        "latest": there.last(),
        "average": average,
        "least": there.iter().copied().reduce(f64::min),
        "most": there.iter().copied().reduce(f64::max),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_comes_as_hundredths_and_minus_one_is_no_sample() {
        assert_eq!(read(Some(1_234), "percent"), Some(12.34));
        assert_eq!(read(Some(1_234), "kiloBytes"), Some(1_234.0));
        assert_eq!(read(Some(-1), "percent"), None);
        let row = row(
            "cpu.usage.average",
            "percent",
            &[Some(1.0), None, Some(2.0)],
        );
        assert_eq!(row["average"], 1.5);
        assert_eq!(row["without_sample"], 1);
        assert_eq!(row["values"][1], Value::Null);
        assert_eq!((&row["latest"], &row["least"]), (&json!(2.0), &json!(1.0)));
    }
}
