//! Where a literal secret stands in arguments or in text. The value is never echoed.

use serde_json::Value;

use super::HIDDEN;
use crate::pointer;

/// Keys whose literal value is a secret, in words. A key matches if its words
/// end in one of these: `vc_password`, `X-API-Key` and `clientSecret` do, and
/// `password_policy`, `secret_name` and `token_count` do not.
const KEYS: &[&[&str]] = &[
    &["password"],
    &["passwd"],
    &["passphrase"],
    &["passcode"],
    &["pwd"],
    &["pin"],
    &["secret"],
    &["secrets"],
    &["passwords"],
    &["token"],
    &["tokens"],
    &["apikey"],
    &["apikeys"],
    &["api", "key"],
    &["api", "keys"],
    &["privatekey"],
    &["private", "key"],
    &["secretkey"],
    &["secret", "key"],
    &["accesskey"],
    &["access", "key"],
    &["secret", "access", "key"],
    &["authorization"],
    &["auth", "header"],
    &["bearer"],
    &["cookie"],
    &["kubeconfig"],
    &["credential"],
    &["credentials"],
    &["creds"],
];

/// Words before `token` or `tokens` that make it no secret: a place in a list, or a count.
const HARMLESS_TOKENS: &[&str] = &[
    "page",
    "next",
    "continue",
    "continuation",
    "cancel",
    "cancellation",
    "sync",
    "progress",
    "max",
    "min",
    "num",
    "total",
    "count",
];

/// What kind of secret was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A literal value under a key such as `password`.
    Key,
    /// A PEM block with a private key.
    PemPrivateKey,
    /// `Bearer …`, `Basic …` or another HTTP authorization value.
    Authorization,
    /// A JSON Web Token.
    Jwt,
    /// An access key id of AWS.
    AwsKey,
    /// A token of GitHub.
    GithubToken,
    /// A URL with a password in it.
    UrlPassword,
}

impl Kind {
    /// What it looks like, in words: `a private key in PEM form`.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Key => "a literal secret by its key",
            Self::PemPrivateKey => "a private key in PEM form",
            Self::Authorization => "an HTTP authorization value",
            Self::Jwt => "a JSON Web Token",
            Self::AwsKey => "an AWS access key",
            Self::GithubToken => "a GitHub token",
            Self::UrlPassword => "a URL with a password",
        }
    }
}

/// A literal secret was found. Its text is the refusal, and leads with the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Pass the name of a credential profile (`credential_profile`) instead: {} holds {}",
    pointer::place(.pointer),
    .kind.words()
)]
pub struct Found {
    /// JSON Pointer to the value, or to the value whose key it is; sanitised.
    pub pointer: String,
    /// What it looks like.
    pub kind: Kind,
}

/// Whether a literal value under this key is taken for a secret, whatever the case and
/// the separators.
#[must_use]
pub fn is_secret_key(key: &str) -> bool {
    let words = words(key);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let before = words.len().checked_sub(2).map(|i| words[i]);
    if (words.ends_with(&["token"]) || words.ends_with(&["tokens"]))
        && before.is_some_and(|w| HARMLESS_TOKENS.contains(&w))
    {
        return false;
    }
    KEYS.iter().any(|suffix| words.ends_with(suffix))
}

