-- The newest receipts of a client apart from the others. The twin of the PostgreSQL
-- migration of the same number; SQLite always takes the index that fits best, so the
-- feed's stays as it is.

ALTER TABLE clients ADD COLUMN older_receipts blob NOT NULL DEFAULT x'';
ALTER TABLE clients ADD COLUMN older_tag integer NOT NULL DEFAULT 0;
