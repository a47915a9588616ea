//! Companions that nobody here wrote. They are not part of a build, so this runs only when it is
//! asked to: `PILOTHOUSE_FOREIGN=/path/to/companions.json cargo test -p companions --test foreign -- --ignored`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use companions::{Companions, Config, Settings, SkillState};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs companions of others, listed in the file that PILOTHOUSE_FOREIGN names"]
async fn p3_companions_of_others_start_and_list_their_tools() {
    let list = std::env::var("PILOTHOUSE_FOREIGN").unwrap();
    let config = Config::parse(&std::fs::read(list).unwrap()).unwrap();
    let listed = config.entries.len();
    assert!(listed > 0, "nothing is listed");
    let dir = tempfile::tempdir().unwrap();
    let home = home::Home::open(dir.path().join("home")).unwrap();
    let companions = Companions::new(Settings::new(config, &home));
    let catalog = companions.catalog(None).await.unwrap();
    let ready = catalog
        .skills
        .iter()
        .filter(|skill| skill.state == SkillState::Ready);
    let tools: Vec<(String, usize)> = ready
        .map(|skill| (skill.skill.clone(), skill.tools.len()))
        .collect();
    assert_eq!(tools.len(), listed, "{catalog:?}");
    assert!(tools.iter().all(|(_, tools)| *tools > 0), "{tools:?}");
    // For whoever asked: what was seen.
    eprintln!("{}", serde_json::to_string_pretty(&catalog).unwrap());
    companions.stop_all(Duration::from_secs(5)).await;
}
