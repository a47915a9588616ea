//! What objects use.

use super::{Action, Argument, Effect, Kind, Needs, Platform, Risk, Run};
use crate::action::performance;

/// The rows of this family, in the order in which they are published.
pub(super) const ROWS: &[&Action] = &[&GET_PERFORMANCE];

/// The arguments of this family, in the order in which they are published.
pub(super) const ARGUMENTS: &[Argument] = &[
    Argument {
        name: "counters",
        kind: Kind::Texts {
            most: 50,
            longest: 120,
        },
        doc: "Counters as group.name.rollup, e.g. cpu.usage.average; without it, usage of CPU, memory, disk, network",
    },
    Argument {
        name: "samples",
        kind: Kind::Whole {
            least: 1,
            most: 1_000,
            default: Some(15),
        },
        doc: "Most samples to return, the newest",
    },
    Argument {
        name: "interval_s",
        kind: Kind::Whole {
            least: 20,
            most: 86_400,
            default: None,
        },
        doc: "Seconds between samples: 20 (kept an hour), 300, 1800, 7200 or 86400",
    },
];

const GET_PERFORMANCE: Action = Action {
    word: "get_performance",
    aliases: &["performance", "get_perf", "query_perf", "get_metrics"],
    doc: "Samples of counters of a VM, host, cluster, datastore or pool, with average and extremes",
    risk: Risk::Read,
    effect: Effect::Read,
    needs: Needs::Server,
    platform: Platform::Any,
    required: &[],
    own: &[
        "vm_uuid",
        "vm_name",
        "moref",
        "instance_uuid",
        "host_system",
        "cluster",
        "datastore",
        "resource_pool",
        "counters",
        "samples",
        "interval_s",
        "since",
    ],
    undo: &[],
    preview: false,
    probe: "",
    api: &[],
    check: performance::check,
    run: Run::Server(|call| Box::pin(performance::get(call))),
};
