-- Wake-ups that the webhook's receiver has not taken: of each space the newest version
-- that it was to be told of. A node that tries holds its rows for a while (due_at, in
-- the future); if it dies, another takes them up. Times are milliseconds of Unix time.

CREATE TABLE webhook_undelivered (
    space      text    NOT NULL PRIMARY KEY,
    version    integer NOT NULL,
    attempts   integer NOT NULL,
    last_error text    NOT NULL,
    since      integer NOT NULL, -- when the oldest change of it was made
    due_at     integer          -- NULL: given up, a dead letter
) STRICT, WITHOUT ROWID;
