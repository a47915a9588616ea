//! The world that the engine works on: the journal, the companions, the clock of this machine.

use std::path::PathBuf;

use companions::Companions;
use engine::ports::{Clock as _, JournalError, Owners, Ports};
use engine::system::{SystemClock, TimeIds};
use engine::{Engine, Settings};
use home::{Home, HomeError};
use journal::{ClaimError, Journal, Owner, Sink};
use policy::answer::Refusal;
use workflow::decide::Rules;
use workflow::define::Bounds;
use workflow::event::Assurance;
use workflow::model::{Approvers, WorkflowId};

use std::time::Duration;

/// How long one call of a companion may take where its step does not say.
const CALL: Duration = Duration::from_secs(300);

/// How long events may wait for the next commit. What was recorded by then is lost with the
/// machine's power, and found out again by a probe.
const LINGER: Duration = Duration::from_millis(50);

/// How long a preview or a probe may take.
const READ: Duration = Duration::from_secs(60);

/// How many people can be authenticated over standard input and output: none. Whoever has the
/// connection may write any name.
const DECIDERS: u32 = 0;

/// What the engine is built on.
pub(crate) struct World {
    journal: Journal,
    owners: Claims,
    companions: Companions,
}

impl Ports for World {
    type Journal = Journal;
    type Owners = Claims;
    type Dispatch = Companions;
    type Clock = SystemClock;
    type Ids = TimeIds;

    fn journal(&self) -> &Journal {
        &self.journal
    }

    fn owners(&self) -> &Claims {
        &self.owners
    }

    fn dispatch(&self) -> &Companions {
        &self.companions
    }

    fn clock(&self) -> &SystemClock {
        &SystemClock
    }

    fn ids(&self) -> &TimeIds {
        &TimeIds
    }
}

/// This process as the owner of workflows.
pub(crate) struct Claims {
    journal: Journal,
    owner: Owner,
}

impl Owners for Claims {
    async fn claim(&self, workflow: &WorkflowId) -> Result<bool, JournalError> {
        match self
            .journal
            .claim(workflow, &self.owner, SystemClock.now())
            .await
        {
            Ok(_epoch) => Ok(true),
            Err(ClaimError::Owned { .. }) => Ok(false),
            Err(ClaimError::Journal(error)) => Err(error),
            // Workflows are never deleted: somebody put another database in its place.
            Err(missing @ ClaimError::Missing { .. }) => Err(JournalError::Store {
                code: "store.failed",
                message: missing.to_string(),
            }),
        }
    }

    async fn release(&self, workflow: &WorkflowId) -> Result<(), JournalError> {
        self.journal
            .release(workflow, &self.owner)
            .await
            .map(|_owned| ())
    }
}

/// A home that is open, with all that works on it.
pub(crate) struct Open {
    /// Performs what is decided.
    pub(crate) engine: Engine<World>,
    /// The durable record.
    pub(crate) journal: Journal,
    /// Where the rows of calls go: into the same chain.
    pub(crate) sink: Sink,
    /// The companions, for the catalog and the end.
    pub(crate) companions: Companions,
    /// How old a workflow is at least that may be archived, in days.
    pub(crate) archive_after_days: u32,
}

impl Open {
    /// Opens the home of the environment, and makes it if there is none. Starts no companion.
    ///
    /// # Errors
    /// [`Refusal`] for every call as long as it cannot be opened. Nothing is overwritten then.
    pub(crate) fn from_environment() -> Result<Self, Refusal> {
        let home = Home::open_default(&|name| std::env::var_os(name)).map_err(|e| of_home(&e))?;
        let config = home.load_config().map_err(|e| of_home(&e))?;
        let deny = policy::rules::Rules::new(&config.rules.deny)
            .map_err(|e| Refusal::new("config.rules", e.to_string()))?;
        let beside = std::env::current_exe()
            .ok()
            .and_then(|exe| exe.parent().map(PathBuf::from));
        let listed = companions::Config::load(&home, beside.as_deref())
            .map_err(|e| Refusal::new(e.code(), e.to_string()))?;
        let companions = Companions::new(companions::Settings::new(listed, &home).with_rules(deny));
        let journal = Journal::open(&home).map_err(|e| Refusal::new(e.code(), e.to_string()))?;
        let owner = Owner::register(&home, SystemClock.now()).map_err(|e| of_journal(&e))?;
        let world = World {
            journal: journal.owned_by(&owner),
            owners: Claims {
                journal: journal.clone(),
                owner,
            },
            companions: companions.clone(),
        };
        Ok(Self {
            engine: Engine::new(world, settings(&config)),
            sink: journal.sink(jiff::Timestamp::now),
            journal,
            companions,
            archive_after_days: config.archive_after_days,
        })
    }
}

/// What the operator set, as the engine takes it.
fn settings(config: &home::Config) -> Settings {
    let seconds = |s: u64| u32::try_from(s).unwrap_or(u32::MAX);
    Settings {
        rules: Rules {
            plan_only_if_destructive: match config.plan_approval {
                home::PlanApproval::Writes => false,
                home::PlanApproval::Destructive => true,
            },
            min_assurance: match config.min_assurance {
                home::Assurance::Attested => Assurance::Attested,
                home::Assurance::Elicited => Assurance::Elicited,
                home::Assurance::Authenticated => Assurance::Authenticated,
                home::Assurance::Signed => Assurance::Signed,
            },
            approvers: Approvers {
                quorum: config.quorum,
                exclude_requester: config.exclude_requester,
            },
        },
        bounds: Bounds {
            approval_timeout_s: seconds(config.approval_timeout_s),
            max_approval_timeout_s: seconds(config.max_approval_timeout_s),
            execution_expiry_s: seconds(config.execution_expiry_s),
            max_parallel: u32::try_from(config.max_parallel).unwrap_or(u32::MAX),
        },
        deciders: DECIDERS,
        linger: LINGER,
        call_timeout: CALL,
        read_timeout: READ,
    }
}

fn of_home(error: &HomeError) -> Refusal {
    Refusal::new(error.code(), error.to_string())
}

/// The refusal for a journal that cannot be used.
pub(crate) fn of_journal(error: &JournalError) -> Refusal {
    let refusal = engine::store_refusal(error);
    Refusal::new(refusal.code, refusal.message)
}
