//! Pages, searches and tasks: what is followed, and what is told of the end.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use vsphere::{Client, Effect, Error, FilterSpec, MoRef, Outcome, Settings, Via, Wait};

use crate::fake::{Fake, HERE, Reply};
use crate::{client, connect, on, settings, vm};

/// A page with `from..to` VMs, and a token if more are to come.
fn page(method: &str, ids: std::ops::Range<u32>, token: Option<&str>) -> Reply {
    let token = token
        .map(|t| format!("<token>{t}</token>"))
        .unwrap_or_default();
    let objects: String = ids
        .map(|id| {
            format!(
                "<objects><obj type=\"VirtualMachine\">vm-{id}</obj><propSet><name>summary.config.uuid</name>\
                 <val xsi:type=\"xsd:string\">UUID-{}</val></propSet></objects>",
                id % 3
            )
        })
        .collect();
    Reply::Soap(format!(
        "<{method}Response xmlns=\"urn:vim25\"><returnval>{token}{objects}</returnval></{method}Response>"
    ))
}

#[tokio::test]
async fn c2_a_page_token_is_followed_or_cancelled_and_an_object_comes_once() {
    let fake = Fake::but(|s| match s.method.as_str() {
        "RetrievePropertiesEx" => Some(page(&s.method, 0..3, Some("t&lt;1&gt;"))),
        // One object again: a server that is reached on two ways.
        // Asked for before the first one was given up: what it names is cancelled.
        "ContinueRetrievePropertiesEx" if s.nth == 1 => Some(page(&s.method, 5..6, Some("t2"))),
        "ContinueRetrievePropertiesEx" if s.nth == 2 => Some(Reply::http("503 Full", "", "", 0)),
        "ContinueRetrievePropertiesEx" => Some(page(&s.method, 2..5, None)),
        "CancelRetrievePropertiesEx" => Some(Reply::Fault("MethodNotFound", "")),
        _ => None,
    })
    .await;
    let client = client();
    let session = connect(&client, &fake).await.unwrap();
    let spec = [FilterSpec::objects("VirtualMachine", [&vm()], &["name"])];
    assert_eq!(session.collect(&spec).await.unwrap().len(), 5);
    assert!(
        fake.of("RetrievePropertiesEx")[0]
            .body
            .contains("<maxObjects>1000</maxObjects>")
    );
    assert!(
        fake.of("ContinueRetrievePropertiesEx")[0]
            .body
            .contains("<token>t&lt;1&gt;</token>")
    );
    assert!(fake.of("CancelRetrievePropertiesEx").is_empty());

    let done = session
        .retrieve(&spec, 7, |_| ControlFlow::Break(()))
        .await
        .unwrap();
    assert_eq!((done.objects, done.complete), (1, false));
    assert!(
        fake.of("CancelRetrievePropertiesEx")[0]
            .body
            .contains("<token>t2</token>")
    );

    let error = session.collect(&spec).await.unwrap_err();
    assert!(
        matches!(error, Error::Http { status: 503, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn c10_the_next_page_is_asked_for_while_this_one_still_arrives() {
    let asked = Arc::new(Notify::new());
    let script = Arc::clone(&asked);
    // The rest of the first page comes only when the second one was asked for.
    let fake = Fake::but(move |s| match s.method.as_str() {
        "RetrievePropertiesEx" => {
            let Reply::Soap(whole) = page(&s.method, 0..3, Some("t")) else {
                return None;
            };
            let halves = whole.replacen("<objects>", &format!("{HERE}<objects>"), 2);
            let halves = halves.replacen(HERE, "", 1);
            Some(Reply::Halves(halves, Arc::clone(&script)))
        }
        "ContinueRetrievePropertiesEx" => {
            script.notify_one();
            Some(page(&s.method, 3..5, None))
        }
        _ => None,
    })
    .await;
    let client = client();
    let session = connect(&client, &fake).await.unwrap();
    let spec = [FilterSpec::objects("VirtualMachine", [&vm()], &["name"])];
    let all = session.collect(&spec).await.unwrap();
    // In the order of the pages, whichever arrived first.
    let ids: Vec<&str> = all
        .iter()
        .map(|object| object.reference.id.as_str())
        .collect();
    assert_eq!(ids, ["vm-0", "vm-1", "vm-2", "vm-3", "vm-4"]);
}

#[tokio::test]
async fn c10_pages_come_over_two_connections_by_turns_and_then_there_is_room_for_others() {
    const PAGES: usize = 9;
    let asked: Vec<Arc<Notify>> = (0..PAGES).map(|_| Arc::default()).collect();
    // The rest of each page comes only when the next one was asked for.
    let fake = Fake::but(move |s| {
        let at = match s.method.as_str() {
            "RetrievePropertiesEx" => 0,
            "ContinueRetrievePropertiesEx" => s.nth + 1,
            _ => return None,
        };
        if at > 0 {
            asked[at].notify_one();
        }
        let id = u32::try_from(at).unwrap();
        let Some(next) = asked.get(at + 1) else {
            return Some(page(&s.method, id..id + 1, None));
        };
        let Reply::Soap(whole) = page(&s.method, id..id + 1, Some("t")) else {
            return None;
        };
        let halves = whole.replacen("<objects>", &format!("{HERE}<objects>"), 1);
        Some(Reply::Halves(halves, Arc::clone(next)))
    })
    .await;
    // Room for three connections in all.
    let client = Client::new(Settings {
        sessions: 3,
        ..settings()
    });
    let session = connect(&client, &fake).await.unwrap();
    let spec = [FilterSpec::objects("VirtualMachine", [&vm()], &["name"])];
    assert_eq!(session.collect(&spec).await.unwrap().len(), PAGES);
    let mut over: Vec<usize> = fake
        .of("ContinueRetrievePropertiesEx")
        .iter()
        .map(|seen| seen.connection)
        .collect();
    assert_eq!(over.len(), PAGES - 1);
    over.sort_unstable();
    over.dedup();
    assert_eq!(over.len(), 2, "{over:?}");
    // What was borrowed was given back: else the last would wait for the end of the first.
    let _second = connect(&client, &fake).await.unwrap();
    let _third = connect(&client, &fake).await.unwrap();
}

#[tokio::test]
async fn c9_without_an_index_for_all_uuids_the_inventory_is_searched() {
    let fake = Fake::but(|s| match s.method.as_str() {
        "FindAllByUuid" => Some(Reply::Fault("MethodNotFound", "")),
        "RetrievePropertiesEx" => Some(page(&s.method, 0..6, None)),
        _ => None,
    })
    .await;
    let client = client();
    let session = connect(&client, &fake).await.unwrap();
    let found = session.find_all_by_uuid("uuid-1", false).await.unwrap();
    assert_eq!(found.via, Via::Inventory);
    assert_eq!(
        found.vms,
        [
            MoRef::new("VirtualMachine", "vm-1"),
            MoRef::new("VirtualMachine", "vm-4")
        ]
    );
    assert!(fake.of("FindByUuid").is_empty());
}

/// An update of the task: `(version, truncated, property, value)`.
fn update(version: &str, truncated: bool, kind: &str, id: &str, changes: &str) -> Reply {
    Reply::Soap(format!(
        "<WaitForUpdatesExResponse xmlns=\"urn:vim25\"><returnval><version>{version}</version><filterSet>\
         <filter type=\"PropertyFilter\">f</filter><objectSet><kind>modify</kind><obj type=\"{kind}\">{id}</obj>\
         {changes}</objectSet></filterSet><truncated>{truncated}</truncated></returnval></WaitForUpdatesExResponse>"
    ))
}

fn set(name: &str, value: &str) -> String {
    format!(
        "<changeSet><name>{name}</name><op>assign</op><val xsi:type=\"x\">{value}</val></changeSet>"
    )
}

#[tokio::test]
async fn c2_a_task_is_watched_through_truncated_and_lost_versions() {
    let fake = Fake::but(|s| {
        let task = |version, truncated, changes: &str| {
            update(version, truncated, "Task", "task-7", changes)
        };
        (s.method == "WaitForUpdatesEx").then(|| match s.nth {
            0 => task("1", true, &set("info.state", "queued")),
            1 => task("2", false, &set("info.state", "running")),
            2 => Reply::Soap("<WaitForUpdatesExResponse xmlns=\"urn:vim25\"/>".into()),
            3 => Reply::Fault("InvalidCollectorVersion", ""),
            4 => Reply::Close,
            _ => task(
                "9",
                false,
                &(set("info.result", "ok") + &set("info.state", "success")),
            ),
        })
    })
    .await;
    let client = client();
    let session = connect(&client, &fake).await.unwrap();
    let task = session.power_on(&vm()).await.unwrap();
    let wait = Wait {
        limit: Duration::from_secs(30),
        vm: Some(vm()),
    };
    match session.wait(&task, &wait).await.unwrap() {
        Outcome::Success(Some(value)) => assert_eq!(value.text(), "ok"),
        other => panic!("{other:?}"),
    }
    let versions: Vec<String> = fake
        .of("WaitForUpdatesEx")
        .iter()
        .map(|s| {
            s.body
                .split("version>")
                .nth(1)
                .unwrap()
                .trim_end_matches("</")
                .to_owned()
        })
        .collect();
    assert_eq!(versions, ["", "1", "2", "2", "", ""]);
    assert_eq!(fake.of("CreateFilter").len(), 1);
}

#[tokio::test]
async fn c2_a_task_that_was_lost_sight_of_is_looked_for_again() {
    // The same over a lost connection, an answer that is none, and one that breaks off.
    for (method, lost) in [
        ("CreatePropertyCollector", Reply::Close),
        ("CreateFilter", Reply::Close),
        (
            "CreatePropertyCollector",
            Reply::http("503 Busy", "", "", 0),
        ),
        ("WaitForUpdatesEx", Reply::http("503 Busy", "", "", 0)),
        (
            "WaitForUpdatesEx",
            Reply::http("200 OK", "Content-Type: text/xml\r\n", "<e:En", 50),
        ),
    ] {
        let fake = Fake::but(move |s| match s.method.as_str() {
            name if name == method && s.nth == 0 => Some(lost.clone()),
            "WaitForUpdatesEx" => Some(update(
                "1",
                false,
                "Task",
                "task-7",
                &set("info.state", "success"),
            )),
            _ => None,
        })
        .await;
        let client = client();
        let session = connect(&client, &fake).await.unwrap();
        let task = session.power_on(&vm()).await.unwrap();
        let wait = Wait {
            limit: Duration::from_secs(9),
            vm: Some(vm()),
        };
        let outcome = session.wait(&task, &wait).await.unwrap();
        assert_eq!(outcome, Outcome::Success(None), "{method}");
        assert_eq!(fake.of("PowerOnVM_Task").len(), 1, "{method}");
        session.logout().await.unwrap();
    }
}

async fn outcome_of(
    changes: &'static [(&'static str, &'static str, &'static str)],
    limit: Duration,
) -> Outcome {
    let fake = Fake::but(move |s| {
        (s.method == "WaitForUpdatesEx").then(|| match changes.get(s.nth) {
            Some((kind, name, value)) => {
                let id = if *kind == "Task" { "task-7" } else { "vm-42" };
                update("1", s.nth + 1 < changes.len(), kind, id, &set(name, value))
            }
            None => Reply::Soap("<WaitForUpdatesExResponse xmlns=\"urn:vim25\"/>".into()),
        })
    })
    .await;
    let client = client();
    let session = connect(&client, &fake).await.unwrap();
    let task = session.power_on(&vm()).await.unwrap();
    session
        .wait(
            &task,
            &Wait {
                limit,
                vm: Some(vm()),
            },
        )
        .await
        .unwrap()
}

#[tokio::test]
async fn c2_every_end_of_a_task_is_told() {
    let limit = Duration::from_secs(30);
    let asked = outcome_of(
        &[
            ("Task", "info.state", "running"),
            (
                "VirtualMachine",
                "runtime.question",
                "<id>_vmx1</id><text>moved or copied?</text><choice><choiceInfo><label>Moved</label><key>1</key>\
                 </choiceInfo></choice>",
            ),
        ],
        limit,
    )
    .await;
    match asked {
        Outcome::Question(q) => assert_eq!((q.id.as_str(), q.choices.len()), ("_vmx1", 1)),
        other => panic!("{other:?}"),
    }
    let failed = outcome_of(
        &[
            (
                "Task",
                "info.error",
                "<fault xsi:type=\"InvalidPowerStateFault\"><existingState>x</existingState></fault>\
                 <localizedMessage>no</localizedMessage>",
            ),
            ("Task", "info.state", "error"),
        ],
        limit,
    )
    .await;
    match failed {
        Outcome::Failed(fault) => assert_eq!(
            (fault.kind.as_str(), fault.message.as_str()),
            ("InvalidPowerState", "no")
        ),
        other => panic!("{other:?}"),
    }
    let running: &[_] = &[
        ("Task", "info.progress", "42"),
        ("Task", "info.state", "a state of the future"),
    ];
    assert_eq!(
        outcome_of(running, Duration::ZERO).await,
        Outcome::Running(Some(42))
    );
    assert_eq!(outcome_of(&[], Duration::ZERO).await, Outcome::Gone);
}

#[tokio::test]
async fn c2_losing_sight_of_a_task_is_not_losing_the_task() {
    let fake = Fake::but(on("WaitForUpdatesEx", Reply::Fault("NotAuthenticated", ""))).await;
    let client = client();
    let session = connect(&client, &fake).await.unwrap();
    let task = session.power_on(&vm()).await.unwrap();
    let error = session
        .wait(
            &task,
            &Wait {
                limit: Duration::from_secs(9),
                vm: None,
            },
        )
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Wait { task: t, .. } if *t == task),
        "{error:?}"
    );
    assert_eq!(error.effect(), Effect::Unknown);
}
