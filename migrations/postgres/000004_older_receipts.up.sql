-- The newest receipts of a client apart from the others: every push adds to them,
-- and rewriting all 256, some 6 kB, cost four times what the rest of a small push
-- does. The others lie outside of the row (EXTERNAL: not compressed, for hashes
-- don't shrink), where an update that leaves them alone doesn't touch them.

ALTER TABLE clients ADD COLUMN older_receipts bytea NOT NULL DEFAULT '';
ALTER TABLE clients ALTER COLUMN older_receipts SET STORAGE EXTERNAL;

-- Room on the page keeps the update of a client's row off the index.
ALTER TABLE clients SET (fillfactor = 50);
