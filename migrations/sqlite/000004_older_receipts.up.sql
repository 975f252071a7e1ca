-- The newest receipts of a client apart from the others. The twin of the PostgreSQL
-- migration of the same number.

ALTER TABLE clients ADD COLUMN older_receipts blob NOT NULL DEFAULT x'';
