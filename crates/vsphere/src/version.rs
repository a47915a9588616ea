//! Which version of the API is spoken: the newest that both sides know.

use crate::value::Value;
use crate::xml::Pull;

/// The oldest and the newest version of the API whose calls, fields and enum values this room was written for.
const OLDEST: [u32; 4] = [6, 5, 0, 0];
const NEWEST: [u32; 4] = [9, 1, u32::MAX, u32::MAX];
const FALLBACK: &str = "6.5";

fn number(version: &str) -> Option<[u32; 4]> {
    let mut out = [0; 4];
    let mut parts = version.trim().split('.');
    for slot in &mut out {
        match parts.next() {
            Some(part) if part.bytes().all(|b| b.is_ascii_digit()) => *slot = part.parse().ok()?,
            Some(_) => return None,
            None => break,
        }
    }
    parts.next().is_none().then_some(out)
}

fn known(version: &str) -> Option<[u32; 4]> {
    number(version).filter(|v| (OLDEST..=NEWEST).contains(v))
}

/// The newest version in `vimServiceVersions.xml` that we know, as the server spells it.
pub(crate) async fn newest_common(file: &[u8]) -> Option<String> {
    let mut pull = Pull::new(file, u64::MAX);
    let root = pull.child().await.ok()??;
    let root = pull.value(root).await.ok()?;
    let vim = root
        .all("namespace")
        .find(|n| n.text_at("name") == Some("urn:vim25"))?;
    let prior = vim.all("priorVersions").flat_map(|p| p.all("version"));
    vim.all("version")
        .chain(prior)
        .map(Value::text)
        .filter_map(|v| Some((known(v)?, v.trim())))
        .max()
        .map(|(_, version)| version.to_owned())
}

/// Without the file: what the server says of itself, bounded by what we know.
pub(crate) fn from_about(api_version: &str) -> String {
    match known(api_version) {
        Some(_) => api_version.trim().to_owned(),
        None if number(api_version).is_some_and(|v| v > NEWEST) => "9.0.0.0".to_owned(),
        None => FALLBACK.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(versions: &[&str]) -> Option<String> {
        let prior: String = versions[1..]
            .iter()
            .map(|v| format!("<version>{v}</version>"))
            .collect();
        let file = format!(
            "<?xml version=\"1.0\"?><namespaces version=\"1.0\"><namespace><name>urn:vim2</name><version>9.9</version>\
             </namespace><namespace><name>urn:vim25</name><version>{}</version><priorVersions>{prior}</priorVersions>\
             </namespace></namespaces>",
            versions[0]
        );
        newest_common(file.as_bytes()).await
    }

    #[tokio::test]
    async fn c2_the_newest_version_that_both_know_is_taken() {
        assert_eq!(
            of(&["8.0.3.0", "8.0.2.0", "6.5", "2.5u2"]).await.as_deref(),
            Some("8.0.3.0")
        );
        assert_eq!(
            of(&["10.0.0.0", "9.1.0.0", "9.0.0.0"]).await.as_deref(),
            Some("9.1.0.0")
        );
        assert_eq!(of(&["6.5", "6.0"]).await.as_deref(), Some("6.5"));
        assert_eq!(
            of(&["uE", "7.0.3.2", "7.0.10"]).await.as_deref(),
            Some("7.0.10")
        );
        assert_eq!(of(&["6.0", "5.5"]).await, None);
        assert_eq!(newest_common(b"<html>not here</html>").await, None);
        assert_eq!(newest_common(b"").await, None);
    }

    #[test]
    fn c2_without_the_file_the_server_is_taken_at_its_word_within_bounds() {
        assert_eq!(from_about("7.0.3.0"), "7.0.3.0");
        assert_eq!(from_about("6.0"), "6.5");
        assert_eq!(from_about("12.0"), "9.0.0.0");
        assert_eq!(from_about(""), "6.5");
        assert_eq!(from_about("<script>"), "6.5");
    }
}
