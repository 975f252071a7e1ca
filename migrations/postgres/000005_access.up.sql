-- Who may come in, apart from what tokens say: keys for servers, what was taken back
-- before it expired, and who did that. All three are small: nodes read the first two
-- whole, again and again. Times are milliseconds of Unix time.

CREATE TABLE api_keys (
    id         text   COLLATE "C" NOT NULL PRIMARY KEY,
    hash       bytea  NOT NULL, -- of the key as it is sent, which nobody keeps
    name       text   NOT NULL,
    subject    text   COLLATE "C" NOT NULL,
    spaces     text   NOT NULL, -- JSON, as a token's claim
    created_at bigint NOT NULL,
    expires_at bigint, -- NULL: never
    revoked_at bigint,
    CONSTRAINT api_keys_hash CHECK (octet_length(hash) = 32)
);

CREATE TABLE revocations (
    kind       text   COLLATE "C" NOT NULL,
    name       text   COLLATE "C" NOT NULL, -- a token's jti, or a subject
    not_before bigint NOT NULL, -- a subject's tokens that were issued up to then are not good
    expires_at bigint NOT NULL, -- no token that is meant can be alive any more
    PRIMARY KEY (kind, name),
    CONSTRAINT revocations_kind CHECK (kind IN ('token', 'subject'))
);

CREATE TABLE audit_log (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     bigint NOT NULL,
    actor  text   NOT NULL,
    action text   COLLATE "C" NOT NULL,
    target text   NOT NULL,
    detail text   NOT NULL
);
