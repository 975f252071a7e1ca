-- How long this space remembers what was deleted, in milliseconds; 0: as long as the
-- server is set to.
ALTER TABLE spaces ADD COLUMN retention_ms integer NOT NULL DEFAULT 0;

-- What a purge looks for: the oldest tombstones of a space. Live documents, which are
-- almost all, are not in the index.
CREATE INDEX documents_tombstones ON documents (space_id, version) WHERE deleted;
