//! The life of a companion: start, environment, sharing, death, restart, end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::common::{LONG, Lab, call, failure, fake, is_there, kill, lost, success, until};
use companions::SkillState;
use engine::ports::Dispatch as _;
use serde_json::{Value, json};
use workflow::event::Left;

#[tokio::test(flavor = "multi_thread")]
async fn no_companion_is_started_before_it_is_needed() {
    let lab = Lab::new("");
    assert_eq!(lab.companions.running(), [("fake".to_owned(), false)]);
    lab.pid().await;
    assert_eq!(lab.companions.running(), [("fake".to_owned(), true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_a_companion_gets_a_cleared_environment_and_its_own() {
    let entry = json!({"command": fake(), "env": {"MY_OWN": "1"}});
    let lab = Lab::tuned(&[("fake", entry)], |mut settings| {
        for name in [
            "AWS_SECRET_ACCESS_KEY",
            "LD_PRELOAD",
            "SSH_AUTH_SOCK",
            "LC_TIME",
            "TMPDIR",
        ] {
            settings.environment.push((name.into(), "/tmp".into()));
        }
        settings
    });
    let names = success(lab.call("env", json!({})).await)["names"].clone();
    let names: BTreeSet<&str> = names
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for there in [
        "PATH",
        "PILOTHOUSE_HOME",
        "LC_TIME",
        "TMPDIR",
        "MY_OWN",
        "FAKE_LEDGER",
    ] {
        assert!(names.contains(there), "{there}: {names:?}");
    }
    let known = |name: &str| {
        [
            "PATH",
            "HOME",
            "PILOTHOUSE_HOME",
            "LANG",
            "TMPDIR",
            "MY_OWN",
        ]
        .contains(&name)
            || name.starts_with("LC_")
            || name.starts_with("FAKE_")
    };
    assert!(names.iter().all(|name| known(name)), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_on_standard_output_is_skipped_and_counted() {
    let lab = Lab::new("noise");
    success(lab.call("peek", json!({"name": "x"})).await);
    let skill = lab
        .companions
        .catalog(Some("fake"))
        .await
        .unwrap()
        .skills
        .remove(0);
    assert_eq!(skill.state, SkillState::Ready);
    assert!(skill.noise >= 5, "{}", skill.noise);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_calls_share_one_session() {
    let lab = Lab::new("");
    lab.pid().await;
    // The fake answers none of them before all are there, and then in the other order.
    let calls: Vec<_> = (0..100)
        .map(|i| {
            let companions = lab.companions.clone();
            let call = call(
                "fake",
                "peek",
                json!({"name": format!("n{i}"), "barrier": 100}),
            );
            tokio::spawn(async move {
                let facts = companions.describe(&call, &BTreeMap::new()).await.unwrap();
                let outgoing = engine::ports::Outgoing {
                    call,
                    workflow: workflow::model::WorkflowId(format!("wf_{i}")),
                    step: workflow::model::StepId("a".to_owned()),
                    direction: workflow::event::Direction::Do,
                    facts,
                    meta: engine::ports::Meta {
                        key: format!("wf_{i}/a/do/0"),
                        attempt: 1,
                        target: None,
                    },
                    timeout: LONG,
                };
                (i, companions.call(outgoing).await)
            })
        })
        .collect();
    for call in calls {
        let (i, reply) = call.await.unwrap();
        assert_eq!(success(reply)["name"], format!("n{i}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_need_a_companion_at_the_same_time_start_it_once() {
    let lab = Lab::new("");
    let looks: Vec<_> = (0..20)
        .map(|_| {
            let companions = lab.companions.clone();
            tokio::spawn(async move {
                companions
                    .describe(&call("fake", "env", json!({})), &BTreeMap::new())
                    .await
            })
        })
        .collect();
    for look in looks {
        look.await.unwrap().unwrap();
    }
    // The name of each test's directory is its own, so its processes can be counted.
    let marker = lab.dir.path().to_string_lossy().into_owned();
    let mut processes = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        processes += usize::from(
            String::from_utf8_lossy(&environment).contains(&format!("FAKE_LEDGER={marker}/")),
        );
    }
    assert_eq!(processes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_companion_that_hangs_at_its_start_is_given_up_on_and_gone() {
    let lab = Lab::with(&[(
        "fake",
        json!({"command": fake(), "start_timeout_s": 1, "env": {"FAKE_MODE": "hang_start"}}),
    )]);
    let unfit = lab.unfit("env", json!({})).await;
    assert_eq!(unfit.code, "companion.unavailable");
    assert!(
        unfit.message.contains("did not answer within 1 s"),
        "{}",
        unfit.message
    );
    let marker = format!("FAKE_LEDGER={}/", lab.dir.path().display());
    until("the process is gone", || {
        std::fs::read_dir("/proc").unwrap().flatten().all(|entry| {
            !String::from_utf8_lossy(
                &std::fs::read(entry.path().join("environ")).unwrap_or_default(),
            )
            .contains(&marker)
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_companion_that_ends_at_its_start_is_quoted_with_its_last_words() {
    let lab = Lab::new("exit_start");
    let unfit = lab.unfit("env", json!({})).await;
    assert_eq!(unfit.code, "companion.unavailable");
    assert!(
        unfit
            .message
            .starts_with("Check the companion `fake`: it ended at its start (exit code 3)"),
        "{}",
        unfit.message
    );
    assert!(
        unfit
            .message
            .contains("first line | Traceback: [31mcannot find its configuration"),
        "{}",
        unfit.message
    );
    assert!(guard::text::is_clean(&unfit.message));
    let lab = Lab::new("quit_start");
    assert!(
        lab.unfit("env", json!({}))
            .await
            .message
            .ends_with("(exit code 0)")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_not_there_or_speaks_no_mcp_is_told_apart() {
    for (entry, part) in [
        (json!({"command": "/nowhere/at/all"}), "cannot be started"),
        (
            json!({"command": "no-such-command-anywhere"}),
            "there is no executable",
        ),
        (
            json!({"command": "/bin/sh", "args": ["-c", "echo '{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":5}'; cat >/dev/null"]}),
            "does not speak MCP",
        ),
    ] {
        let lab = Lab::with(&[("fake", entry)]);
        let unfit = lab.unfit("env", json!({})).await;
        assert_eq!(unfit.code, "companion.unavailable");
        assert!(unfit.message.contains(part), "{}", unfit.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_companion_that_fails_again_and_again_is_tried_with_patience() {
    let lab = Lab::new("exit_start");
    let mut refused = None;
    // Five starts: two for free, then after 1 and 2 seconds of patience, which are waited for.
    for _ in 0..8 {
        let unfit = lab.unfit("env", json!({})).await;
        if unfit.message.starts_with("Wait ") {
            refused = Some(unfit);
            break;
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused.code, "companion.unavailable");
    assert!(
        refused.message.contains("failed 5 times in a row"),
        "{}",
        refused.message
    );
    assert!(
        refused.message.contains("exit code 3"),
        "why: {}",
        refused.message
    );
    let begun = Instant::now();
    assert!(
        lab.unfit("env", json!({}))
            .await
            .message
            .starts_with("Wait ")
    );
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "it is said at once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_companion_that_died_while_idle_is_reaped_and_started_again_without_loss() {
    let lab = Lab::new("");
    let first = lab.pid().await;
    kill(first);
    until("the dead process is reaped though nobody asks", || {
        !is_there(first)
    })
    .await;
    assert_ne!(lab.pid().await, first);
    success(lab.call("bump", json!({})).await);
    assert_eq!(lab.ledger().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_does_not_change_the_fingerprint_and_another_version_does() {
    let lab = Lab::new("");
    let before = lab.describe("env", json!({})).await.unwrap();
    kill(lab.pid().await);
    let after = lab.describe("env", json!({})).await.unwrap();
    assert_eq!(before, after);

    let secret = Lab::with(&[(
        "fake",
        json!({"command": fake(), "env": {"OTHER": "environment"}}),
    )]);
    assert_eq!(
        secret.describe("env", json!({})).await.unwrap().fingerprint,
        before.fingerprint
    );
    for entry in [
        json!({"command": fake(), "env": {"FAKE_VERSION": "2.0.0"}}),
        json!({"command": fake(), "env": {"FAKE_NAME": "other"}}),
        json!({"command": fake(), "args": ["--flag"]}),
    ] {
        let other = Lab::with(&[("fake", entry)]);
        assert_ne!(
            other.describe("env", json!({})).await.unwrap().fingerprint,
            before.fingerprint
        );
    }
    let copy = lab.dir.path().join("copy");
    std::fs::copy(fake(), &copy).unwrap();
    let fingerprint = async || {
        let lab = Lab::with(&[("fake", json!({"command": copy}))]);
        lab.describe("env", json!({})).await.unwrap().fingerprint
    };
    let before = fingerprint().await;
    let mut program = std::fs::read(&copy).unwrap();
    program.extend_from_slice(b"more");
    std::fs::remove_file(&copy).unwrap();
    std::fs::write(&copy, program).unwrap();
    std::fs::set_permissions(&copy, std::fs::metadata(fake()).unwrap().permissions()).unwrap();
    assert_ne!(
        fingerprint().await,
        before,
        "the program itself is another one"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_after_stop_all() {
    let lab = Lab::with(&[
        ("fake", json!({"command": fake()})),
        ("other", json!({"command": fake()})),
    ]);
    let first = lab.pid().await;
    lab.companions
        .describe(&call("other", "env", json!({})), &BTreeMap::new())
        .await
        .unwrap();
    lab.companions.stop_all(Duration::from_secs(5)).await;
    assert!(!is_there(first), "neither running nor a zombie");
    let unfit = lab.unfit("env", json!({})).await;
    assert!(unfit.message.contains("shutting down"), "{}", unfit.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_all_ends_those_who_do_not_want_to_and_their_children() {
    // It ignores the end of its input and SIGTERM, and has a child of its own in its group.
    let script = r#"trap '' TERM; sleep 1000 & echo "$!" > "$FAKE_LEDGER.child"; exec "$0""#;
    let entry = json!({"command": "/bin/sh", "args": ["-c", script, fake()], "env": {"FAKE_MODE": "stubborn"}});
    let lab = Lab::with(&[("fake", entry)]);
    let pid = lab.pid().await;
    let child = std::fs::read_to_string(lab.dir.path().join("ledger.child")).unwrap();
    let child: u64 = child.trim().parse().unwrap();
    assert!(is_there(child));
    let begun = Instant::now();
    lab.companions.stop_all(Duration::from_millis(400)).await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(!is_there(pid));
    until("the child of the companion is gone", || !is_running(child)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_companions_ends_them() {
    let lab = Lab::new("stubborn");
    let pid = lab.pid().await;
    drop(lab);
    until("the process is gone", || !is_there(pid)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p18_calls_in_flight_are_lost_when_everything_is_stopped() {
    let lab = Lab::new("");
    let outgoing = lab.outgoing("bump", json!({"fault": "lost"})).await;
    let companions = lab.companions.clone();
    let call = tokio::spawn(async move { companions.call(outgoing).await });
    until("it was sent", || lab.ledger().len() == 1).await;
    lab.companions.stop_all(Duration::from_secs(2)).await;
    lost(call.await.unwrap());
    let facts = workflow::model::Facts {
        action: None,
        ..some_facts()
    };
    let after = engine::ports::Outgoing {
        call: crate::common::call("fake", "bump", json!({})),
        workflow: workflow::model::WorkflowId("wf_1".to_owned()),
        step: workflow::model::StepId("a".to_owned()),
        direction: workflow::event::Direction::Do,
        facts,
        meta: engine::ports::Meta {
            key: "k".to_owned(),
            attempt: 1,
            target: None,
        },
        timeout: LONG,
    };
    let (code, _, left) = failure(lab.companions.call(after).await);
    assert_eq!(
        (code.as_str(), left),
        ("companion.unavailable", Left::Nothing)
    );
}

fn some_facts() -> workflow::model::Facts {
    let digest = guard::digest::Digest::of_bytes(b"");
    workflow::model::Facts {
        fingerprint: digest,
        tool: digest,
        action: None,
        risk: workflow::model::Risk::Write,
        effect: workflow::model::Effect::Once,
        preview: None,
        select: None,
        inverses: Vec::new(),
    }
}

/// A process that is there and no zombie: whose child it was, `init` may not reap it here.
fn is_running(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}
