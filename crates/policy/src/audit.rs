//! The audit trail as a hash chain: pure, without storage.
//!
//! Each row's hash covers the row and the hash before it, so a row that is altered,
//! removed, inserted or moved breaks the chain from there on: [`verify`] finds it
//! offline, with nothing but the rows.
//!
//! What a chain cannot show by itself: that rows at its *end* were cut off, or that all
//! of it was written anew by someone who can write the file. Both show against a [`Head`]
//! that was noted down elsewhere.

use guard::digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The domain of a row's hash.
const ROW_DOMAIN: &str = "pilothouse/audit/1";

/// The domain of a payload's hash.
const PAYLOAD_DOMAIN: &str = "pilothouse/audit-payload/1";

/// What is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, to the microsecond; written as RFC 3339 in UTC with six digits.
    #[serde(with = "micros")]
    pub at: Timestamp,
    /// Who: `os:alice`, `engine`.
    pub actor: String,
    /// What: `call`, `approval.granted`.
    pub kind: String,
    /// In which workflow, if in one.
    pub workflow: Option<String>,
    /// The SHA-256 of the payload, 64 hexadecimal digits, see [`payload_sha256`].
    pub payload_sha256: String,
}

impl Entry {
    /// An entry for `payload`. The time is cut to the microsecond; actor, kind and
    /// workflow are sanitised.
    #[must_use]
    pub fn new(
        at: Timestamp,
        actor: &str,
        kind: &str,
        workflow: Option<&str>,
        payload: &Value,
    ) -> Self {
        Self {
            at: micros::cut(at),
            actor: guard::text::sanitize(actor),
            kind: guard::text::sanitize(kind),
            workflow: workflow.map(guard::text::sanitize),
            payload_sha256: payload_sha256(payload),
        }
    }
}

/// The hash of a payload: SHA-256 of its canonical JSON in the domain
/// `pilothouse/audit-payload/1`, 64 hexadecimal digits.
#[must_use]
pub fn payload_sha256(payload: &Value) -> String {
    digest::digest(PAYLOAD_DOMAIN, payload).to_hex()
}

/// One row of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// What was recorded.
    #[serde(flatten)]
    pub entry: Entry,
    /// The hash of the row before; 64 zeros for the first.
    pub prev: String,
    /// The hash of this row, 64 hexadecimal digits.
    pub hash: String,
}

/// The end of a chain. Noted down elsewhere, it proves that nothing was cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number of the last row; 0 if there is none.
    pub seq: u64,
    /// The hash of the last row; 64 zeros if there is none.
    pub hash: String,
}

impl Head {
    /// The head of an empty chain.
    #[must_use]
    pub fn genesis() -> Self {
        Self {
            seq: 0,
            hash: "0".repeat(64),
        }
    }
}

impl From<&Row> for Head {
    fn from(row: &Row) -> Self {
        Self {
            seq: row.seq,
            hash: row.hash.clone(),
        }
    }
}

/// Makes the row that follows `head`.
#[must_use]
pub fn seal(head: &Head, entry: Entry) -> Row {
    let seq = head.seq + 1;
    let prev = head.hash.clone();
    let hash = hash(seq, &entry, &prev);
    Row {
        seq,
        entry,
        prev,
        hash,
    }
}

/// The hash of a row: of its canonical JSON, whose keys are written here in their order.
fn hash(seq: u64, entry: &Entry, prev: &str) -> String {
    let mut row = String::with_capacity(400);
    let mut text = |key: &str, value: &str| {
        row.push_str(key);
        digest::write_string(&mut row, value);
    };
    text("{\"actor\":", &entry.actor);
    text(",\"at\":", &micros::text(entry.at));
    text(",\"kind\":", &entry.kind);
    text(",\"payload_sha256\":", &entry.payload_sha256);
    text(",\"prev\":", prev);
    row.push_str(",\"seq\":");
    row.push_str(&digest::canonical(&seq.into()));
    row.push_str(",\"workflow\":");
    match &entry.workflow {
        Some(workflow) => digest::write_string(&mut row, workflow),
        None => row.push_str("null"),
    }
    row.push('}');
    digest::digest_of_canonical(ROW_DOMAIN, &row).to_hex()
}

