//! The transition table: the moves that are legal, and nothing else is.

/// The word for where a workflow stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// Made, and never run.
    Pending,
    /// A person is asked; nothing runs meanwhile.
    Awaiting,
    /// Its steps run.
    Running,
    /// Its steps are being undone.
    RollingBack,
    /// Nothing runs until a person decides.
    Paused,
    /// Its last step ran.
    Completed,
    /// A step failed, and what was done before it stays.
    Failed,
    /// It will not run.
    Cancelled,
    /// What was done is undone; what stays behind is named.
    RolledBack,
    /// Something could not be undone.
    RollbackFailed,
}

impl Status {
    /// The word for it, as in the answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Awaiting => "awaiting_approval",
            Self::Running => "running",
            Self::RollingBack => "rolling_back",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::RolledBack => "rolled_back",
            Self::RollbackFailed => "rollback_failed",
        }
    }

    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Awaiting,
        Self::Running,
        Self::RollingBack,
        Self::Paused,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::RolledBack,
        Self::RollbackFailed,
    ];

    /// Whether something is going on without anybody being asked.
    #[must_use]
    pub fn is_busy(self) -> bool {
        matches!(self, Self::Running | Self::RollingBack)
    }

    /// Whether a rollback by hand may be asked for.
    #[must_use]
    pub fn may_roll_back(self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Failed | Self::Cancelled | Self::Paused | Self::RollbackFailed
        )
    }
}

/// The moves that are legal: from, the event that makes the move, to.
pub const TABLE: &[(Status, &str, &[Status])] = {
    use Status::{
        Awaiting, Cancelled, Completed, Failed, Paused, Pending, RollbackFailed, RolledBack,
        RollingBack, Running,
    };
    &[
        (Pending, "started", &[Running]),
        (Pending, "approval_requested", &[Awaiting]),
        (Pending, "cancelled", &[Cancelled]),
        (Awaiting, "approved", &[Running, RollingBack, Paused]),
        (
            Awaiting,
            "rejected",
            &[
                Running,
                Completed,
                Failed,
                Cancelled,
                Paused,
                RollbackFailed,
            ],
        ),
        (
            Awaiting,
            "expired",
            &[Completed, Failed, Cancelled, Paused, RollbackFailed],
        ),
        (
            Awaiting,
            "cancelled",
            &[Completed, Failed, Cancelled, Paused, RollbackFailed],
        ),
        (Awaiting, "drifted", &[Paused]),
        (Running, "approval_requested", &[Awaiting]),
        (Running, "drifted", &[Paused]),
        (Running, "lapsed", &[Paused]),
        (Running, "paused", &[Paused]),
        (Running, "completed", &[Completed]),
        (Running, "failed", &[Failed]),
        (Running, "cancelled", &[Cancelled]),
        (Running, "rollback_started", &[RollingBack]),
        (Paused, "resumed", &[Running]),
        (Paused, "resolved", &[Paused]),
        (Paused, "approval_requested", &[Awaiting]),
        (Paused, "cancelled", &[Cancelled]),
        (Completed, "approval_requested", &[Awaiting]),
        (Failed, "approval_requested", &[Awaiting]),
        (Cancelled, "approval_requested", &[Awaiting]),
        (RollbackFailed, "approval_requested", &[Awaiting]),
        (RollingBack, "rollback_ended", &[RolledBack, RollbackFailed]),
    ]
};
