-- The newest receipts of a client apart from the others: every push adds to them,
-- and rewriting all 256, some 6 kB, cost four times what the rest of a small push
-- does. The others lie outside of the row (EXTERNAL: not compressed, for hashes
-- don't shrink), where an update that leaves them alone doesn't touch them. The tag
-- changes whenever they do: a node that knows them asks for them no more.

ALTER TABLE clients ADD COLUMN older_receipts bytea NOT NULL DEFAULT '';
ALTER TABLE clients ADD COLUMN older_tag bigint NOT NULL DEFAULT 0;
ALTER TABLE clients ALTER COLUMN older_receipts SET STORAGE EXTERNAL;

-- Room on the page keeps the update of a client's row off the index.
ALTER TABLE clients SET (fillfactor = 50);

-- The feed's index gets another name for the same order of bytes. While the table
-- is empty, or its statistics are old, the planner can't tell that the primary key
-- finds a document with one look and this index only by going through all documents
-- of its space; and a connection keeps the plan that it has once made. Now each
-- statement can use just the index that is meant for it: the feed says COLLATE
-- "POSIX", everything else does not.
DROP INDEX documents_feed;
CREATE INDEX documents_feed ON documents (space_id COLLATE "POSIX", version);
