//! The stable codes of refusals, with what each means. Each has a page in `docs/errors/`.

/// Code and meaning, sorted by code.
pub const TABLE: &[(&str, &str)] = &[
    (
        "answer.too_large",
        "an answer does not fit into the largest answer allowed",
    ),
    (
        "argument.secret",
        "a literal secret was passed where a credential profile belongs",
    ),
    (
        "argument.unclean",
        "a value holds a character that sanitising would strip",
    ),
    (
        "audit.corrupted",
        "the audit database is not a database any more, or its chain is broken",
    ),
    (
        "audit.full",
        "the audit row cannot be written: the disk is full",
    ),
    ("audit.io", "the audit database cannot be used"),
    (
        "audit.locked",
        "another process holds the audit database for too long",
    ),
    ("audit.read_only", "the audit database cannot be written"),
    (
        "audit.replaced",
        "the audit database was moved away while it was open",
    ),
    (
        "audit.unavailable",
        "a change was refused since it could not be recorded",
    ),
    (
        "home.content",
        "a file of the operator's does not say what it may say",
    ),
    ("home.full", "the disk of the state directory is full"),
    (
        "home.io",
        "the system refuses something in the state directory",
    ),
    ("home.missing", "a file of the state directory is not there"),
    (
        "home.mode",
        "others can read or write the state directory or a file in it",
    ),
    ("home.name", "a name cannot become a file name"),
    (
        "home.not_a_directory",
        "something else than a directory lies in its place",
    ),
    (
        "home.not_a_file",
        "something else than a file lies in its place",
    ),
    (
        "home.not_set",
        "it is not known where the state directory lies",
    ),
    (
        "home.owner",
        "the state directory or a file in it belongs to someone else",
    ),
    ("home.read_only", "the state directory cannot be written"),
    (
        "home.relative",
        "the path of the state directory is relative",
    ),
    (
        "home.too_large",
        "a file of the state directory is larger than anything that belongs there",
    ),
    (
        "internal.panic",
        "a tool failed in a way that it should not",
    ),
    ("policy.denied", "a rule of the operator forbids the call"),
    (
        "privilege.missing",
        "the caller does not hold the privilege that the tool needs",
    ),
    (
        "privilege.no_context",
        "the call has no caller, so no privilege either",
    ),
    (
        "privilege.unknown",
        "a privilege is granted that does not exist",
    ),
];

/// The meaning of a code.
#[must_use]
pub fn meaning(code: &str) -> Option<&'static str> {
    TABLE
        .iter()
        .find(|(known, _)| *known == code)
        .map(|(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_codes_are_dotted_words() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (code, meaning) in TABLE {
            let (area, reason) = code.split_once('.').unwrap_or_default();
            let word =
                |w: &str| !w.is_empty() && w.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            assert!(word(area) && word(reason), "{code}");
            assert!(!meaning.is_empty() && !meaning.ends_with('.'), "{code}");
        }
        assert!(meaning("policy.denied").is_some() && meaning("policy").is_none());
    }
}
