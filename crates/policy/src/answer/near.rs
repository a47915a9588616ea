//! The nearest of what exists to what was given.

/// At most `n` of the candidates that are near to `given`, nearest first. Case and
/// separators do not count; a candidate that begins with or contains what was given is near.
#[must_use]
pub fn nearest<'a>(
    given: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    n: usize,
) -> Vec<String> {
    let given = plain(&given.chars().take(128).collect::<String>());
    if given.is_empty() {
        return Vec::new();
    }
    let mut near: Vec<(f64, &str)> = candidates
        .into_iter()
        .filter_map(|candidate| {
            let text = plain(candidate);
            let contains = given.len() >= 3 && text.contains(&given)
                || text.len() >= 3 && given.contains(&text);
            let score = strsim::jaro_winkler(&given, &text);
            let score = if contains { score.max(0.9) } else { score };
            (score >= 0.78).then_some((score, candidate))
        })
        .collect();
    // Equal scores in the order of the alphabet: the answer does not depend on the list's order.
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.into_iter()
        .take(n)
        .map(|(_, candidate)| candidate.to_owned())
        .collect()
}

fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}
