\set v :v + 1
\set known 1000000000000000000 + (random(0, 999) * 32 + :client_id) * 249992187744132
\set new random(1000000000000000000, 9000000000000000000)
\set id1 case when :v % 2 = 0 then :known else :new end
INSERT INTO bench_documents (space_id, collection, id, version, data, size, client_id, edit_id, updated_by, updated_at)
SELECT push.space, 'todos', row.id, push.version, push.data, 200, 'client', 'client-1', 'subject', push.version
FROM (SELECT :client_id::text AS space, :v::bigint AS version, :data::json AS data) AS push,
     (VALUES (:id1::text)) AS row (id)
ON CONFLICT (space_id, collection, id) DO UPDATE
SET version = excluded.version, data = excluded.data, size = excluded.size, client_id = excluded.client_id,
    edit_id = excluded.edit_id, updated_by = excluded.updated_by, updated_at = excluded.updated_at
