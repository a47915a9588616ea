//! The real binary over standard input and output, against a real vCenter simulator over TLS.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]

mod actions;
mod certificates;
mod checks;
mod credentials;
mod devices;
mod devices_asked;
#[path = "../../../vsphere/tests/scripted/fake.rs"]
#[expect(dead_code, reason = "made for more than is needed here")]
mod fake;
mod hardware;
mod harm;
mod lists;
mod lists_scripted;
mod lost;
mod making;
mod outside;
mod placing;
mod protocol;
mod reads;
mod scene;
mod scripted;
mod sessions;
mod snapshots;
mod support;
mod trees;
mod undos;
#[path = "../../../vsphere/tests/support/mod.rs"]
mod vcsim;
mod waits;
