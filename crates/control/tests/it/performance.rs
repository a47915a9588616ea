//! What objects use, by the simulator's samples.

use serde_json::{Value, json};

use crate::support::Lab;

fn numbers(values: &Value) -> Vec<f64> {
    values
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value.as_f64().unwrap())
        .collect()
}

#[test]
fn samples_are_given_by_counter_oldest_first_with_their_extremes() {
    for flags in [&["-vm", "1"][..], &["-esx", "-vm", "1"]] {
        let lab = Lab::new(flags);
        let vm = lab.vm();
        let of_vm = json!({ "moref": vm["moref"], "samples": 3 });
        let answer = lab.call("get_performance", of_vm).ok();
        assert_eq!(answer["target"]["moref"], vm["moref"]);
        assert_eq!(answer["interval_s"], 20);
        let times: Vec<&str> = answer["times"]
            .as_array()
            .unwrap()
            .iter()
            .map(|time| time.as_str().unwrap())
            .collect();
        assert_eq!(times.len(), 3);
        assert!(times.is_sorted(), "{times:?}");
        let cpu = &answer["counters"][0];
        assert_eq!(cpu["counter"], "cpu.usage.average");
        assert_eq!(cpu["unit"], "percent");
        let values = numbers(&cpu["values"]);
        assert_eq!(values.len(), 3);
        assert_eq!(cpu["latest"], values[2]);
        assert_eq!(cpu["most"], values.iter().copied().fold(f64::MIN, f64::max));
        // The simulator's machines use a part of one CPU: hundredths would be above 100.
        assert!(
            values.iter().all(|value| (0.0..=100.0).contains(value)),
            "{values:?}"
        );
        let of_host = json!({
            "host_system": vm["host"], "counters": ["mem.usage.average"], "samples": 1
        });
        let answer = lab.call("get_performance", of_host).ok();
        assert_eq!(numbers(&answer["counters"][0]["values"]).len(), 1);
        lab.no_session_is_left();
    }
}

#[test]
fn a_counter_that_is_not_there_and_no_object_are_refused() {
    let lab = Lab::new(&["-vm", "1"]);
    let wrong = json!({ "moref": lab.vm()["moref"], "counters": ["cpu.usag.average"] });
    let answer = lab.call("get_performance", wrong);
    let body = answer.fails("argument.out_of_range", "none");
    assert_eq!(body["nearest"][0], "cpu.usage.average");
    lab.call("get_performance", json!({}))
        .fails("argument.missing", "none");
}
