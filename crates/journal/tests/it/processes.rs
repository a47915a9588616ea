//! Several processes on one home: nothing is lost, nobody starves, a kill leaves no half.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use engine::ports::{Journal as _, JournalError};
use home::Home;
use journal::Journal;
use serde_json::json;
use workflow::event::Event;

use crate::common::{
    Killed, arguments, batch, created, fill, id, other_process, place, undo_failed,
};

const PROCESSES: u64 = 4;
const EACH: u64 = 200;

/// Appends to a workflow of its own, and now and then to one that all share.
#[tokio::test]
#[ignore = "a role that another test starts"]
async fn role_append() {
    let arguments = arguments();
    let home = Home::open(arguments["home"].as_str().unwrap()).unwrap();
    let name = arguments["name"].as_str().unwrap();
    // All of them begin at the same moment, with the opening.
    File::open(arguments["start"].as_str().unwrap())
        .unwrap()
        .lock_shared()
        .unwrap();
    let journal = Journal::open(&home).unwrap();
    journal
        .append(batch(&id(name), 1, vec![created(&id(name))]))
        .await
        .unwrap();
    for seq in 2..=EACH {
        journal
            .append(batch(&id(name), seq, vec![undo_failed(name)]))
            .await
            .unwrap();
        if seq % 20 == 0 {
            append_shared(&journal, name).await;
        }
    }
}

async fn append_shared(journal: &Journal, name: &str) {
    let shared = id("shared");
    loop {
        let next = journal.last_seq(&shared).await.unwrap() + 1;
        let event = if next == 1 {
            created(&shared)
        } else {
            undo_failed(name)
        };
        match journal.append(batch(&shared, next, vec![event])).await {
            Ok(()) => return,
            Err(JournalError::Conflict) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn p18_several_processes_lose_nothing_and_none_starves() {
    let place = place();
    let start = place.home.root().join("start");
    let barrier = File::create(&start).unwrap();
    barrier.lock().unwrap();
    // The home has no database yet: the first opening is part of the race.
    let mut children: Vec<_> = (0..PROCESSES)
        .map(|n| {
            let arguments =
                json!({"home": place.home.root(), "start": start, "name": n.to_string()});
            Killed(
                other_process("processes::role_append", &arguments)
                    .spawn()
                    .unwrap(),
            )
        })
        .collect();
    drop(barrier);
    for child in &mut children {
        assert!(child.0.wait().unwrap().success());
    }

    let journal = place.open();
    for n in 0..PROCESSES {
        assert_eq!(journal.last_seq(&id(&n.to_string())).await.unwrap(), EACH);
    }
    let shared = PROCESSES * (EACH / 20);
    assert_eq!(journal.last_seq(&id("shared")).await.unwrap(), shared);
    let verified = journal.verify().await.unwrap();
    assert_eq!(verified.broken, None);
    assert_eq!(verified.rows, PROCESSES * EACH + shared);

    // Nobody waited while the others did half of all work.
    let mut last: HashMap<String, u64> = HashMap::new();
    for row in journal.audit(0, None, u32::MAX).await.unwrap() {
        let workflow = row.row.entry.workflow.unwrap();
        let gap = last
            .insert(workflow.clone(), row.row.seq)
            .map_or(0, |last| row.row.seq - last);
        assert!(
            workflow == id("shared").0 || gap < PROCESSES * EACH / 2,
            "{workflow} waited {gap} rows"
        );
    }
}

/// Appends and says each time what was acknowledged, until it is killed.
#[tokio::test]
#[ignore = "a role that another test starts"]
async fn role_append_forever() {
    let home = Home::open(arguments()["home"].as_str().unwrap()).unwrap();
    let journal = Journal::open(&home).unwrap();
    fill(&journal, &id("one"), 0).await;
    for seq in 2.. {
        let events = vec![undo_failed("a"), Event::Started];
        journal
            .append(batch(&id("one"), 2 * seq - 2, events))
            .await
            .unwrap();
        eprintln!("{}", 2 * seq - 1);
    }
}

#[tokio::test]
async fn p18_a_killed_process_leaves_what_it_acknowledged_and_no_half() {
    for kill_after in [1, 7, 40] {
        let place = place();
        let arguments = json!({"home": place.home.root()});
        let mut command = other_process("processes::role_append_forever", &arguments);
        let mut child = Killed(
            command
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let mut said = BufReader::new(child.0.stderr.take().unwrap()).lines();
        for _ in 1..kill_after {
            said.next().unwrap().unwrap();
        }
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        // Also what it said before the kill arrived.
        let acknowledged = said
            .map_while(Result::ok)
            .last()
            .map_or(0, |line| line.parse().unwrap());

        let journal = place.open();
        let stored = journal.last_seq(&id("one")).await.unwrap();
        assert!(stored >= acknowledged, "{stored} of {acknowledged}");
        assert!(stored == 0 || stored % 2 == 1, "half a batch: {stored}");
        let verified = journal.verify().await.unwrap();
        assert_eq!((verified.broken, verified.events), (None, stored));
        if stored > 0 {
            journal
                .append(batch(&id("one"), stored + 1, vec![undo_failed("a")]))
                .await
                .unwrap();
        }
    }
}