/// `apiKey`, `API-Key`, `api_key2` → `api`, `key`: lower case, digits at the end dropped.
fn words(key: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut open = false;
    let chars: Vec<char> = key.chars().collect();
    for (i, &c) in chars.iter().enumerate() {
        if !c.is_alphanumeric() {
            open = false;
            continue;
        }
        let after_lower = i > 0 && chars[i - 1].is_lowercase();
        let before_lower = chars.get(i + 1).is_some_and(|n| n.is_lowercase());
        let after_upper = i > 0 && chars[i - 1].is_uppercase();
        let starts = c.is_uppercase() && (after_lower || (after_upper && before_lower));
        if !open || starts {
            words.push(String::new());
            open = true;
        }
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
    }
    for word in &mut words {
        word.truncate(word.trim_end_matches(|c: char| c.is_ascii_digit()).len());
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Finds the first literal secret in arguments: by key, or by the shape of a value,
/// nested anywhere, in keys as well, and one level deep in JSON that stands in a string.
///
/// A value that is nothing but references (`${…}`) is no literal.
#[must_use]
pub fn find(value: &Value) -> Option<Found> {
    walk(value, "", false, true)
}

/// Finds a secret by its shape in plain text: a name, a description, an output.
#[must_use]
pub fn find_text(text: &str) -> Option<Kind> {
    shape(text).map(|(kind, _)| kind)
}

fn walk(value: &Value, at: &str, secret: bool, embedded: bool) -> Option<Found> {
    let found = |kind| {
        Some(Found {
            pointer: at.to_owned(),
            kind,
        })
    };
    match value {
        Value::Null | Value::Bool(_) => None,
        Value::Number(_) => {
            if secret {
                found(Kind::Key)
            } else {
                None
            }
        }
        Value::String(text) if secret && !is_no_literal(text) => found(Kind::Key),
        Value::String(text) => match find_text(text) {
            Some(kind) => found(kind),
            None if embedded => walk(&json_within(text)?, at, false, false),
            None => None,
        },
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(i, item)| walk(item, &format!("{at}/{i}"), secret, embedded)),
        Value::Object(map) => map.iter().find_map(|(key, item)| {
            // The key itself may be the secret, so it is not shown.
            if let Some(kind) = find_text(key) {
                return found(kind);
            }
            let secret = secret || is_secret_key(key);
            walk(item, &pointer::join(at, key), secret, embedded)
        }),
    }
}

/// JSON in a string, if it is an object or an array.
pub(super) fn json_within(text: &str) -> Option<Value> {
    let text = text.trim();
    if !text.starts_with(['{', '[']) {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// Empty, hidden already, or made of references alone: `${params.password}`.
pub(super) fn is_no_literal(text: &str) -> bool {
    let mut rest = text.trim();
    if rest == HIDDEN {
        return true;
    }
    while let Some(inner) = rest.strip_prefix("${") {
        match inner.split_once('}') {
            Some((_, after)) => rest = after.trim_start(),
            None => return false,
        }
    }
    rest.is_empty()
}

/// The first secret in `text` by its shape, with the byte range to hide.
pub(super) fn shape(text: &str) -> Option<(Kind, std::ops::Range<usize>)> {
    let found = [pem(text), authorization(text), url(text), word(text)];
    found
        .into_iter()
        .flatten()
        .min_by_key(|(_, range)| range.start)
}

fn pem(text: &str) -> Option<(Kind, std::ops::Range<usize>)> {
    let mut from = 0;
    while let Some(i) = text[from..].find("-----BEGIN ") {
        let start = from + i;
        let label = &text[start + 11..];
        let end = label.find("-----")?;
        if label[..end].contains("PRIVATE KEY") {
            let stop = text[start + 11 + end..]
                .find("-----END ")
                .map(|i| start + 11 + end + i)
                .and_then(|i| text[i + 9..].find("-----").map(|j| i + 9 + j + 5));
            return Some((Kind::PemPrivateKey, start..stop.unwrap_or(text.len())));
        }
        from = start + 11 + end;
    }
    None
}

/// `Bearer …` and `Basic …`: the word, and a credential that no sentence would hold there.
fn authorization(text: &str) -> Option<(Kind, std::ops::Range<usize>)> {
    let mut words = tokens(text).peekable();
    while let Some((_, scheme)) = words.next() {
        let scheme = scheme.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
        let basic = scheme.eq_ignore_ascii_case("basic");
        if !basic && !scheme.eq_ignore_ascii_case("bearer") {
            continue;
        }
        let Some(&(start, value)) = words.peek() else {
            break;
        };
        let end = start
            + value
                .trim_end_matches(['"', '`', '.', ':', ']', '\'', ',', ';', '}', ')'])
                .len();
        let value = &text[start..end];
        if is_credential(value, basic) {
            return Some((Kind::Authorization, start..end));
        }
    }
    None
}

/// Whether what follows `Bearer` or `Basic` is a credential rather than a word of prose:
/// long enough, only of the alphabet of RFC 6750 and RFC 7617, and either mixed
/// like one or longer than words are.
fn is_credential(value: &str, basic: bool) -> bool {
    let core = value.trim_end_matches('=');
    let alphabet = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    let min = if basic { 8 } else { 6 };
    if core.len() < min || !core.chars().all(alphabet) {
        return false;
    }
    let digit = core.contains(|c: char| c.is_ascii_digit());
    let inner_upper = core[1..].contains(|c: char| c.is_ascii_uppercase());
    let all_upper = core.chars().all(|c| !c.is_ascii_lowercase());
    digit || (inner_upper && !all_upper) || value.ends_with('=') || core.len() >= 20
}

/// `scheme://user:password@host`.
fn url(text: &str) -> Option<(Kind, std::ops::Range<usize>)> {
    let mut from = 0;
    while let Some(i) = text[from..].find("://") {
        let start = from + i + 3;
        let has_scheme = text[..start - 3].ends_with(|c: char| c.is_ascii_alphanumeric());
        let authority = &text[start..];
        let authority = &authority[..authority
            .find(|c: char| c.is_whitespace() || "/?#\"'<>`".contains(c))
            .unwrap_or(authority.len())];
        let user_info = authority.rfind('@').map(|at| &authority[..at]);
        if has_scheme
            && let Some((user, password)) = user_info.and_then(|info| info.split_once(':'))
            && !is_no_literal(password)
        {
            let at = start + user.len() + 1;
            return Some((Kind::UrlPassword, at..at + password.len()));
        }
        from = start;
    }
    None
}

/// A single word that is a token by itself.
fn word(text: &str) -> Option<(Kind, std::ops::Range<usize>)> {
    let part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let mut start = 0;
    while start < text.len() {
        let rest = &text[start..];
        let Some(skip) = rest.find(part) else { break };
        let from = start + skip;
        let len = text[from..].find(|c| !part(c)).unwrap_or(text.len() - from);
        let word = text[from..from + len].trim_end_matches('.');
        let kind = if is_jwt(word) {
            Some(Kind::Jwt)
        } else if is_aws(word) {
            Some(Kind::AwsKey)
        } else if is_github(word) {
            Some(Kind::GithubToken)
        } else {
            None
        };
        if let Some(kind) = kind {
            return Some((kind, from..from + word.len()));
        }
        start = from + len;
    }
    None
}

/// Three base64url parts of which the first is a JSON object (RFC 7519).
fn is_jwt(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    let base64url = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    parts.len() == 3
        && parts[0].starts_with("eyJ")
        && parts[0].len() >= 10
        && parts[1].len() >= 4
        && parts.iter().all(|part| part.chars().all(base64url))
}

fn is_aws(word: &str) -> bool {
    word.len() == 20
        && (word.starts_with("AKIA") || word.starts_with("ASIA"))
        && word
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

fn is_github(word: &str) -> bool {
    let after = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"]
        .iter()
        .find_map(|prefix| word.strip_prefix(prefix));
    after.is_some_and(|rest| {
        rest.len() >= 20 && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// Words of `text` with their byte offsets.
fn tokens(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_whitespace()
        .map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}
