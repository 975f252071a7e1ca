-- Spaces, documents and clients. The twin of the PostgreSQL migration of the same
-- number; STRICT makes SQLite check types as PostgreSQL does.

CREATE TABLE spaces (
    id          text    NOT NULL PRIMARY KEY,
    head        integer NOT NULL DEFAULT 0,
    floor       integer NOT NULL DEFAULT 0,
    epoch       integer NOT NULL,
    past_epochs text    NOT NULL DEFAULT '[]',
    digest      integer NOT NULL DEFAULT 0,
    live_count  integer NOT NULL DEFAULT 0,
    created_at  integer NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE documents (
    space_id       text    NOT NULL,
    collection     text    NOT NULL,
    id             text    NOT NULL,
    version        integer NOT NULL,
    deleted        integer NOT NULL DEFAULT 0,
    data           text,
    size           integer NOT NULL DEFAULT 0,
    field_versions text    NOT NULL DEFAULT '',
    client_id      text    NOT NULL,
    edit_id        text    NOT NULL,
    updated_by     text    NOT NULL,
    updated_at     integer NOT NULL,
    PRIMARY KEY (space_id, collection, id),
    CONSTRAINT documents_tombstone CHECK (deleted = (data IS NULL))
) STRICT;

-- The feed.
CREATE INDEX documents_feed ON documents (space_id, version);

CREATE TABLE clients (
    space_id  text    NOT NULL,
    subject   text    NOT NULL,
    client_id text    NOT NULL,
    receipts  blob    NOT NULL,
    seen_at   integer NOT NULL,
    PRIMARY KEY (space_id, subject, client_id)
) STRICT, WITHOUT ROWID;
