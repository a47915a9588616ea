//! The operator's configuration: defaults, and errors that name the key and what is allowed.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;

use home::{Assurance, Config, Home, PlanApproval};
use tempfile::TempDir;

fn load(text: &str) -> Result<Config, String> {
    let dir = TempDir::new().unwrap();
    let home = Home::open(dir.path().join("home")).unwrap();
    home.write(&home.config(), text.as_bytes()).unwrap();
    home.load_config().map_err(|e| {
        assert_eq!(e.code(), "home.content");
        e.to_string().replace(home.root().to_str().unwrap(), "HOME")
    })
}

#[test]
fn p7_without_the_file_the_defaults_hold() {
    let dir = TempDir::new().unwrap();
    let config = Home::open(dir.path().join("home"))
        .unwrap()
        .load_config()
        .unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.approval_timeout_s, 300);
    assert_eq!(config.max_approval_timeout_s, 86_400);
    assert_eq!(config.min_assurance, Assurance::Attested);
    assert_eq!(config.plan_approval, PlanApproval::Writes);
    assert_eq!(load(""), Ok(config));
}

#[test]
fn p5_all_keys_can_be_set() {
    let config = load(
        "min_assurance = \"signed\"\napproval_timeout_s = 60\nmax_approval_timeout_s = 120\n\
         plan_approval = \"destructive\"\nmax_parallel = 4\n[rules]\ndeny = [\"control/*/delete\"]\n",
    )
    .unwrap();
    assert_eq!(config.min_assurance, Assurance::Signed);
    assert_eq!(
        (config.approval_timeout_s, config.max_approval_timeout_s),
        (60, 120)
    );
    assert_eq!(config.plan_approval, PlanApproval::Destructive);
    assert_eq!(config.max_parallel, 4);
    assert_eq!(config.rules.deny, ["control/*/delete"]);
}

#[test]
fn errors_name_the_line_the_key_and_what_is_allowed() {
    for (text, parts) in [
        (
            "\nmin_assurence = \"signed\"",
            [
                "line 2 of `HOME/config.toml`",
                "min_assurence",
                "min_assurance",
            ],
        ),
        (
            "min_assurance = \"strong\"",
            ["`min_assurance`", "strong", "authenticated"],
        ),
        (
            "plan_approval = \"never\"",
            ["`plan_approval`", "never", "destructive"],
        ),
        (
            "\n\napproval_timeout_s = 0",
            ["line 3", "`approval_timeout_s`", "1 to 86400"],
        ),
        (
            "approval_timeout_s = 90000",
            ["line 1", "`approval_timeout_s`", "1 to 86400"],
        ),
        (
            "max_approval_timeout_s = 9999999",
            ["line 1", "`max_approval_timeout_s`", "1 to 2592000"],
        ),
        ("max_parallel = 65", ["line 1", "`max_parallel`", "1 to 64"]),
        ("max_parallel = -1", ["line 1", "`max_parallel`", "-1"]),
        ("[rules]\nallow = []", ["line 2", "allow", "deny"]),
        ("a =", ["line 1", "Correct", "config.toml"]),
    ] {
        let error = load(text).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{text:?}: {error:?} lacks {part:?}");
        }
    }
}

#[test]
fn a_configuration_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = TempDir::new().unwrap();
    let home = Home::open(dir.path().join("home")).unwrap();
    home.write(&home.config(), b"").unwrap();
    fs::set_permissions(home.config(), fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(home.load_config().unwrap_err().code(), "home.mode");
}

#[test]
fn assurance_is_ordered_from_weak_to_strong() {
    let ranks = [
        Assurance::Attested,
        Assurance::Elicited,
        Assurance::Authenticated,
        Assurance::Signed,
    ];
    assert!(ranks.is_sorted_by(|a, b| a < b));
}
