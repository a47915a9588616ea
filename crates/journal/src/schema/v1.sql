-- Version 1. The table `audit` comes before it, from the room that owns its rules.

-- Projections: caches of the fold over `event`, written in the same transaction.

CREATE TABLE workflow (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    reason     TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    requester  TEXT    NOT NULL,
    steps      INTEGER NOT NULL,
    settled    INTEGER NOT NULL,
    approval   TEXT,
    expires_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX workflow_newest ON workflow (created_at, id);
CREATE INDEX workflow_state ON workflow (state, created_at, id);

CREATE TABLE step (
    workflow TEXT    NOT NULL REFERENCES workflow (id),
    place    INTEGER NOT NULL,
    id       TEXT    NOT NULL,
    state    TEXT    NOT NULL,
    attempt  INTEGER NOT NULL,
    error    TEXT,
    sha256   TEXT,
    size     INTEGER,
    PRIMARY KEY (workflow, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE output (
    workflow TEXT    NOT NULL,
    place    INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    value    TEXT    NOT NULL, -- JSON
    PRIMARY KEY (workflow, place, name),
    FOREIGN KEY (workflow, place) REFERENCES step (workflow, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE approval (
    id           TEXT    NOT NULL PRIMARY KEY,
    workflow     TEXT    NOT NULL REFERENCES workflow (id),
    kind         TEXT    NOT NULL,
    step         TEXT,
    digest       TEXT    NOT NULL,
    requested_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    expired_at   INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX approval_workflow ON approval (workflow, requested_at);

CREATE TABLE decision (
    workflow  TEXT    NOT NULL REFERENCES workflow (id),
    seq       INTEGER NOT NULL, -- of the event
    approval  TEXT    NOT NULL REFERENCES approval (id),
    verdict   TEXT    NOT NULL, -- approved, rejected
    name      TEXT    NOT NULL,
    assurance TEXT    NOT NULL,
    account   TEXT    NOT NULL,
    comment   TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (workflow, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX decision_approval ON decision (approval);

-- The record. `audit` holds the SHA-256 of each `body` and each `payload`.

CREATE TABLE event (
    audit_seq INTEGER NOT NULL UNIQUE REFERENCES audit (seq),
    workflow  TEXT    NOT NULL REFERENCES workflow (id),
    seq       INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    actor     TEXT    NOT NULL,
    v         INTEGER NOT NULL, -- version of the body's form
    kind      TEXT    NOT NULL,
    body      TEXT    NOT NULL, -- JSON
    PRIMARY KEY (workflow, seq)
) STRICT;

CREATE TABLE call (
    audit_seq INTEGER NOT NULL PRIMARY KEY REFERENCES audit (seq),
    payload   TEXT    NOT NULL -- JSON, redacted
) STRICT;

-- Who may send the calls of a workflow. A row without a process was released.

CREATE TABLE owner (
    workflow TEXT    NOT NULL PRIMARY KEY REFERENCES workflow (id),
    process  TEXT,
    epoch    INTEGER NOT NULL,
    since    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
