//! The tables, as linear migrations. Each one is applied once, in order, in one transaction with
//! the number that says so (`user_version`); none is ever changed after it was released.

use rusqlite::{Connection, TransactionBehavior};

use crate::error::Fault;

/// Marks the file as a journal of this program (`PRAGMA application_id`): "PLTH".
const APPLICATION: i64 = 0x504c_5448;

/// What brings a database from one version to the next. The first makes version 1 of nothing.
pub(crate) type Migration = fn(&Connection) -> rusqlite::Result<()>;

/// All of them, the oldest first.
pub(crate) const MIGRATIONS: &[Migration] = &[
    |connection| {
        connection.execute_batch(policy::audit_store::DDL)?;
        connection.execute_batch(include_str!("schema/v1.sql"))
    },
    |connection| connection.execute_batch(include_str!("schema/v2.sql")),
];

/// The newest version that this build knows.
pub(crate) const KNOWN: i64 = MIGRATIONS.len() as i64;

/// Whether this build can work with the database. Reads the first page and writes nothing.
pub(crate) fn check(connection: &Connection) -> Result<(), Fault> {
    let application: i64 = connection.pragma_query_value(None, "application_id", |r| r.get(0))?;
    let found = version(connection)?;
    if application != APPLICATION {
        return Err(Fault::Corrupted(
            "the file is another program's database".to_owned(),
        ));
    }
    if found > KNOWN {
        return Err(Fault::Newer {
            found,
            known: KNOWN,
        });
    }
    if found < 1 {
        return Err(Fault::Corrupted("the file has no version".to_owned()));
    }
    Ok(())
}

/// The version of the database.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("PRAGMA user_version")?
        .query_row([], |row| row.get(0))
}

/// Applies what is missing, all of it or nothing.
pub(crate) fn migrate(connection: &mut Connection, migrations: &[Migration]) -> Result<(), Fault> {
    let from = version(connection)?;
    let missing = usize::try_from(from)
        .ok()
        .and_then(|from| migrations.get(from..));
    let Some(missing) = missing.filter(|missing| !missing.is_empty()) else {
        return Ok(());
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for migration in missing {
        migration(&transaction)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", migrations.len() as i64)?;
    transaction.commit()?;
    if from > 0 {
        tracing::info!(
            from,
            to = migrations.len(),
            "the journal was brought to a newer version"
        );
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]
mod tests {
    use super::*;

    const NEXT: Migration =
        |connection| connection.execute_batch("ALTER TABLE owner ADD COLUMN host TEXT");
    const BROKEN: Migration = |connection| {
        connection
            .execute_batch("CREATE TABLE half (id TEXT); ALTER TABLE nowhere ADD COLUMN host TEXT")
    };

    #[test]
    fn each_migration_is_applied_once_and_in_order() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, MIGRATIONS).unwrap();
        migrate(&mut connection, MIGRATIONS).unwrap();
        assert_eq!(version(&connection), Ok(KNOWN));
        let next = [MIGRATIONS, &[NEXT]].concat();
        migrate(&mut connection, &next).unwrap();
        migrate(&mut connection, &next).unwrap();
        assert_eq!(version(&connection), Ok(KNOWN + 1));
        connection.execute_batch("SELECT host FROM owner").unwrap();
    }

    #[test]
    fn p18_a_migration_that_fails_leaves_everything_as_it_was() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, MIGRATIONS).unwrap();
        migrate(&mut connection, &[MIGRATIONS, &[NEXT, BROKEN]].concat()).unwrap_err();
        assert_eq!(version(&connection), Ok(KNOWN));
        connection
            .execute_batch("SELECT host FROM owner")
            .unwrap_err();
        connection.execute_batch("SELECT * FROM half").unwrap_err();
        check(&connection).unwrap();
    }
}
