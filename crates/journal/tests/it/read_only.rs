//! A home that cannot be written is said to be read-only.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use home::{Home, User};
use journal::Journal;
use serde_json::json;

use crate::common::{Killed, arguments, fill, id, other_process};

/// Whatever the modes say, root may write: root runs the role as somebody else.
const NOBODY: u32 = 65_534;

#[tokio::test]
#[ignore = "a role that another test starts"]
async fn role_read_only() {
    let root = arguments()["home"].as_str().unwrap().to_owned();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let home = Home::open(&root).unwrap();
    let root = Path::new(&root);
    let refused = |what: &str| {
        let error = Journal::open(&home).unwrap_err();
        assert_eq!(error.code(), "store.read_only", "{what}: {error}");
        assert!(
            error.to_string().starts_with("Make the state directory"),
            "{what}: {error}"
        );
    };

    mode(root, 0o500);
    refused("a new home");
    mode(root, 0o700);
    let journal = Journal::open(&home).unwrap();
    fill(&journal, &id("one"), 3).await;
    drop(journal);

    mode(root, 0o500);
    refused("the directory");
    mode(root, 0o700);
    mode(&home.pilot_db(), 0o400);
    refused("the file");
    mode(&home.pilot_db(), 0o600);
    mode(&root.join("locks"), 0o500);
    mode(&root.join("locks/journal.lock"), 0o400);
    refused("the locks");
    mode(&root.join("locks/journal.lock"), 0o600);
    mode(&root.join("locks"), 0o700);
    assert!(Journal::open(&home).is_ok());
}

#[test]
fn a_home_that_cannot_be_written_is_said() {
    let dir = tempfile::TempDir::new().unwrap();
    let home = dir.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let role = other_process("read_only::role_read_only", &json!({"home": home}));
    let mut command = Command::new(role.get_program());
    if User::current().uid == 0 {
        // The program itself may lie where nobody else may look.
        let program = dir.path().join("program");
        fs::copy(role.get_program(), &program).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
        command = Command::new(program);
        command.uid(NOBODY).gid(NOBODY);
    }
    command.args(role.get_args()).current_dir("/");
    command.envs(
        role.get_envs()
            .filter_map(|(key, value)| Some((key, value?))),
    );
    let mut child = Killed(command.spawn().unwrap());
    assert!(
        child.0.wait().unwrap().success(),
        "the role failed, see above"
    );
}