/// The chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Do not trust the audit trail from row {seq} on: {why}")]
pub struct Broken {
    /// The first row that does not fit.
    pub seq: u64,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with the first row that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Rows are missing before it, were moved, or inserted.
    #[error("its number does not follow the one before")]
    Sequence,
    /// The row before is not the one that it was sealed to.
    #[error("it does not continue the row before")]
    Link,
    /// The row was altered.
    #[error("its content does not match its hash")]
    Altered,
    /// The payload that is kept beside it was altered.
    #[error("its payload does not match its hash")]
    Payload,
}

/// Why a chain could not be verified: it is broken, or its rows cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError<E> {
    /// The chain is broken.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// A row could not be read.
    #[error("Check the audit trail: a row cannot be read: {0}")]
    Read(E),
}

/// Verifies a chain from its first row, as it is read, and returns its head.
///
/// # Errors
///
/// [`VerifyError`] with the first row that does not fit.
pub fn verify<E>(rows: impl IntoIterator<Item = Result<Row, E>>) -> Result<Head, VerifyError<E>> {
    verify_from(Head::genesis(), rows)
}

/// Verifies what follows `head`: the rest of a chain whose beginning is archived, or
/// what came since a head was noted down.
///
/// # Errors
///
/// [`VerifyError`] with the first row that does not fit.
pub fn verify_from<E>(
    mut head: Head,
    rows: impl IntoIterator<Item = Result<Row, E>>,
) -> Result<Head, VerifyError<E>> {
    for row in rows {
        head = follow(&head, &row.map_err(VerifyError::Read)?)?;
    }
    Ok(head)
}

/// Checks that `row` follows `head`, and returns the new head.
pub(crate) fn follow(head: &Head, row: &Row) -> Result<Head, Broken> {
    let broken = |why| Err(Broken { seq: row.seq, why });
    if row.seq != head.seq + 1 {
        return broken(Why::Sequence);
    }
    if row.prev != head.hash {
        return broken(Why::Link);
    }
    if row.hash != hash(row.seq, &row.entry, &row.prev) {
        return broken(Why::Altered);
    }
    Ok(Head::from(row))
}

/// Time as RFC 3339 in UTC, always with six digits, so that it sorts as text.
pub(crate) mod micros {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn cut(at: Timestamp) -> Timestamp {
        // Cutting a valid time towards the past by less than a microsecond leaves it
        // valid; if not, the time as it is still is the truth.
        Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
    }

    pub(crate) fn text(at: Timestamp) -> String {
        format!("{at:.6}")
    }

    pub(super) fn serialize<S: Serializer>(
        at: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(*at))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn chain(n: usize) -> Vec<Row> {
        let mut head = Head::genesis();
        (0..n)
            .map(|i| {
                let at = Timestamp::from_nanosecond(1_700_000_000_123_456_789 + i as i128).unwrap();
                let workflow = (i > 2).then(|| format!("wf_{i}"));
                let entry = Entry::new(
                    at,
                    "os:alice",
                    "call",
                    workflow.as_deref(),
                    &json!({"i": i}),
                );
                let row = seal(&head, entry);
                head = Head::from(&row);
                row
            })
            .collect()
    }

    fn check(rows: &[Row]) -> Result<Head, (u64, Why)> {
        verify(rows.iter().cloned().map(Ok::<_, Infallible>)).map_err(|e| match e {
            VerifyError::Broken(Broken { seq, why }) => (seq, why),
            VerifyError::Read(never) => match never {},
        })
    }

    #[test]
    fn p15_an_untouched_chain_verifies_to_its_head() {
        let rows = chain(5);
        assert_eq!(check(&rows), Ok(Head::from(&rows[4])));
        assert_eq!(check(&[]), Ok(Head::genesis()));
        assert_eq!(rows[0].prev, "0".repeat(64));
    }

    #[test]
    fn p15_a_hash_is_that_of_the_canonical_row_in_its_domain() {
        let row = &chain(1)[0];
        let text = format!(
            "pilothouse/audit/1\n{{\"actor\":\"os:alice\",\"at\":\"2023-11-14T22:13:20.123456Z\",\"kind\":\"call\",\
             \"payload_sha256\":\"{}\",\"prev\":\"{}\",\"seq\":1,\"workflow\":null}}",
            digest::sha256_hex(b"pilothouse/audit-payload/1\n{\"i\":0}"),
            "0".repeat(64),
        );
        assert_eq!(row.hash, digest::sha256_hex(text.as_bytes()));
    }

