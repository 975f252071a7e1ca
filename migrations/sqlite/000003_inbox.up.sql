-- Edits of writers that are not clients. They insert rows in transactions of their
-- own; the node carries the rows out and deletes them, or moves them to inbox_rejected.

CREATE TABLE inbox (
    -- AUTOINCREMENT: a number that was used twice would have two rows share a name.
    inbox_id     integer PRIMARY KEY AUTOINCREMENT NOT NULL,
    space        text    NOT NULL,
    collection   text    NOT NULL,
    id           text    NOT NULL,
    op           text    NOT NULL,
    data         text,
    base_version integer, -- NULL: whatever the version is
    created_at   integer NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS integer)),
    CONSTRAINT inbox_named CHECK (space <> ''),
    CONSTRAINT inbox_op CHECK (op IN ('put', 'patch', 'delete')),
    CONSTRAINT inbox_data CHECK (data IS NULL OR json_valid(data)) -- text that is no JSON fails where it is written
) STRICT;

-- Each space's rows are carried out in the order of their numbers.
CREATE INDEX inbox_space ON inbox (space, inbox_id);

CREATE TABLE inbox_rejected (
    inbox_id     integer NOT NULL PRIMARY KEY,
    space        text    NOT NULL,
    collection   text    NOT NULL,
    id           text    NOT NULL,
    op           text    NOT NULL,
    data         text,
    base_version integer,
    created_at   integer NOT NULL,
    code         text    NOT NULL,
    detail       text    NOT NULL,
    pointer      text    NOT NULL,
    rejected_at  integer NOT NULL
) STRICT;
