ALTER TABLE clients DROP COLUMN older_receipts;
