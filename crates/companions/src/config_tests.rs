#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::*;

fn parse(text: &str) -> Config {
    Config::parse(text.as_bytes()).unwrap()
}

#[test]
fn the_shape_of_the_ecosystem_is_read_and_unknown_fields_are_findings() {
    let config = parse(
        r#"{"mcpServers": {"lab-1": {"command": "/bin/x", "args": ["mcp", "-v"], "env": {"A": "b"},
                "type": "stdio", "timeout_s": 5, "autoApprove": []}}, "theme": "dark"}"#,
    );
    let entry = &config.entries["lab-1"];
    assert_eq!((entry.command.as_str(), entry.args.len()), ("/bin/x", 2));
    assert_eq!(entry.env["A"].expose(), "b");
    assert_eq!(entry.timeout, Some(Duration::from_secs(5)));
    assert_eq!(entry.origin, Origin::Listed);
    assert_eq!(config.findings.len(), 2, "{:?}", config.findings);
    assert!(
        config.findings[1].contains("autoApprove"),
        "{:?}",
        config.findings
    );
}

#[test]
fn an_entry_that_cannot_be_used_says_what_to_correct_and_spares_the_others() {
    let config = parse(
        r#"{"mcpServers": {"ok": {"command": "x"}, "a": {"url": "https://x"}, "b": {"command": "./x"},
                "c": {"command": "x", "args": [1]}, "d": {"command": "x", "env": {"A": 1}}, "e": 5, "f": {},
                "g": {"command": "x", "disabled": true}, "h": {"command": "x", "timeout_s": 0},
                "Bad Name": {"command": "x"}}}"#,
    );
    assert_eq!(config.entries.keys().collect::<Vec<_>>(), ["ok"]);
    assert_eq!(config.unusable.len(), 8, "{:?}", config.unusable);
    assert!(
        config.unusable["b"].contains("relative"),
        "{:?}",
        config.unusable
    );
    assert!(
        config.findings[0].contains("Bad Name"),
        "{:?}",
        config.findings
    );
}

#[test]
fn a_file_of_another_shape_is_refused() {
    for text in [
        "[]",
        "{}",
        r#"{"mcpServers": []}"#,
        r#"{"mcpServers": {"a": {}, "a": {}}}"#,
        "nonsense",
    ] {
        let error = Config::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.code(), "companion.config", "{text}");
    }
}

#[test]
fn c5_control_beside_the_program_is_there_by_itself_without_any_environment() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vmware-control");
    let home = Home::open(dir.path().join("home")).unwrap();
    assert!(
        Config::load(&home, Some(dir.path()))
            .unwrap()
            .entries
            .is_empty()
    );
    std::fs::write(&file, "").unwrap();
    assert!(
        Config::load(&home, Some(dir.path()))
            .unwrap()
            .entries
            .is_empty(),
        "no executable"
    );
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = Config::load(&home, Some(dir.path())).unwrap();
    let entry = &config.entries["control"];
    assert_eq!(
        (entry.origin, &entry.args[..], entry.env.len()),
        (Origin::BuiltIn, &["mcp".to_owned()][..], 0)
    );

    std::fs::write(
        home.companions(),
        r#"{"mcpServers": {"control": {"command": "/listed"}}}"#,
    )
    .unwrap();
    assert_eq!(
        Config::load(&home, Some(dir.path())).unwrap().entries["control"].command,
        "/listed"
    );
}

#[test]
fn a_list_that_others_may_write_is_refused_and_one_that_they_may_read_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path().join("home")).unwrap();
    let path = home.companions();
    std::fs::write(
        &path,
        r#"{"mcpServers": {"a": {"command": "x", "env": {"MY_PASSWORD": "x"}}}}"#,
    )
    .unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let config = Config::load(&home, None).unwrap();
    assert!(
        config.findings[0].starts_with("Run `chmod 600"),
        "{:?}",
        config.findings
    );
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o664)).unwrap();
    assert_eq!(Config::load(&home, None).unwrap_err().code(), "home.mode");
}

#[test]
fn executables_on_path_are_found_by_their_name_and_relative_directories_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    for (name, mode) in [
        ("vmware-lab-mcp", 0o755),
        ("vmware-not-mcp", 0o644),
        ("vmware-Bad-mcp", 0o755),
        ("other", 0o755),
    ] {
        let file = dir.path().join(name);
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let path = std::env::join_paths([Path::new("."), dir.path()]).unwrap();
    assert_eq!(found(Some(&path)).keys().collect::<Vec<_>>(), ["lab"]);
    assert_eq!(
        program("other", Some(&path)),
        Some(dir.path().join("other"))
    );
    assert_eq!(program("vmware-not-mcp", Some(&path)), None);
}

#[test]
fn p2_an_entry_does_not_show_its_environment() {
    let config = parse(r#"{"mcpServers": {"a": {"command": "x", "env": {"TOKEN": "hunter2"}}}}"#);
    assert!(!format!("{config:?}").contains("hunter2"));
}
