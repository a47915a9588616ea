//! Who makes a call.

use std::collections::BTreeSet;

use crate::privilege::Privilege;

/// The context of a call: who the kernel says asks, through what, and what they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user of the operating system.
    pub os_user: String,
    /// The user's id.
    pub uid: u32,
    /// Name and version of the MCP client as it says itself: a hint, no proof.
    pub client: Option<String>,
    /// How the call came: `stdio`.
    pub transport: String,
    /// What the caller may do beyond the ordinary.
    pub privileges: BTreeSet<Privilege>,
}

impl Caller {
    /// A caller without privileges. What the client says of itself is sanitised, and cut
    /// at 120 characters.
    #[must_use]
    pub fn new(user: &home::User, client: Option<&str>, transport: &str) -> Self {
        Self {
            os_user: user.name.clone(),
            uid: user.uid,
            client: client
                .map(|text| guard::text::sanitize_to(text.trim(), 120))
                .filter(|text| !text.is_empty()),
            transport: transport.to_owned(),
            privileges: BTreeSet::new(),
        }
    }

    /// The same caller with these privileges.
    #[must_use]
    pub fn with(mut self, privileges: BTreeSet<Privilege>) -> Self {
        self.privileges = privileges;
        self
    }

    /// Whether the caller holds a privilege.
    #[must_use]
    pub fn holds(&self, privilege: Privilege) -> bool {
        self.privileges.contains(&privilege)
    }

    /// The actor of an audit row: `os:alice`. The client is not part of it, since it
    /// says of itself what it likes; it stands in the payload.
    #[must_use]
    pub fn actor(&self) -> String {
        format!("os:{}", self.os_user)
    }
}
