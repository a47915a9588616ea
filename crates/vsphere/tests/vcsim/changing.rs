//! Changes and their tasks.

use std::time::Duration;

use vsphere::{Client, Effect, MoRef, Outcome, Reconfigure, Session, Wait};

use crate::support::Vcsim;
use crate::{all, first_vm, session};

async fn wait(session: &Session, task: &MoRef, vm: &MoRef) -> Outcome {
    session
        .wait(
            task,
            &Wait {
                limit: Duration::from_secs(30),
                vm: Some(vm.clone()),
            },
        )
        .await
        .unwrap()
}

async fn power_state(session: &Session, vm: &MoRef) -> String {
    let object = session
        .properties(vm, &["runtime.powerState"])
        .await
        .unwrap()
        .unwrap();
    object.text("runtime.powerState").unwrap().to_owned()
}

#[tokio::test]
async fn c2_power_changes_are_tasks_and_a_wrong_state_is_a_fault() {
    let sim = Vcsim::start(&["-vm", "1"]);
    let client = Client::default();
    let session = session(&client, &sim).await;
    let vm = first_vm(&session).await;
    assert_eq!(power_state(&session, &vm).await, "poweredOn");
    let task = session.power_off(&vm).await.unwrap();
    assert_eq!(wait(&session, &task, &vm).await, Outcome::Success(None));
    assert_eq!(power_state(&session, &vm).await, "poweredOff");
    // The fault comes at once or from the task: servers differ.
    let fault = match session.power_off(&vm).await {
        Err(error) => {
            assert_eq!(error.effect(), Effect::None);
            error.fault().unwrap().clone()
        }
        Ok(task) => match wait(&session, &task, &vm).await {
            Outcome::Failed(fault) => fault,
            other => panic!("{other:?}"),
        },
    };
    assert_eq!(fault.kind, "InvalidPowerState");
    assert_eq!(fault.field("existingState"), Some("poweredOff"));
    assert_eq!(
        fault.fields().get("requestedState").map(String::as_str),
        Some("poweredOff")
    );
    let task = session.power_on(&vm).await.unwrap();
    assert_eq!(wait(&session, &task, &vm).await, Outcome::Success(None));
    let task = session.reset(&vm).await.unwrap();
    assert_eq!(wait(&session, &task, &vm).await, Outcome::Success(None));
    let task = session.suspend(&vm).await.unwrap();
    assert_eq!(wait(&session, &task, &vm).await, Outcome::Success(None));
    assert_eq!(power_state(&session, &vm).await, "suspended");
    session.logout().await.unwrap();
}

#[tokio::test]
async fn c2_snapshots_are_created_reverted_and_removed() {
    let sim = Vcsim::start(&["-vm", "1"]);
    let client = Client::default();
    let session = session(&client, &sim).await;
    let vm = first_vm(&session).await;
    let name = "before <upgrade> & \"more\" 'ü'";
    let task = session
        .create_snapshot(&vm, name, "line 1\nline 2", false, false)
        .await
        .unwrap();
    let Outcome::Success(Some(result)) = wait(&session, &task, &vm).await else {
        panic!("no snapshot")
    };
    let snapshot = result.as_moref().unwrap();
    assert_eq!(snapshot.kind, "VirtualMachineSnapshot");
    let object = session
        .properties(&vm, &["snapshot"])
        .await
        .unwrap()
        .unwrap();
    let tree = object
        .get("snapshot")
        .unwrap()
        .get("rootSnapshotList")
        .unwrap();
    assert_eq!(tree.text_at("name"), Some(name));
    assert_eq!(tree.text_at("description"), Some("line 1\nline 2"));
    assert_eq!(
        tree.get("snapshot").unwrap().as_moref(),
        Some(snapshot.clone())
    );
    let task = session.revert_to_snapshot(&snapshot, true).await.unwrap();
    assert_eq!(wait(&session, &task, &vm).await, Outcome::Success(None));
    let task = session.remove_snapshot(&snapshot, false).await.unwrap();
    assert_eq!(wait(&session, &task, &vm).await, Outcome::Success(None));
    let object = session
        .properties(&vm, &["snapshot"])
        .await
        .unwrap()
        .unwrap();
    let left = object
        .get("snapshot")
        .map_or(0, |s| s.all("rootSnapshotList").count());
    assert_eq!(left, 0);
    session.logout().await.unwrap();
}

#[tokio::test]
async fn c2_a_vm_is_reconfigured_and_destroyed() {
    let sim = Vcsim::start(&["-vm", "1"]);
    let client = Client::default();
    let session = session(&client, &sim).await;
    let vm = first_vm(&session).await;
    let task = session.power_off(&vm).await.unwrap();
    assert_eq!(wait(&session, &task, &vm).await, Outcome::Success(None));
    let before = session
        .properties(&vm, &["config.changeVersion"])
        .await
        .unwrap()
        .unwrap();
    let spec = Reconfigure {
        change_version: before.text("config.changeVersion").map(str::to_owned),
        cpus: Some(4),
        memory_mib: Some(8192),
        ..Reconfigure::default()
    };
    let task = session.reconfigure(&vm, &spec).await.unwrap();
    assert_eq!(wait(&session, &task, &vm).await, Outcome::Success(None));
    let after = session
        .properties(&vm, &["config.hardware"])
        .await
        .unwrap()
        .unwrap();
    let hardware = after.get("config.hardware").unwrap();
    assert_eq!(hardware.get("numCPU").unwrap().as_i64(), Some(4));
    assert_eq!(hardware.get("memoryMB").unwrap().as_i64(), Some(8192));
    assert!(hardware.all("device").count() > 3);
    let task = session.destroy(&vm).await.unwrap();
    assert_eq!(wait(&session, &task, &vm).await, Outcome::Success(None));
    assert_eq!(session.properties(&vm, &["name"]).await.unwrap(), None);
    session.logout().await.unwrap();
}

#[tokio::test]
async fn c2_a_task_that_nobody_knows_is_gone_and_no_time_is_no_failure() {
    let sim = Vcsim::start(&["-vm", "1"]);
    let client = Client::default();
    let session = session(&client, &sim).await;
    let vm = first_vm(&session).await;
    let at_once = Wait {
        limit: Duration::ZERO,
        vm: None,
    };
    let nowhere = MoRef::new("Task", "task-nowhere");
    assert_eq!(
        session.wait(&nowhere, &at_once).await.unwrap(),
        Outcome::Gone
    );
    let task = session.power_off(&vm).await.unwrap();
    let outcome = session.wait(&task, &at_once).await.unwrap();
    assert!(
        matches!(outcome, Outcome::Success(_) | Outcome::Running(_)),
        "{outcome:?}"
    );
    session.logout().await.unwrap();
}

#[tokio::test]
async fn c2_a_standalone_host_works_as_well() {
    let sim = Vcsim::start(&["-esx", "-vm", "2"]);
    let client = Client::default();
    let session = session(&client, &sim).await;
    assert_eq!(session.about().api_type, "HostAgent");
    assert_eq!(all(&session, "VirtualMachine", &["name"]).await.len(), 2);
    assert_eq!(all(&session, "HostSystem", &["name"]).await.len(), 1);
    let vm = first_vm(&session).await;
    let task = session.power_off(&vm).await.unwrap();
    assert_eq!(wait(&session, &task, &vm).await, Outcome::Success(None));
    session.logout().await.unwrap();
}
