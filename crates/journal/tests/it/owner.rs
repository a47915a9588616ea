//! One living owner for each workflow.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;

use home::Home;
use journal::{ClaimError, Journal, Owner};
use serde_json::json;

use crate::common::{Killed, NOW, arguments, fill, id, other_process, place};

/// Claims the workflow, says its name and epoch, and waits to be killed.
#[tokio::test]
#[ignore = "a role that another test starts"]
async fn role_own() {
    let home = Home::open(arguments()["home"].as_str().unwrap()).unwrap();
    let journal = Journal::open(&home).unwrap();
    let owner = Owner::register(&home, NOW).unwrap();
    let epoch = journal.claim(&id("one"), &owner, NOW).await.unwrap();
    writeln!(std::io::stderr(), "{} {epoch}", owner.process()).unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

#[tokio::test]
async fn one_owner_until_it_dies() {
    let place = place();
    let journal = place.open();
    fill(&journal, &id("one"), 0).await;
    let mut command = other_process("owner::role_own", &json!({"home": place.home.root()}));
    let mut child = Killed(
        command
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut said = String::new();
    BufReader::new(child.0.stderr.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    let (process, epoch) = said.trim().split_once(' ').unwrap();
    assert_eq!(epoch, "1");

    let owner = Owner::register(&place.home, NOW).unwrap();
    let refused = journal
        .claim(&id("one"), &owner, NOW + 1)
        .await
        .unwrap_err();
    assert_eq!(
        refused,
        ClaimError::Owned {
            process: process.to_owned()
        }
    );
    let seen = journal.owner_of(&id("one")).await.unwrap().unwrap();
    assert_eq!(
        (seen.process.as_str(), seen.epoch, seen.since, seen.alive),
        (process, 1, NOW, true)
    );
    assert!(
        !journal.release(&id("one"), &owner).await.unwrap(),
        "only the owner can give it up"
    );

    child.0.kill().unwrap();
    child.0.wait().unwrap();
    let seen = journal.owner_of(&id("one")).await.unwrap().unwrap();
    assert!(!seen.alive);
    assert_eq!(journal.claim(&id("one"), &owner, NOW + 2).await, Ok(2));
    let seen = journal.owner_of(&id("one")).await.unwrap().unwrap();
    assert_eq!(
        (seen.process.as_str(), seen.epoch, seen.since, seen.alive),
        (owner.process(), 2, NOW + 2, true)
    );
}

#[tokio::test]
async fn a_claim_again_keeps_the_epoch_and_a_release_lets_the_next_one_in() {
    let place = place();
    let journal = place.open();
    fill(&journal, &id("one"), 0).await;
    let (one, other) = (
        Owner::register(&place.home, NOW).unwrap(),
        Owner::register(&place.home, NOW).unwrap(),
    );
    assert_ne!(one.process(), other.process());
    assert_eq!(journal.owner_of(&id("one")).await.unwrap(), None);
    assert_eq!(journal.claim(&id("one"), &one, NOW).await, Ok(1));
    assert_eq!(journal.claim(&id("one"), &one, NOW).await, Ok(1));
    assert!(journal.claim(&id("one"), &other, NOW).await.is_err());
    assert!(journal.release(&id("one"), &one).await.unwrap());
    assert_eq!(journal.owner_of(&id("one")).await.unwrap(), None);
    assert_eq!(journal.claim(&id("one"), &other, NOW).await, Ok(2));
    drop(other);
    assert_eq!(
        journal.claim(&id("one"), &one, NOW).await,
        Ok(3),
        "an owner that went away is dead"
    );
}

#[tokio::test]
async fn of_many_claims_at_once_one_wins() {
    let place = place();
    let journals = [place.open(), place.open()];
    fill(&journals[0], &id("one"), 0).await;
    let owners: Vec<_> = (0..8)
        .map(|_| Owner::register(&place.home, NOW).unwrap())
        .collect();
    let mut tasks = tokio::task::JoinSet::new();
    for (n, owner) in owners.into_iter().enumerate() {
        let journal = journals[n % 2].clone();
        tasks.spawn(async move {
            let won = journal.claim(&id("one"), &owner, NOW).await.is_ok();
            (won, owner)
        });
    }
    let ends = tasks.join_all().await;
    assert_eq!(ends.iter().filter(|(won, _)| *won).count(), 1);
}

#[tokio::test]
async fn a_workflow_that_is_not_there_cannot_be_claimed() {
    let place = place();
    let owner = Owner::register(&place.home, NOW).unwrap();
    let error = place
        .open()
        .claim(&id("none"), &owner, NOW)
        .await
        .unwrap_err();
    assert_eq!(
        error,
        ClaimError::Missing {
            workflow: id("none")
        }
    );
}

#[test]
fn what_dead_owners_left_is_cleared_away_and_the_living_stay() {
    let place = place();
    let living = Owner::register(&place.home, NOW).unwrap();
    let owners = place.home.root().join("owners");
    std::fs::write(owners.join("4711-1-0.lock"), "").unwrap();
    let other = Owner::register(&place.home, NOW).unwrap();
    let mut left: Vec<_> = std::fs::read_dir(&owners)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    let mut expected = [&living, &other]
        .map(|owner| std::ffi::OsString::from(format!("{}.lock", owner.process())));
    expected.sort();
    assert_eq!(left, expected);
    let file = owners.join(format!("{}.lock", living.process()));
    assert_eq!(std::fs::metadata(file).unwrap().mode() & 0o777, 0o600);
    drop((living, other));
    assert_eq!(std::fs::read_dir(&owners).unwrap().count(), 0);
}
