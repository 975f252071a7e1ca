ALTER TABLE spaces DROP COLUMN retention_ms;
DROP INDEX documents_tombstones;
