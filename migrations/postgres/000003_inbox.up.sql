-- Edits of writers that are not clients. They insert rows in transactions of their
-- own; the nodes carry the rows out and delete them, or move them to inbox_rejected.

CREATE TABLE inbox (
    -- ALWAYS: a number that was used twice would have two rows share a name.
    inbox_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    space        text   COLLATE "C" NOT NULL,
    collection   text   COLLATE "C" NOT NULL,
    id           text   COLLATE "C" NOT NULL,
    op           text   COLLATE "C" NOT NULL,
    data         json,  -- so that text which is no JSON fails where it is written
    base_version bigint, -- NULL: whatever the version is
    created_at   bigint NOT NULL DEFAULT CAST(extract(epoch FROM now()) * 1000 AS bigint),
    CONSTRAINT inbox_named CHECK (space <> ''),
    CONSTRAINT inbox_op CHECK (op IN ('put', 'patch', 'delete'))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000); -- a queue: its front is made of deleted rows

-- Each space's rows are carried out in the order of their numbers.
CREATE INDEX inbox_space ON inbox (space, inbox_id);

CREATE TABLE inbox_rejected (
    inbox_id     bigint NOT NULL PRIMARY KEY,
    space        text   COLLATE "C" NOT NULL,
    collection   text   COLLATE "C" NOT NULL,
    id           text   COLLATE "C" NOT NULL,
    op           text   COLLATE "C" NOT NULL,
    data         json,
    base_version bigint,
    created_at   bigint NOT NULL,
    code         text   COLLATE "C" NOT NULL,
    detail       text   NOT NULL,
    pointer      text   NOT NULL,
    rejected_at  bigint NOT NULL
);
