ALTER TABLE spaces DROP COLUMN deleted_through;
