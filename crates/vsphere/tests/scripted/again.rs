//! What is known already is not asked for again, and not believed either: a second login on a
//! server, and a task that has ended before anybody looks.

use std::time::Duration;

use vsphere::{Effect, Error, Outcome, Wait};

use crate::fake::{Fake, Reply, Seen};
use crate::{client, connect, on, vm};

/// A server that is another one after the first look.
fn another(seen: &Seen) -> Option<Reply> {
    let version = if seen.nth == 0 { "8.0.3.0" } else { "6.5" };
    (seen.method == "RetrieveServiceContent").then(|| {
        Reply::Soap(format!(
            "<RetrieveServiceContentResponse xmlns=\"urn:vim25\"><returnval>\
             <rootFolder type=\"Folder\">ha-folder-root</rootFolder>\
             <propertyCollector type=\"PropertyCollector\">ha-property-collector</propertyCollector>\
             <about><name>Fake</name><apiVersion>{version}</apiVersion></about>\
             <sessionManager type=\"SessionManager\">ha-sessionmgr</sessionManager></returnval>\
             </RetrieveServiceContentResponse>"
        ))
    })
}

fn methods(fake: &Fake, from: usize) -> Vec<String> {
    let seen = fake.seen().into_iter().skip(from);
    seen.map(|seen| seen.method).collect()
}

#[tokio::test]
async fn c4_a_second_login_goes_first_over_one_connection_and_the_server_is_looked_at_after_it() {
    let fake = Fake::but(|_| None).await;
    let client = client();
    connect(&client, &fake)
        .await
        .unwrap()
        .logout()
        .await
        .unwrap();
    let before = fake.seen().len();
    let session = connect(&client, &fake).await.unwrap();
    assert_eq!(session.about().api_version, "8.0.3.0");
    assert_eq!(session.api_version(), "8.0.3.0");
    session.logout().await.unwrap();
    assert_eq!(
        methods(&fake, before),
        ["Login", "RetrieveServiceContent", "Logout"]
    );
    let seen = fake.seen();
    let connection = seen[before].connection;
    assert!(seen[before..].iter().all(|s| s.connection == connection));
    assert!(seen[..before].iter().all(|s| s.connection != connection));
}

#[tokio::test]
async fn c9_a_server_that_is_another_one_by_now_is_taken_for_what_it_is_now() {
    let fake = Fake::but(another).await;
    let client = client();
    let first = connect(&client, &fake).await.unwrap();
    assert_eq!(first.about().api_version, "8.0.3.0");
    first.logout().await.unwrap();
    let second = connect(&client, &fake).await.unwrap();
    assert_eq!(second.about().api_version, "6.5");
    assert_eq!(fake.of("GET").len(), 2);
    second.logout().await.unwrap();
}

#[tokio::test]
async fn c11_a_login_that_an_exchanged_server_does_not_understand_begins_anew_and_a_refused_one_does_not()
 {
    let fake = Fake::but(|s| {
        (s.method == "Login").then_some(())?;
        match s.nth {
            1 => Some(Reply::Fault("ManagedObjectNotFound", "")),
            3 => Some(Reply::Fault("InvalidLogin", "")),
            _ => None,
        }
    })
    .await;
    let client = client();
    for logins in [1, 3] {
        let session = connect(&client, &fake).await.unwrap();
        assert_eq!(fake.of("Login").len(), logins);
        session.logout().await.unwrap();
    }
    // What came before the login came again, and the password went over a connection of its own.
    assert_eq!(fake.of("RetrieveServiceContent").len(), 2);
    let error = connect(&client, &fake).await.unwrap_err();
    assert!(matches!(error, Error::LoginRefused { .. }), "{error:?}");
    assert_eq!(fake.of("Login").len(), 4);
}

#[tokio::test]
async fn c4_a_session_on_a_server_that_cannot_be_looked_at_is_ended() {
    let fake = Fake::but(|s| {
        (s.method == "RetrieveServiceContent" && s.nth == 1)
            .then(|| Reply::http("503 Busy", "", "", 0))
    })
    .await;
    let client = client();
    let first = connect(&client, &fake).await.unwrap();
    first.logout().await.unwrap();
    let error = connect(&client, &fake).await.unwrap_err();
    assert!(
        matches!(error, Error::Http { status: 503, .. }),
        "{error:?}"
    );
    assert_eq!(error.effect(), Effect::None);
    assert_eq!(client.drain(Duration::from_secs(5)).await, 0);
    assert_eq!(fake.of("Logout").len(), 2);
    // Nothing is known of it any more.
    let third = connect(&client, &fake).await.unwrap();
    assert_eq!(fake.of("GET").len(), 2);
    third.logout().await.unwrap();
}

/// An object with these properties: name, value.
fn object(kind: &str, id: &str, properties: &[(&str, &str)]) -> String {
    let properties: String = properties
        .iter()
        .map(|(name, value)| format!("<propSet><name>{name}</name><val>{value}</val></propSet>"))
        .collect();
    format!("<objects><obj type=\"{kind}\">{id}</obj>{properties}</objects>")
}

