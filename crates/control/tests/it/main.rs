//! The real binary over standard input and output, against a real vCenter simulator over TLS.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]

mod actions;
mod arguments;
mod certificates;
mod checks;
mod credentials;
mod devices;
mod devices_asked;
mod every_action;
#[path = "../../../vsphere/tests/scripted/fake.rs"]
#[expect(dead_code, reason = "made for more than is needed here")]
mod fake;
mod few_calls;
mod ground;
mod guests;
mod hardware;
mod harm;
mod history;
mod hosts;
mod keys;
mod lists;
mod lists_narrowed;
mod lists_scripted;
mod load;
mod lost;
mod maintenance;
mod making;
mod names;
mod outside;
mod performance;
mod placing;
mod protocol;
mod read_only;
mod reads;
mod scene;
mod scripted;
mod sessions;
mod snapshots;
mod support;
mod trees;
mod trust;
mod undos;
#[path = "../../../vsphere/tests/support/mod.rs"]
mod vcsim;
mod waits;
mod watched;
