package store

// The statements on which pushes and pulls wait. @names are parameters.

// createSpace makes the row of a space. Two pushes may do so at the same time.
const createSpace = `
INSERT INTO spaces (id, epoch, created_at)
VALUES (@space, @epoch, @now)
ON CONFLICT DO NOTHING`

// updateSpace writes what a push changes in its space's row. Primary key.
const updateSpace = `
UPDATE spaces
SET head = @head, digest = @digest, live_count = @live_count
WHERE id = @space`

// touchedDocuments reads the documents that a push names, from a list of
// (collection, id, base, data): the text only if data is true or the version is
// not base. Primary key of documents; CROSS JOIN keeps SQLite from scanning
// documents for each row of the list. The list's rows follow touchedDocumentsRow.
const (
	touchedDocumentsHead = `
SELECT d.space_id, d.collection, d.id, d.version, d.deleted, d.size, d.field_versions,
       d.client_id, d.edit_id, d.updated_by, d.updated_at,
       CASE WHEN w.column4 OR d.version <> w.column3 THEN d.data END AS data
FROM (VALUES `
	touchedDocumentsRow  = `(CAST(? AS text), CAST(? AS text), CAST(? AS bigint), CAST(? AS boolean))`
	touchedDocumentsTail = `) AS w
CROSS JOIN documents AS d
WHERE d.space_id = ?
  AND d.collection = w.column1
  AND d.id = w.column2`
)

// changes reads one page of a feed together with its space's row, in one
// statement and so from one snapshot: a head read apart could be newer than the
// documents, and the client would never ask for what lies between.
//
// matched: the next documents to show, at most @enough, which is more than fit a
// page. Index documents_feed (space_id, version).
//
// edge: where a page that leaves documents out (@sparse) must end because it has
// read @rows rows: the version of the next row. The same index.
//
// sized: windows ordered by version take all rows of a version together, so
// documents and bytes are counted through whole versions and the page never
// splits one. The first version is taken whatever its size.
const changes = `
WITH space AS (
    SELECT head, floor, epoch
    FROM spaces
    WHERE id = @space
),
edge AS (
    SELECT CASE WHEN @sparse THEN (
        SELECT version
        FROM documents
        WHERE space_id = @space AND version > @after
        ORDER BY version
        LIMIT 1 OFFSET @rows
    ) END AS version
),
matched AS (
    SELECT collection, id, version, size
    FROM documents
    WHERE space_id = @space
      AND version > @after
      AND version < COALESCE((SELECT version FROM edge), @end)
      AND (NOT deleted OR version > CASE WHEN @snapshot THEN (SELECT head FROM space) ELSE @hide END)
      AND (@everything OR collection IN @collections)
    ORDER BY version
    LIMIT @enough
),
sized AS (
    SELECT collection, id,
           version = min(version) OVER () AS first,
           count(*) OVER feed AS documents,
           sum(size) OVER feed AS bytes
    FROM matched
    WINDOW feed AS (ORDER BY version)
)
SELECT space.head, space.floor, space.epoch,
       (SELECT version FROM edge) AS edge,
       (SELECT count(*) FROM matched) AS found,
       d.collection, d.id, d.version, d.deleted, d.data, d.client_id, d.edit_id, d.updated_by, d.updated_at
FROM space
LEFT JOIN (
    SELECT d.*
    FROM sized
    CROSS JOIN documents AS d
    WHERE d.space_id = @space
      AND d.collection = sized.collection
      AND d.id = sized.id
      AND (sized.first OR sized.documents <= @limit AND sized.bytes <= @bytes)
) AS d ON true
ORDER BY d.version, d.collection, d.id`