fn answer(objects: &[String]) -> Reply {
    Reply::Soap(format!(
        "<RetrievePropertiesExResponse xmlns=\"urn:vim25\"><returnval>{}</returnval>\
         </RetrievePropertiesExResponse>",
        objects.concat()
    ))
}

const WAIT: Duration = Duration::from_secs(30);

/// What a wait comes to, what it read along of the VM, and how many collectors it made, if the first
/// look shows these objects and a watch a success.
async fn glanced(objects: &[String]) -> (Outcome, Option<String>, usize) {
    let first = answer(objects);
    let success = "<WaitForUpdatesExResponse xmlns=\"urn:vim25\"><returnval><version>1</version><filterSet>\
        <objectSet><kind>enter</kind><obj type=\"Task\">task-7</obj><changeSet><name>info.state</name>\
        <op>assign</op><val>success</val></changeSet></objectSet></filterSet></returnval>\
        </WaitForUpdatesExResponse>";
    let fake = Fake::but(move |s| match s.method.as_str() {
        "RetrievePropertiesEx" => Some(first.clone()),
        "WaitForUpdatesEx" => Some(Reply::Soap(success.into())),
        _ => None,
    })
    .await;
    let client = client();
    let session = connect(&client, &fake).await.unwrap();
    let task = session.power_on(&vm()).await.unwrap();
    let wait = Wait {
        limit: WAIT,
        vm: Some(vm()),
    };
    let along = ["runtime.powerState"];
    let waited = session.wait_seeing(&task, &wait, &along, &|_| {}).await;
    let (outcome, seen) = waited.unwrap();
    session.logout().await.unwrap();
    let state = seen.and_then(|vm| vm.text(along[0]).map(str::to_owned));
    (outcome, state, fake.of("CreatePropertyCollector").len())
}

#[tokio::test]
async fn c2_a_task_that_has_ended_at_the_first_look_is_not_watched() {
    let task = |properties: &[(&str, &str)]| object("Task", "task-7", properties);
    let on = || {
        object(
            "VirtualMachine",
            "vm-42",
            &[("runtime.powerState", "poweredOn")],
        )
    };
    let (outcome, state, collectors) = glanced(&[
        task(&[("info.state", "success"), ("info.result", "ok")]),
        on(),
    ])
    .await;
    assert!(matches!(outcome, Outcome::Success(Some(value)) if value.text() == "ok"));
    assert_eq!((state.as_deref(), collectors), (Some("poweredOn"), 0));
    let fault = "<fault xsi:type=\"TaskInProgress\"/><localizedMessage>no</localizedMessage>";
    let failed = task(&[("info.state", "error"), ("info.error", fault)]);
    let (outcome, _, collectors) = glanced(&[failed, on()]).await;
    assert!(matches!(outcome, Outcome::Failed(fault) if fault.kind == "TaskInProgress"));
    assert_eq!(collectors, 0);
    let question = ("runtime.question", "<id>7</id><text>Keep it?</text>");
    let asking = object("VirtualMachine", "vm-42", &[question]);
    let (outcome, _, collectors) = glanced(&[task(&[("info.state", "running")]), asking]).await;
    assert!(matches!(outcome, Outcome::Question(question) if question.id == "7"));
    assert_eq!(collectors, 0);
}

#[tokio::test]
async fn c2_a_first_look_that_does_not_show_the_end_decides_nothing() {
    let task = |id, properties: &[(&str, &str)]| object("Task", id, properties);
    for shown in [
        vec![],
        vec![task("task-7", &[("info.state", "running")])],
        vec![task("task-7", &[("info.state", "a new state")])],
        // Without the error that belongs to it.
        vec![task("task-7", &[("info.state", "error")])],
        // A question, and nothing of the task.
        vec![object(
            "VirtualMachine",
            "vm-42",
            &[("runtime.question", "<id>7</id>")],
        )],
        // Of another task.
        vec![task("task-8", &[("info.state", "error")])],
    ] {
        let (outcome, state, collectors) = glanced(&shown).await;
        assert_eq!(outcome, Outcome::Success(None), "{shown:?}");
        assert_eq!((state, collectors), (None, 1), "{shown:?}");
    }
}

#[tokio::test]
async fn c2_a_task_whose_vm_is_gone_is_watched_alone() {
    let fake = Fake::but(|s| {
        (s.method == "CreateFilter" && s.body.contains("vm-42"))
            .then_some(Reply::Fault("ManagedObjectNotFound", ""))
    })
    .await;
    let client = client();
    let session = connect(&client, &fake).await.unwrap();
    let task = session.power_on(&vm()).await.unwrap();
    let wait = Wait {
        limit: Duration::ZERO,
        vm: Some(vm()),
    };
    session.wait(&task, &wait).await.unwrap();
    let filters = fake.of("CreateFilter");
    assert_eq!(filters.len(), 2);
    assert!(filters.iter().all(|filter| filter.body.contains("task-7")));
    session.logout().await.unwrap();
    // Nor is it a failure if the task is gone as well.
    let fake = Fake::but(on(
        "CreateFilter",
        Reply::Fault("ManagedObjectNotFound", ""),
    ))
    .await;
    let session = connect(&client, &fake).await.unwrap();
    assert_eq!(session.wait(&task, &wait).await.unwrap(), Outcome::Gone);
    session.logout().await.unwrap();
}
