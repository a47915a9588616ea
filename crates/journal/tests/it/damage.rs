//! A damaged database is said to be damaged, and not one byte of it is touched.

use std::fs;
use std::path::Path;

use engine::ports::Journal as _;
use journal::{Journal, OpenError};
use workflow::event::Event;

use crate::common::{Place, batch, code, fill, id, place, undo_failed};

/// A home whose database is folded into one file.
async fn stored() -> Place {
    let place = place();
    let journal = place.open();
    fill(&journal, &id("one"), 200).await;
    drop(journal);
    assert!(!place.home.root().join("pilot.db-wal").exists());
    place
}

/// Opening fails with this code, and leaves the file as it is.
fn refused(place: &Place, what: &str) {
    let before = fs::read(place.db()).ok();
    for _ in 0..2 {
        let error = Journal::open(&place.home).unwrap_err();
        assert_eq!(error.code(), "store.corrupted", "{what}: {error}");
        let text = error.to_string();
        assert!(text.starts_with("Move `pilot.db`"), "{what}: {text}");
        assert!(
            !text.contains(place.home.root().to_str().unwrap()),
            "{what}: {text}"
        );
    }
    assert_eq!(fs::read(place.db()).ok(), before, "{what}");
}

#[tokio::test]
async fn a_file_that_is_no_whole_database_is_said_and_left_as_it_is() {
    let whole = fs::read(stored().await.db()).unwrap();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        bytes
    };
    let damages = [
        ("empty", Vec::new()),
        ("text", b"This is not a database at all.\n".repeat(400)),
        ("short text", b"hello".to_vec()),
        ("garbage in the header", with(&|b| b[..100].fill(0x5a))),
        ("only the header", with(&|b| b.truncate(100))),
        ("cut in a page", with(&|b| b.truncate(5000))),
        (
            "cut by half",
            with(&|b| b.truncate(b.len() / 2 / 4096 * 4096)),
        ),
        ("cut by a page", with(&|b| b.truncate(b.len() - 4096))),
    ];
    for (what, bytes) in damages {
        let place = place();
        fs::write(place.db(), bytes).unwrap();
        refused(&place, what);
    }
}

#[test]
fn another_programs_database_is_said_and_left_as_it_is() {
    let place = place();
    let sql = place.sql();
    sql.execute_batch("CREATE TABLE bookmark (url TEXT); INSERT INTO bookmark VALUES ('a')")
        .unwrap();
    drop(sql);
    refused(&place, "another program's");
}

#[tokio::test]
async fn a_log_without_its_database_is_said_and_left_as_it_is() {
    let place = place();
    let journal = place.open();
    fill(&journal, &id("one"), 3).await;
    let wal = place.home.root().join("pilot.db-wal");
    let bytes = fs::read(&wal).unwrap();
    drop(journal);
    fs::remove_file(place.db()).unwrap();
    fs::write(&wal, &bytes).unwrap();
    refused(&place, "log");
    assert_eq!(fs::read(&wal).unwrap(), bytes);
}

/// Overwrites the first bytes of a table's first page.
fn damage_page(place: &Place, table: &str) {
    let sql = place.sql();
    let root: u64 = sql
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?1",
            [table],
            |row| row.get::<_, i64>(0),
        )
        .unwrap()
        .try_into()
        .unwrap();
    drop(sql);
    let mut bytes = fs::read(place.db()).unwrap();
    let at = usize::try_from((root - 1) * 4096).unwrap();
    bytes[at] ^= 0xff;
    fs::write(place.db(), bytes).unwrap();
}

#[tokio::test]
async fn a_damaged_page_is_said_when_it_is_read_and_nothing_is_written_any_more() {
    for first_a_read in [true, false] {
        let place = stored().await;
        damage_page(&place, "event");
        let before = fs::read(place.db()).unwrap();
        let journal = place.open();
        if first_a_read {
            assert_eq!(
                code(&journal.load(&id("one")).await.unwrap_err()),
                "store.corrupted"
            );
            assert_eq!(
                code(&journal.verify().await.unwrap_err()),
                "store.corrupted"
            );
        }
        let error = journal
            .append(batch(&id("one"), 202, vec![undo_failed("a")]))
            .await
            .unwrap_err();
        assert_eq!(code(&error), "store.corrupted");
        // Also what would not touch the damaged page.
        let error = journal
            .append(batch(&id("two"), 1, vec![Event::Started]))
            .await
            .unwrap_err();
        assert_eq!(code(&error), "store.corrupted");
        assert!(
            error.to_string().contains("Nothing was overwritten"),
            "{error}"
        );
        drop(journal);
        assert_eq!(fs::read(place.db()).unwrap(), before);
        assert!(is_empty(&place.home.root().join("pilot.db-wal")));
    }
}

fn is_empty(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |meta| meta.len() == 0)
}

#[tokio::test]
async fn a_newer_database_is_said_and_left_as_it_is() {
    let place = stored().await;
    let sql = place.sql();
    sql.pragma_update(None, "user_version", 99).unwrap();
    drop(sql);
    let before = fs::read(place.db()).unwrap();
    let error = Journal::open(&place.home).unwrap_err();
    assert_eq!(
        error,
        OpenError::Newer {
            found: 99,
            known: 2
        }
    );
    assert!(
        error
            .to_string()
            .starts_with("Update this program: `pilot.db` has version 99"),
        "{error}"
    );
    assert_eq!(fs::read(place.db()).unwrap(), before);
}

#[tokio::test]
async fn p18_nothing_is_acknowledged_into_a_file_that_was_taken_away() {
    for replaced in [false, true] {
        let place = stored().await;
        let journal = place.open();
        fs::rename(place.db(), place.home.root().join("elsewhere.db")).unwrap();
        if replaced {
            fs::copy(place.home.root().join("elsewhere.db"), place.db()).unwrap();
        }
        let error = journal
            .append(batch(&id("one"), 202, vec![undo_failed("a")]))
            .await
            .unwrap_err();
        assert_eq!(code(&error), "store.failed");
        assert!(
            error.to_string().contains("moved, replaced or deleted"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_newer_program_that_migrates_meanwhile_stops_this_one() {
    let place = stored().await;
    let journal = place.open();
    place.sql().pragma_update(None, "user_version", 3).unwrap();
    let error = journal
        .append(batch(&id("one"), 202, vec![undo_failed("a")]))
        .await
        .unwrap_err();
    assert_eq!(code(&error), "store.failed");
    assert!(
        error.to_string().starts_with("Update this program"),
        "{error}"
    );
}
