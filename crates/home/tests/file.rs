//! Files that only their owner may touch, and their replacement.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use home::{HomeError, read_owned, read_private, replace};
use tempfile::TempDir;

#[test]
fn a_private_file_open_to_others_is_refused_with_the_remedy() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("key");
    fs::write(&path, "k").unwrap();
    for (mode, private, owned) in [
        (0o600, true, true),
        (0o400, true, true),
        (0o640, false, true),
        (0o644, false, true),
        (0o620, false, false),
        (0o602, false, false),
    ] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(read_private(&path).is_ok(), private, "{mode:o}");
        assert_eq!(read_owned(&path).is_ok(), owned, "{mode:o}");
    }
    let text = read_private(&path).unwrap_err().to_string();
    assert!(text.starts_with("Run `chmod 600 "), "{text}");
}

#[test]
fn what_is_no_file_is_refused_without_waiting_for_it() {
    let dir = TempDir::new().unwrap();
    assert!(matches!(
        read_private(dir.path()),
        Err(HomeError::NotAFile { .. })
    ));
    let link = dir.path().join("null");
    symlink("/dev/null", &link).unwrap();
    assert!(matches!(
        read_private(&link),
        Err(HomeError::NotAFile { .. })
    ));
    assert!(
        read_private(&dir.path().join("none"))
            .unwrap_err()
            .is_missing()
    );
}

#[test]
fn a_file_of_another_user_is_refused() {
    if home::User::current().uid != 0 {
        assert!(matches!(
            read_owned("/etc/passwd".as_ref()),
            Err(HomeError::Owner { .. })
        ));
        return;
    }
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("key");
    replace(&path, b"k").unwrap();
    std::os::unix::fs::chown(&path, Some(4711), None).unwrap();
    assert!(matches!(
        read_private(&path),
        Err(HomeError::Owner { owner: 4711, .. })
    ));
}

#[test]
fn a_replaced_file_is_private_and_nothing_else_is_left() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("pins.json");
    fs::write(&path, "old").unwrap();
    replace(&path, b"new").unwrap();
    assert_eq!(read_private(&path).unwrap(), b"new");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_failed_replacement_leaves_the_old_file_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("pins.json");
    // A directory with something in it cannot be replaced by a file.
    fs::create_dir(&path).unwrap();
    fs::write(path.join("x"), "").unwrap();
    assert!(replace(&path, b"new").is_err());
    assert!(path.join("x").exists());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(
        replace(&dir.path().join("no/such"), b"")
            .unwrap_err()
            .is_missing()
    );
}

#[test]
fn a_reader_sees_the_old_content_or_the_new_and_never_a_part() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("f");
    let contents = [vec![b'a'; 100_000], vec![b'b'; 200_000]];
    replace(&path, &contents[0]).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = contents
            .iter()
            .map(|content| scope.spawn(|| (0..50).for_each(|_| replace(&path, content).unwrap())))
            .collect();
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) || reads == 0 {
                assert!(contents.contains(&read_private(&path).unwrap()));
                reads += 1;
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
