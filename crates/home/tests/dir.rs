//! The state directory: where it lies, and whom it may belong to.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use home::{Home, HomeError};
use tempfile::TempDir;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_variable_goes_before_the_home_directory() {
    let locate = |vars: &[(&str, &str)]| {
        let vars: Vec<(String, OsString)> = vars
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).into()))
            .collect();
        Home::locate(&move |name| vars.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
    };
    assert_eq!(
        locate(&[("PILOTHOUSE_HOME", "/srv/p"), ("HOME", "/home/a")]).unwrap(),
        Path::new("/srv/p")
    );
    assert_eq!(
        locate(&[("PILOTHOUSE_HOME", ""), ("HOME", "/home/a")]).unwrap(),
        Path::new("/home/a/.pilothouse")
    );
    assert_eq!(locate(&[]).unwrap_err().code(), "home.not_set");
    assert_eq!(
        locate(&[("PILOTHOUSE_HOME", "here")]).unwrap_err().code(),
        "home.relative"
    );
}

#[test]
fn c7_a_new_directory_is_closed_to_others_with_all_it_holds() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("a/b");
    let home = Home::open(&root).unwrap();
    assert_eq!(mode(&root), 0o700);
    let profile = home.profile("alice", "lab").unwrap();
    home.write(&profile, b"{}").unwrap();
    assert_eq!(profile, root.join("profiles/alice/lab.json"));
    for made in ["profiles", "profiles/alice"] {
        assert_eq!(mode(&root.join(made)), 0o700, "{made}");
    }
    assert_eq!(mode(&profile), 0o600);
    // Opening it again finds it as it is.
    assert_eq!(Home::open(&root).unwrap(), home);
}

#[test]
fn a_directory_open_to_others_is_refused_with_the_remedy() {
    let dir = TempDir::new().unwrap();
    for open in [0o750, 0o705, 0o770, 0o1777] {
        set_mode(dir.path(), open);
        let error = Home::open(dir.path()).unwrap_err();
        assert_eq!(error.code(), "home.mode");
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("Run `chmod 700 {}`", dir.path().display())),
            "{text}"
        );
        assert_eq!(
            mode(dir.path()),
            open,
            "it is not changed behind the operator's back"
        );
    }
}

#[test]
fn a_subdirectory_open_to_others_is_refused() {
    let dir = TempDir::new().unwrap();
    let home = Home::open(dir.path().join("home")).unwrap();
    let locks = home.root().join("locks");
    fs::create_dir(&locks).unwrap();
    set_mode(&locks, 0o777);
    assert_eq!(home.lock("x").unwrap_err().code(), "home.mode");
}

#[test]
fn what_is_no_directory_is_refused() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(
        Home::open(&file),
        Err(HomeError::NotADirectory { .. })
    ));
    assert!(matches!(
        Home::open(file.join("below")),
        Err(HomeError::NotADirectory { .. })
    ));
}

#[test]
fn a_link_is_followed_to_what_must_satisfy_the_same_rules() {
    let dir = TempDir::new().unwrap();
    let real = dir.path().join("real");
    let link = dir.path().join("link");
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    set_mode(&real, 0o755);
    assert_eq!(Home::open(&link).unwrap_err().code(), "home.mode");
    set_mode(&real, 0o700);
    assert!(Home::open(&link).is_ok());
    symlink("/nowhere/at/all", dir.path().join("dangling")).unwrap();
    assert!(Home::open(dir.path().join("dangling")).is_err());
}

#[test]
fn a_directory_of_another_user_is_refused() {
    // `/` belongs to root; as root, a directory is given away instead.
    let dir = TempDir::new().unwrap();
    set_mode(dir.path(), 0o700);
    let theirs: PathBuf = if home::User::current().uid == 0 {
        std::os::unix::fs::chown(dir.path(), Some(4711), None).unwrap();
        dir.path().to_owned()
    } else {
        PathBuf::from("/")
    };
    assert!(matches!(Home::open(theirs), Err(HomeError::Owner { .. })));
}

#[test]
fn a_name_that_could_leave_its_directory_is_refused() {
    let dir = TempDir::new().unwrap();
    let home = Home::open(dir.path().join("home")).unwrap();
    for bad in [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        ".hidden",
        "-rf",
        "a b",
        "a\0",
        "ä",
        &"a".repeat(65),
    ] {
        assert!(
            matches!(home.profile("alice", bad), Err(HomeError::Name)),
            "{bad:?}"
        );
        assert!(matches!(home.pins(bad), Err(HomeError::Name)), "{bad:?}");
        assert!(matches!(home.lock(bad), Err(HomeError::Name)), "{bad:?}");
    }
    for ok in ["a", "lab-1", "vc01.example.org", "x_y"] {
        assert!(home.profile("alice", ok).is_ok(), "{ok}");
    }
}