    proptest! {
        #[test]
        fn p15_the_hash_of_any_row_is_that_of_its_canonical_json(
            seq: u64, actor: String, kind: String, workflow: Option<String>, prev: String
        ) {
            let at = Timestamp::UNIX_EPOCH;
            let entry = Entry { at, actor, kind, workflow, payload_sha256: "0".repeat(64) };
            let row = json!({
                "seq": seq,
                "at": micros::text(entry.at),
                "actor": entry.actor,
                "kind": entry.kind,
                "workflow": entry.workflow,
                "payload_sha256": entry.payload_sha256,
                "prev": prev,
            });
            prop_assert_eq!(hash(seq, &entry, &prev), digest::digest(ROW_DOMAIN, &row).to_hex());
        }
    }

    #[test]
    fn p15_removed_moved_and_inserted_rows_are_found() {
        let rows = chain(5);
        let without = |i: usize| {
            let mut rows = rows.clone();
            rows.remove(i);
            rows
        };
        assert_eq!(check(&without(0)), Err((2, Why::Sequence)));
        assert_eq!(check(&without(2)), Err((4, Why::Sequence)));
        let mut moved = rows.clone();
        moved.swap(1, 2);
        assert_eq!(check(&moved), Err((3, Why::Sequence)));
        let mut inserted = rows.clone();
        inserted.insert(2, rows[1].clone());
        assert_eq!(check(&inserted), Err((2, Why::Sequence)));
        // A row with a hash of its own, numbered to fit, does not link to what follows.
        let mut replaced = rows.clone();
        let other = Entry::new(rows[2].entry.at, "os:mallory", "call", None, &json!({}));
        replaced[2] = seal(&Head::from(&rows[1]), other);
        assert_eq!(check(&replaced), Err((4, Why::Link)));
    }

    #[test]
    fn p15_the_rest_of_a_chain_verifies_from_where_the_archive_ends() {
        let rows = chain(5);
        let rest = |from: &Row| {
            verify_from(
                Head::from(from),
                rows[3..].iter().cloned().map(Ok::<_, Infallible>),
            )
        };
        assert_eq!(rest(&rows[2]).unwrap(), Head::from(&rows[4]));
        assert!(rest(&rows[1]).is_err());
    }

    #[test]
    fn p15_rows_survive_json_to_the_letter() {
        for row in chain(4) {
            let text = serde_json::to_string(&row).unwrap();
            let back: Row = serde_json::from_str(&text).unwrap();
            assert_eq!(back, row);
            assert_eq!(serde_json::to_string(&back).unwrap(), text);
        }
        // Whole seconds keep their six digits, so that times sort as text.
        let entry = Entry::new(Timestamp::UNIX_EPOCH, "a", "k", None, &json!(null));
        assert_eq!(json!(entry)["at"], "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn p13_actor_and_kind_are_sanitised() {
        let entry = Entry::new(
            Timestamp::UNIX_EPOCH,
            "a\u{202E}b",
            "k\n",
            Some("w\0"),
            &json!(null),
        );
        assert_eq!((entry.actor.as_str(), entry.kind.as_str()), ("ab", "k "));
        assert_eq!(entry.workflow.as_deref(), Some("w"));
    }

    proptest! {
        #[test]
        fn p15_any_change_of_any_field_is_found(at in 0usize..6, field in 0usize..8, bit in 0usize..8) {
            let mut rows = chain(6);
            let row = &mut rows[at];
            let flip = |text: &mut String| {
                let mut bytes = text.clone().into_bytes();
                bytes[0] ^= 1 << (bit % 4);
                *text = String::from_utf8(bytes).unwrap();
            };
            match field {
                0 => row.seq ^= 1 << bit,
                1 => row.entry.at += jiff::SignedDuration::from_micros(1 << bit),
                2 => flip(&mut row.entry.actor),
                3 => flip(&mut row.entry.kind),
                4 => row.entry.workflow = match &row.entry.workflow { None => Some(String::new()), Some(_) => None },
                5 => flip(&mut row.entry.payload_sha256),
                6 => flip(&mut row.prev),
                _ => flip(&mut row.hash),
            }
            prop_assert!(check(&rows).is_err());
        }
    }
}
