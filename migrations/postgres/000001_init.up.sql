-- Spaces, documents and clients. Every key begins with the space, so that the
-- tables can be distributed by it. COLLATE "C": names are compared byte by byte,
-- the same way on every machine.

CREATE TABLE spaces (
    id          text   COLLATE "C" NOT NULL PRIMARY KEY,
    head        bigint NOT NULL DEFAULT 0,
    floor       bigint NOT NULL DEFAULT 0,
    epoch       bigint NOT NULL,
    past_epochs text   NOT NULL DEFAULT '[]',
    digest      bigint NOT NULL DEFAULT 0,
    live_count  bigint NOT NULL DEFAULT 0,
    created_at  bigint NOT NULL
) WITH (fillfactor = 50); -- every push updates its space's row; room on the page keeps the update off the index

CREATE TABLE documents (
    space_id       text    COLLATE "C" NOT NULL,
    collection     text    COLLATE "C" NOT NULL,
    id             text    COLLATE "C" NOT NULL,
    version        bigint  NOT NULL,
    deleted        boolean NOT NULL DEFAULT false,
    data           json, -- not jsonb: documents are returned byte for byte
    size           bigint  NOT NULL DEFAULT 0,
    field_versions text    NOT NULL DEFAULT '',
    client_id      text    COLLATE "C" NOT NULL,
    edit_id        text    COLLATE "C" NOT NULL,
    updated_by     text    NOT NULL,
    updated_at     bigint  NOT NULL,
    PRIMARY KEY (space_id, collection, id),
    CONSTRAINT documents_tombstone CHECK (deleted = (data IS NULL))
);

-- The feed.
CREATE INDEX documents_feed ON documents (space_id, version);

CREATE TABLE clients (
    space_id  text   COLLATE "C" NOT NULL,
    subject   text   COLLATE "C" NOT NULL,
    client_id text   COLLATE "C" NOT NULL,
    receipts  bytea  NOT NULL,
    seen_at   bigint NOT NULL,
    PRIMARY KEY (space_id, subject, client_id)
);

-- Receipts are read and written whole by every push: kept inline, not compressed.
ALTER TABLE clients ALTER COLUMN receipts SET STORAGE MAIN;
