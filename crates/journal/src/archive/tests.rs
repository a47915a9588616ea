use super::*;
use crate::append::Ready;
use crate::file::Place;
use crate::interrupted::{NOW, batch};

type Change<'a> = dyn Fn(&Transaction<'_>) -> Result<(), Refusal> + 'a;

#[test]
fn p18_what_changes_between_the_file_and_the_transaction_stays() {
    let dir = tempfile::TempDir::new().unwrap();
    let home = Home::open(dir.path().join("home")).unwrap();
    let place = Place::of(&home);
    assert!(place.prepare(None).unwrap());
    place.settle().unwrap();
    let mut connection = place.writer(None).unwrap();
    let mut commit = |work: &Change<'_>| {
        let transaction = connection.transaction().unwrap();
        let done = work(&transaction);
        match done {
            Ok(()) => transaction.commit().unwrap(),
            Err(_) => transaction.rollback().unwrap(),
        }
        done
    };
    for (name, seq) in [("wf_a", 1), ("wf_a", 4), ("wf_b", 1), ("wf_b", 4)] {
        commit(&|transaction| store(transaction, &home, name, seq)).unwrap();
    }
    let reader = place.reader().unwrap();
    let (_held, _) = begin(&reader, &home, Duration::from_secs(10)).unwrap();
    let (cutoff, now) = (NOW + 1, NOW + 2);
    let changes: [&Change<'_>; 3] = [
        // More events, with the same state and time.
        &|transaction| store(transaction, &home, "wf_a", 7),
        // An undo by hand has begun.
        &|transaction| set(transaction, "UPDATE workflow SET state = 'rolling_back'"),
        // It holds an object again.
        &|transaction| set(transaction, "INSERT INTO held VALUES ('o', 'wf_a', 1)"),
    ];
    let back = [
        "SELECT 1",
        "UPDATE workflow SET state = 'completed'",
        "DELETE FROM held",
    ];
    for (change, back) in changes.into_iter().zip(back) {
        let draft = draft(&reader, &home, cutoff, now).unwrap().unwrap();
        assert_eq!(draft.made.workflows, 2);
        commit(change).unwrap();
        let refused = commit(&|transaction| settle(transaction, &home, &draft, cutoff, now));
        assert_eq!(refused, Err(Refusal::Conflict));
        discard(&home, &draft);
        commit(&|transaction| set(transaction, back)).unwrap();
    }
    let draft = draft(&reader, &home, cutoff, now).unwrap().unwrap();
    assert_eq!((draft.made.workflows, draft.made.events), (2, 15));
    commit(&|transaction| settle(transaction, &home, &draft, cutoff, now)).unwrap();
    assert_eq!(all(&reader).unwrap(), [draft.made]);
}

fn store(transaction: &Transaction<'_>, home: &Home, name: &str, seq: u64) -> Result<(), Refusal> {
    Ready::new(batch(name, seq))?.store(transaction, home, None)
}

fn set(transaction: &Transaction<'_>, sql: &str) -> Result<(), Refusal> {
    Ok(transaction.execute_batch(sql)?)
}
