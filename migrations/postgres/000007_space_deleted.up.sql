-- A space that was deleted keeps its row: this is the version that the deletion took.
-- Whoever was shown anything up to there must start again, also once the name is used
-- again. 0: it never was.
ALTER TABLE spaces ADD COLUMN deleted_through bigint NOT NULL DEFAULT 0;
