-- Who may come in, apart from what tokens say: keys for servers, what was taken back
-- before it expired, and who did that. All three are small: the node reads the first
-- two whole, again and again. Times are milliseconds of Unix time.

CREATE TABLE api_keys (
    id         text NOT NULL PRIMARY KEY,
    hash       blob NOT NULL, -- of the key as it is sent, which nobody keeps
    name       text NOT NULL,
    subject    text NOT NULL,
    spaces     text NOT NULL, -- JSON, as a token's claim
    created_at integer NOT NULL,
    expires_at integer, -- NULL: never
    revoked_at integer,
    CONSTRAINT api_keys_hash CHECK (length(hash) = 32)
) STRICT, WITHOUT ROWID;

CREATE TABLE revocations (
    kind       text NOT NULL,
    name       text NOT NULL, -- a token's jti, or a subject
    not_before integer NOT NULL, -- a subject's tokens that were issued up to then are not good
    expires_at integer NOT NULL, -- no token that is meant can be alive any more
    PRIMARY KEY (kind, name),
    CONSTRAINT revocations_kind CHECK (kind IN ('token', 'subject'))
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_log (
    id     integer PRIMARY KEY AUTOINCREMENT NOT NULL,
    at     integer NOT NULL,
    actor  text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    detail text NOT NULL
) STRICT;
