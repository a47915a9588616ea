//! The audit chain as a table in SQLite. Whoever owns the database calls [`append`] inside
//! a transaction of its own, so that a change and its audit row are committed together.

use std::num::TryFromIntError;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params, types::Type};

use crate::audit::{self, Entry, Head, Row, VerifyError, micros};

/// The table and its index.
pub const DDL: &str = "
CREATE TABLE audit (
    seq            INTEGER PRIMARY KEY CHECK (seq > 0),
    at             TEXT NOT NULL,
    actor          TEXT NOT NULL,
    kind           TEXT NOT NULL,
    workflow       TEXT,
    payload_sha256 TEXT NOT NULL CHECK (length(payload_sha256) = 64),
    prev           TEXT NOT NULL CHECK (length(prev) = 64),
    hash           TEXT NOT NULL CHECK (length(hash) = 64)
) STRICT;
CREATE INDEX audit_workflow ON audit (workflow, seq) WHERE workflow IS NOT NULL;
";

const COLUMNS: &str = "seq, at, actor, kind, workflow, payload_sha256, prev, hash";

/// Appends one row to the chain. The head is read in the same transaction, which must
/// have begun as `IMMEDIATE`: two writers would else seal to the same head.
///
/// # Errors
///
/// Those of SQLite.
pub fn append(transaction: &Transaction<'_>, entry: Entry) -> rusqlite::Result<Row> {
    append_to(transaction, &head(transaction)?, entry)
}

/// As [`append`], to a head that was read or made in the same transaction: for several rows, one
/// after the other.
///
/// # Errors
///
/// Those of SQLite.
pub fn append_to(
    transaction: &Transaction<'_>,
    head: &Head,
    entry: Entry,
) -> rusqlite::Result<Row> {
    let row = audit::seal(head, entry);
    transaction
        .prepare_cached(
            "INSERT INTO audit (seq, at, actor, kind, workflow, payload_sha256, prev, hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            to_sql(row.seq)?,
            micros::text(row.entry.at),
            row.entry.actor,
            row.entry.kind,
            row.entry.workflow,
            row.entry.payload_sha256,
            row.prev,
            row.hash,
        ])?;
    Ok(row)
}

/// The head of the chain.
///
/// # Errors
///
/// Those of SQLite.
pub fn head(connection: &Connection) -> rusqlite::Result<Head> {
    let head = connection
        .prepare_cached("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| {
            Ok(Head {
                seq: from_sql(row.get(0)?)?,
                hash: row.get(1)?,
            })
        })
        .optional()?;
    Ok(head.unwrap_or_else(Head::genesis))
}

/// At most `limit` rows after `after_seq`, in order; of one workflow if it is given.
///
/// # Errors
///
/// Those of SQLite.
pub fn read(
    connection: &Connection,
    after_seq: u64,
    limit: usize,
    workflow: Option<&str>,
) -> rusqlite::Result<Vec<Row>> {
    let after = to_sql(after_seq)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let (filter, values) = match workflow {
        Some(_) => ("AND workflow = ?3", params![after, limit, workflow]),
        None => ("", params![after, limit]),
    };
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM audit WHERE seq > ?1 {filter} ORDER BY seq LIMIT ?2"
        ))?
        .query_map(values, row)?
        .collect()
}

/// Verifies the whole chain, row by row, without holding it in memory.
///
/// # Errors
///
/// [`VerifyError`] with the first row that does not fit, or that cannot be read.
pub fn verify_all(connection: &Connection) -> Result<Head, VerifyError<rusqlite::Error>> {
    let mut statement = connection
        .prepare(&format!("SELECT {COLUMNS} FROM audit ORDER BY seq"))
        .map_err(VerifyError::Read)?;
    let rows = statement.query_map([], row).map_err(VerifyError::Read)?;
    audit::verify(rows)
}

/// Reads a row whose columns are those of the table, in order.
pub(crate) fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let at: String = row.get(1)?;
    let at = at.parse().map_err(|e: jiff::Error| {
        rusqlite::Error::FromSqlConversionFailure(1, Type::Text, e.into())
    })?;
    Ok(Row {
        seq: from_sql(row.get(0)?)?,
        entry: Entry {
            at,
            actor: row.get(2)?,
            kind: row.get(3)?,
            workflow: row.get(4)?,
            payload_sha256: row.get(5)?,
        },
        prev: row.get(6)?,
        hash: row.get(7)?,
    })
}

fn to_sql(seq: u64) -> rusqlite::Result<i64> {
    i64::try_from(seq).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}

fn from_sql(seq: i64) -> rusqlite::Result<u64> {
    u64::try_from(seq).map_err(|e: TryFromIntError| {
        rusqlite::Error::FromSqlConversionFailure(0, Type::Integer, e.into())
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn filled(n: i64) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(DDL).unwrap();
        let transaction = connection.transaction().unwrap();
        for i in 0..n {
            let at = Timestamp::from_microsecond(i).unwrap();
            let workflow = if i % 2 == 0 { Some("wf_a") } else { None };
            append(
                &transaction,
                Entry::new(at, "engine", "step", workflow, &json!({"i": i})),
            )
            .unwrap();
        }
        transaction.commit().unwrap();
        connection
    }

    #[test]
    fn p15_appended_rows_are_one_chain() {
        let connection = filled(10);
        assert_eq!(verify_all(&connection).unwrap(), head(&connection).unwrap());
        assert_eq!(head(&connection).unwrap().seq, 10);
        assert_eq!(head(&filled(0)).unwrap(), Head::genesis());
    }

    #[test]
    fn p15_rows_are_read_in_order_and_by_workflow() {
        let connection = filled(10);
        let seqs = |after, limit, workflow| -> Vec<u64> {
            read(&connection, after, limit, workflow)
                .unwrap()
                .iter()
                .map(|row| row.seq)
                .collect()
        };
        assert_eq!(seqs(0, 3, None), [1, 2, 3]);
        assert_eq!(seqs(8, 100, None), [9, 10]);
        assert_eq!(seqs(1, 2, Some("wf_a")), [3, 5]);
        assert_eq!(seqs(0, usize::MAX, Some("wf_b")), [0; 0]);
        let rows = read(&connection, 0, 10, None).unwrap();
        assert!(audit::verify(rows.into_iter().map(Ok::<_, std::convert::Infallible>)).is_ok());
    }

    #[test]
    fn p15_a_transaction_rolled_back_leaves_no_gap() {
        let mut connection = filled(2);
        let entry = || Entry::new(Timestamp::UNIX_EPOCH, "a", "k", None, &json!(null));
        let transaction = connection.transaction().unwrap();
        assert_eq!(append(&transaction, entry()).unwrap().seq, 3);
        transaction.rollback().unwrap();
        let transaction = connection.transaction().unwrap();
        assert_eq!(append(&transaction, entry()).unwrap().seq, 3);
        transaction.commit().unwrap();
        assert_eq!(verify_all(&connection).unwrap().seq, 3);
    }

    #[test]
    fn p15_a_row_that_cannot_be_read_is_no_success() {
        let connection = filled(3);
        connection
            .execute("UPDATE audit SET at = 'yesterday' WHERE seq = 2", [])
            .unwrap();
        assert!(matches!(verify_all(&connection), Err(VerifyError::Read(_))));
    }
}
