//! Room `vsphere`: the only SOAP and the only TLS of the project.
//!
//! A client for the calls that Pilothouse makes to a vCenter or an ESXi host (vim25, versions 6.5
//! to 9), and no other. [`Client`] looks at a certificate ([`Client::probe`]), logs in and out;
//! [`Session`] reads ([`property`]), changes ([`methods`]) and waits ([`task`]).
//!
//! Text and values of the server are handed on raw: whoever shows them sanitises them.
//!
//! # Invariants by absence
//!
//! - Nothing in here knows MCP, workflows, profiles, or the files of the home: pins come in as
//!   arguments and go out as values. The only files read are the system's certificate authorities.
//! - Nothing in here follows a redirect, asks a proxy, or resumes a TLS session.
//! - No change is sent twice, and no login is repeated.
//! - No session outlives its [`Session`]: dropping it logs out.
//! - Nothing in here prints, and no password or cookie is logged.
//! - No code in here panics on what a server sends, and no answer is held in memory without a limit.

pub mod client;
pub mod endpoint;
mod envelope;
pub mod error;
pub mod fault;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod known;
mod lane;
pub mod lookup;
pub mod methods;
pub mod pin;
pub mod property;
pub mod session;
mod soap;
pub mod spec;
pub mod task;
pub mod tls;
mod transport;
pub mod value;
mod version;
mod wire;
mod xml;

pub use client::{Client, Credentials, Greeted, Settings, Target};
pub use endpoint::Endpoint;
pub use error::{Effect, Error};
pub use fault::Fault;
pub use lane::Lane;
pub use lookup::{FoundByUuid, Via};
pub use methods::{
    CloneSpec, DeviceChange, Disk, Evacuation, FileOperation, Granted, GuestAccount, GuestProgram,
    HistoryFilter, NewMachine, Operation, PastTask, PerfQuery, Reconfigure, Recursion, Relocate,
};
pub use pin::{Fingerprint, Thumbprint};
pub use property::{Missing, Object, Retrieved};
pub use session::{About, ServiceContent, Session, UserSession};
pub use spec::FilterSpec;
pub use task::{Outcome, Question, Wait};
pub use tls::{Accepted, CaBundle, Handshake, Trust};
pub use value::{MoRef, Value};
