ALTER TABLE clients DROP COLUMN older_tag;
ALTER TABLE clients DROP COLUMN older_receipts;
