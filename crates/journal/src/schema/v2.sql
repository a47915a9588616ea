-- Version 2: held objects, archives, and how many workflows there are of each state.

-- Which workflow changes which object. An object is named by the digest of its identity.

CREATE TABLE held (
    object   TEXT    NOT NULL PRIMARY KEY,
    workflow TEXT    NOT NULL REFERENCES workflow (id),
    at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX held_workflow ON held (workflow);

-- The files that events were moved into. `audit` holds the SHA-256 of each `payload`, which holds
-- that of the file.

CREATE TABLE archive (
    file      TEXT    NOT NULL PRIMARY KEY,
    audit_seq INTEGER NOT NULL UNIQUE REFERENCES audit (seq),
    payload   TEXT    NOT NULL -- JSON
) STRICT, WITHOUT ROWID;

ALTER TABLE workflow ADD COLUMN archived_in TEXT REFERENCES archive (file);
ALTER TABLE workflow ADD COLUMN archived_seq INTEGER; -- the number of its last event

CREATE INDEX workflow_archived ON workflow (archived_in, id) WHERE archived_in IS NOT NULL;

-- What is not archived yet, by a column that never changes: a transition does not touch it.
CREATE INDEX workflow_here ON workflow (created_at) WHERE archived_in IS NULL;

-- How many workflows are in each state: counting them would read them all.

CREATE TABLE tally (
    state TEXT    NOT NULL PRIMARY KEY,
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO tally SELECT state, count(*) FROM workflow GROUP BY state;

CREATE TRIGGER workflow_counted AFTER INSERT ON workflow BEGIN
    INSERT INTO tally VALUES (new.state, 1) ON CONFLICT (state) DO UPDATE SET count = count + 1;
END;

CREATE TRIGGER workflow_moved AFTER UPDATE OF state ON workflow WHEN old.state <> new.state BEGIN
    UPDATE tally SET count = count - 1 WHERE state = old.state;
    INSERT INTO tally VALUES (new.state, 1) ON CONFLICT (state) DO UPDATE SET count = count + 1;
END;
